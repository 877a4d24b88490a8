//! `OnceExecution::commit_in`: effect and record in one transaction.

use idempotent_runtime::{CommitInError, OnceError, Recorded};
use idempotent_tests::{Kind, logs};
use sqlx::Connection as _;

use crate::{Caller, LONG};

#[derive(Debug)]
enum Failed {
    Function,
    Commit(CommitInError),
    #[allow(dead_code)] // Seen where a test fails.
    Once(OnceError),
}

impl From<OnceError> for Failed {
    fn from(error: OnceError) -> Self {
        Self::Once(error)
    }
}

impl From<CommitInError> for Failed {
    fn from(error: CommitInError) -> Self {
        Self::Commit(error)
    }
}

/// A test of each function on each store that has transactions.
macro_rules! on_databases {
    ($(async fn $name:ident($kind:ident: Kind) $body:block)*) => {
        $(async fn $name($kind: Kind) $body)*

        mod sqlite {
            $(#[tokio::test] async fn $name() { super::$name(super::Kind::Sqlite).await; })*
        }
        mod encrypted {
            $(#[tokio::test] async fn $name() { super::$name(super::Kind::Encrypted).await; })*
        }
        mod near_cache {
            $(#[tokio::test] async fn $name() { super::$name(super::Kind::NearCache).await; })*
        }
        mod postgres {
            $(
                #[tokio::test]
                #[ignore = "needs a PostgreSQL server: POSTGRES_URL, or tests/run"]
                async fn $name() { super::$name(super::Kind::Postgres).await; }
            )*
        }
    };
}

on_databases! {
    async fn effect_and_record_are_committed_together(kind: Kind) {
        let caller = Caller::on(kind).await;
        let database = caller.place.database().await.unwrap();
        let who = caller.place.namespace.clone();
        for replayed in [false, true] {
            let (database, who) = (database.clone(), who.clone());
            let call = caller.call().try_run_with(|execution| async move {
                let mut transaction = database.begin().await;
                transaction.act(&who).await;
                let value = execution.commit_in(&mut transaction, 7).await?;
                Ok::<_, Failed>(value.commit(transaction).await?)
            });
            let once = call.await.unwrap();
            assert_eq!((once.value, once.replayed), (7, replayed));
            assert_eq!(once.recorded, Recorded::Yes);
        }
        assert_eq!(database.effects(&who).await, 1);
    }

    async fn what_is_rolled_back_is_done_by_the_next_call(kind: Kind) {
        let caller = Caller::on(kind).await;
        let database = caller.place.database().await.unwrap();
        let who = caller.place.namespace.clone();
        for fails in [true, false] {
            let (database, who) = (database.clone(), who.clone());
            let call = caller.call().try_run_with(move |execution| async move {
                let mut transaction = database.begin().await;
                transaction.act(&who).await;
                let value = execution.commit_in(&mut transaction, 7).await?;
                if fails {
                    return Err(Failed::Function);
                }
                Ok(value.commit(transaction).await?)
            });
            let result = call.await;
            assert_eq!(result.is_err(), fails, "{result:?}");
        }
        assert_eq!(database.effects(&who).await, 1);
    }

    async fn an_error_after_the_commit_frees_nothing(kind: Kind) {
        let caller = Caller::on(kind).await;
        let database = caller.place.database().await.unwrap();
        let who = caller.place.namespace.clone();
        for goes_around in [false, true] {
            let (database, who) = (database.clone(), who.clone());
            let call = caller.idempotency.once("charge", idempotent_runtime::Scope::global(), goes_around);
            let call = call.try_run_with(move |execution| async move {
                let mut transaction = database.begin().await;
                transaction.act(&who).await;
                let value = execution.commit_in(&mut transaction, 7).await?;
                if goes_around {
                    // Its own commit, so that the run is not told.
                    use idempotent_runtime::store::DatabaseTransaction as _;
                    transaction.commit().await.unwrap();
                } else {
                    value.commit(transaction).await?;
                }
                Err::<i32, _>(Failed::Function)
            });
            match (goes_around, call.await) {
                (false, Err(Failed::Function)) => {}
                // The store is asked, and says what was committed.
                (true, Ok(once)) => assert_eq!((once.value, once.replayed), (7, true)),
                (_, other) => panic!("{other:?}"),
            }
            let again = caller.idempotency.once("charge", idempotent_runtime::Scope::global(), goes_around);
            let again = again.wait(LONG).run(async { 8 }).await.unwrap();
            assert_eq!((again.value, again.replayed), (7, true));
        }
        assert_eq!(database.effects(&who).await, 2);
    }
}

#[tokio::test]
async fn a_store_without_transactions_says_so_and_nothing_is_recorded() {
    let caller = Caller::on(Kind::Memory).await;
    let place = idempotent_tests::Place::new(Kind::Sqlite, idempotent_tests::namespace());
    let database = place.database().await.unwrap();
    let call = caller.call().try_run_with(|execution| async move {
        let mut transaction = database.begin().await;
        let value = execution.commit_in(&mut transaction, 7).await?;
        Ok::<_, Failed>(value.commit(transaction).await?)
    });
    let error = call.await.unwrap_err();
    assert!(
        matches!(error, Failed::Commit(CommitInError::Unsupported)),
        "{error:?}"
    );
    assert_eq!(caller.call().run(caller.effect()).await.unwrap().value, 1);
}

#[tokio::test]
async fn a_transaction_of_another_database_is_an_error_that_the_operator_is_told() {
    logs::keep();
    let caller = Caller::on(Kind::Sqlite).await;
    let call = caller.call().try_run_with(|execution| async move {
        let mut other = sqlx::SqliteConnection::connect("sqlite::memory:")
            .await
            .unwrap();
        let mut transaction = other.begin().await.unwrap();
        let value = execution.commit_in(&mut transaction, 7).await?;
        Ok::<_, Failed>(value.commit(transaction).await?)
    });
    let error = call.await.unwrap_err();
    let Failed::Commit(CommitInError::Store(_)) = error else {
        panic!("{error:?}")
    };
    assert!(logs::all().contains("must be in the store's own database"));
    let once = caller.call().run(caller.effect()).await.unwrap();
    assert_eq!((once.value, once.replayed), (1, false));
}
