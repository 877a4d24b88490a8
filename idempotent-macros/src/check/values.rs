//! Values that are written as literals become numbers and choices.

use bytesize::ByteSize;
use quote::ToTokens;
use syn::{Expr, Lit, LitStr};

use crate::errors::Errors;
use crate::model::{MaxResponse, Statuses, Within};

/// The error for a value that an argument cannot have.
pub(super) fn wrong(argument: &str, given: &impl ToTokens, mend: &str) -> syn::Error {
    let value = given.to_token_stream();
    syn::Error::new_spanned(given, format!("`{argument}` cannot be `{value}`; {mend}"))
}

/// The literal that a value consists of, if it does.
pub(super) fn literal(given: &Expr) -> Option<&Lit> {
    match given {
        Expr::Lit(given) => Some(&given.lit),
        // What a `macro_rules!` got as `$value:expr` comes in an invisible group.
        Expr::Group(group) => literal(&group.expr),
        _ => None,
    }
}

pub(super) fn text(given: &Expr) -> Option<&LitStr> {
    match literal(given) {
        Some(Lit::Str(text)) => Some(text),
        _ => None,
    }
}

/// One of some words; `otherwise` says what the argument can be besides.
pub(super) fn choice<T, const N: usize>(
    argument: &str,
    given: &Expr,
    words: [(&str, T); N],
    otherwise: Option<&str>,
) -> syn::Result<T> {
    let names = words.each_ref().map(|(word, _)| format!("`\"{word}\"`"));
    let chosen = text(given).map(LitStr::value).unwrap_or_default();
    let found = words.into_iter().find(|(word, _)| *word == chosen);
    found.map(|(_, choice)| choice).ok_or_else(|| {
        let mend = match otherwise {
            Some(otherwise) => format!("write {} or {otherwise}", names.join(", ")),
            None => format!("write {}", names.join(" or ")),
        };
        wrong(argument, given, &mend)
    })
}

/// A duration, in milliseconds; what is finer than that is cut off.
pub(super) fn duration<const MIN: u64, const MAX: u64>(
    argument: &str,
    given: &Expr,
    bounds: &str,
) -> syn::Result<Within<MIN, MAX>> {
    let written = text(given).map(LitStr::value).unwrap_or_default();
    let duration = humantime::parse_duration(&written).ok();
    let duration = duration.filter(|_| !has_vague_unit(&written));
    let duration = duration.ok_or_else(|| {
        let mend = "write a duration such as `\"24h\"`, `\"30m\"`, `\"1h30m\"` or `\"7d\"`";
        wrong(argument, given, mend)
    })?;
    let millis = u64::try_from(duration.as_millis()).ok();
    millis
        .and_then(Within::new)
        .ok_or_else(|| wrong(argument, given, &format!("write a duration from {bounds}")))
}

/// Months and years, whose lengths differ; and few who write `"5M"` mean five months.
fn has_vague_unit(duration: &str) -> bool {
    let mut units = duration.split(|each: char| !each.is_ascii_alphabetic());
    units.any(|unit| {
        matches!(
            unit,
            "months" | "month" | "M" | "years" | "year" | "yrs" | "yr" | "y"
        )
    })
}

pub(super) fn size(given: &Expr) -> syn::Result<MaxResponse> {
    let written = text(given).map(LitStr::value).unwrap_or_default();
    let size: ByteSize = written.parse().map_err(|_| {
        let mend = "write a size such as `\"64KiB\"` or `\"1MiB\"`";
        wrong("max_response", given, mend)
    })?;
    MaxResponse::new(size.as_u64()).ok_or_else(|| {
        let mend = "write a size from `1B` to less than `4GiB`";
        wrong("max_response", given, mend)
    })
}

/// Reads each of the list, so that one mistake does not hide another.
pub(super) fn statuses(given: &[Expr]) -> syn::Result<Vec<Statuses>> {
    let mut errors = Errors::default();
    let read = given.iter().filter_map(|each| errors.take(status(each)));
    let read = read.collect();
    errors.finish(Some(read))
}

fn status(given: &Expr) -> syn::Result<Statuses> {
    let read = match literal(given) {
        Some(Lit::Int(number)) => match (number.base10_parse(), number.suffix()) {
            (Ok(status), "") => Statuses::one(status),
            (Ok(class), "xx") => Statuses::class(class),
            _ => None,
        },
        _ => None,
    };
    read.ok_or_else(|| {
        let mend = "list statuses from `200` to `599`, `4xx` and `5xx`";
        wrong("release_on", given, mend)
    })
}
