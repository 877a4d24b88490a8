//! Durations and sizes in `#[idempotent(…)]`.
#![cfg_attr(fuzzing, no_main)]

idempotent_fuzz::program!(literals);
