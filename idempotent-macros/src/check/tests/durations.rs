//! `ttl`, `wait` and `lease`.

use quote::quote;

use super::{assert_one, refused};

#[test]
fn durations_have_bounds() {
    for right in [
        quote!(ttl = "1s"),
        quote!(ttl = "366d"),
        quote!(ttl = "1000ms"),
        quote!(ttl = "2weeks 1 day 1min"),
        quote!(wait = "1ms"),
        quote!(wait = "5m"),
        quote!(lease = "1s"),
        quote!(lease = "1h"),
    ] {
        assert_eq!(refused(right.clone()), [""; 0], "{right}");
    }
    for wrong in [
        quote!(ttl = "0s"),
        quote!(ttl = "999ms"),
        quote!(ttl = "366d 1s"),
        quote!(wait = "0s"),
        quote!(wait = "1us"),
        quote!(wait = "5m 1ms"),
        quote!(lease = "999ms"),
        quote!(lease = "61m"),
    ] {
        let messages = refused(wrong.clone());
        assert_eq!(messages.len(), 1, "{wrong}: {messages:?}");
        assert!(
            messages[0].contains("write a duration from"),
            "{messages:?}"
        );
    }
    for wrong in [
        quote!("24"),
        quote!("24x"),
        quote!("a day"),
        quote!(""),
        quote!("-1s"),
        quote!(24),
        quote!(day),
        quote!("99999999999999999999s"),
        quote!("5M"),
        quote!("1month"),
        quote!("2 months"),
        quote!("1h5M"),
        quote!("1y"),
        quote!("1yr"),
        quote!("1 year 2days"),
    ] {
        let start = format!("`ttl` cannot be `{wrong}`; write a duration such as `\"24h\"`");
        assert_one(&refused(quote!(ttl = #wrong)), &start);
    }
}
