//! How the application refuses a request.

use std::{error::Error, fmt};

use serde::Serialize;
use utoipa::ToSchema;

use crate::settings::causes;

/// Why a request is refused: a status and a sentence, which each application makes a response of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request does not say who is calling.
    CallerUnknown,
    /// The request cannot be understood; this is what is wrong with it.
    Malformed(String),
    /// The body is over the limit.
    TooLarge,
    /// There is no such entry, or it is another caller's.
    NotFound,
    /// The amount is zero or less.
    AmountNotPositive,
    /// Nothing was done, and it may be tried again.
    Unavailable,
    /// Something went wrong.
    Failed,
}

/// The body of a refusal.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// What is wrong, in words.
    error: String,
}

/// Who is calling: what follows `Bearer` in the value of the `Authorization` header.
///
/// Any token names a user, so there is nothing to set up. An application would verify the token
/// here and take the user from it.
///
/// # Errors
///
/// [`Refusal::CallerUnknown`], to be answered with `WWW-Authenticate: Bearer`.
pub fn caller(authorization: Option<&str>) -> Result<String, Refusal> {
    let (scheme, token) = authorization
        .and_then(|value| value.split_once(' '))
        .ok_or(Refusal::CallerUnknown)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(Refusal::CallerUnknown);
    }
    Ok(token.to_owned())
}

impl Refusal {
    /// Nothing was done, for a reason that is the operator's to know.
    #[must_use]
    pub fn unavailable(reason: impl Error) -> Self {
        tracing::error!(reason = causes(&reason), "nothing was done");
        Self::Unavailable
    }

    /// Nobody can say what was done, for a reason that is the operator's to know.
    #[must_use]
    pub fn failed(reason: impl Error) -> Self {
        tracing::error!(reason = causes(&reason), "it is not known what was done");
        Self::Failed
    }

    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::CallerUnknown => 401,
            Self::NotFound => 404,
            Self::TooLarge => 413,
            Self::AmountNotPositive => 422,
            Self::Failed => 500,
            Self::Unavailable => 503,
        }
    }

    /// The body of the response, to be sent as JSON.
    #[must_use]
    pub fn body(&self) -> ErrorBody {
        ErrorBody {
            error: self.to_string(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Malformed(reason) => reason,
            Self::CallerUnknown => "say who is calling: `Authorization: Bearer <user>`",
            Self::NotFound => "not found",
            Self::TooLarge => "the body is too large",
            Self::AmountNotPositive => "`amount` must be greater than 0",
            Self::Failed => "something went wrong",
            Self::Unavailable => "nothing was done, try again",
        })
    }
}

impl Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_names_the_caller() {
        assert_eq!(caller(Some("Bearer alice")), Ok("alice".to_owned()));
        assert_eq!(caller(Some("bearer  alice ")), Ok("alice".to_owned()));
        for unknown in [
            None,
            Some(""),
            Some("alice"),
            Some("Bearer "),
            Some("Basic alice"),
        ] {
            assert_eq!(caller(unknown), Err(Refusal::CallerUnknown), "{unknown:?}");
        }
    }
}
