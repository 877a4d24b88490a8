//! Key stores that are slow or do not answer.

use super::*;
use crate::{KeyFate, KeyStoreError, MemoryKeyStore, key_store::Run};

/// A store that is slow to say that it has done its part.
#[derive(Debug, Default)]
struct SlowToEnd(MemoryKeyStore);

#[async_trait::async_trait]
impl KeyStore for SlowToEnd {
    async fn begin(
        &self,
        name: &str,
        key: IdempotencyKey,
        ttl: Duration,
    ) -> Result<Run, KeyStoreError> {
        self.0.begin(name, key, ttl).await
    }

    async fn end(
        &self,
        name: &str,
        run: &Run,
        outcome: RunOutcome,
    ) -> Result<KeyFate, KeyStoreError> {
        let fate = self.0.end(name, run, outcome).await;
        sleep(Duration::from_secs(2)).await;
        fate
    }

    fn abandon(&self, name: &str, run: &Run) {
        self.0.abandon(name, run);
    }

    async fn forget(&self, name: &str) -> Result<bool, KeyStoreError> {
        self.0.forget(name).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_is_dropped_while_it_ends_keeps_its_key() {
    let retry = Retry::default().key_store(SlowToEnd::default());
    let operation = Operation::named("invoice-4711");
    let script = Script::new([Event::Answer(400)]);
    let dropped = script.run(&retry, &operation);
    assert!(timeout(Duration::from_secs(1), dropped).await.is_err());
    // Its caller was not told that it is refused, and asks again.
    let script_again = Script::new([Event::Answer(201)]);
    let (_, again) = script_again.run(&retry, &operation).await.unwrap();
    assert_eq!(script.keys()[0], *again.key());
}

/// A store that never answers one of its questions.
#[derive(Debug)]
struct Silent {
    store: MemoryKeyStore,
    verb: &'static str,
}

#[async_trait::async_trait]
impl KeyStore for Silent {
    async fn begin(
        &self,
        name: &str,
        key: IdempotencyKey,
        ttl: Duration,
    ) -> Result<Run, KeyStoreError> {
        if self.verb == "begin" {
            std::future::pending::<()>().await;
        }
        self.store.begin(name, key, ttl).await
    }

    async fn end(&self, _: &str, _: &Run, _: RunOutcome) -> Result<KeyFate, KeyStoreError> {
        std::future::pending().await
    }

    fn abandon(&self, name: &str, run: &Run) {
        self.store.abandon(name, run);
    }

    async fn forget(&self, name: &str) -> Result<bool, KeyStoreError> {
        self.store.forget(name).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_holds_nobody_up() {
    let store = MemoryKeyStore::new();
    let operation = Operation::named("invoice-4711");
    let silent = |verb| {
        let store = store.clone();
        Retry::default().key_store(Silent { store, verb })
    };
    let start = Instant::now();
    let error = Script::new([]).run(&silent("begin"), &operation).await;
    let error = error.unwrap_err();
    assert!(!error.is_uncertain());
    assert!(error.to_string().contains("was not sent"), "{error}");
    assert_eq!(start.elapsed(), DEFAULT_KEY_STORE_TIMEOUT);

    let start = Instant::now();
    let script = Script::new([Event::Answer(201)]);
    let (status, attempts) = script.run(&silent("end"), &operation).await.unwrap();
    assert_eq!(status, 201);
    assert!(attempts.is_certain() && attempts.is_key_kept());
    assert_eq!(start.elapsed(), DEFAULT_KEY_STORE_TIMEOUT);
    // It was abandoned.
    assert!(store.forget("invoice-4711").await.unwrap());
}
