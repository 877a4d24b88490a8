//! Records as a store gives them back.

use bytes::Bytes;
use idempotent_runtime::{Fingerprint, RecordId, StoredResponse};

const ID: RecordId = RecordId::from_bytes([1; 32]);
const FINGERPRINT: Fingerprint = Fingerprint::from_bytes([2; 32]);

/// Any bytes are an error, or a response that is written as it was read.
pub(crate) fn record(data: &[u8]) {
    let durable = StoredResponse::from_durable(Bytes::copy_from_slice(data), &ID, &FINGERPRINT);
    if let Ok(response) = durable {
        assert_eq!(response.to_durable(&ID, &FINGERPRINT), data);
        check(&response);
    }
    let Ok(response) = StoredResponse::decode(Bytes::copy_from_slice(data)) else {
        return;
    };
    assert_eq!(&response.as_bytes()[..], data);
    check(&response);

    let written = response.to_durable(&ID, &FINGERPRINT);
    let read = |durable: &[u8], id, fingerprint| {
        StoredResponse::from_durable(Bytes::copy_from_slice(durable), id, fingerprint)
    };
    assert_eq!(read(&written, &ID, &FINGERPRINT).as_ref(), Ok(&response));
    // It is nobody else's, nor is it taken for the other form.
    let other = RecordId::from_bytes([2; 32]);
    assert!(read(&written, &other, &FINGERPRINT).is_err());
    let other = Fingerprint::from_bytes([1; 32]);
    assert!(read(&written, &ID, &other).is_err());
    assert!(read(data, &ID, &FINGERPRINT).is_err());
    // A changed byte, and an end that is missing: which of them, the record itself says.
    let at = usize::from(response.status()) % written.len();
    let mut changed = written.clone();
    changed[at] ^= 1 << (at % 8);
    assert!(read(&changed, &ID, &FINGERPRINT).is_err());
    assert!(read(&written[..at], &ID, &FINGERPRINT).is_err());
}

fn check(response: &StoredResponse) {
    assert!((100..=999).contains(&response.status()));
    assert!(!(response.is_tombstone() && response.is_sealed()));
    // The length of what is inside, and no more than there is.
    let headers: usize = response
        .headers()
        .map(|(name, value)| 6 + name.len() + value.len())
        .sum();
    let encoded = response.as_bytes();
    assert_eq!(8 + headers + response.body().len(), encoded.len());
    let told = format!("{response:?}");
    assert!(told.len() < 120);

    // What a handler answered with that is kept whole, but for what no record keeps.
    let headers: Vec<(String, Bytes)> = response
        .headers()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let given: Vec<(&str, &[u8])> = headers
        .iter()
        .map(|(name, value)| (&name[..], &value[..]))
        .collect();
    let body = response.body();
    let recorded = StoredResponse::new(response.status(), &given, &body);
    assert_eq!(recorded.body(), body);
    let mut rest = given.iter();
    for (name, value) in recorded.headers() {
        assert!(
            rest.any(|given| *given == (name, &value[..])),
            "order is kept"
        );
        assert!(!name.eq_ignore_ascii_case("set-cookie"));
    }
    let tombstone = StoredResponse::tombstone(response.status(), &given);
    assert!(tombstone.is_tombstone() && tombstone.body().is_empty());
    let again = StoredResponse::decode(recorded.as_bytes().clone());
    assert_eq!(again.as_ref(), Ok(&recorded));
}
