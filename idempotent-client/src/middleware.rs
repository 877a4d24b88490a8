//! The middleware for reqwest.

mod body;

use http::{Extensions, HeaderName, Method};
use reqwest::{Request, Response, Url};
use reqwest_middleware::{Middleware, Next};

use crate::{
    Answer, Attempts, Failure, IdempotencyKey, Operation, OperationError, Retry, Verdict, classify,
    is_replay, retry::label,
};

/// The header that names the operation.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The largest response that is held until it is whole; as much as `#[idempotent]` keeps unless
/// told otherwise.
const MAX_RESPONSE: usize = 1024 * 1024;

/// What an operation's error is with reqwest.
pub type ReqwestOperationError = OperationError<reqwest_middleware::Error>;

/// Gives each POST and PATCH an `Idempotency-Key`, and sends it until its outcome is certain.
///
/// ```no_run
/// use idempotent_client::{FileKeyStore, IdempotencyMiddleware, Operation, ResponseExt, Retry};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = FileKeyStore::open("keys.json").await?;
/// let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new())
///     .with(IdempotencyMiddleware::new(Retry::default().key_store(keys)))
///     .build();
/// let response = client
///     .post("https://api.example/payments")
///     .with_extension(Operation::named("invoice-4711"))
///     .body(r#"{"amount":100}"#)
///     .send()
///     .await?;
/// let attempts = response.idempotency().expect("a POST has attempts");
/// println!("{} after {} attempts", response.status(), attempts.count());
/// # Ok(())
/// # }
/// ```
///
/// * Requests with other methods go through untouched, unless they have an [`Operation`] as
///   extension, or [`method`](Self::method) named theirs.
/// * An `Idempotency-Key` header that the request has is its key, and is sent as it is.
/// * A request whose body is a stream is refused before anything is sent.
/// * A response is held until its body is whole, up to [`max_response`](Self::max_response), so
///   that one that breaks off half-way is asked for again. A longer one and an event stream
///   (`text/event-stream`) are passed on as they come: if those break off, reading the body fails,
///   as without the middleware.
/// * It should be the first, which is outermost, of the middlewares that see each attempt, such as
///   those that sign or log; put no other that retries beside it.
///
/// # Redirections
///
/// Let the client follow none (`redirect::Policy::none()`). What is at the end of one can be a login
/// page with status 200. A response from another address than the request's is therefore no certain
/// outcome unless it is marked as a replay.
#[derive(Clone, Debug)]
#[must_use]
pub struct IdempotencyMiddleware {
    retry: Retry,
    methods: Vec<Method>,
    max_response: usize,
}

impl Default for IdempotencyMiddleware {
    fn default() -> Self {
        Self::new(Retry::default())
    }
}

impl IdempotencyMiddleware {
    /// A middleware that retries like this.
    pub fn new(retry: Retry) -> Self {
        Self {
            retry,
            methods: vec![Method::POST, Method::PATCH],
            max_response: MAX_RESPONSE,
        }
    }

    /// Also gives a key to each request with this method, such as PUT.
    pub fn method(mut self, method: Method) -> Self {
        self.methods.push(method);
        self
    }

    /// The largest response, in bytes, that is held until it is whole; 1 MiB unless set.
    pub fn max_response(mut self, bytes: usize) -> Self {
        self.max_response = bytes;
        self
    }

    /// What to do with this request; `None` if it is none of ours.
    fn operation(
        &self,
        request: &Request,
        extensions: &Extensions,
    ) -> Option<Result<Operation, ReqwestOperationError>> {
        let given = extensions.get::<Operation>();
        if given.is_none() && !self.methods.contains(request.method()) {
            return None;
        }
        let name = |operation: Option<&Operation>| match operation {
            Some(operation) => label(operation, Some(&place(request))),
            None => place(request),
        };
        let mut headers = request.headers().get_all(IDEMPOTENCY_KEY).iter();
        Some(match (given, headers.next(), headers.next()) {
            (Some(operation), None, _) => Ok(operation.clone()),
            (None, None, _) => Ok(Operation::new()),
            (None, Some(value), None) => IdempotencyKey::from_header(value.as_bytes())
                .map(Operation::with_key)
                .map_err(|source| OperationError::InvalidKey {
                    operation: name(None),
                    source,
                }),
            (given, _, _) => Err(OperationError::SeveralKeys {
                operation: name(given),
            }),
        })
    }

