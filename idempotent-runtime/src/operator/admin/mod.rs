//! The operator's acts over HTTP, the same for both frameworks.

mod json;

use std::time::Duration;

use serde::Deserialize;

pub(crate) use self::json::Answered;
use self::json::Refusal;
use crate::{
    core::{record::RecordId, response::StoredResponse, scope::Scope},
    runtime::Idempotency,
    store::{Cursor, Forget},
    web::RequestHead,
};

/// How many claims a page has unless the request says otherwise.
const PAGE: usize = 100;

/// Lets those in who send this bearer token (RFC 6750 §2.1): `Authorization: Bearer …`.
///
/// The token is compared in constant time, by its hash, and not kept. An empty one lets nobody in.
/// Use a long random one, such as `openssl rand -hex 32` prints.
///
/// ```
/// # #[cfg(feature = "axum")] fn app(idempotency: idempotent_runtime::Idempotency) -> axum::Router {
/// use idempotent_runtime::{admin, axum::admin_router};
///
/// let mut app = axum::Router::new();
/// if let Ok(token) = std::env::var("ADMIN_TOKEN") {
///     let operators = admin_router(idempotency, admin::bearer_token(&token));
///     app = app.nest("/admin/idempotency", operators);
/// }
/// # app }
/// ```
pub fn bearer_token(
    token: &str,
) -> impl Fn(&RequestHead<'_>) -> bool + Clone + Send + Sync + 'static {
    let expected = (!token.is_empty()).then(|| blake3::hash(token.as_bytes()));
    move |request| {
        let given = request
            .header("authorization")
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| blake3::hash(token.trim_matches(' ').as_bytes()));
        // Hashes compare in constant time.
        given
            .zip(expected)
            .is_some_and(|(given, expected)| given == expected)
    }
}

type Authenticate = Box<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>;

/// What an operator's requests are answered with.
pub(crate) struct Admin {
    idempotency: Idempotency,
    authenticate: Authenticate,
}

/// A record, named as a handler's request names it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LookUp {
    operation: String,
    scope: Whose,
    key: String,
    #[serde(default)]
    response: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Whose {
    Global(Global),
    Caller(Caller),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Global {
    Global,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Caller {
    /// Absent where the attribute has an expression.
    name: Option<String>,
    value: String,
}

/// An outcome that was found out by hand.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Outcome {
    status: u16,
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// The body, as text or as JSON.
    body: Option<String>,
    json: Option<serde_json::Value>,
}

impl Admin {
    pub(crate) fn new(
        idempotency: Idempotency,
        authenticate: impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            idempotency,
            authenticate: Box::new(authenticate),
        }
    }

    /// Asked before anything of the request is looked at.
    pub(crate) fn authenticate(&self, head: &RequestHead<'_>) -> Result<(), Answered> {
        if (self.authenticate)(head) {
            return Ok(());
        }
        tracing::warn!("a request to the operator's routes was refused for want of credentials");
        Err(self.refuse(&Refusal::unauthorized()))
    }

    /// The body is over the framework's limit, or broke off.
    pub(crate) fn no_body(&self) -> Answered {
        self.refuse(&Refusal::body("it is too large, or was cut off"))
    }

    /// `path` is what comes behind the place where the routes are mounted.
    pub(crate) async fn answer(
        &self,
        method: &str,
        path: &str,
        query: Option<&str>,
        body: &[u8],
    ) -> Answered {
        match self
            .act(method, path, query.unwrap_or_default(), body)
            .await
        {
            Ok(answered) => answered,
            Err(refusal) => self.refuse(&refusal),
        }
    }

    async fn act(
        &self,
        method: &str,
        path: &str,
        query: &str,
        body: &[u8],
    ) -> Result<Answered, Refusal> {
        let path: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (&path[..], method) {
            (["look-up"], "POST") => {
                Parameters::read(query, &[])?;
                self.look_up(body).await
            }
            (["records", id], "GET") => {
                let with_response = Parameters::read(query, &["response"])?.flag("response")?;
                let found = self.idempotency.inspect_id(&record(id)?).await?;
                Ok(Answered::json(200, &json::record(&found, with_response)))
            }
            (["records", id], "DELETE") => {
                let parameters = Parameters::read(query, &["even_running"])?;
                let forget = match parameters.flag("even_running")? {
                    true => Forget::EvenRunning,
                    false => Forget::Ended,
                };
                self.idempotency.forget_id(&record(id)?, forget).await?;
                Ok(Answered::nothing())
            }
            (["records", id, "complete"], "POST") => {
                Parameters::read(query, &[])?;
                let response = outcome(body)?;
                let id = record(id)?;
                self.idempotency.complete_id_with(&id, &response).await?;
                Ok(Answered::nothing())
            }
            (["lost"], "GET") => {
                let parameters = Parameters::read(query, &["after", "limit"])?;
                let (after, limit) = parameters.page()?;
                let page = self.idempotency.lost(after, limit).await?;
                Ok(Answered::json(200, &json::page(&page)))
            }
            (["running"], "GET") => {
                let parameters = Parameters::read(query, &["longer_than", "after", "limit"])?;
                let (after, limit) = parameters.page()?;
                let seconds = parameters.get("longer_than").unwrap_or("0").parse();
                let seconds = seconds
                    .map_err(|_| Refusal::query("`longer_than` is a whole number of seconds"))?;
                let listed = self.idempotency.running_longer_than(
                    Duration::from_secs(seconds),
                    after,
                    limit,
                );
                Ok(Answered::json(200, &json::page(&listed.await?)))
            }
            (["look-up"] | ["records", _, "complete"], _) => Err(Refusal::method("POST")),
            (["records", _], _) => Err(Refusal::method("GET, DELETE")),
            (["lost"] | ["running"], _) => Err(Refusal::method("GET")),
            _ => Err(Refusal::no_such_path()),
        }
    }

    async fn look_up(&self, body: &[u8]) -> Result<Answered, Refusal> {
        let wanted: LookUp = serde_json::from_slice(body).map_err(|_| {
            Refusal::body(
                "it must be JSON such as {\"operation\": \"POST /payments\", \"scope\": {\"name\": \
                 \"user\", \"value\": \"alice\"}, \"key\": \"order-1\"}; the scope of an expression \
                 has no name, and that of all callers is \"global\"",
            )
        })?;
        let scope = match wanted.scope {
            Whose::Global(Global::Global) => Scope::global(),
            Whose::Caller(Caller {
                name: Some(name),
                value,
            }) => Scope::named(name, value),
            Whose::Caller(Caller { name: None, value }) => Scope::expression(value),
        };
        let found = self
            .idempotency
            .inspect(&wanted.operation, &scope, &*wanted.key)
            .await?;
        Ok(Answered::json(200, &json::record(&found, wanted.response)))
    }

    fn refuse(&self, refusal: &Refusal) -> Answered {
        refusal.answered(&self.idempotency.0.problems)
    }
}

