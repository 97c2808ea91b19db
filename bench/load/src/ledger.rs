//! The server's ledger, against what was sent.
//!
//! Invariant: it is asked over the same interface as any client would.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::connection::whole;
use crate::outcome::Counts;

/// So long the server may fold what it has acknowledged.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is asked meanwhile.
const PAUSE: Duration = Duration::from_millis(200);

/// One request on a connection that stays open, and the body of its answer.
pub fn exchange(socket: &mut TcpStream, request: &[u8], status: &[u8]) -> anyhow::Result<Vec<u8>> {
    socket.write_all(request)?;
    let (mut answer, mut piece) = (Vec::new(), [0; 4 << 10]);
    loop {
        let bytes = socket.read(&mut piece)?;
        ensure!(bytes > 0, "the server closed the connection: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..bytes]);
        if let Some(body) = whole(&answer)? {
            ensure!(answer[b"HTTP/1.1 ".len()..].starts_with(status), "{}", String::from_utf8_lossy(&answer));
            return Ok(answer.split_off(body));
        }
    }
}

/// What the ledger says now, over all sources and hours.
pub fn read(address: SocketAddr, token: &str) -> anyhow::Result<Counts> {
    let mut socket = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    let request = format!("GET /v1/conservation HTTP/1.1\r\nhost: adsum\r\nauthorization: Bearer {token}\r\n\r\n");
    let body = exchange(&mut socket, request.as_bytes(), b"200")?;
    let ledger: Value = serde_json::from_slice(&body).context("the ledger is no JSON")?;
    ensure!(ledger["balances"] == true, "the ledger does not balance: {ledger}");
    let of = |column: &str| ledger["sums"][column].as_u64().with_context(|| format!("no sum of {column}: {ledger}"));
    Ok(Counts { received: of("received")?, accepted: of("accepted")?, rejected: of("rejected")? })
}

/// Comes back when the ledger says exactly this.
pub fn check(address: SocketAddr, token: &str, expected: &Counts) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let counts = read(address, token)?;
        if counts == *expected {
            return Ok(());
        }
        if counts.received >= expected.received || begun.elapsed() > PATIENCE {
            bail!("the ledger says {counts:?}; {expected:?} were sent");
        }
        std::thread::sleep(PAUSE);
    }
}
