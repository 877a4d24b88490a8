//! §9: a store that has no room, or no connection, lets nothing happen that it could not record;
//! what happened before it was used up is recorded when there is room again.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use idempotent_runtime::{Outcome, PostgresStore, RedisStore, SqliteStore};
use idempotent_tests::{Framework, Plan, Steered, backend::Backend, eventually, soon};
use sqlx::postgres::PgPoolOptions;
use tokio::sync::Mutex;

/// More than is left on a disk that is full.
const LARGE: usize = 200_000;

/// Sends what comes before, while and after a store is used up.
async fn nothing_happens_twice(
    framework: Framework,
    store: Backend,
    use_up: impl AsyncFnOnce(),
    give_back: impl AsyncFnOnce(),
    code: &str,
) {
    let setup = framework.setup().store(|_| Steered::on(store));
    let app = setup.start().await;
    app.post("/pay")
        .key("before")
        .send()
        .await
        .assert_first(201);
    let mut plan = Plan::gate("go");
    plan.echo = true;
    let running = app.post("/pay").key("running").plan(&plan);
    let running = running.body(vec![b'x'; LARGE]);
    let again = running.clone();
    let running = tokio::spawn(async move { running.send().await });
    app.world.entered(2).await;

    use_up().await;
    // There may be room for a few more.
    let mut granted = 1;
    let (refused, response) = loop {
        assert!(granted < 100_000, "the store is used up at last");
        let key = format!("while-{granted}");
        let response = app.post("/pay").key(&key).send().await;
        if response.status != 201 {
            break (key, response);
        }
        granted += 1;
    };
    response.assert_problem(503, code);
    assert!(response.header("retry-after").is_some());
    assert_eq!(app.world.effects(), granted);

    // Its effect happens, and its response is not lost because nobody can keep it.
    app.world.open("go");
    let first = soon("the response", running).await.unwrap();
    first.assert_first(201);
    assert_eq!(first.body.len(), LARGE);
    assert_eq!(app.events.count(Outcome::CompletionDelayed), 1);
    let effects = granted + 1;
    assert_eq!(app.world.effects(), effects);

    give_back().await;
    soon("the outcome is recorded", app.idempotency.drain()).await;
    again.send().await.assert_replay_of(&first);
    app.post("/pay")
        .key("before")
        .send()
        .await
        .assert_replay(201);
    app.post("/pay")
        .key(&refused)
        .send()
        .await
        .assert_first(201);
    assert_eq!(app.world.effects(), effects + 1);
}

/// A Redis of the test's own, because everybody's would be full.
struct Redis {
    child: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Redis {
    async fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let folder = tempfile::tempdir().unwrap();
        let program = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
        let child = Command::new(program)
            .args(["--port", &address.port().to_string()])
            .args(["--bind", "127.0.0.1", "--save", ""])
            .args(["--maxmemory-policy", "noeviction", "--dir"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        eventually("Redis listens", || TcpStream::connect(address).is_ok()).await;
        let url = format!("redis://{address}");
        Self {
            child,
            url,
            _folder: folder,
        }
    }

    fn has(&self, bytes: &str) {
        let client = redis::Client::open(self.url.as_str()).unwrap();
        let mut set = redis::cmd("CONFIG");
        set.arg(&["SET", "maxmemory", bytes]);
        set.exec(&mut client.get_connection().unwrap()).unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn redis_at_maxmemory(framework: Framework) {
    let redis = Redis::start().await;
    let store = RedisStore::connect(&redis.url).await.unwrap();
    nothing_happens_twice(
        framework,
        Backend::Redis(store),
        async || redis.has("100kb"),
        async || redis.has("100mb"),
        "store-full",
    )
    .await;
}

async fn postgres_connections_used_up(framework: Framework) {
    const CONNECTIONS: u32 = 2;
    let url = std::env::var("POSTGRES_URL").expect("POSTGRES_URL: use tests/run");
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .connect(&url)
        .await
        .unwrap();
    let store = PostgresStore::builder(pool.clone())
        .table(format!("used_up_{}", uuid::Uuid::new_v4().simple()))
        .timeout(Duration::from_millis(500))
        .build()
        .unwrap();
    store.migrate().await.unwrap();
    // Those of handlers that are busy with their own queries.
    let held = std::sync::Mutex::new(Vec::new());
    nothing_happens_twice(
        framework,
        Backend::Postgres(store),
        async || {
            for _ in 0..CONNECTIONS {
                let connection = pool.acquire().await.unwrap();
                held.lock().unwrap().push(connection);
            }
        },
        async || held.lock().unwrap().clear(),
        "store-unavailable",
    )
    .await;
}

/// The disk is too small for two that fill it.
static DISK: Mutex<()> = Mutex::const_new(());

async fn sqlite_on_a_full_disk(framework: Framework) {
    let disk = std::env::var_os("SMALL_DISK").expect("SMALL_DISK: use tests/run");
    let _alone = DISK.lock().await;
    let folder = tempfile::tempdir_in(PathBuf::from(disk)).unwrap();
    let store = SqliteStore::open(folder.path().join("records.db"))
        .await
        .unwrap();
    store.migrate().await.unwrap();
    let ballast = folder.path().join("ballast");
    nothing_happens_twice(
        framework,
        Backend::Sqlite(store),
        async || {
            let mut bytes = vec![0; 8 << 20];
            while fs::write(&ballast, &bytes).is_err() {
                bytes.truncate(bytes.len() - 4096);
            }
        },
        async || fs::remove_file(&ballast).unwrap(),
        "store-full",
    )
    .await;
}

macro_rules! used_up {
    ($($framework:ident $variant:ident)*) => {
        $(mod $framework {
            use idempotent_tests::Framework::$variant;

            mod redis {
                #[tokio::test]
                #[ignore = "needs redis-server in the path, or tests/run"]
                async fn at_maxmemory() {
                    super::super::redis_at_maxmemory(super::$variant).await;
                }
            }

            mod postgres {
                #[tokio::test]
                #[ignore = "needs a PostgreSQL server: POSTGRES_URL, or tests/run"]
                async fn without_a_connection() {
                    super::super::postgres_connections_used_up(super::$variant).await;
                }
            }

            mod sqlite {
                #[tokio::test]
                #[ignore = "needs a file system of a few MiB: SMALL_DISK, or tests/run"]
                async fn on_a_disk_without_room() {
                    super::super::sqlite_on_a_full_disk(super::$variant).await;
                }
            }
        })*
    };
}

used_up! { axum Axum actix Actix }
