//! What the runtime tells a recorder of metrics.

use std::{collections::BTreeMap, sync::OnceLock};

use idempotent_runtime::metrics::{DURATION_BUCKETS, SIZE_BUCKETS};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::hush;

/// Keeps from here on all metrics that are told in this process.
///
/// # Panics
///
/// Another recorder was installed.
pub fn keep() -> &'static PrometheusHandle {
    static KEPT: OnceLock<PrometheusHandle> = OnceLock::new();
    KEPT.get_or_init(|| {
        let durations = Matcher::Suffix("_duration_seconds".to_owned());
        let sizes = Matcher::Suffix("_size_bytes".to_owned());
        PrometheusBuilder::new()
            .set_buckets_for_metric(durations, &DURATION_BUCKETS)
            .unwrap()
            .set_buckets_for_metric(sizes, &SIZE_BUCKETS)
            .unwrap()
            .install_recorder()
            .unwrap()
    })
}

/// All metrics of this process, as Prometheus reads them.
///
/// # Panics
///
/// One tells a secret.
pub fn all() -> String {
    let all = keep().render();
    hush::check("a metric", &all);
    all
}

/// The value of each series that is a whole number, which all are but the sums of times, by its name
/// and labels as they are written.
#[derive(Clone, Debug)]
pub struct Series(BTreeMap<String, u64>);

impl Series {
    /// All there are now.
    pub fn now() -> Self {
        let text = all();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.filter_map(|line| line.rsplit_once(' '));
        Self(
            series
                .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
                .collect(),
        )
    }

    /// What counters whose name starts with this have counted since; those that did are all there.
    pub fn since(&self, before: &Self, start: &str) -> BTreeMap<String, u64> {
        let started = self.0.iter().filter(|(name, _)| name.starts_with(start));
        started
            .map(|(name, value)| (name.clone(), value - before.value(name)))
            .filter(|(_, added)| *added != 0)
            .collect()
    }

    /// The value of one; 0 if it is not there.
    pub fn value(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }
}
