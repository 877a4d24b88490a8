//! A consumer of a Redis stream whose messages may come twice, and whose effect happens once.
//!
//! A stream's consumer group delivers **at least once**: what was not acknowledged stays pending,
//! and another consumer claims it when it has been pending for long. So the effect and its record
//! are committed together (`books.rs`), and a message is acknowledged only after that.
//!
//! | | |
//! |---|---|
//! | `redis-consumer` | consumes |
//! | `redis-consumer --publish ID AMOUNT` | sends a message |
//! | `redis-consumer --entries` | lists what was entered |
//!
//! | variable | what it sets | default |
//! |---|---|---|
//! | `REDIS_URL` | the broker | `redis://127.0.0.1:6379` |
//! | `STREAM` | the stream; what cannot be entered goes to `<stream>.rejected` | `payments` |
//! | `CONSUMER` | this consumer's name in the group | its process id |
//! | `IDLE_SECONDS` | after how long without an acknowledgement a message is claimed | `30` |
//! | `BOOKS` | the SQLite file | `payments.db` |
//! | `LEASE_SECONDS` | how long a killed consumer's claim is believed; for experiments | `30` |
//! | `PAUSE` | `before-commit`, `before-ack`: stands still there, to be killed; `panic`: its effect does | |

mod books;

use std::{env, error::Error, process::ExitCode, time::Duration};

use books::{Books, Paid, enter};
use redis::{
    AsyncCommands, AsyncConnectionConfig, RedisResult,
    aio::MultiplexedConnection,
    streams::{
        StreamAutoClaimOptions, StreamAutoClaimReply, StreamId, StreamReadOptions, StreamReadReply,
    },
};
use tokio::task::JoinSet;

const GROUP: &str = "books";
/// How many messages are handled at a time.
const BATCH: usize = 8;
/// How long to wait for a message before looking after what others have left.
const BLOCK: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("redis-consumer: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => {
            let books = Books::open(&variable("BOOKS", "payments.db")).await?;
            let idle = variable("IDLE_SECONDS", "30").parse()?;
            let stream = Stream {
                connection: connect().await?,
                name: variable("STREAM", "payments"),
                consumer: variable("CONSUMER", &std::process::id().to_string()),
                idle: Duration::from_secs(idle),
            };
            consume(&books, stream).await?;
        }
        ["--publish", id, amount] => {
            let amount = amount
                .parse()
                .map_err(|_| "the amount is no whole number")?;
            let id = id.to_owned();
            let event = serde_json::to_string(&Paid {
                id: id.clone(),
                amount,
            })?;
            let stream = variable("STREAM", "payments");
            let mut connection = connect().await?;
            let _: String = connection.xadd(stream, "*", &[("event", event)]).await?;
            println!("published {id}");
        }
        ["--entries"] => {
            let books = Books::open(&variable("BOOKS", "payments.db")).await?;
            for (number, event, amount) in books.entries().await? {
                println!("{number} {event} {amount}");
            }
        }
        _ => return Err("the arguments are `--publish ID AMOUNT`, `--entries`, or none".into()),
    }
    Ok(())
}

fn variable(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}

async fn connect() -> RedisResult<MultiplexedConnection> {
    let client = redis::Client::open(variable("REDIS_URL", "redis://127.0.0.1:6379"))?;
    // Longer than the server lets a read wait.
    let patience = AsyncConnectionConfig::new().set_response_timeout(Some(BLOCK * 10));
    client
        .get_multiplexed_async_connection_with_config(&patience)
        .await
}

/// The stream, as this consumer of its group sees it.
#[derive(Clone)]
struct Stream {
    connection: MultiplexedConnection,
    name: String,
    consumer: String,
    idle: Duration,
}

