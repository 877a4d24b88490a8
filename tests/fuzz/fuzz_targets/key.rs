//! The value of an `Idempotency-Key` header.
#![cfg_attr(fuzzing, no_main)]

idempotent_fuzz::program!(key);
