//! The table's name, and the schema under it.

use std::{error::Error, fmt};

/// The name that the shipped schema uses.
pub(super) const DEFAULT_TABLE: &str = "idempotency_records";
const SCHEMA: &str = include_str!("../../../sql/postgres.sql");
/// The longest name of a schema that the server does not cut off.
const MAX_SCHEMA: usize = 63;
/// The longest name of a table, so that the names of its functions are not cut off either.
const MAX_TABLE: usize = 48;

/// A name that no table of records can have.
///
/// It is one name, or two with a dot between for a table in a named schema. Each is made of ASCII
/// letters, digits and underscores, does not begin with a digit, and has at most 48 characters
/// (63 for the schema). It is taken as it is written: capitals are not folded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidTableName(
    /// The name that was given.
    pub String,
);

impl fmt::Display for InvalidTableName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:?} is no name for a table of records: use ASCII letters, digits and underscores, at \
             most {MAX_TABLE}, after a schema and a dot if need be",
            self.0
        )
    }
}

impl Error for InvalidTableName {}

/// A checked name. Holds nothing that could end a quoted identifier or literal.
#[derive(Clone, Debug)]
pub(super) struct Table {
    schema: Option<String>,
    name: String,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            schema: None,
            name: DEFAULT_TABLE.to_owned(),
        }
    }
}

impl Table {
    pub(super) fn parse(given: &str) -> Result<Self, InvalidTableName> {
        let (schema, name) = match given.split_once('.') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, given),
        };
        if !is_name(name, MAX_TABLE) || schema.is_some_and(|schema| !is_name(schema, MAX_SCHEMA)) {
            return Err(InvalidTableName(given.to_owned()));
        }
        Ok(Self {
            schema: schema.map(str::to_owned),
            name: name.to_owned(),
        })
    }

    /// The quoted name of the table (with an empty suffix) or of one of its functions.
    pub(super) fn quoted(&self, suffix: &str) -> String {
        let Self { schema, name } = self;
        match schema {
            Some(schema) => format!(r#""{schema}"."{name}{suffix}""#),
            None => format!(r#""{name}{suffix}""#),
        }
    }

    /// The channel that ends of awaited claims are told on.
    pub(super) fn channel(&self) -> &str {
        &self.name
    }

    /// The statements that create the schema.
    pub(super) fn schema(&self) -> String {
        let quoted = format!("\"{DEFAULT_TABLE}");
        let mut start = self.quoted("");
        start.pop(); // The quote that a suffix may come before.
        SCHEMA
            .replace(&quoted, &start)
            .replace(
                &format!("{DEFAULT_TABLE}_sweep"),
                &format!("\"{}_sweep\"", self.name),
            )
            .replace(&format!("'{DEFAULT_TABLE}'"), &format!("'{}'", self.name))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(formatter, "{schema}.")?;
        }
        formatter.write_str(&self.name)
    }
}

fn is_name(name: &str, longest: usize) -> bool {
    let is_start = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.len() <= longest
        && name.bytes().next().is_some_and(is_start)
        && name
            .bytes()
            .all(|byte| is_start(byte) || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_end_an_identifier_are_refused() {
        let long = "t".repeat(MAX_TABLE + 1);
        for name in [
            "", ".", "a.", ".a", "a.b.c", "1a", "a b", "a\"b", "a'b", "a;b", "a-b", "ä", "a\0",
            &long,
        ] {
            assert!(Table::parse(name).is_err(), "{name:?}");
        }
        for name in ["a", "_a1", "Select", "app.records", &long[1..]] {
            assert_eq!(Table::parse(name).unwrap().to_string(), name);
        }
    }

    #[test]
    fn no_name_is_cut_off_by_the_server() {
        let longest = "t".repeat(MAX_TABLE);
        let schema = Table::parse(&longest).unwrap().schema();
        let names = schema.split('"').filter(|name| name.starts_with(&longest));
        let longest = names.map(str::len).max();
        assert!(
            longest.is_some_and(|length| length <= MAX_SCHEMA),
            "{longest:?}"
        );
    }

    #[test]
    fn the_schema_names_the_table_wherever_it_is_used() {
        let schema = Table::parse("app.Other").unwrap().schema();
        let mut code = schema.lines().filter(|line| !line.starts_with("--"));
        assert!(code.all(|line| !line.contains("idempotency_records")));
        assert!(schema.contains(r#"CREATE TABLE IF NOT EXISTS "app"."Other" ("#));
        assert!(schema.contains(r#"INDEX IF NOT EXISTS "Other_sweep" ON "app"."Other" ("#));
        assert!(schema.contains(r#"FUNCTION "app"."Other_claim"("#));
        assert!(schema.contains("pg_notify('Other'"));
    }
}
