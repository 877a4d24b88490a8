//! What a replay from the near cache costs, beside the memory store's own and beside moka's.
//!
//! `cargo bench -p idempotent-runtime --features near-cache,encrypt,memory --bench near_cache`
//! takes all of them in turns, in one run, and prints ratios of medians: times on a shared machine
//! drift, ratios taken side by side do not.

use std::{
    fmt,
    future::Future,
    hint::black_box,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use idempotent_runtime::{
    Claim, Clock, Encrypted, Fingerprint, Key, MemoryStore, NearCache, OwnerToken, RecordId, Scope,
    SealingKey, Store, StoredResponse, SystemClock, Timestamp,
    store::{ClaimAnswer, Completion, Fence, Found, StoreError},
};
use moka::{Expiry, policy::EvictionPolicy, sync::Cache};

const ROUNDS: usize = 51;
const REPLAYS: usize = 2_000;
const TTL: Duration = Duration::from_hours(24);
const LARGE: u64 = 8 << 30;

fn main() {
    // First, while no freed memory is there to be used again.
    memory();
    println!();
    println!("Replay: `claim` of an id that is done, a response of 300 bytes");
    println!(
        "(medians of {ROUNDS} interleaved rounds of {REPLAYS}; near ÷ memory is the goal's figure: ≤ 1.2)\n"
    );
    println!(
        "| live keys | memory | near | near ÷ memory | moka | moka ÷ memory | near over sealed | sealed over near | sealed |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for live in [1, 100, 10_000, 200_000] {
        replay(live);
    }
    println!("\nFirst execution: `claim` and `complete` of a fresh id, in the memory store\n");
    println!("| memory | near | near adds | sealed | sealing adds | moka insert adds |");
    println!("|---|---|---|---|---|---|");
    first();
}

/// A store so slow that nobody asks it twice.
struct Slow {
    memory: MemoryStore,
    asked: AtomicU64,
}

impl Store for Slow {
    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, StoreError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.memory.claim(claim).await
    }

    async fn complete(
        &self,
        claim: &Claim,
        response: &StoredResponse,
    ) -> Result<Completion, StoreError> {
        self.memory.complete(claim, response).await
    }

    async fn release(&self, claim: &Claim) -> Result<Fence, StoreError> {
        self.memory.release(claim).await
    }

    async fn renew(&self, claim: &Claim) -> Result<Fence, StoreError> {
        self.memory.renew(claim).await
    }

    fn needs_lease(&self) -> bool {
        true
    }

    fn abandon(&self, claim: &Claim) {
        self.memory.abandon(claim);
    }
}

/// What moka needs for the same: a look-up and a clock.
struct Moka {
    records: Cache<RecordId, Record>,
    clock: SystemClock,
}

#[derive(Clone)]
struct Record {
    fingerprint: Fingerprint,
    response: StoredResponse,
    expires: Timestamp,
}

struct AfterTtl;

impl Expiry<RecordId, Record> for AfterTtl {
    fn expire_after_create(&self, _: &RecordId, _: &Record, _: Instant) -> Option<Duration> {
        Some(TTL)
    }
}

impl Moka {
    fn new() -> Self {
        let records = Cache::builder()
            .max_capacity(LARGE)
            .weigher(|_, record: &Record| {
                u32::try_from(record.response.as_bytes().len()).unwrap_or(u32::MAX)
            })
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(AfterTtl)
            .build();
        Self {
            records,
            clock: SystemClock::default(),
        }
    }

    fn keep(&self, claim: &Claim, response: &StoredResponse) {
        let record = Record {
            fingerprint: claim.fingerprint,
            response: response.clone(),
            expires: self.clock.now().after(TTL),
        };
        self.records.insert(claim.id, record);
    }

    fn claim(&self, claim: &Claim) -> Option<Found> {
        let now = self.clock.now();
        let record = self.records.get(&claim.id)?;
        Some(Found::Done {
            fingerprint: record.fingerprint,
            response: record.response,
            ttl_left: record.expires.since(now),
        })
    }
}

fn replay(live: usize) {
    let (claims, stored) = (claims("replay", live), response());
    let memory = large();
    let near = NearCache::new(
        Slow {
            memory: large(),
            asked: AtomicU64::new(0),
        },
        LARGE,
    );
    let moka = Moka::new();
    let near_over_sealed = NearCache::new(Encrypted::new(large(), key()), LARGE);
    let sealed_over_near = Encrypted::new(NearCache::new(large(), LARGE), key());
    let sealed = Encrypted::new(large(), key());
    for claim in &claims {
        run(&memory, claim, &stored);
        run(&near, claim, &stored);
        run(&near_over_sealed, claim, &stored);
        run(&sealed_over_near, claim, &stored);
        run(&sealed, claim, &stored);
        moka.keep(claim, &stored);
    }
    moka.records.run_pending_tasks();
    let asked = near.inner().asked.load(Ordering::Relaxed);
    let medians = interleaved([
        &mut |at| replayed(&memory, &claims[at % live]),
        &mut |at| replayed(&near, &claims[at % live]),
        &mut |at| drop(black_box(moka.claim(&claims[at % live]).expect("a record"))),
        &mut |at| replayed(&near_over_sealed, &claims[at % live]),
        &mut |at| replayed(&sealed_over_near, &claims[at % live]),
        &mut |at| replayed(&sealed, &claims[at % live]),
    ]);
    assert_eq!(
        near.inner().asked.load(Ordering::Relaxed),
        asked,
        "no replay asks the store"
    );
    let [
        memory,
        near,
        moka,
        near_over_sealed,
        sealed_over_near,
        sealed,
    ] = medians;
    println!(
        "| {live} | {} | {} | {:.2} | {} | {:.2} | {} | {} | {} |",
        Nanos(memory),
        Nanos(near),
        near / memory,
        Nanos(moka),
        moka / memory,
        Nanos(near_over_sealed),
        Nanos(sealed_over_near),
        Nanos(sealed),
    );
}

