//! The stored response: which parts of a response are kept, and how they are written down.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

/// The first byte of every encoded response. A reader that meets another one must not guess.
const FORMAT_VERSION: u8 = 1;
const FULL: u8 = 0;
const TOMBSTONE: u8 = 1;
const SEALED: u8 = 2;
/// Version, kind, status, length of the headers.
const PREFIX: usize = 1 + 1 + 2 + 4;

/// A response as it is recorded: status, kept headers and body, or, as a tombstone, only that
/// there was one.
///
/// It is one run of bytes (the form in which every store keeps it); cloning it copies nothing.
/// Its `Debug` output shows neither headers nor body.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredResponse {
    encoded: Bytes,
    body_start: usize,
}

impl StoredResponse {
    /// Records a response whose body is kept.
    ///
    /// Of the `headers` those that belong to the connection or to the first caller alone are
    /// left out; the others stay in their order, repeated ones repeated.
    #[must_use]
    pub fn new(status: u16, headers: &[(&str, &[u8])], body: &[u8]) -> Self {
        Self::of(status, || headers.iter().copied(), body)
    }

    /// [`new`](Self::new), of headers that need not be gathered.
    pub(crate) fn of<'a, I>(status: u16, headers: impl Fn() -> I, body: &[u8]) -> Self
    where
        I: Iterator<Item = (&'a str, &'a [u8])>,
    {
        let connection: Vec<&[u8]> = headers()
            .filter(|(name, _)| name.eq_ignore_ascii_case("connection"))
            .map(|(_, value)| value)
            .collect();
        let kept = || headers().filter(|(name, _)| is_kept(name) && !is_named(name, &connection));
        Self::encode(FULL, status, kept, body)
    }

    /// Records that there was a response, with its status and `Location`, but no body.
    #[must_use]
    pub fn tombstone(status: u16, headers: &[(&str, &[u8])]) -> Self {
        Self::tombstone_of(status, || headers.iter().copied())
    }

    /// [`tombstone`](Self::tombstone), of headers that need not be gathered.
    pub(crate) fn tombstone_of<'a, I>(status: u16, headers: impl Fn() -> I) -> Self
    where
        I: Iterator<Item = (&'a str, &'a [u8])>,
    {
        let location = || headers().filter(|(name, _)| name.eq_ignore_ascii_case("location"));
        Self::encode(TOMBSTONE, status, location, &[])
    }

    /// Carries a response that was made unreadable for all but the holder of a key. What is
    /// inside, its status included, is known to the store that sealed it, and to nobody else: it
    /// can be kept, and is never sent to a client.
    #[must_use]
    pub fn sealed(payload: &[u8]) -> Self {
        Self::encode(SEALED, 500, std::iter::empty, payload)
    }

    /// The same response with this header, and no other of its name.
    #[must_use]
    pub fn with_header(&self, name: &str, value: &[u8]) -> Self {
        let kept: Vec<(&str, Bytes)> = self
            .headers()
            .filter(|(kept, _)| !kept.eq_ignore_ascii_case(name))
            .collect();
        let headers: Vec<(&str, &[u8])> = kept
            .iter()
            .map(|(name, value)| (*name, &value[..]))
            .chain([(name, value)])
            .collect();
        Self::encode(
            self.encoded[1],
            self.status(),
            || headers.iter().copied(),
            &self.body(),
        )
    }

    /// Reads what [`as_bytes`](Self::as_bytes) gave. There is no checksum in it: a store whose
    /// records outlive this process keeps [`to_durable`](Self::to_durable).
    ///
    /// # Errors
    ///
    /// The bytes are of another format version, were cut off, or were never a response.
    pub fn decode(encoded: Bytes) -> Result<Self, DecodeError> {
        let (&version, rest) = encoded.split_first().ok_or(DecodeError::Malformed)?;
        if version != FORMAT_VERSION {
            return Err(DecodeError::Version(version));
        }
        let ([kind, s0, s1, h0, h1, h2, h3], rest) =
            rest.split_first_chunk().ok_or(DecodeError::Malformed)?;
        let status = u16::from_le_bytes([*s0, *s1]);
        if !matches!(*kind, FULL | TOMBSTONE | SEALED) || !(100..=999).contains(&status) {
            return Err(DecodeError::Malformed);
        }
        let headers_len = usize::try_from(u32::from_le_bytes([*h0, *h1, *h2, *h3]))
            .map_err(|_| DecodeError::Malformed)?;
        let headers = rest.get(..headers_len).ok_or(DecodeError::Malformed)?;
        let mut fields = Fields(headers);
        if !fields.all(|(name, _)| std::str::from_utf8(name).is_ok()) || !fields.0.is_empty() {
            return Err(DecodeError::Malformed);
        }
        let body_start = PREFIX + headers_len;
        Ok(Self {
            encoded,
            body_start,
        })
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        u16::from_le_bytes([self.encoded[2], self.encoded[3]])
    }

