//! The slowest first executions, while the store grows and while it sweeps.
//!
//! What else the machine does is in these figures too: the bare handler's show how much.

use std::time::{Duration, Instant};

use idempotent_runtime::{ManualClock, MemoryStore};

use crate::apps::{App, Path};

const REQUESTS: usize = 1_000_000;
/// Longer than any record of the measured handlers lives.
const LATER: Duration = Duration::from_hours(48);

pub(crate) fn print() {
    println!("\nThe slowest of {REQUESTS} requests\n");
    println!("| app | what | median | p99 | p99.99 | longest |");
    println!("|---|---|---|---|---|---|");
    let makes: [fn(MemoryStore) -> App; 2] = [|store| App::axum(store), |store| App::actix(store)];
    for make in makes {
        let clock = ManualClock::default();
        let store = MemoryStore::builder()
            .max_entries(4 * REQUESTS)
            .max_bytes(16 << 30)
            .clock(clock.clone())
            .build();
        let app = make(store.clone());
        print_row(&app, Path::BareKeyed, "bare, with a key");
        print_row(&app, Path::First, "first, the store grows");
        clock.advance(LATER);
        print_row(&app, Path::First, "first, the store sweeps");
        assert!(store.entries() < 2 * REQUESTS, "it has swept");
    }
}

fn print_row(app: &App, path: Path, what: &str) {
    let mut times: Vec<Duration> = (0..REQUESTS)
        .map(|_| {
            let started = Instant::now();
            app.send(path, 1);
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    let micros = |index: usize| times[index].as_secs_f64() * 1e6;
    println!(
        "| {} | {what} | {:.1} µs | {:.1} µs | {:.1} µs | {:.1} µs |",
        app.name(),
        micros(REQUESTS / 2),
        micros(REQUESTS / 100 * 99),
        micros(REQUESTS / 10_000 * 9_999),
        micros(REQUESTS - 1),
    );
}
