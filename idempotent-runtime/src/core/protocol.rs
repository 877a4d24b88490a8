//! The protocol: three questions, each a plain function.
//!
//! An engine asks them in turn: [`ask`] what to ask the store for a request, [`decide`] what to do
//! about something that the store has found, [`conclude`] what to do with the handler's outcome.
//! Time and randomness are arguments, so that the rules can be tested, searched and simulated
//! without a server.

use std::time::Duration;

use super::{
    fingerprint::Fingerprint,
    key::{Key, KeyError},
    policy::{KeyPolicy, Policy},
    problem::Problem,
    record::{Claim, RecordId},
    response::StoredResponse,
    scope::Scope,
};

/// What is known of a request when its extractors are through.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs)] // An engine must say all of it.
pub struct Request<'a> {
    /// What keeps the records of an application apart from others in the same store.
    pub namespace: &'a str,
    /// The operation, in parts that are read as one text.
    pub operation: &'a [&'a str],
    /// The key that was given, in whatever way the policy takes it.
    pub key: Option<Result<Key, KeyError>>,
    /// Whose key it is.
    pub scope: ScopeAnswer,
    /// What is asked for under the key.
    pub fingerprint: Fingerprint,
}

/// What became of the question for the scope.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum ScopeAnswer {
    /// The caller is known.
    Known(Scope),
    /// The scope's resolver does not know the caller.
    Unknown,
    /// The scope has no resolver.
    NoResolver,
}

/// What to ask the store for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Ask {
    /// Nothing: the handler runs unprotected.
    Nothing,
    /// Nothing: the request is refused.
    Refuse(Problem),
    /// The claim of this id.
    Claim(RecordId, Key),
}

/// First question: what to ask the store for this request.
#[must_use]
pub fn ask(policy: &Policy, request: Request<'_>) -> Ask {
    let key = match (request.key, policy.key) {
        (Some(Err(error)), _) => return Ask::Refuse(Problem::KeyInvalid(error)),
        (Some(Ok(key)), _) => key,
        (None, KeyPolicy::Derived) => Key::derived(request.fingerprint),
        (None, KeyPolicy::Optional) => return Ask::Nothing,
        (None, KeyPolicy::Required | KeyPolicy::Expression) => {
            return Ask::Refuse(Problem::KeyMissing);
        }
    };
    match request.scope {
        ScopeAnswer::NoResolver => Ask::Refuse(Problem::Misconfigured),
        ScopeAnswer::Unknown => Ask::Refuse(Problem::CallerUnknown),
        ScopeAnswer::Known(scope) => Ask::Claim(
            RecordId::new(request.namespace, request.operation, &scope, &key),
            key,
        ),
    }
}

/// What a store found under an id that it did not grant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)] // A store or a caller must know all of them.
pub enum Found {
    /// Somebody else's claim.
    Running {
        /// What was asked for.
        fingerprint: Fingerprint,
        /// How long the claim is believed from now on; `None` where no lease is needed.
        lease_left: Option<Duration>,
    },
    /// A record.
    Done {
        /// What was asked for.
        fingerprint: Fingerprint,
        /// What came of it.
        response: StoredResponse,
        /// How long the record lives from now on.
        ttl_left: Duration,
    },
    /// A claim whose owner was lost, with [`OnLost::Refuse`](super::policy::OnLost::Refuse).
    Lost {
        /// What was asked for.
        fingerprint: Fingerprint,
    },
}

/// What to do about something found under the id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Decision {
    /// Send the recorded response again.
    Replay(StoredResponse),
    /// Wait until the running claim ends, and ask again.
    Wait,
    /// Ask for the claim again, so as to [take over](crate::Claim::takes_over) the lost one.
    TakeOver,
    /// Refuse the request.
    Refuse(Problem),
}

/// What a request may do about somebody else's claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)] // An engine must say all of it.
pub struct May {
    /// Wait any longer for a running one.
    pub wait: bool,
    /// Take over a lost one: because the policy says `rerun`, or somebody can be asked what
    /// became of it.
    pub take_over: bool,
}

