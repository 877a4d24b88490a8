//! One mode from its start to its verdict.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use fastrand::Rng;
use hyper::Request;
use serde_json::Value;
use tokio::{
    sync::{Mutex, watch},
    task::JoinSet,
    time::sleep,
};

use crate::{
    Failure,
    client::{Client, Phase, World},
    faults::{self, Pace},
    fleet::{Fleet, Keeper, Setup},
    http::exchange,
    mode::Mode,
    operation::Operation,
    options::{Keys, Options, Until},
    programs::Programs,
    report::Report,
    store::StoreServer,
    tally::{Count, Tally},
    verdict::{Ledger, Verdict},
};

/// The lease of all modes in which servers are lost, and what is short or long is so beside it.
pub(crate) const SHORT_LEASE: Duration = Duration::from_secs(1);

/// How long it may take until all servers serve.
const START: Duration = Duration::from_mins(1);

/// The longest that a handler is asked to take.
const LONGEST_DELAY: Duration = Duration::from_secs(3);

/// Of so many operations each is asked about once more when all is over; of more, so many are.
const AUDITED: usize = 20_000;

/// Who audits at the same time.
const AUDITORS: usize = 32;

/// Tortures the applications in one mode.
pub(crate) async fn run(
    mode: Mode,
    options: &Options,
    programs: &Arc<Programs>,
) -> Result<Report, Failure> {
    let scratch = tempfile::tempdir()?;
    let mut rng = Rng::with_seed(options.seed);
    let store = StoreServer::start(mode, scratch.path()).await?;
    let setup = setup(mode, &store, scratch.path(), options, programs)?;
    let servers = if mode.outlives_a_server() {
        options.servers
    } else {
        1
    };
    let (fleet, keepers) = Fleet::new(servers, setup).await?;
    let world = Arc::new(World {
        mode,
        keys: options.keys,
        fleet,
        tally: Tally::default(),
        phase: watch::Sender::new(Phase::Storm),
        started: Instant::now(),
        operations: AtomicU64::new(0),
    });
    let _kept = keep(&world, keepers);
    let store = Arc::new(Mutex::new(store));
    if !world.fleet.all_serve(START).await {
        return Err("the servers do not start".into());
    }

    let mut clients = JoinSet::new();
    for index in 0..options.clients {
        let client = Client::new(&world, index, rng.fork());
        clients.spawn(client.pay());
    }
    let mut makers = faults::start(&world, &store, pace(options.until), &mut rng);
    let begun = Instant::now();
    tokio::select! {
        () = enough(&world, options.until) => {}
        // None of them ends before it is calm, but by an error.
        Some(ended) = makers.join_next() => ended??,
    }
    world.phase.send_replace(Phase::Calm);
    let faults_for = begun.elapsed();
    while let Some(ended) = makers.join_next().await {
        ended??;
    }
    if !world.fleet.all_serve(START).await {
        return Err("the servers do not come back".into());
    }
    let mut operations: Vec<Operation> = clients.join_all().await.into_iter().flatten().collect();

    // Handlers that nobody waits for may still be running, and outcomes wait to be recorded.
    let finished = if mode.outlives_a_server() {
        world.fleet.replace_all().await && world.fleet.all_serve(START).await
    } else {
        sleep(LONGEST_DELAY).await;
        true
    };
    if !finished {
        return Err("a server does not finish what it does when it is asked to end".into());
    }
    rng.shuffle(&mut operations);
    // With a key of its own it would not ask, but pay.
    if options.keys == Keys::PerOperation {
        operations = audit(&world, operations, &mut rng).await;
    }
    let ledger = read(&world, options.clients).await?;
    Ok(Report {
        mode,
        seed: options.seed,
        servers,
        clients: options.clients,
        faults_for,
        verdict: Verdict::new(mode.promise(), operations, ledger, &world.tally),
        world,
    })
}

