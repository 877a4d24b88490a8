//! Whole requests, in axum.
#![cfg_attr(fuzzing, no_main)]

idempotent_fuzz::program!(axum);
