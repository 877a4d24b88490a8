//! What protection costs: a bare handler beside the same handler protected, in both frameworks.
//!
//! `cargo bench -p idempotent-runtime --features axum,actix` first lets criterion measure each
//! path by itself, then measures them interleaved and prints ratios, which is what to compare:
//! times on a shared machine drift, ratios taken side by side do not. Beside each path stands its
//! floor: a handler written by hand that does what the protocol makes unavoidable and nothing
//! else. Last come the slowest first executions of a store that grows to a million keys, and of
//! one that sweeps as many.
//!
//! The floors were, in both frameworks, 2.1 to 2.3 × bare for a first execution and 1.5 to 1.7 ×
//! for a replay: the goals of 1.7 and 0.9 × cannot be met as long as a replay runs the extractors
//! and both hash what was asked for and whose key it is. The floor of no key is within what two
//! runs differ by. In instructions, which do not drift, the floors were 1.47, 1.29 and 1.06 × in
//! axum and 1.51, 1.29 and 1.00 × in actix-web, of requests that are put together, sent and read
//! within the measurement.

mod apps;
mod floor;
mod moka_store;
mod ratios;
mod tail;

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
        tail::print();
    }
}
