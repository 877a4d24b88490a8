//! Arguments with a few values: `key`, `fingerprint`, `on_lost`, `store_down`.

use quote::quote;

use super::{assert_one, refused};

#[test]
fn choices_name_each_other() {
    assert_eq!(
        refused(quote!(key = "requierd")),
        [
            "`key` cannot be `\"requierd\"`; write `\"required\"`, `\"optional\"`, `\"derived\"` \
             or an expression such as `order.id`"
        ]
    );
    assert_eq!(
        refused(quote!(on_lost = "")),
        ["`on_lost` cannot be `\"\"`; write `\"rerun\"` or `\"refuse\"`"]
    );
    assert_one(&refused(quote!(fingerprint = 1)), "`fingerprint` cannot be");
    assert_one(&refused(quote!(store_down = run)), "`store_down` cannot be");
    assert_one(&refused(quote!(operation = " ")), "`operation` cannot be");
    assert_one(&refused(quote!(crate = "a b")), "`crate` cannot be");
}

#[test]
fn a_derived_key_needs_a_fingerprint() {
    let messages = refused(quote!(key = "derived", fingerprint = "none"));
    assert_one(
        &messages,
        "`fingerprint = \"none\"` leaves `key = \"derived\"`",
    );
}
