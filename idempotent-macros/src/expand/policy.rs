//! The policy as a constant: numbers and choices, all of them checked.

use proc_macro2::{Literal, Span, TokenStream};
use quote::ToTokens;

use crate::model::{Fingerprint, Key, OnLost, Policy, Scope, StoreDown};

pub(crate) fn constant(rt: &TokenStream, policy: &Policy) -> TokenStream {
    let operation = optional(rt, policy.operation.as_ref());
    let scope = match &policy.scope {
        Scope::Global => generated!(Global),
        Scope::Named(name) => generated!(Named(#name)),
        Scope::Expression(_) => generated!(Expression),
    };
    let key = match policy.identity.key() {
        Key::Required => generated!(Required),
        Key::Optional => generated!(Optional),
        Key::Derived => generated!(Derived),
        Key::Expression(_) => generated!(Expression),
    };
    let fingerprint = match policy.identity.fingerprint() {
        Fingerprint::Request => generated!(Request),
        Fingerprint::None => generated!(None),
        Fingerprint::Expression(_) => generated!(Expression),
    };
    let ttl = millis(rt, policy.ttl.value());
    let wait = optional(rt, policy.wait.map(|wait| millis(rt, wait.value())));
    let lease = millis(rt, policy.lease.value());
    let on_lost = match policy.on_lost {
        OnLost::Rerun => generated!(Rerun),
        OnLost::Refuse => generated!(Refuse),
    };
    let release_on = policy.release_on.iter().map(|statuses| {
        let (first, last) = (number(statuses.first()), number(statuses.last()));
        generated!((#first, #last))
    });
    let store_down = match policy.store_down {
        StoreDown::Refuse => generated!(Refuse),
        StoreDown::Run => generated!(Run),
    };
    let max_response = number(policy.max_response.value());
    generated! {
        const __IDEMPOTENT_POLICY: #rt::Policy = #rt::Policy {
            operation: #operation,
            scope: #rt::ScopePolicy::#scope,
            key: #rt::KeyPolicy::#key,
            fingerprint: #rt::FingerprintPolicy::#fingerprint,
            ttl: #ttl,
            wait: #wait,
            lease: #lease,
            on_lost: #rt::OnLost::#on_lost,
            release_on: #rt::StatusSet(&[#(#release_on),*]),
            store_down: #rt::StoreDown::#store_down,
            max_response: #max_response,
        };
    }
}

fn optional(rt: &TokenStream, value: Option<impl ToTokens>) -> TokenStream {
    value.map_or_else(
        || generated!(#rt::None),
        |value| generated!(#rt::Some(#value)),
    )
}

fn millis(rt: &TokenStream, millis: u64) -> TokenStream {
    let millis = number(millis);
    generated!(#rt::millis(#millis))
}

fn number(value: impl Into<u64>) -> Literal {
    let mut literal = Literal::u64_unsuffixed(value.into());
    literal.set_span(Span::mixed_site());
    literal
}
