//! What a record is found by, and what a request is told apart by.

use arbitrary::{Arbitrary, Unstructured};
use idempotent_runtime::{Fingerprint, Key, RecordId, Scope};

const NAMES: [&str; 4] = ["user", "users", "tenant", "u"];

/// One text cut into parts in two ways: what an attacker does who wants the parts of one caller to
/// read like those of another.
#[derive(Arbitrary, Debug)]
struct Input<'a> {
    cuts: [Cuts; 2],
    /// The second is cut out of this one, if there is one.
    other: Option<&'a str>,
    text: &'a str,
}

#[derive(Arbitrary, Debug)]
struct Cuts {
    at: [u8; 4],
    scope: ScopeKind,
    key: KeyKind,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
enum ScopeKind {
    Global,
    Named(u8),
    Expression,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
enum KeyKind {
    Text,
    Derived,
}

/// Ids are the same where all that makes them is, and nowhere else; so are fingerprints.
pub(crate) fn identity(data: &[u8]) {
    let Ok(input) = Input::arbitrary(&mut Unstructured::new(data)) else {
        return;
    };
    let [first, second] = &input.cuts;
    let first = Tuple::cut(input.text, first);
    let second = Tuple::cut(input.other.unwrap_or(input.text), second);
    check_fingerprints(&first, &second);
    let (Some(left), Some(right)) = (first.id(), second.id()) else {
        return;
    };
    assert_eq!(first.same_record(&second), left == right);
    assert_eq!(Some(left), first.id());
}

struct Tuple<'a> {
    /// Namespace, two halves of the operation, scope value, key.
    parts: [&'a str; 5],
    scope: ScopeKind,
    key: KeyKind,
}

impl<'a> Tuple<'a> {
    fn cut(mut text: &'a str, cuts: &Cuts) -> Self {
        let mut parts = [""; 5];
        for (part, at) in parts.iter_mut().zip(cuts.at) {
            let mut at = usize::from(at).min(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            (*part, text) = text.split_at(at);
        }
        parts[4] = text;
        let scope = match cuts.scope {
            ScopeKind::Named(name) => ScopeKind::Named(name % 4),
            other => other,
        };
        let key = cuts.key;
        Self { parts, scope, key }
    }

    fn id(&self) -> Option<RecordId> {
        let [namespace, method, route, caller, key] = self.parts;
        let caller = caller.to_owned();
        let scope = match self.scope {
            ScopeKind::Global => Scope::global(),
            ScopeKind::Named(name) => Scope::named(NAMES[usize::from(name)], caller),
            ScopeKind::Expression => Scope::expression(caller),
        };
        let key = match self.key {
            KeyKind::Text => Key::from_value(key).ok()?,
            KeyKind::Derived => Key::derived(Fingerprint::from_bytes(derived(key))),
        };
        Some(RecordId::new(namespace, &[method, route], &scope, &key))
    }

    fn same_record(&self, other: &Self) -> bool {
        let parts = |tuple: &Self| {
            let [namespace, method, route, caller, key] = tuple.parts;
            let caller = match tuple.scope {
                ScopeKind::Global => "",
                _ => caller,
            };
            let key = match tuple.key {
                KeyKind::Text => key.as_bytes().to_vec(),
                KeyKind::Derived => derived(key).to_vec(),
            };
            (namespace, [method, route].concat(), caller, key)
        };
        self.scope == other.scope && self.key == other.key && parts(self) == parts(other)
    }
}

/// The text as a fingerprint: a client can send it as a key, too.
fn derived(text: &str) -> [u8; 32] {
    let mut bytes = [b'0'; 32];
    let length = text.len().min(32);
    bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
    bytes
}

fn check_fingerprints(first: &Tuple<'_>, second: &Tuple<'_>) {
    // A content type, if only that of no form, is the same for both: it is none of the tuple.
    let content_type = first.parts[4].as_bytes();
    let of = |tuple: &Tuple<'_>, content_type| {
        let [method, path, _, body, _] = tuple.parts;
        Fingerprint::of_request(method, path, content_type, body.as_bytes())
    };
    let same = [0, 1, 3].map(|part| first.parts[part]) == [0, 1, 3].map(|part| second.parts[part]);
    assert_eq!(of(first, None) == of(second, None), same);
    let [left, right] = [first, second].map(|tuple| of(tuple, Some(content_type)));
    assert_eq!(left == right, same);

    // A boundary that is drawn anew changes nothing.
    let [method, path, part, rest, _] = first.parts;
    let form = |boundary: &str| {
        let content_type = format!("multipart/form-data; boundary={boundary}");
        let body = format!("--{boundary}\r\n{part}\r\n--{boundary}\r\n{rest}\r\n--{boundary}--");
        let content_type = Some(content_type.as_bytes());
        Fingerprint::of_request(method, path, content_type, body.as_bytes())
    };
    if !first.parts.concat().contains("0x") {
        assert_eq!(form("0xA"), form("0xBcd"));
    }
}
