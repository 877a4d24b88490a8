//! Whose key it is.

use std::{borrow::Cow, fmt};

/// The name under which an expression's value goes into a record id. It is not an identifier, so
/// no registered scope can have it.
const EXPRESSION: &str = "=";

/// Whose key it is: the scope's name and, but for `global`, the caller's value.
///
/// Its `Debug` output never shows the value.
#[derive(Clone, PartialEq, Eq)]
pub struct Scope {
    name: Cow<'static, str>,
    value: String,
}

impl Scope {
    /// One namespace for all callers.
    #[must_use]
    pub const fn global() -> Self {
        Self {
            name: Cow::Borrowed("global"),
            value: String::new(),
        }
    }

    /// A caller, as the resolver registered under `name` answered.
    #[must_use]
    pub fn named(name: impl Into<Cow<'static, str>>, value: String) -> Self {
        let name = name.into();
        Self { name, value }
    }

    /// A caller, as an expression over the handler's arguments gave it.
    #[must_use]
    pub const fn expression(value: String) -> Self {
        Self {
            name: Cow::Borrowed(EXPRESSION),
            value,
        }
    }

    /// Whose key it is; `None` where it is everybody's.
    #[cfg(feature = "functions")]
    pub(crate) fn value(&self) -> Option<&str> {
        (*self != Self::global()).then_some(&self.value)
    }

    pub(crate) fn parts(&self) -> [&[u8]; 2] {
        [self.name.as_bytes(), self.value.as_bytes()]
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Scope({}, …)", self.name)
    }
}
