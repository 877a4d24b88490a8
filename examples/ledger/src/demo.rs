//! Faults on demand. **Demonstration only**: an application has none of this.

use std::{fmt::Display, str::FromStr, time::Duration};

use serde::Serialize;
use utoipa::ToSchema;

use crate::{Entry, Refusal};

const MAX_PADDING: usize = 64 * 1024 * 1024;

/// What the `X-Demo-…` headers of `POST /payments` ask for, to make visible what a retry gets
/// when something goes wrong. **Demonstration only.**
///
/// | header | what it does |
/// |---|---|
/// | `X-Demo-Delay-Ms: N` | waits before anything else |
/// | `X-Demo-Answer-Delay-Ms: N` | waits once the payment is made, with nothing answered |
/// | `X-Demo-Fail: before-effect-503` | answers 503, with nothing done |
/// | `X-Demo-Fail: panic-before` | panics before the payment is made |
/// | `X-Demo-Fail: after-effect-500` | answers 500, with the payment made |
/// | `X-Demo-Fail: panic-after` | panics after the payment is made |
/// | `X-Demo-Fail: crash-before-effect` | ends the process before the payment is made |
/// | `X-Demo-Fail: crash-in-transaction` | ends the process with the payment, and the record if it shares the ledger's database, written in a transaction that is not committed |
/// | `X-Demo-Fail: crash-after-effect` | ends the process with the payment made and nothing answered |
/// | `X-Demo-Body-Bytes: N` | adds a member `padding` of N characters to the answer |
/// | `X-Demo-Set-Cookie: 1` | sets a cookie on the answer |
///
/// What a retry gets after a fault that comes with the payment made depends on where the record is.
/// In the ledger's own database (SQLite, PostgreSQL) the 201 was committed with the payment, and
/// every retry gets that. Elsewhere (memory, Redis) the record is made of how the handler ended:
/// a retry gets the 500, and after a crash there is no record, so the handler runs again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demo {
    delay: Duration,
    answer_delay: Duration,
    fault: Option<Fault>,
    padding: Option<usize>,
    cookie: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    UnavailableBefore,
    PanicBefore,
    FailedAfter,
    PanicAfter,
    CrashBefore,
    CrashInTransaction,
    CrashAfter,
}

/// What is answered when an entry was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct Receipt {
    #[serde(flatten)]
    entry: Entry,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    padding: Option<String>,
}

impl Demo {
    /// Reads the headers, through a function that gives a header's value.
    ///
    /// # Errors
    ///
    /// [`Refusal::Malformed`] for a value that asks for nothing known, so that a typing error is
    /// not taken for a fault that was survived.
    pub fn from_headers<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Result<Self, Refusal> {
        let delay = number(&header, "x-demo-delay-ms")?.unwrap_or_default();
        let answer_delay = number(&header, "x-demo-answer-delay-ms")?.unwrap_or_default();
        let fault = match header("x-demo-fail") {
            None => None,
            Some("before-effect-503") => Some(Fault::UnavailableBefore),
            Some("panic-before") => Some(Fault::PanicBefore),
            Some("after-effect-500") => Some(Fault::FailedAfter),
            Some("panic-after") => Some(Fault::PanicAfter),
            Some("crash-before-effect") => Some(Fault::CrashBefore),
            Some("crash-in-transaction") => Some(Fault::CrashInTransaction),
            Some("crash-after-effect") => Some(Fault::CrashAfter),
            Some(_) => {
                return Err(malformed(
                    "x-demo-fail",
                    "`before-effect-503`, `panic-before`, `after-effect-500`, `panic-after`, \
                     `crash-before-effect`, `crash-in-transaction` or `crash-after-effect`",
                ));
            }
        };
        let padding = number(&header, "x-demo-body-bytes")?;
        if padding.is_some_and(|characters| characters > MAX_PADDING) {
            return Err(malformed(
                "x-demo-body-bytes",
                format_args!("at most {MAX_PADDING}"),
            ));
        }
        let cookie = match header("x-demo-set-cookie") {
            None => false,
            Some("1") => true,
            Some(_) => return Err(malformed("x-demo-set-cookie", 1)),
        };
        Ok(Self {
            delay: Duration::from_millis(delay),
            answer_delay: Duration::from_millis(answer_delay),
            fault,
            padding,
            cookie,
        })
    }

    /// What is to go wrong before the payment is made.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unavailable`], if asked for.
    ///
    /// # Panics
    ///
    /// If asked for.
    pub async fn before_effect(&self) -> Result<(), Refusal> {
        wait(self.delay).await;
        match self.fault {
            Some(Fault::UnavailableBefore) => Err(Refusal::Unavailable),
            Some(Fault::PanicBefore) => panic!("asked to panic before the payment is made"),
            Some(Fault::CrashBefore) => crash(),
            _ => Ok(()),
        }
    }

    /// What is to go wrong when the payment is written and not committed.
    pub fn in_transaction(&self) {
        if self.fault == Some(Fault::CrashInTransaction) {
            crash();
        }
    }

