use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote};
use syn::{ImplItem, Item, ItemFn, ItemImpl, Stmt};

use super::{by_reference, expand};
use crate::{args, check, handler};

fn expanded(arguments: TokenStream, item: TokenStream) -> TokenStream {
    match check::check(args::parse(arguments), handler::parse(item)) {
        Ok(checked) => expand(&checked),
        Err(error) => panic!("refused: {error}"),
    }
}

/// The one function that a handler becomes, and its text.
fn function(arguments: TokenStream, item: TokenStream) -> (ItemFn, String) {
    let tokens = expanded(arguments, item);
    let text = tokens.to_string();
    let mut file: syn::File = syn::parse2(tokens).expect("an expansion is a list of items");
    assert_eq!(file.items.len(), 1, "{text}");
    match file.items.remove(0) {
        Item::Fn(function) => (function, text),
        other => panic!("not a function: {}", other.to_token_stream()),
    }
}

/// Compares without spaces: `>>` is one token or two, depending on who made it.
#[track_caller]
fn assert_has(text: &str, part: &TokenStream) {
    let dense = |text: &str| text.replace(' ', "");
    assert!(
        dense(text).contains(&dense(&part.to_string())),
        "{part}\nis not in\n{text}"
    );
}

#[test]
fn the_handler_is_nested_as_it_was() {
    let item = quote! {
        /// Pays.
        #[post("/pay")]
        pub(crate) async fn pay<'a, T: Bound, const N: usize>(
            #[allow(unused)] State(db): State<Db>,
            Json(mut new): Json<New<'a, T, N>>,
        ) -> Result<Paid, Error>
        where
            T: Other,
        {
            #![allow(dead_code)]
            half typed ( body
                .
            )
        }
    };
    let tokens = expanded(quote!(scope = "user"), item);
    let text = tokens.to_string();
    assert_has(
        &text,
        &quote! {
            /// Pays.
            #[post("/pay")]
            pub(crate) async fn pay<'a, T: Bound, const N: usize>(
                __idempotent_call: ::idempotent_runtime::__private::Call<
                    (State<Db>, Json<New<'a, T, N>>,),
                    { ::idempotent_runtime::__private::scope_id("user") },
                    false
                >,
            ) -> ::idempotent_runtime::__private::Reply
            where
                T: Other,
        },
    );
    assert_has(
        &text,
        &quote! {
            #[allow(clippy::unused_async)]
            async fn pay<'a, T: Bound, const N: usize>(
                #[allow(unused)] State(db): State<Db>,
                Json(mut new): Json<New<'a, T, N>>
            ) -> Result<Paid, Error>
            where
                T: Other,
            {
                #![allow(dead_code)]
                half typed ( body
                    .
                )
            }
        },
    );
    assert_has(&text, &quote!(pay::<T, N>(__idempotent_0, __idempotent_1);));
}

#[test]
fn the_policy_is_made_of_numbers() {
    let arguments = quote!(
        scope = "global",
        ttl = "7d",
        wait = "5s",
        release_on(429, 5xx),
        operation = "pay",
        crate = rt
    );
    let (_, text) = function(
        arguments,
        quote!(
            async fn pay() {}
        ),
    );
    assert_has(
        &text,
        &quote! {
            const __IDEMPOTENT_POLICY: rt::__private::Policy = rt::__private::Policy {
                operation: rt::__private::Some("pay"),
                scope: rt::__private::ScopePolicy::Global,
                key: rt::__private::KeyPolicy::Required,
                fingerprint: rt::__private::FingerprintPolicy::Request,
                ttl: rt::__private::millis(604800000),
                wait: rt::__private::Some(rt::__private::millis(5000)),
                lease: rt::__private::millis(30000),
                on_lost: rt::__private::OnLost::Rerun,
                release_on: rt::__private::StatusSet(&[(429, 429), (500, 599)]),
                store_down: rt::__private::StoreDown::Refuse,
                max_response: 1048576,
            };
        },
    );
    assert!(!text.contains("idempotent_runtime"), "{text}");
}

#[test]
fn expressions_see_the_parameters_by_reference() {
    let arguments = quote!(scope = user.id, key = a + b, fingerprint = &new);
    let item = quote!(
        async fn pay(
            mut user: User,
            Pair {
                ref a,
                b: (mut b, _),
            }: Pair,
            Json(mut new): Json<New>,
        ) {
        }
    );
    let (_, text) = function(arguments, item);
    assert_has(
        &text,
        &quote! {
            let __idempotent_call = {
                #[allow(unused_variables)]
                let (user, Pair { a, b: (b, _), }, Json(new),) =
                    (&__idempotent_0, &__idempotent_1, &__idempotent_2,);
                __idempotent_call.scope(&(user.id)).key(&(a + b)).fingerprint(&(&new))
            };
        },
    );
    assert_has(&text, &quote!((User, Pair, Json<New>,), 0, true>));
}

#[test]
fn no_expression_leaves_no_trace() {
    let (function, text) = function(
        quote!(scope = "user"),
        quote!(
            async fn pay(a: A) {}
        ),
    );
    assert!(!text.contains("unused_variables"), "{text}");
    let statements = &function.block.stmts;
    assert!(matches!(statements[0], Stmt::Item(Item::Fn(_))), "{text}");
    assert!(
        matches!(statements[1], Stmt::Item(Item::Const(_))),
        "{text}"
    );
    assert_eq!(statements.len(), 5, "{text}");
}

#[test]
fn one_that_names_self_stands_beside() {
    let item = quote!(
        #[cfg(unix)]
        pub async fn r#pay<T>(a: T) -> Self {
            Self::new(a)
        }
    );
    let tokens = expanded(quote!(scope = "user"), item);
    let text = tokens.to_string();
    let block: ItemImpl = syn::parse2(quote!(impl Api { #tokens })).expect("items of an impl");
    let names = block.items.iter().map(|item| match item {
        ImplItem::Fn(function) => function.sig.ident.to_string(),
        other => panic!("not a function: {}", other.to_token_stream()),
    });
    assert_eq!(names.collect::<Vec<_>>(), ["__idempotent_pay", "r#pay"]);
    assert_has(
        &text,
        &quote! {
            #[doc(hidden)]
            #[cfg(unix)]
            #[allow(clippy::unused_async)]
            async fn __idempotent_pay<T>(a: T) -> Self { Self::new(a) }
        },
    );
    assert_has(&text, &quote!(Self::__idempotent_pay::<T>(__idempotent_0);));
}

#[test]
fn a_body_out_of_a_macro_is_unwrapped() {
    let body = proc_macro2::Group::new(proc_macro2::Delimiter::None, quote!({ pay() }));
    let (_, text) = function(quote!(scope = "user"), quote!(async fn pay() #body));
    assert_has(
        &text,
        &quote!(
            async fn pay() {
                pay()
            }
        ),
    );
}

#[test]
fn patterns_lose_mut_and_ref_wherever_they_stand() {
    let pattern = by_reference(quote!(A { mut a, b: [ref b, ref mut c @ ..] }));
    assert_eq!(
        pattern.to_string(),
        quote!(A { a, b: [b, c @ ..] }).to_string()
    );
}
