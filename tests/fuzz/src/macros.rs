//! What is written in `#[idempotent(…)]`.

use proc_macro2::{Literal, TokenStream};
use quote::{ToTokens as _, quote};

use crate::{args, check, expand, fallback, handler, model};

/// The literals of one argument, chosen by the first byte: a number within its bounds, or an error.
pub(crate) fn literals(data: &[u8]) {
    let Some((which, text)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let literal = Literal::string(text);
    match which % 4 {
        0 => {
            let ttl = policy(&quote!(ttl = #literal)).map(|policy| policy.ttl.value());
            check_duration(text, ttl, 1_000, 366 * 24 * 3_600_000);
        }
        1 => {
            let wait = policy(&quote!(wait = #literal));
            let wait = wait.map(|policy| policy.wait.expect("it is written").value());
            check_duration(text, wait, 1, 300_000);
        }
        2 => {
            let lease = policy(&quote!(lease = #literal)).map(|policy| policy.lease.value());
            check_duration(text, lease, 1_000, 3_600_000);
        }
        _ => {
            let size = policy(&quote!(max_response = #literal));
            check_size(text, size.map(|policy| policy.max_response.value()));
        }
    }
}

/// Any text between the parentheses: code, or an error and the function as it was.
pub(crate) fn attribute(data: &[u8]) {
    // What compiles a crate reads it in full; here, nesting that overflows the stack is of no use.
    let text = std::str::from_utf8(data).unwrap_or_default();
    if text.len() > 512 {
        return;
    }
    let Ok(tokens) = text.parse() else {
        return;
    };
    let item = quote! {
        async fn pay(user: User, Json(new): Json<NewPayment>) -> Response { new.run(user).await }
    };
    let expanded = match check::check(args::parse(tokens), handler::parse(item.clone())) {
        Ok(checked) => expand::expand(&checked),
        Err(errors) => {
            assert!(errors.into_iter().all(|error| is_told_well(&error)));
            return;
        }
    };
    let file = syn::parse2::<syn::File>(expanded).expect("code");
    let outer = file.items.first().expect("a function");
    assert!(matches!(outer, syn::Item::Fn(outer) if outer.sig.ident == "pay"));
}

fn policy(argument: &TokenStream) -> Option<model::Policy> {
    let item = quote!(
        async fn pay() {}
    );
    let args = args::parse(quote!(scope = "user", #argument));
    match check::check(args, handler::parse(item.clone())) {
        Ok(checked) => Some(checked.policy),
        Err(errors) => {
            let both = fallback::fallback(&errors, item);
            assert!(syn::parse2::<syn::File>(both).is_ok());
            assert!(errors.into_iter().all(|error| is_told_well(&error)));
            None
        }
    }
}

fn is_told_well(error: &syn::Error) -> bool {
    !error.to_string().is_empty() && !error.to_compile_error().to_token_stream().is_empty()
}

/// Nobody is given another duration than they wrote, in units that mean the same to all.
fn check_duration(text: &str, millis: Option<u64>, least: u64, most: u64) {
    let bounds = u128::from(least)..=u128::from(most);
    let millis = millis.map(u128::from);
    assert!(millis.is_none_or(|millis| bounds.contains(&millis)));
    if let Some(nanos) = whole_units(text) {
        let written = nanos / 1_000_000;
        assert_eq!(
            millis,
            bounds.contains(&written).then_some(written),
            "{text:?}"
        );
    }
}

/// The nanoseconds of whole numbers with units; `None` for what is written another way.
fn whole_units(mut text: &str) -> Option<u128> {
    let mut sum: u128 = 0;
    while !text.is_empty() {
        let digits = text.find(|char: char| !char.is_ascii_digit())?;
        let (number, rest) = text.split_at(digits);
        let unit = rest.find(|char: char| !char.is_ascii_lowercase());
        let (unit, rest) = rest.split_at(unit.unwrap_or(rest.len()));
        let nanos: u128 = match unit {
            "ns" => 1,
            "us" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            "w" => 604_800_000_000_000,
            _ => return None,
        };
        // Longer ones are no duration that anybody could keep.
        if number.is_empty() || number.len() > 12 {
            return None;
        }
        let number: u128 = number.parse().ok()?;
        sum = sum.checked_add(number.checked_mul(nanos)?)?;
        text = rest;
    }
    (sum > 0).then_some(sum)
}

fn check_size(text: &str, bytes: Option<u64>) {
    const UNITS: [(&str, u64); 7] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("B", 1),
    ];
    let bounds = 1..=u64::from(u32::MAX);
    assert!(bytes.is_none_or(|bytes| bounds.contains(&bytes)));
    let found = UNITS
        .into_iter()
        .find_map(|(unit, size)| Some((text.strip_suffix(unit)?, size)));
    let Some((number, size)) = found else {
        return;
    };
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return;
    }
    let Ok(number) = number.parse::<u64>() else {
        return;
    };
    let written = number.checked_mul(size);
    assert_eq!(bytes, written.filter(|bytes| bounds.contains(bytes)));
}
