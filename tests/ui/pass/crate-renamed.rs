//! The runtime under another name.

extern crate idempotent_runtime as renamed;

mod web {
    /// A crate of one's own that brings the runtime along.
    pub mod reexports {
        pub use idempotent_runtime as runtime;
    }
}

/// Hides the crate from a path that does not start with `::`.
#[allow(unused)]
mod idempotent_runtime {}

use renamed::idempotent;

#[idempotent(scope = "user", wait = "5s", crate = renamed)]
async fn by_name(body: String) -> String {
    body
}

#[idempotent(scope = body, crate = self::web::reexports::runtime)]
async fn by_path(body: String) -> String {
    body
}

#[idempotent(scope = "global", crate = "web::reexports::runtime")]
async fn by_text(body: String) -> String {
    body
}

#[idempotent(scope = "global", crate = ::idempotent_runtime)]
async fn by_default(body: String) -> String {
    body
}

mod deeper {
    use super::web::reexports::runtime;

    #[runtime::idempotent(scope = "global", crate = runtime)]
    pub(crate) async fn by_module(body: String) -> String {
        body
    }

    #[runtime::idempotent(scope = "global", crate = super::renamed)]
    pub(crate) async fn by_parent(body: String) -> String {
        body
    }
}

fn main() {
    use axum::routing::post;

    let _: axum::Router = axum::Router::new()
        .route("/1", post(by_name))
        .route("/2", post(by_path))
        .route("/3", post(by_text))
        .route("/4", post(by_default))
        .route("/5", post(deeper::by_module))
        .route("/6", post(deeper::by_parent));
}
