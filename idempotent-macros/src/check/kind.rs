//! Whether the function is a handler, and what a function that is none can be told.

use proc_macro2::Span;
use syn::Expr;

use super::values::{choice, literal, text, wrong};
use crate::args::RawArgs;
use crate::errors::Errors;
use crate::model::{Fingerprint, FunctionErrors, Identity, Key, Kind, Scope, Statuses};

pub(super) fn check(args: &RawArgs, errors: &mut Errors) -> Option<Kind> {
    if !args.names("runtime") {
        let Some(place) = args.named_at("errors") else {
            return Some(Kind::Handler);
        };
        let message = "`errors` is about functions with a `runtime`; write `release_on(…)` for the \
                       responses of a handler that free its key";
        errors.push(syn::Error::new(place, message));
        return None;
    }
    if let Some(place) = args.named_at("release_on") {
        let message = "`release_on` is about responses, and a function with a `runtime` has none; \
                       write `errors = \"release\"` or `errors = \"record\"`";
        errors.push(syn::Error::new(place, message));
    }
    let function_errors = errors.read(args.errors.as_ref(), FunctionErrors::Release, |given| {
        let words = [
            ("release", FunctionErrors::Release),
            ("record", FunctionErrors::Record),
        ];
        choice("errors", given, words, None)
    });
    // One that could not be read has had its error.
    let runtime = errors.take(runtime(args.runtime.as_ref()?));
    Some(Kind::Function {
        runtime: runtime?,
        errors: function_errors?,
    })
}

fn runtime(given: &Expr) -> syn::Result<Expr> {
    let mend = "write an expression over the function's arguments that is an `Idempotency`, such \
                as `state.idempotency`";
    expression("runtime", given, mend)
}

/// What is written, if it is no literal.
fn expression(argument: &str, given: &Expr, mend: &str) -> syn::Result<Expr> {
    if literal(given).is_some() {
        return Err(wrong(argument, given, mend));
    }
    Ok(given.clone())
}

/// The scope, unless it asks for a request that is not there.
pub(super) fn scope(args: &RawArgs, given: &Expr, scope: Scope) -> syn::Result<Scope> {
    match scope {
        Scope::Named(_) if args.names("runtime") => {
            let mend = "a function with a `runtime` has no request to resolve a name from; write \
                        `\"global\"`, or an expression such as `event.customer`";
            Err(wrong("scope", given, mend))
        }
        scope => Ok(scope),
    }
}

/// Key and fingerprint of a function.
pub(super) fn identity(args: &RawArgs, errors: &mut Errors) -> Option<Identity> {
    // One that could not be read has had its error.
    if !args.names("key") {
        let message = "`key` is missing, and a function with a `runtime` has no header to read it \
                       from; write an expression over its arguments, such as `key = event.id`";
        errors.push(syn::Error::new(Span::call_site(), message));
    }
    let key = args.key.as_ref().and_then(|given| errors.take(key(given)));
    let fingerprint = args.fingerprint.as_ref();
    let fingerprint = errors.read(fingerprint, Fingerprint::None, self::fingerprint);
    let identity = Identity::new(key?, fingerprint?);
    Some(identity.expect("only a derived key may have nothing to be derived from"))
}

fn key(given: &Expr) -> syn::Result<Key> {
    let mend = "a function with a `runtime` has no header to read it from; write an expression \
                over its arguments, such as `event.id`";
    expression("key", given, mend).map(Key::Expression)
}

fn fingerprint(given: &Expr) -> syn::Result<Fingerprint> {
    if text(given).is_some_and(|word| word.value() == "none") {
        return Ok(Fingerprint::None);
    }
    let mend = "a function with a `runtime` has no request; write `\"none\"`, or an expression \
                such as `event`";
    expression("fingerprint", given, mend).map(Fingerprint::Expression)
}

/// What frees a key unless it is said: some responses of a handler, and none of a function, which
/// has no status.
pub(super) fn release_on(args: &RawArgs) -> Vec<Statuses> {
    if args.names("runtime") {
        Vec::new()
    } else {
        Statuses::DEFAULT.to_vec()
    }
}
