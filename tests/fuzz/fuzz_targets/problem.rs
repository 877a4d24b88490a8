//! The answers that are the framework's own.
#![cfg_attr(fuzzing, no_main)]

idempotent_fuzz::program!(problem);