    async fn run(
        &self,
        request: Request,
        operation: &Operation,
        extensions: &Extensions,
        next: Next<'_>,
    ) -> Result<Response, ReqwestOperationError> {
        let label = label(operation, Some(&place(&request)));
        if request.try_clone().is_none() {
            return Err(OperationError::BodyNotRepeatable { operation: label });
        }
        let attempt = |attempt: crate::Attempt| {
            let request = request.try_clone().map(|mut request| {
                // One of the caller's own is sent as it was written.
                let headers = request.headers_mut();
                headers
                    .entry(IDEMPOTENCY_KEY)
                    .or_insert_with(|| attempt.header_value());
                request
            });
            // Each attempt starts with what the caller gave.
            let mut extensions = extensions.clone();
            let next = next.clone();
            async move {
                // What could be cloned once can be cloned again.
                let request = request.expect("a body that can be sent again");
                let url = request.url().clone();
                let sent = next.run(request, &mut extensions).await;
                self.read(&url, sent.map_err(failure)?).await
            }
        };
        let (mut response, attempts) = self.retry.run_as(label, operation, attempt).await?;
        response.extensions_mut().insert(attempts);
        Ok(response)
    }

    async fn read(&self, url: &Url, response: Response) -> Attempted {
        let is_elsewhere = !is_same_place(url, response.url());
        let held = body::hold(response, self.max_response).await;
        let (response, start) = held.map_err(|error| failure(error.into()))?;
        let (status, headers) = (response.status(), response.headers());
        let is_replay = is_replay(headers);
        let verdict = match classify(status, headers, &start) {
            Verdict::Done | Verdict::Refused if is_elsewhere && !is_replay => Verdict::Uncertain,
            verdict => verdict,
        };
        Ok(Answer::new(verdict, is_replay, response))
    }
}

type Attempted = Result<Answer<Response>, Failure<reqwest_middleware::Error>>;

#[async_trait::async_trait]
impl Middleware for IdempotencyMiddleware {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let operation = match self.operation(&request, extensions) {
            None => return next.run(request, extensions).await,
            Some(operation) => operation.map_err(reqwest_middleware::Error::middleware)?,
        };
        self.run(request, &operation, extensions, next)
            .await
            .map_err(reqwest_middleware::Error::middleware)
    }
}

/// Tells of a response how its operation went.
pub trait ResponseExt {
    /// How many attempts it took, whether this is a replay, and whether the outcome is certain;
    /// `None` for a request that was no operation, such as a GET.
    fn idempotency(&self) -> Option<&Attempts>;
}

impl ResponseExt for Response {
    fn idempotency(&self) -> Option<&Attempts> {
        self.extensions().get()
    }
}

/// Finds in an error of the client what became of its operation.
pub trait ErrorExt {
    /// The operation's error; `None` if the error is not of an operation, such as a GET's.
    fn idempotency(&self) -> Option<&ReqwestOperationError>;
}

impl ErrorExt for reqwest_middleware::Error {
    fn idempotency(&self) -> Option<&ReqwestOperationError> {
        match self {
            Self::Middleware(error) => error.downcast_ref(),
            Self::Reqwest(_) => None,
        }
    }
}

/// What an error says of its attempt. Its address is taken from it, which can hold a secret.
fn failure(error: reqwest_middleware::Error) -> Failure<reqwest_middleware::Error> {
    let error = error.without_url();
    if error.is_builder() {
        Failure::NotSent(error)
    } else if error.is_redirect() || error.is_middleware() {
        Failure::Fatal(error)
    } else {
        Failure::Lost(error)
    }
}

fn place(request: &Request) -> String {
    // No query: it can hold a secret.
    format!("{} {}", request.method(), request.url().path())
}

fn is_same_place(one: &Url, other: &Url) -> bool {
    let without_fragment = |url: &Url| {
        let mut url = url.clone();
        url.set_fragment(None);
        url
    };
    one == other || without_fragment(one) == without_fragment(other)
}
