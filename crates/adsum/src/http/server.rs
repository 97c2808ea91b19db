//! The server: accepts connections, speaks HTTP/1.1 on them, and ends in order.
//!
//! Invariant: there are never more connections than may be, each of them has its limits of time and size, and when the
//! service stops each request in flight is answered or its time is up. Not here: what a request is answered (layers and
//! the interfaces).

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;

use super::metrics;
use super::settings::ServerConfig;
use super::socket::{Link, Patience, Socket};
use super::tls::Tls;

/// The address that a request came from, in its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(IpAddr);

impl Peer {
    /// The address, an IPv4 one as such.
    pub fn address(self) -> IpAddr {
        self.0
    }
}

/// Where on which socket a request is, in its extensions.
#[derive(Clone, Debug)]
pub struct OnSocket {
    /// What the socket knows.
    pub link: Arc<Link>,
    /// Which request of the connection it is, counted from 1.
    pub number: u64,
}

/// Says when the service stops; cheap to clone.
#[derive(Clone, Debug)]
pub struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// And what makes it stop.
    pub fn new() -> (watch::Sender<bool>, Self) {
        let (stop, stopping) = watch::channel(false);
        (stop, Self(stopping))
    }

    /// Whether it stops.
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Comes back when it stops.
    pub async fn begun(&self) {
        // Whoever could say so is gone: then it has stopped.
        let _ = self.0.clone().wait_for(|stops| *stops).await;
    }
}

/// How long it waits after the operating system refused a connection, for want of descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until it is told to stop, and then until every request in flight is answered or the time for that is up.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    config: &ServerConfig,
    tls: Option<Arc<Tls>>,
    stopping: Stopping,
) {
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        // The socket is stricter; this is for what it cannot follow.
        .header_read_timeout(config.idle_time() + config.header_time())
        .max_headers(config.headers_max as usize)
        .max_buf_size(config.header_bytes_max as usize)
        // Who has sent everything may say so and still be answered; see also the socket's limits.
        .half_close(true);
    let patience = Patience { head: config.header_time(), idle: config.idle_time(), write: config.write_time() };
    let places = Arc::new(Semaphore::new(config.connections_max as usize));
    let (cut, cuts) = watch::channel(());
    while let Some((stream, peer, place)) = accept(&listener, &places, &stopping).await {
        let connection = Connection {
            protocol: protocol.clone(),
            app: app.clone(),
            patience,
            peer: Peer(peer.to_canonical()),
            stopping: stopping.clone(),
            cuts: cuts.clone(),
        };
        let tls = tls.clone();
        tokio::spawn(async move {
            let _open = metrics::Open::begin();
            match tls {
                None => connection.run(stream).await,
                Some(tls) => connection.run_tls(&tls, stream).await,
            }
            drop(place);
        });
    }
    drop(listener);
    let all = places.acquire_many(config.connections_max);
    if tokio::time::timeout(config.drain_time(), all).await.is_err() {
        tracing::warn!("requests were still in flight when the time to finish them was up");
        cut.send_replace(());
        // Those whose tasks can be ended are; one that holds its thread must not hold up the end.
        let _ = tokio::time::timeout(ACCEPT_PAUSE, places.acquire_many(config.connections_max)).await;
    }
}

type Place = tokio::sync::OwnedSemaphorePermit;

/// The next connection, when there is a place for it; none when the service stops.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    stopping: &Stopping,
) -> Option<(TcpStream, IpAddr, Place)> {
    let next = async {
        // The semaphore is never closed.
        let place = places.clone().acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, address)) => {
                    // Small answers leave at once; a socket that refuses is as good as it was.
                    let _ = stream.set_nodelay(true);
                    return Some((stream, address.ip(), place));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stopping.begun() => None,
        next = next => next,
    }
}

/// One connection.
struct Connection {
    protocol: http1::Builder,
    app: Router,
    patience: Patience,
    peer: Peer,
    stopping: Stopping,
    cuts: watch::Receiver<()>,
}

impl Connection {
    async fn run_tls(self, tls: &Tls, stream: TcpStream) {
        let handshake = tokio::time::timeout(self.patience.head, tls.acceptor().accept(stream));
        let stopping = self.stopping.clone();
        tokio::select! {
            () = stopping.begun() => {}
            result = handshake => match result {
                Ok(Ok(stream)) => self.run(stream).await,
                Ok(Err(error)) => metrics::handshake_failed(&error.to_string()),
                Err(_) => metrics::handshake_failed("it took too long"),
            }
        }
    }

    async fn run<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let Self { protocol, app, patience, peer, stopping, mut cuts } = self;
        let link = Arc::new(Link::default());
        let socket = TokioIo::new(Socket::new(stream, link.clone(), patience));
        let numbers = AtomicU64::new(0);
        let service = service_fn(move |mut request: Request<Incoming>| {
            let number = numbers.fetch_add(1, Ordering::Relaxed) + 1;
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(OnSocket { link: link.clone(), number });
            app.clone().oneshot(request.map(Body::new))
        });
        let mut connection = pin!(protocol.serve_connection(socket, service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stopping.begun() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    _ = cuts.changed() => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %peer.0, %error, "a connection ended");
        }
    }
}
