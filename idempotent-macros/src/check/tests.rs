//! What is right, and what is said of what is not.

mod choices;
mod durations;
mod function;
mod item;
mod max_response;
mod release_on;
mod scope;

use proc_macro2::TokenStream;
use quote::quote;

use super::check;
use crate::model::{Fingerprint, Key, OnLost, Scope, StoreDown, Use};
use crate::{args, handler};

fn used(arguments: TokenStream, item: TokenStream) -> syn::Result<Use> {
    check(args::parse(arguments), handler::parse(item))
}

fn on_pay(arguments: TokenStream) -> syn::Result<Use> {
    let item = quote!(
        pub async fn pay(State(db): State<Db>, user: User) -> Response {
            pay(db).await
        }
    );
    used(arguments, item)
}

fn correct(found: syn::Result<Use>) -> Use {
    found.unwrap_or_else(|error| panic!("refused: {:?}", messages(error)))
}

fn messages(error: syn::Error) -> Vec<String> {
    error.into_iter().map(|each| each.to_string()).collect()
}

/// What is said about arguments that stand beside a correct scope.
fn refused(argument: TokenStream) -> Vec<String> {
    let mut arguments = quote!(scope = "global",);
    arguments.extend(argument);
    on_pay(arguments).err().map(messages).unwrap_or_default()
}

/// What is said about a function under a correct attribute.
fn refused_fn(item: TokenStream) -> Vec<String> {
    let found = used(quote!(scope = "global"), item);
    found.err().map(messages).unwrap_or_default()
}

#[track_caller]
fn assert_one(messages: &[String], start: &str) {
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].starts_with(start), "{messages:?}");
}

fn ranges(found: &Use) -> Vec<(u16, u16)> {
    let each = found.policy.release_on.iter();
    each.map(|statuses| (statuses.first(), statuses.last()))
        .collect()
}

#[test]
fn a_scope_is_enough() {
    let found = correct(on_pay(quote!(scope = "global")));
    let policy = &found.policy;
    assert!(matches!(policy.scope, Scope::Global));
    assert!(matches!(policy.identity.key(), Key::Required));
    assert!(matches!(
        policy.identity.fingerprint(),
        Fingerprint::Request
    ));
    assert!(!policy.identity.needs_no_header());
    assert_eq!(policy.ttl.value(), 86_400_000);
    assert!(policy.wait.is_none());
    assert_eq!(policy.lease.value(), 30_000);
    assert!(matches!(policy.on_lost, OnLost::Rerun));
    assert_eq!(ranges(&found), [(429, 429), (503, 503)]);
    assert!(matches!(policy.store_down, StoreDown::Refuse));
    assert_eq!(policy.max_response.value(), 1_048_576);
    assert!(policy.operation.is_none());
}

#[test]
fn every_argument_is_read() {
    let found = correct(on_pay(quote!(
        scope = "user",
        ttl = "1h30m",
        key = "derived",
        fingerprint = (user.id, 1),
        wait = "5s",
        lease = "1m",
        on_lost = "refuse",
        release_on(409, 4xx, 5xx,),
        store_down = "run",
        max_response = "64KiB",
        operation = "pay",
        crate = "over::there",
    )));
    let policy = &found.policy;
    assert!(matches!(&policy.scope, Scope::Named(name) if name.value() == "user"));
    assert!(matches!(policy.identity.key(), Key::Derived));
    assert!(matches!(
        policy.identity.fingerprint(),
        Fingerprint::Expression(_)
    ));
    assert!(policy.identity.needs_no_header());
    assert_eq!(policy.ttl.value(), 5_400_000);
    assert_eq!(policy.wait.map(crate::model::Wait::value), Some(5_000));
    assert_eq!(policy.lease.value(), 60_000);
    assert!(matches!(policy.on_lost, OnLost::Refuse));
    assert_eq!(ranges(&found), [(409, 409), (400, 499), (500, 599)]);
    assert!(matches!(policy.store_down, StoreDown::Run));
    assert_eq!(policy.max_response.value(), 65_536);
    assert_eq!(
        policy.operation.as_ref().map(syn::LitStr::value).as_deref(),
        Some("pay")
    );
    assert_eq!(found.crate_path.segments.len(), 2);
}

#[test]
fn arguments_are_known_and_given_once() {
    assert_one(
        &refused(quote!(ttl = "1h", ttl = "1h")),
        "`ttl` is given twice",
    );
    assert_one(
        &refused(quote!(onlost = "rerun")),
        "`onlost` is not an argument",
    );
    assert!(refused(quote!(releas_on(1)))[0].ends_with("write `release_on`"));
    assert!(refused(quote!(color = 1))[0].ends_with("`errors`, `crate`"));
    assert_one(&refused(quote!("24h")), "`\"24h\"` has no name");
    assert_one(&refused(quote!(ttl("24h"))), "`ttl` takes a value");
    assert_one(&refused(quote!(ttl)), "`ttl` takes a value");
    assert_one(
        &refused(quote!(wait = "5s" ttl = "1h")),
        "`ttl` follows a value",
    );
}

#[test]
fn all_mistakes_are_said() {
    let found = used(
        quote!(
            ttl = "24x",
            color = 1,
            wait = "5s",
            wait = "6s",
            release_on(1, 2)
        ),
        quote!(
            const fn pay(&self, #[cfg(unix)] a: A) {}
        ),
    );
    let messages = found.err().map(messages).unwrap_or_default();
    assert_eq!(messages.len(), 9, "{messages:#?}");
}
