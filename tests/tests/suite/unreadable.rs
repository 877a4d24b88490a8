//! §9: records that cannot be read.

use std::sync::Mutex;

use idempotent_runtime::{Encrypted, Idempotency, MemoryStore, NearCache, SealingKey};
use idempotent_tests::{App, Framework, Plan, both, logs};

/// A server that shares its records with others and seals them under a key of its own.
async fn sealed_under(framework: Framework, memory: &MemoryStore, key: u8) -> App {
    let store = Encrypted::new(memory.clone(), SealingKey::new([key; 32]));
    let store = Mutex::new(Some(NearCache::new(store, 1 << 20)));
    let setup = framework.setup();
    setup
        .configure(move |_| Idempotency::builder(store.lock().unwrap().take().unwrap()))
        .start()
        .await
}

both! {
    /// It may say that the handler has run.
    async fn sec9_a_record_that_cannot_be_read_is_never_passed_by(framework: Framework) {
        let memory = MemoryStore::default();
        let old = sealed_under(framework, &memory, 1).await;
        let plan = Plan::body("hush-sealed");
        let request = |app: &App| app.post("/down/run").key("k").plan(&plan);
        let first = request(&old).send().await;
        first.assert_first(201);
        request(&old).send().await.assert_replay_of(&first);

        let new = sealed_under(framework, &memory, 2).await;
        for _ in 0..2 {
            let refused = request(&new).send().await;
            let document = refused.assert_problem(503, "store-unavailable");
            assert_eq!(document["retryable"], true);
            assert_eq!(refused.header("retry-after"), Some(&b"1"[..]));
            // The operation was done, so it must not say that it was not.
            let detail = document["detail"].as_str().unwrap();
            assert!(detail.starts_with("This request has done nothing"), "{detail}");
        }
        assert_eq!(new.world.entries(), 0);
        assert_eq!(new.idempotency.unprotected(), 0);
        // The operator is told what is missing, and nothing else.
        let log = logs::all();
        let id = SealingKey::new([1; 32]).id();
        let told = format!("the record is sealed under the key {id}, which was not given");
        assert!(log.contains(&told));
        assert!(!log.contains("hush-sealed"));
        // What is asked under another key of the client's goes on.
        new.post("/down/run").key("l").send().await.assert_first(201);
        // Nothing was changed: with its key the record is there again.
        request(&old).send().await.assert_replay_of(&first);
        assert_eq!(old.world.effects(), 1);

        // A store that has no keys at all does not send out what is sealed.
        let plain = framework.setup();
        let plain = plain.configure(move |_| Idempotency::builder(memory.clone()));
        let plain = plain.start().await;
        let refused = request(&plain).send().await;
        refused.assert_problem(503, "store-unavailable");
        assert_eq!(plain.world.entries(), 0);
    }
}
