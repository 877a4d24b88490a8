//! Whole requests, in actix-web.
#![cfg_attr(fuzzing, no_main)]

idempotent_fuzz::program!(actix);
