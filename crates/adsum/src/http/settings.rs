//! The `[server]` section of the configuration: the limits of sockets and requests, and TLS.
//!
//! Invariant: every limit has a default that stands between a stranger and the memory of the machine. Not here: the
//! limits of what a request holds (collect, report).

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::Deserialize;

/// The section.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Open connections; more wait to be accepted.
    pub connections_max: u32,
    /// A request's head is there within so many seconds of its first byte, the first one of the connection.
    pub header_seconds: u32,
    /// A request is there, body and all, within so many seconds of its first byte.
    pub request_seconds: u32,
    /// The same for the long uploads: chunks of imports, bulk loads.
    pub upload_seconds: u32,
    /// A connection without a request is closed after so many seconds.
    pub idle_seconds: u32,
    /// A client takes some of its answer within so many seconds.
    pub write_seconds: u32,
    /// Requests in flight may go on for so many seconds when the service is told to stop.
    pub drain_seconds: u32,
    /// Headers of a request.
    pub headers_max: u32,
    /// Bytes of a request's head that are read while it is not whole.
    pub header_bytes_max: u32,
    /// Bytes of request bodies in memory, over all requests in flight.
    pub body_memory_bytes: Option<u64>,
    /// Refused tokens a second and address; more are answered 429 unread.
    pub auth_failures_per_second: u32,
    /// TLS; without it HTTP is spoken in the open.
    pub tls: Option<TlsConfig>,
}

/// Where the certificate is. Both files are read again when they change.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The chain, PEM, the server's own first.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            header_seconds: 5,
            request_seconds: 10,
            upload_seconds: 60,
            idle_seconds: 10,
            write_seconds: 10,
            drain_seconds: 10,
            headers_max: 100,
            header_bytes_max: 32 << 10,
            body_memory_bytes: None,
            auth_failures_per_second: 50,
            tls: None,
        }
    }
}

/// The least that the parser of heads works with.
const HEADER_BYTES_MIN: u32 = 8 << 10;
/// More header lines than this would only cost memory.
const HEADERS_MOST: u32 = 1_000;

impl ServerConfig {
    /// Bytes of request bodies in memory, over all requests in flight.
    pub fn body_memory_bytes(&self) -> u64 {
        self.body_memory_bytes.unwrap_or(256 << 20)
    }

    /// What no server can work with is named by its key.
    pub fn check(&self) -> Result<()> {
        let at_least_one = [
            ("connections_max", self.connections_max),
            ("header_seconds", self.header_seconds),
            ("request_seconds", self.request_seconds),
            ("upload_seconds", self.upload_seconds),
            ("idle_seconds", self.idle_seconds),
            ("write_seconds", self.write_seconds),
            ("headers_max", self.headers_max),
            ("auth_failures_per_second", self.auth_failures_per_second),
        ];
        if let Some((key, _)) = at_least_one.iter().find(|(_, value)| *value == 0) {
            bail!("server.{key}: 0 would serve nobody");
        }
        if self.header_bytes_max < HEADER_BYTES_MIN {
            bail!("server.header_bytes_max: {} is less than {HEADER_BYTES_MIN}", self.header_bytes_max);
        }
        if self.headers_max > HEADERS_MOST {
            bail!("server.headers_max: {} is more than {HEADERS_MOST}", self.headers_max);
        }
        if self.body_memory_bytes() < u64::from(HEADER_BYTES_MIN) {
            bail!("server.body_memory_bytes: {} is less than {HEADER_BYTES_MIN}", self.body_memory_bytes());
        }
        Ok(())
    }

    /// See [`Self::header_seconds`].
    pub fn header_time(&self) -> Duration {
        Duration::from_secs(self.header_seconds.into())
    }

    /// See [`Self::idle_seconds`].
    pub fn idle_time(&self) -> Duration {
        Duration::from_secs(self.idle_seconds.into())
    }

    /// See [`Self::write_seconds`].
    pub fn write_time(&self) -> Duration {
        Duration::from_secs(self.write_seconds.into())
    }

    /// See [`Self::drain_seconds`].
    pub fn drain_time(&self) -> Duration {
        Duration::from_secs(self.drain_seconds.into())
    }
}