fn setup(
    mode: Mode,
    store: &StoreServer,
    scratch: &Path,
    options: &Options,
    programs: &Arc<Programs>,
) -> Result<Setup, Failure> {
    let mut environment = vec![(
        "LEASE",
        humantime::format_duration(mode.lease()).to_string(),
    )];
    if let Some(on_lost) = mode.on_lost() {
        environment.push(("ON_LOST", on_lost.to_owned()));
    }
    if mode.has_ledger_elsewhere() {
        let ledger = scratch.join("ledger.db");
        environment.push(("LEDGER", ledger.display().to_string()));
    }
    let logs = options.logs.as_ref().map(|folder| folder.join(mode.name()));
    if let Some(folder) = &logs {
        fs::create_dir_all(folder)?;
    }
    Ok(Setup {
        programs: Arc::clone(programs),
        environment,
        store: match store {
            StoreServer::None if mode == Mode::Memory => "memory".to_owned(),
            StoreServer::None => format!("sqlite:{}", scratch.join("payments.db").display()),
            StoreServer::Postgres(_) => "postgres://postgres@{}/postgres".to_owned(),
            StoreServer::Redis(_) => "redis://{}/".to_owned(),
        },
        store_address: store.address(),
        logs,
    })
}

fn pace(until: Until) -> Pace {
    let is_long = matches!(until, Until::Kills(_));
    let millis = |short, long| Duration::from_millis(if is_long { long } else { short });
    Pace {
        kill: millis(150, 50),
        stall: millis(1_500, 1_500),
        wire: millis(120, 200),
        store_wire: millis(250, 500),
        restart: millis(2_500, 8_000),
        fill: millis(1_500, 1_500),
    }
}

/// The servers are kept for as long as this is.
fn keep(world: &Arc<World>, keepers: Vec<Keeper>) -> JoinSet<()> {
    let mut kept = JoinSet::new();
    for keeper in keepers {
        kept.spawn(keeper.keep(Arc::downgrade(world)));
    }
    kept
}

async fn enough(world: &World, until: Until) {
    match until {
        Until::Elapsed(time) => sleep(time).await,
        Until::Kills(kills) => {
            let mut said = Instant::now();
            while world.tally.of(Count::Kills) < kills {
                sleep(Duration::from_millis(50)).await;
                if said.elapsed() >= Duration::from_secs(30) {
                    said = Instant::now();
                    let killed = world.tally.of(Count::Kills);
                    let elapsed = world.started.elapsed().as_secs();
                    eprintln!("{}: {killed} kills in {elapsed} s", world.mode.name());
                }
            }
        }
    }
}

/// Asks about operations once more: what was certain is told again.
async fn audit(
    world: &Arc<World>,
    mut operations: Vec<Operation>,
    rng: &mut Rng,
) -> Vec<Operation> {
    let mut rest = operations.split_off(operations.len().min(AUDITED));
    let mut auditors = JoinSet::new();
    let share = operations.len().div_ceil(AUDITORS).max(1);
    while !operations.is_empty() {
        let mut mine = operations.split_off(operations.len().saturating_sub(share));
        let (world, rng) = (Arc::clone(world), rng.fork());
        auditors.spawn(async move {
            let mut auditor = Client::new(&world, 0, rng);
            for operation in &mut mine {
                auditor.settle(operation).await;
            }
            mine
        });
    }
    rest.extend(auditors.join_all().await.into_iter().flatten());
    rest
}

/// All payments of all clients, as a server lists them.
async fn read(world: &World, clients: usize) -> Result<Ledger, Failure> {
    let mut ledger: Ledger = HashMap::new();
    let mut connection = None;
    for client in 0..clients {
        let user = Client::name(client);
        let request = Request::get("/payments")
            .header("host", "localhost")
            .header("authorization", format!("Bearer {user}"))
            .body(http_body_util::Full::default())?;
        let address = world.fleet.address(0);
        let (kept, answer) = exchange(connection, address, request, START).await;
        connection = kept;
        let answer = answer.map_err(|reason| format!("the ledger cannot be read: {reason}"))?;
        let list: Vec<Value> = serde_json::from_slice(&answer.body)?;
        for payment in list {
            let number = payment["amount"]
                .as_u64()
                .ok_or("a payment has no amount")?;
            let id = payment["id"].as_str().ok_or("a payment has no id")?;
            ledger
                .entry(number)
                .or_default()
                .push((user.clone(), id.to_owned()));
        }
    }
    Ok(ledger)
}
