//! Every mistake of one attribute, gathered so that all of them are shown at once.

/// The mistakes found so far.
#[derive(Default)]
pub(crate) struct Errors(Option<syn::Error>);

impl Errors {
    pub(crate) fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(first) => first.combine(error),
            none => *none = Some(error),
        }
    }

    /// The value, or `None` once its mistake is noted.
    pub(crate) fn take<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// What was given, read; or the default where nothing was.
    pub(crate) fn read<G, T>(
        &mut self,
        given: Option<&G>,
        default: T,
        read: impl FnOnce(&G) -> syn::Result<T>,
    ) -> Option<T> {
        match given {
            Some(given) => self.take(read(given)),
            None => Some(default),
        }
    }

    /// The value if nothing was wrong.
    pub(crate) fn finish<T>(self, value: Option<T>) -> syn::Result<T> {
        match self.0 {
            Some(errors) => Err(errors),
            None => Ok(value.expect("a value is missing only where a mistake was noted")),
        }
    }
}
