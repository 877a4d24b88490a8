//! Claims and records in PostgreSQL.
