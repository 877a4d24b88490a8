//! The driver, with paused time and answers made up.

use std::{
    cell::Cell,
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
};

use super::*;
use crate::{KeyFate, KeyStoreError, MemoryKeyStore, RetryPolicy, key_store::Run};

/// What happens to one attempt.
#[derive(Clone, Copy, Debug)]
enum Event {
    Answer(u16),
    Problem(u16, &'static str),
    Replay(u16),
    After(u16, &'static str),
    Lost,
    Silence,
    NotSent,
    Fatal,
}

use Event::{After, Fatal, Lost, NotSent, Problem, Replay, Silence};

/// A server that plays a script, and remembers the keys it was sent.
#[derive(Clone)]
struct Script {
    events: Arc<Mutex<VecDeque<Event>>>,
    keys: Arc<Mutex<Vec<IdempotencyKey>>>,
}

type Told = Result<(u16, Attempts), OperationError<io::Error>>;

impl Script {
    fn new(events: impl IntoIterator<Item = Event>) -> Self {
        Self {
            events: Arc::new(Mutex::new(events.into_iter().collect())),
            keys: Arc::default(),
        }
    }

    async fn play(&self, attempt: Attempt) -> Result<Answer<u16>, Failure<io::Error>> {
        self.keys.lock().unwrap().push(attempt.key().clone());
        assert_eq!(self.keys().len(), attempt.number() as usize);
        let event = self.events.lock().unwrap().pop_front();
        let mut headers = HeaderMap::new();
        let mut body = String::new();
        let status = match event.expect("no more attempts than there should be") {
            Event::Answer(status) => status,
            Problem(status, code) => {
                body = format!(r#"{{"code":"{code}"}}"#);
                status
            }
            Replay(status) => {
                headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
                status
            }
            After(status, after) => {
                headers.insert("retry-after", HeaderValue::from_static(after));
                status
            }
            Lost => return Err(Failure::Lost(io::ErrorKind::ConnectionReset.into())),
            NotSent => return Err(Failure::NotSent(io::ErrorKind::InvalidInput.into())),
            Fatal => return Err(Failure::Fatal(io::ErrorKind::Other.into())),
            Silence => std::future::pending().await,
        };
        let code = StatusCode::from_u16(status).unwrap();
        Ok(Answer::classified(code, &headers, body.as_bytes(), status))
    }

    fn keys(&self) -> Vec<IdempotencyKey> {
        self.keys.lock().unwrap().clone()
    }

    async fn run(&self, retry: &Retry, operation: &Operation) -> Told {
        let told = retry.run(operation, |attempt| self.play(attempt)).await;
        let keys = self.keys();
        assert!(keys.windows(2).all(|two| two[0] == two[1]), "one key");
        let left = self.events.lock().unwrap().len();
        assert_eq!(left, 0, "each event was seen: {told:?}");
        told
    }
}

async fn once(events: impl IntoIterator<Item = Event>) -> Told {
    let script = Script::new(events);
    script.run(&Retry::default(), &Operation::new()).await
}

#[tokio::test(start_paused = true)]
async fn what_may_be_sent_again_is() {
    for event in [
        Lost,
        Silence,
        Problem(409, "in-flight"),
        Event::Answer(408),
        Event::Answer(429),
        Event::Answer(502),
        Event::Answer(503),
        Event::Answer(504),
    ] {
        let (status, attempts) = once([event, event, Replay(201)]).await.unwrap();
        assert_eq!(status, 201);
        assert_eq!(attempts.count(), 3);
        assert!(attempts.is_replay() && attempts.is_certain() && !attempts.is_key_kept());
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_not_is_not() {
    for (event, is_certain) in [
        (Event::Answer(201), true),
        (Event::Answer(400), true),
        (Event::Answer(401), true),
        (Event::Answer(422), true),
        (Problem(422, "key-reused"), false),
        (Problem(409, "outcome-unknown"), false),
        (Problem(409, "response-not-kept"), true),
        (Event::Answer(409), false),
        (Event::Answer(500), false),
        (Replay(500), false),
        (Replay(503), false),
        (Replay(429), true),
    ] {
        let (_, attempts) = once([event]).await.unwrap();
        assert_eq!(attempts.count(), 1, "{event:?}");
        assert_eq!(attempts.is_certain(), is_certain, "{event:?}");
        assert_eq!(attempts.is_key_kept(), !is_certain, "{event:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_answer_is_given_whatever_it_is() {
    let (status, attempts) = once([Event::Answer(503); 8]).await.unwrap();
    assert_eq!((status, attempts.count()), (503, 8));
    assert!(!attempts.is_certain() && attempts.is_key_kept());
}

#[tokio::test(start_paused = true)]
async fn the_last_error_says_what_is_known() {
    let error = once([Lost; 8]).await.unwrap_err();
    assert!(error.is_uncertain());
    let text = error.to_string();
    let hash = error.key().unwrap().short_hash();
    assert!(text.starts_with(&format!("operation #{hash} ")), "{text}");
    assert!(text.contains("after 8 attempts"), "{text}");
    assert!(!text.contains(error.key().unwrap().as_str()));
    assert!(!format!("{error:?}").contains(error.key().unwrap().as_str()));

    let error = once([NotSent]).await.unwrap_err();
    assert!(!error.is_uncertain());
    let error = once([Lost, NotSent]).await.unwrap_err();
    assert!(error.is_uncertain());
    let error = once([Fatal]).await.unwrap_err();
    assert!(error.is_uncertain());
}

#[tokio::test(start_paused = true)]
async fn waits_as_long_as_the_server_says() {
    let start = Instant::now();
    once([After(503, "30"), Event::Answer(201)]).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(30));
    assert!(start.elapsed() < Duration::from_secs(31));
}

#[tokio::test(start_paused = true)]
async fn does_not_wait_for_what_comes_too_late() {
    let start = Instant::now();
    let (status, attempts) = once([After(503, "3600")]).await.unwrap();
    assert_eq!((status, attempts.count()), (503, 1));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn no_attempt_and_no_operation_takes_longer_than_allowed() {
    let start = Instant::now();
    let policy = RetryPolicy::default()
        .max_attempts(3)
        .attempt_timeout(Duration::from_secs(5));
    let script = Script::new([Silence; 3]);
    let (retry, operation) = (Retry::new(policy.clone()), Operation::new());
    let error = script.run(&retry, &operation).await.unwrap_err();
    assert!(error.is_uncertain());
    assert!(start.elapsed() >= Duration::from_secs(15));
    assert!(start.elapsed() <= Duration::from_secs(16));

    let start = Instant::now();
    let policy = policy.max_time(Duration::from_secs(3));
    let script = Script::new([Silence]);
    let error = script.run(&Retry::new(policy), &operation).await;
    assert!(error.unwrap_err().is_uncertain());
    assert_eq!(start.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_a_lost_attempt_is_not_certain() {
    let (status, attempts) = once([Lost, Event::Answer(401)]).await.unwrap();
    assert_eq!(status, 401);
    assert!(!attempts.is_certain() && attempts.is_key_kept());

    // Nor is it in the next run, of the same operation or of another with its key; and of a key of the caller's own nobody knows here whether it was
    // sent before.
    let own = IdempotencyKey::new("invoice-4711").unwrap();
    let [once, other] = [attempts.key().clone(), own].map(Operation::with_key);
    let twice = Operation::new();
    let script = Script::new([Lost; 8]);
    let lost = script.run(&Retry::default(), &twice.clone()).await;
    lost.unwrap_err();
    for operation in [once, other, twice] {
        let script = Script::new([Event::Answer(401)]);
        let (_, again) = script.run(&Retry::default(), &operation).await.unwrap();
        assert!(!again.is_certain() && again.is_key_kept());
        let script = Script::new([NotSent]);
        let error = script.run(&Retry::default(), &operation).await.unwrap_err();
        assert!(error.is_uncertain());
        let script = Script::new([Replay(404)]);
        let (_, replayed) = script.run(&Retry::default(), &operation).await.unwrap();
        assert!(replayed.is_certain());
    }
}

#[tokio::test(start_paused = true)]
async fn a_named_operation_has_one_key_until_it_is_forgotten() {
    let store = MemoryKeyStore::new();
    let retry = Retry::default().key_store(store.clone());
    let operation = Operation::named("invoice-4711");
    let mut key = None;
    for events in [
        vec![Lost; 8],
        vec![Event::Answer(401)],
        vec![Event::Answer(500)],
        vec![NotSent],
        vec![Problem(422, "key-reused")],
        vec![Problem(409, "outcome-unknown")],
        vec![Event::Answer(201)],
        vec![Replay(201)],
    ] {
        let is_done = matches!(events[0], Event::Answer(201) | Replay(201));
        let script = Script::new(events.clone());
        let told = script.run(&retry, &operation).await;
        let (is_certain, is_kept) = match &told {
            Ok((_, attempts)) => (attempts.is_certain(), attempts.is_key_kept()),
            Err(error) => (
                !error.is_uncertain(),
                error.attempts().unwrap().is_key_kept(),
            ),
        };
        assert_eq!((is_certain, is_kept), (is_done, true), "{events:?}");
        let sent = script.keys()[0].clone();
        assert_eq!(*key.get_or_insert(sent.clone()), sent, "{events:?}");
    }
    assert!(store.forget("invoice-4711").await.unwrap());
    let script = Script::new([Event::Answer(400)]);
    let (_, attempts) = script.run(&retry, &operation).await.unwrap();
    assert_ne!(Some(attempts.key()), key.as_ref(), "it starts over");
    assert!(attempts.is_certain() && !attempts.is_key_kept());
}

#[tokio::test(start_paused = true)]
async fn an_error_names_the_operation() {
    let retry = Retry::new(RetryPolicy::never()).key_store(MemoryKeyStore::new());
    let operation = Operation::named("invoice-4711");
    let error = Script::new([Lost]).run(&retry, &operation).await;
    let text = error.unwrap_err().to_string();
    assert_eq!(
        text,
        "operation \"invoice-4711\" has an uncertain outcome after 1 attempt: it may have been \
         done. Its key is kept: run it again by the same name, or find out"
    );
    let error = Script::new([]).run(&Retry::default(), &operation).await;
    assert!(matches!(error, Err(OperationError::NoKeyStore { .. })));
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_is_dropped_keeps_its_key() {
    let store = MemoryKeyStore::new();
    let retry = Retry::default().key_store(store.clone());
    let operation = Operation::named("invoice-4711");
    let script = Script::new([Silence]);
    let dropped = script.run(&retry, &operation);
    assert!(timeout(Duration::from_secs(1), dropped).await.is_err());
    let script_again = Script::new([Event::Answer(401)]);
    let (_, again) = script_again.run(&retry, &operation).await.unwrap();
    assert_eq!(script.keys()[0], *again.key());
    assert!(!again.is_certain(), "the dropped one may have done it");
    assert!(store.forget("invoice-4711").await.unwrap());
}

/// A store that is slow to say that it has done its part.
#[derive(Debug, Default)]
struct SlowToEnd(MemoryKeyStore);

#[async_trait::async_trait]
impl KeyStore for SlowToEnd {
    async fn begin(
        &self,
        name: &str,
        key: IdempotencyKey,
        ttl: Duration,
    ) -> Result<Run, KeyStoreError> {
        self.0.begin(name, key, ttl).await
    }

    async fn end(
        &self,
        name: &str,
        run: &Run,
        outcome: RunOutcome,
    ) -> Result<KeyFate, KeyStoreError> {
        let fate = self.0.end(name, run, outcome).await;
        sleep(Duration::from_secs(2)).await;
        fate
    }

    fn abandon(&self, name: &str, run: &Run) {
        self.0.abandon(name, run);
    }

    async fn forget(&self, name: &str) -> Result<bool, KeyStoreError> {
        self.0.forget(name).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_is_dropped_while_it_ends_keeps_its_key() {
    let retry = Retry::default().key_store(SlowToEnd::default());
    let operation = Operation::named("invoice-4711");
    let script = Script::new([Event::Answer(400)]);
    let dropped = script.run(&retry, &operation);
    assert!(timeout(Duration::from_secs(1), dropped).await.is_err());
    // Its caller was not told that it is refused, and asks again.
    let script_again = Script::new([Event::Answer(201)]);
    let (_, again) = script_again.run(&retry, &operation).await.unwrap();
    assert_eq!(script.keys()[0], *again.key());
}

#[tokio::test(start_paused = true)]
async fn an_expired_key_is_not_sent() {
    let store = MemoryKeyStore::new();
    let retry = Retry::new(RetryPolicy::never()).key_store(store.clone());
    let operation = Operation::named("invoice-4711");
    let script = Script::new([Lost]);
    script.run(&retry, &operation).await.unwrap_err();
    let expired = retry.key_ttl(Duration::ZERO);
    let error = Script::new([]).run(&expired, &operation).await.unwrap_err();
    assert!(error.is_uncertain());
    let OperationError::KeyStore { source, .. } = error else {
        panic!("{error}");
    };
    assert!(source.to_string().contains("`forget`"), "{source}");
    store.forget("invoice-4711").await.unwrap();
    let script_again = Script::new([Event::Answer(201)]);
    let retry = expired.key_ttl(DEFAULT_KEY_TTL);
    let (_, again) = script_again.run(&retry, &operation).await.unwrap();
    assert_ne!(*again.key(), script.keys()[0]);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_not_sent_after_it_has_expired_during_the_run() {
    let retry = Retry::new(RetryPolicy::default().max_attempts(100))
        .key_store(MemoryKeyStore::new())
        .key_ttl(Duration::from_secs(10));
    let start = Instant::now();
    let script = Script::new([Silence]);
    let error = script.run(&retry, &Operation::named("invoice-4711")).await;
    assert!(error.unwrap_err().is_uncertain());
    assert!(start.elapsed() <= Duration::from_secs(10));
}

thread_local! {
    static SLEPT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// With the clock on the wall of a machine that slept.
fn with_moved_clock() -> Retry {
    Retry {
        clock: || SystemTime::now() + SLEPT.get(),
        ..Retry::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_not_sent_after_the_machine_has_slept() {
    for operation in [Operation::new(), Operation::named("invoice-4711")] {
        SLEPT.set(Duration::ZERO);
        let retry = with_moved_clock().key_store(MemoryKeyStore::new());
        let mut sent = 0;
        let told: Result<((), Attempts), _> = retry
            .run(&operation, |_| {
                sent += 1;
                SLEPT.set(Duration::from_hours(48));
                async { Err(Failure::Lost(io::Error::from(io::ErrorKind::TimedOut))) }
            })
            .await;
        let error = told.unwrap_err();
        assert_eq!(sent, 1);
        assert!(error.is_uncertain(), "{error}");
        let attempts = error.attempts().unwrap();
        assert!(attempts.count() == 1 && attempts.is_key_kept());
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_sleeps_while_it_waits_is_told_why_nothing_is_sent() {
    let retry = with_moved_clock();
    let sleeping = tokio::spawn(async {
        // Half-way through the wait that the server asks for.
        sleep(Duration::from_secs(5)).await;
        SLEPT.set(Duration::from_hours(48));
    });
    let script = Script::new([After(503, "10")]);
    let told = script.run(&retry, &Operation::new()).await;
    sleeping.await.unwrap();
    let error = told.unwrap_err();
    let OperationError::Unanswered { attempts, source } = error else {
        panic!("{error}");
    };
    assert!(matches!(source, Failure::KeyExpired), "{source}");
    assert!(!attempts.is_certain() && attempts.is_key_kept());
    assert_eq!(attempts.count(), 1);
}

/// A store that never answers one of its questions.
#[derive(Debug)]
struct Silent {
    store: MemoryKeyStore,
    verb: &'static str,
}

#[async_trait::async_trait]
impl KeyStore for Silent {
    async fn begin(
        &self,
        name: &str,
        key: IdempotencyKey,
        ttl: Duration,
    ) -> Result<Run, KeyStoreError> {
        if self.verb == "begin" {
            std::future::pending::<()>().await;
        }
        self.store.begin(name, key, ttl).await
    }

    async fn end(&self, _: &str, _: &Run, _: RunOutcome) -> Result<KeyFate, KeyStoreError> {
        std::future::pending().await
    }

    fn abandon(&self, name: &str, run: &Run) {
        self.store.abandon(name, run);
    }

    async fn forget(&self, name: &str) -> Result<bool, KeyStoreError> {
        self.store.forget(name).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_holds_nobody_up() {
    let store = MemoryKeyStore::new();
    let operation = Operation::named("invoice-4711");
    let silent = |verb| {
        let store = store.clone();
        Retry::default().key_store(Silent { store, verb })
    };
    let start = Instant::now();
    let error = Script::new([]).run(&silent("begin"), &operation).await;
    let error = error.unwrap_err();
    assert!(!error.is_uncertain());
    assert!(error.to_string().contains("was not sent"), "{error}");
    assert_eq!(start.elapsed(), DEFAULT_KEY_STORE_TIMEOUT);

    let start = Instant::now();
    let script = Script::new([Event::Answer(201)]);
    let (status, attempts) = script.run(&silent("end"), &operation).await.unwrap();
    assert_eq!(status, 201);
    assert!(attempts.is_certain() && attempts.is_key_kept());
    assert_eq!(start.elapsed(), DEFAULT_KEY_STORE_TIMEOUT);
    // It was abandoned.
    assert!(store.forget("invoice-4711").await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_plain_function_retries_too() {
    let script = Script::new([Lost, Event::Answer(201)]);
    let policy = RetryPolicy::default();
    let (status, attempts) = retry(&policy, &Operation::new(), |attempt| script.play(attempt))
        .await
        .unwrap();
    assert_eq!((status, attempts.count()), (201, 2));
}
