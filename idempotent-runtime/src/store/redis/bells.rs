//! Who waits for which claim, and the one connection that hears when they end.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use redis::{PushInfo, PushKind, Value};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    link::Driver,
    servers::{Connection, Servers},
};

/// How soon after a failure the next attempt to connect may begin.
const PAUSE: Duration = Duration::from_secs(1);
/// How many waiters are heard before the server is told of them.
const BATCH: usize = 256;

/// The channels that somebody listens to; a channel has the name of the claim's key.
#[derive(Default)]
pub(super) struct Bells {
    shared: Arc<Shared>,
    orders: OnceLock<mpsc::UnboundedSender<Order>>,
}

#[derive(Default)]
struct Shared(Mutex<HashMap<Arc<[u8]>, Bell>>);

struct Bell {
    /// How often it was told that the claim has ended.
    rings: watch::Sender<u64>,
    listeners: usize,
}

enum Order {
    /// Somebody began or ended listening: see to it that the channel is heard, or not. Whether
    /// it is heard now is told back.
    See(Arc<[u8]>, Option<oneshot::Sender<bool>>),
    /// The connection of this number is lost.
    Lost(u64),
}

impl Bells {
    /// Listens to a channel, from now on. The connection is made when the first one listens.
    pub(super) fn listen(
        &self,
        channel: &[u8],
        driver: &Driver,
        servers: &Arc<Servers>,
        limit: Duration,
    ) -> Listener {
        let orders = self.orders.get_or_init(|| {
            let (orders, received) = mpsc::unbounded_channel();
            let hearing = Hearing {
                shared: Arc::clone(&self.shared),
                servers: Arc::clone(servers),
                limit,
                orders: orders.downgrade(),
                connection: None,
                number: 0,
                heard: HashSet::new(),
                failed: None,
            };
            driver.handle().spawn(hearing.run(received));
            orders
        });
        let channel: Arc<[u8]> = channel.into();
        let mut bells = self.shared.bells();
        let bell = bells.entry(Arc::clone(&channel)).or_insert_with(|| Bell {
            rings: watch::Sender::new(0),
            listeners: 0,
        });
        bell.listeners += 1;
        let rings = bell.rings.subscribe();
        let counted = *rings.borrow();
        Listener {
            channel,
            rings,
            counted,
            shared: Arc::clone(&self.shared),
            orders: orders.clone(),
        }
    }
}

/// One who listens to a channel. Dropped, it takes back its interest and nothing else.
pub(super) struct Listener {
    channel: Arc<[u8]>,
    rings: watch::Receiver<u64>,
    /// How many rings it has heard.
    counted: u64,
    shared: Arc<Shared>,
    orders: mpsc::UnboundedSender<Order>,
}

/// What a listener heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The claim has ended.
    Ended,
    /// The connection was lost, and what was told meanwhile with it.
    Lost,
}

impl Listener {
    /// Resolves when the server sends what is told, or cannot be brought to; gives which.
    pub(super) async fn connected(&self) -> bool {
        let (told, heard) = oneshot::channel();
        let order = Order::See(Arc::clone(&self.channel), Some(told));
        self.orders.send(order).is_ok() && heard.await.unwrap_or(false)
    }

    /// Resolves when there is something to hear that came after the last time.
    pub(super) async fn heard(&mut self) -> Heard {
        // The bell is there for as long as somebody listens to it.
        let _ = self.rings.changed().await;
        let rings = *self.rings.borrow_and_update();
        if std::mem::replace(&mut self.counted, rings) == rings {
            Heard::Lost
        } else {
            Heard::Ended
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut bells = self.shared.bells();
        let Some(bell) = bells.get_mut(&self.channel) else {
            return;
        };
        bell.listeners -= 1;
        if bell.listeners == 0 {
            bells.remove(&self.channel);
            drop(bells);
            let _ = self
                .orders
                .send(Order::See(Arc::clone(&self.channel), None));
        }
    }
}

impl Shared {
    fn wants(&self, channel: &[u8]) -> bool {
        self.bells().contains_key(channel)
    }

