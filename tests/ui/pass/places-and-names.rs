//! Handlers wherever a function can be, under whatever name, and out of macros.

use axum::{Json, Router, extract::Path, routing::post};
use idempotent_runtime::idempotent;

mod payments {
    pub(crate) mod handlers {
        use axum::Json;
        use idempotent_runtime::idempotent;

        pub struct Amount(pub(super) u64);

        fn doubled(amount: u64) -> u64 {
            amount * 2
        }

        #[idempotent(scope = "global")]
        pub(crate) async fn create(Json(amount): Json<u64>) -> Json<u64> {
            Json(doubled(amount))
        }

        #[idempotent(scope = "global")]
        pub(super) async fn update(Json(amount): Json<u64>) -> Json<u64> {
            Json(super::limited(Amount(amount)))
        }

        #[::idempotent_runtime::idempotent(scope = "global")]
        pub async fn replace(Json(amount): Json<u64>) -> Json<u64> {
            Json(doubled(amount))
        }
    }

    fn limited(amount: handlers::Amount) -> u64 {
        amount.0.min(9)
    }

    pub(crate) fn router() -> axum::Router {
        axum::Router::new().route("/", axum::routing::put(handlers::update))
    }
}

#[idempotent(scope = r#match, key = r#type)]
async fn r#move(Path((r#match, r#type)): Path<(String, u64)>, mut r#ref: String) -> String {
    r#ref.push_str(&r#match);
    format!("{ref} {type}", r#ref = r#ref, r#type = r#type)
}

#[idempotent(scope = "global")]
#[actix_web::post("/pay")]
async fn r#final(r#in: String) -> String {
    r#in
}

struct Api;

impl Api {
    #[idempotent(scope = "global")]
    async fn r#static(r#in: String) -> String {
        Self::same(r#in)
    }

    fn same(text: String) -> String {
        text
    }
}

/// Named like what is generated.
#[idempotent(scope = call, key = args)]
async fn framework(Path((call, args)): Path<(String, String)>, drive: String) -> String {
    #[allow(non_upper_case_globals)]
    const policy: &str = "policy";
    format!("{call} {args} {drive} {policy}")
}

/// Its name is that of one of its parameters.
#[idempotent(scope = pay)]
async fn pay(pay: String) -> String {
    pay
}

macro_rules! handler {
    ($(#[$attribute:meta])* $name:ident, $ttl:literal, $scope:expr, ($pattern:pat => $type:ty), $body:block) => {
        $(#[$attribute])*
        #[idempotent(scope = $scope, ttl = $ttl)]
        async fn $name($pattern: $type) -> $type $body
    };
}

handler!(
    /// Out of a macro.
    out_of_a_macro, "1h", "global", (Json(mut amount) => Json<u64>), {
        amount += 1;
        Json(amount)
    }
);

macro_rules! with_body {
    ($signature:item) => {
        #[idempotent(scope = "global")]
        $signature
    };
}

with_body! {
    async fn whole_out_of_a_macro(Json(amount): Json<u64>) -> Json<u64> {
        Json(amount)
    }
}

fn main() {
    #[idempotent(scope = "global")]
    async fn in_a_function(Json(amount): Json<u64>) -> Json<u64> {
        #[idempotent(scope = "global")]
        async fn in_a_handler(Json(amount): Json<u64>) -> Json<u64> {
            Json(amount)
        }
        let _: Router = Router::new().route("/", post(in_a_handler));
        Json(amount)
    }

    let _: Router = Router::new()
        .merge(payments::router())
        .route("/1", post(payments::handlers::create))
        .route("/2", post(payments::handlers::replace))
        .route("/3/{match}/{type}", post(r#move))
        .route("/4", post(Api::r#static))
        .route("/5/{call}/{args}", post(framework))
        .route("/6", post(pay))
        .route("/7", post(out_of_a_macro))
        .route("/8", post(whole_out_of_a_macro))
        .route("/9", post(in_a_function));
    let _ = actix_web::App::new().service(r#final);
}
