//! `#[utoipa::path(…)]` below the attribute.
//!
//! utoipa reads a request body and parameters from the handler's own signature, so it must stand
//! above, where it sees the handler as it was written. It is moved there, and with the feature
//! `openapi` it is told what the attribute has to say.

#[cfg(feature = "openapi")]
mod merge;

use proc_macro2::TokenStream;
use quote::ToTokens as _;
use syn::parse::Parser as _;
use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Path, Token};

use crate::handler::{self, Handler};
use crate::model::{Kind, Use};

/// `quote!` with the hygiene that generated tokens have here.
macro_rules! generated {
    ($($tokens:tt)*) => {
        quote::quote_spanned!(proc_macro2::Span::mixed_site()=> $($tokens)*)
    };
}
#[cfg(feature = "openapi")]
use generated;

/// A handler and its `utoipa::path`.
pub(crate) struct Documented {
    attribute: PathAttribute,
    /// The handler without it.
    handler: Handler,
}

/// `#[utoipa::path(…)]`.
struct PathAttribute {
    path: Path,
    arguments: TokenStream,
    /// The condition, where it stands in a `cfg_attr`.
    condition: Option<TokenStream>,
}

/// The handler, if a `utoipa::path` stands on it.
pub(crate) fn find(checked: &Use, item: TokenStream) -> Option<Documented> {
    let Kind::Handler = checked.kind else {
        return None;
    };
    let mut handler = handler::parse(item).ok()?;
    let mut found = None;
    let mut others = Vec::new();
    for attr in std::mem::take(&mut handler.attrs) {
        if found.is_none()
            && let Some((attribute, rest)) = path_attribute(&attr)
        {
            found = Some(attribute);
            others.extend(rest);
        } else {
            others.push(attr);
        }
    }
    handler.attrs = others;
    let attribute = found?;
    Some(Documented { attribute, handler })
}

/// The handler with utoipa's attribute above ours, which is applied to it once more.
pub(crate) fn above(documented: &Documented, args: &TokenStream, checked: &Use) -> TokenStream {
    let Documented { attribute, handler } = documented;
    #[cfg(feature = "openapi")]
    let (description, arguments) = merge::merge(attribute, handler, checked);
    #[cfg(not(feature = "openapi"))]
    let (description, arguments) = (TokenStream::new(), &attribute.arguments);
    let PathAttribute {
        path, condition, ..
    } = attribute;
    let meta = generated!(#path(#arguments));
    let attribute = condition.as_ref().map_or_else(
        || generated!(#[#meta]),
        |condition| generated!(#[cfg_attr(#condition, #meta)]),
    );
    let crate_path = &checked.crate_path;
    let Handler {
        attrs,
        vis,
        signature,
        body,
    } = handler;
    generated! {
        #description
        #attribute
        #[#crate_path::__private::idempotent(#args)]
        #(#attrs)*
        #vis #signature #body
    }
}

/// utoipa's attribute, and what else stands in the `cfg_attr` that it was found in.
fn path_attribute(attr: &Attribute) -> Option<(PathAttribute, Option<Attribute>)> {
    if !attr.path().is_ident("cfg_attr") {
        return Some((from_meta(&attr.meta, None)?, None));
    }
    let list = attr.meta.require_list().ok()?;
    let metas = Punctuated::<Meta, Token![,]>::parse_terminated;
    let mut metas = metas.parse2(list.tokens.clone()).ok()?.into_iter();
    let condition = metas.next()?;
    let mut found = None;
    let mut rest = Vec::new();
    for meta in metas {
        let attribute = from_meta(&meta, Some(condition.to_token_stream()));
        if attribute.is_some() {
            found = attribute;
        } else {
            rest.push(meta);
        }
    }
    let rest = (!rest.is_empty()).then(|| syn::parse_quote!(#[cfg_attr(#condition, #(#rest),*)]));
    Some((found?, rest))
}

/// A `path` alone is the compiler's own, which no import can replace.
fn from_meta(meta: &Meta, condition: Option<TokenStream>) -> Option<PathAttribute> {
    let Meta::List(list) = meta else {
        return None;
    };
    let mut names = list
        .path
        .segments
        .iter()
        .rev()
        .map(|segment| &segment.ident);
    let is_utoipa = names.next()? == "path" && names.next()? == "utoipa";
    is_utoipa.then(|| PathAttribute {
        path: list.path.clone(),
        arguments: list.tokens.clone(),
        condition,
    })
}
