//! What is to be done once, however often it is sent.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
};

use crate::IdempotencyKey;

/// One logical operation, such as one payment: what must happen once.
///
/// With reqwest it goes with the request: `request.with_extension(Operation::named("invoice-4711"))`.
/// A request without one is [`Operation::new`].
///
/// ```
/// use idempotent_client::{IdempotencyKey, Operation};
///
/// // Safe to retry within one call.
/// let payment = Operation::new();
/// // Safe to retry also after the program was restarted: the key store remembers it by its name.
/// let payment = Operation::named("invoice-4711");
/// // A key that you keep yourself.
/// let payment = Operation::with_key(IdempotencyKey::new("invoice-4711-attempt-1")?);
/// # Ok::<_, idempotent_client::InvalidKey>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Operation(Identity);

#[derive(Clone)]
pub(crate) enum Identity {
    Named(Box<str>),
    Keyed {
        key: IdempotencyKey,
        /// Whether it may have been sent before; all clones know.
        was_begun: Arc<AtomicBool>,
    },
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Named(one), Self::Named(other)) => one == other,
            (Self::Keyed { key: one, .. }, Self::Keyed { key: other, .. }) => one == other,
            _ => false,
        }
    }
}

impl Eq for Identity {}

impl Operation {
    /// An operation with a random key, which lives as long as the call.
    ///
    /// A clone of it is the same operation, with the same key.
    #[must_use]
    #[allow(clippy::new_without_default)] // Two defaults would not be equal.
    pub fn new() -> Self {
        Self::keyed(IdempotencyKey::random(), false)
    }

    /// An operation that the [`KeyStore`](crate::KeyStore) remembers by this name, also after the
    /// program was restarted.
    ///
    /// The name stands for what your user wants done **once**, such as `pay invoice-4711`. It
    /// must be another one for another account or another server that shares the store. It is
    /// shown in errors and logs.
    ///
    /// Once it is done, running it again gives the recorded response, until its key expires
    /// ([`Retry::key_ttl`](crate::Retry::key_ttl)). So a program that was killed before it had
    /// made a note of the outcome runs it again and learns it. To have it done once more take
    /// another name, or [`forget`](crate::KeyStore::forget) this one; also to try again what the
    /// server has recorded as refused.
    ///
    /// It must be the same request each time: with the same key and another body a server answers
    /// 422 `key-reused`.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self(Identity::Named(name.into().into()))
    }

    /// An operation with a key of the caller's own, or with
    /// [`IdempotencyKey::derived`], or with that of an operation without a name that was left
    /// uncertain ([`OperationError::key`](crate::OperationError::key),
    /// [`Attempts::key`](crate::Attempts::key)). No store is asked.
    ///
    /// It may have been sent before, by a program that crashed for instance. So its outcome is not
    /// certain because an attempt of now is refused.
    #[must_use]
    pub fn with_key(key: IdempotencyKey) -> Self {
        Self::keyed(key, true)
    }

    /// The name, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.0 {
            Identity::Named(name) => Some(name),
            Identity::Keyed { .. } => None,
        }
    }

    fn keyed(key: IdempotencyKey, was_begun: bool) -> Self {
        let was_begun = Arc::new(AtomicBool::new(was_begun));
        Self(Identity::Keyed { key, was_begun })
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.0
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tuple = formatter.debug_tuple("Operation");
        match &self.0 {
            Identity::Named(name) => tuple.field(name),
            Identity::Keyed { key, .. } => tuple.field(key),
        };
        tuple.finish()
    }
}
