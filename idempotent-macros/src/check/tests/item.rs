//! What the attribute stands on.

use quote::quote;

use super::{assert_one, correct, on_pay, refused_fn, used};
use crate::model::Place;

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
