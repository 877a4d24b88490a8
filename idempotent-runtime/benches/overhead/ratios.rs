//! Ratios to the bare handler that gets the same request, with a key or without: medians of the
//! ratios within each round. A round is over before the machine's pace changes much.
//!
//! The floor's map is empty whatever the store holds, so nothing is divided by it but what has an
//! empty store.

use std::time::Instant;

use idempotent_runtime::{
    Claim, Fingerprint, Key, MemoryStore, OwnerToken, RecordId, Scope, Store, StoredResponse,
};

use crate::{
    apps::{App, Path},
    moka_store::MokaStore,
};

const ROUNDS: usize = 300;
const REQUESTS: u64 = 200;

pub(crate) fn print() {
    println!(
        "\nRatios to the bare handler: medians of {ROUNDS} interleaved rounds of {REQUESTS} requests\n"
    );
    println!("| store | live keys | app | path | time | ÷ bare | floor ÷ bare | ÷ floor |");
    println!("|---|---|---|---|---|---|---|---|");
    for live in [0, 10_000, 1_000_000] {
        let store = memory(live);
        print_rows(
            "memory",
            live,
            &[App::axum(store.clone()), App::actix(store)],
        );
    }
    print_rows(
        "claims in a map, records in moka",
        0,
        &[App::axum(MokaStore::default())],
    );
}

fn print_rows(store: &str, live: u64, apps: &[App]) {
    for app in apps {
        let rounds = measure(app);
        let ratio = |path: Path, other: Path| {
            median(
                rounds
                    .iter()
                    .map(|times| time(times, path) / time(times, other)),
            )
        };
        for (path, bare, floor) in [
            (Path::NoKey, Path::Bare, Path::FloorNoKey),
            (Path::First, Path::BareKeyed, Path::FloorFirst),
            (Path::Replay, Path::BareKeyed, Path::FloorReplay),
        ] {
            let above_floor = if live == 0 {
                format!("{:.2}", ratio(path, floor))
            } else {
                String::new()
            };
            println!(
                "| {store} | {live} | {} | {} | {:.2} µs | {:.2} | {:.2} | {above_floor} |",
                app.name(),
                path.name(),
                median(rounds.iter().map(|times| time(times, path))) * 1e6,
                ratio(path, bare),
                ratio(floor, bare),
            );
        }
    }
}

/// The seconds that one request takes, for each path.
type Times = [f64; Path::ALL.len()];

fn time(times: &Times, path: Path) -> f64 {
    let index = Path::ALL.iter().position(|other| *other == path);
    times[index.expect("every path is measured")]
}

fn measure(app: &App) -> Vec<Times> {
    for path in Path::ALL {
        app.send(path, 10 * REQUESTS);
    }
    let round = |_| {
        Path::ALL.map(|path| {
            let started = Instant::now();
            app.send(path, REQUESTS);
            let requests = u32::try_from(REQUESTS).expect("a small number");
            started.elapsed().as_secs_f64() / f64::from(requests)
        })
    };
    (0..ROUNDS).map(round).collect()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A store with so many records of a 200-byte response that outlive the measurement.
fn memory(live: u64) -> MemoryStore {
    let store = MemoryStore::builder()
        .max_entries(10_000_000)
        .max_bytes(16 << 30)
        .build();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let headers: [(&str, &[u8]); 2] = [
        ("content-type", b"application/json"),
        (
            "location",
            b"/payments/00000000-0000-4000-8000-000000000000",
        ),
    ];
    runtime.block_on(async {
        for number in 0..live {
            let key = Key::from_value(&format!("live-{number:031}")).expect("a key");
            let id = RecordId::new("", &["POST /payments"], &Scope::global(), &key);
            let claim = Claim::new(id, OwnerToken::new(number.into()), Fingerprint::NONE);
            let response = StoredResponse::new(201, &headers, &[b'x'; 200]);
            store.claim(&claim).await.expect("a claim");
            store.complete(&claim, &response).await.expect("a record");
        }
    });
    store
}
