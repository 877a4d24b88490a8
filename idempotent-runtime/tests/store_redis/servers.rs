//! Redis servers of a test's own: started on a free port, gone with the value.

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use idempotent_runtime::RedisStore;

const PATIENCE: Duration = Duration::from_secs(20);

/// `REDIS_SERVER`, or what is in the path.
fn program() -> String {
    std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

pub(crate) struct Server {
    child: Child,
    port: u16,
    folder: PathBuf,
    arguments: Vec<String>,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_on(free_port(), arguments)
    }

    fn start_on(port: u16, arguments: &[&str]) -> Self {
        let folder = folder();
        let mut all: Vec<String> = ["--port", &port.to_string(), "--save", "", "--dir"]
            .map(str::to_owned)
            .into();
        all.push(folder.display().to_string());
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let child = spawn(&program(), &all);
        let server = Self {
            child,
            port,
            folder,
            arguments: all,
        };
        server.until_it_answers();
        server
    }

    /// A server that follows this one.
    pub(crate) fn replica(&self) -> Self {
        let master = format!("127.0.0.1 {}", self.port);
        Self::start(&["--replicaof", &master, "--repl-diskless-sync-delay", "0"])
    }

    /// A sentinel that knows this server as the master `payments`.
    pub(crate) fn sentinel(master: &Self) -> Self {
        let (port, folder) = (free_port(), folder());
        let config = folder.join("sentinel.conf");
        let lines = format!(
            "port {port}\nsentinel monitor payments 127.0.0.1 {} 1\n",
            master.port
        );
        fs::write(&config, lines).unwrap();
        let arguments = vec![config.display().to_string(), "--sentinel".to_owned()];
        let child = spawn(&program(), &arguments);
        let sentinel = Self {
            child,
            port,
            folder,
            arguments,
        };
        sentinel.until_it_answers();
        sentinel
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) async fn store(&self) -> RedisStore {
        RedisStore::connect(&self.url()).await.unwrap()
    }

    pub(crate) async fn store_within(&self, limit: Duration) -> RedisStore {
        let builder = RedisStore::builder().timeout(limit);
        builder.connect(self.url()).await.unwrap()
    }

    /// A connection for what an operator does.
    pub(crate) fn connection(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_connection().unwrap()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.child = spawn(&program(), &self.arguments);
        self.until_it_answers();
    }

    pub(crate) async fn until_it_follows(&self) {
        let start = Instant::now();
        loop {
            let info: String = redis::cmd("INFO")
                .arg("replication")
                .query(&mut self.connection())
                .unwrap();
            if info.contains("master_link_status:up") {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "the replica follows");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn until_it_answers(&self) {
        let start = Instant::now();
        let client = redis::Client::open(self.url()).unwrap();
        // One that wants a password has answered.
        let answers = || {
            let asked = client
                .get_connection()
                .and_then(|mut connection| redis::cmd("PING").exec(&mut connection));
            asked.map_or_else(|error| error.code() == Some("NOAUTH"), |()| true)
        };
        while !answers() {
            assert!(start.elapsed() < PATIENCE, "the server answers");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A cluster of so many masters.
pub(crate) async fn cluster(nodes: u16) -> Vec<Server> {
    let nodes: Vec<Server> = (0..nodes)
        .map(|_| {
            // The port for the nodes among themselves is this one and 10,000.
            let port = loop {
                let port = free_port();
                if port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
                    break port;
                }
            };
            let partial = "--cluster-require-full-coverage";
            Server::start_on(port, &["--cluster-enabled", "yes", partial, "no"])
        })
        .collect();
    let count = nodes.len();
    for (index, node) in nodes.iter().enumerate() {
        let mut connection = node.connection();
        redis::cmd("CLUSTER")
            .arg("ADDSLOTSRANGE")
            .arg(16384 * index / count)
            .arg(16384 * (index + 1) / count - 1)
            .exec(&mut connection)
            .unwrap();
        redis::cmd("CLUSTER")
            .arg(&["SET-CONFIG-EPOCH", &(index + 1).to_string()])
            .exec(&mut connection)
            .unwrap();
        redis::cmd("CLUSTER")
            .arg(&["MEET", "127.0.0.1", &nodes[0].port.to_string()])
            .exec(&mut connection)
            .unwrap();
    }
    let start = Instant::now();
    for node in &nodes {
        loop {
            let info: String = redis::cmd("CLUSTER")
                .arg("INFO")
                .query(&mut node.connection())
                .unwrap();
            if info.contains("cluster_state:ok")
                && info.contains(&format!("cluster_known_nodes:{count}"))
                && info.contains("cluster_slots_ok:16384")
            {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "the cluster forms");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    nodes
}

fn spawn(program: &str, arguments: &[String]) -> Child {
    Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is in the path")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("redis-{:x}", uuid::Uuid::new_v4().as_u128()));
    fs::create_dir(&folder).unwrap();
    folder
}