/// Second question: what to do with the store's answer to this claim, when it was not granted.
#[must_use]
pub fn decide(claim: &Claim, found: Found, may: May) -> Decision {
    let (Found::Running {
        fingerprint: its, ..
    }
    | Found::Done {
        fingerprint: its, ..
    }
    | Found::Lost { fingerprint: its }) = found;
    // Before anything else about the record: what another request's outcome is, or whether it
    // runs, is nothing this request may learn.
    if its != claim.fingerprint {
        return Decision::Refuse(Problem::KeyReused);
    }
    match found {
        Found::Running { .. } if may.wait => Decision::Wait,
        Found::Running { lease_left, .. } => Decision::Refuse(Problem::InFlight {
            retry_after: retry_after(claim.lease, lease_left),
        }),
        Found::Done { response, .. } if response.is_tombstone() => {
            Decision::Refuse(Problem::not_kept(&response))
        }
        Found::Done { response, .. } => Decision::Replay(response),
        Found::Lost { .. } if may.take_over => Decision::TakeOver,
        Found::Lost { .. } => Decision::Refuse(Problem::OutcomeUnknown),
    }
}

/// Soon, while the owner shows signs of life; when the lease ends, if it does not.
fn retry_after(lease: Duration, left: Option<Duration>) -> u64 {
    match left {
        Some(left) if left <= lease / 2 => left.as_secs() + u64::from(left.subsec_nanos() > 0),
        _ => 0,
    }
    .max(1)
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Ending {
    /// The handler returned a response.
    Returned {
        /// The response's status.
        status: u16,
        /// The handler said that nothing has happened.
        released: bool,
    },
    /// The handler panicked.
    Panicked,
}

/// The status that a panic counts as.
pub const PANIC_STATUS: u16 = 500;

/// What to tell the store of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Conclusion {
    /// There is an outcome: record it.
    Complete,
    /// Nothing was done: free the key.
    Release,
}

/// Third question: what to do with the handler's outcome.
#[must_use]
pub fn conclude(policy: &Policy, ending: Ending) -> Conclusion {
    let release = match ending {
        Ending::Returned { status, released } => released || policy.release_on.contains(status),
        Ending::Panicked => policy.release_on.contains(PANIC_STATUS),
    };
    if release {
        Conclusion::Release
    } else {
        Conclusion::Complete
    }
}

