//! Which servers there are, and how a connection to them is made.

use std::{fmt, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, IntoConnectionInfo, Pipeline,
    ProtocolVersion, RedisResult, Value,
    aio::{AsyncPushSender, ConnectionLike, MultiplexedConnection},
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
    cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
    sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType},
};

/// Commands that may wait for the connection's driver. With fewer, many tasks at once would
/// hand each other the room one by one.
const QUEUED_COMMANDS: usize = 1024;

/// Where the connections lead.
pub(super) enum Servers {
    Single(ConnectionInfo),
    /// The sentinels, which know the present master.
    Sentinel(tokio::sync::Mutex<SentinelClient>),
    Cluster(Vec<ConnectionInfo>),
}

/// A connection. Clones share it.
#[derive(Clone)]
pub(super) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// Told of what the server sends without having been asked.
pub(super) type Pushed = tokio::sync::mpsc::UnboundedSender<redis::PushInfo>;

impl Servers {
    pub(super) fn single(server: impl IntoConnectionInfo) -> RedisResult<Self> {
        let info = server.into_connection_info()?;
        // Says no to what cannot be connected to, such as TLS in a build without it.
        Client::open(info.clone())?;
        Ok(Self::Single(info))
    }

    pub(super) fn sentinel<T: IntoConnectionInfo>(
        sentinels: impl IntoIterator<Item = T>,
        master: &str,
        node: SentinelNodeConnectionInfo,
    ) -> RedisResult<Self> {
        let client = SentinelClient::build(
            sentinels.into_iter().collect(),
            master.to_owned(),
            Some(node),
            SentinelServerType::Master,
        )?;
        Ok(Self::Sentinel(client.into()))
    }

    pub(super) fn cluster<T: IntoConnectionInfo>(
        nodes: impl IntoIterator<Item = T>,
    ) -> RedisResult<Self> {
        let nodes: Vec<_> = nodes
            .into_iter()
            .map(IntoConnectionInfo::into_connection_info)
            .collect::<Result<_, _>>()?;
        ClusterClient::new(nodes.iter().cloned())?;
        Ok(Self::Cluster(nodes))
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// A connection for commands.
    pub(super) async fn connect(&self, limit: Duration) -> RedisResult<Connection> {
        self.open(limit, None::<Pushed>).await
    }

    /// A connection for subscriptions.
    pub(super) async fn connect_listener(
        &self,
        limit: Duration,
        pushed: impl AsyncPushSender,
    ) -> RedisResult<Connection> {
        self.open(limit, Some(pushed)).await
    }

    async fn open(
        &self,
        limit: Duration,
        pushed: Option<impl AsyncPushSender>,
    ) -> RedisResult<Connection> {
        let info = match self {
            Self::Single(info) => info.clone(),
            Self::Sentinel(sentinels) => {
                let client = sentinels.lock().await.async_get_client().await?;
                client.get_connection_info().clone()
            }
            Self::Cluster(nodes) => return open_cluster(nodes, limit, pushed).await,
        };
        let tcp = tcp_settings(info.tcp_settings().clone(), limit);
        let mut info = info.set_tcp_settings(tcp);
        // Time limits are the verbs' own business: they count from when the verb was called.
        let mut config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(Some(limit))
            .set_pipeline_buffer_size(QUEUED_COMMANDS);
        if let Some(pushed) = pushed {
            let settings = info.redis_settings().clone();
            info = info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP3));
            config = config.set_push_sender(pushed);
        }
        let client = Client::open(info)?;
        let connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        Ok(Connection::Single(connection))
    }
}

async fn open_cluster(
    nodes: &[ConnectionInfo],
    limit: Duration,
    pushed: Option<impl AsyncPushSender>,
) -> RedisResult<Connection> {
    let tcp = nodes.first().map(|node| node.tcp_settings().clone());
    let mut builder = ClusterClientBuilder::new(nodes.iter().cloned())
        .tcp_settings(tcp_settings(tcp.unwrap_or_default(), limit))
        .connection_timeout(limit)
        .response_timeout(limit)
        // Every verb may be repeated, and has a time limit of its own.
        .retries(10)
        .min_retry_wait(10)
        .max_retry_wait(500)
        // Lost connections are noticed as soon as they are lost.
        .use_protocol(ProtocolVersion::RESP3);
    if let Some(pushed) = pushed {
        builder = builder.push_sender(pushed);
    }
    let connection = builder.build()?.get_async_connection().await?;
    Ok(Connection::Cluster(connection))
}

/// A peer that is gone without a word is noticed by the kernel: it does not acknowledge. One that
/// is only slow does, and keeps its connection.
fn tcp_settings(settings: TcpSettings, limit: Duration) -> TcpSettings {
    let mut settings = settings.set_nodelay(true);
    if settings.keepalive().is_none() {
        let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(15));
        settings = settings.set_keepalive(keepalive);
    }
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    if settings.user_timeout().is_none() {
        settings = settings.set_user_timeout(limit.max(Duration::from_secs(1)));
    }
    #[cfg(not(any(target_os = "android", target_os = "fuchsia", target_os = "linux")))]
    let _ = limit;
    settings
}

impl Connection {
    pub(super) async fn one(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Single(connection) => connection.send_packed_command(cmd).await,
            Self::Cluster(connection) => connection.req_packed_command(cmd).await,
        }
    }

    /// The answer of the master of this slot.
    pub(super) async fn one_of_slot(&mut self, cmd: &Cmd, slot: u16) -> RedisResult<Value> {
        match self {
            Self::Single(_) => self.one(cmd).await,
            Self::Cluster(connection) => {
                let route = Route::new(slot, SlotAddr::Master);
                let route = SingleNodeRoutingInfo::SpecificNode(route);
                let route = RoutingInfo::SingleNode(route);
                connection.route_command(cmd.clone(), route).await
            }
        }
    }

    /// The answers to several commands; an error of one is a value in its place.
    pub(super) async fn several(&mut self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        let count = pipeline.len();
        match self {
            Self::Single(connection) => connection.send_packed_commands(pipeline, 0, count).await,
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, 0, count).await,
        }
    }

    /// Starts or ends hearing what is told on a shard channel.
    pub(super) async fn hear(&mut self, channel: &[u8], wanted: bool) -> RedisResult<()> {
        match self {
            Self::Single(connection) => {
                let mut cmd = redis::cmd(if wanted { "SSUBSCRIBE" } else { "SUNSUBSCRIBE" });
                let answer = connection.send_packed_command(cmd.arg(channel)).await?;
                answer.extract_error().map(drop)
            }
            Self::Cluster(connection) if wanted => connection.ssubscribe(channel).await,
            Self::Cluster(connection) => connection.sunsubscribe(channel).await,
        }
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither addresses, which may be secret, nor passwords, which are.
        formatter.write_str(match self {
            Self::Single(_) => "Single",
            Self::Sentinel(_) => "Sentinel",
            Self::Cluster(_) => "Cluster",
        })
    }
}
