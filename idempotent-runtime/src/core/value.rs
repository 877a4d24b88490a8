//! What a function returned, as a stored response.

use serde::Serialize;
#[cfg(feature = "functions")]
use serde::de::DeserializeOwned;

use super::response::StoredResponse;

/// Marks a record as a function's. No header of HTTP can have this name.
const MARK: (&str, &[u8]) = (":value", b"json");

/// The status under which a value is recorded.
#[cfg(feature = "functions")]
pub(crate) const VALUE_STATUS: u16 = STATUS;
const STATUS: u16 = 200;

impl StoredResponse {
    /// Records a value that a function returned, as JSON. It is no response of a handler, and a
    /// response of a handler is no value.
    ///
    /// [`Idempotency::once`](crate::Idempotency::once) does this by itself. A hook of
    /// [`IdempotencyBuilder::reconcile`](crate::IdempotencyBuilder::reconcile) does it where it
    /// has found out what a lost run of a function came to.
    ///
    /// ```
    /// use idempotent_runtime::StoredResponse;
    ///
    /// let receipt = StoredResponse::value(&"receipt-17")?;
    /// assert_eq!(receipt.body(), &b"\"receipt-17\""[..]);
    /// # Ok::<_, serde_json::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The value cannot be serialised.
    pub fn value(value: &(impl Serialize + ?Sized)) -> Result<Self, serde_json::Error> {
        Ok(Self::new(STATUS, &[MARK], &serde_json::to_vec(value)?))
    }

    /// Whether it is a function's value.
    #[cfg(feature = "functions")]
    pub(crate) fn is_value(&self) -> bool {
        self.headers().any(|(name, _)| name == MARK.0)
    }
}

/// Reads a recorded value.
#[cfg(feature = "functions")]
pub(crate) fn read<T: DeserializeOwned>(record: &StoredResponse) -> Result<T, NotRead> {
    use super::protocol::PANIC_STATUS;

    if record.is_value() {
        // The error's own text repeats what it did not expect, and so a part of the record.
        return serde_json::from_slice(&record.body()).map_err(|error| NotRead::DoesNotFit {
            column: error.column(),
        });
    }
    if record.status() == PANIC_STATUS && record.body().is_empty() {
        return Err(NotRead::Panicked);
    }
    Err(NotRead::NoValue)
}

/// Why a record has no value for a caller.
#[cfg(feature = "functions")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotRead {
    /// The function panicked.
    Panicked,
    /// It is a handler's response.
    NoValue,
    /// It is another value.
    DoesNotFit { column: usize },
}

#[cfg(all(test, feature = "functions"))]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_as_what_it_was() {
        let value: Result<(u64, String), Option<()>> = Ok((u64::MAX, "é\u{0}".to_owned()));
        let record = StoredResponse::value(&value).unwrap();
        assert_eq!(read(&record), Ok(value));
        let record = StoredResponse::decode(record.as_bytes().clone()).unwrap();
        assert_eq!(
            read(&record),
            Ok(Ok::<_, ()>((u64::MAX, "é\u{0}".to_owned())))
        );
    }

    #[test]
    fn another_value_and_another_kind_are_no_value_and_nothing_of_them_is_told() {
        let record = StoredResponse::value("secret").unwrap();
        let error = read::<u64>(&record).unwrap_err();
        assert!(matches!(error, NotRead::DoesNotFit { .. }));
        assert!(!format!("{error:?}").contains("secret"));
        let response = StoredResponse::new(200, &[("content-type", b"application/json")], b"1");
        assert_eq!(read::<u64>(&response), Err(NotRead::NoValue));
        let panicked = StoredResponse::new(500, &[], b"");
        assert_eq!(read::<u64>(&panicked), Err(NotRead::Panicked));
        let failed = StoredResponse::new(500, &[], b"1");
        assert_eq!(read::<u64>(&failed), Err(NotRead::NoValue));
    }
}
