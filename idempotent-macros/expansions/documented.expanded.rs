#[doc(hidden)]
#[allow(non_camel_case_types, dead_code)]
struct __idempotent_operation_pay;
const _: () = {
    #[utoipa::path(
        get,
        path = "",
        impl_for = __idempotent_operation_pay,
        responses((status = 201, body = Paid), Refusals),
    )]
    /// Pays.
    ///
    /// In cents.
    #[allow(dead_code)]
    fn __idempotent_documented() {}
    const __IDEMPOTENT_POLICY: ::idempotent_runtime::__private::Policy = ::idempotent_runtime::__private::Policy {
        operation: ::idempotent_runtime::__private::None,
        scope: ::idempotent_runtime::__private::ScopePolicy::Named("user"),
        key: ::idempotent_runtime::__private::KeyPolicy::Required,
        fingerprint: ::idempotent_runtime::__private::FingerprintPolicy::Request,
        ttl: ::idempotent_runtime::__private::millis(86400000),
        wait: ::idempotent_runtime::__private::None,
        lease: ::idempotent_runtime::__private::millis(30000),
        on_lost: ::idempotent_runtime::__private::OnLost::Rerun,
        release_on: ::idempotent_runtime::__private::StatusSet(
            &[(429, 429), (503, 503)],
        ),
        store_down: ::idempotent_runtime::__private::StoreDown::Refuse,
        max_response: 1048576,
    };
    impl ::idempotent_runtime::__private::openapi::Documented
    for __idempotent_operation_pay {
        const POLICY: ::idempotent_runtime::__private::Policy = __IDEMPOTENT_POLICY;
        const HAS_BODY: bool = true;
    }
};
#[utoipa::path(
    post,
    path = "/pay",
    request_body = New<u64,
    u64>,
    params(
        ("X-Trace" = String, Header),
        ::idempotent_runtime::__private::openapi::Key<__idempotent_operation_pay>
    ),
    responses(
        (status = 201, body = Paid),
        Refusals,
        (
            status = 409,
            body = ::idempotent_runtime::__private::openapi::IdempotencyProblem
        ),
        ::idempotent_runtime::__private::openapi::Answers<__idempotent_operation_pay>
    ),
    description = ::idempotent_runtime::__private::openapi::description::<__idempotent_operation_pay>(

    )
)]
#[::idempotent_runtime::__private::idempotent(scope = "user")]
/// Pays.
///
/// In cents.
#[debug_handler]
pub async fn pay(Json(new): Json<New<u64, u64>>) -> Json<Paid> {
    charge(new)
}
#[cfg(feature = "document")]
#[cfg(not(test))]
#[doc(hidden)]
#[allow(non_camel_case_types, dead_code)]
struct __idempotent_operation_event;
#[cfg(feature = "document")]
#[cfg(not(test))]
const _: () = {
    #[::utoipa::path(
        get,
        path = "",
        impl_for = __idempotent_operation_event,
        description = HELP
    )]
    #[allow(dead_code)]
    fn __idempotent_documented() {}
    const __IDEMPOTENT_POLICY: crate::web::__private::Policy = crate::web::__private::Policy {
        operation: crate::web::__private::None,
        scope: crate::web::__private::ScopePolicy::Global,
        key: crate::web::__private::KeyPolicy::Required,
        fingerprint: crate::web::__private::FingerprintPolicy::Request,
        ttl: crate::web::__private::millis(86400000),
        wait: crate::web::__private::None,
        lease: crate::web::__private::millis(30000),
        on_lost: crate::web::__private::OnLost::Rerun,
        release_on: crate::web::__private::StatusSet(&[(429, 429), (503, 503)]),
        store_down: crate::web::__private::StoreDown::Refuse,
        max_response: 1048576,
    };
    impl crate::web::__private::openapi::Documented for __idempotent_operation_event {
        const POLICY: crate::web::__private::Policy = __IDEMPOTENT_POLICY;
        const HAS_BODY: bool = false;
    }
};
#[cfg_attr(
    feature = "document",
    ::utoipa::path(
        params(crate::web::__private::openapi::Key<__idempotent_operation_event>),
        responses(
            (status = 409, body = crate::web::__private::openapi::IdempotencyProblem),
            crate::web::__private::openapi::Answers<__idempotent_operation_event>
        ),
        description = crate::web::__private::openapi::description::<__idempotent_operation_event>(

        )
    )
)]
#[crate::web::__private::idempotent(crate = crate::web, scope = "global")]
#[cfg(not(test))]
#[cfg_attr(feature = "document", inline, allow(unused))]
#[post("/event")]
async fn event() {}
