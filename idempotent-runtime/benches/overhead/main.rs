//! What protection costs: a bare handler beside the same handler protected, in both frameworks.
//!
//! `cargo bench -p idempotent-runtime --features axum,actix` first lets criterion measure each
//! path by itself, then measures them interleaved and prints ratios, which is what to compare:
//! times on a shared machine drift, ratios taken side by side do not.

mod apps;
mod moka_store;
mod ratios;

use std::time::{Duration, Instant};

use apps::{App, Path};
use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for app in App::all() {
        let mut group = criterion.benchmark_group(app.name());
        for path in Path::ALL {
            group.bench_function(path.name(), |bencher| {
                bencher.iter_custom(|requests| {
                    let started = Instant::now();
                    app.send(path, requests);
                    started.elapsed()
                });
            });
        }
        group.finish();
    }
    criterion.final_summary();
    // A filter asks for single measurements.
    if std::env::args()
        .skip(1)
        .all(|argument| argument.starts_with('-'))
    {
        ratios::print();
    }
}