    /// Whether the body was not kept.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.encoded[1] == TOMBSTONE
    }

    /// Whether this is a [sealed](Self::sealed) response, whose body is the sealed one.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.encoded[1] == SEALED
    }

    /// The kept headers in their order: names, and values as bytes.
    pub fn headers(&self) -> impl Iterator<Item = (&str, Bytes)> {
        // What is no text was refused by `decode`, and `new` takes none.
        self.raw_headers()
            .filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, value)))
    }

    /// [`headers`](Self::headers), for who looks at a name's bytes by itself.
    pub(crate) fn raw_headers(&self) -> impl Iterator<Item = (&[u8], Bytes)> {
        Fields(&self.encoded[PREFIX..self.body_start])
            .map(|(name, value)| (name, self.encoded.slice_ref(value)))
    }

    /// The body; empty for a tombstone. Shares its memory with the record.
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.encoded.slice(self.body_start..)
    }

    /// The whole in the form that [`decode`](Self::decode) reads.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.encoded
    }

    fn encode<'a, I>(kind: u8, status: u16, headers: impl Fn() -> I, body: &[u8]) -> Self
    where
        I: Iterator<Item = (&'a str, &'a [u8])>,
    {
        // No HTTP library accepts a name of 64 KiB or a value of 4 GiB.
        let lengths = |name: &str, value: &[u8]| {
            Some((
                u16::try_from(name.len()).ok()?,
                u32::try_from(value.len()).ok()?,
            ))
        };
        let headers = || {
            headers().filter_map(|(name, value)| {
                lengths(name, value).map(|lengths| (lengths, name, value))
            })
        };
        let headers_len: usize = headers()
            .map(|(_, name, value)| 2 + name.len() + 4 + value.len())
            .sum();
        // Exactly as large as needed: a record may live long, and is accounted by its length.
        let mut encoded = BytesMut::with_capacity(PREFIX + headers_len + body.len());
        encoded.put_u8(FORMAT_VERSION);
        encoded.put_u8(kind);
        encoded.put_u16_le(status);
        encoded.put_u32_le(u32::try_from(headers_len).unwrap_or(u32::MAX));
        for ((name_len, value_len), name, value) in headers() {
            encoded.put_u16_le(name_len);
            encoded.put_slice(name.as_bytes());
            encoded.put_u32_le(value_len);
            encoded.put_slice(value);
        }
        encoded.put_slice(body);
        Self {
            encoded: encoded.freeze(),
            body_start: PREFIX + headers_len,
        }
    }
}

impl fmt::Debug for StoredResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("StoredResponse")
            .field("status", &self.status())
            .field("tombstone", &self.is_tombstone())
            .field("body_len", &(self.encoded.len() - self.body_start))
            .finish_non_exhaustive()
    }
}

/// Why bytes are not a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// Written in a format that this version does not know.
    Version(u8),
    /// Cut off, or never a response.
    Malformed,
    /// Changed since it was written, or written for another record.
    Checksum,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(
                formatter,
                "the record has format version {version}, which is not the one that is read here"
            ),
            Self::Malformed => formatter.write_str("the record is cut off or damaged"),
            Self::Checksum => formatter.write_str(
                "the record does not fit its checksum: it was changed since it was written, or \
                 belongs to another id",
            ),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Headers in their written form; ends at the first byte that is none.
#[derive(Clone)]
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name_len, rest) = self.0.split_first_chunk()?;
        let (name, rest) = rest.split_at_checked(u16::from_le_bytes(*name_len).into())?;
        let (value_len, rest) = rest.split_first_chunk()?;
        let value_len = usize::try_from(u32::from_le_bytes(*value_len)).ok()?;
        let (value, rest) = rest.split_at_checked(value_len)?;
        self.0 = rest;
        Some((name, value))
    }
}

