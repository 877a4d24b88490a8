//! A wire to a server that can be cut, slow, and deaf.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::sleep,
};

/// Forwards connections to a server, wherever it listens at the time.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    server: Option<SocketAddr>,
    /// How often all connections were broken.
    cuts: u64,
    mood: Mood,
}

/// How a wire is at the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// As it should be.
    Good,
    /// Everything takes so much longer.
    Slow(Duration),
    /// Nothing goes through, and nothing is lost.
    Held,
    /// Requests go through. In the place of an answer the connection breaks.
    Deaf,
    /// Nobody is let in.
    Closed,
}

impl Proxy {
    pub(crate) async fn start(server: Option<SocketAddr>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(watch::Sender::new(State {
            server,
            cuts: 0,
            mood: Mood::Good,
        }));
        let accepting = Arc::downgrade(&state);
        tokio::spawn(async move {
            // It ends with the last handle.
            while let Ok((client, _)) = listener.accept().await
                && let Some(state) = accepting.upgrade()
            {
                tokio::spawn(forward(client, state.subscribe()));
            }
        });
        Ok(Self { address, state })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on connections go there.
    pub(crate) fn lead_to(&self, server: Option<SocketAddr>) {
        self.state.send_modify(|state| state.server = server);
    }

    /// Breaks all connections.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.state.send_modify(|state| state.mood = mood);
    }
}

async fn forward(client: TcpStream, state: watch::Receiver<State>) {
    // Whoever is refused here is so by a reset, as by a server that is gone.
    let _ = client.set_zero_linger();
    let _ = client.set_nodelay(true);
    let now = *state.borrow();
    let Some(server) = now.server.filter(|_| now.mood != Mood::Closed) else {
        return;
    };
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let _ = server.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut cut = state.clone();
    tokio::select! {
        _ = pump(from_client, to_server, state.clone(), false) => {}
        _ = pump(from_server, to_client, state, true) => {}
        _ = cut.wait_for(|state| state.cuts != now.cuts) => {}
    }
}

/// Until one of both goes away, which is told to the other one by a reset: a client that sends
/// nothing more waits for nothing more here.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    answers: bool,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        let mood = state.borrow().mood;
        match mood {
            Mood::Slow(delay) => sleep(delay).await,
            Mood::Deaf if answers => return Ok(()),
            Mood::Good | Mood::Closed | Mood::Deaf => {}
            Mood::Held => {
                let released = state.wait_for(|state| state.mood != Mood::Held).await;
                if released.is_err() {
                    return Ok(());
                }
            }
        }
        to.write_all(&buffer[..length]).await?;
    }
}