    /// What is to go wrong once the payment is made.
    ///
    /// # Errors
    ///
    /// [`Refusal::Failed`], if asked for.
    ///
    /// # Panics
    ///
    /// If asked for.
    pub async fn after_effect(&self) -> Result<(), Refusal> {
        wait(self.answer_delay).await;
        match self.fault {
            Some(Fault::FailedAfter) => Err(Refusal::Failed),
            Some(Fault::PanicAfter) => panic!("asked to panic after the payment is made"),
            Some(Fault::CrashAfter) => crash(),
            _ => Ok(()),
        }
    }

    /// The answer to a payment, as long as it is to be.
    #[must_use]
    pub fn receipt(&self, entry: Entry) -> Receipt {
        let padding = self.padding.map(|characters| "x".repeat(characters));
        Receipt { entry, padding }
    }

    /// The value of `Set-Cookie`, if there is to be one.
    #[must_use]
    pub fn cookie(&self) -> Option<&'static str> {
        self.cookie.then_some("demo=1; Path=/; HttpOnly")
    }
}

async fn wait(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

/// Ends the process at once, as a crash does: nothing is finished, and nobody is told.
fn crash() -> ! {
    tracing::error!("asked to crash");
    std::process::abort();
}

fn number<'a, N: FromStr>(
    header: impl Fn(&str) -> Option<&'a str>,
    name: &str,
) -> Result<Option<N>, Refusal> {
    header(name)
        .map(|value| value.parse().map_err(|_| malformed(name, "a number")))
        .transpose()
}

fn malformed(name: &str, wanted: impl Display) -> Refusal {
    Refusal::Malformed(format!("`{name}` must be {wanted}"))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::Status;

    fn demo(headers: &[(&str, &'static str)]) -> Result<Demo, Refusal> {
        Demo::from_headers(|wanted| {
            let mut found = headers.iter().filter(|(name, _)| *name == wanted);
            found.next().map(|(_, value)| *value)
        })
    }

    fn entry() -> Entry {
        Entry {
            id: Uuid::new_v4(),
            user: "alice".to_owned(),
            amount: 100,
            currency: "USD".to_owned(),
            status: Status::Completed,
        }
    }

    #[tokio::test]
    async fn without_headers_nothing_is_changed() {
        let demo = demo(&[]).unwrap();
        assert_eq!(demo, Demo::default());
        assert_eq!(demo.before_effect().await, Ok(()));
        assert_eq!(demo.after_effect().await, Ok(()));
        assert_eq!(demo.cookie(), None);
        let entry = entry();
        assert_eq!(
            serde_json::to_string(&demo.receipt(entry.clone())).unwrap(),
            format!(
                r#"{{"id":"{}","user":"alice","amount":100,"currency":"USD","status":"completed"}}"#,
                entry.id,
            ),
        );
    }

    #[tokio::test(start_paused = true)]
    async fn waits_and_then_fails_before_the_effect() {
        let demo = demo(&[
            ("x-demo-delay-ms", "1500"),
            ("x-demo-fail", "before-effect-503"),
        ]);
        let start = tokio::time::Instant::now();
        let answer = demo.unwrap().before_effect().await;
        assert_eq!(answer, Err(Refusal::Unavailable));
        assert_eq!(start.elapsed(), Duration::from_millis(1500));
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_is_late() {
        let demo = demo(&[("x-demo-answer-delay-ms", "1500")]).unwrap();
        let start = tokio::time::Instant::now();
        assert_eq!(demo.before_effect().await, Ok(()));
        assert!(start.elapsed().is_zero());
        assert_eq!(demo.after_effect().await, Ok(()));
        assert_eq!(start.elapsed(), Duration::from_millis(1500));
    }

    #[tokio::test]
    async fn fails_after_the_effect() {
        let demo = demo(&[("x-demo-fail", "after-effect-500")]).unwrap();
        assert_eq!(demo.before_effect().await, Ok(()));
        assert_eq!(demo.after_effect().await, Err(Refusal::Failed));
    }

    #[tokio::test]
    #[should_panic(expected = "before the payment")]
    async fn panics_before() {
        let demo = demo(&[("x-demo-fail", "panic-before")]).unwrap();
        let _ = demo.before_effect().await;
    }

    #[tokio::test]
    #[should_panic(expected = "after the payment")]
    async fn panics_after() {
        let demo = demo(&[("x-demo-fail", "panic-after")]).unwrap();
        let _ = demo.after_effect().await;
    }

    #[test]
    fn pads_the_answer_and_sets_a_cookie() {
        let demo = demo(&[("x-demo-body-bytes", "5"), ("x-demo-set-cookie", "1")]).unwrap();
        let receipt = serde_json::to_value(demo.receipt(entry())).unwrap();
        assert_eq!(receipt["padding"], "xxxxx");
        assert!(demo.cookie().is_some());
    }

    #[test]
    fn a_typing_error_is_told() {
        for header in [
            ("x-demo-delay-ms", "long"),
            ("x-demo-answer-delay-ms", "-1"),
            ("x-demo-fail", "panic"),
            ("x-demo-body-bytes", "-1"),
            ("x-demo-body-bytes", "99999999999"),
            ("x-demo-set-cookie", "yes"),
        ] {
            let refusal = demo(&[header]).unwrap_err();
            assert!(refusal.to_string().contains(header.0), "{refusal}");
        }
    }
}
