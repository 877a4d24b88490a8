//! All that can stand in `#[idempotent(…)]`.
#![cfg_attr(fuzzing, no_main)]

idempotent_fuzz::program!(attribute);
