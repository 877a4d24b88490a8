//! What is known of a request before its extractors run.

use std::fmt;

use super::Accept;
use crate::core::key::{Key, KeyError};

/// The head of a request, the same for both frameworks: what a scope's resolver sees.
#[derive(Clone, Copy)]
pub struct RequestHead<'a>(pub(super) Head<'a>);

#[derive(Clone, Copy)]
pub(super) enum Head<'a> {
    #[cfg(feature = "axum")]
    Axum(&'a ::axum::http::request::Parts),
    #[cfg(feature = "actix")]
    Actix(&'a actix_web::HttpRequest),
}

// With one framework alone it is as small as a reference to it.
#[allow(clippy::trivially_copy_pass_by_ref)]
impl<'a> RequestHead<'a> {
    /// The method, such as `POST`.
    #[must_use]
    pub fn method(&self) -> &'a str {
        match self.0 {
            #[cfg(feature = "axum")]
            Head::Axum(parts) => parts.method.as_str(),
            #[cfg(feature = "actix")]
            Head::Actix(request) => request.method().as_str(),
        }
    }

    /// The path, without the query. In a nested axum router, the part of it that the nested
    /// router sees.
    #[must_use]
    pub fn path(&self) -> &'a str {
        match self.0 {
            #[cfg(feature = "axum")]
            Head::Axum(parts) => parts.uri.path(),
            #[cfg(feature = "actix")]
            Head::Actix(request) => request.path(),
        }
    }

    /// The value of a header; `None` when it is missing, repeated, or not text. A caller who is
    /// named twice is not known.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let value = match self.0 {
            #[cfg(feature = "axum")]
            Head::Axum(parts) => super::axum::sole(parts.headers.get_all(name)),
            #[cfg(feature = "actix")]
            Head::Actix(request) => super::actix::sole(request.headers().get_all(name)),
        };
        match value {
            Sole::One(value) => std::str::from_utf8(value).ok(),
            Sole::None | Sole::Many => None,
        }
    }

    /// A value that a middleware left in the request's extensions.
    #[must_use]
    pub fn extension<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        match self.0 {
            #[cfg(feature = "axum")]
            Head::Axum(parts) => parts.extensions.get::<T>().cloned(),
            #[cfg(feature = "actix")]
            Head::Actix(request) => actix_web::HttpMessage::extensions(request)
                .get::<T>()
                .cloned(),
        }
    }

    pub(super) fn content_type(&self) -> Option<&'a [u8]> {
        match self.0 {
            #[cfg(feature = "axum")]
            Head::Axum(parts) => super::axum::content_type(&parts.headers),
            #[cfg(feature = "actix")]
            Head::Actix(request) => super::actix::content_type(request.headers()),
        }
    }

    pub(super) fn accept(&self) -> Accept {
        match self.0 {
            #[cfg(feature = "axum")]
            Head::Axum(parts) => Accept::new(super::axum::accept(&parts.headers)),
            #[cfg(feature = "actix")]
            Head::Actix(request) => Accept::new(super::actix::accept(request.headers())),
        }
    }

    pub(super) fn key(&self) -> Option<Result<Key, KeyError>> {
        let key = match self.0 {
            #[cfg(feature = "axum")]
            Head::Axum(parts) => super::axum::key(&parts.headers),
            #[cfg(feature = "actix")]
            Head::Actix(request) => super::actix::key(request.headers()),
        };
        match key {
            Sole::None => None,
            Sole::One(value) => Some(Key::from_header(value)),
            Sole::Many => Some(Err(KeyError::Repeated)),
        }
    }
}

/// The values of a header that is to be there once.
pub(super) enum Sole<'a> {
    None,
    One(&'a [u8]),
    Many,
}

impl<'a> Sole<'a> {
    pub(super) fn of(mut values: impl Iterator<Item = &'a [u8]>) -> Self {
        match (values.next(), values.next()) {
            (None, _) => Self::None,
            (Some(value), None) => Self::One(value),
            (Some(_), Some(_)) => Self::Many,
        }
    }
}

impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RequestHead({} …)", self.method())
    }
}
