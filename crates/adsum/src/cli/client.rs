//! The client of a server: requests with the token, and errors in the server's own words.
//!
//! Invariant: the token goes to the server alone, never into a message.

use std::fmt::Write;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use ureq::http::Response;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

/// The longest error answer that is read, in bytes.
const PROBLEM_BYTES_MAX: u64 = 64 << 10;
/// The longest JSON answer that is read, in bytes.
const JSON_BYTES_MAX: u64 = 256 << 20;

/// A server and the token for it.
pub struct Client {
    agent: Agent,
    url: String,
    token: Option<String>,
}

impl Client {
    /// For a server. The token file holds the token, the authority file certificates as PEM.
    pub fn new(url: &str, token_file: Option<&Path>, ca_file: Option<&Path>) -> Result<Self> {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            bail!("--url: {url:?} is no address; write http://127.0.0.1:7878");
        }
        let read =
            |path: &Path| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        let token = token_file.map(read).transpose()?.map(|text| text.trim().to_owned());
        let mut config = Agent::config_builder().http_status_as_error(false).max_redirects(0);
        if let Some(path) = ca_file {
            let text = read(path)?;
            let mut certificates = Vec::new();
            for item in parse_pem(text.as_bytes()) {
                if let PemItem::Certificate(certificate) =
                    item.with_context(|| format!("{} is no PEM", path.display()))?
                {
                    certificates.push(certificate);
                }
            }
            if certificates.is_empty() {
                bail!("--ca-file: {} holds no certificate", path.display());
            }
            let roots = RootCerts::new_with_certs(&certificates);
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        Ok(Self { agent: config.build().into(), url: url.trim_end_matches('/').to_owned(), token })
    }

    /// Asks for a path and its query. An error answer is an error here, in the words of its problem document.
    pub fn get(&self, path: &str, accept: &str) -> Result<Response<Body>> {
        let mut request = self.agent.get(format!("{}{path}", self.url)).header("accept", accept);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut response = request.call().with_context(|| format!("no answer from {}", self.url))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let mut text = String::new();
        let read = response.body_mut().as_reader().take(PROBLEM_BYTES_MAX).read_to_string(&mut text);
        let problem: Value = read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_default();
        Err(anyhow!("{}", words(response.status().as_u16(), &problem)))
    }

    /// The body of a JSON answer.
    pub fn get_json(&self, path: &str) -> Result<String> {
        let mut response = self.get(path, "application/json")?;
        let read = response.body_mut().with_config().limit(JSON_BYTES_MAX).read_to_string();
        read.with_context(|| format!("the answer of {} broke off", self.url))
    }
}

/// What a problem document says.
fn words(status: u16, problem: &Value) -> String {
    let field = |name: &str| problem[name].as_str();
    let mut words = format!("the server answers {status}");
    if let Some(code) = field("code") {
        let _ = write!(words, " {code}");
    }
    if let Some(param) = field("param") {
        let _ = write!(words, " ({param})");
    }
    if let Some(detail) = field("detail") {
        let _ = write!(words, ": {detail}");
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_in_the_server_s_words() {
        let problem = serde_json::json!({ "code": "misaligned", "param": "from", "detail": "no hour begins there" });
        assert_eq!(words(400, &problem), "the server answers 400 misaligned (from): no hour begins there");
        assert_eq!(words(502, &Value::Null), "the server answers 502");
    }
}
