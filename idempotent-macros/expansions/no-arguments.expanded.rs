async fn sweep(
    __idempotent_call: ::idempotent_runtime::__private::Call<(), 0, false>,
) -> ::idempotent_runtime::__private::Reply {
    #[allow(clippy::unused_async)]
    async fn sweep() {
        sweep_all().await;
    }
    const __IDEMPOTENT_POLICY: ::idempotent_runtime::__private::Policy = ::idempotent_runtime::__private::Policy {
        operation: ::idempotent_runtime::__private::None,
        scope: ::idempotent_runtime::__private::ScopePolicy::Global,
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
    let (__idempotent_call, ()) = __idempotent_call.into_parts();
    let __idempotent_run = sweep();
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
