//! `#[idempotent(runtime = …)]` on functions.

use idempotent_runtime::{Idempotency, OnceError, OnceExecution, Outcome, Scope, idempotent};
use idempotent_tests::{Kind, World};
use serde::{Deserialize, Serialize};

use crate::{Caller, on_every_store};

#[derive(Clone)]
struct State {
    idempotency: Idempotency,
    world: World,
}

struct Paid {
    id: u64,
    customer: &'static str,
    fails: bool,
}

impl Paid {
    fn event(id: u64) -> Self {
        Self {
            id,
            customer: "alice",
            fails: false,
        }
    }

    fn fails(self) -> Self {
        Self {
            fails: true,
            ..self
        }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Failed {
    Declined(usize),
    Refused(String),
}

impl From<OnceError> for Failed {
    fn from(error: OnceError) -> Self {
        Self::Refused(error.to_string())
    }
}

#[idempotent(runtime = state.idempotency, key = event.id, scope = "global", ttl = "7d")]
async fn released(state: State, event: Paid) -> Result<usize, Failed> {
    let effect = state.world.act();
    if event.fails {
        return Err(Failed::Declined(effect));
    }
    Ok(effect)
}

#[idempotent(
    runtime = state.idempotency,
    key = event.id,
    scope = event.customer,
    fingerprint = event.fails,
    errors = "record",
    operation = "record"
)]
async fn recorded(state: State, event: Paid) -> Result<usize, Failed> {
    let effect = state.world.act();
    if event.fails {
        return Err(Failed::Declined(effect));
    }
    Ok(effect)
}

#[idempotent(runtime = state.idempotency, key = id, scope = "global")]
async fn committed(
    state: State,
    execution: OnceExecution<usize>,
    id: u64,
) -> Result<usize, Failed> {
    assert_eq!(id, 1);
    let value = execution.commit(state.world.act()).await;
    Err(Failed::Declined(value.unwrap()))
}

impl Caller {
    fn state(&self) -> State {
        State {
            idempotency: self.idempotency.clone(),
            world: self.world.clone(),
        }
    }
}

on_every_store! {
    async fn a_function_runs_once_for_a_key(kind: Kind) {
        let caller = Caller::on(kind).await;
        for _ in 0..2 {
            assert_eq!(released(caller.state(), Paid::event(1)).await, Ok(1));
        }
        assert_eq!(released(caller.state(), Paid::event(2)).await, Ok(2));
        // Its name is its path.
        let operation = concat!(module_path!(), "::released");
        let same = caller.idempotency.once(operation, Scope::global(), 1);
        assert!(same.run(async { 3 }).await.unwrap().replayed);
    }

    async fn an_error_frees_the_key_unless_errors_are_recorded(kind: Kind) {
        let caller = Caller::on(kind).await;
        for effect in [1, 2] {
            let failed = released(caller.state(), Paid::event(1).fails()).await;
            assert_eq!(failed, Err(Failed::Declined(effect)));
        }
        for _ in 0..2 {
            let failed = recorded(caller.state(), Paid::event(1).fails()).await;
            assert_eq!(failed, Err(Failed::Declined(3)));
        }
        let reused = recorded(caller.state(), Paid::event(1)).await;
        assert_eq!(reused, Err(Failed::from(OnceError::KeyReused)));
        let bob = Paid { customer: "bob", ..Paid::event(1) };
        assert_eq!(recorded(caller.state(), bob).await, Ok(4));
    }

    async fn a_function_is_given_its_run(kind: Kind) {
        let caller = Caller::on(kind).await;
        assert_eq!(committed(caller.state(), 1).await, Err(Failed::Declined(1)));
        assert_eq!(committed(caller.state(), 1).await, Ok(1));
        assert_eq!(caller.outcomes(), [Outcome::Executed, Outcome::Replayed]);
    }
}
