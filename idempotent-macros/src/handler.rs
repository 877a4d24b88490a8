//! The function below the attribute: its signature parsed, its body carried along as tokens.
//!
//! The body is never parsed, so that an editor can complete inside one that is half typed.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use syn::parse::{Parse, ParseStream, Parser as _};
use syn::{Abi, Attribute, Signature, Token, Visibility};

/// A function item, of whatever kind.
pub(crate) struct Handler {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) signature: Signature,
    pub(crate) body: Group,
}

pub(crate) fn parse(item: TokenStream) -> syn::Result<Handler> {
    syn::parse2(item)
}

impl Parse for Handler {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        if !is_fn(input)? {
            return Err(
                input.error("`#[idempotent]` belongs on a handler; move it to an `async fn`")
            );
        }
        let signature: Signature = input.parse()?;
        if input.peek(Token![;]) {
            let name = &signature.ident;
            let rule = "move the attribute to where the handler is written";
            return Err(input.error(format!("`{name}` has no body to run; {rule}")));
        }
        let body = body(input)?;
        Ok(Self {
            attrs,
            vis,
            signature,
            body,
        })
    }
}

/// Whether a function follows, be it one that a handler cannot be.
fn is_fn(input: ParseStream) -> syn::Result<bool> {
    let ahead = input.fork();
    ahead.parse::<Option<Token![const]>>()?;
    ahead.parse::<Option<Token![async]>>()?;
    ahead.parse::<Option<Token![unsafe]>>()?;
    if ahead.peek(Token![extern]) {
        ahead.parse::<Abi>()?;
    }
    Ok(ahead.peek(Token![fn]))
}

fn body(input: ParseStream) -> syn::Result<Group> {
    match input.parse()? {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Ok(group),
        // What a `macro_rules!` got as `$body:block` comes in an invisible group.
        TokenTree::Group(group) if group.delimiter() == Delimiter::None => {
            body.parse2(group.stream())
        }
        other => Err(syn::Error::new(
            other.span(),
            format!("`{other}` is not the body of a handler"),
        )),
    }
}
