//! What was called: a handler by a request, or a function.

use std::{
    borrow::Cow,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{core::policy::Policy, store::StoreError};

/// What a call was aimed at.
pub(crate) enum Target {
    #[cfg(feature = "axum")]
    Axum {
        method: ::axum::http::Method,
        uri: ::axum::http::Uri,
        pattern: Option<::axum::extract::MatchedPath>,
    },
    #[cfg(feature = "actix")]
    Actix {
        method: actix_web::http::Method,
        uri: actix_web::http::Uri,
        pattern: Option<String>,
    },
    Function(Box<Function>),
}

/// A function, which is not called by a request.
pub(crate) struct Function {
    operation: Cow<'static, str>,
    /// What the store has failed with: a client is not told, the caller of a function is.
    failure: Mutex<Option<StoreError>>,
}

impl Target {
    pub(crate) fn function(operation: Cow<'static, str>) -> Self {
        Self::Function(Box::new(Function {
            operation,
            failure: Mutex::default(),
        }))
    }

    /// The method; no function has one, nor a path.
    #[cfg(any(feature = "axum", feature = "actix"))]
    pub(crate) fn method(&self) -> &str {
        match self {
            #[cfg(feature = "axum")]
            Self::Axum { method, .. } => method.as_str(),
            #[cfg(feature = "actix")]
            Self::Actix { method, .. } => method.as_str(),
            Self::Function(_) => "",
        }
    }

    #[cfg(any(feature = "axum", feature = "actix"))]
    pub(crate) fn path(&self) -> &str {
        match self {
            #[cfg(feature = "axum")]
            Self::Axum { uri, .. } => uri.path(),
            #[cfg(feature = "actix")]
            Self::Actix { uri, .. } => uri.path(),
            Self::Function(_) => "",
        }
    }

    #[cfg(any(feature = "axum", feature = "actix"))]
    pub(crate) fn path_and_query(&self) -> &str {
        match self {
            #[cfg(feature = "axum")]
            Self::Axum { uri, .. } => uri.path_and_query().map_or("/", |both| both.as_str()),
            #[cfg(feature = "actix")]
            Self::Actix { uri, .. } => uri.path_and_query().map_or("/", |both| both.as_str()),
            Self::Function(_) => "",
        }
    }

    /// What was called, in parts that are read as one text.
    pub(crate) fn operation<'a>(&'a self, policy: &'a Policy) -> [&'a str; 3] {
        match policy.operation {
            Some(name) => [name, "", ""],
            None => self.parts(),
        }
    }

    /// The function's name; or method and matched route, and the path itself where no route was
    /// matched (a fallback handler).
    pub(crate) fn parts(&self) -> [&str; 3] {
        match self {
            Self::Function(function) => [&function.operation, "", ""],
            #[cfg(any(feature = "axum", feature = "actix"))]
            _ => {
                let pattern = self.pattern().unwrap_or_else(|| self.path());
                [self.method(), " ", pattern]
            }
        }
    }

    /// The function's name; or method and matched route, of which there are no more than routes,
    /// whatever clients send.
    pub(crate) fn label(&self) -> [&str; 3] {
        match self {
            Self::Function(function) => [&function.operation, "", ""],
            #[cfg(any(feature = "axum", feature = "actix"))]
            _ => {
                // As OpenTelemetry's conventions for HTTP have it.
                let method = match self.method() {
                    known @ ("POST" | "PUT" | "PATCH" | "DELETE" | "CONNECT") => known,
                    _ => "_OTHER",
                };
                [method, " ", self.pattern().unwrap_or("(no route)")]
            }
        }
    }

    #[cfg(any(feature = "axum", feature = "actix"))]
    fn pattern(&self) -> Option<&str> {
        match self {
            #[cfg(feature = "axum")]
            Self::Axum { pattern, .. } => {
                pattern.as_ref().map(::axum::extract::MatchedPath::as_str)
            }
            #[cfg(feature = "actix")]
            Self::Actix { pattern, .. } => pattern.as_deref(),
            Self::Function(_) => None,
        }
    }

    /// Keeps what the store has failed with, for who is told.
    pub(crate) fn keep_failure(&self, error: StoreError) {
        match self {
            Self::Function(function) => *function.failure() = Some(error),
            #[cfg(any(feature = "axum", feature = "actix"))]
            _ => drop(error),
        }
    }

    /// What the store has failed with, if it was kept.
    pub(crate) fn take_failure(&self) -> Option<StoreError> {
        match self {
            Self::Function(function) => function.failure().take(),
            #[cfg(any(feature = "axum", feature = "actix"))]
            _ => None,
        }
    }
}

impl Function {
    fn failure(&self) -> MutexGuard<'_, Option<StoreError>> {
        // Nothing that holds it can panic.
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
