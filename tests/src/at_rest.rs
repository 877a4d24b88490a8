//! A record as it lies in its store, for tests that damage it.

use std::{fmt::Write as _, str::FromStr};

use idempotent_runtime::RecordId;
use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, SqliteConnection,
    postgres::PgConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteSynchronous},
};

use crate::backend::{Kind, Place, env};

/// A record as it lies in its store.
#[derive(Debug)]
pub struct AtRest {
    id: RecordId,
    lies_in: LiesIn,
}

enum LiesIn {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
    Redis(redis::aio::MultiplexedConnection),
}

impl AtRest {
    pub(crate) async fn find(place: &Place, id: RecordId) -> Self {
        let lies_in = match place.kind {
            Kind::Memory => panic!("a memory store has no bytes that others could reach"),
            Kind::Sqlite | Kind::NearCache | Kind::Encrypted => {
                let file = SqliteConnectOptions::new()
                    .filename(place.file())
                    .synchronous(SqliteSynchronous::Off);
                LiesIn::Sqlite(SqliteConnection::connect_with(&file).await.unwrap())
            }
            Kind::Postgres => {
                let server = PgConnectOptions::from_str(&env("POSTGRES_URL")).unwrap();
                LiesIn::Postgres(PgConnection::connect_with(&server).await.unwrap())
            }
            Kind::Redis => {
                let server = redis::Client::open(env("REDIS_URL")).unwrap();
                let connection = server.get_multiplexed_async_connection().await;
                LiesIn::Redis(connection.unwrap())
            }
        };
        Self { id, lies_in }
    }

    /// The parts that consist of bytes, but for the id by which it is found.
    #[must_use]
    pub fn parts(&self) -> &'static [&'static str] {
        match self.lies_in {
            LiesIn::Sqlite(_) | LiesIn::Postgres(_) => &["fingerprint", "response", "owner"],
            LiesIn::Redis(_) => &["value"],
        }
    }

    /// The number that says whether it is a claim or a record, where there is one.
    pub async fn state(&mut self) -> Option<i64> {
        let id = &self.id.as_bytes()[..];
        match &mut self.lies_in {
            LiesIn::Sqlite(connection) => {
                let select = "SELECT state FROM idempotency_records WHERE id = $1";
                let read = sqlx::query_scalar(select).bind(id);
                Some(read.fetch_one(connection).await.unwrap())
            }
            LiesIn::Postgres(_) => None,
            LiesIn::Redis(_) => Some(self.read("value").await[1].into()),
        }
    }

    /// Puts another number in its place. Says whether there is room for it.
    ///
    /// # Panics
    ///
    /// There is no such number in this store.
    pub async fn set_state(&mut self, state: i64) -> bool {
        let id = self.id;
        match &mut self.lies_in {
            LiesIn::Sqlite(connection) => {
                let update = "UPDATE idempotency_records SET state = $1 WHERE id = $2";
                let written = sqlx::query(update).bind(state).bind(&id.as_bytes()[..]);
                written.execute(connection).await.unwrap();
                true
            }
            LiesIn::Postgres(_) => panic!("a row with a response is a record"),
            LiesIn::Redis(_) => {
                let Ok(state) = u8::try_from(state) else {
                    return false;
                };
                let mut value = self.read("value").await;
                value[1] = state;
                self.write("value", &value).await
            }
        }
    }

    /// Takes the response away, where it is a part by itself.
    pub async fn forget_response(&mut self) -> bool {
        let id = &self.id.as_bytes()[..];
        let update = "UPDATE idempotency_records SET response = NULL WHERE id = $1";
        match &mut self.lies_in {
            LiesIn::Sqlite(connection) => {
                let written = sqlx::query(update).bind(id);
                written.execute(connection).await.is_ok()
            }
            LiesIn::Postgres(connection) => {
                let written = sqlx::query(update).bind(id);
                written.execute(connection).await.is_ok()
            }
            LiesIn::Redis(_) => false,
        }
    }

    /// A part's bytes.
    pub async fn read(&mut self, part: &str) -> Vec<u8> {
        let id = &self.id.as_bytes()[..];
        let select = |what: &str| {
            AssertSqlSafe(format!(
                "SELECT {what} FROM idempotency_records WHERE id = $1"
            ))
        };
        match &mut self.lies_in {
            LiesIn::Sqlite(connection) => {
                let read = sqlx::query_scalar(select(part)).bind(id);
                read.fetch_one(connection).await.unwrap()
            }
            LiesIn::Postgres(connection) => {
                let part = match part {
                    "owner" => "uuid_send(owner)",
                    part => part,
                };
                let read = sqlx::query_scalar(select(part)).bind(id);
                read.fetch_one(connection).await.unwrap()
            }
            LiesIn::Redis(connection) => {
                let mut get = redis::cmd("GET");
                get.arg(key(id));
                get.query_async(connection).await.unwrap()
            }
        }
    }

    /// Puts other bytes in a part's place. Says whether the store takes them.
    pub async fn write(&mut self, part: &str, bytes: &[u8]) -> bool {
        let id = &self.id.as_bytes()[..];
        let update = |value: &str| {
            AssertSqlSafe(format!(
                "UPDATE idempotency_records SET {part} = {value} WHERE id = $2"
            ))
        };
        match &mut self.lies_in {
            LiesIn::Sqlite(connection) => {
                let written = sqlx::query(update("$1")).bind(bytes).bind(id);
                let written = written.execute(connection).await.unwrap();
                assert_eq!(written.rows_affected(), 1);
                true
            }
            LiesIn::Postgres(connection) => {
                let value = match part {
                    "owner" => "encode($1, 'hex')::uuid",
                    _ => "$1",
                };
                let written = sqlx::query(update(value)).bind(bytes).bind(id);
                written.execute(connection).await.is_ok()
            }
            LiesIn::Redis(connection) => {
                let mut set = redis::cmd("SET");
                set.arg(key(id)).arg(bytes).arg("XX").arg("KEEPTTL");
                set.exec_async(connection).await.unwrap();
                true
            }
        }
    }
}

fn key(id: &[u8]) -> String {
    let mut digits = String::new();
    for byte in id {
        write!(digits, "{byte:02x}").unwrap();
    }
    format!("idempotency:{digits}")
}

impl std::fmt::Debug for LiesIn {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Sqlite(_) => "Sqlite",
            Self::Postgres(_) => "Postgres",
            Self::Redis(_) => "Redis",
        })
    }
}
