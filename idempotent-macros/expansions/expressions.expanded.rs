async fn receive<S: Shop, const LIMIT: usize>(
    __idempotent_call: ::idempotent_runtime::__private::Call<
        (State<S>, Path<(Tenant, String)>, Json<Event>),
        0,
        true,
    >,
) -> ::idempotent_runtime::__private::Reply
where
    AppError: From<S::Error>,
{
    #[allow(clippy::unused_async)]
    async fn receive<S: Shop, const LIMIT: usize>(
        State(mut shop): State<S>,
        #[allow(unused_variables)]
        Path((tenant, ref user)): Path<(Tenant, String)>,
        #[allow(unused_variables)]
        Json(Event { mut lines, event, .. }): Json<Event>,
    ) -> Result<Json<Receipt>, AppError>
    where
        AppError: From<S::Error>,
    {
        lines.truncate(LIMIT);
        Ok(Json(shop.sell(tenant, user, event, lines).await?))
    }
    const __IDEMPOTENT_POLICY: ::idempotent_runtime::__private::Policy = ::idempotent_runtime::__private::Policy {
        operation: ::idempotent_runtime::__private::None,
        scope: ::idempotent_runtime::__private::ScopePolicy::Expression,
        key: ::idempotent_runtime::__private::KeyPolicy::Expression,
        fingerprint: ::idempotent_runtime::__private::FingerprintPolicy::Expression,
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
    let (__idempotent_call, (__idempotent_0, __idempotent_1, __idempotent_2)) = __idempotent_call
        .into_parts();
    let __idempotent_call = {
        #[allow(unused_variables)]
        let (State(shop), Path((tenant, user)), Json(Event { lines, event, .. })) = (
            &__idempotent_0,
            &__idempotent_1,
            &__idempotent_2,
        );
        __idempotent_call
            .scope(&(format!("{}/{}", tenant.id, user)))
            .key(&(event.id))
            .fingerprint(&((&event.amount, lines.len())))
    };
    let __idempotent_run = receive::<
        S,
        LIMIT,
    >(__idempotent_0, __idempotent_1, __idempotent_2);
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
