//! The example consumers as processes that are killed in mid-message, on brokers that deliver at
//! least once: every event is entered once.

#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use idempotent_tests::{example::built, namespace};
use tempfile::TempDir;

/// Longer than a broker takes to deliver again, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Clone, Copy)]
enum Broker {
    RabbitMq,
    Redis,
}

/// A queue that no other test has, and the books of its consumers.
struct Setup {
    broker: Broker,
    queue: String,
    folder: TempDir,
}

impl Setup {
    fn new(broker: Broker) -> Self {
        Self {
            broker,
            queue: format!("payments-{}", namespace()),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn program(&self) -> Command {
        let (program, url, queue) = match self.broker {
            Broker::RabbitMq => ("rabbitmq-consumer", "AMQP_URL", "QUEUE"),
            Broker::Redis => ("redis-consumer", "REDIS_URL", "STREAM"),
        };
        assert!(std::env::var_os(url).is_some(), "{url}: use tests/run");
        let mut command = Command::new(built(program));
        command
            .env(queue, &self.queue)
            .env("BOOKS", self.folder.path().join("books.db"))
            .env("LEASE_SECONDS", "1")
            .env("IDLE_SECONDS", "1");
        command
    }

    fn publish(&self, event: &str, amount: i64) {
        let mut command = self.program();
        command.args(["--publish", event, &amount.to_string()]);
        assert!(command.stdout(Stdio::null()).status().unwrap().success());
    }

    /// A consumer that consumes, and stands still at this place.
    fn consumer(&self, pause: Option<&str>) -> Consumer {
        let mut command = self.program();
        command.envs(pause.map(|place| ("PAUSE", place)));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines() {
                let _ = send.send(line.unwrap());
            }
        });
        let mut consumer = Consumer { child, lines };
        consumer.says(" consumes ");
        consumer
    }

    /// The events that were entered, each as often as it was.
    fn entries(&self) -> Vec<String> {
        let mut command = self.program();
        let output = command.arg("--entries").output().unwrap();
        assert!(output.status.success());
        let output = String::from_utf8(output.stdout).unwrap();
        let events = output.lines().map(|line| line.split(' ').nth(1).unwrap());
        let mut events: Vec<String> = events.map(str::to_owned).collect();
        events.sort();
        events
    }
}

struct Consumer {
    child: Child,
    lines: Receiver<String>,
}

impl Consumer {
    /// Waits until it says this. Gives the whole line.
    #[track_caller]
    fn says(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => said.push(line),
                Err(error) => panic!("{error}: it does not say {text:?}, but {said:#?}"),
            }
        }
    }

    /// As `kill -9` does.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn killed_between_effect_and_acknowledgement(broker: Broker) {
    let setup = Setup::new(broker);
    let mut first = setup.consumer(Some("before-ack"));
    setup.publish("event-1", 100);
    first.says("paused before-ack of event-1");
    assert_eq!(setup.entries(), ["event-1"]);
    first.kill();
    let mut second = setup.consumer(None);
    second.says("received event-1, again");
    second.says("acknowledged event-1: entry 1");
    assert_eq!(setup.entries(), ["event-1"]);
    // It goes on, and has nothing else to do.
    setup.publish("event-2", 100);
    assert!(second.says("received ").contains("event-2"));
    second.says("acknowledged event-2: entry 2");
}

fn killed_before_its_transaction_is_committed(broker: Broker) {
    let setup = Setup::new(broker);
    let mut first = setup.consumer(Some("before-commit"));
    setup.publish("event-1", 100);
    first.says("paused before-commit of event-1");
    // Until then it has the database's write lock.
    first.kill();
    let mut second = setup.consumer(None);
    second.says("acknowledged event-1: entry 1");
    assert_eq!(setup.entries(), ["event-1"]);
}

fn two_consumers_get_the_same_messages(broker: Broker) {
    let setup = Setup::new(broker);
    let events: Vec<String> = (1..=4).map(|event| format!("event-{event}")).collect();
    let mut consumers = [setup.consumer(None), setup.consumer(None)];
    // A producer that is unsure sends again, and what it sends is spread over both.
    for _ in 0..3 {
        for event in &events {
            setup.publish(event, 100);
        }
    }
    let deadline = Instant::now() + PATIENCE;
    let mut acknowledged = [0; 2];
    while acknowledged.iter().sum::<usize>() < 3 * events.len() {
        assert!(
            Instant::now() < deadline,
            "{acknowledged:?} are acknowledged"
        );
        for (consumer, acknowledged) in consumers.iter_mut().zip(&mut acknowledged) {
            while let Ok(line) = consumer.lines.recv_timeout(Duration::from_millis(10)) {
                *acknowledged += usize::from(line.contains("acknowledged"));
            }
        }
    }
    // RabbitMQ gives each the next one in turn; Redis, whoever asks.
    if let Broker::RabbitMq = setup.broker {
        assert!(
            acknowledged.iter().all(|some| *some > 0),
            "{acknowledged:?}"
        );
    }
    assert_eq!(setup.entries(), events);
}

