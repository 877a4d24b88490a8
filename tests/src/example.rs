//! The example applications as processes.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use crate::hush;

/// The program, built as the tests are.
pub fn built(application: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let built = Command::new(env!("CARGO"))
            .args(["build", "-q", "--locked"])
            .args((!cfg!(debug_assertions)).then_some("--release"))
            .args(["-p", "axum-payments", "-p", "actix-payments"])
            .args(["-p", "rabbitmq-consumer", "-p", "redis-consumer"])
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
            .status()
            .unwrap();
        assert!(built.success(), "the examples are built");
        // This test is `<profile>/deps/<name>`.
        let test = std::env::current_exe().unwrap();
        test.ancestors().nth(2).unwrap().to_owned()
    });
    folder.join(application)
}

/// Starts an application on a free port, and waits until it listens there.
pub fn start(mut command: Command) -> (Child, SocketAddr) {
    command
        .env("LISTEN", "127.0.0.1:0")
        .env("RUST_LOG", "idempotent_runtime=trace")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    std::thread::spawn(move || {
        for line in log.split(b'\n').map_while(Result::ok) {
            hush::check_log(&line);
        }
    });
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines
        .find_map(|line| {
            let line = line.unwrap();
            let (_, rest) = line.split_once(" listens on http://")?;
            rest.split(' ').next()?.parse().ok()
        })
        .expect("it says where it listens");
    // Nobody reads on, and it does not mind.
    std::thread::spawn(move || lines.for_each(drop));
    (child, address)
}