/// Whether a body of this type and of at least so many bytes can be kept.
#[must_use]
pub fn can_keep(content_type: Option<&[u8]>, at_least: u64, max_response: u64) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    let is_event_stream = content_type.is_some_and(|value| {
        let media_type = value.split(|byte| *byte == b';').next().unwrap_or(value);
        media_type.trim_ascii().eq_ignore_ascii_case(EVENT_STREAM)
    });
    !is_event_stream && at_least <= max_response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::policy::{FingerprintPolicy, OnLost, ScopePolicy, StatusSet, StoreDown};
    use crate::core::record::OwnerToken;

    const POLICY: Policy = Policy {
        operation: None,
        scope: ScopePolicy::Global,
        key: KeyPolicy::Required,
        fingerprint: FingerprintPolicy::Request,
        ttl: Duration::from_mins(1),
        wait: None,
        lease: Duration::from_secs(30),
        on_lost: OnLost::Rerun,
        release_on: StatusSet(&[(429, 429), (503, 503)]),
        store_down: StoreDown::Refuse,
        max_response: 100,
    };
    const ALL: May = May {
        wait: true,
        take_over: true,
    };
    const ONE: Fingerprint = Fingerprint::from_bytes([1; 32]);
    const TWO: Fingerprint = Fingerprint::from_bytes([2; 32]);

    fn request(key: Option<Result<Key, KeyError>>, scope: ScopeAnswer) -> Request<'static> {
        Request {
            namespace: "",
            operation: &["POST /"],
            key,
            scope,
            fingerprint: ONE,
        }
    }

    fn ask_with(key: KeyPolicy, given: Option<Result<Key, KeyError>>) -> Ask {
        let policy = Policy { key, ..POLICY };
        ask(&policy, request(given, ScopeAnswer::Known(Scope::global())))
    }

    #[test]
    fn a_missing_key_is_refused_unprotected_or_derived() {
        assert_eq!(
            ask_with(KeyPolicy::Required, None),
            Ask::Refuse(Problem::KeyMissing)
        );
        assert_eq!(ask_with(KeyPolicy::Optional, None), Ask::Nothing);
        let Ask::Claim(_, key) = ask_with(KeyPolicy::Derived, None) else {
            panic!("a claim")
        };
        assert_eq!(key, Key::derived(ONE));
    }

    #[test]
    fn a_malformed_key_is_refused_whatever_the_policy() {
        for policy in [KeyPolicy::Required, KeyPolicy::Optional, KeyPolicy::Derived] {
            assert_eq!(
                ask_with(policy, Some(Err(KeyError::Empty))),
                Ask::Refuse(Problem::KeyInvalid(KeyError::Empty))
            );
        }
    }

    #[test]
    fn the_key_is_judged_before_the_scope() {
        let asked = ask(&POLICY, request(None, ScopeAnswer::NoResolver));
        assert_eq!(asked, Ask::Refuse(Problem::KeyMissing));
        let key = || Some(Key::from_header(b"k"));
        let asked = ask(&POLICY, request(key(), ScopeAnswer::NoResolver));
        assert_eq!(asked, Ask::Refuse(Problem::Misconfigured));
        let asked = ask(&POLICY, request(key(), ScopeAnswer::Unknown));
        assert_eq!(asked, Ask::Refuse(Problem::CallerUnknown));
    }

    fn claim() -> Claim {
        let id = RecordId::from_bytes([0; 32]);
        Claim::new(id, OwnerToken::new(1), ONE)
    }

    fn done(fingerprint: Fingerprint) -> Found {
        Found::Done {
            fingerprint,
            response: StoredResponse::new(201, &[], b"body"),
            ttl_left: Duration::from_secs(1),
        }
    }

    fn running(fingerprint: Fingerprint, lease_left: Option<Duration>) -> Found {
        Found::Running {
            fingerprint,
            lease_left,
        }
    }

    #[test]
    fn another_fingerprint_is_told_nothing_else() {
        let lost = Found::Lost { fingerprint: TWO };
        for found in [done(TWO), running(TWO, None), lost] {
            for may in [May::default(), ALL] {
                assert_eq!(
                    decide(&claim(), found.clone(), may),
                    Decision::Refuse(Problem::KeyReused)
                );
            }
        }
    }

    #[test]
    fn the_same_fingerprint_gets_the_outcome() {
        assert!(matches!(
            decide(&claim(), done(ONE), May::default()),
            Decision::Replay(response) if response.status() == 201
        ));
        let lost = Found::Lost { fingerprint: ONE };
        assert_eq!(
            decide(&claim(), lost.clone(), May::default()),
            Decision::Refuse(Problem::OutcomeUnknown)
        );
        assert_eq!(decide(&claim(), lost, ALL), Decision::TakeOver);
        let headers: [(&str, &[u8]); 1] = [("location", b"/1")];
        let tombstone = Found::Done {
            fingerprint: ONE,
            response: StoredResponse::tombstone(201, &headers),
            ttl_left: Duration::from_secs(1),
        };
        assert_eq!(
            decide(&claim(), tombstone, ALL),
            Decision::Refuse(Problem::ResponseNotKept {
                status: 201,
                location: Some("/1".into())
            })
        );
    }

    #[test]
    fn retry_after_follows_the_lease() {
        let seconds = |left| match decide(&claim(), running(ONE, left), May::default()) {
            Decision::Refuse(Problem::InFlight { retry_after }) => retry_after,
            other => panic!("{other:?}"),
        };
        assert_eq!(seconds(None), 1);
        assert_eq!(seconds(Some(Duration::from_secs(30))), 1);
        assert_eq!(seconds(Some(Duration::from_millis(15_001))), 1);
        assert_eq!(seconds(Some(Duration::from_secs(15))), 15);
        assert_eq!(seconds(Some(Duration::from_millis(14_001))), 15);
        assert_eq!(seconds(Some(Duration::ZERO)), 1);
        assert_eq!(decide(&claim(), running(ONE, None), ALL), Decision::Wait);
    }

    #[test]
    fn every_outcome_is_recorded_but_try_again() {
        let returned = |status, released| conclude(&POLICY, Ending::Returned { status, released });
        for status in [200, 201, 302, 400, 422, 500, 502] {
            assert_eq!(returned(status, false), Conclusion::Complete, "{status}");
        }
        for status in [429, 503] {
            assert_eq!(returned(status, false), Conclusion::Release, "{status}");
        }
        assert_eq!(returned(201, true), Conclusion::Release);
        assert_eq!(conclude(&POLICY, Ending::Panicked), Conclusion::Complete);
        let policy = Policy {
            release_on: StatusSet(&[(500, 599)]),
            ..POLICY
        };
        assert_eq!(conclude(&policy, Ending::Panicked), Conclusion::Release);
    }

    #[test]
    fn streams_and_large_bodies_are_not_kept() {
        assert!(can_keep(None, 100, 100));
        assert!(!can_keep(None, 101, 100));
        assert!(can_keep(Some(b"text/event-streams"), 0, 100));
        for stream in [
            "text/event-stream",
            "Text/Event-Stream; charset=utf-8",
            " text/event-stream ;x",
        ] {
            assert!(!can_keep(Some(stream.as_bytes()), 0, 100), "{stream}");
        }
    }
}
