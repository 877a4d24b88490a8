//! What stands in the handler's place when it is used wrongly.

use proc_macro2::TokenStream;

/// The errors, and the function as it was: whatever names it elsewhere still finds it, so that one
/// mistake is not reported as many.
pub(crate) fn fallback(errors: &syn::Error, item: TokenStream) -> TokenStream {
    let mut tokens = errors.to_compile_error();
    tokens.extend(item);
    tokens
}
