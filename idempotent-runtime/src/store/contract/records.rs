//! What is kept, under which id, and where there is no room.

use super::{
    Harness, TTL, assert_running, brief, claim, claimed, complete, found_done, fresh, release,
    renew, response, rival,
};
use crate::{
    core::{record::Claim, response::StoredResponse},
    store::{Completion, Fence, Store, StoreError},
};

pub(super) async fn check<H: Harness>(harness: &H) {
    a_record_is_given_as_it_was_stored(&harness.store().await).await;
    an_absent_id_is_recorded_all_the_same(&harness.store().await).await;
    ids_are_apart(&harness.store().await).await;
    a_full_store_refuses_claims_and_keeps_records(harness).await;
}

async fn a_record_is_given_as_it_was_stored(store: &impl Store) {
    let location: [(&str, &[u8]); 1] = [("location", b"/1")];
    for stored in [
        response("body"),
        StoredResponse::new(204, &[], b""),
        StoredResponse::new(500, &[], &[0, 255, 10, 13, 0]),
        StoredResponse::new(200, &[], &[b'x'; 1000]),
        StoredResponse::tombstone(201, &location),
    ] {
        let first = fresh();
        claimed(store, &first).await;
        assert_eq!(complete(store, &first, &stored).await, Completion::Stored);
        for _ in 0..2 {
            found_done(store, &first, &stored).await;
        }
    }
}

async fn an_absent_id_is_recorded_all_the_same(store: &impl Store) {
    let first = fresh();
    let stored = response("late");
    assert_eq!(complete(store, &first, &stored).await, Completion::Stored);
    found_done(store, &first, &stored).await;
    assert_eq!(renew(store, &fresh()).await, Fence::Fenced);
}

async fn ids_are_apart(store: &impl Store) {
    let claims: Vec<Claim> = (0..100).map(|_| fresh()).collect();
    for one in &claims {
        claimed(store, one).await;
    }
    for (index, one) in claims.iter().enumerate() {
        match index % 3 {
            0 => {
                let stored = response(&index.to_string());
                assert_eq!(complete(store, one, &stored).await, Completion::Stored);
            }
            1 => assert_eq!(release(store, one).await, Fence::Passed),
            _ => {}
        }
    }
    for (index, one) in claims.iter().enumerate() {
        match index % 3 {
            0 => found_done(store, one, &response(&index.to_string())).await,
            1 => claimed(store, &rival(one)).await,
            _ => assert_running(&claim(store, &rival(one)).await),
        }
    }
}

async fn a_full_store_refuses_claims_and_keeps_records<H: Harness>(harness: &H) {
    let Some(store) = harness.store_with_room_for(2).await else {
        return;
    };
    let [running, recorded, third] = [fresh(), brief(), fresh()];
    claimed(&store, &running).await;
    claimed(&store, &recorded).await;
    let stored = response("kept");
    let answer = complete(&store, &recorded, &stored).await;
    assert_eq!(answer, Completion::Stored);
    for _ in 0..100 {
        let refused = store.claim(&fresh()).await;
        assert!(
            matches!(refused, Err(StoreError::Full)),
            "a full store refuses, and evicts nothing: {refused:?}"
        );
    }
    assert_running(&claim(&store, &rival(&running)).await);
    found_done(&store, &recorded, &stored).await;
    // A claim that was refused has left nothing behind.
    assert_eq!(release(&store, &running).await, Fence::Passed);
    claimed(&store, &third).await;
    // Room comes back when a record's ttl ends.
    harness.advance(TTL * 2).await;
    claimed(&store, &fresh()).await;
}
