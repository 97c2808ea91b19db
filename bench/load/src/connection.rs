//! One keep-alive connection: a request written, its answer read.
//!
//! Invariant: one request at a time; an answer is taken whole, head and body, before the next request. Not here: which
//! request and when (load).

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use mio::net::TcpStream;

use crate::outcome::Counts;

/// Room for an answer; a rejected line has some 150 bytes in it.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The connection.
pub struct Connection {
    /// Its socket.
    pub socket: TcpStream,
    /// When the request under way was due, and its events; none: it is idle.
    pub under_way: Option<(Instant, u64)>,
    /// What is not written of the request.
    rest: Vec<u8>,
    written: usize,
    answer: Vec<u8>,
    read: usize,
}

impl Connection {
    /// To a server.
    pub fn new(address: SocketAddr) -> anyhow::Result<Self> {
        let socket = std::net::TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let socket = TcpStream::from_std(socket);
        Ok(Self { socket, under_way: None, rest: Vec::new(), written: 0, answer: vec![0; 4 << 10], read: 0 })
    }

    /// Sends a request that was due then.
    pub fn send(&mut self, head: &str, body: &[u8], due: Instant, events: u64) -> anyhow::Result<()> {
        self.under_way = Some((due, events));
        (self.read, self.written) = (0, 0);
        self.rest.clear();
        let mut sent = 0;
        while sent < head.len() + body.len() {
            let slices = [
                IoSlice::new(&head.as_bytes()[sent.min(head.len())..]),
                IoSlice::new(&body[sent.saturating_sub(head.len())..]),
            ];
            match self.socket.write_vectored(&slices) {
                Ok(bytes) => sent += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.rest.extend_from_slice(&head.as_bytes()[sent.min(head.len())..]);
                    self.rest.extend_from_slice(&body[sent.saturating_sub(head.len())..]);
                    return Ok(());
                }
                Err(error) => return Err(error).context("a request could not be sent"),
            }
        }
        Ok(())
    }

    /// Goes on with what the socket is ready for; what the answer says once it is whole.
    pub fn go_on(&mut self) -> anyhow::Result<Option<Counts>> {
        while self.written < self.rest.len() {
            match self.socket.write(&self.rest[self.written..]) {
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error).context("a request could not be sent"),
            }
        }
        loop {
            if self.read == self.answer.len() {
                ensure!(self.read < ANSWER_BYTES_MAX, "an answer is longer than {ANSWER_BYTES_MAX} bytes");
                self.answer.resize(2 * self.read, 0);
            }
            match self.socket.read(&mut self.answer[self.read..]) {
                Ok(0) => bail!("the server closed a connection: {}", self.text()),
                Ok(bytes) => self.read += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error).context("an answer could not be read"),
            }
            if let Some(body) = whole(&self.answer[..self.read])? {
                return Ok(Some(self.said(body)?));
            }
        }
    }

    fn said(&self, body: usize) -> anyhow::Result<Counts> {
        let Some((_, events)) = self.under_way else { bail!("an answer without a request: {}", self.text()) };
        ensure!(self.answer.starts_with(b"HTTP/1.1 202 "), "not taken: {}", self.text());
        let body = &self.answer[body..self.read];
        if body.is_empty() {
            return Ok(Counts { received: events, ..Counts::default() });
        }
        let counts = Counts {
            received: events,
            accepted: number(body, b"\"accepted\":"),
            rejected: number(body, b"\"rejected\":"),
        };
        ensure!(
            counts.accepted + counts.rejected == events,
            "of {events} events the server saw others: {}",
            self.text()
        );
        Ok(counts)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.answer[..self.read]).into_owned()
    }
}

/// Where the body of an answer begins, once all of it is there.
pub fn whole(answer: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(end) = memchr::memmem::find(answer, b"\r\n\r\n") else { return Ok(None) };
    const LENGTH: &[u8] = b"\r\ncontent-length: ";
    let at = memchr::memmem::find(&answer[..end + 2], LENGTH).context("an answer without a length")?;
    let length = number(&answer[at..], LENGTH) as usize;
    Ok((answer.len() >= end + 4 + length).then_some(end + 4))
}

/// The number behind a text, or 0.
pub fn number(text: &[u8], behind: &[u8]) -> u64 {
    let Some(at) = memchr::memmem::find(text, behind) else { return 0 };
    let digits = text[at + behind.len()..].iter().take_while(|b| b.is_ascii_digit());
    digits.fold(0, |number, digit| 10 * number + u64::from(digit - b'0'))
}
