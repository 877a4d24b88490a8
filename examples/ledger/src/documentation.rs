//! What the documents of both applications have in common.

use utoipa::{
    IntoResponses, Modify,
    openapi::{
        OpenApi,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::ErrorBody;

/// How a request that would make an entry is refused.
#[derive(Debug, IntoResponses)]
pub enum EntryRefusals {
    /// The request cannot be understood.
    #[response(status = 400)]
    Malformed(ErrorBody),
    /// The request does not say who is calling.
    #[response(status = 401)]
    CallerUnknown(ErrorBody),
    /// The body is over the limit.
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The amount is zero or less.
    #[response(status = 422)]
    AmountNotPositive(ErrorBody),
    /// Nobody can say what was done.
    #[response(status = 500)]
    Failed(ErrorBody),
    /// Nothing was done.
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

/// How a request that reads is refused.
#[derive(Debug, IntoResponses)]
pub enum ReadRefusals {
    /// The request does not say who is calling.
    #[response(status = 401)]
    CallerUnknown(ErrorBody),
    /// There is none, or it is another caller's.
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// It cannot be read now.
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

/// Says how a caller is known.
#[derive(Clone, Copy, Debug)]
pub struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The token is the name of the caller; any will do."))
            .build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("caller", SecurityScheme::Http(bearer));
    }
}
