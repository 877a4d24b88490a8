pub(crate) async fn on_paid(state: Arc<State>, event: Paid) -> Result<Receipt, Error> {
    #[allow(clippy::unused_async)]
    async fn on_paid(
        #[allow(unused_variables)]
        state: Arc<State>,
        #[allow(unused_variables)]
        mut event: Paid,
    ) -> Result<Receipt, Error> {
        event.note(&state);
        Ok(Receipt(event.id))
    }
    const __IDEMPOTENT_POLICY: ::idempotent_runtime::__private::Policy = ::idempotent_runtime::__private::Policy {
        operation: ::idempotent_runtime::__private::None,
        scope: ::idempotent_runtime::__private::ScopePolicy::Global,
        key: ::idempotent_runtime::__private::KeyPolicy::Expression,
        fingerprint: ::idempotent_runtime::__private::FingerprintPolicy::None,
        ttl: ::idempotent_runtime::__private::millis(604800000),
        wait: ::idempotent_runtime::__private::None,
        lease: ::idempotent_runtime::__private::millis(30000),
        on_lost: ::idempotent_runtime::__private::OnLost::Rerun,
        release_on: ::idempotent_runtime::__private::StatusSet(&[]),
        store_down: ::idempotent_runtime::__private::StoreDown::Refuse,
        max_response: 1048576,
    };
    let __idempotent_call = {
        #[allow(unused_variables)]
        let state = &state;
        #[allow(unused_variables)]
        let event = &event;
        ::idempotent_runtime::__private::FunctionCall::new(
                &(state.idempotency),
                ::core::concat!(::core::module_path!(), "::", "on_paid"),
                &__IDEMPOTENT_POLICY,
            )
            .key(&(event.id))
    };
    __idempotent_call.release_errors(move |_| on_paid(state, event)).await
}
async fn settle<T: Tender>(
    __idempotent_0: (u64, i64),
    customer: Customer,
) -> Result<T, Declined> {
    #[allow(clippy::unused_async)]
    async fn settle<T: Tender>(
        #[allow(unused_variables)]
        (id, amount): (u64, i64),
        execution: OnceExecution<Result<T, Declined>>,
        #[allow(unused_variables)]
        customer: Customer,
    ) -> Result<T, Declined> {
        tender(id, amount, execution, customer).await
    }
    const __IDEMPOTENT_POLICY: ::idempotent_runtime::__private::Policy = ::idempotent_runtime::__private::Policy {
        operation: ::idempotent_runtime::__private::Some("settle"),
        scope: ::idempotent_runtime::__private::ScopePolicy::Expression,
        key: ::idempotent_runtime::__private::KeyPolicy::Expression,
        fingerprint: ::idempotent_runtime::__private::FingerprintPolicy::Expression,
        ttl: ::idempotent_runtime::__private::millis(86400000),
        wait: ::idempotent_runtime::__private::None,
        lease: ::idempotent_runtime::__private::millis(30000),
        on_lost: ::idempotent_runtime::__private::OnLost::Rerun,
        release_on: ::idempotent_runtime::__private::StatusSet(&[]),
        store_down: ::idempotent_runtime::__private::StoreDown::Refuse,
        max_response: 1048576,
    };
    let __idempotent_call = {
        #[allow(unused_variables)]
        let (id, amount) = &__idempotent_0;
        #[allow(unused_variables)]
        let customer = &customer;
        ::idempotent_runtime::__private::FunctionCall::new(
                &(RUNTIME),
                "settle",
                &__IDEMPOTENT_POLICY,
            )
            .scope(&(customer.id))
            .key(&(id))
            .fingerprint(&((id, amount)))
    };
    __idempotent_call
        .record_errors(move |__idempotent_execution| settle::<
            T,
        >(__idempotent_0, __idempotent_execution.clone(), customer))
        .await
}
