//! The ledger and what the store needs, opened.

use std::{error::Error, path::Path, str::FromStr};

use sqlx::{PgPool, SqlitePool, postgres::PgConnectOptions};

use crate::{
    Address, Ledger, Place, Settings, StartError,
    database::{Database, open_postgres, open_sqlite},
};

/// Where outcomes are recorded: what a store is made of.
#[derive(Clone, Debug)]
pub enum Store {
    /// In this process.
    Memory,
    /// In the SQLite file in which the ledger is.
    Sqlite(SqlitePool),
    /// In the PostgreSQL database in which the ledger is.
    Postgres(PgPool),
    /// In Redis.
    Redis(Address),
}

impl Settings {
    /// Opens the ledger, with its tables, and what a store over the same database needs.
    ///
    /// # Errors
    ///
    /// [`StartError::Ledger`], and [`StartError::Setting`] for an address that cannot be read.
    pub async fn open(&self) -> Result<(Store, Ledger), StartError> {
        Ok(match &self.place {
            Place::Memory => (Store::Memory, Ledger::in_memory()),
            Place::Sqlite(path) => {
                let pool = sqlite("STORE", path).await?;
                let ledger = Ledger::over(Database::Sqlite(pool.clone()), true);
                (Store::Sqlite(pool), ledger)
            }
            Place::Postgres { address, ledger } => {
                let pool = postgres(address).await?;
                let ledger = match ledger {
                    None => Ledger::over(Database::Postgres(pool.clone()), true),
                    Some(path) => elsewhere(path).await?,
                };
                (Store::Postgres(pool), ledger)
            }
            Place::Redis { address, ledger } => {
                (Store::Redis(address.clone()), elsewhere(ledger).await?)
            }
        })
    }
}

/// A ledger in a database that is not the store's.
async fn elsewhere(path: &Path) -> Result<Ledger, StartError> {
    tracing::warn!(
        "a payment and its record are in two databases: if this process ends between the one and \
         the other, a retry pays again; `STORE=postgres://…` and `STORE=sqlite:…`, without \
         `LEDGER`, commit both together"
    );
    let pool = sqlite("LEDGER", path).await?;
    Ok(Ledger::over(Database::Sqlite(pool), false))
}

async fn sqlite(variable: &'static str, path: &Path) -> Result<SqlitePool, StartError> {
    let pool = open_sqlite(path).await;
    pool.map_err(|error| StartError::Ledger {
        variable,
        database: format!("the SQLite file `{}`", path.display()),
        source: Box::new(error),
    })
}

async fn postgres(address: &Address) -> Result<PgPool, StartError> {
    let options = PgConnectOptions::from_str(address.as_str()).map_err(|error| {
        let reason = error.source().map(ToString::to_string);
        StartError::Setting {
            variable: "STORE",
            problem: format!(
                "is no address of PostgreSQL ({})",
                reason.unwrap_or_else(|| "it has an option that is not known".to_owned()),
            ),
            wanted: "give `postgres://<user>:<password>@<host>:<port>/<database>`, with special \
                     characters of the password as `%` and two hexadecimal digits",
        }
    })?;
    let database = format!(
        "PostgreSQL at {}:{}",
        options.get_host(),
        options.get_port()
    );
    let pool = open_postgres(options).await;
    pool.map_err(|error| StartError::Ledger {
        variable: "STORE",
        database,
        source: Box::new(error),
    })
}
