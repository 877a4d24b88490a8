//! What the attribute says in documents of utoipa, and that the handlers stay protected.

#![allow(clippy::unwrap_used)]

mod above;
mod actix;
mod axum;

use std::{env, fs, path::Path};

use idempotent_runtime::{Idempotency, MemoryStore, scopes};
use serde_json::Value;

/// What the handlers are about.
#[derive(serde::Deserialize, serde::Serialize, utoipa::ToSchema)]
struct Payment {
    amount: u64,
}

fn idempotency() -> Idempotency {
    Idempotency::builder(MemoryStore::default())
        .scope("user", scopes::header("x-user"))
        .build()
}

fn json(document: &utoipa::openapi::OpenApi) -> Value {
    serde_json::to_value(document).unwrap()
}

/// The operation, without its tags, which not everybody makes of its module.
#[track_caller]
fn operation(document: &Value, path: &str) -> Value {
    let mut operation = document["paths"][path]["post"].clone();
    operation.as_object_mut().unwrap().remove("tags");
    operation
}

/// Compares an operation with the file that it is reviewed in.
///
/// `UPDATE_OPERATIONS=1 cargo test --test openapi` writes the files anew.
#[track_caller]
fn assert_operation(name: &str, document: &Value, path: &str) {
    let now = format!("{:#}\n", operation(document, path));
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/openapi/operations")
        .join(format!("{name}.json"));
    if env::var_os("UPDATE_OPERATIONS").is_some() {
        fs::write(&file, now).unwrap();
        return;
    }
    let then = fs::read_to_string(&file).unwrap_or_default();
    assert!(then == now, "{}, which is now:\n{now}", file.display());
}

/// Whatever a document refers to is in it.
#[track_caller]
fn assert_complete(document: &Value) {
    let mut references = Vec::new();
    collect(document, &mut references);
    assert!(
        references
            .iter()
            .any(|name| name.ends_with("/IdempotencyProblem"))
    );
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(
            document.pointer(pointer).is_some(),
            "{reference}: {document:#}"
        );
    }
}

fn collect<'a>(value: &'a Value, references: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            references.extend(members.get("$ref").and_then(Value::as_str));
            members
                .values()
                .for_each(|member| collect(member, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}
