//! The one endpoint that every system protects: JSON in, 201 and 200 bytes of JSON out.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// Where payments are made, and what is measured.
pub(crate) const PAYMENTS: &str = "/payments";
/// The same, and takes as long as a call to a bank does.
pub(crate) const SLOW: &str = "/slow";
/// The same again, where duplicates wait for the first's outcome. Only this framework has it.
pub(crate) const SLOW_WAIT: &str = "/slow-wait";
/// How often the handlers of the slow ones ran.
pub(crate) const RUNS: &str = "/runs";
/// Begins a session, where a system needs one.
pub(crate) const LOGIN: &str = "/login";

/// What every request carries.
pub(crate) const BODY: &str = r#"{"user":"alice","amount":100,"currency":"USD"}"#;

pub(crate) const BANK: Duration = Duration::from_millis(20);

#[derive(Deserialize)]
pub(crate) struct NewPayment {
    user: String,
    amount: i64,
    currency: String,
}

#[derive(Serialize)]
pub(crate) struct Payment {
    id: &'static str,
    user: String,
    amount: i64,
    currency: String,
    status: &'static str,
    memo: &'static str,
}

pub(crate) fn pay(payment: NewPayment) -> Payment {
    Payment {
        id: "56bfc899-a694-4ce9-81cb-c637a69dac2b",
        user: payment.user,
        amount: payment.amount,
        currency: payment.currency,
        status: "completed",
        memo: "Invoice no. 4711 of November, sent by e-mail and paid by card; thank you, Jane.",
    }
}

static SLOW_RUNS: AtomicU64 = AtomicU64::new(0);

pub(crate) async fn pay_slowly(payment: NewPayment) -> Payment {
    SLOW_RUNS.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(BANK).await;
    pay(payment)
}

pub(crate) fn slow_runs() -> String {
    SLOW_RUNS.load(Ordering::Relaxed).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_response_has_200_bytes() {
        let paid = pay(serde_json::from_str(BODY).expect("a payment"));
        assert_eq!(serde_json::to_string(&paid).expect("JSON").len(), 200);
    }
}
