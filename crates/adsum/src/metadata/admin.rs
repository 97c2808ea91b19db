//! The admin token of a file: how the first administrator gets in.
//!
//! Invariant: the file holds one secret, whole and synced before the log knows its hash; a file that holds anything
//! else, or a token that was revoked, has expired or is none of an administrator, starts nothing. Not here: other
//! tokens ([`super::keys`]).

#![allow(clippy::disallowed_methods, reason = "the token's file is the operator's, no part of log or store")]

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use adsum_model::time::ReceivedAt;
use anyhow::{Context, Result, anyhow, bail};

use super::change::{Change, Token};
use super::keys::{SECRET_CHARS, digest, new_id, new_secret};
use super::make;
use super::state::State;
use crate::act::Actor;
use crate::http::{Problem, Role};
use crate::service::Service;

/// The source of the token of the file, and who is said to have made it.
const SOURCE: &str = "admin";

/// A file's admin token.
pub struct AdminToken {
    path: PathBuf,
    sha256: [u8; 32],
}

impl AdminToken {
    /// Reads the file, or makes it with a new token, readable by its owner alone.
    pub fn of_file(path: &Path) -> Result<Self> {
        let secret = match fs::read_to_string(path) {
            Ok(text) => text.trim().to_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => make_file(path)?,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let sha256 = digest(&secret).ok_or_else(|| {
            anyhow!(
                "{} holds no token: {} to {} visible ASCII characters are expected; take the file away, and a new token is \
                 made",
                path.display(),
                SECRET_CHARS.start(),
                SECRET_CHARS.end()
            )
        })?;
        Ok(Self { path: path.to_owned(), sha256 })
    }

    /// Makes sure that the token is an administrator's.
    pub async fn admit(&self, service: &Arc<Service>) -> Result<()> {
        if self.is_known(&service.metadata.state(), service.clock.now())? {
            return Ok(());
        }
        let actor = Actor::named(SOURCE);
        let sha256 = self.sha256;
        let plan = move |known: super::read::Known<'_>| {
            let id = new_id("tk", known.now).map_err(|error| {
                tracing::error!(%error, "no random bytes");
                Problem::internal()
            })?;
            Ok(vec![Change::TokenCreate(Token {
                id,
                name: Some("the token of the file".to_owned()),
                role: Role::Admin,
                source: SOURCE.to_owned(),
                advertiser: None,
                expires_at: None,
                requests_per_second: None,
                events_per_second: None,
                sha256,
            })])
        };
        make(service, actor, plan).await.map_err(|problem| anyhow!("the admin token: {}", problem.detail))?;
        Ok(())
    }

    /// Whether the metadata has it; an error where it must not be used.
    fn is_known(&self, state: &State, now: ReceivedAt) -> Result<bool> {
        let Some(token) = state.tokens.values().find(|t| t.made.it.sha256 == self.sha256) else { return Ok(false) };
        let it = &token.made.it;
        let why = if token.revoked_at.is_some() {
            "was revoked"
        } else if it.is_expired(now) {
            "has expired"
        } else if !it.is_admin() {
            "is no token of an administrator"
        } else {
            return Ok(true);
        };
        bail!("the token in {} ({}) {why}; take the file away, and a new token is made", self.path.display(), it.id)
    }
}

/// Writes a new token, so that after a crash the file is whole or not there.
fn make_file(path: &Path) -> Result<String> {
    let secret = new_secret()?;
    let cannot = || format!("cannot make {}", path.display());
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = path.with_extension("tmp");
    let mut options = File::options();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary).with_context(cannot)?;
    writeln!(file, "{secret}").with_context(cannot)?;
    file.sync_all().with_context(cannot)?;
    fs::rename(&temporary, path).with_context(cannot)?;
    File::open(dir).and_then(|dir| dir.sync_all()).with_context(cannot)?;
    Ok(secret)
}
