//! Leases, renewed together.

use idempotent_runtime::{
    Claim, Store,
    store::{Completion, Fence},
};
use sqlx::{
    AssertSqlSafe,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::task::JoinSet;

use crate::{Table, claimed, fresh, options, pool_of, response, rival, until_somebody_waits_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn many_renewals_are_each_told_their_own_answer() {
    let table = Table::new("renewals").await;
    let store = table.store().await;
    let mut renewals = JoinSet::new();
    let claims: Vec<Claim> = (0..600).map(|_| fresh()).collect();
    for claim in claims.iter().step_by(2) {
        claimed(&store, claim).await;
    }
    for (index, claim) in claims.into_iter().enumerate() {
        let store = store.clone();
        renewals.spawn(async move { (index % 2 == 0, store.renew(&claim).await.unwrap()) });
    }
    for (is_owner, fence) in renewals.join_all().await {
        assert_eq!(is_owner, fence == Fence::Passed);
    }
}

/// How connections are made to a database with this level for its default.
fn isolated(level: &str) -> PgConnectOptions {
    options().options([("default_transaction_isolation", level)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn whatever_level_is_the_default_renewals_pass_beside_completions() {
    let table = Table::new("default_level").await;
    for level in ["repeatable read", "serializable"] {
        let pool = PgPoolOptions::new()
            .max_connections(8)
            .connect_with(isolated(level))
            .await
            .unwrap();
        let store = table.store_with(pool, |builder| builder.own_connections(isolated(level)));
        for _ in 0..5 {
            let mut verbs = JoinSet::new();
            let mut renewed = Vec::new();
            for _ in 0..60 {
                let [renews, ends] = [fresh(), fresh()];
                claimed(&store, &renews).await;
                claimed(&store, &ends).await;
                renewed.extend([renews, ends]);
                let store = store.clone();
                verbs.spawn(async move {
                    let answer = store.complete(&ends, &response("1")).await;
                    assert_eq!(answer.unwrap(), Completion::Stored);
                    assert_eq!(store.renew(&ends).await.unwrap(), Fence::Fenced);
                });
            }
            for claim in renewed {
                let store = store.clone();
                verbs.spawn(async move {
                    for _ in 0..5 {
                        store.renew(&claim).await.unwrap();
                    }
                });
            }
            while let Some(verb) = verbs.join_next().await {
                verb.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn whatever_level_is_the_default_a_release_passes_beside_a_renewal() {
    let table = Table::new("default_release").await;
    let pool = pool_of(1).await;
    for level in ["repeatable read", "serializable"] {
        let isolated = PgPoolOptions::new().connect_with(isolated(level)).await;
        let store = table.store_with(isolated.unwrap(), |builder| builder);
        let claim = fresh();
        claimed(&store, &claim).await;
        let mut transaction = pool.begin().await.unwrap();
        let renew = format!("UPDATE {} SET lease_ends = lease_ends", table.0);
        sqlx::raw_sql(AssertSqlSafe(renew))
            .execute(&mut *transaction)
            .await
            .unwrap();
        let holder = sqlx::query_scalar("SELECT pg_backend_pid()");
        let holder = holder.fetch_one(&mut *transaction).await.unwrap();
        let commits = async {
            until_somebody_waits_for(holder).await;
            transaction.commit().await.unwrap();
        };
        let (released, ()) = tokio::join!(store.release(&claim), commits);
        assert_eq!(released.unwrap(), Fence::Passed, "{level}");
        claimed(&store, &rival(&claim)).await;
    }
}
