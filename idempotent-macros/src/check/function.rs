//! Whether a function can be a handler, and where its parts go.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    Attribute, Expr, FnArg, Ident, PatType, Safety, Signature, Token, Type, parse_quote_spanned,
};

use super::values::wrong;
use crate::args::RawArgs;
use crate::errors::Errors;
use crate::handler::Handler;
use crate::model::{AsyncFn, Params, Place};

pub(super) fn check(handler: Handler, args: &RawArgs, errors: &mut Errors) -> Option<AsyncFn> {
    let is_function = args.names("runtime");
    let place = place(&handler, args);
    if is_function && place == Place::Sibling && !args.names("operation") {
        let name = &handler.signature.ident;
        let rule = "its path does not say of which type it is, so that another type's function \
                    could share its keys; write `operation = \"…\"`";
        let message = format!("`{name}` names `Self` and has no operation: {rule}");
        errors.push(syn::Error::new(name.span(), message));
    }
    let (outer_attrs, inner_attrs) = attributes(handler.attrs, place, errors);
    qualifiers(&handler.signature, is_function, errors);
    unquoted(&handler.signature, args, errors);
    let params = params(&handler.signature, args, errors);
    Some(AsyncFn {
        outer_attrs,
        inner_attrs,
        vis: handler.vis,
        async_token: handler.signature.asyncness?,
        fn_token: handler.signature.fn_token,
        name: handler.signature.ident,
        generics: handler.signature.generics,
        params: params?,
        output: handler.signature.output,
        body: handler.body,
        place,
    })
}

fn qualifiers(signature: &Signature, is_function: bool, errors: &mut Errors) {
    let name = &signature.ident;
    let caller = if is_function {
        "what stands in its place"
    } else {
        "the framework"
    };
    // No function can be both.
    if let Some(token) = &signature.constness {
        let message = format!("`{name}` must not be `const`; write `async fn {name}`");
        errors.push(syn::Error::new(token.span, message));
    } else if signature.asyncness.is_none() {
        let message = format!("`{name}` must be async; write `async fn {name}`");
        errors.push(syn::Error::new(signature.fn_token.span, message));
    }
    if let Safety::Unsafe(token) = &signature.safety {
        let rule = "calls it from safe code; move `unsafe` into its body";
        let message = format!("`{name}` must not be `unsafe`: {caller} {rule}");
        errors.push(syn::Error::new(token.span, message));
    }
    if let Some(abi) = &signature.abi {
        let rule = "calls it as a Rust function; remove the word";
        let message = format!("`{name}` must not be `extern`: {caller} {rule}");
        errors.push(syn::Error::new(abi.extern_token.span, message));
    }
    if let Some(variadic) = &signature.variadic {
        let rule = "each of its parameters is an extractor; write them one by one";
        let message = format!("`{name}` must not be variadic: {rule}");
        errors.push(syn::Error::new_spanned(variadic.dots, message));
    }
}

/// Words without their quotes, which would be variables that nobody has.
fn unquoted(signature: &Signature, args: &RawArgs, errors: &mut Errors) {
    let arguments: [(&str, _, &[&str]); 3] = [
        ("scope", &args.scope, &["global"]),
        ("key", &args.key, &["required", "optional", "derived"]),
        ("fingerprint", &args.fingerprint, &["request", "none"]),
    ];
    for (argument, given, words) in arguments {
        let Some(Expr::Path(given)) = given else {
            continue;
        };
        if let Some(word) = given.path.get_ident()
            && words.iter().any(|each| word == each)
            && !mentions(signature.inputs.to_token_stream(), word)
        {
            errors.push(wrong(argument, given, &format!("write `\"{word}\"`")));
        }
    }
}

fn params(signature: &Signature, args: &RawArgs, errors: &mut Errors) -> Option<Params> {
    let is_function = args.names("runtime");
    let name = &signature.ident;
    let (no_self, no_borrow) = if is_function {
        (
            "its body is moved into a function within; take what it needs as a parameter",
            "it runs to its end even if nobody waits for it any more, and owns what it uses; take \
             a value, such as `String` for `&str`, or an `Arc`",
        )
    } else {
        (
            "the framework has no value to call it on; extract what it needs",
            "the framework hands them over; take a value, such as `String` for `&str`",
        )
    };
    let mut typed: Vec<PatType> = Vec::new();
    for input in signature.inputs.clone() {
        match input {
            FnArg::Receiver(receiver) => {
                let message = format!("`{name}` must not take `self`: {no_self}");
                errors.push(syn::Error::new(receiver.self_token.span, message));
            }
            FnArg::Typed(param) => {
                if let Some(cfg) = param.attrs.iter().find(|attr| attr.path().is_ident("cfg")) {
                    let message = "`cfg` must not stand on a parameter here; put it on the \
                                   function, and write one function for each case";
                    errors.push(syn::Error::new_spanned(cfg, message));
                }
                let borrow = borrows(&param.ty).map(|and| and.span);
                let borrow = borrow.or_else(|| lifetime(&param.ty).filter(|_| is_function));
                if let Some(place) = borrow {
                    let message = format!("`{name}` must not borrow its parameters: {no_borrow}");
                    errors.push(syn::Error::new(place, message));
                }
                typed.push(param);
            }
        }
    }
    allow_unused(&mut typed, args);
    if is_function {
        return Some(Params::of_function(typed));
    }
    if let Some(first) = typed.get(Params::MAX) {
        let (count, max) = (typed.len(), Params::MAX);
        let rule = format!("the frameworks call it with up to {max}; join some in a tuple");
        let message = format!("`{name}` has {count} parameters: {rule}");
        errors.push(syn::Error::new_spanned(&first.pat, message));
    }
    Params::new(typed)
}

