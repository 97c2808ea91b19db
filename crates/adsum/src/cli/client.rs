//! The client of a running server: what commands with `--url` speak through.
//!
//! Invariant: the token leaves only in the Authorization header, and never into an error. An answer with a problem
//! document is an error that says detail, code and param; one that never came says the address. Not here: retries,
//! which only the caller knows to be safe.

#![allow(
    clippy::disallowed_methods,
    reason = "token and certificate files are the operator's, no part of log or store"
)]

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use http::{HeaderMap, Request};
use serde_json::Value;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// How long a connection may take to come about, in seconds.
const CONNECT_SECONDS_MAX: u64 = 10;
/// How long a server may take to begin its answer, in seconds: a backup copies what it must first.
const ANSWER_SECONDS_MAX: u64 = 600;
/// The largest answer that is held in memory, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// A server and the token to speak to it with.
pub struct Client {
    agent: ureq::Agent,
    url: String,
    token: Option<String>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

/// A problem document, as an error.
#[derive(Debug)]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// The stable code, if there was a problem document.
    pub code: String,
    /// The whole document; null where there was none.
    pub document: Value,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |name: &str| self.document[name].as_str();
        let title = http::StatusCode::from_u16(self.status).ok().and_then(|s| s.canonical_reason());
        f.write_str(text("detail").or(title).unwrap_or("the server refuses"))?;
        write!(f, " ({}", self.status)?;
        if !self.code.is_empty() {
            write!(f, ", code {}", self.code)?;
        }
        if let Some(param) = text("param") {
            write!(f, ", param {param}")?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for Refused {}

impl Answer {
    /// The answer if it is a success, else its problem as an error.
    pub fn success(self) -> Result<Self> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let document: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let code = document["code"].as_str().unwrap_or_default().to_owned();
        Err(Refused { status: self.status, code, document }.into())
    }

    /// The body as JSON; none is null.
    pub fn json(&self) -> Result<Value> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).context("the server's answer is no JSON")
    }
}

/// The certificates of a PEM file.
fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut roots = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.with_context(|| path.display().to_string())? {
            roots.push(certificate);
        }
    }
    if roots.is_empty() {
        bail!("--ca-file: {} holds no certificate", path.display());
    }
    Ok(roots)
}

impl Client {
    /// For the server at `url` (`http://HOST:PORT` or `https://...`). The token is read from `token_file`, else from
    /// ADSUM_TOKEN; `ca_file` holds the certificates (PEM) that a server's may be signed by, in place of the system's.
    pub fn new(url: &str, token_file: Option<&Path>, ca_file: Option<&Path>) -> Result<Self> {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            bail!("--url: {url:?} is no address of a server; they look like http://127.0.0.1:7878");
        }
        let token = match token_file {
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
                Some(text.trim().to_owned())
            }
            None => std::env::var("ADSUM_TOKEN").ok(),
        };
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(CONNECT_SECONDS_MAX)))
            .timeout_recv_response(Some(Duration::from_secs(ANSWER_SECONDS_MAX)));
        let roots = match ca_file {
            Some(path) => RootCerts::Specific(Arc::new(certificates(path)?)),
            None => RootCerts::PlatformVerifier,
        };
        // Another client of this process may have said so before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        Ok(Self { agent: config.build().into(), url: url.trim_end_matches('/').to_owned(), token })
    }

    /// The same server with another token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { agent: self.agent.clone(), url: self.url.clone(), token: Some(token.to_owned()) }
    }

    /// The answer's JSON.
    pub fn get_json(&self, path: &str) -> Result<Value> {
        let mut body = Vec::new();
        self.get(path, "application/json")?.take(ANSWER_BYTES_MAX).read_to_end(&mut body)?;
        serde_json::from_slice(&body).context("the server's answer is no JSON")
    }

    /// The answer's body as it comes, however long.
    pub fn get(&self, path: &str, accept: &str) -> Result<Box<dyn Read>> {
        let response = self.send("GET", path, &[("accept", accept)], &[])?;
        if response.status().is_success() {
            return Ok(Box::new(response.into_body().into_reader()));
        }
        Err(match self.answer(response)?.success() {
            Err(refused) => refused,
            Ok(_) => anyhow!("{} gave no success", self.url),
        })
    }

    /// Sends JSON and gives the answer's.
    pub fn send_json(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let headers = [("accept", "application/json"), ("content-type", "application/json")];
        let response = self.send(method, path, &headers, body.to_string().as_bytes())?;
        self.answer(response)?.success()?.json()
    }

    /// Posts bytes and gives the answer, whatever its status.
    pub fn post(&self, path: &str, content_type: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        let headers = [&[("content-type", content_type)], headers].concat();
        let response = self.send("POST", path, &headers, body)?;
        self.answer(response)
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<http::Response<ureq::Body>> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // The request is built from the address, a header's value or the token: none of them is repeated here.
        let request = request.body(body).map_err(|e| anyhow!("{}: this is no request: {e}", self.url))?;
        self.agent.run(request).with_context(|| format!("no answer from {}", self.url))
    }

    fn answer(&self, response: http::Response<ureq::Body>) -> Result<Answer> {
        let (parts, body) = response.into_parts();
        let mut bytes = Vec::new();
        let broken = || format!("the answer from {} broke off", self.url);
        body.into_reader().take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).with_context(broken)?;
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body: bytes })
    }
}
