//! Files that are full, cut off, damaged or none.

use std::{fs, time::Duration};

use idempotent_runtime::{
    SqliteStore, Store, StoredResponse,
    store::{ClaimAnswer, StoreError},
};
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

use crate::{Folder, body_of, claim_of, opened, raw, recorded, response, unavailable, with};

#[tokio::test]
async fn a_full_disk_refuses_claims_and_delays_completions() {
    const LIFE: Duration = Duration::from_secs(8);
    let folder = Folder::new();
    let options = SqliteConnectOptions::new()
        .filename(folder.file())
        .create_if_missing(true)
        .pragma("max_page_count", "40");
    let pool = SqlitePoolOptions::new().connect_lazy_with(options);
    let store = SqliteStore::with_pool(&pool).await.unwrap();
    store.migrate().await.unwrap();
    let running = claim_of(1000);
    store.claim(&running).await.unwrap();
    // Some are recorded, and expire: long after the disk is full, however slow it is.
    let large = response(&"x".repeat(10_000));
    let mut fillers = 0;
    let refused = loop {
        let filler = with(claim_of(fillers), |claim| {
            claim.ttl = LIFE;
        });
        match store.complete(&filler, &large).await {
            Ok(_) => fillers += 1,
            refused => break refused,
        }
    };
    assert!(fillers > 3);
    assert!(unavailable(refused).contains("full"));
    // Until not even a claim finds room, alone or among others.
    let mut next = 2000;
    let refused = loop {
        let claim = claim_of(next);
        match store.claim(&claim).await {
            Ok(_) => next += 1,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, StoreError::Full), "{refused:?}");
    let (first, second, third) = (claim_of(5000), claim_of(5001), claim_of(2000));
    let (full, also_full, found, renewed) = tokio::join!(
        store.claim(&first),
        store.claim(&second),
        store.claim(&third),
        store.renew(&running),
    );
    assert!(matches!(full, Err(StoreError::Full)), "{full:?}");
    assert!(matches!(also_full, Err(StoreError::Full)), "{also_full:?}");
    assert!(matches!(found, Ok(ClaimAnswer::Found(_))), "{found:?}");
    renewed.unwrap();
    assert_eq!(body_of(&store, 0).await, Some(large.clone()));

    // Room comes back when what has expired is swept.
    tokio::time::sleep(LIFE).await;
    assert_eq!(store.sweep(1000).await.unwrap(), fillers);
    assert_eq!(store.claim(&first).await.unwrap(), ClaimAnswer::Claimed);
    store.complete(&running, &large).await.unwrap();
    assert_eq!(body_of(&store, 1000).await, Some(large));
}

/// A log that was cut off at any byte holds what was committed up to there.
#[tokio::test]
async fn a_log_that_is_cut_off_gives_a_prefix() {
    const RECORDS: u64 = 12;
    let folder = Folder::new();
    let store = opened(&folder.file()).await;
    for id in 0..RECORDS {
        store
            .complete(&claim_of(id), &response(&id.to_string()))
            .await
            .unwrap();
    }
    // As they are while the store runs: closing would empty the log.
    let database = fs::read(folder.file()).unwrap();
    let log = fs::read(folder.0.join("records.db-wal")).unwrap();
    assert!(log.len() > 4096 * 12);
    let offsets = (0..=log.len())
        .step_by(log.len() / 60)
        .chain([1, 31, 32, 33, log.len() - 1]);
    let mut longest = 0;
    for offset in offsets.chain([log.len()]) {
        for damaged in [false, true] {
            let copy = Folder::new();
            let mut log = log.clone();
            if damaged {
                let end = (offset + 16).min(log.len());
                log[offset..end].fill(0xa5);
            } else {
                log.truncate(offset);
            }
            fs::write(copy.file(), &database).unwrap();
            fs::write(copy.0.join("records.db-wal"), log).unwrap();
            let store = opened(&copy.file()).await;
            let mut found = Vec::new();
            for id in 0..RECORDS {
                found.push(body_of(&store, id).await == Some(response(&id.to_string())));
            }
            let prefix = found.iter().take_while(|found| **found).count();
            assert!(
                found[prefix..].iter().all(|found| !found),
                "{offset}: {found:?}"
            );
            longest = longest.max(prefix);
            recorded(&store, 100).await;
        }
    }
    assert_eq!(longest, 12);
}

