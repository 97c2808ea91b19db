//! Requests to a running service, for commands that are given its address.
//!
//! Invariant: the token goes to the address that was given and is in no message. Not here: what the answers mean.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use http::{HeaderMap, Request};
use ureq::tls::{PemItem, RootCerts, TlsConfig};

/// So long an answer may take.
const ANSWER_SECONDS_MAX: u64 = 60;
/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Which service, and as whom.
#[derive(clap::Args, Clone)]
pub struct Remote {
    /// The service's address.
    #[arg(long, env = "ADSUM_URL", default_value = "http://127.0.0.1:7878", value_name = "URL")]
    pub url: String,
    /// The file with the token.
    #[arg(long, env = "ADSUM_TOKEN_FILE", value_name = "FILE")]
    pub token_file: PathBuf,
    /// A file of certificates (PEM) to trust instead of the built-in ones.
    #[arg(long, env = "ADSUM_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// Sends requests.
pub struct Client {
    agent: ureq::Agent,
    url: String,
    authorization: String,
}

/// What came back.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Client {
    /// For a service at `url`.
    #[allow(clippy::disallowed_methods, reason = "the user's token and certificates, no part of log or store")]
    pub fn new(url: &str, token_file: &Path, ca_file: Option<&Path>) -> Result<Self> {
        let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        let token = String::from_utf8(read(token_file)?).unwrap_or_default();
        let token = token.trim();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            bail!("{} holds no token", token_file.display());
        }
        let mut tls = TlsConfig::builder();
        if let Some(path) = ca_file {
            let pem = read(path)?;
            let mut trusted = Vec::new();
            for item in ureq::tls::parse_pem(&pem) {
                let item = item.with_context(|| format!("{} is no PEM", path.display()))?;
                if let PemItem::Certificate(certificate) = item {
                    trusted.push(certificate);
                }
            }
            if trusted.is_empty() {
                bail!("{} holds no certificate", path.display());
            }
            tls = tls.root_certs(RootCerts::new_with_certs(&trusted));
        }
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))
            .tls_config(tls.build())
            .build();
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { agent: agent.into(), url, authorization: format!("Bearer {token}") })
    }

    /// POSTs a body; an error where no answer came.
    pub fn post(&self, path: &str, content_type: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        let mut request = Request::post(format!("{}{path}", self.url))
            .header(http::header::CONTENT_TYPE, content_type)
            .header(http::header::AUTHORIZATION, &self.authorization);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).map_err(|_| anyhow!("{} is no address", self.url))?;
        let mut response = self.agent.run(request).with_context(|| format!("no answer from {}", self.url))?;
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        Ok(Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: body.with_context(|| format!("the answer of {} broke off", self.url))?,
        })
    }
}
