//! The table of answers and what they say, which the client in JavaScript reads too.

use idempotent_client::{IdempotencyKey, Operation, ResponseExt as _, Retry};
use serde::Deserialize;

use crate::{
    client_of, policy,
    server::{Server, answer},
};

/// An answer to one attempt, and what it says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    status: u16,
    /// That of the problem document.
    code: Option<String>,
    replayed: bool,
    /// It came from another address than the request went to.
    redirected: bool,
    /// An attempt before this one may have been done.
    uncertain_before: bool,
    expect: Expected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Expected {
    /// The outcome is known.
    Certain,
    /// It is not, and is not asked for again: the key is kept.
    Uncertain,
    /// It is asked for again.
    Retry,
}

#[tokio::test]
async fn each_answer_says_what_the_table_tells() {
    let rows: Vec<Row> = serde_json::from_str(include_str!("../outcomes.json")).unwrap();
    let server = Server::start([]).await;
    let client = client_of(Retry::new(policy().max_attempts(2)));
    for row in rows {
        if row.redirected {
            let location = format!("location: {}", server.url("/elsewhere"));
            server.add([answer(307, &[&location], "")]);
        }
        let replayed = ["idempotency-replayed: true"];
        let headers = &replayed[..usize::from(row.replayed)];
        let body = row
            .code
            .as_ref()
            .map(|code| format!(r#"{{"code":"{code}"}}"#));
        server.add([answer(row.status, headers, &body.unwrap_or_default())]);
        if row.expect == Expected::Retry {
            server.add([answer(201, &[], "")]);
        }
        let operation = if row.uncertain_before {
            Operation::with_key(IdempotencyKey::random())
        } else {
            Operation::new()
        };
        let request = client.post(server.url("/")).with_extension(operation);
        let response = request.send().await.unwrap();
        let attempts = response.idempotency().unwrap();
        let told = match (attempts.count(), attempts.is_certain()) {
            (1, true) => Expected::Certain,
            (1, false) => Expected::Uncertain,
            _ => Expected::Retry,
        };
        assert_eq!(told, row.expect, "{row:?}");
        assert_eq!(attempts.is_key_kept(), !attempts.is_certain(), "{row:?}");
    }
}
