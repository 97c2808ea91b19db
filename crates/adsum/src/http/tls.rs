//! TLS: the certificate of the server, read again when its files change.
//!
//! Invariant: there is always one whole pair of certificate and key; a new one that is wrong is logged, and the old
//! one stays. Not here: certificates of clients, which are not asked for.

#![allow(clippy::disallowed_methods, reason = "certificates are no part of log or store")]

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use tokio_rustls::TlsAcceptor;

use super::settings::TlsConfig;

/// How often the files are looked at.
pub const RELOAD_EVERY: Duration = Duration::from_secs(2);

/// A certificate that follows its files.
pub struct Tls {
    files: TlsConfig,
    present: ArcSwap<ServerConfig>,
    /// The hash of the files when they were last tried, good or bad.
    tried: Mutex<[u8; 32]>,
}

impl Tls {
    /// Reads both files; an error says which is wrong.
    pub fn load(files: TlsConfig) -> Result<Self> {
        let read = Files::read(&files)?;
        let present = ArcSwap::from(read.config(&files)?);
        Ok(Self { files, present, tried: Mutex::new(read.hash()) })
    }

    /// What takes the next connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.present.load_full())
    }

    /// Looks at the files and takes them if they have changed and are right.
    pub fn reload(&self) {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        // A file that is being replaced may be away for a moment.
        let Ok(read) = Files::read(&self.files) else { return };
        let hash = read.hash();
        if std::mem::replace(&mut *tried, hash) == hash {
            return;
        }
        match read.config(&self.files) {
            Ok(config) => {
                self.present.store(config);
                tracing::info!("the certificate was replaced");
            }
            Err(error) => {
                tracing::error!(error = %format!("{error:#}"), "the new certificate is not right; the old one stays");
            }
        }
    }
}

/// The two files.
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    fn read(files: &TlsConfig) -> Result<Self> {
        let read = |name, path: &std::path::Path| {
            fs::read(path).with_context(|| format!("server.tls.{name}: cannot read {}", path.display()))
        };
        Ok(Self { certificate: read("certificate", &files.certificate)?, key: read("key", &files.key)? })
    }

    fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update((self.certificate.len() as u64).to_le_bytes());
        hash.update(&self.certificate);
        hash.update(&self.key);
        hash.finalize().into()
    }

    fn config(&self, files: &TlsConfig) -> Result<Arc<ServerConfig>> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .with_context(|| format!("server.tls.certificate: {} is no PEM", files.certificate.display()))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .with_context(|| format!("server.tls.key: {} holds no private key in PEM", files.key.display()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("server.tls: no protocol")?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .context("server.tls: certificate and key do not go together")?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
