//! No more is kept than there is room for.

use idempotent_runtime::{Store, store::ClaimAnswer};

use crate::{Asked, LARGE, TTL, claim_of, done, id, response, run};

#[tokio::test]
async fn the_budget_is_kept_and_the_oldest_records_go_first() {
    const RECORDS: u64 = 10_000;
    let asked = Asked::new();
    let max_bytes = 2_000_000;
    let store = asked.cached(max_bytes);
    for number in 0..RECORDS {
        run(&store, &claim_of(&number.to_string(), 1), &[b'x'; 300]).await;
        assert!(store.bytes() <= max_bytes);
    }
    assert!(store.bytes() > max_bytes - 1000, "the room is used");
    // The newest first, because one that is not found takes the room of another.
    let newest = store.bytes() / (384 + 400) * 3 / 4;
    let mut kept = 0;
    for number in (RECORDS - newest..RECORDS).rev() {
        let times = asked.times();
        let again = claim_of(&number.to_string(), 2);
        assert_eq!(store.claim(&again).await.unwrap(), done(&[b'x'; 300], TTL));
        kept += u64::from(asked.times() == times);
    }
    assert!(
        kept > newest * 9 / 10,
        "{kept} of the newest {newest} are kept"
    );
    let times = asked.times();
    store.claim(&claim_of("0", 2)).await.unwrap();
    assert_eq!(asked.times(), times + 1, "the oldest went");
    // One that is larger than all the room, and one that takes all of it.
    for (size, fits) in [(2_000_001, false), (1_999_500, true)] {
        let first = claim_of(&size.to_string(), 1);
        run(&store, &first, &vec![b'x'; size]).await;
        let times = asked.times();
        store.claim(&claim_of(&size.to_string(), 2)).await.unwrap();
        assert_eq!(asked.times() == times, fits, "{size}");
        assert!(store.bytes() <= max_bytes);
    }
    let none = asked.cached(0);
    run(&none, &claim_of("none", 1), b"").await;
    assert_eq!(none.bytes(), 0);
}

#[tokio::test]
async fn records_that_are_over_make_room() {
    let asked = Asked::new();
    let store = asked.cached(LARGE);
    for round in 0..50 {
        for number in 0..100 {
            let key = format!("{round}-{number}");
            run(&store, &claim_of(&key, 1), &[b'x'; 300]).await;
        }
        asked.clock.advance(TTL);
    }
    assert!(store.bytes() < 300 * 800, "{}", store.bytes());
    // The same key for ever.
    let store = asked.cached(LARGE);
    for _ in 0..1000 {
        run(&store, &claim_of("k", 1), b"paid").await;
        asked.clock.advance(TTL);
    }
    assert!(store.bytes() < 800, "{}", store.bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_budget_is_kept_under_threads() {
    let asked = Asked::new();
    let max_bytes = 20_000;
    let store = asked.cached(max_bytes);
    let tasks = (0..4).map(|task| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..3000 {
                let key = format!("{}", (number * 7 + task * 13) % 500);
                let claim = claim_of(&key, task * 100_000 + number);
                if store.claim(&claim).await.unwrap() == ClaimAnswer::Claimed {
                    store
                        .complete(&claim, &response(&[b'x'; 300]))
                        .await
                        .unwrap();
                }
                assert!(store.bytes() <= max_bytes);
                if number % 50 == 0 {
                    store.invalidate(&claim.id);
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    for number in 0..500 {
        store.invalidate(&id(&number.to_string()));
    }
    assert_eq!(store.bytes(), 0);
}
