//! The parts that every protected request is made of.

use std::hint::black_box;

use idempotent_runtime::{Fingerprint, Key, RecordId, Scope, StoredResponse};

use crate::{Path, Role};

const KEY: &str = "56bfc899-a694-4ce9-81cb-c637a69dac2b";
const BODY: [u8; 200] = [b'x'; 200];
const HEADERS: [(&str, &[u8]); 2] = [
    ("content-type", b"application/json"),
    (
        "location",
        b"/payments/56bfc899-a694-4ce9-81cb-c637a69dac2b",
    ),
];

pub(crate) const PATHS: &[Path] = &[
    part("key: parse", |times| {
        for _ in 0..times {
            drop(black_box(Key::from_header(black_box(KEY.as_bytes()))));
        }
    }),
    part("record id", |times| {
        let key = Key::from_value(KEY).expect("a key");
        let scope = Scope::named("user", "alice".to_owned());
        for _ in 0..times {
            black_box(RecordId::new(
                "",
                black_box(&["POST /payments"]),
                &scope,
                black_box(&key),
            ));
        }
    }),
    part("fingerprint: 200 bytes", |times| {
        for _ in 0..times {
            let media_type = Some(&b"application/json"[..]);
            let body = black_box(&BODY);
            black_box(Fingerprint::of_request(
                "POST",
                "/payments",
                media_type,
                body,
            ));
        }
    }),
    part("response: encode 200 bytes", |times| {
        for _ in 0..times {
            black_box(StoredResponse::new(
                201,
                black_box(&HEADERS),
                black_box(&BODY),
            ));
        }
    }),
    part("response: decode 200 bytes", |times| {
        let stored = StoredResponse::new(201, &HEADERS, &BODY);
        for _ in 0..times {
            let encoded = black_box(stored.as_bytes()).clone();
            drop(black_box(StoredResponse::decode(encoded)));
        }
    }),
];

const fn part(name: &'static str, run: fn(u64)) -> Path {
    Path {
        name,
        role: Role::Part,
        run,
    }
}
