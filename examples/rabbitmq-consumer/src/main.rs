//! A consumer of RabbitMQ whose messages may come twice, and whose effect happens once.
//!
//! RabbitMQ delivers **at least once**: what was not acknowledged when a consumer is gone is
//! delivered again. So the effect and its record are committed together (`books.rs`), and a message
//! is acknowledged only after that.
//!
//! | | |
//! |---|---|
//! | `rabbitmq-consumer` | consumes |
//! | `rabbitmq-consumer --publish ID AMOUNT` | sends a message |
//! | `rabbitmq-consumer --entries` | lists what was entered |
//!
//! | variable | what it sets | default |
//! |---|---|---|
//! | `AMQP_URL` | the broker | `amqp://127.0.0.1:5672/%2f` |
//! | `QUEUE` | the queue; what cannot be entered goes to `<queue>.rejected` | `payments` |
//! | `BOOKS` | the SQLite file | `payments.db` |
//! | `LEASE_SECONDS` | how long a killed consumer's claim is believed; for experiments | `30` |
//! | `PAUSE` | `before-commit`, `before-ack`: stands still there, to be killed; `panic`: its effect does | |

mod books;

use std::{env, error::Error, process::ExitCode, time::Duration};

use books::{Books, Paid, enter};
use futures_util::StreamExt as _;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions,
        BasicQosOptions, BasicRejectOptions, ConfirmSelectOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};

/// How many messages may be on their way here without being acknowledged.
const PREFETCH: u16 = 8;

/// How long a message stays away whose effect panicked.
const AFTER_A_PANIC: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rabbitmq-consumer: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let queue = variable("QUEUE", "payments");
    match arguments[..] {
        [] => {
            let books = Books::open(&variable("BOOKS", "payments.db")).await?;
            let (connection, channel) = connect(&queue).await?;
            consume(&books, &channel, &queue).await?;
            connection.close(200, "stopped".into()).await?;
        }
        ["--publish", id, amount] => {
            let amount = amount
                .parse()
                .map_err(|_| "the amount is no whole number")?;
            let id = id.to_owned();
            let (connection, channel) = connect(&queue).await?;
            publish(&channel, &queue, &Paid { id, amount }).await?;
            connection.close(200, "published".into()).await?;
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

/// Connects, and declares the queue and the one for what is rejected, both of which outlive the
/// broker.
async fn connect(queue: &str) -> Result<(Connection, Channel), Box<dyn Error>> {
    let url = variable("AMQP_URL", "amqp://127.0.0.1:5672/%2f");
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let rejected = format!("{queue}.rejected");
    let mut arguments = FieldTable::default();
    let text = |text: &str| AMQPValue::LongString(text.into());
    arguments.insert("x-dead-letter-exchange".into(), text(""));
    arguments.insert("x-dead-letter-routing-key".into(), text(&rejected));
    let durable = QueueDeclareOptions::durable();
    channel
        .queue_declare(rejected.as_str().into(), durable, FieldTable::default())
        .await?;
    channel
        .queue_declare(queue.into(), durable, arguments)
        .await?;
    Ok((connection, channel))
}

/// Sends a message, and waits until the broker has it on disk.
async fn publish(channel: &Channel, queue: &str, event: &Paid) -> Result<(), Box<dyn Error>> {
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let confirmation = channel
        .basic_publish(
            "".into(),
            queue.into(),
            BasicPublishOptions::default(),
            &serde_json::to_vec(event)?,
            BasicProperties::default()
                .with_content_type("application/json".into())
                .with_delivery_mode(2),
        )
        .await?
        .await?;
    if !confirmation.is_ack() {
        return Err("the broker did not take the message; send it again".into());
    }
    println!("published {}", event.id);
    Ok(())
}

/// Handles messages, several at a time, until it is stopped or the broker is gone.
async fn consume(books: &Books, channel: &Channel, queue: &str) -> Result<(), Box<dyn Error>> {
    channel
        .basic_qos(PREFETCH, BasicQosOptions::default())
        .await?;
    let mut deliveries = channel
        .basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    println!("rabbitmq-consumer consumes {queue}; send it something with `--publish ID AMOUNT`");
    loop {
        let delivery = tokio::select! {
            delivery = deliveries.next() => delivery.ok_or("the broker is gone")??,
            _ = tokio::signal::ctrl_c() => break,
        };
        let (books, acker) = (books.clone(), delivery.acker.clone());
        tokio::spawn(async move {
            let handled = tokio::spawn(async move { handle(&books, delivery).await });
            let told = if let Ok(told) = handled.await {
                told
            } else {
                // It panicked. The next delivery is told so, and puts the message aside.
                tokio::time::sleep(AFTER_A_PANIC).await;
                acker.nack(requeued()).await.map(drop)
            };
            if let Err(error) = told {
                // Not acknowledged, so it is delivered again.
                eprintln!("the broker was not told: {error}");
            }
        });
    }
    // What is running comes to its end; what was not acknowledged is delivered to somebody else.
    let _ = tokio::time::timeout(Duration::from_secs(10), books.idempotency.drain()).await;
    Ok(())
}

async fn handle(books: &Books, delivery: Delivery) -> lapin::Result<()> {
    let Ok(event) = serde_json::from_slice::<Paid>(&delivery.data) else {
        eprintln!("rejected a message that is no payment");
        delivery.reject(BasicRejectOptions::default()).await?;
        return Ok(());
    };
    let id = event.id.clone();
    let again = if delivery.redelivered { ", again" } else { "" };
    println!("received {id}{again}");
    match enter(books.clone(), event).await {
        Ok(entry) => {
            // Entry and record are committed. Whoever is killed here gets the message again, and
            // finds the record.
            books.pause("before-ack", &id).await;
            delivery.ack(BasicAckOptions::default()).await?;
            println!("acknowledged {id}: entry {entry}");
        }
        Err(error) => {
            println!("not entered: {id}: {error}");
            if let Some(pause) = error.retry_after() {
                tokio::time::sleep(pause).await;
                delivery.nack(requeued()).await?;
            } else {
                delivery.reject(BasicRejectOptions::default()).await?;
                println!("rejected {id}");
            }
        }
    }
    Ok(())
}

/// To have a message delivered again.
fn requeued() -> BasicNackOptions {
    BasicNackOptions {
        requeue: true,
        ..BasicNackOptions::default()
    }
}
