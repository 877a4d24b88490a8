//! What an attribute says about its operation, for documents that [utoipa](https://docs.rs/utoipa)
//! writes.
//!
//! With `#[utoipa::path]` **below** [`#[idempotent]`](macro@crate::idempotent), the document has
//! what an API's users must know, taken from the attribute and not written a second time:
//!
//! * the header parameter `Idempotency-Key`, required or not, with its format; none where the key is
//!   an expression,
//! * the answers that are not the handler's, 400, 401, 409, 413, 422 and 503, as problem documents
//!   with the codes that this operation can answer, and with `Retry-After` and `Location`,
//! * `Idempotency-Replayed` among the headers of each successful response,
//! * in the operation's description, what makes a retry the same operation and for how long its
//!   response is kept, which a resource must publish
//!   ([draft-ietf-httpapi-idempotency-key-header](https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/)).
//!
//! ```
//! # #[cfg(all(feature = "axum", feature = "macros"))] mod example {
//! use axum::{Json, http::StatusCode};
//! use idempotent_runtime::idempotent;
//! use utoipa::{OpenApi, ToSchema};
//!
//! #[derive(serde::Deserialize, serde::Serialize, ToSchema)]
//! struct Payment {
//!     amount: i64,
//! }
//!
//! /// Makes a payment.
//! #[idempotent(ttl = "24h", scope = "user")]
//! #[utoipa::path(
//!     post,
//!     path = "/payments",
//!     request_body = Payment,
//!     responses((status = 201, description = "It was made.", body = Payment)),
//! )]
//! async fn pay(Json(payment): Json<Payment>) -> (StatusCode, Json<Payment>) {
//!     (StatusCode::CREATED, Json(payment))
//! }
//!
//! #[derive(OpenApi)]
//! #[openapi(paths(pay))]
//! struct Document;
//!
//! # pub fn test() {
//! let document = serde_json::to_value(Document::openapi()).unwrap();
//! let pay = &document["paths"]["/payments"]["post"];
//! assert_eq!(pay["parameters"][0]["name"], "Idempotency-Key");
//! assert!(pay["description"].as_str().unwrap().contains("kept for 24 hours"));
//! assert!(pay["responses"]["409"]["content"]["application/problem+json"].is_object());
//! # }
//! # }
//! # #[cfg(all(feature = "axum", feature = "macros"))] example::test();
//! ```
//!
//! Nothing has to be registered: `#[derive(OpenApi)]`, utoipa-axum's `routes!` and
//! utoipa-actix-web's `service` find all of it in the operation.
//!
//! # Details
//!
//! * utoipa 6. Its feature `axum_extras` or `actix_extras` works as without the attribute: it reads
//!   the body and the parameters from the handler's arguments. (utoipa does not build with both.)
//! * Below both stands actix-web's route: `#[idempotent]`, `#[utoipa::path]`, `#[post("/payments")]`.
//! * With `#[utoipa::path]` **above**, the operation is documented as if it were not protected,
//!   because utoipa has read its arguments before `#[idempotent]` is there.
//! * A response of the handler's own with one of the statuses stays as it is written, and the problem
//!   document stands beside it. One that is a `$ref` to a response of the document's components is
//!   left alone.
//! * `413` is there where utoipa knows of a body: from `request_body`, or from an argument `Json`,
//!   `Form` or `Bytes`.
//! * Problem documents are sent as `application/json` or `text/plain` to who accepts nothing else; the
//!   document names `application/problem+json`.
//! * An attribute on a safe method protects nothing, and its operation is documented as if it did:
//!   leave it out.
//! * `500 misconfigured` is not: no client sees it once the application is set up. Its code is in
//!   the schema [`IdempotencyProblem`], as all are.
//! * The document says what the attribute says, and not what an
//!   [`IdempotencyBuilder`](crate::IdempotencyBuilder) has in its place, such as another `ttl`. Where
//!   the builder's `expires_header` is on, the modifier [`ExpiresHeader`] says so.

