//! The other design: live claims in a sharded map, finished records in moka with an expiry of
//! their own. It is here to be measured beside the memory store, and kept so that the choice can
//! be looked at again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use idempotent_runtime::{
    Claim, Fingerprint, OwnerToken, RecordId, Store, StoredResponse,
    store::{ClaimAnswer, Completion, Fence, Found, StoreError},
};
use moka::{Expiry, sync::Cache};

const SHARDS: usize = 256;

pub(crate) struct MokaStore {
    claims: Vec<Mutex<HashMap<RecordId, (OwnerToken, Fingerprint)>>>,
    records: Cache<RecordId, Record>,
}

#[derive(Clone)]
struct Record {
    owner: OwnerToken,
    fingerprint: Fingerprint,
    ttl: Duration,
    response: StoredResponse,
}

struct Ttl;

impl Expiry<RecordId, Record> for Ttl {
    fn expire_after_create(&self, _: &RecordId, record: &Record, _: Instant) -> Option<Duration> {
        Some(record.ttl)
    }
}

impl Default for MokaStore {
    fn default() -> Self {
        Self {
            claims: std::iter::repeat_with(Mutex::default)
                .take(SHARDS)
                .collect(),
            records: Cache::builder().expire_after(Ttl).build(),
        }
    }
}

impl MokaStore {
    fn claims(
        &self,
        id: &RecordId,
    ) -> MutexGuard<'_, HashMap<RecordId, (OwnerToken, Fingerprint)>> {
        let shard = usize::from(id.as_bytes()[0]) % SHARDS;
        self.claims[shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the claim away, if it is the owner's.
    fn end(&self, claim: &Claim) -> Fence {
        let mut claims = self.claims(&claim.id);
        match claims.get(&claim.id) {
            Some((owner, _)) if *owner == claim.owner => {
                claims.remove(&claim.id);
                Fence::Passed
            }
            _ => Fence::Fenced,
        }
    }
}

impl Store for MokaStore {
    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, StoreError> {
        // The claim first, the record after it: completion goes the other way round, so that an
        // id is never seen without either.
        {
            let mut claims = self.claims(&claim.id);
            if let Some((owner, fingerprint)) = claims.get(&claim.id) {
                return Ok(if *owner == claim.owner {
                    ClaimAnswer::Claimed
                } else {
                    ClaimAnswer::Found(Found::Running {
                        fingerprint: *fingerprint,
                        lease_left: None,
                    })
                });
            }
            claims.insert(claim.id, (claim.owner, claim.fingerprint));
        }
        let Some(record) = self.records.get(&claim.id) else {
            return Ok(ClaimAnswer::Claimed);
        };
        self.end(claim);
        Ok(ClaimAnswer::Found(Found::Done {
            fingerprint: record.fingerprint,
            response: record.response,
            ttl_left: Duration::ZERO,
        }))
    }

    async fn complete(
        &self,
        claim: &Claim,
        response: &StoredResponse,
    ) -> Result<Completion, StoreError> {
        if let Some(record) = self.records.get(&claim.id)
            && record.owner == claim.owner
        {
            return Ok(Completion::Stored);
        }
        let record = Record {
            owner: claim.owner,
            fingerprint: claim.fingerprint,
            ttl: claim.ttl,
            response: response.clone(),
        };
        self.records.insert(claim.id, record);
        self.end(claim);
        Ok(Completion::Stored)
    }

    async fn release(&self, claim: &Claim) -> Result<Fence, StoreError> {
        Ok(self.end(claim))
    }

    async fn renew(&self, claim: &Claim) -> Result<Fence, StoreError> {
        let held = self.claims(&claim.id).get(&claim.id).copied();
        Ok(match held {
            Some((owner, _)) if owner == claim.owner => Fence::Passed,
            _ => Fence::Fenced,
        })
    }

    fn needs_lease(&self) -> bool {
        false
    }

    fn abandon(&self, claim: &Claim) {
        self.end(claim);
    }
}
