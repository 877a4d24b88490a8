//! `runtime` and `errors`: functions that are no handlers.

use proc_macro2::TokenStream;
use quote::quote;

use super::{assert_one, correct, messages, ranges, refused, used};
use crate::model::{Fingerprint, FunctionErrors, Key, Kind, Scope, Use};

fn on_paid(arguments: TokenStream) -> syn::Result<Use> {
    let item = quote!(
        async fn on_paid(state: State, event: Paid) -> Result<Receipt, Error> {
            pay(state, event).await
        }
    );
    used(arguments, item)
}

#[test]
fn a_function_has_a_runtime_a_key_and_a_scope() {
    let found = correct(on_paid(quote!(
        runtime = state.rt,
        key = event.id,
        scope = "global"
    )));
    assert!(matches!(
        &found.kind,
        Kind::Function {
            errors: FunctionErrors::Release,
            ..
        }
    ));
    let policy = &found.policy;
    assert!(matches!(policy.scope, Scope::Global));
    assert!(matches!(policy.identity.key(), Key::Expression(_)));
    assert!(matches!(policy.identity.fingerprint(), Fingerprint::None));
    assert_eq!(ranges(&found), []);
    let found = correct(on_paid(quote!(
        runtime = state.rt,
        key = event.id,
        scope = event.user,
        fingerprint = event,
        errors = "record"
    )));
    assert!(matches!(
        &found.kind,
        Kind::Function {
            errors: FunctionErrors::Record,
            ..
        }
    ));
    assert!(matches!(
        found.policy.identity.fingerprint(),
        Fingerprint::Expression(_)
    ));
}

#[test]
fn what_only_a_request_has_is_no_argument_of_a_function() {
    let refused = |arguments| on_paid(arguments).err().map(messages).unwrap_or_default();
    let without_key = refused(quote!(runtime = rt, scope = "global"));
    assert_one(&without_key, "`key` is missing");
    let without_scope = refused(quote!(runtime = rt, key = id));
    assert_one(&without_scope, "`scope` is missing");
    for key in ["required", "optional", "derived"] {
        let named = refused(quote!(runtime = rt, key = #key, scope = "global"));
        assert_one(&named, "`key` cannot be");
    }
    let named = refused(quote!(runtime = rt, key = id, scope = "user"));
    assert_one(&named, "`scope` cannot be `\"user\"`");
    let request = refused(quote!(
        runtime = rt,
        key = id,
        scope = "global",
        fingerprint = "request"
    ));
    assert_one(&request, "`fingerprint` cannot be");
    for statuses in [quote!(release_on()), quote!(release_on(503))] {
        let statuses = refused(quote!(runtime = rt, key = id, scope = "global", #statuses));
        assert_one(&statuses, "`release_on` is about responses");
    }
    let all = refused(quote!(
        runtime = "rt",
        scope = "user",
        fingerprint = "request",
        errors = 1,
        release_on(503)
    ));
    assert_eq!(all.len(), 6, "{all:?}");
}

#[test]
fn errors_are_a_functions() {
    assert_one(
        &refused(quote!(errors = "record")),
        "`errors` is about functions",
    );
}

#[test]
fn a_function_may_have_any_number_of_parameters() {
    let params = (0..20).map(|index| {
        let name = quote::format_ident!("p{index}");
        quote!(#name: u8)
    });
    let arguments = quote!(runtime = p0, key = p1, scope = "global");
    correct(used(
        arguments,
        quote!(async fn many(#(#params),*) -> Result<(), Error> {}),
    ));
}
