//! What is asked of a server before its first claim: whether it can keep the promises.

use redis::{Cmd, Value};

use super::{RedisStore, verbs::failed};
use crate::store::StoreError;

/// The first version with `SET … NX GET` and shard channels. Valkey names the version of Redis
/// that it is compatible with.
const OLDEST_VERSION: u64 = 7;

impl RedisStore {
    /// Fails where the server does not answer or is too old, and warns where it may forget.
    pub(super) async fn examine(&self) -> Result<(), StoreError> {
        self.within(async {
            self.ask_ping().await?;
            // Both questions may be forbidden to this user, and then stay open.
            if let Some(version) = self.ask_version().await
                && version < OLDEST_VERSION
            {
                return Err(StoreError::unavailable(format!(
                    "the server has version {version}, and version {OLDEST_VERSION} is needed"
                )));
            }
            if let Some(policy) = self.ask_policy().await
                && policy != "noeviction"
            {
                tracing::warn!(
                    policy,
                    "the Redis server may evict claims and records when its memory is full, and \
                     then handlers run twice: set `maxmemory-policy noeviction`",
                );
            }
            Ok(())
        })
        .await
    }

    pub(super) async fn ask_ping(&self) -> Result<(), StoreError> {
        let link = &self.0.link;
        link.one(&redis::cmd("PING")).await.map_err(failed)?;
        Ok(())
    }

    async fn ask_version(&self) -> Option<u64> {
        let mut texts = Vec::new();
        texts_of(
            &self.ask(redis::cmd("INFO").arg("server")).await?,
            &mut texts,
        );
        texts
            .iter()
            .flat_map(|text| text.lines())
            .filter_map(|line| line.strip_prefix("redis_version:"))
            .filter_map(|version| version.split('.').next()?.parse().ok())
            .min()
    }

    /// A policy that evicts, if there is one, and a limit to make it.
    async fn ask_policy(&self) -> Option<String> {
        let mut texts = Vec::new();
        let setting = |name: &str| redis::cmd("CONFIG").arg("GET").arg(name).to_owned();
        texts_of(&self.ask(&setting("maxmemory")).await?, &mut texts);
        if texts.iter().all(|text| text == "maxmemory" || text == "0") {
            return None;
        }
        texts.clear();
        texts_of(&self.ask(&setting("maxmemory-policy")).await?, &mut texts);
        texts
            .into_iter()
            .find(|text| text.starts_with("allkeys-") || text.starts_with("volatile-"))
    }

    async fn ask(&self, cmd: &Cmd) -> Option<Value> {
        self.0.link.one(cmd).await.ok()
    }
}

/// The texts of an answer, which has another shape in each protocol, and in a cluster.
fn texts_of(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::BulkString(bytes) => texts.push(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => texts.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| texts_of(value, texts)),
        Value::Map(pairs) => pairs.iter().for_each(|(key, value)| {
            texts_of(key, texts);
            texts_of(value, texts);
        }),
        _ => {}
    }
}
