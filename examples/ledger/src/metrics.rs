//! Metrics for Prometheus.

use std::time::Duration;

use idempotent_runtime::metrics::{DURATION_BUCKETS, SIZE_BUCKETS};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// What `Content-Type` the text of [`Metrics::render`] has.
pub const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How often what nobody scrapes is folded together.
const UPKEEP: Duration = Duration::from_secs(5);

/// The metrics of this process.
#[derive(Clone, Debug)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Keeps metrics from here on. Comes before the `build` of an `Idempotency`, which describes them
    /// to whoever keeps them. Call it in a tokio runtime.
    ///
    /// # Errors
    ///
    /// They are kept already.
    pub fn install() -> Result<Self, BuildError> {
        let durations = Matcher::Suffix("_duration_seconds".to_owned());
        let sizes = Matcher::Suffix("_size_bytes".to_owned());
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(durations, &DURATION_BUCKETS)?
            .set_buckets_for_metric(sizes, &SIZE_BUCKETS)?
            .install_recorder()?;
        let kept = handle.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(UPKEEP).await;
                kept.run_upkeep();
            }
        });
        Ok(Self(handle))
    }

    /// All metrics, as Prometheus reads them.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }
}