/// The `&` of a reference that is not `'static`.
fn borrows(ty: &Type) -> Option<Token![&]> {
    match ty {
        Type::Reference(reference) => match &reference.lifetime {
            Some(lifetime) if lifetime.ident == "static" => None,
            _ => Some(reference.and_token),
        },
        _ => None,
    }
}

/// A lifetime within a type that is not `'static`, nor one of a `for<'a>`.
fn lifetime(ty: &Type) -> Option<Span> {
    let mut tokens = ty.to_token_stream().into_iter().peekable();
    let mut found = None;
    while let Some(token) = tokens.next() {
        match (token, tokens.peek()) {
            (TokenTree::Ident(word), _) if word == "for" => return None,
            (TokenTree::Punct(quote), Some(TokenTree::Ident(name)))
                if quote.as_char() == '\'' && name != "static" =>
            {
                found = found.or(Some(name.span()));
            }
            _ => {}
        }
    }
    found
}

/// Marks the parameters that the attribute's expressions name, because they need no other use.
///
/// Of one that is taken apart no part can be marked by itself, and a text that is formatted is not
/// taken apart here: rather too few are called unused than one too many.
fn allow_unused(params: &mut [PatType], args: &RawArgs) {
    let expressions = [&args.scope, &args.key, &args.fingerprint, &args.runtime];
    let expressions: TokenStream = expressions
        .into_iter()
        .map(ToTokens::to_token_stream)
        .collect();
    let text = expressions.to_string();
    let is_used =
        |word: &Ident| mentions(expressions.clone(), word) || text.contains(&format!("{{{word}"));
    for param in params {
        if any_word(param.pat.to_token_stream(), &is_used) {
            let allow = parse_quote_spanned!(Span::mixed_site()=> #[allow(unused_variables)]);
            param.attrs.push(allow);
        }
    }
}

fn any_word(tokens: TokenStream, is: &impl Fn(&Ident) -> bool) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(word) => is(&word),
        TokenTree::Group(group) => any_word(group.stream(), is),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

/// Which attributes stay with the function that takes the handler's place, and which go along with
/// the handler.
fn attributes(
    attrs: Vec<Attribute>,
    place: Place,
    errors: &mut Errors,
) -> (Vec<Attribute>, Vec<Attribute>) {
    let (mut outer, mut inner) = (Vec::new(), Vec::new());
    for attr in attrs {
        let name = attr.path().segments.last();
        match name.map(|name| name.ident.to_string()).as_deref() {
            // They are about the handler's own parameters, result or body.
            Some("debug_handler" | "instrument" | "expect") => inner.push(attr),
            Some("allow" | "warn" | "deny" | "forbid") => {
                inner.push(attr.clone());
                outer.push(attr);
            }
            Some("cfg") if place == Place::Sibling => {
                inner.push(attr.clone());
                outer.push(attr);
            }
            Some("idempotent") => {
                let message = "`idempotent` is given twice; keep one of the two";
                errors.push(syn::Error::new_spanned(attr.path(), message));
            }
            _ => outer.push(attr),
        }
    }
    (outer, inner)
}

/// A nested function cannot see the `Self` of the `impl` block around it.
fn place(handler: &Handler, args: &RawArgs) -> Place {
    let expressions = [&args.scope, &args.key, &args.fingerprint, &args.runtime];
    let uses_self = mentions_self(handler.signature.to_token_stream())
        || body_mentions_self(handler.body.stream())
        || expressions
            .into_iter()
            .any(|expression| mentions_self(expression.to_token_stream()));
    if uses_self {
        Place::Sibling
    } else {
        Place::Nested
    }
}

fn mentions_self(tokens: TokenStream) -> bool {
    mentions(tokens, "Self")
}

fn mentions<T: ?Sized>(tokens: TokenStream, word: &T) -> bool
where
    Ident: PartialEq<T>,
{
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == *word,
        TokenTree::Group(group) => mentions(group.stream(), word),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

/// The same for a body, where types and `impl` blocks have a `Self` of their own.
fn body_mentions_self(body: TokenStream) -> bool {
    let mut in_item = false;
    body.into_iter().any(|token| match token {
        TokenTree::Ident(word) if starts_item(&word) => {
            in_item = true;
            false
        }
        TokenTree::Ident(word) => !in_item && word == "Self",
        TokenTree::Punct(punct) => {
            in_item &= punct.as_char() != ';';
            false
        }
        TokenTree::Group(group) if in_item => {
            in_item = group.delimiter() != Delimiter::Brace;
            false
        }
        TokenTree::Group(group) => body_mentions_self(group.stream()),
        TokenTree::Literal(_) => false,
    })
}

fn starts_item(word: &Ident) -> bool {
    ["impl", "trait", "struct", "enum"]
        .iter()
        .any(|item| word == item)
}