/// Whether a header is part of a record. Left out are those of the connection (RFC 9110 §7.6.1),
/// those that are computed again for each response, cookies, which are the first caller's, and
/// our own marker.
fn is_kept(name: &str) -> bool {
    const LEFT_OUT: [&str; 10] = [
        "connection",
        "content-length",
        "date",
        "idempotency-replayed",
        "keep-alive",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let is_proxy = name
        .get(..6)
        .is_some_and(|start| start.eq_ignore_ascii_case("proxy-"));
    !is_proxy && !LEFT_OUT.iter().any(|left| name.eq_ignore_ascii_case(left))
}

fn is_named(name: &str, connection: &[&[u8]]) -> bool {
    connection
        .iter()
        .flat_map(|value| value.split(|byte| *byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn response(headers: &[(&str, &[u8])], body: &[u8]) -> StoredResponse {
        StoredResponse::new(201, headers, body)
    }

    fn headers(response: &StoredResponse) -> Vec<(&str, Bytes)> {
        response.headers().collect()
    }

    #[test]
    fn headers_stay_in_order_repeated_and_as_bytes() {
        let kept: [(&str, &[u8]); 4] = [
            ("link", b"<a>"),
            ("x-raw", b"\xff\x00"),
            ("link", b"<b>"),
            ("x-empty", b""),
        ];
        let stored = response(&kept, b"\x00\xffbody");
        assert_eq!(stored.status(), 201);
        assert_eq!(stored.body(), &b"\x00\xffbody"[..]);
        assert!(!stored.is_tombstone());
        assert!(
            headers(&stored)
                .iter()
                .map(|(name, value)| (*name, &value[..]))
                .eq(kept)
        );
    }

    #[test]
    fn headers_of_the_connection_and_of_the_first_caller_are_left_out() {
        let stored = response(
            &[
                ("Connection", b"close, X-Hop"),
                ("connection", b"x-other-hop"),
                ("x-hop", b"1"),
                ("X-Other-Hop", b"1"),
                ("keep-alive", b"1"),
                ("proxy-authenticate", b"1"),
                ("Proxy-Connection", b"1"),
                ("te", b"1"),
                ("trailer", b"1"),
                ("transfer-encoding", b"chunked"),
                ("upgrade", b"1"),
                ("date", b"1"),
                ("content-length", b"1"),
                ("set-cookie", b"1"),
                ("idempotency-replayed", b"true"),
                ("cache-control", b"no-store"),
            ],
            b"",
        );
        assert_eq!(
            headers(&stored),
            [("cache-control", Bytes::from_static(b"no-store"))]
        );
    }

    #[test]
    fn a_header_takes_the_place_of_those_of_its_name() {
        let before = response(&[("X-A", b"1"), ("link", b"2"), ("x-a", b"3")], b"body");
        let after = before.with_header("x-a", b"4");
        assert_eq!(
            headers(&after),
            [
                ("link", Bytes::from_static(b"2")),
                ("x-a", Bytes::from_static(b"4"))
            ]
        );
        assert_eq!((after.status(), after.body()), (201, before.body()));
    }

    #[test]
    fn a_tombstone_keeps_status_and_location() {
        let all: [(&str, &[u8]); 2] = [("location", b"/payments/1"), ("etag", b"1")];
        let stored = StoredResponse::tombstone(201, &all);
        assert!(stored.is_tombstone());
        assert_eq!(
            headers(&stored),
            [("location", Bytes::from_static(b"/payments/1"))]
        );
        assert_eq!(stored.body(), Bytes::new());
    }

    #[test]
    fn another_version_is_an_error_that_says_so() {
        let mut bytes = response(&[], b"").as_bytes().to_vec();
        bytes[0] = 9;
        let error = StoredResponse::decode(bytes.into()).unwrap_err();
        assert_eq!(error, DecodeError::Version(9));
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            status in 100u16..=999,
            headers in prop::collection::vec(("x-[a-z]{1,9}", prop::collection::vec(any::<u8>(), 0..20)), 0..5),
            body in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let fields: Vec<(&str, &[u8])> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
            let stored = StoredResponse::new(status, &fields, &body);
            let read = StoredResponse::decode(stored.as_bytes().clone()).unwrap();
            prop_assert_eq!(&read, &stored);
            prop_assert!(read.headers().map(|(name, value)| (name.to_owned(), value)).eq(
                fields.iter().map(|(name, value)| ((*name).to_owned(), Bytes::copy_from_slice(value)))));
            prop_assert_eq!(read.body(), &body[..]);
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(read) = StoredResponse::decode(bytes.into()) {
                read.headers().for_each(drop);
                let _ = (read.status(), read.body(), read.is_tombstone());
            }
        }

        #[test]
        fn a_damaged_record_is_refused_or_read_without_panic(at in 0usize..40, with in any::<u8>(), cut in 0usize..40) {
            let stored = response(&[("location", b"/payments/1")], b"body");
            let mut bytes = stored.as_bytes().to_vec();
            let index = at % bytes.len();
            bytes[index] = with;
            bytes.truncate(bytes.len() - cut % bytes.len());
            if let Ok(read) = StoredResponse::decode(bytes.into()) {
                read.headers().for_each(drop);
            }
        }
    }
}
