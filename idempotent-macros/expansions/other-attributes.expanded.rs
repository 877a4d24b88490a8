#[must_use]
/// Makes a payment.
#[allow(clippy::needless_pass_by_value)]
#[deprecated]
async fn create(
    __idempotent_call: ::idempotent_runtime::__private::Call<
        (User, Json<NewPayment>),
        0,
        false,
    >,
) -> ::idempotent_runtime::__private::Reply {
    #[allow(clippy::needless_pass_by_value)]
    #[axum::debug_handler]
    #[tracing::instrument(skip_all)]
    #[allow(clippy::unused_async)]
    async fn create(
        #[allow(unused_variables)]
        user: User,
        Json(new): Json<NewPayment>,
    ) -> Json<Payment> {
        Json(user.pay(new).await)
    }
    const __IDEMPOTENT_POLICY: ::idempotent_runtime::__private::Policy = ::idempotent_runtime::__private::Policy {
        operation: ::idempotent_runtime::__private::None,
        scope: ::idempotent_runtime::__private::ScopePolicy::Expression,
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
    let (__idempotent_call, (__idempotent_0, __idempotent_1)) = __idempotent_call
        .into_parts();
    let __idempotent_call = {
        #[allow(unused_variables)]
        let (user, Json(new)) = (&__idempotent_0, &__idempotent_1);
        __idempotent_call.scope(&(user.id))
    };
    let __idempotent_run = create(__idempotent_0, __idempotent_1);
    {
        #[allow(unused_imports)]
        use ::idempotent_runtime::__private::{
            Actix as _, Axum as _, AxumNotSend as _, AxumOrActix as _, Neither as _,
        };
        let __idempotent_framework = (&&&&&::idempotent_runtime::__private::Probe(
            &__idempotent_run,
        ))
            .__idempotent_framework();
        __idempotent_framework
            .drive(__idempotent_call, &__IDEMPOTENT_POLICY, __idempotent_run)
            .await
    }
}