fn record(id: &str) -> Result<RecordId, Refusal> {
    id.parse().map_err(|error| Refusal::invalid(&error))
}

fn outcome(body: &[u8]) -> Result<StoredResponse, Refusal> {
    let outcome: Outcome = serde_json::from_slice(body).map_err(|_| {
        Refusal::body(
            "it must be JSON such as {\"status\": 201, \"headers\": [[\"location\", \
             \"/payments/7\"]], \"json\": {\"id\": 7}}, or with \"body\", a text, for \"json\"",
        )
    })?;
    if !(200..=599).contains(&outcome.status) {
        return Err(Refusal::body("its `status` must be from 200 to 599"));
    }
    let is_token = |name: &str| {
        let others = b"!#$%&'*+-.^_`|~";
        let mut bytes = name.bytes();
        !name.is_empty() && bytes.all(|it| it.is_ascii_alphanumeric() || others.contains(&it))
    };
    let is_value = |value: &str| {
        value
            .bytes()
            .all(|it| it == b'\t' || !it.is_ascii_control())
    };
    let mut headers = outcome.headers;
    if !headers
        .iter()
        .all(|(name, value)| is_token(name) && is_value(value))
    {
        return Err(Refusal::body("one of its `headers` cannot be sent"));
    }
    let body = match (outcome.body, outcome.json) {
        (Some(_), Some(_)) => return Err(Refusal::body("it has both `body` and `json`")),
        (body, None) => body.unwrap_or_default(),
        (None, Some(json)) => {
            let named = |(name, _): &(String, String)| name.eq_ignore_ascii_case("content-type");
            if !headers.iter().any(named) {
                headers.push(("content-type".to_owned(), "application/json".to_owned()));
            }
            json.to_string()
        }
    };
    let headers: Vec<(String, &[u8])> = headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.as_bytes()))
        .collect();
    let headers: Vec<(&str, &[u8])> = headers
        .iter()
        .map(|(name, value)| (&**name, *value))
        .collect();
    Ok(StoredResponse::new(
        outcome.status,
        &headers,
        body.as_bytes(),
    ))
}

/// The parameters of a query. None of their values needs to be escaped.
struct Parameters<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Parameters<'a> {
    fn read(query: &'a str, known: &[&str]) -> Result<Self, Refusal> {
        let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
        let parameters =
            parameters.map(|parameter| parameter.split_once('=').unwrap_or((parameter, "true")));
        let parameters: Vec<_> = parameters.collect();
        // One that is misspelled must not be taken for one that is not there.
        if parameters.iter().all(|(name, _)| known.contains(name)) {
            Ok(Self(parameters))
        } else {
            Err(Refusal::query("a parameter is not known here"))
        }
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|(its, _)| *its == name);
        found.map(|(_, value)| *value)
    }

    fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Refusal::query("a flag is `true` or `false`")),
        }
    }

    fn page(&self) -> Result<(Option<Cursor>, usize), Refusal> {
        let after = self.get("after").map(str::parse).transpose();
        let limit = self.get("limit").map_or(Ok(PAGE), str::parse);
        Ok((
            after.map_err(|error| Refusal::invalid(&error))?,
            limit.map_err(|_| Refusal::query("`limit` is a number from 1 to 1000"))?,
        ))
    }
}
