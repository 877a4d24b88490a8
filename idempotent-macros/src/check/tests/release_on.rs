//! `release_on(…)`.

use quote::quote;

use super::{assert_one, correct, on_pay, ranges, refused};

#[test]
fn statuses_are_final_ones() {
    assert_eq!(
        ranges(&correct(on_pay(quote!(scope = "a", release_on())))),
        []
    );
    assert_eq!(refused(quote!(release_on(200, 599))), [""; 0]);
    for wrong in [
        quote!(199),
        quote!(600),
        quote!(3xx),
        quote!(429u16),
        quote!("503"),
        quote!(all),
        quote!(99999),
    ] {
        let start = format!("`release_on` cannot be `{wrong}`; list statuses");
        assert_one(&refused(quote!(release_on(429, #wrong, 5xx))), &start);
    }
    assert_eq!(refused(quote!(release_on(1, 2, 503, 3))).len(), 3);
    assert_one(
        &refused(quote!(release_on(429 503))),
        "`503` follows a value",
    );
    assert_one(
        &refused(quote!(release_on = 429)),
        "`release_on` takes a list",
    );
}
