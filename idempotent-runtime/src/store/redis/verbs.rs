//! The verbs: what is sent to the server, and what its answers mean.

use std::future::Future;

use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};

use super::{
    RedisStore,
    builder::Replicas,
    link::Link,
    script::{self, Script},
    value::{self, Kept},
};
use crate::{
    core::{
        record::{Claim, RecordId},
        response::StoredResponse,
    },
    store::{ClaimAnswer, Completion, Fence, StoreError},
};

impl RedisStore {
    pub(super) async fn ask_claim(&self, claim: &Claim) -> Result<ClaimAnswer, StoreError> {
        let key = self.key(&claim.id);
        // One command finds its way in a cluster that is being resharded; two together may not.
        if claim.takes_over || self.0.link.servers().is_cluster() {
            return self.claim_by_script(claim, &key).await;
        }
        // Asked first, the time that is left is never more than what is left of what is found.
        let mut pipeline = Pipeline::with_capacity(3);
        pipeline.cmd("PTTL").arg(&key);
        pipeline
            .cmd("SET")
            .arg(&key)
            .arg(value::of_claim(claim))
            .arg("NX")
            .arg("GET")
            .arg("PX")
            .arg(value::claim_lifetime(claim));
        self.add_wait(&mut pipeline);
        let mut answers = self
            .0
            .link
            .several(&pipeline)
            .await
            .map_err(failed)?
            .into_iter();
        let mut answer = || answers.next().unwrap_or(Value::Nil);
        let (left, found, acknowledged) = (answer(), answer(), answer());
        let found = match found.extract_error().map_err(failed) {
            Ok(Value::Nil) => return self.granted(claim, &acknowledged).await,
            Ok(found) => found,
            Err(StoreError::Full) => return self.look_when_full(claim, &key).await,
            Err(error) => return Err(error),
        };
        let (kept, left) = read(&claim.id, found, &left)?;
        if kept.is_lost(left) {
            return self.claim_by_script(claim, &key).await;
        }
        if kept.is_claim_of(claim.owner) {
            // What was written on a connection that is lost is not what `WAIT` speaks of here.
            return match self.0.replicas {
                Some(_) => self.claim_by_script(claim, &key).await,
                None => Ok(ClaimAnswer::Claimed),
            };
        }
        Ok(ClaimAnswer::Found(kept.found(left)))
    }

    async fn claim_by_script(&self, claim: &Claim, key: &[u8]) -> Result<ClaimAnswer, StoreError> {
        let value = value::of_claim(claim);
        let lifetime = value::claim_lifetime(claim).to_string();
        let takes_over: &[u8] = if claim.takes_over { b"1" } else { b"0" };
        let arguments: [&[u8]; 3] = [&value, lifetime.as_bytes(), takes_over];
        let (answer, acknowledged) = match self.run_and_wait(&script::CLAIM, key, &arguments).await
        {
            Err(StoreError::Full) => return self.look_when_full(claim, key).await,
            answer => answer?,
        };
        match read_pair(&claim.id, answer)? {
            None => self.granted(claim, &acknowledged).await,
            Some((kept, _)) if kept.is_claim_of(claim.owner) => {
                self.granted(claim, &acknowledged).await
            }
            Some((kept, left)) => Ok(ClaimAnswer::Found(kept.found(left))),
        }
    }

    /// A grant, once the replicas have it that must.
    async fn granted(
        &self,
        claim: &Claim,
        acknowledged: &Value,
    ) -> Result<ClaimAnswer, StoreError> {
        if let Err(error) = self.check_wait(acknowledged) {
            // If this fails too, the claim ends with its lease. One that took the place of a lost
            // one always does: freed, nobody would know of the lost one any more.
            if !claim.takes_over {
                let _ = self.ask_release(claim).await;
            }
            return Err(error);
        }
        Ok(ClaimAnswer::Claimed)
    }

    /// A full server refuses even a claim that would have been refused: what it has is still
    /// told.
    async fn look_when_full(&self, claim: &Claim, key: &[u8]) -> Result<ClaimAnswer, StoreError> {
        let answer = run(&self.0.link, &script::LOOK, key, &[]).await?;
        match read_pair(&claim.id, answer)? {
            // Granted before, and the answer was lost: whoever asked gives it back.
            Some((kept, _)) if kept.is_claim_of(claim.owner) => {
                Err(StoreError::unavailable("the server's memory is full"))
            }
            Some((kept, left)) => Ok(ClaimAnswer::Found(kept.found(left))),
            None => Err(StoreError::Full),
        }
    }

    pub(super) async fn ask_complete(
        &self,
        claim: &Claim,
        response: &StoredResponse,
    ) -> Result<Completion, StoreError> {
        let (key, value) = (self.key(&claim.id), value::of_record(claim, response));
        let ttl = value::millis(claim.ttl).to_string();
        let arguments: [&[u8]; 2] = [&value, ttl.as_bytes()];
        let (answer, acknowledged) =
            match self.run_and_wait(&script::COMPLETE, &key, &arguments).await {
                // The claim stands, and there may be room when it is tried again.
                Err(StoreError::Full) => {
                    return Err(StoreError::unavailable("the server's memory is full"));
                }
                answer => answer?,
            };
        match read_pair(&claim.id, answer)? {
            None => self.check_wait(&acknowledged).map(|()| Completion::Stored),
            Some((kept, left)) => Ok(Completion::Fenced(kept.found(left))),
        }
    }

