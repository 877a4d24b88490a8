//! A proxy before a server, which goes wrong in every way that a network does.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::sleep,
};

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Nothing goes wrong.
    None,
    /// The connection breaks before the server gets the request.
    LostRequest,
    /// The connection breaks once the server has done it.
    LostResponse,
    /// The connection breaks in the middle of the response.
    HalfAResponse,
    /// The answer comes late, or after the client's time-out.
    Late,
    /// The server gets the request twice at once.
    TwiceAtOnce,
    /// The server gets the request twice, and the client the second answer.
    TwiceInTurn,
    /// The client has its answer, and some time later the server gets the request again.
    AgainLater,
    /// The proxy answers 502 or 503, and the server gets nothing.
    Unavailable,
    /// The server has done it, and the proxy answers 502 or 504.
    BadGateway,
    /// The proxy says that the credentials have expired.
    Unauthorized,
}

/// What happens to how many of a hundred requests.
pub(crate) type Weather = &'static [(Fault, u32)];

/// All that can happen.
pub(crate) const BAD: Weather = &[
    (Fault::None, 52),
    (Fault::LostRequest, 7),
    (Fault::LostResponse, 8),
    (Fault::HalfAResponse, 6),
    (Fault::Late, 4),
    (Fault::TwiceAtOnce, 4),
    (Fault::TwiceInTurn, 4),
    (Fault::AgainLater, 4),
    (Fault::Unavailable, 4),
    (Fault::BadGateway, 4),
    (Fault::Unauthorized, 3),
];

/// Much of what makes a refusal mean less than it seems to.
pub(crate) const LOST_AND_REFUSED: Weather = &[
    (Fault::None, 30),
    (Fault::LostResponse, 40),
    (Fault::Unauthorized, 30),
];

/// Forwards each request to the server, unless something happens to it.
#[derive(Clone)]
pub(crate) struct FaultProxy {
    address: SocketAddr,
    server: SocketAddr,
    weather: Weather,
    shared: Arc<Shared>,
}

struct Shared {
    random: Mutex<fastrand::Rng>,
    faults: Mutex<BTreeMap<Fault, u32>>,
    /// How many requests the server has not answered yet.
    under_way: watch::Sender<usize>,
}

impl FaultProxy {
    pub(crate) async fn before(server: SocketAddr, weather: Weather, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            server,
            weather,
            shared: Arc::new(Shared {
                random: Mutex::new(fastrand::Rng::with_seed(seed)),
                faults: Mutex::default(),
                under_way: watch::Sender::default(),
            }),
        };
        let accepting = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let proxy = accepting.clone();
                // An error is the client that went away.
                tokio::spawn(async move { proxy.serve(client).await.is_ok() });
            }
        });
        proxy
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often each thing happened.
    pub(crate) fn faults(&self) -> BTreeMap<Fault, u32> {
        self.shared.faults.lock().unwrap().clone()
    }

    /// Waits until the server has answered whatever it was sent.
    pub(crate) async fn is_quiet(&self) {
        let mut under_way = self.shared.under_way.subscribe();
        let quiet = under_way.wait_for(|under_way| *under_way == 0);
        idempotent_tests::soon("the server answers", quiet)
            .await
            .unwrap();
    }

    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut read = Vec::new();
        loop {
            let request = message(&mut client, &mut read).await?;
            let _under_way = UnderWay::new(&self.shared);
            let (answer, is_whole) = self.answer(request).await?;
            client.write_all(&answer).await?;
            if !is_whole {
                return Ok(());
            }
        }
    }

    /// What the client gets, and whether its connection lives on.
    async fn answer(&self, request: Vec<u8>) -> io::Result<(Vec<u8>, bool)> {
        let fault = self.draw();
        let answer = match fault {
            Fault::None => self.forward(request).await?,
            Fault::LostRequest => return Ok((Vec::new(), false)),
            Fault::LostResponse => {
                self.forward(request).await?;
                return Ok((Vec::new(), false));
            }
            Fault::HalfAResponse => {
                let mut answer = self.forward(request).await?;
                answer.truncate(answer.len() - 20);
                return Ok((answer, false));
            }
            Fault::Late => {
                let answer = self.forward(request).await?;
                sleep(self.some_time(2500)).await;
                answer
            }
            Fault::TwiceAtOnce => {
                let both = tokio::join!(self.forward(request.clone()), self.forward(request));
                if self.chance() { both.0? } else { both.1? }
            }
            Fault::TwiceInTurn => {
                self.forward(request.clone()).await?;
                self.forward(request).await?
            }
            Fault::AgainLater => {
                let answer = self.forward(request.clone()).await?;
                let proxy = self.clone();
                let later = self.some_time(500);
                let under_way = UnderWay::new(&self.shared);
                tokio::spawn(async move {
                    sleep(later).await;
                    let _ = proxy.forward(request).await;
                    drop(under_way);
                });
                answer
            }
            Fault::Unavailable => self.own(["502 Bad Gateway", "503 Service Unavailable"]),
            Fault::BadGateway => {
                self.forward(request).await?;
                self.own(["502 Bad Gateway", "504 Gateway Timeout"])
            }
            Fault::Unauthorized => self.own(["401 Unauthorized"; 2]),
        };
        Ok((answer, true))
    }

    async fn forward(&self, request: Vec<u8>) -> io::Result<Vec<u8>> {
        let under_way = UnderWay::new(&self.shared);
        let server = self.server;
        // The client may go away meanwhile; the server does not know.
        let answered = tokio::spawn(async move {
            let mut server = TcpStream::connect(server).await?;
            server.write_all(&request).await?;
            let answer = message(&mut server, &mut Vec::new()).await;
            drop(under_way);
            answer
        });
        answered.await?
    }

    fn draw(&self) -> Fault {
        let drawn = self.shared.random.lock().unwrap().u32(0..100);
        let mut sum = 0;
        let fault = self.weather.iter().find(|(_, weight)| {
            sum += weight;
            drawn < sum
        });
        let fault = fault.expect("the weights make a hundred").0;
        *self.shared.faults.lock().unwrap().entry(fault).or_default() += 1;
        fault
    }

    fn chance(&self) -> bool {
        self.shared.random.lock().unwrap().bool()
    }

    fn some_time(&self, longest: u64) -> Duration {
        Duration::from_millis(self.shared.random.lock().unwrap().u64(0..longest))
    }

    /// An answer of the proxy's own.
    fn own(&self, statuses: [&str; 2]) -> Vec<u8> {
        let status = statuses[usize::from(self.chance())];
        format!("HTTP/1.1 {status}\r\ncontent-length: 9\r\n\r\nthe proxy").into_bytes()
    }
}

/// A request that the server has not answered yet.
struct UnderWay(Arc<Shared>);

impl UnderWay {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.under_way.send_modify(|count| *count += 1);
        Self(Arc::clone(shared))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|count| *count -= 1);
    }
}

/// Reads one request or response with its body, as it is.
async fn message(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    let mut needed = None;
    loop {
        if needed.is_none()
            && let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n")
        {
            needed = Some(end + 4 + length(&read[..end]));
        }
        if let Some(needed) = needed
            && read.len() >= needed
        {
            return Ok(read.drain(..needed).collect());
        }
        if stream.read_buf(read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// What `Content-Length` says.
fn length(head: &[u8]) -> usize {
    let head = std::str::from_utf8(head).unwrap().to_ascii_lowercase();
    let mut lines = head.lines();
    lines
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(0, |length| length.trim().parse().unwrap())
}
