//! Handlers that do what a request's `x-plan` says, the same ones for both frameworks.

use bytes::Bytes;
use idempotent_runtime::idempotent;

use crate::{
    extract::{Context, Json, Payment, User},
    perform::perform,
};

macro_rules! handlers {
    ($(
        $(#[$attribute:meta])*
        $name:ident at $path:literal |$($argument:ident: $type:ty),*| $run:expr;
    )*) => {
        /// The handlers of axum.
        pub mod on_axum {
            use super::{Bytes, Context, Json, Payment, User, idempotent, perform};

            $(
                $(#[$attribute])*
                pub(super) async fn $name($($argument: $type),*) -> axum::response::Response {
                    $run.await
                }
            )*

            /// All of them.
            pub fn router() -> axum::Router {
                use axum::routing::{any, post};

                let nested = axum::Router::new().route("/pay", any(pay));
                axum::Router::new()
                    $(.route($path, any($name)))*
                    .route("/idempotency-keys", post(idempotent_runtime::axum::issue_key))
                    .nest("/tenants/{tenant}", nested)
                    .fallback(any(pay))
            }
        }

        /// The handlers of actix-web.
        pub mod on_actix {
            use super::{Bytes, Context, Json, Payment, User, idempotent, perform};
            use actix_web::web;

            $(
                $(#[$attribute])*
                pub(super) async fn $name($($argument: $type),*) -> actix_web::HttpResponse {
                    $run.await
                }
            )*

            /// All of them.
            pub fn configure(config: &mut web::ServiceConfig) {
                config
                    $(.route($path, web::route().to($name)))*
                    .route("/of-axum", web::route().to(super::on_axum::pay))
                    .route("/idempotency-keys", web::post().to(idempotent_runtime::actix::issue_key))
                    .service(web::scope("/tenants/{tenant}").route("/pay", web::route().to(pay)))
                    .default_service(web::route().to(pay));
            }
        }
    };
}

handlers! {
    bare at "/bare" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global")]
    pay at "/pay" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global")]
    item at "/items/{id}" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global")]
    no_body at "/no-body" |context: Context| perform(context, b"");

    #[idempotent(scope = "global")]
    json at "/json" |context: Context, user: User, body: Json<Payment>| {
        let _ = user;
        perform(context, body.0.amount.to_string())
    };

    #[idempotent(scope = "user")]
    of_user at "/scope/user" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "device")]
    of_device at "/scope/device" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "bearer")]
    of_bearer at "/scope/bearer" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "verified")]
    of_verified at "/scope/verified" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "path")]
    of_path at "/scope/path/{id}" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "unregistered")]
    of_nobody at "/scope/unregistered" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = user.0)]
    of_expression at "/scope/expression" |context: Context, user: User, body: Bytes| {
        let _ = user;
        perform(context, body)
    };

    #[idempotent(scope = "user", operation = "who", fingerprint = "none")]
    who_user at "/who/user" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "device", operation = "who", fingerprint = "none")]
    who_device at "/who/device" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = user.0, operation = "who", fingerprint = "none")]
    who_expression at "/who/expression" |context: Context, user: User, body: Bytes| {
        let _ = user;
        perform(context, body)
    };

    #[idempotent(scope = "global", operation = "shared")]
    shared_a at "/shared/a" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", operation = "shared")]
    shared_b at "/shared/b" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", operation = "shared, whatever", fingerprint = "none")]
    alike_a at "/alike/a" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", operation = "shared, whatever", fingerprint = "none")]
    alike_b at "/alike/b" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", key = "required")]
    key_required at "/key/required" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", key = "optional")]
    key_optional at "/key/optional" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "user", key = "derived")]
    key_derived at "/key/derived" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "user", key = "derived")]
    key_derived_no_body at "/key/derived-no-body" |context: Context| perform(context, b"");

    #[idempotent(scope = "global", key = payment.0.id)]
    key_expression at "/key/expression" |context: Context, payment: Json<Payment>| {
        perform(context, payment.0.amount.to_string())
    };

    #[idempotent(scope = "global", fingerprint = "request")]
    fp_request at "/fingerprint/request" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", fingerprint = "none")]
    fp_none at "/fingerprint/none" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", fingerprint = payment.0.amount)]
    fp_expression at "/fingerprint/expression" |context: Context, payment: Json<Payment>| {
        perform(context, payment.0.id)
    };

    #[idempotent(scope = "global", fingerprint = std::collections::BTreeMap::from([(vec![1], 2)]))]
    fp_unserialisable at "/fingerprint/unserialisable" |context: Context| perform(context, b"");

    #[idempotent(scope = "global", wait = "5m")]
    wait_long at "/wait/long" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", wait = "200ms")]
    wait_short at "/wait/short" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", wait = "5m", on_lost = "refuse")]
    wait_refuse at "/wait/refuse" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", release_on())]
    release_never at "/release/never" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", release_on(5xx))]
    release_5xx at "/release/5xx" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", release_on(409, 4xx))]
    release_4xx at "/release/4xx" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", release_on(418))]
    release_418 at "/release/418" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", store_down = "refuse")]
    down_refuse at "/down/refuse" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", store_down = "run")]
    down_run at "/down/run" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", max_response = "1KiB")]
    small at "/small" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", ttl = "1h")]
    ttl_hour at "/ttl/hour" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", on_lost = "rerun")]
    lost_rerun at "/lost/rerun" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", on_lost = "refuse", ttl = "1h")]
    lost_refuse at "/lost/refuse" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", lease = "1s")]
    lease_second at "/lease/second" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", lease = "1s", on_lost = "refuse")]
    lease_refuse at "/lease/refuse" |context: Context, body: Bytes| perform(context, body);
}