    fn heard(&self, push: &PushInfo) {
        if push.kind == PushKind::SMessage
            && let Some(Value::BulkString(channel)) = push.data.first()
            && let Some(bell) = self.bells().get(channel.as_slice())
        {
            bell.rings.send_modify(|rings| *rings += 1);
        }
    }

    /// Lets everybody look for themselves.
    fn lost(&self) {
        for bell in self.bells().values() {
            bell.rings.send_modify(|_| {});
        }
    }

    /// Nothing that holds it can panic.
    fn bells(&self) -> MutexGuard<'_, HashMap<Arc<[u8]>, Bell>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that has the connection.
struct Hearing {
    shared: Arc<Shared>,
    servers: Arc<Servers>,
    limit: Duration,
    orders: mpsc::WeakUnboundedSender<Order>,
    connection: Option<Connection>,
    number: u64,
    heard: HashSet<Arc<[u8]>>,
    failed: Option<Instant>,
}

impl Hearing {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut batch = Vec::new();
        while orders.recv_many(&mut batch, BATCH).await > 0 {
            let mut seen: HashMap<Arc<[u8]>, Vec<oneshot::Sender<bool>>> = HashMap::new();
            for order in batch.drain(..) {
                match order {
                    Order::See(channel, told) => seen.entry(channel).or_default().extend(told),
                    Order::Lost(number) if number == self.number => self.lose(),
                    Order::Lost(_) => {}
                }
            }
            if self.connection.is_none() && seen.keys().any(|channel| self.shared.wants(channel)) {
                self.connect().await;
            }
            self.hear(seen.keys()).await;
            for (channel, told) in seen {
                let heard = self.heard.contains(&channel);
                for told in told {
                    let _ = told.send(heard);
                }
            }
        }
    }

    async fn connect(&mut self) {
        if self.failed.is_some_and(|failed| failed.elapsed() < PAUSE) {
            return;
        }
        self.number += 1;
        let (shared, orders, number) = (Arc::clone(&self.shared), self.orders.clone(), self.number);
        let pushed = move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                if let Some(orders) = orders.upgrade() {
                    let _ = orders.send(Order::Lost(number));
                }
            } else {
                shared.heard(&push);
            }
            Ok::<(), redis::aio::SendError>(())
        };
        let connecting = self.servers.connect_listener(self.limit, pushed);
        match within(self.limit, connecting).await {
            Ok(connection) => {
                self.connection = Some(connection);
                self.failed = None;
            }
            Err(error) => {
                self.failed = Some(Instant::now());
                tracing::debug!(
                    error = &*error,
                    "ends of claims cannot be heard, and are looked for instead",
                );
            }
        }
    }

    /// Brings what the server sends for these channels in line with who listens.
    async fn hear(&mut self, channels: impl Iterator<Item = &Arc<[u8]>>) {
        let Some(connection) = &self.connection else {
            return;
        };
        let mut changes = JoinSet::new();
        for channel in channels {
            let wanted = self.shared.wants(channel);
            if wanted == self.heard.contains(channel) {
                continue;
            }
            let (mut connection, channel, limit) =
                (connection.clone(), Arc::clone(channel), self.limit);
            changes.spawn(async move {
                let answer = within(limit, connection.hear(&channel, wanted)).await;
                (channel, wanted, answer)
            });
        }
        let mut failed = false;
        while let Some(change) = changes.join_next().await {
            match change {
                Ok((channel, true, Ok(()))) => drop(self.heard.insert(channel)),
                Ok((channel, false, Ok(()))) => drop(self.heard.remove(&channel)),
                Ok((_, _, Err(error))) => {
                    tracing::debug!(error = &*error, "a channel could not be listened to");
                    failed = true;
                }
                Err(_) => failed = true,
            }
        }
        if failed {
            self.failed = Some(Instant::now());
            self.lose();
        }
    }

    fn lose(&mut self) {
        self.connection = None;
        self.heard.clear();
        self.shared.lost();
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn within<T>(
    limit: Duration,
    asked: impl Future<Output = redis::RedisResult<T>>,
) -> Result<T, AnyError> {
    Ok(timeout(limit, asked).await??)
}
