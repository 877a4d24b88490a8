//! The kill switch.

use std::{
    env,
    ffi::OsStr,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::runtime::Idempotency;

/// The variable that a runtime reads when it is built.
const VARIABLE: &str = "IDEMPOTENCY_DISABLED";

/// Whether handlers are protected.
pub(crate) struct Switch(AtomicBool);

impl Switch {
    /// On, unless the environment says otherwise. What it says and nobody understands turns
    /// nothing off.
    pub(crate) fn from_env() -> Self {
        Self::of(env::var_os(VARIABLE).as_deref())
    }

    fn of(variable: Option<&OsStr>) -> Self {
        let is_off = match variable.map(OsStr::to_str) {
            None | Some(Some("" | "0" | "false")) => false,
            Some(Some("1" | "true")) => true,
            Some(_) => {
                tracing::error!(
                    "{VARIABLE} is neither `1` nor `0`: handlers stay protected by idempotency keys",
                );
                false
            }
        };
        if is_off {
            tracing::error!(
                "handlers run UNPROTECTED, because {VARIABLE} says so: retries run twice"
            );
        }
        Self(AtomicBool::new(is_off))
    }

    pub(crate) fn is_off(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn turn(&self, off: bool) {
        if self.0.swap(off, Ordering::Relaxed) == off {
            return;
        }
        if off {
            tracing::error!("handlers run UNPROTECTED from now on: retries run twice");
        } else {
            tracing::error!("handlers are protected by idempotency keys again");
        }
    }
}

/// The kill switch, for when protection itself does harm: the store answers wrongly, or so late
/// that no protection is the smaller evil.
///
/// While it is off, every protected handler runs as if it had no attribute, and every function as if
/// it were called directly: a key is neither needed nor looked at, **and a retry runs the handler again**. Each such request is logged as a warning,
/// counted ([`unprotected`](Self::unprotected)) and told to the event hook
/// ([`Outcome::UnprotectedDisabled`](crate::Outcome::UnprotectedDisabled)).
///
/// A request keeps what was so when it began: runs that hold a claim go on, renew it and record
/// their outcome. When protection is on again, what was recorded before is replayed, and what ran
/// in between is not known: a retry of that runs the handler once more.
///
/// It is off for one process: in a fleet, set `IDEMPOTENCY_DISABLED=1` for all of them, or call
/// [`disable`](Self::disable) in each. The variable is read once, by
/// [`build`](crate::IdempotencyBuilder::build).
///
/// ```
/// use idempotent_runtime::{Idempotency, MemoryStore};
///
/// let idempotency = Idempotency::builder(MemoryStore::default()).build();
/// idempotency.disable();
/// assert!(!idempotency.is_enabled());
/// idempotency.enable();
/// ```
impl Idempotency {
    /// Lets handlers run unprotected from now on.
    pub fn disable(&self) {
        self.0.switch.turn(true);
    }

    /// Protects handlers again.
    pub fn enable(&self) {
        self.0.switch.turn(false);
    }

    /// Whether handlers are protected; `true` unless somebody has turned that off.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        !self.0.switch.is_off()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_meant_turns_protection_off() {
        for (value, is_off) in [
            ("1", true),
            ("true", true),
            ("", false),
            ("0", false),
            ("false", false),
            ("yes?", false),
            ("2", false),
        ] {
            assert_eq!(
                Switch::of(Some(value.as_ref())).is_off(),
                is_off,
                "{value:?}"
            );
        }
        assert!(!Switch::of(None).is_off());
    }
}