mod problems;
mod words;

use std::collections::BTreeMap;

use utoipa::{
    IntoParams, IntoResponses, Modify, PartialSchema, ToSchema,
    openapi::{
        HeaderBuilder, ObjectBuilder, OpenApi, RefOr, Required, Response, Schema, Type,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::{KnownFormat, SchemaFormat},
    },
};

use crate::core::{
    policy::{KeyPolicy, Policy},
    problem::Problem,
};

/// The schema of the problem documents that answer for a handler (RFC 9457): what
/// [`Problem`] becomes on the wire.
///
/// It is in the document of every operation that is protected; name it where an operation of your
/// own passes such an answer on.
///
/// ```
/// use idempotent_runtime::openapi::IdempotencyProblem;
///
/// #[utoipa::path(
///     post,
///     path = "/checkout",
///     responses((
///         status = 409,
///         description = "The payment is still being made.",
///         body = IdempotencyProblem,
///         content_type = "application/problem+json",
///     )),
/// )]
/// async fn checkout() {}
/// ```
#[derive(Clone, Copy, Debug)]
#[allow(clippy::exhaustive_enums)] // There is no value of it.
pub enum IdempotencyProblem {}

impl PartialSchema for IdempotencyProblem {
    fn schema() -> RefOr<Schema> {
        let text = |description: &str| {
            ObjectBuilder::new()
                .schema_type(Type::String)
                .description(Some(description))
        };
        let status = |description: &str| {
            ObjectBuilder::new()
                .schema_type(Type::Integer)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
                .description(Some(description))
        };
        let problems = Problem::every();
        let codes: Vec<&str> = problems.iter().map(Problem::code).collect();
        ObjectBuilder::new()
            .description(Some(
                "Why a request was refused before its operation began, or why its outcome cannot \
                 be given (RFC 9457).",
            ))
            .property(
                "type",
                text("Names the kind of problem.")
                    .format(Some(SchemaFormat::Custom("uri-reference".to_owned()))),
            )
            .property("title", text("The kind of problem, in words."))
            .property("status", status("The status of the answer."))
            .property("detail", text("What happened, and what to do."))
            .property(
                "code",
                text("The kind of problem, for programs.").enum_values(Some(codes)),
            )
            .property(
                "retryable",
                ObjectBuilder::new()
                    .schema_type(Type::Boolean)
                    .description(Some("Whether the same request may succeed later.")),
            )
            .property(
                "originalStatus",
                status("The status of the response that was not kept."),
            )
            .required("type")
            .required("title")
            .required("status")
            .required("detail")
            .required("code")
            .required("retryable")
            .into()
    }
}

impl ToSchema for IdempotencyProblem {}

/// Says in a document that `Idempotency-Expires` is among the headers of the responses that are
/// recorded, for an application that sends it, by
/// [`expires_header`](crate::IdempotencyBuilder::expires_header).
///
/// ```
/// use idempotent_runtime::openapi::ExpiresHeader;
/// use utoipa::OpenApi;
///
/// #[derive(OpenApi)]
/// #[openapi(modifiers(&ExpiresHeader))]
/// struct Document;
/// ```
#[derive(Clone, Copy, Debug)]
#[allow(clippy::exhaustive_structs)] // It is named where a value of it is wanted.
pub struct ExpiresHeader;

impl Modify for ExpiresHeader {
    fn modify(&self, document: &mut OpenApi) {
        let header = HeaderBuilder::new()
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
            .description(Some(words::EXPIRES))
            .build();
        let paths = document.paths.paths.values_mut();
        let unsafe_operations = paths.flat_map(|path| {
            let methods = [
                &mut path.post,
                &mut path.put,
                &mut path.patch,
                &mut path.delete,
            ];
            methods.into_iter().flatten()
        });
        for response in
            unsafe_operations.flat_map(|operation| operation.responses.responses.values_mut())
        {
            if let RefOr::T(response) = response
                && response.headers.contains_key(REPLAYED)
            {
                let name = "Idempotency-Expires".to_owned();
                let header = header.clone().into();
                response.headers.entry(name).or_insert(header);
            }
        }
    }
}