#[tokio::test]
async fn what_cannot_be_read_is_never_granted() {
    let folder = Folder::new();
    let store = opened(&folder.file()).await;
    let mut raw = raw(&folder.file()).await;
    let stored = response("body");
    let mut other_version = stored.as_bytes().to_vec();
    other_version[0] = 99;
    let damages: [(&'static str, Vec<u8>); 6] = [
        (
            "UPDATE idempotency_records SET response = ?1 WHERE id = ?2",
            other_version,
        ),
        (
            "UPDATE idempotency_records SET response = ?1 WHERE id = ?2",
            b"\x01".to_vec(),
        ),
        (
            "UPDATE idempotency_records SET response = NULL WHERE id = ?2 AND ?1 = ?1",
            vec![1],
        ),
        (
            "UPDATE idempotency_records SET owner = ?1 WHERE id = ?2",
            vec![1; 15],
        ),
        (
            "UPDATE idempotency_records SET fingerprint = ?1 WHERE id = ?2",
            vec![],
        ),
        (
            "UPDATE idempotency_records SET state = 77 WHERE id = ?2 AND ?1 = ?1",
            vec![1],
        ),
    ];
    for (id, (damage, bytes)) in damages.into_iter().enumerate() {
        let id = id as u64;
        let claim = claim_of(id);
        store.complete(&claim, &stored).await.unwrap();
        let changed = sqlx::query(damage)
            .bind(bytes)
            .bind(&claim.id.as_bytes()[..])
            .execute(&mut raw)
            .await
            .unwrap();
        assert_eq!(changed.rows_affected(), 1);
        let rival = claim_of(id);
        // Beside others, who do not suffer.
        let beside = claim_of(id + 100);
        let (answer, completion, sound) = tokio::join!(
            store.claim(&rival),
            store.complete(&rival, &stored),
            store.claim(&beside),
        );
        assert!(
            matches!(answer, Err(StoreError::Unreadable(_))),
            "{id}: {answer:?}"
        );
        assert!(
            matches!(completion, Err(StoreError::Unreadable(_))),
            "{id}: {completion:?}"
        );
        assert_eq!(sound.unwrap(), ClaimAnswer::Claimed);
    }
}

#[tokio::test]
async fn what_is_no_database_is_refused_in_words() {
    let folder = Folder::new();
    let refused = |answer: Result<SqliteStore, StoreError>| unavailable(answer);

    let text = folder.0.join("text");
    fs::write(
        &text,
        "certainly not a database, but long enough to be taken for one".repeat(100),
    )
    .unwrap();
    let told = refused(SqliteStore::open(&text).await);
    assert!(
        told.contains("not a database") && told.contains("text"),
        "{told}"
    );

    let missing = folder.0.join("missing").join("records.db");
    refused(SqliteStore::open(&missing).await);
    refused(SqliteStore::open(&folder.0).await);

    for memory in ["", ":memory:"] {
        assert!(refused(SqliteStore::open(memory).await).contains("memory"));
    }
    let pool = SqlitePool::connect("sqlite::memory:").await.unwrap();
    assert!(refused(SqliteStore::with_pool(&pool).await).contains("memory"));

    for name in ["", "a\"; DROP TABLE users; --", "sqlite_master", "1a"] {
        let store = SqliteStore::builder().table(name).open(folder.file()).await;
        assert!(refused(store).contains("table's name"));
    }
}

#[tokio::test]
async fn a_damaged_file_is_no_panic() {
    let folder = Folder::new();
    {
        let store = opened(&folder.file()).await;
        for id in 0..50 {
            recorded(&store, id).await;
        }
        // Into the file itself.
        let mut raw = raw(&folder.file()).await;
        sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(&mut raw)
            .await
            .unwrap();
    }
    let sound = fs::read(folder.file()).unwrap();
    for at in (100..sound.len()).step_by(sound.len() / 25) {
        let copy = Folder::new();
        let mut damaged = sound.clone();
        let end = (at + 600).min(damaged.len());
        damaged[at..end].fill(0xee);
        fs::write(copy.file(), damaged).unwrap();
        let Ok(store) = SqliteStore::open(copy.file()).await else {
            continue;
        };
        for id in 0..50 {
            let claim = claim_of(id);
            match store.claim(&claim).await {
                Ok(ClaimAnswer::Found(_)) | Err(_) => {}
                Ok(ClaimAnswer::Claimed) => {
                    let _ = store
                        .complete(&claim, &StoredResponse::new(200, &[], b""))
                        .await;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_missing_table_names_the_mend() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).await.unwrap();
    let claim = claim_of(1);
    assert!(unavailable(store.claim(&claim).await).contains("migrate"));
    assert!(unavailable(store.complete(&claim, &response("")).await).contains("migrate"));
    assert!(unavailable(store.ping().await).contains("migrate"));
    assert!(unavailable(store.sweep(1).await).contains("migrate"));
    store.migrate().await.unwrap();
    store.migrate().await.unwrap();
    store.ping().await.unwrap();
    recorded(&store, 1).await;
}

#[tokio::test]
#[ignore = "needs a folder on a file system of a few MiB that nobody else uses: SMALL_DISK"]
async fn a_disk_without_room_refuses_claims_until_there_is_some() {
    let disk = std::env::var_os("SMALL_DISK").expect("SMALL_DISK: use tests/run");
    let disk = std::path::PathBuf::from(disk);
    let file = disk.join("records.db");
    let store = opened(&file).await;
    recorded(&store, 1).await;
    let running = claim_of(2);
    store.claim(&running).await.unwrap();
    // Somebody else takes all there is.
    let ballast = disk.join("ballast");
    let mut bytes = vec![0; 8 << 20];
    while fs::write(&ballast, &bytes).is_err() {
        bytes.truncate(bytes.len() - 4096);
    }
    let mut next = 1000;
    let refused = loop {
        match store.claim(&claim_of(next)).await {
            Ok(_) => next += 1,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, StoreError::Full), "{refused:?}");
    let large = response(&"x".repeat(100_000));
    unavailable(store.complete(&running, &large).await);
    assert_eq!(body_of(&store, 1).await, Some(response("1")));
    fs::remove_file(ballast).unwrap();
    assert_eq!(
        store.claim(&claim_of(next)).await.unwrap(),
        ClaimAnswer::Claimed
    );
    store.complete(&running, &large).await.unwrap();
    drop(store);
    let store = opened(&file).await;
    assert_eq!(body_of(&store, 2).await, Some(large));
}