fn first() {
    let fresh = claims("first", ROUNDS * REPLAYS + REPLAYS);
    let stored = response();
    let memory = large();
    let near = NearCache::new(large(), LARGE);
    let sealed = Encrypted::new(large(), key());
    let (moka, beside) = (Moka::new(), large());
    let [memory, near, sealed, moka] = interleaved([
        &mut |at| run(&memory, &fresh[at], &stored),
        &mut |at| run(&near, &fresh[at], &stored),
        &mut |at| run(&sealed, &fresh[at], &stored),
        &mut |at| {
            run(&beside, &fresh[at], &stored);
            moka.keep(&fresh[at], &stored);
        },
    ]);
    println!(
        "| {} | {} | {} | {} | {} | {} |",
        Nanos(memory),
        Nanos(near),
        Nanos(near - memory),
        Nanos(sealed),
        Nanos(sealed - memory),
        Nanos(moka - memory),
    );
}

/// What a record takes, beside what it is counted as.
fn memory() {
    let live = 200_000;
    let claims = claims("memory", live);
    let before = resident_bytes();
    let near = NearCache::new(Forgets, LARGE);
    for claim in &claims {
        // Of its own, as a record that a driver has read.
        run(&near, claim, &response());
    }
    let taken = resident_bytes().saturating_sub(before) / live as u64;
    println!(
        "{taken} bytes of resident memory for each of {live} records of a 300-byte response ({} bytes stored), counted as {}",
        response().as_bytes().len(),
        near.bytes() / live as u64,
    );
}

/// A store that takes no memory.
struct Forgets;

impl Store for Forgets {
    async fn claim(&self, _: &Claim) -> Result<ClaimAnswer, StoreError> {
        Ok(ClaimAnswer::Claimed)
    }

    async fn complete(&self, _: &Claim, _: &StoredResponse) -> Result<Completion, StoreError> {
        Ok(Completion::Stored)
    }

    async fn release(&self, _: &Claim) -> Result<Fence, StoreError> {
        Ok(Fence::Passed)
    }

    async fn renew(&self, _: &Claim) -> Result<Fence, StoreError> {
        Ok(Fence::Passed)
    }

    fn needs_lease(&self) -> bool {
        true
    }

    fn abandon(&self, _: &Claim) {}
}

/// The median time of one call of each, in nanoseconds.
fn interleaved<const N: usize>(mut calls: [&mut dyn FnMut(usize); N]) -> [f64; N] {
    let mut next = 0;
    let mut rounds: [Vec<f64>; N] = std::array::from_fn(|_| Vec::with_capacity(ROUNDS));
    for round in 0..=ROUNDS {
        for (call, times) in calls.iter_mut().zip(&mut rounds) {
            let started = Instant::now();
            for at in next..next + REPLAYS {
                call(at);
            }
            #[allow(clippy::cast_precision_loss)]
            let each = started.elapsed().as_secs_f64() / REPLAYS as f64 * 1e9;
            // The first round warms up.
            if round > 0 {
                times.push(each);
            }
        }
        next += REPLAYS;
    }
    rounds.map(|mut times| {
        times.sort_unstable_by(f64::total_cmp);
        times[times.len() / 2]
    })
}

struct Nanos(f64);

impl fmt::Display for Nanos {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.0} ns", self.0)
    }
}

fn replayed(store: &impl Store, claim: &Claim) {
    let answer = ready(store.claim(claim)).expect("an answer");
    assert!(matches!(
        black_box(answer),
        ClaimAnswer::Found(Found::Done { .. })
    ));
}

fn run(store: &impl Store, claim: &Claim, response: &StoredResponse) {
    ready(store.claim(claim)).expect("a claim");
    ready(store.complete(claim, response)).expect("a record");
}

/// None of these stores ever waits.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(ready) => ready,
        Poll::Pending => unreachable!("a store in memory answers at once"),
    }
}

fn large() -> MemoryStore {
    MemoryStore::builder()
        .max_bytes(LARGE)
        .max_entries(10_000_000)
        .build()
}

fn key() -> SealingKey {
    SealingKey::new([7; 32])
}

fn claims(name: &str, count: usize) -> Vec<Claim> {
    let claim = |number: usize| {
        let key = Key::from_value(&format!("{name}-{number}")).expect("a key");
        let id = RecordId::new("", &["POST /payments"], &Scope::global(), &key);
        let owner = OwnerToken::new(number as u128);
        let mut claim = Claim::new(id, owner, Fingerprint::NONE);
        claim.max_response = 1024;
        claim.ttl = TTL;
        claim
    };
    (0..count).map(claim).collect()
}

fn response() -> StoredResponse {
    let headers: [(&str, &[u8]); 2] = [
        ("content-type", b"application/json"),
        (
            "location",
            b"/payments/00000000-0000-4000-8000-000000000000",
        ),
    ];
    StoredResponse::new(201, &headers, &[b'x'; 300])
}

/// What the process holds in memory, as Linux tells it; 0 elsewhere.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0_u64) * 4096
}
