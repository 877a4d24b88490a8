//! A table that an earlier version has made.

use idempotent_runtime::{
    Store, StoredResponse,
    store::{ClaimAnswer, Found, Inspect as _, RecordState},
};
use sqlx::Executor as _;

use super::{Folder, claim_of, opened, raw};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_an_earlier_version_is_read_and_gets_what_it_lacks() {
    let folder = Folder::new();
    let (running, done) = (claim_of(1), claim_of(2));
    let response = StoredResponse::new(201, &[], b"kept");
    {
        let store = opened(&folder.file()).await;
        for claim in [&running, &done] {
            assert_eq!(store.claim(claim).await.unwrap(), ClaimAnswer::Claimed);
        }
        store.complete(&done, &response).await.unwrap();
    }
    let mut connection = raw(&folder.file()).await;
    let earlier = "ALTER TABLE idempotency_records DROP COLUMN claimed_at;
        ALTER TABLE idempotency_records DROP COLUMN attempts;
        UPDATE idempotency_records SET lease_until = NULL WHERE state = 3";
    connection.execute(earlier).await.unwrap();

    let store = opened(&folder.file()).await;
    store.migrate().await.unwrap();
    let seen = store.inspect(&running.id).await.unwrap().unwrap();
    assert!(
        matches!(seen.state, RecordState::Running { .. }),
        "{seen:?}"
    );
    assert_eq!((seen.claimed_at, seen.attempts), (None, None));
    let seen = store.inspect(&done.id).await.unwrap().unwrap();
    assert!(
        matches!(&seen.state, RecordState::Done { completed_at: None, response: its, .. } if *its == response),
        "{seen:?}"
    );
    let answer = store.claim(&claim_of(2)).await.unwrap();
    assert!(
        matches!(answer, ClaimAnswer::Found(Found::Done { .. })),
        "{answer:?}"
    );
    // And what is new is known.
    store.complete(&running, &response).await.unwrap();
    let fresh = claim_of(3);
    store.claim(&fresh).await.unwrap();
    let seen = store.inspect(&fresh.id).await.unwrap().unwrap();
    assert!(
        seen.claimed_at.is_some() && seen.attempts == Some(1),
        "{seen:?}"
    );
}
