//! Handlers in a module where the usual names mean something else.

#![allow(non_camel_case_types, non_upper_case_globals, unused)]

mod hidden {
    pub struct Arc;
    pub struct Box;
    pub struct Call;
    pub struct Clone;
    pub struct Duration;
    pub struct Future;
    pub struct Option;
    pub struct Policy;
    pub struct Probe;
    pub struct Reply;
    pub struct Result;
    pub struct Send;
    pub struct Some;
    pub struct String;
    pub struct Sync;
    pub struct None;
    pub struct Ok;
    pub struct Err;
    pub struct bool;
    pub struct str;
    pub struct u16;
    pub struct u64;
    pub mod alloc {}
    pub mod core {}
    pub mod std {}
    pub mod option {}
    pub mod time {}

    /// Everything has the methods that a runtime could call.
    pub trait Everything: Sized {
        fn framework(&self) {}
        fn drive(self) {}
        fn into_parts(self) {}
        fn scope(self) {}
        fn key(self) {}
        fn fingerprint(self) {}
    }

    impl<T> Everything for T {}
}

mod of_axum {
    use super::hidden::*;
    use super::hidden::{
        Arc, Box, Call, Clone, Duration, Err, Everything, Future, None, Ok, Option, Policy, Probe,
        Reply, Result, Send, Some, String, Sync, alloc, bool, core, option, std, str, time, u16,
        u64,
    };

    #[::idempotent_runtime::idempotent(
        scope = amount,
        key = amount,
        fingerprint = amount,
        wait = "5s",
        operation = "pay"
    )]
    pub(super) async fn expressions(::axum::Json(amount): ::axum::Json<i64>) -> ::axum::Json<i64> {
        ::axum::Json(amount)
    }

    #[::idempotent_runtime::idempotent(scope = "user")]
    pub(super) async fn resolver() -> ::axum::http::StatusCode {
        ::axum::http::StatusCode::OK
    }
}

mod of_actix {
    use super::hidden::{
        Arc, Box, Call, Clone, Duration, Err, Everything, Future, None, Ok, Option, Policy, Probe,
        Reply, Result, Send, Some, String, Sync, alloc, bool, core, option, std, str, time, u16,
        u64,
    };

    #[::idempotent_runtime::idempotent(
        scope = amount,
        key = amount,
        fingerprint = amount,
        wait = "5s",
        operation = "pay"
    )]
    pub(super) async fn expressions(
        amount: ::actix_web::web::Json<i64>,
    ) -> ::actix_web::web::Json<i64> {
        amount
    }

    #[::idempotent_runtime::idempotent(scope = "user")]
    pub(super) async fn resolver() -> ::actix_web::HttpResponse {
        ::actix_web::HttpResponse::Ok().finish()
    }
}

/// The result has another error than the usual one.
mod results {
    type Result<T> = ::std::result::Result<T, ::axum::http::StatusCode>;

    fn checked(amount: i64) -> Result<i64> {
        if amount > 0 {
            Ok(amount)
        } else {
            Err(::axum::http::StatusCode::UNPROCESSABLE_ENTITY)
        }
    }

    #[::idempotent_runtime::idempotent(scope = "user")]
    pub(super) async fn pay(::axum::Json(amount): ::axum::Json<i64>) -> Result<::axum::Json<i64>> {
        Ok(::axum::Json(checked(amount)?))
    }
}

fn main() {
    let _: axum::Router = axum::Router::new()
        .route("/1", axum::routing::post(of_axum::expressions))
        .route("/2", axum::routing::post(of_axum::resolver))
        .route("/3", axum::routing::post(results::pay));
    let _ = actix_web::App::new()
        .route("/1", actix_web::web::post().to(of_actix::expressions))
        .route("/2", actix_web::web::post().to(of_actix::resolver));
}