/// The header of replays, which each successful response of a protected operation is documented with.
const REPLAYED: &str = "Idempotency-Replayed";

/// An operation with a policy. As an operation it is what the user has written of it.
#[doc(hidden)]
pub trait Documented: utoipa::Path {
    /// What the attribute says.
    const POLICY: Policy;
    /// Whether a request has a body.
    const HAS_BODY: bool;
}

/// The parameter of an operation.
#[doc(hidden)]
#[derive(Debug)]
pub struct Key<D>(std::marker::PhantomData<D>);

impl<D: Documented> IntoParams for Key<D> {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let required = match D::POLICY.key {
            KeyPolicy::Required => Required::True,
            KeyPolicy::Optional | KeyPolicy::Derived => Required::False,
            KeyPolicy::Expression => return Vec::new(),
        };
        let key = ParameterBuilder::new()
            .name("Idempotency-Key")
            .parameter_in(ParameterIn::Header)
            .required(required)
            .description(Some(words::KEY))
            .schema(Some(key_schema()))
            .build();
        vec![key]
    }
}

/// The responses of an operation, the user's own completed.
#[doc(hidden)]
#[derive(Debug)]
pub struct Answers<D>(std::marker::PhantomData<D>);

impl<D: Documented> IntoResponses for Answers<D> {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut responses = D::operation().responses.responses;
        for (status, response) in &mut responses {
            if let (true, RefOr::T(response)) = (status.starts_with('2'), response) {
                let header = HeaderBuilder::new()
                    .schema(Some(ObjectBuilder::new().schema_type(Type::Boolean)))
                    .description(Some(words::REPLAYED))
                    .build();
                let name = REPLAYED.to_owned();
                response.headers.entry(name).or_insert(header.into());
            }
        }
        problems::add(&mut responses, &D::POLICY, D::HAS_BODY);
        responses
    }
}

/// The description of an operation: the user's own, and the policy in words.
#[doc(hidden)]
#[must_use]
pub fn description<D: Documented>() -> String {
    let ours = words::policy(&D::POLICY, D::HAS_BODY);
    match D::operation().description {
        Some(written) if !written.trim().is_empty() => format!("{written}\n\n{ours}"),
        _ => ours,
    }
}

/// What [`Key::from_header`](crate::Key::from_header) accepts, but for a structured field's
/// parameters, which mean nothing here.
fn key_schema() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        // Quotes, and 255 characters with a backslash before each.
        .max_length(Some(2 + 2 * crate::MAX_KEY_CHARS))
        .pattern(Some(KEY_PATTERN))
        .examples(["8e03978e-40d5-43e8-bc93-6894a57f9324"])
}

const KEY_PATTERN: &str = r#"^([!#-~][!-~]{0,254}|"([ !#-\[\]-~]|\\["\\]){1,255}")$"#;

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, string::string_regex};

    use super::*;
    use crate::core::key::Key;

    fn documented_keys() -> impl Strategy<Value = String> {
        // Whole values are generated, so where they begin and end need not be said.
        string_regex(KEY_PATTERN.trim_matches(['^', '$'])).unwrap()
    }

    proptest! {
        #[test]
        fn what_the_pattern_allows_is_a_key(value in documented_keys()) {
            prop_assert!(Key::from_header(value.as_bytes()).is_ok(), "{value:?}");
        }
    }

    #[test]
    fn the_pattern_counts_as_far_as_a_key_may_go() {
        let longest = crate::MAX_KEY_CHARS;
        assert!(KEY_PATTERN.contains(&format!("{{1,{longest}}}")));
        assert!(KEY_PATTERN.contains(&format!("{{0,{}}}", longest - 1)));
    }
}
