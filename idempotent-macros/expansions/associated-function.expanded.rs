impl<R: Repository> Payments<R> {
    const LIMIT: u64 = 1_000;
    #[doc(hidden)]
    #[cfg(feature = "payments")]
    #[allow(clippy::unused_async)]
    async fn __idempotent_create(
        State(repository): State<R>,
        Json(new): Json<NewPayment>,
    ) -> Result<Json<Payment>, AppError> {
        new.at_most(Self::LIMIT)?;
        Ok(Json(repository.add(new).await?))
    }
    #[cfg(feature = "payments")]
    pub(crate) async fn create(
        __idempotent_call: ::idempotent_runtime::__private::Call<
            (State<R>, Json<NewPayment>),
            { ::idempotent_runtime::__private::scope_id("user") },
            false,
        >,
    ) -> ::idempotent_runtime::__private::Reply {
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
        let (__idempotent_call, (__idempotent_0, __idempotent_1)) = __idempotent_call
            .into_parts();
        let __idempotent_run = Self::__idempotent_create(__idempotent_0, __idempotent_1);
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
}
