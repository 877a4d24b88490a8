//! What a browser of another origin may send and read.

/// The headers of a request that a CORS policy must allow, so that a browser may send a key and
/// JSON.
///
/// With tower-http, around an axum router:
///
/// ```
/// use axum::http::{HeaderName, HeaderValue, Method};
/// use idempotent_runtime::{CORS_ALLOW_HEADERS, CORS_EXPOSE_HEADERS};
/// use tower_http::cors::CorsLayer;
///
/// let cors = CorsLayer::new()
///     .allow_origin(HeaderValue::from_static("https://shop.example"))
///     .allow_methods([Method::GET, Method::POST])
///     .allow_headers(CORS_ALLOW_HEADERS.map(HeaderName::from_static))
///     .expose_headers(CORS_EXPOSE_HEADERS.map(HeaderName::from_static));
/// # let _: axum::Router = axum::Router::new().layer(cors);
/// ```
///
/// With actix-cors:
///
/// ```
/// use actix_cors::Cors;
/// use idempotent_runtime::{CORS_ALLOW_HEADERS, CORS_EXPOSE_HEADERS};
///
/// let cors = Cors::default()
///     .allowed_origin("https://shop.example")
///     .allowed_methods(["GET", "POST"])
///     .allowed_headers(CORS_ALLOW_HEADERS)
///     .expose_headers(CORS_EXPOSE_HEADERS);
/// # actix_web::App::new().wrap(cors);
/// ```
///
/// Put it outside of everything else, so that problems have its headers too. Add what your API has
/// beside, such as `authorization`.
pub const CORS_ALLOW_HEADERS: [&str; 2] = [super::IDEMPOTENCY_KEY, "content-type"];

/// The headers of a response that a CORS policy must expose, so that a browser's script can see
/// whether it is a replay, until when its key is good, when to try again and where the result is.
/// See [`CORS_ALLOW_HEADERS`] for how.
pub const CORS_EXPOSE_HEADERS: [&str; 5] = [
    super::IDEMPOTENCY_REPLAYED,
    super::IDEMPOTENCY_EXPIRES,
    "retry-after",
    "location",
    "link",
];
