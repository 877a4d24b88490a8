//! What a correct use of the attribute is.
//!
//! Values of these types are built by `check` and read by `expand`. A bound or a rule that the
//! protocol sets is kept by a constructor, so nothing later has to ask again.

use proc_macro2::Group;
use syn::{Attribute, Expr, Generics, Ident, LitStr, PatType, Path, ReturnType, Token, Visibility};

/// One `#[idempotent(…)]` on one function.
pub(crate) struct Use {
    pub(crate) crate_path: Path,
    pub(crate) policy: Policy,
    pub(crate) handler: AsyncFn,
    pub(crate) kind: Kind,
}

/// What the function is.
pub(crate) enum Kind {
    /// A handler, which a framework calls.
    Handler,
    /// A function that whoever has its arguments calls.
    Function {
        runtime: Expr,
        errors: FunctionErrors,
    },
}

/// What becomes of a function's `Err`.
#[derive(Clone, Copy)]
pub(crate) enum FunctionErrors {
    /// Nothing has happened: the key is free.
    Release,
    /// It is an outcome as any other.
    Record,
}

/// The arguments, with the defaults filled in.
pub(crate) struct Policy {
    /// Method and route pattern, or module and name of a function, unless there is a name.
    pub(crate) operation: Option<LitStr>,
    pub(crate) scope: Scope,
    pub(crate) identity: Identity,
    pub(crate) ttl: Ttl,
    pub(crate) wait: Option<Wait>,
    pub(crate) lease: Lease,
    pub(crate) on_lost: OnLost,
    pub(crate) release_on: Vec<Statuses>,
    pub(crate) store_down: StoreDown,
    pub(crate) max_response: MaxResponse,
}

/// Whose keys they are.
pub(crate) enum Scope {
    Global,
    Named(LitStr),
    Expression(Expr),
}

/// Where the key comes from.
pub(crate) enum Key {
    Required,
    Optional,
    Derived,
    Expression(Expr),
}

/// What makes two requests with one key the same request.
pub(crate) enum Fingerprint {
    Request,
    None,
    Expression(Expr),
}

/// How one operation of a caller is told from another.
pub(crate) struct Identity {
    key: Key,
    fingerprint: Fingerprint,
}

impl Identity {
    /// `None` for a key that would be derived from nothing.
    pub(crate) fn new(key: Key, fingerprint: Fingerprint) -> Option<Self> {
        match (&key, &fingerprint) {
            (Key::Derived, Fingerprint::None) => None,
            _ => Some(Self { key, fingerprint }),
        }
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Whether a request can have a key without sending one.
    pub(crate) fn needs_no_header(&self) -> bool {
        matches!(self.key, Key::Derived | Key::Expression(_))
    }
}

/// What becomes of a run whose lease ended.
#[derive(Clone, Copy)]
pub(crate) enum OnLost {
    Rerun,
    Refuse,
}

/// What happens while the store cannot be asked.
#[derive(Clone, Copy)]
pub(crate) enum StoreDown {
    Refuse,
    Run,
}

/// A number from `MIN` to `MAX`, both included.
#[derive(Clone, Copy)]
pub(crate) struct Within<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Within<MIN, MAX> {
    pub(crate) const fn new(value: u64) -> Option<Self> {
        match value {
            value if value < MIN || value > MAX => None,
            value => Some(Self(value)),
        }
    }

    pub(crate) const fn value(self) -> u64 {
        self.0
    }
}

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// In milliseconds, as the other durations are.
pub(crate) type Ttl = Within<SECOND, { 366 * DAY }>;
pub(crate) type Wait = Within<1, { 5 * MINUTE }>;
pub(crate) type Lease = Within<SECOND, HOUR>;
/// In bytes; any length that a 32-bit machine can count.
pub(crate) type MaxResponse = Within<1, 0xffff_ffff>;

impl Ttl {
    pub(crate) const DEFAULT: Self = Self::new(DAY).expect("a day is within the bounds");
}

impl Lease {
    pub(crate) const DEFAULT: Self = Self::new(30 * SECOND).expect("30s is within the bounds");
}

impl MaxResponse {
    pub(crate) const DEFAULT: Self = Self::new(1 << 20).expect("1MiB is within the bounds");
}

/// Statuses that follow one another.
#[derive(Clone, Copy)]
pub(crate) struct Statuses {
    first: u16,
    last: u16,
}

impl Statuses {
    pub(crate) const DEFAULT: [Self; 2] = [
        Self::one(429).expect("429 is final"),
        Self::one(503).expect("503 is final"),
    ];

    /// A status that a request can end with.
    pub(crate) const fn one(status: u16) -> Option<Self> {
        match status {
            200..=599 => Some(Self {
                first: status,
                last: status,
            }),
            _ => None,
        }
    }

    /// All client errors (4) or all server errors (5).
    pub(crate) const fn class(class: u16) -> Option<Self> {
        match class {
            4 | 5 => Some(Self {
                first: class * 100,
                last: class * 100 + 99,
            }),
            _ => None,
        }
    }

    pub(crate) const fn first(self) -> u16 {
        self.first
    }

    pub(crate) const fn last(self) -> u16 {
        self.last
    }
}

/// A function that can be a handler: async, and nothing that the frameworks cannot call.
pub(crate) struct AsyncFn {
    /// For the function that takes the handler's place.
    pub(crate) outer_attrs: Vec<Attribute>,
    /// For the handler itself.
    pub(crate) inner_attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) async_token: Token![async],
    pub(crate) fn_token: Token![fn],
    pub(crate) name: Ident,
    pub(crate) generics: Generics,
    pub(crate) params: Params,
    pub(crate) output: ReturnType,
    pub(crate) body: Group,
    pub(crate) place: Place,
}

/// The parameters; of a handler as many as the frameworks have extractor tuples for.
pub(crate) struct Params(Vec<PatType>);

impl Params {
    pub(crate) const MAX: usize = 16;

    pub(crate) fn new(params: Vec<PatType>) -> Option<Self> {
        (params.len() <= Self::MAX).then_some(Self(params))
    }

    /// Those of a function, which nobody has to put into a tuple.
    pub(crate) fn of_function(params: Vec<PatType>) -> Self {
        Self(params)
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, PatType> {
        self.0.iter()
    }
}

/// Where the handler itself goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Into the function that takes its place.
    Nested,
    /// Beside it, in the `impl` block whose `Self` it uses and a nested function could not see.
    Sibling,
}
