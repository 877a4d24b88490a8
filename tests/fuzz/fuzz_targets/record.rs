//! Records as a store gives them back.
#![cfg_attr(fuzzing, no_main)]

idempotent_fuzz::program!(record);
