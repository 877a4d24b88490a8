//! `model` → tokens. Nothing here can fail, and no other file knows the runtime's `__private`.
//!
//! A thin function takes the place of a handler, or of a function that is none. It hands the one
//! that was written, as a future that has not been started, to the runtime. Generated tokens have
//! the hygiene of `mixed_site`, so that no expression of the user's can name a generated variable;
//! they name nothing that a user's module could shadow.

use proc_macro2::{Delimiter, Group, Ident, Literal, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Expr, GenericParam, ReturnType};

use crate::model::{AsyncFn, Fingerprint, Key, Kind, Place, Policy, Scope, Use};

/// `quote!` with the hygiene that generated tokens have here.
macro_rules! generated {
    ($($tokens:tt)*) => {
        quote::quote_spanned!(proc_macro2::Span::mixed_site()=> $($tokens)*)
    };
}

mod function;
mod policy;
#[cfg(test)]
mod tests;

#[cfg(feature = "openapi")]
pub(crate) use policy::constant as policy_constant;

pub(crate) fn expand(checked: &Use) -> TokenStream {
    let Use {
        crate_path,
        policy,
        handler,
        kind,
    } = checked;
    let rt = generated!(#crate_path::__private);
    let (beside, within, path) = place(handler);
    let constant = policy::constant(&rt, policy);
    let (signature, body) = match kind {
        Kind::Handler => {
            let take_apart = take_apart(handler);
            let expressions = expressions(policy, handler);
            let run = run(&rt, handler, &path);
            let body = generated!(#take_apart #expressions #run);
            (signature(&rt, policy, handler), body)
        }
        Kind::Function { runtime, errors } => {
            let call = function::call(&rt, policy, handler, runtime);
            let run = function::run(handler, *errors, &path);
            (function::signature(handler), generated!(#call #run))
        }
    };
    generated! {
        #beside
        #signature {
            #within
            #constant
            #body
        }
    }
}

/// The handler itself, beside the function that takes its place or within it; and its path.
fn place(handler: &AsyncFn) -> (TokenStream, TokenStream, TokenStream) {
    let name = &handler.name;
    match handler.place {
        Place::Nested => (
            TokenStream::new(),
            original(handler, name),
            name.to_token_stream(),
        ),
        Place::Sibling => {
            let hidden = format_ident!("__idempotent_{}", name);
            let original = original(handler, &hidden);
            let sibling = generated!(#[doc(hidden)] #original);
            let path = generated!(Self::#hidden);
            (sibling, TokenStream::new(), path)
        }
    }
}

/// The handler as it was written. It is async because the attribute asks for it, be there anything
/// to await or not.
fn original(handler: &AsyncFn, name: &Ident) -> TokenStream {
    let AsyncFn {
        inner_attrs,
        async_token,
        fn_token,
        generics,
        output,
        body,
        ..
    } = handler;
    let params = handler.params.iter();
    let where_clause = &generics.where_clause;
    generated! {
        #(#inner_attrs)*
        #[allow(clippy::unused_async)]
        #async_token #fn_token #name #generics (#(#params),*) #output #where_clause #body
    }
}

/// The head of the function that takes the handler's place.
fn signature(rt: &TokenStream, policy: &Policy, handler: &AsyncFn) -> TokenStream {
    let AsyncFn {
        outer_attrs,
        vis,
        name,
        generics,
        ..
    } = handler;
    let where_clause = &generics.where_clause;
    let types = handler.params.iter().map(|param| &param.ty);
    let needs_no_header = policy.identity.needs_no_header();
    let scope = scope_id(rt, &policy.scope);
    generated! {
        #(#outer_attrs)*
        #vis async fn #name #generics (
            __idempotent_call: #rt::Call<(#(#types,)*), #scope, #needs_no_header>,
        ) -> #rt::Reply
        #where_clause
    }
}

/// The id of the scope's resolver, 0 for none. Where the compiler prints the type that it is part
/// of, it prints the block as what stands at the block's place: the name.
fn scope_id(rt: &TokenStream, scope: &Scope) -> TokenTree {
    match scope {
        Scope::Named(name) => {
            let id = generated!(#rt::scope_id(#name));
            let mut block = Group::new(Delimiter::Brace, id);
            block.set_span(located_at(name.span()));
            block.into()
        }
        Scope::Global | Scope::Expression(_) => Literal::u64_unsuffixed(0).into(),
    }
}

/// The extracted arguments, one variable each.
fn take_apart(handler: &AsyncFn) -> TokenStream {
    let arguments = arguments(handler);
    generated! {
        let (__idempotent_call, (#(#arguments,)*)) = __idempotent_call.into_parts();
    }
}

/// What the arguments of the attribute that are expressions come to.
///
/// They see the handler's parameters by its own patterns, but only by reference.
fn expressions(policy: &Policy, handler: &AsyncFn) -> TokenStream {
    let [scope, key, fingerprint] = passed(policy);
    if scope.is_none() && key.is_none() && fingerprint.is_none() {
        return TokenStream::new();
    }
    let arguments = arguments(handler);
    let patterns = handler
        .params
        .iter()
        .map(|param| by_reference(param.pat.to_token_stream()));
    generated! {
        let __idempotent_call = {
            #[allow(unused_variables)]
            let (#(#patterns,)*) = (#(&#arguments,)*);
            __idempotent_call #scope #key #fingerprint
        };
    }
}

/// The method calls that pass on what the expressions come to.
fn passed(policy: &Policy) -> [Option<TokenStream>; 3] {
    let scope = match &policy.scope {
        Scope::Expression(scope) => Some(pass("scope", scope)),
        Scope::Global | Scope::Named(_) => None,
    };
    let key = match policy.identity.key() {
        Key::Expression(key) => Some(pass("key", key)),
        Key::Required | Key::Optional | Key::Derived => None,
    };
    let fingerprint = match policy.identity.fingerprint() {
        Fingerprint::Expression(fingerprint) => Some(pass("fingerprint", fingerprint)),
        Fingerprint::Request | Fingerprint::None => None,
    };
    [scope, key, fingerprint]
}

/// Calls the handler, which starts nothing yet, and hands it to the framework that it belongs to.
///
/// What the compiler has to say about the handler's result it says where the result's type stands.
fn run(rt: &TokenStream, handler: &AsyncFn, path: &TokenStream) -> TokenStream {
    let arguments = arguments(handler);
    let generics = turbofish(handler);
    let output = located_at(match &handler.output {
        ReturnType::Default => handler.name.span(),
        ReturnType::Type(_, output) => output.span(),
    });
    let run = generated! {
        let __idempotent_run = #path #generics (#(#arguments),*);
    };
    // The probe is gone before the handler is awaited: it borrows the handler's future, which need
    // not be `Sync`.
    let drive = quote_spanned! {output=>
        {
            #[allow(unused_imports)]
            use #rt::{
                Actix as _, Axum as _, AxumNotSend as _, AxumOrActix as _, Neither as _,
            };
            let __idempotent_framework =
                (&&&&&#rt::Probe(&__idempotent_run)).__idempotent_framework();
            __idempotent_framework
                .drive(__idempotent_call, &__IDEMPOTENT_POLICY, __idempotent_run)
                .await
        }
    };
    generated!(#run #drive)
}

fn arguments(handler: &AsyncFn) -> Vec<Ident> {
    let indices = 0..handler.params.iter().len();
    indices
        .map(|index| format_ident!("__idempotent_{index}", span = Span::mixed_site()))
        .collect()
}

/// The handler's own generics, but for lifetimes, which cannot always be named in a call.
fn turbofish(handler: &AsyncFn) -> Option<TokenStream> {
    let names = handler
        .generics
        .params
        .iter()
        .filter_map(|param| match param {
            GenericParam::Lifetime(_) => None,
            GenericParam::Type(param) => Some(&param.ident),
            GenericParam::Const(param) => Some(&param.ident),
        });
    let names: Vec<&Ident> = names.collect();
    (!names.is_empty()).then(|| generated!(::<#(#names),*>))
}

/// A method call with the expression, borrowed; the call stands where the expression does.
fn pass(method: &str, expression: &Expr) -> TokenStream {
    let (first, value) = borrowed(expression);
    let method = Ident::new(method, first);
    quote_spanned!(first=> .#method(#value))
}

/// Where the expression begins, and a reference to it that stands where it does.
fn borrowed(expression: &Expr) -> (Span, TokenStream) {
    let tokens: Vec<TokenTree> = expression.to_token_stream().into_iter().collect();
    let first = tokens
        .first()
        .map_or_else(Span::mixed_site, |token| located_at(token.span()));
    let last = tokens
        .last()
        .map_or_else(Span::mixed_site, |token| located_at(token.span()));
    let mut value = Group::new(Delimiter::Parenthesis, tokens.into_iter().collect());
    value.set_span(last);
    (first, quote_spanned!(first=> & #value))
}

/// The pattern without `mut` and `ref`, so that matching a reference binds references.
fn by_reference(pattern: TokenStream) -> TokenStream {
    pattern
        .into_iter()
        .filter_map(|token| match token {
            TokenTree::Ident(word) if word == "mut" || word == "ref" => None,
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), by_reference(group.stream()));
                inner.set_span(group.span());
                Some(TokenTree::Group(inner))
            }
            token => Some(token),
        })
        .collect()
}

/// Generated, but shown where the user wrote something.
fn located_at(place: Span) -> Span {
    Span::mixed_site().located_at(place)
}
