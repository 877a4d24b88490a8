//! What the runtime tells a recorder of metrics.

use std::{collections::BTreeMap, sync::OnceLock};

use idempotent_runtime::metrics::{DURATION_BUCKETS, SIZE_BUCKETS};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

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
pub fn all() -> String {
    keep().render()
}

/// The value of each series, by its name and labels as they are written.
#[derive(Clone, Debug)]
pub struct Series(BTreeMap<String, f64>);

impl Series {
    /// All there are now.
    pub fn now() -> Self {
        let text = all();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.filter_map(|line| line.rsplit_once(' '));
        Self(
            series
                .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
                .collect(),
        )
    }

    /// What has been added since, of what starts with this; nothing is left out but what is as it
    /// was.
    pub fn since(&self, before: &Self, start: &str) -> BTreeMap<String, f64> {
        let started = self.0.iter().filter(|(name, _)| name.starts_with(start));
        started
            .map(|(name, value)| (name.clone(), value - before.value(name)))
            .filter(|(_, added)| *added != 0.0)
            .collect()
    }

    /// The value of one; 0 if it is not there.
    pub fn value(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or_default()
    }
}
