//! `RawArgs` × `Handler` → `model`: what is written must be a correct use, or every reason why it
//! is not one is reported.

mod function;
mod kind;
#[cfg(test)]
mod tests;
mod values;

use std::mem;

use proc_macro2::Span;
use syn::{Expr, Lit, LitStr, Path, parse_quote_spanned};

use crate::args::RawArgs;
use crate::errors::Errors;
use crate::handler::Handler;
use crate::model::{
    Fingerprint, Identity, Key, Lease, MaxResponse, OnLost, Policy, Scope, StoreDown, Ttl, Use,
};
use values::{choice, duration, literal, size, statuses, text, wrong};

pub(crate) fn check(mut args: RawArgs, handler: syn::Result<Handler>) -> syn::Result<Use> {
    let mut errors = mem::take(&mut args.unsorted);
    let found = find(&args, handler, &mut errors);
    errors.finish(found)
}

fn find(args: &RawArgs, handler: syn::Result<Handler>, errors: &mut Errors) -> Option<Use> {
    let crate_path = errors.read(args.crate_path.as_ref(), default_crate(), crate_path);
    let kind = kind::check(args, errors);
    let policy = policy(args, errors);
    let handler = errors.take(handler);
    let handler = handler.and_then(|handler| function::check(handler, args, errors));
    Some(Use {
        crate_path: crate_path?,
        kind: kind?,
        policy: policy?,
        handler: handler?,
    })
}

/// Looks at every argument before it answers, so that each mistake is noted.
fn policy(args: &RawArgs, errors: &mut Errors) -> Option<Policy> {
    let scope = scope(args, errors);
    let ttl = errors.read(args.ttl.as_ref(), Ttl::DEFAULT, |given| {
        duration("ttl", given, "`1s` to `366d`")
    });
    let identity = identity(args, errors);
    let wait = errors.read(args.wait.as_ref(), None, |given| {
        duration("wait", given, "`1ms` to `5m`, or no `wait` at all").map(Some)
    });
    let lease = errors.read(args.lease.as_ref(), Lease::DEFAULT, |given| {
        duration("lease", given, "`1s` to `1h`")
    });
    let on_lost = errors.read(args.on_lost.as_ref(), OnLost::Rerun, |given| {
        let words = [("rerun", OnLost::Rerun), ("refuse", OnLost::Refuse)];
        choice("on_lost", given, words, None)
    });
    let default = kind::release_on(args);
    let release_on = errors.read(args.release_on.as_ref(), default, |given| statuses(given));
    let store_down = errors.read(args.store_down.as_ref(), StoreDown::Refuse, |given| {
        let words = [("refuse", StoreDown::Refuse), ("run", StoreDown::Run)];
        choice("store_down", given, words, None)
    });
    let max_response = errors.read(args.max_response.as_ref(), MaxResponse::DEFAULT, size);
    let operation = errors.read(args.operation.as_ref(), None, |given| {
        operation(given).map(Some)
    });
    Some(Policy {
        scope: scope?,
        ttl: ttl?,
        identity: identity?,
        wait: wait?,
        lease: lease?,
        on_lost: on_lost?,
        release_on: release_on?,
        store_down: store_down?,
        max_response: max_response?,
        operation: operation?,
    })
}

fn scope(args: &RawArgs, errors: &mut Errors) -> Option<Scope> {
    if let Some(given) = &args.scope {
        let scope = given_scope(given).and_then(|scope| kind::scope(args, given, scope));
        return errors.take(scope);
    }
    // One that could not be read has had its error.
    if !args.names("scope") {
        let message = if args.names("runtime") {
            "`scope` is missing, and it decides whose key is whose; write `scope = \"global\"` \
             where keys are unique by themselves, or an expression over the function's arguments, \
             such as `scope = event.customer`"
        } else {
            "`scope` is missing, and it decides who may be shown a stored response; \
                       write `scope = \"global\"` for one namespace for all callers, \
                       `scope = \"user\"` for a resolver that the runtime has under this name, or \
                       an expression over the handler's arguments, such as `scope = user.id`"
        };
        errors.push(syn::Error::new(Span::call_site(), message));
    }
    None
}

fn given_scope(given: &Expr) -> syn::Result<Scope> {
    match literal(given) {
        None => Ok(Scope::Expression(given.clone())),
        Some(Lit::Str(name)) if name.value() == "global" => Ok(Scope::Global),
        Some(Lit::Str(name)) if is_identifier(&name.value()) => Ok(Scope::Named(name.clone())),
        Some(_) => {
            let mend = "write `\"global\"`, the name of a resolver, which is an identifier such \
                        as `\"user\"`, or an expression such as `user.id`";
            Err(wrong("scope", given, mend))
        }
    }
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name
            .chars()
            .all(|each| each.is_ascii_alphanumeric() || each == '_')
}

fn identity(args: &RawArgs, errors: &mut Errors) -> Option<Identity> {
    if args.names("runtime") {
        return kind::identity(args, errors);
    }
    let key = errors.read(args.key.as_ref(), Key::Required, key);
    let fingerprint = args.fingerprint.as_ref();
    let written = errors.read(fingerprint, Fingerprint::Request, self::fingerprint);
    let identity = Identity::new(key?, written?);
    if identity.is_none() {
        let message = "`fingerprint = \"none\"` leaves `key = \"derived\"` nothing to be derived \
                       from, so every request of a caller would be one operation; keep one of \
                       the two";
        errors.push(syn::Error::new_spanned(fingerprint, message));
    }
    identity
}

fn key(given: &Expr) -> syn::Result<Key> {
    let words = [
        ("required", Key::Required),
        ("optional", Key::Optional),
        ("derived", Key::Derived),
    ];
    match literal(given) {
        None => Ok(Key::Expression(given.clone())),
        Some(_) => choice(
            "key",
            given,
            words,
            Some("an expression such as `order.id`"),
        ),
    }
}

fn fingerprint(given: &Expr) -> syn::Result<Fingerprint> {
    let words = [
        ("request", Fingerprint::Request),
        ("none", Fingerprint::None),
    ];
    match literal(given) {
        None => Ok(Fingerprint::Expression(given.clone())),
        Some(_) => choice(
            "fingerprint",
            given,
            words,
            Some("an expression such as `order`"),
        ),
    }
}

fn operation(given: &Expr) -> syn::Result<LitStr> {
    match text(given) {
        Some(name) if !name.value().trim().is_empty() => Ok(name.clone()),
        _ => {
            let mend = "write a name for the operation, such as `\"create payment\"`";
            Err(wrong("operation", given, mend))
        }
    }
}

fn default_crate() -> Path {
    parse_quote_spanned!(Span::mixed_site()=> ::idempotent_runtime)
}

fn crate_path(given: &Expr) -> syn::Result<Path> {
    let path = match given {
        Expr::Path(given) if given.qself.is_none() => Some(given.path.clone()),
        _ => text(given).and_then(|path| path.parse_with(Path::parse_mod_style).ok()),
    };
    path.ok_or_else(|| {
        let mend = "write the path of the runtime's crate, such as `path::to::idempotent_runtime`";
        wrong("crate", given, mend)
    })
}
