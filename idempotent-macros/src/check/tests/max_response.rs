//! `max_response`.

use quote::quote;

use super::{assert_one, refused};

#[test]
fn sizes_have_bounds() {
    for right in [quote!("1B"), quote!("4294967295B"), quote!("1.5MiB")] {
        assert_eq!(refused(quote!(max_response = #right)), [""; 0], "{right}");
    }
    for wrong in [quote!("0B"), quote!("4GiB"), quote!("99999EiB")] {
        let start = format!("`max_response` cannot be `{wrong}`; write a size from");
        assert_one(&refused(quote!(max_response = #wrong)), &start);
    }
    for wrong in [quote!("much"), quote!(1024), quote!("1 MeB"), quote!("")] {
        let start = format!("`max_response` cannot be `{wrong}`; write a size such as");
        assert_one(&refused(quote!(max_response = #wrong)), &start);
    }
}
