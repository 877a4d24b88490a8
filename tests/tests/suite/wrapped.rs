//! §9: the public suite over a near cache and over sealed records, in stores that outlive a process.

use idempotent_runtime::{Encrypted, NearCache, SealingKey};
use idempotent_tests::{
    Kind,
    backend::{Backend, keeps_the_contract},
};

async fn near(kind: Kind) {
    keeps_the_contract(kind, async |store: Backend| NearCache::new(store, 1 << 20)).await;
}

async fn sealed(kind: Kind) {
    let key = || SealingKey::new([7; 32]);
    keeps_the_contract(kind, async |store: Backend| Encrypted::new(store, key())).await;
}

macro_rules! over_each {
    ($($wrapped:ident)*) => {
        $(mod $wrapped {
            use idempotent_tests::Kind;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::$wrapped(Kind::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs a PostgreSQL server: POSTGRES_URL, or tests/run"]
            async fn postgres() {
                super::$wrapped(Kind::Postgres).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs a Redis server: REDIS_URL, or tests/run"]
            async fn redis() {
                super::$wrapped(Kind::Redis).await;
            }
        })*
    };
}

over_each!(near sealed);
