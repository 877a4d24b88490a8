//! The operator's acts over HTTP, the same for both frameworks.

mod body;
mod json;
mod query;

use std::time::Duration;

pub(crate) use self::json::Answered;
use self::{
    body::{LookUp, outcome},
    json::Refusal,
    query::Parameters,
};
use crate::{core::record::RecordId, runtime::Idempotency, store::Forget, web::RequestHead};

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
    pub(crate) fn authenticate(&self, head: RequestHead<'_>) -> Result<(), Answered> {
        if (self.authenticate)(&head) {
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
                let forget = match Parameters::read(query, &["even"])?.get("even") {
                    None => Forget::Lost,
                    Some("done") => Forget::EvenDone,
                    Some("running") => Forget::EvenRunning,
                    Some(_) => return Err(Refusal::query("`even` is `done` or `running`")),
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
            (["lost" | "running"], _) => Err(Refusal::method("GET")),
            _ => Err(Refusal::no_such_path()),
        }
    }

    async fn look_up(&self, body: &[u8]) -> Result<Answered, Refusal> {
        let wanted = LookUp::read(body)?;
        let found = self
            .idempotency
            .inspect(&wanted.operation, &wanted.scope(), &*wanted.key)
            .await?;
        Ok(Answered::json(200, &json::record(&found, wanted.response)))
    }

    fn refuse(&self, refusal: &Refusal) -> Answered {
        refusal.answered(&self.idempotency.0.settings.problems)
    }
}

fn record(id: &str) -> Result<RecordId, Refusal> {
    id.parse().map_err(|error| Refusal::invalid(&error))
}
