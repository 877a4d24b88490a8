//! What stands in the place of a function that is no handler.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens as _, format_ident, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Expr, Pat, PatType, ReturnType, Type};

use super::{borrowed, by_reference, located_at, passed, turbofish};
use crate::model::{AsyncFn, FunctionErrors, Policy};

/// The head of the function: as it was written, but for a handle on the run, which the caller
/// cannot have.
pub(super) fn signature(function: &AsyncFn) -> TokenStream {
    let AsyncFn {
        outer_attrs,
        vis,
        async_token,
        fn_token,
        name,
        generics,
        output,
        ..
    } = function;
    let where_clause = &generics.where_clause;
    let params = passed_in(function).map(|(name, param)| {
        let ty = &param.ty;
        generated!(#name: #ty)
    });
    generated! {
        #(#outer_attrs)*
        #vis #async_token #fn_token #name #generics (#(#params),*) #output
        #where_clause
    }
}

/// The call: its runtime, scope, key and fingerprint, which see the parameters by reference.
pub(super) fn call(
    rt: &TokenStream,
    policy: &Policy,
    function: &AsyncFn,
    runtime: &Expr,
) -> TokenStream {
    let bindings = passed_in(function).map(|(name, param)| {
        let pattern = by_reference(param.pat.to_token_stream());
        generated! {
            #[allow(unused_variables)]
            let #pattern = &#name;
        }
    });
    let path = || {
        let name = function.name.to_string();
        generated!(::core::concat!(::core::module_path!(), "::", #name))
    };
    let operation = policy.operation.as_ref();
    let operation = operation.map_or_else(path, quote::ToTokens::to_token_stream);
    let (place, runtime) = borrowed(runtime);
    let new = quote_spanned!(place=> #rt::FunctionCall::new);
    let [scope, key, fingerprint] = passed(policy);
    generated! {
        let __idempotent_call = {
            #(#bindings)*
            #new(#runtime, #operation, &__IDEMPOTENT_POLICY) #scope #key #fingerprint
        };
    }
}

/// Runs the function under the call.
///
/// What the compiler has to say about the function's result it says where the result's type stands.
pub(super) fn run(function: &AsyncFn, errors: FunctionErrors, path: &TokenStream) -> TokenStream {
    let generics = turbofish(function);
    let arguments = function.params.iter().enumerate().map(|(index, param)| {
        if is_execution(param) {
            generated!(__idempotent_execution.clone())
        } else {
            argument(index, param).to_token_stream()
        }
    });
    let has_execution = function.params.iter().any(is_execution);
    let execution = if has_execution {
        generated!(__idempotent_execution)
    } else {
        generated!(_)
    };
    let call = generated!(move |#execution| #path #generics (#(#arguments),*));
    let output = located_at(match &function.output {
        ReturnType::Default => function.name.span(),
        ReturnType::Type(_, output) => output.span(),
    });
    match errors {
        FunctionErrors::Release => {
            quote_spanned!(output=> __idempotent_call.release_errors(#call).await)
        }
        FunctionErrors::Record => {
            quote_spanned!(output=> __idempotent_call.record_errors(#call).await)
        }
    }
}

/// The parameters that the caller passes in, and the names of their arguments.
fn passed_in(function: &AsyncFn) -> impl Iterator<Item = (Ident, &PatType)> {
    let params = function.params.iter().enumerate();
    params
        .filter(|(_, param)| !is_execution(param))
        .map(|(index, param)| (argument(index, param), param))
}

/// The name that was given to the parameter, for the documentation to show it; where it is taken
/// apart by a pattern, one of ours.
fn argument(index: usize, param: &PatType) -> Ident {
    match &*param.pat {
        Pat::Ident(pattern) => pattern.ident.clone(),
        _ => format_ident!(
            "__idempotent_{index}",
            span = proc_macro2::Span::mixed_site()
        ),
    }
}

/// Whether the parameter is the handle on the run, which is found by its type's name.
fn is_execution(param: &PatType) -> bool {
    match &*param.ty {
        Type::Path(path) => {
            let last = path.path.segments.last();
            last.is_some_and(|last| last.ident == "OnceExecution")
        }
        _ => false,
    }
}
