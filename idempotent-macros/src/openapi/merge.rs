//! What utoipa is told: the user's arguments, and ours beside them.
//!
//! utoipa builds an operation in one expression that nothing can be added to afterwards. So the
//! responses and the description that the user wrote are given to it twice: once for a hidden type,
//! whose operation the runtime reads and completes, and once as they are, for the schemas that they
//! name. What the runtime completed comes last and has the last word.

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use quote::{ToTokens as _, format_ident};
use syn::{Attribute, FnArg, Type};

use super::{PathAttribute, generated};
use crate::expand;
use crate::handler::Handler;
use crate::model::Use;

/// The hidden type, and the arguments of `utoipa::path`.
pub(super) fn merge(
    attribute: &PathAttribute,
    handler: &Handler,
    checked: &Use,
) -> (TokenStream, TokenStream) {
    let crate_path = &checked.crate_path;
    let openapi = generated!(#crate_path::__private::openapi);
    let name = format_ident!("__idempotent_operation_{}", handler.signature.ident);
    let written = Written::read(&attribute.arguments);
    let arguments = merged(&written, &openapi, &name);
    let description = hidden(attribute, handler, checked, &written, &name);
    (description, arguments)
}

/// The arguments that were written, those that have to do with ours by themselves.
#[derive(Default)]
struct Written {
    responses: Option<Group>,
    params: Option<Group>,
    description: Option<TokenStream>,
    has_request_body: bool,
    others: Vec<TokenStream>,
}

impl Written {
    fn read(arguments: &TokenStream) -> Self {
        let mut written = Self::default();
        for argument in split(arguments) {
            match &argument[..] {
                [TokenTree::Ident(name), TokenTree::Group(list)] if name == "responses" => {
                    written.responses = Some(list.clone());
                }
                [TokenTree::Ident(name), TokenTree::Group(list)] if name == "params" => {
                    written.params = Some(list.clone());
                }
                [TokenTree::Ident(name), ..] if name == "description" => {
                    written.description = Some(argument.into_iter().collect());
                }
                [first, ..] => {
                    written.has_request_body |= first.to_string() == "request_body";
                    written.others.push(argument.into_iter().collect());
                }
                [] => {}
            }
        }
        written
    }
}

fn merged(written: &Written, openapi: &TokenStream, name: &Ident) -> TokenStream {
    let others = &written.others;
    let params = with(written.params.as_ref(), &generated!(#openapi::Key<#name>));
    // A type that answers by itself brings no schema along, so one answer is written out for it.
    let ours = generated!(
        (status = 409, body = #openapi::IdempotencyProblem),
        #openapi::Answers<#name>
    );
    let responses = with(written.responses.as_ref(), &ours);
    generated! {
        #(#others,)*
        params #params,
        responses #responses,
        description = #openapi::description::<#name>()
    }
}

/// The type that has the policy, and whose operation is what the user wrote.
fn hidden(
    attribute: &PathAttribute,
    handler: &Handler,
    checked: &Use,
    written: &Written,
    name: &Ident,
) -> TokenStream {
    let crate_path = &checked.crate_path;
    let rt = generated!(#crate_path::__private);
    let constant = expand::policy_constant(&rt, &checked.policy);
    let path = &attribute.path;
    let responses = written
        .responses
        .as_ref()
        .map(|list| generated!(responses #list,));
    let description = &written.description;
    let docs = handler.attrs.iter().filter(|attr| is_doc(attr));
    let has_body = written.has_request_body || handler.signature.inputs.iter().any(takes_body);
    let condition = attribute.condition.iter().chain(conditions(&handler.attrs));
    let condition: Vec<_> = condition.collect();
    generated! {
        #(#[cfg(#condition)])*
        #[doc(hidden)]
        #[allow(non_camel_case_types, dead_code)]
        struct #name;

        #(#[cfg(#condition)])*
        const _: () = {
            #[#path(get, path = "", impl_for = #name, #responses #description)]
            #(#docs)*
            #[allow(dead_code)]
            fn __idempotent_documented() {}

            #constant

            impl #rt::openapi::Documented for #name {
                const POLICY: #rt::Policy = __IDEMPOTENT_POLICY;
                const HAS_BODY: bool = #has_body;
            }
        };
    }
}

/// Whether a parameter is one of those that utoipa takes for the body.
fn takes_body(input: &FnArg) -> bool {
    let FnArg::Typed(param) = input else {
        return false;
    };
    let Type::Path(ty) = &*param.ty else {
        return false;
    };
    let last = ty.path.segments.last();
    last.is_some_and(|last| {
        ["Json", "Form", "Bytes"]
            .iter()
            .any(|name| last.ident == name)
    })
}

fn is_doc(attr: &Attribute) -> bool {
    attr.path().is_ident("doc")
}

/// Under which conditions the handler is there at all.
fn conditions(attrs: &[Attribute]) -> impl Iterator<Item = &TokenStream> {
    attrs
        .iter()
        .filter(|attr| attr.path().is_ident("cfg"))
        .filter_map(|attr| Some(&attr.meta.require_list().ok()?.tokens))
}

/// The list with ours at its end.
fn with(list: Option<&Group>, ours: &TokenStream) -> Group {
    let items = split(&list.map(Group::stream).unwrap_or_default());
    let items = items
        .into_iter()
        .map(|item| item.into_iter().collect::<TokenStream>());
    let mut merged = Group::new(Delimiter::Parenthesis, generated!(#(#items,)* #ours));
    if let Some(list) = list {
        merged.set_span(list.span());
    }
    merged
}

/// What stands between the commas that are in no group, and in no angle brackets.
fn split(tokens: &TokenStream) -> Vec<Vec<TokenTree>> {
    let mut parts = vec![Vec::new()];
    let mut depth = 0_usize;
    for token in tokens.to_token_stream() {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == ',' && depth == 0 => {
                parts.push(Vec::new());
                continue;
            }
            TokenTree::Punct(punct) if punct.as_char() == '<' => depth += 1,
            TokenTree::Punct(punct) if punct.as_char() == '>' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(token);
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}
