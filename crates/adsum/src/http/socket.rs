//! A socket that does not wait for ever: it gives up on clients that are silent, drip, or do not read their answer.
//!
//! The limits hold for whole phases, so that a byte now and then buys nobody time. Invariant: a connection waits only
//! for a request that is being answered, never for the client alone beyond its limit. Not here: the time of a request's
//! body (body), which is answered, not cut.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::framing::{Framing, Phase};
use crate::clock::Moment;

/// A client that takes so much of its answer is given its time anew.
const PROGRESS_BYTES: usize = 16 << 10;
/// What is read and thrown away of a body that nobody wants, so that its sender sees the answer and not a reset.
const LINGER_BYTES_MAX: usize = 16 << 20;
/// And for how long.
const LINGER: Duration = Duration::from_secs(1);

/// How long a socket waits.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a head to be whole.
    pub head: Duration,
    /// For the next request.
    pub idle: Duration,
    /// For the client to read.
    pub write: Duration,
}

/// What a socket and the requests on it tell each other.
#[derive(Debug, Default)]
pub struct Link {
    /// The request, counted from 1, with two lengths; 0: none.
    conflict: AtomicU64,
    /// How long the last head took, in microseconds.
    head_micros: AtomicU64,
}

impl Link {
    /// Whether the request of this number, counted from 1, has two lengths.
    pub fn is_in_conflict(&self, number: u64) -> bool {
        self.conflict.load(Ordering::Relaxed) == number
    }

    /// How long the last head took to come, in microseconds.
    pub fn head_micros(&self) -> u64 {
        self.head_micros.load(Ordering::Relaxed)
    }
}

/// The socket.
pub struct Socket<S> {
    inner: S,
    link: Arc<Link>,
    patience: Patience,
    framing: Framing,
    /// When the present head began to come, or the connection.
    head_began: Option<Moment>,
    /// When the present wait for the client began.
    waits_since: Option<Moment>,
    /// Rings before any wait is over. It is not set anew for each: whose time has come is seen when it rings.
    read_timer: Option<Pin<Box<Sleep>>>,
    write_limit: Option<Pin<Box<Sleep>>>,
    /// Bytes written since the limit was set.
    written: usize,
    linger: Option<Pin<Box<Sleep>>>,
    lingered: usize,
}

impl<S> Socket<S> {
    /// Around a connection on which nothing has come.
    pub fn new(inner: S, link: Arc<Link>, patience: Patience) -> Self {
        Self {
            inner,
            link,
            patience,
            framing: Framing::new(),
            head_began: Some(Moment::now()),
            waits_since: None,
            read_timer: None,
            write_limit: None,
            written: 0,
            linger: None,
            lingered: 0,
        }
    }

    /// Takes in what came.
    fn came(&mut self, bytes: &[u8]) {
        let (phase, heads) = (self.framing.phase(), self.framing.heads());
        self.framing.feed(bytes);
        let now = self.framing.phase();
        if heads != self.framing.heads() {
            let micros = self.head_began.take().map_or(0, Moment::elapsed_micros);
            self.link.head_micros.store(micros, Ordering::Relaxed);
            self.link.conflict.store(self.framing.conflict().unwrap_or(0), Ordering::Relaxed);
        }
        if now == Phase::Head && self.head_began.is_none() {
            self.head_began = Some(Moment::now());
        }
        // The first head has its time from the beginning of the connection, each other from its first byte.
        let first = self.framing.heads() == 0;
        if (phase, heads) != (now, self.framing.heads()) && !first {
            self.waits_since = None;
        }
    }

    /// Nothing comes at the moment: whether that has been so for too long. hyper, told that clients may
    /// close their half, reads only while it waits for the client: who is being answered may be silent.
    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        let time = match (self.framing.phase(), self.framing.heads()) {
            (Phase::Body, _) => return false,
            (Phase::Head, _) | (Phase::Between, 0) => self.patience.head,
            (Phase::Between, _) => self.patience.idle,
        };
        let since = *self.waits_since.get_or_insert_with(Moment::now);
        let shortest = self.patience.head.min(self.patience.idle);
        loop {
            let left = time.saturating_sub(Duration::from_micros(since.elapsed_micros()));
            if left.is_zero() {
                return true;
            }
            let timer = self.read_timer.get_or_insert_with(|| Box::pin(sleep(left.min(shortest))));
            if timer.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.read_timer = None;
        }
    }

    /// The client took `taken` of `offered` bytes.
    fn progressed(&mut self, taken: usize, offered: usize) {
        self.written += taken;
        if taken == offered || self.written >= PROGRESS_BYTES {
            (self.write_limit, self.written) = (None, 0);
        }
    }

    /// The client takes nothing at the moment.
    fn stalled(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let time = self.patience.write;
        let limit = self.write_limit.get_or_insert_with(|| Box::pin(sleep(time)));
        match limit.as_mut().poll(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read its answer")),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Ready(result) => {
                this.came(&buf.filled()[before..]);
                Poll::Ready(result)
            }
            Poll::Pending => {
                if this.is_overdue(cx) {
                    Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no request came in time")))
                } else {
                    Poll::Pending
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match Pin::new(&mut this.inner).poll_write(cx, bytes) {
            Poll::Ready(Ok(taken)) => {
                this.progressed(taken, bytes.len());
                Poll::Ready(Ok(taken))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => this.stalled(cx).map_or_else(|e| Poll::Ready(Err(e)), |()| Poll::Pending),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match Pin::new(&mut this.inner).poll_write_vectored(cx, slices) {
            Poll::Ready(Ok(taken)) => {
                this.progressed(taken, slices.iter().map(|s| s.len()).sum());
                Poll::Ready(Ok(taken))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => this.stalled(cx).map_or_else(|e| Poll::Ready(Err(e)), |()| Poll::Pending),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match Pin::new(&mut this.inner).poll_flush(cx) {
            Poll::Ready(result) => {
                (this.write_limit, this.written) = (None, 0);
                Poll::Ready(result)
            }
            Poll::Pending => this.stalled(cx).map_or_else(|e| Poll::Ready(Err(e)), |()| Poll::Pending),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            match Pin::new(&mut this.inner).poll_shutdown(cx) {
                Poll::Ready(result) => result?,
                Poll::Pending => return this.stalled(cx).map_or_else(|e| Poll::Ready(Err(e)), |()| Poll::Pending),
            }
            if this.framing.phase() != Phase::Body {
                return Poll::Ready(Ok(()));
            }
        }
        let linger = this.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if linger.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut space = [0; 8 << 10];
        while this.lingered < LINGER_BYTES_MAX {
            let mut buf = ReadBuf::new(&mut space);
            let read = ready!(Pin::new(&mut this.inner).poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                break;
            }
            this.lingered += buf.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}
