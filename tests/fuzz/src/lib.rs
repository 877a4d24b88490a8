//! Fuzz targets: whatever reads what others wrote is given anything, and must neither panic nor
//! break its rules.
//!
//! A target is a function that panics when a rule is broken. libFuzzer calls it with what it makes
//! up (`run` beside this package), and a test with all that was kept in `corpus`.

mod http;
mod identity;
mod key;
mod macros;
mod problem;
mod record;

// The macro's crate, a proc macro, exports nothing else. Its files name each other from the root.
#[allow(dead_code)]
#[path = "../../../idempotent-macros/src"]
mod attribute {
    pub(crate) mod args;
    pub(crate) mod check;
    pub(crate) mod errors;
    pub(crate) mod expand;
    pub(crate) mod fallback;
    pub(crate) mod handler;
    pub(crate) mod model;
}
use attribute::{args, check, errors, expand, fallback, handler, model};

/// What is called with anything.
pub type Target = fn(&[u8]);

/// All targets, under the names of their programs.
pub const TARGETS: [(&str, Target); 8] = [
    ("key", key::key),
    ("record", record::record),
    ("literals", macros::literals),
    ("attribute", macros::attribute),
    ("problem", problem::problem),
    ("identity", identity::identity),
    ("axum", http::axum),
    ("actix", http::actix),
];

/// Gives a target its input.
///
/// # Panics
///
/// There is no target of this name, or it has found that a rule is broken.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = target.unwrap_or_else(|| panic!("there is no target {name}"));
    target(data);
}

/// The program of a target: libFuzzer's where that is asked for, else one that reads the files it
/// is given.
#[macro_export]
macro_rules! program {
    ($name:ident) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::run(stringify!($name), data));

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            for file in std::env::args_os().skip(1) {
                $crate::run(stringify!($name), &std::fs::read(file)?);
            }
            Ok(())
        }
    };
}
