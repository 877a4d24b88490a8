//! The two tables, in SQL that both databases understand.

use uuid::Uuid;

use crate::{Entry, Status};

/// A table and its statements.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(super) create_in_sqlite: &'static str,
    pub(super) create_in_postgres: &'static str,
    /// Of owner, id, user, amount, currency and status.
    pub(super) insert: &'static str,
    /// By owner; gives [`Row`]s.
    pub(super) list: &'static str,
    /// By owner and id; gives a [`Row`].
    pub(super) find: &'static str,
}

/// Id, user, amount, currency and status.
pub(super) type Row = (String, String, i64, String, String);

const COMPLETED: &str = "completed";

macro_rules! create {
    ($name:literal, $entry:literal) => {
        concat!(
            "CREATE TABLE IF NOT EXISTS ",
            $name,
            " (entry ",
            $entry,
            r#", owner TEXT NOT NULL, id TEXT NOT NULL UNIQUE, "user" TEXT NOT NULL,
            amount BIGINT NOT NULL, currency TEXT NOT NULL, status TEXT NOT NULL);
            CREATE INDEX IF NOT EXISTS "#,
            $name,
            "_of_owner ON ",
            $name,
            " (owner, entry)",
        )
    };
}

macro_rules! table {
    ($name:literal) => {
        Table {
            name: $name,
            create_in_sqlite: create!($name, "INTEGER PRIMARY KEY AUTOINCREMENT"),
            create_in_postgres: create!($name, "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
            insert: concat!(
                "INSERT INTO ",
                $name,
                r#" (owner, id, "user", amount, currency, status) VALUES ($1, $2, $3, $4, $5, $6)"#,
            ),
            list: concat!(
                r#"SELECT id, "user", amount, currency, status FROM "#,
                $name,
                " WHERE owner = $1 ORDER BY entry",
            ),
            find: concat!(
                r#"SELECT id, "user", amount, currency, status FROM "#,
                $name,
                " WHERE owner = $1 AND id = $2",
            ),
        }
    };
}

pub(crate) static PAYMENTS: Table = table!("payments");
pub(crate) static ORDERS: Table = table!("orders");
pub(super) static ALL: [&Table; 2] = [&PAYMENTS, &ORDERS];

impl Status {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Completed => COMPLETED,
        }
    }
}

/// An entry that was read.
pub(super) fn entry((id, user, amount, currency, status): Row) -> Result<Entry, sqlx::Error> {
    let id = Uuid::try_parse(&id).map_err(|error| sqlx::Error::Decode(error.into()))?;
    if status != COMPLETED {
        return Err(sqlx::Error::Decode("an entry has an unknown status".into()));
    }
    Ok(Entry {
        id,
        user,
        amount,
        currency,
        status: Status::Completed,
    })
}