    /// Behind claims on their connection, so that it does not come before its own that was given
    /// up on the way. Without a `WAIT`, whose answer would change nothing.
    pub(super) async fn ask_release(&self, claim: &Claim) -> Result<Fence, StoreError> {
        let owner = value::owner_bytes(claim.owner);
        let key = self.key(&claim.id);
        let answer = run(&self.0.link, &script::RELEASE, &key, &[&owner]).await?;
        fence(&answer)
    }

    /// Not behind claims that wait for replicas: a running handler keeps its claim without them.
    pub(super) async fn ask_renew(&self, claim: &Claim) -> Result<Fence, StoreError> {
        let owner = value::owner_bytes(claim.owner);
        let lifetime = value::claim_lifetime(claim).to_string();
        let key = self.key(&claim.id);
        let arguments: [&[u8]; 2] = [&owner, lifetime.as_bytes()];
        let answer = run(&self.0.unheld, &script::RENEW, &key, &arguments).await?;
        fence(&answer)
    }

    /// Runs a script, and gives its answer and that of the replicas, if they are to be waited for.
    async fn run_and_wait(
        &self,
        script: &Script,
        key: &[u8],
        arguments: &[&[u8]],
    ) -> Result<(Value, Value), StoreError> {
        call(script, key, arguments, |call| self.ask_and_wait(call)).await
    }

    async fn ask_and_wait(&self, call: Cmd) -> RedisResult<(Value, Value)> {
        let link = &self.0.link;
        if self.0.replicas.is_none() {
            return Ok((link.one(&call).await?, Value::Nil));
        }
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.add_command(call);
        self.add_wait(&mut pipeline);
        let mut answers = link.several(&pipeline).await?.into_iter();
        let mut answer = || answers.next().unwrap_or(Value::Nil);
        Ok((answer().extract_error()?, answer()))
    }

    /// `WAIT` speaks of everything that this connection has written.
    fn add_wait(&self, pipeline: &mut Pipeline) {
        if let Some(Replicas { count, limit }) = self.0.replicas {
            pipeline.cmd("WAIT").arg(count).arg(value::millis(limit));
        }
    }

    fn check_wait(&self, acknowledged: &Value) -> Result<(), StoreError> {
        match (self.0.replicas, acknowledged) {
            (None, _) => Ok(()),
            (Some(Replicas { count, .. }), Value::Int(have)) if *have >= i64::from(count) => Ok(()),
            (Some(Replicas { count, .. }), Value::Int(have)) => Err(StoreError::unavailable(
                format!("{have} replicas have the write, and {count} are wanted"),
            )),
            (Some(_), other) => Err(other
                .clone()
                .extract_error()
                .map_or_else(failed, |_| unexpected())),
        }
    }

    /// Whose claim runs under the key, if one does.
    pub(super) async fn watch(
        &self,
        id: &RecordId,
        key: &[u8],
    ) -> Result<Option<[u8; 16]>, StoreError> {
        let answer = run(&self.0.unheld, &script::WATCH, key, &[]).await?;
        Ok(read_pair(id, answer)?.and_then(|(kept, left)| kept.runs_for(left)))
    }
}

/// Runs a script.
pub(super) async fn run(
    link: &Link,
    script: &Script,
    key: &[u8],
    arguments: &[&[u8]],
) -> Result<Value, StoreError> {
    let ask = |call| async move { link.one(&call).await };
    call(script, key, arguments, ask).await
}

/// Calls a script, once more with its code if the server has not seen it or has forgotten it.
async fn call<T, A: Future<Output = RedisResult<T>>>(
    script: &Script,
    key: &[u8],
    arguments: &[&[u8]],
    ask: impl Fn(Cmd) -> A,
) -> Result<T, StoreError> {
    let forgotten = ErrorKind::Server(ServerErrorKind::NoScript);
    match ask(script.by_hash(key, arguments)).await {
        Err(error) if error.kind() == forgotten => ask(script.by_code(key, arguments)).await,
        called => called,
    }
    .map_err(failed)
}

/// A value and what is left of it.
pub(super) fn read(id: &RecordId, value: Value, left: &Value) -> Result<(Kept, i64), StoreError> {
    let (Value::BulkString(bytes), Value::Int(left)) = (value, left) else {
        return Err(unexpected());
    };
    Ok((Kept::read(id, bytes)?, *left))
}

/// What a script answers: that nothing is in the way any more, or what is.
fn read_pair(id: &RecordId, answer: Value) -> Result<Option<(Kept, i64)>, StoreError> {
    let Value::Array(parts) = answer else {
        return match answer {
            Value::Int(1) => Ok(None),
            _ => Err(unexpected()),
        };
    };
    let mut parts = parts.into_iter();
    match (parts.next(), parts.next()) {
        (Some(Value::Nil), _) => Ok(None),
        (Some(found), Some(left)) => read(id, found, &left).map(Some),
        _ => Err(unexpected()),
    }
}

fn fence(answer: &Value) -> Result<Fence, StoreError> {
    match answer {
        Value::Int(1) => Ok(Fence::Passed),
        Value::Int(0) => Ok(Fence::Fenced),
        Value::Int(-1) => Err(value::damaged()),
        _ => Err(unexpected()),
    }
}

pub(super) fn unexpected() -> StoreError {
    StoreError::unavailable("the server's answer is not one to this question")
}

/// What an error of the driver or the server means to a caller.
pub(super) fn failed(error: RedisError) -> StoreError {
    match error.code() {
        Some("OOM") => StoreError::Full,
        // Something else uses keys under this prefix.
        Some("WRONGTYPE") => StoreError::unreadable(error),
        _ => StoreError::unavailable(error),
    }
}
