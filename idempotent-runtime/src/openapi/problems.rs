//! The answers that are not the handler's.

use std::collections::BTreeMap;

use utoipa::openapi::{
    AllOfBuilder, Content, Header, HeaderBuilder, ObjectBuilder, Ref, RefOr, Response,
    ResponseBuilder, Schema, Type, schema::AnyOfBuilder,
};

use super::words;
use crate::core::{
    key::KeyError,
    policy::{FingerprintPolicy, KeyPolicy, OnLost, Policy, ScopePolicy},
    problem::Problem,
};

const MEDIA_TYPE: &str = "application/problem+json";

impl Problem {
    /// One of each.
    pub(super) fn every() -> [Self; 11] {
        [
            Self::KeyMissing,
            Self::KeyInvalid(KeyError::Empty),
            Self::CallerUnknown,
            Self::InFlight { retry_after: 1 },
            Self::OutcomeUnknown,
            Self::ResponseNotKept {
                status: 201,
                location: None,
            },
            Self::BodyTooLarge,
            Self::KeyReused,
            Self::Misconfigured,
            Self::StoreUnavailable,
            Self::StoreFull,
        ]
    }
}

/// Whether an operation with this policy can be answered so.
fn answers(policy: &Policy, has_body: bool, problem: &Problem) -> bool {
    match problem {
        Problem::KeyMissing => policy.key == KeyPolicy::Required,
        Problem::KeyInvalid(_)
        | Problem::InFlight { .. }
        | Problem::ResponseNotKept { .. }
        // Even where handlers run without the store: a record that cannot be read may be theirs.
        | Problem::StoreUnavailable
        | Problem::StoreFull => true,
        Problem::CallerUnknown => policy.scope != ScopePolicy::Global,
        Problem::OutcomeUnknown => policy.on_lost == OnLost::Refuse,
        Problem::BodyTooLarge => has_body,
        Problem::KeyReused => policy.fingerprint != FingerprintPolicy::None,
        // No client sees it once the application is set up.
        Problem::Misconfigured => false,
    }
}

/// Adds the problems to the responses that the user has written.
pub(super) fn add(
    responses: &mut BTreeMap<String, RefOr<Response>>,
    policy: &Policy,
    has_body: bool,
) {
    let mut by_status: BTreeMap<u16, Vec<Problem>> = BTreeMap::new();
    for problem in Problem::every() {
        if answers(policy, has_body, &problem) {
            by_status.entry(problem.status()).or_default().push(problem);
        }
    }
    for (status, problems) in by_status {
        let written = responses.remove(&status.to_string());
        let response = match written {
            None => response(&problems).into(),
            Some(RefOr::T(written)) => beside(written, &problems).into(),
            Some(reference) => reference,
        };
        responses.insert(status.to_string(), response);
    }
}

/// The problems of one status.
fn response(problems: &[Problem]) -> Response {
    let lines: Vec<String> = problems.iter().map(words::problem).collect();
    let mut response = ResponseBuilder::new()
        .description(lines.join("\n"))
        .content(MEDIA_TYPE, Content::new(Some(schema(problems))))
        .build();
    for (name, header) in headers(problems) {
        response.headers.insert(name.to_owned(), header.into());
    }
    response
}

/// The problems of one status, beside the handler's own response.
fn beside(mut written: Response, problems: &[Problem]) -> Response {
    let ours = response(problems);
    written.description = match written.description.trim_end() {
        "" => ours.description,
        description => format!("{description}\n\n{}", ours.description),
    };
    for (name, header) in ours.headers {
        written.headers.entry(name).or_insert(header);
    }
    for (media_type, content) in ours.content {
        let merged = match written.content.shift_remove(&media_type) {
            Some(RefOr::T(mut theirs)) => {
                theirs.schema = theirs.schema.map(|theirs| {
                    let any_of = AnyOfBuilder::new().item(theirs).item(schema(problems));
                    any_of.into()
                });
                RefOr::T(theirs)
            }
            Some(reference) => reference,
            None => content,
        };
        written.content.insert(media_type, merged);
    }
    written
}

/// The common schema, with the codes of these problems.
fn schema(problems: &[Problem]) -> RefOr<Schema> {
    let codes = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(problems.iter().map(Problem::code)));
    AllOfBuilder::new()
        .item(Ref::from_schema_name("IdempotencyProblem"))
        .item(ObjectBuilder::new().property("code", codes))
        .into()
}

