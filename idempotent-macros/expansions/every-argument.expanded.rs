async fn create(
    __idempotent_call: crate::web::runtime::__private::Call<
        (Json<NewPayment>,),
        { crate::web::runtime::__private::scope_id("user") },
        true,
    >,
) -> crate::web::runtime::__private::Reply {
    #[allow(clippy::unused_async)]
    async fn create(Json(new): Json<NewPayment>) -> StatusCode {
        charge(new).await
    }
    const __IDEMPOTENT_POLICY: crate::web::runtime::__private::Policy = crate::web::runtime::__private::Policy {
        operation: crate::web::runtime::__private::Some("create payment"),
        scope: crate::web::runtime::__private::ScopePolicy::Named("user"),
        key: crate::web::runtime::__private::KeyPolicy::Derived,
        fingerprint: crate::web::runtime::__private::FingerprintPolicy::Request,
        ttl: crate::web::runtime::__private::millis(604800000),
        wait: crate::web::runtime::__private::Some(
            crate::web::runtime::__private::millis(5000),
        ),
        lease: crate::web::runtime::__private::millis(60000),
        on_lost: crate::web::runtime::__private::OnLost::Refuse,
        release_on: crate::web::runtime::__private::StatusSet(&[(409, 409), (500, 599)]),
        store_down: crate::web::runtime::__private::StoreDown::Run,
        max_response: 65536,
    };
    let (__idempotent_call, (__idempotent_0,)) = __idempotent_call.into_parts();
    let __idempotent_run = create(__idempotent_0);
    {
        #[allow(unused_imports)]
        use crate::web::runtime::__private::{
            Actix as _, Axum as _, AxumNotSend as _, AxumOrActix as _, Neither as _,
        };
        let __idempotent_framework = (&&&&&crate::web::runtime::__private::Probe(
            &__idempotent_run,
        ))
            .__idempotent_framework();
        __idempotent_framework
            .drive(__idempotent_call, &__IDEMPOTENT_POLICY, __idempotent_run)
            .await
    }
}
