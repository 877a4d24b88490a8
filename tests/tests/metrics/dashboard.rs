//! The dashboard and the alerts ask for metrics that there are, and forget none.

use std::collections::BTreeSet;

use idempotent_runtime::{Outcome, metrics::NAMES};
use serde_json::Value;

const DASHBOARD: &str = include_str!("../../../examples/monitoring/dashboard.json");
const ALERTS: &str = include_str!("../../../examples/monitoring/alerts.yml");
const CHAPTER: &str = include_str!("../../../docs/book/src/operating.md");
const DOCUMENTATION: &str = include_str!("../../../idempotent-runtime/src/metrics.rs");

/// The metrics that a text names, without what a histogram's series have behind its name.
fn named(text: &str) -> BTreeSet<&str> {
    text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
        .filter(|word| word.starts_with("idempotency_"))
        .map(|word| {
            let parts = ["_bucket", "_sum", "_count"];
            parts
                .iter()
                .find_map(|part| word.strip_suffix(part))
                .unwrap_or(word)
        })
        .collect()
}

fn expressions(panel: &Value) -> impl Iterator<Item = &str> {
    let targets = panel["targets"].as_array().into_iter().flatten();
    targets.map(|target| target["expr"].as_str().expect("an expression"))
}

#[test]
fn the_dashboard_shows_each_metric_and_no_other() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let all = NAMES.into_iter().collect();
    let shown: BTreeSet<&str> = panels
        .iter()
        .flat_map(expressions)
        .flat_map(named)
        .collect();
    assert_eq!(shown, all);
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variables: Vec<&str> = variables
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(variables, ["datasource", "job", "instance", "operation"]);
    for expression in panels.iter().flat_map(expressions) {
        assert!(
            expression.contains("$job") && expression.contains("$instance"),
            "{expression}"
        );
    }
    let ids: BTreeSet<_> = panels
        .iter()
        .map(|panel| panel["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids.len(), panels.len(), "each panel has its own id");
}

#[test]
fn the_alerts_ask_for_metrics_and_outcomes_that_there_are() {
    let all: BTreeSet<&str> = NAMES.into_iter().collect();
    let unknown: Vec<_> = named(ALERTS).difference(&all).copied().collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    for outcome in [
        Outcome::Fenced,
        Outcome::CompletionDelayed,
        Outcome::StoreFull,
        Outcome::StoreUnavailable,
        Outcome::UnprotectedStoreDown,
        Outcome::UnprotectedDisabled,
        Outcome::OutcomeUnknown,
    ] {
        let asked = format!("outcome=\"{}\"", outcome.name());
        assert!(ALERTS.contains(&asked), "no alert for {asked}");
    }
    let asked = ALERTS
        .split("outcome=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    let names = Outcome::ALL.map(Outcome::name);
    for outcome in asked {
        assert!(names.contains(&outcome), "there is no outcome {outcome}");
    }
}

#[test]
fn each_metric_is_documented() {
    for (place, text) in [("the book", CHAPTER), ("the documentation", DOCUMENTATION)] {
        let told = named(text);
        for name in NAMES {
            assert!(told.contains(name), "{name} is missing in {place}");
        }
    }
}