/// Handles messages, a few at a time, until it is stopped or the broker is gone.
async fn consume(books: &Books, mut stream: Stream) -> Result<(), Box<dyn Error>> {
    stream.join().await?;
    println!(
        "redis-consumer consumes {}; send it something with `--publish ID AMOUNT`",
        stream.name
    );
    loop {
        let messages = tokio::select! {
            messages = stream.next() => messages?,
            _ = tokio::signal::ctrl_c() => break,
        };
        let mut handled = JoinSet::new();
        for (message, again) in messages {
            let (books, stream) = (books.clone(), stream.clone());
            handled.spawn(async move {
                if let Err(error) = handle(&books, stream, message, again).await {
                    // Not acknowledged, so it is delivered again.
                    eprintln!("the broker was not told: {error}");
                }
            });
        }
        // One that panicked leaves its message pending: whoever claims it is told so, and puts it
        // aside.
        while handled.join_next().await.is_some() {}
    }
    // What is running comes to its end; what was not acknowledged is claimed by somebody else.
    let _ = tokio::time::timeout(Duration::from_secs(10), books.idempotency.drain()).await;
    Ok(())
}

async fn handle(
    books: &Books,
    mut stream: Stream,
    message: StreamId,
    again: bool,
) -> RedisResult<()> {
    let event = message.get::<String>("event");
    let event = event.and_then(|event| serde_json::from_str::<Paid>(&event).ok());
    let Some(event) = event else {
        eprintln!("rejected a message that is no payment");
        return stream.reject(&message).await;
    };
    let id = event.id.clone();
    let again = if again { ", again" } else { "" };
    println!("received {id}{again}");
    match enter(books, event).await {
        Ok(entry) => {
            // Entry and record are committed. Whoever is killed here leaves the message pending,
            // and who claims it finds the record.
            books.pause("before-ack", &id).await;
            stream.acknowledge(&message).await?;
            let before = if entry.replayed {
                ", entered before"
            } else {
                ""
            };
            println!("acknowledged {id}: entry {}{before}", entry.value);
        }
        // It stays pending, and is claimed after a while.
        Err(error) if error.retry_after().is_some() => println!("left {id} pending: {error}"),
        Err(error) => {
            println!("rejected {id}: {error}");
            stream.reject(&message).await?;
        }
    }
    Ok(())
}

impl Stream {
    /// Makes stream and group, unless they are there.
    async fn join(&mut self) -> RedisResult<()> {
        let made = self
            .connection
            .xgroup_create_mkstream(&self.name, GROUP, "0")
            .await;
        match made {
            Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
            made => made,
        }
    }

    /// What consumers of the group have left pending for long, or else what is new; and whether it
    /// was delivered before.
    async fn next(&mut self) -> RedisResult<Vec<(StreamId, bool)>> {
        let left: StreamAutoClaimReply = self
            .connection
            .xautoclaim_options(
                &self.name,
                GROUP,
                &self.consumer,
                u64::try_from(self.idle.as_millis()).unwrap_or(u64::MAX),
                "0-0",
                StreamAutoClaimOptions::default().count(BATCH),
            )
            .await?;
        if !left.claimed.is_empty() {
            return Ok(left
                .claimed
                .into_iter()
                .map(|message| (message, true))
                .collect());
        }
        let options = StreamReadOptions::default()
            .group(GROUP, &self.consumer)
            .count(BATCH)
            .block(usize::try_from(BLOCK.as_millis()).unwrap_or(usize::MAX));
        let new: Option<StreamReadReply> = self
            .connection
            .xread_options(&[&self.name], &[">"], &options)
            .await?;
        let streams = new.map(|reply| reply.keys).unwrap_or_default();
        let messages = streams.into_iter().flat_map(|stream| stream.ids);
        Ok(messages.map(|message| (message, false)).collect())
    }

    async fn acknowledge(&mut self, message: &StreamId) -> RedisResult<()> {
        self.connection
            .xack(&self.name, GROUP, &[&message.id])
            .await
    }

    /// Puts a message aside that will fail for ever, for somebody to look at.
    async fn reject(&mut self, message: &StreamId) -> RedisResult<()> {
        let fields = message.map.keys();
        let held: Vec<(&String, Vec<u8>)> = fields
            .filter_map(|field| Some((field, message.get(field)?)))
            .collect();
        redis::pipe()
            .atomic()
            .xadd(format!("{}.rejected", self.name), "*", &held)
            .ignore()
            .xack(&self.name, GROUP, &[&message.id])
            .ignore()
            .query_async(&mut self.connection)
            .await
    }
}
