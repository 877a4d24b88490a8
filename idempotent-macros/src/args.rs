//! The tokens of `#[idempotent(…)]`, sorted by argument; what the values mean is `check`'s business.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::token::Paren;
use syn::{Expr, Token, parenthesized};

use crate::errors::Errors;

/// Each argument's name, and how a use of it looks.
const KNOWN: [(&str, &str); 14] = [
    ("scope", r#"scope = "user""#),
    ("ttl", r#"ttl = "24h""#),
    ("key", r#"key = "optional""#),
    ("fingerprint", r#"fingerprint = "request""#),
    ("wait", r#"wait = "5s""#),
    ("lease", r#"lease = "30s""#),
    ("on_lost", r#"on_lost = "refuse""#),
    ("release_on", "release_on(429, 503)"),
    ("store_down", r#"store_down = "refuse""#),
    ("max_response", r#"max_response = "1MiB""#),
    ("operation", r#"operation = "create payment""#),
    ("runtime", "runtime = state.idempotency"),
    ("errors", r#"errors = "record""#),
    ("crate", "crate = path::to::idempotent_runtime"),
];

/// What was written, as it was written.
#[derive(Default)]
pub(crate) struct RawArgs {
    pub(crate) scope: Option<Expr>,
    pub(crate) ttl: Option<Expr>,
    pub(crate) key: Option<Expr>,
    pub(crate) fingerprint: Option<Expr>,
    pub(crate) wait: Option<Expr>,
    pub(crate) lease: Option<Expr>,
    pub(crate) on_lost: Option<Expr>,
    pub(crate) release_on: Option<Vec<Expr>>,
    pub(crate) store_down: Option<Expr>,
    pub(crate) max_response: Option<Expr>,
    pub(crate) operation: Option<Expr>,
    pub(crate) runtime: Option<Expr>,
    pub(crate) errors: Option<Expr>,
    pub(crate) crate_path: Option<Expr>,
    /// What could not be sorted.
    pub(crate) unsorted: Errors,
    /// The arguments that were named, also those whose value could not be read.
    named: Vec<(&'static str, Span)>,
}

/// Sorts the tokens; what cannot be sorted is noted in [`RawArgs::unsorted`].
pub(crate) fn parse(tokens: TokenStream) -> RawArgs {
    let mut args = RawArgs::default();
    let mut errors = Errors::default();
    let read =
        |input: ParseStream| comma_separated(input, &mut errors, |input| args.argument(input));
    let read = read.parse2(tokens);
    errors.take(read);
    args.unsorted = errors;
    args
}

/// How a use of the argument looks.
pub(crate) fn example(name: &str) -> &'static str {
    let known = KNOWN.iter().find(|(known, _)| *known == name);
    known.expect("only names out of the table are asked for").1
}

impl RawArgs {
    /// Whether the argument was named, even if no value could be read.
    pub(crate) fn names(&self, argument: &str) -> bool {
        self.named_at(argument).is_some()
    }

    /// Where the argument was named.
    pub(crate) fn named_at(&self, argument: &str) -> Option<Span> {
        let named = self.named.iter().find(|(named, _)| *named == argument);
        named.map(|(_, place)| *place)
    }

    fn argument(&mut self, input: ParseStream) -> syn::Result<()> {
        let ident = name(input)?;
        let name = self.note(&ident)?;
        if name == "release_on" {
            self.release_on = Some(list(&ident, input)?);
        } else {
            *self.slot(name) = Some(value(&ident, input)?);
        }
        Ok(())
    }

    /// Notes that an argument is given: the one place that knows about unknown and repeated ones.
    fn note(&mut self, ident: &Ident) -> syn::Result<&'static str> {
        let written = ident.unraw().to_string();
        let Some((known, _)) = KNOWN.iter().find(|(known, _)| *known == written) else {
            let nearest = nearest(&written);
            // A misspelled `scope` is one mistake, not a missing `scope` as well.
            self.named
                .extend(nearest.map(|nearest| (nearest, ident.span())));
            let mend = match nearest {
                Some(nearest) => format!("write `{nearest}`"),
                None => format!(
                    "the arguments are {}",
                    listed(KNOWN.map(|(known, _)| known))
                ),
            };
            let message = format!("`{written}` is not an argument of `idempotent`; {mend}");
            return Err(syn::Error::new(ident.span(), message));
        };
        if self.names(known) {
            let message = format!("`{known}` is given twice; keep one of the two");
            return Err(syn::Error::new(ident.span(), message));
        }
        self.named.push((known, ident.span()));
        Ok(known)
    }

    fn slot(&mut self, name: &str) -> &mut Option<Expr> {
        match name {
            "scope" => &mut self.scope,
            "ttl" => &mut self.ttl,
            "key" => &mut self.key,
            "fingerprint" => &mut self.fingerprint,
            "wait" => &mut self.wait,
            "lease" => &mut self.lease,
            "on_lost" => &mut self.on_lost,
            "store_down" => &mut self.store_down,
            "max_response" => &mut self.max_response,
            "operation" => &mut self.operation,
            "runtime" => &mut self.runtime,
            "errors" => &mut self.errors,
            "crate" => &mut self.crate_path,
            other => unreachable!("`{other}` is not in the table of arguments with one value"),
        }
    }
}

fn name(input: ParseStream) -> syn::Result<Ident> {
    input.call(Ident::parse_any).map_err(|_| {
        let found = input.cursor().token_stream().into_iter().next();
        let found = found.map_or_else(String::new, |token| token.to_string());
        input.error(format!(
            "`{found}` has no name; write an argument as in `{}`",
            example("scope")
        ))
    })
}

fn value(ident: &Ident, input: ParseStream) -> syn::Result<Expr> {
    let name = ident.unraw().to_string();
    if input.parse::<Option<Token![=]>>()?.is_none() || input.is_empty() || input.peek(Token![,]) {
        let message = format!("`{name}` takes a value; write `{}`", example(&name));
        return Err(syn::Error::new(ident.span(), message));
    }
    input.parse().map_err(|error: syn::Error| {
        // At the end of the input the parser knows no better place than the whole attribute.
        let at_end = input.is_empty();
        let place = if at_end { ident.span() } else { error.span() };
        let example = example(&name);
        let message = format!("the value of `{name}` is no expression; write `{example}`");
        syn::Error::new(place, message)
    })
}

fn list(ident: &Ident, input: ParseStream) -> syn::Result<Vec<Expr>> {
    if !input.peek(Paren) {
        let message = format!(
            "`release_on` takes a list; write `{}`",
            example("release_on")
        );
        return Err(syn::Error::new(ident.span(), message));
    }
    let content;
    parenthesized!(content in input);
    let mut errors = Errors::default();
    let mut list = Vec::new();
    comma_separated(&content, &mut errors, |content| {
        list.push(content.parse()?);
        Ok(())
    })?;
    errors.finish(Some(list))
}

/// Reads one after another, and goes on behind the next comma where one cannot be read.
fn comma_separated(
    input: ParseStream,
    errors: &mut Errors,
    mut read: impl FnMut(ParseStream) -> syn::Result<()>,
) -> syn::Result<()> {
    while !input.is_empty() {
        if errors.take(read(input)).is_none() {
            skip_to_comma(input)?;
        }
        if input.is_empty() || input.parse::<Option<Token![,]>>()?.is_some() {
            continue;
        }
        let next: TokenTree = input.fork().parse()?;
        let message = format!("`{next}` follows a value; put a `,` between them");
        errors.push(syn::Error::new(next.span(), message));
        // An argument that follows can be read all the same.
        if !input.peek(Ident::peek_any) {
            skip_to_comma(input)?;
            input.parse::<Option<Token![,]>>()?;
        }
    }
    Ok(())
}

fn skip_to_comma(input: ParseStream) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

/// The argument that was probably meant: at most a third of it is spelled otherwise.
fn nearest(written: &str) -> Option<&'static str> {
    KNOWN
        .iter()
        .map(|(known, _)| (strsim::damerau_levenshtein(written, known), *known))
        .filter(|(distance, known)| *distance <= known.len() / 3)
        .min()
        .map(|(_, known)| known)
}

fn listed(names: [&str; KNOWN.len()]) -> String {
    names.map(|name| format!("`{name}`")).join(", ")
}
