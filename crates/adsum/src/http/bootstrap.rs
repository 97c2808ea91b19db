//! The first token: read from its file, or made and written there, so that somebody can make the others.
//!
//! Invariant: a token that is handed out is on the disk first, readable by its owner alone; a file that holds no token
//! starts nothing. Not here: the tokens that the API makes.

#![allow(clippy::disallowed_methods, reason = "the token's file is no part of log or store")]

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::auth::token_hash;
use super::{Principal, Role};
use crate::clock;
use crate::directory::{Directory, Token};

const PREFIX: &str = "adsum_";
const SECRET_BYTES: usize = 32;

/// Admits the token of the file `path` as admin; makes the file if it is not there.
pub fn admit_admin(directory: &mut Directory, path: &Path) -> Result<()> {
    let secret = match fs::read_to_string(path) {
        Ok(text) => text.trim().to_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => make(path)?,
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let digits = secret.strip_prefix(PREFIX).unwrap_or_default();
    if digits.len() != 2 * SECRET_BYTES || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        bail!("{} holds no token: {PREFIX} and {} hex digits are expected", path.display(), 2 * SECRET_BYTES);
    }
    let principal =
        Principal { token_id: "tk_bootstrap".into(), role: Role::Admin, source: "admin".into(), advertiser: None };
    let token = Token { principal, expires_at_micros: None, requests_per_second: None, events_per_second: None };
    directory.tokens.insert(token_hash(&secret), token);
    Ok(())
}

/// Writes a new token to a new file.
fn make(path: &Path) -> Result<String> {
    let bytes = clock::random::<SECRET_BYTES>()?;
    let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let secret = format!("{PREFIX}{digits}");
    let write = || {
        let mut options = File::options();
        options.create_new(true).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        writeln!(file, "{secret}")?;
        file.sync_all()?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(dir)?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(secret)
}
