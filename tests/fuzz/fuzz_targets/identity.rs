//! What records and requests are told apart by.
#![cfg_attr(fuzzing, no_main)]

idempotent_fuzz::program!(identity);