fn a_copy_that_comes_while_another_consumer_has_the_message(broker: Broker) {
    let setup = Setup::new(broker);
    let mut first = setup.consumer(Some("before-ack"));
    setup.publish("event-1", 100);
    first.says("paused before-ack of event-1");
    let mut second = setup.consumer(None);
    // One for each of the two, whoever is given the next.
    setup.publish("event-1", 100);
    setup.publish("event-1", 100);
    second.says("received event-1");
    let said = second.says("acknowledged event-1: entry 1");
    if let Broker::Redis = setup.broker {
        assert!(said.contains(", entered before"), "{said}");
    }
    assert!(first.child.try_wait().unwrap().is_none(), "it still runs");
    assert_eq!(setup.entries(), ["event-1"]);
}

fn effects_that_panic_are_put_aside_and_stop_nobody(broker: Broker) {
    let setup = Setup::new(broker);
    let mut consumer = setup.consumer(Some("panic"));
    // More than one consumer takes at a time.
    let events: Vec<String> = (1..=10).map(|event| format!("event-{event}")).collect();
    for event in &events {
        setup.publish(event, 100);
    }
    for _ in &events {
        consumer.says("rejected event-");
    }
    assert_eq!(setup.entries(), [""; 0]);
}

fn what_will_never_do_is_put_aside(broker: Broker) {
    let setup = Setup::new(broker);
    let mut consumer = setup.consumer(None);
    setup.publish("event-1", 100);
    consumer.says("acknowledged event-1");
    // The same id for another payment.
    setup.publish("event-1", 999);
    consumer.says("rejected event-1");
    setup.publish("event-2", 100);
    consumer.says("acknowledged event-2: entry 2");
    assert_eq!(setup.entries(), ["event-1", "event-2"]);
}

#[test]
#[ignore = "needs a Redis server: REDIS_URL, or tests/run"]
fn what_redis_puts_aside_is_whole() {
    let setup = Setup::new(Broker::Redis);
    let _consumer = setup.consumer(None);
    let client = ::redis::Client::open(std::env::var("REDIS_URL").unwrap()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let fields = [("event", "no payment"), ("sent-by", "somebody")];
    let sent: String = ::redis::cmd("XADD")
        .arg(&[&setup.queue, "*"])
        .arg(&fields)
        .query(&mut connection)
        .unwrap();
    assert!(!sent.is_empty());
    let deadline = Instant::now() + PATIENCE;
    let held = loop {
        let rejected = ::redis::cmd("XRANGE")
            .arg(format!("{}.rejected", setup.queue))
            .arg(&["-", "+"])
            .query::<Vec<(String, std::collections::BTreeMap<String, String>)>>(&mut connection)
            .unwrap();
        if let Some((_, held)) = rejected.into_iter().next() {
            break held;
        }
        assert!(Instant::now() < deadline, "it is put aside");
        std::thread::sleep(Duration::from_millis(20));
    };
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(held, fields.into());
}

macro_rules! on_each_broker {
    ($($name:ident)*) => {
        mod rabbitmq {
            $(
                #[test]
                #[ignore = "needs a RabbitMQ: AMQP_URL, or tests/run"]
                fn $name() {
                    super::$name(super::Broker::RabbitMq);
                }
            )*
        }
        mod redis {
            $(
                #[test]
                #[ignore = "needs a Redis server: REDIS_URL, or tests/run"]
                fn $name() {
                    super::$name(super::Broker::Redis);
                }
            )*
        }
    };
}

on_each_broker! {
    killed_between_effect_and_acknowledgement
    killed_before_its_transaction_is_committed
    two_consumers_get_the_same_messages
    a_copy_that_comes_while_another_consumer_has_the_message
    effects_that_panic_are_put_aside_and_stop_nobody
    what_will_never_do_is_put_aside
}
