//! The driver, with paused time and answers made up.

mod answers;
mod expiry;
mod key_stores;
mod named;
mod waits;

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
};

use super::*;

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
