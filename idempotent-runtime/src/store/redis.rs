//! Claims and records in Redis or Valkey.
