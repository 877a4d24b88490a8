use proc_macro2::TokenStream;
use quote::quote;

use super::check;
use crate::model::{Fingerprint, FunctionErrors, Key, Kind, OnLost, Place, Scope, StoreDown, Use};
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
fn a_word_without_its_quotes_is_refused_unless_a_parameter_has_that_name() {
    let found = on_pay(quote!(scope = global, key = optional, fingerprint = none));
    assert_eq!(
        found.err().map(messages).unwrap_or_default(),
        [
            "`scope` cannot be `global`; write `\"global\"`",
            "`key` cannot be `optional`; write `\"optional\"`",
            "`fingerprint` cannot be `none`; write `\"none\"`",
        ]
    );
    let item = quote!(
        async fn pay(Path(global): Path<String>) {}
    );
    let found = correct(used(quote!(scope = global), item));
    assert!(matches!(found.policy.scope, Scope::Expression(_)));
}

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

#[test]
fn scope_is_a_name_or_an_expression() {
    for expression in [quote!(user.id), quote!(db), quote!((user.id, "a"))] {
        let found = correct(on_pay(quote!(scope = #expression)));
        assert!(matches!(found.policy.scope, Scope::Expression(_)));
    }
    for wrong in [
        quote!(""),
        quote!("user-id"),
        quote!("1st"),
        quote!("a b"),
        quote!(1),
    ] {
        let found = on_pay(quote!(scope = #wrong));
        let messages = found.err().map(messages).unwrap_or_default();
        assert_one(&messages, &format!("`scope` cannot be `{wrong}`; write"));
    }
}

#[test]
fn a_missing_scope_is_said_once() {
    let missing = on_pay(quote!(ttl = "1h")).err().map(messages);
    assert_one(&missing.unwrap_or_default(), "`scope` is missing");
    let misspelled = on_pay(quote!(scop = "global")).err().map(messages);
    assert_one(
        &misspelled.unwrap_or_default(),
        "`scop` is not an argument of `idempotent`; write `scope`",
    );
    let unreadable = on_pay(quote!(scope =)).err().map(messages);
    assert_one(&unreadable.unwrap_or_default(), "`scope` takes a value");
    for half in [quote!(scope = user.), quote!(scope = user., ttl = "1h")] {
        let half = on_pay(half).err().map(messages);
        assert_one(
            &half.unwrap_or_default(),
            "the value of `scope` is no expression; write `scope = \"user\"`",
        );
    }
}

#[test]
fn durations_have_bounds() {
    for right in [
        quote!(ttl = "1s"),
        quote!(ttl = "366d"),
        quote!(ttl = "1000ms"),
        quote!(ttl = "2weeks 1 day 1min"),
        quote!(wait = "1ms"),
        quote!(wait = "5m"),
        quote!(lease = "1s"),
        quote!(lease = "1h"),
    ] {
        assert_eq!(refused(right.clone()), [""; 0], "{right}");
    }
    for wrong in [
        quote!(ttl = "0s"),
        quote!(ttl = "999ms"),
        quote!(ttl = "366d 1s"),
        quote!(wait = "0s"),
        quote!(wait = "1us"),
        quote!(wait = "5m 1ms"),
        quote!(lease = "999ms"),
        quote!(lease = "61m"),
    ] {
        let messages = refused(wrong.clone());
        assert_eq!(messages.len(), 1, "{wrong}: {messages:?}");
        assert!(
            messages[0].contains("write a duration from"),
            "{messages:?}"
        );
    }
    for wrong in [
        quote!("24"),
        quote!("24x"),
        quote!("a day"),
        quote!(""),
        quote!("-1s"),
        quote!(24),
        quote!(day),
        quote!("99999999999999999999s"),
        quote!("5M"),
        quote!("1month"),
        quote!("2 months"),
        quote!("1h5M"),
        quote!("1y"),
        quote!("1yr"),
        quote!("1 year 2days"),
    ] {
        let start = format!("`ttl` cannot be `{wrong}`; write a duration such as `\"24h\"`");
        assert_one(&refused(quote!(ttl = #wrong)), &start);
    }
}

#[test]
fn sizes_have_bounds() {
    for right in [quote!("1B"), quote!("4294967295B"), quote!("1.5MiB")] {
        assert_eq!(refused(quote!(max_response = #right)), [""; 0], "{right}");
    }
    for wrong in [quote!("0B"), quote!("4GiB"), quote!("99999EiB")] {
        let start = format!("`max_response` cannot be `{wrong}`; write a size from");
        assert_one(&refused(quote!(max_response = #wrong)), &start);
    }
    for wrong in [quote!("much"), quote!(1024), quote!("1 MeB"), quote!("")] {
        let start = format!("`max_response` cannot be `{wrong}`; write a size such as");
        assert_one(&refused(quote!(max_response = #wrong)), &start);
    }
}

#[test]
fn statuses_are_final_ones() {
    assert_eq!(
        ranges(&correct(on_pay(quote!(scope = "a", release_on())))),
        []
    );
    assert_eq!(refused(quote!(release_on(200, 599))), [""; 0]);
    for wrong in [
        quote!(199),
        quote!(600),
        quote!(3xx),
        quote!(429u16),
        quote!("503"),
        quote!(all),
        quote!(99999),
    ] {
        let start = format!("`release_on` cannot be `{wrong}`; list statuses");
        assert_one(&refused(quote!(release_on(429, #wrong, 5xx))), &start);
    }
    assert_eq!(refused(quote!(release_on(1, 2, 503, 3))).len(), 3);
    assert_one(
        &refused(quote!(release_on(429 503))),
        "`503` follows a value",
    );
    assert_one(
        &refused(quote!(release_on = 429)),
        "`release_on` takes a list",
    );
}

#[test]
fn choices_name_each_other() {
    assert_eq!(
        refused(quote!(key = "requierd")),
        [
            "`key` cannot be `\"requierd\"`; write `\"required\"`, `\"optional\"`, `\"derived\"` \
             or an expression such as `order.id`"
        ]
    );
    assert_eq!(
        refused(quote!(on_lost = "")),
        ["`on_lost` cannot be `\"\"`; write `\"rerun\"` or `\"refuse\"`"]
    );
    assert_one(&refused(quote!(fingerprint = 1)), "`fingerprint` cannot be");
    assert_one(&refused(quote!(store_down = run)), "`store_down` cannot be");
    assert_one(&refused(quote!(operation = " ")), "`operation` cannot be");
    assert_one(&refused(quote!(crate = "a b")), "`crate` cannot be");
}

#[test]
fn a_derived_key_needs_a_fingerprint() {
    let messages = refused(quote!(key = "derived", fingerprint = "none"));
    assert_one(
        &messages,
        "`fingerprint = \"none\"` leaves `key = \"derived\"`",
    );
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

#[test]
fn a_handler_is_a_plain_async_function() {
    let cases = [
        (
            quote!(
                fn pay() {}
            ),
            "`pay` must be async; write",
        ),
        (
            quote!(
                const fn pay() {}
            ),
            "`pay` must not be `const`; write `async fn pay`",
        ),
        (
            quote!(
                async unsafe fn pay() {}
            ),
            "`pay` must not be `unsafe`",
        ),
        (
            quote!(
                async extern "C" fn pay() {}
            ),
            "`pay` must not be `extern`",
        ),
        (
            quote!(
                async fn pay(a: u8, ...) {}
            ),
            "`pay` must not be variadic",
        ),
        (
            quote!(
                async fn pay(&mut self) {}
            ),
            "`pay` must not take `self`",
        ),
        (
            quote!(
                async fn pay(self: Box<Self>) {}
            ),
            "`pay` must not take `self`",
        ),
        (
            quote!(
                async fn pay();
            ),
            "`pay` has no body to run",
        ),
        (
            quote!(
                struct Pay;
            ),
            "`#[idempotent]` belongs on a handler",
        ),
        (
            quote!(
                const PAY: u8 = 1;
            ),
            "`#[idempotent]` belongs on a handler",
        ),
        (
            quote!(
                async fn pay(#[cfg(a)] a: A) {}
            ),
            "`cfg` must not stand",
        ),
        (
            quote!(
                async fn pay(a: &str) {}
            ),
            "`pay` must not borrow its parameters",
        ),
        (
            quote!(
                async fn pay<'a>(a: &'a mut A) {}
            ),
            "`pay` must not borrow its parameters",
        ),
        (
            quote!(
                #[idempotent(scope = "a")]
                async fn pay() {}
            ),
            "`idempotent` is given twice",
        ),
    ];
    for (item, start) in cases {
        assert_one(&refused_fn(item), start);
    }
}

#[test]
fn a_parameter_can_be_static() {
    let item = quote!(
        async fn pay(config: &'static Config) {}
    );
    assert_eq!(refused_fn(item), [""; 0]);
}

#[test]
fn a_handler_has_sixteen_parameters_at_most() {
    let with = |count: usize| {
        let params = (0..count).map(|index| quote::format_ident!("p{index}"));
        refused_fn(quote!(async fn pay(#(#params: P),*) {}))
    };
    assert_eq!(with(16), [""; 0]);
    assert_one(&with(17), "`pay` has 17 parameters");
}

#[test]
fn attributes_go_where_they_belong() {
    let item = quote!(
        /// Pays.
        #[post("/pay")]
        #[must_use]
        #[allow(clippy::all)]
        #[axum::debug_handler]
        #[tracing::instrument(skip_all)]
        #[expect(unused)]
        #[cfg(unix)]
        async fn pay() {}
    );
    let handler = correct(used(quote!(scope = "global"), item)).handler;
    let names = |attrs: &[syn::Attribute]| {
        let last = |attr: &syn::Attribute| attr.path().segments.last().map(|s| s.ident.to_string());
        attrs.iter().filter_map(last).collect::<Vec<_>>()
    };
    assert_eq!(
        names(&handler.outer_attrs),
        ["doc", "post", "must_use", "allow", "cfg"]
    );
    assert_eq!(
        names(&handler.inner_attrs),
        ["allow", "debug_handler", "instrument", "expect"]
    );
}

#[test]
fn naming_self_asks_for_a_place_in_the_impl() {
    let place = |item| correct(used(quote!(scope = "global"), item)).handler.place;
    for sibling in [
        quote!(
            async fn pay(a: Json<Self>) {}
        ),
        quote!(
            async fn pay() -> impl Into<Self> {}
        ),
        quote!(
            async fn pay()
            where
                Self: Sized,
            {
            }
        ),
        quote!(
            async fn pay() {
                go(|| [Self::LIMIT])
            }
        ),
        quote!(
            async fn pay() {
                struct A;
                Self::go()
            }
        ),
        quote!(
            async fn pay() {
                impl A {
                    fn a() -> Self {}
                }
                Self::go()
            }
        ),
    ] {
        assert!(place(sibling.clone()) == Place::Sibling, "{sibling}");
    }
    for nested in [
        quote!(
            async fn pay() {
                itself()
            }
        ),
        quote!(
            async fn pay() {
                struct A(Box<Self>);
            }
        ),
        quote!(
            async fn pay() {
                impl From<A> for B {
                    fn from(a: A) -> Self {
                        Self(a)
                    }
                }
            }
        ),
        quote!(
            async fn pay() {
                {
                    trait T {
                        fn new() -> Self;
                    }
                }
            }
        ),
    ] {
        assert!(place(nested.clone()) == Place::Nested, "{nested}");
    }
    let by_expression = correct(on_pay(quote!(scope = Self::tenant(user))));
    assert!(by_expression.handler.place == Place::Sibling);
}
