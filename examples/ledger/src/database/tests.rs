//! The same of each database.

use std::{env, fs, path::PathBuf, str::FromStr as _};

use idempotent_runtime::store::DatabaseTransaction;
use sqlx::{PgConnection, SqliteConnection, postgres::PgConnectOptions};
use uuid::Uuid;

use super::{Database, open_postgres, open_sqlite};
use crate::{Entry, Ledger, NewEntry, Refusal};

/// A file in a folder of its own, which is gone when this is dropped.
struct File(PathBuf);

impl File {
    fn new() -> Self {
        let folder = env::temp_dir().join(format!("ledger-{}", Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    async fn ledger(&self) -> Ledger {
        let pool = open_sqlite(&self.0.join("ledger.db")).await.unwrap();
        Ledger::over(Database::Sqlite(pool), true)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn postgres() -> Ledger {
    let url = env::var("POSTGRES_URL").expect("POSTGRES_URL names a PostgreSQL server");
    let options = PgConnectOptions::from_str(&url).unwrap();
    Ledger::over(
        Database::Postgres(open_postgres(options).await.unwrap()),
        true,
    )
}

/// An owner whom no other test and no earlier one knows.
fn owner() -> String {
    Uuid::new_v4().to_string()
}

fn new(amount: i64) -> NewEntry {
    NewEntry {
        user: "álice \"' % ; --".to_owned(),
        amount,
        currency: "USD".to_owned(),
    }
}

async fn keeps_entries(ledger: &Ledger) {
    let (alice, bob) = (owner(), owner());
    let mut entered = Vec::new();
    for amount in [3, 1, 2, i64::MAX] {
        entered.push(ledger.payments.enter(&alice, new(amount)).await.unwrap());
    }
    assert_eq!(ledger.payments.list(&alice).await.as_ref(), Ok(&entered));
    assert_eq!(ledger.payments.list(&bob).await, Ok(vec![]));
    let id = entered[1].id.to_string();
    let found = ledger.payments.find(&alice, &id).await;
    assert_eq!(found.as_ref(), Ok(&entered[1]));
    let not_found: Result<Entry, _> = Err(Refusal::NotFound);
    assert_eq!(ledger.payments.find(&bob, &id).await, not_found);
    assert_eq!(ledger.payments.find(&alice, "no-uuid").await, not_found);
    assert_eq!(ledger.payments.find(&alice, &owner()).await, not_found);
    assert_eq!(ledger.orders.find(&alice, &id).await, not_found);
    let order = ledger.orders.enter(&alice, new(5)).await.unwrap();
    assert_eq!(ledger.clone().orders.list(&alice).await, Ok(vec![order]));
    assert_eq!(ledger.payments.list(&alice).await, Ok(entered));
}

async fn commits_or_rolls_back(ledger: &Ledger) {
    let alice = owner();
    let payments = &ledger.payments;
    let mut transaction = ledger.begin().await.unwrap();
    let entered = payments.enter_in(&mut transaction, &alice, new(1)).await;
    assert_eq!(payments.list(&alice).await, Ok(vec![]));
    transaction.commit().await.unwrap();
    let entered = vec![entered.unwrap()];
    assert_eq!(payments.list(&alice).await.as_ref(), Ok(&entered));

    let mut transaction = ledger.begin().await.unwrap();
    let dropped = payments.enter_in(&mut transaction, &alice, new(2)).await;
    dropped.unwrap();
    drop(transaction);
    assert_eq!(payments.list(&alice).await.as_ref(), Ok(&entered));

    // What `Uncommitted::commit` does.
    let mut transaction = ledger.begin().await.unwrap();
    let third = payments.enter_in(&mut transaction, &alice, new(3)).await;
    DatabaseTransaction::commit(transaction).await.unwrap();
    let entered = [entered, vec![third.unwrap()]].concat();
    assert_eq!(payments.list(&alice).await, Ok(entered));
}

async fn connection_is<C: 'static>(ledger: &Ledger) -> bool {
    let mut transaction = ledger.begin().await.unwrap();
    transaction.connection().is::<C>()
}

#[tokio::test]
async fn memory() {
    let ledger = Ledger::in_memory();
    keeps_entries(&ledger).await;
    commits_or_rolls_back(&ledger).await;
    assert!(!ledger.shares_database());
}

#[tokio::test]
async fn sqlite() {
    let file = File::new();
    let ledger = file.ledger().await;
    keeps_entries(&ledger).await;
    commits_or_rolls_back(&ledger).await;
    assert!(connection_is::<SqliteConnection>(&ledger).await);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn postgresql() {
    let ledger = postgres().await;
    keeps_entries(&ledger).await;
    commits_or_rolls_back(&ledger).await;
    assert!(connection_is::<PgConnection>(&ledger).await);
}

#[tokio::test]
async fn sqlite_opens_what_is_there() {
    let (file, alice) = (File::new(), owner());
    let entry = file.ledger().await.payments.enter(&alice, new(1)).await;
    let list = file.ledger().await.payments.list(&alice).await;
    assert_eq!(list, Ok(vec![entry.unwrap()]));
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn postgresql_is_opened_by_several_at_once() {
    let (one, other) = tokio::join!(postgres(), postgres());
    let alice = owner();
    let entry = one.payments.enter(&alice, new(1)).await.unwrap();
    assert_eq!(other.payments.list(&alice).await, Ok(vec![entry]));
}

/// A transaction that begins to read and then comes to write would fail here, not wait.
#[tokio::test(flavor = "multi_thread")]
async fn writers_of_a_sqlite_file_wait_for_each_other() {
    let file = File::new();
    let (ledger, alice) = (file.ledger().await, owner());
    let mut writers = tokio::task::JoinSet::new();
    for amount in 1..=20 {
        let (ledger, alice) = (ledger.clone(), alice.clone());
        writers.spawn(async move { ledger.payments.enter(&alice, new(amount)).await });
    }
    while let Some(entered) = writers.join_next().await {
        entered.unwrap().unwrap();
    }
    assert_eq!(ledger.payments.list(&alice).await.unwrap().len(), 20);
}

#[tokio::test]
async fn a_file_that_cannot_be_made_is_an_error() {
    open_sqlite("/nowhere/ledger.db".as_ref())
        .await
        .unwrap_err();
}