fn headers(problems: &[Problem]) -> Vec<(&'static str, Header)> {
    let mut headers = Vec::new();
    if let Some(some) = problems.iter().find(|problem| problem.is_retryable()) {
        debug_assert!(some.retry_after().is_some());
        let seconds = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1));
        let header = HeaderBuilder::new()
            .schema(Some(seconds))
            .description(Some(words::RETRY_AFTER));
        headers.push(("Retry-After", header.build()));
    }
    let not_kept = |problem: &Problem| matches!(problem, Problem::ResponseNotKept { .. });
    if problems.iter().any(not_kept) {
        let header = HeaderBuilder::new()
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
            .description(Some(words::LOCATION));
        headers.push(("Location", header.build()));
    }
    headers
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use super::*;
    use crate::core::{
        policy::{StatusSet, StoreDown},
        problem::ProblemSettings,
    };

    const POLICY: Policy = Policy {
        operation: None,
        scope: ScopePolicy::Named("user"),
        key: KeyPolicy::Required,
        fingerprint: FingerprintPolicy::Request,
        ttl: Duration::from_hours(24),
        wait: None,
        lease: Duration::from_secs(30),
        on_lost: OnLost::Refuse,
        release_on: StatusSet(&[(429, 429), (503, 503)]),
        store_down: StoreDown::Refuse,
        max_response: 1 << 20,
    };

    fn added(policy: &Policy, has_body: bool) -> serde_json::Value {
        let mut responses = BTreeMap::new();
        add(&mut responses, policy, has_body);
        serde_json::to_value(responses).unwrap()
    }

    /// The codes that are documented, with their statuses.
    fn codes(responses: &serde_json::Value) -> BTreeSet<(u16, String)> {
        let mut codes = BTreeSet::new();
        for (status, response) in responses.as_object().unwrap() {
            let schema = &response["content"][MEDIA_TYPE]["schema"]["allOf"];
            for code in schema[1]["properties"]["code"]["enum"].as_array().unwrap() {
                codes.insert((status.parse().unwrap(), code.as_str().unwrap().to_owned()));
            }
        }
        codes
    }

    /// A problem that is added to `Problem` does not compile here before it is counted.
    fn number(problem: &Problem) -> usize {
        match problem {
            Problem::KeyMissing => 0,
            Problem::KeyInvalid(_) => 1,
            Problem::CallerUnknown => 2,
            Problem::InFlight { .. } => 3,
            Problem::OutcomeUnknown => 4,
            Problem::ResponseNotKept { .. } => 5,
            Problem::BodyTooLarge => 6,
            Problem::KeyReused => 7,
            Problem::Misconfigured => 8,
            Problem::StoreUnavailable => 9,
            Problem::StoreFull => 10,
        }
    }

    #[test]
    fn every_problem_is_there_once() {
        let numbers = Problem::every().iter().map(number).collect::<Vec<_>>();
        assert_eq!(numbers, (0..11).collect::<Vec<_>>());
    }

    #[test]
    fn the_documented_codes_are_those_that_a_problem_can_have() {
        let can: BTreeSet<_> = Problem::every()
            .iter()
            .filter(|problem| **problem != Problem::Misconfigured)
            .map(|problem| (problem.status(), problem.code().to_owned()))
            .collect();
        assert_eq!(codes(&added(&POLICY, true)), can);
    }

    #[test]
    fn the_documented_headers_are_those_that_a_problem_has() {
        let documented = added(&POLICY, true);
        for problem in Problem::every() {
            if problem == Problem::Misconfigured {
                continue;
            }
            let response = &documented[problem.status().to_string()];
            for (name, _) in problem.render(&ProblemSettings::default()).headers {
                let known = response["headers"].as_object().is_some_and(|headers| {
                    headers.keys().any(|known| known.eq_ignore_ascii_case(name))
                });
                assert!(known || name == "content-type", "{problem:?}: {name}");
            }
        }
        assert!(documented["400"].get("headers").is_none());
    }

    #[test]
    fn what_a_policy_rules_out_is_not_documented() {
        let without = |policy: Policy, has_body| {
            let all = codes(&added(&POLICY, true));
            let some = codes(&added(&policy, has_body));
            all.difference(&some)
                .map(|(_, code)| code.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(without(POLICY, false), ["body-too-large"]);
        let optional = Policy {
            key: KeyPolicy::Optional,
            ..POLICY
        };
        assert_eq!(without(optional, true), ["key-missing"]);
        let global = Policy {
            scope: ScopePolicy::Global,
            ..POLICY
        };
        assert_eq!(without(global, true), ["caller-unknown"]);
        let rerun = Policy {
            on_lost: OnLost::Rerun,
            ..POLICY
        };
        assert_eq!(without(rerun, true), ["outcome-unknown"]);
        let anything = Policy {
            fingerprint: FingerprintPolicy::None,
            ..POLICY
        };
        assert_eq!(without(anything, true), ["key-reused"]);
    }

    #[test]
    fn a_response_of_the_handlers_own_stays_beside_the_problem() {
        let json = || Content::new(Some(Ref::from_schema_name("Mine")));
        let own = ResponseBuilder::new()
            .description("There is no such account.")
            .content("application/json", json())
            .content(MEDIA_TYPE, json());
        let reference = Ref::from_response_name("Conflict");
        let mut responses = BTreeMap::from([
            ("422".to_owned(), own.build().into()),
            ("409".to_owned(), RefOr::Ref(reference)),
        ]);
        add(&mut responses, &POLICY, true);
        let responses = serde_json::to_value(responses).unwrap();
        let merged = &responses["422"];
        let description = merged["description"].as_str().unwrap();
        assert!(description.starts_with("There is no such account.\n\n"));
        assert!(description.contains("`key-reused`"));
        let mine = serde_json::json!({ "$ref": "#/components/schemas/Mine" });
        assert_eq!(merged["content"]["application/json"]["schema"], mine);
        let any_of = &merged["content"][MEDIA_TYPE]["schema"]["anyOf"];
        assert_eq!(any_of[0], mine);
        assert!(any_of[1]["allOf"].is_array());
        assert_eq!(responses["409"]["$ref"], "#/components/responses/Conflict");
    }
}
