//! Claims and records in a SQLite file.
