//! `adsum backup` and `adsum restore`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use adsum_store::AggregateStore;
use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};

use super::Global;
use crate::backup::{self, Draft, Manifest};
use crate::report::Format;
use crate::wire::Make;

/// The arguments of `backup`.
#[derive(clap::Args)]
pub struct BackupArgs {
    /// Where the backup goes: a directory that is not there yet, or empty. Without it the backup stays in the data
    /// directory, under `backups`.
    #[arg(value_name = "TARGET_DIR")]
    target: Option<PathBuf>,
}

/// The arguments of `restore`.
#[derive(clap::Args)]
pub struct RestoreArgs {
    /// The backup; --data-dir names the data directory to make.
    #[arg(value_name = "BACKUP_DIR")]
    from: PathBuf,
}

/// Runs `adsum backup`.
pub fn backup(global: &Global, args: &BackupArgs) -> Result<()> {
    let set = match global.client()? {
        Some(client) => {
            let answer = client.send_json("POST", "/v1/backups", &Value::Null)?;
            PathBuf::from(answer["path"].as_str().context("the server names no backup")?)
        }
        None => {
            offline(global).context("without --url a backup is made of a data directory that no server has open")?
        }
    };
    let (path, manifest) = match &args.target {
        None => (set.clone(), Manifest::read(&set)?),
        Some(target) => {
            let here = || format!("the backup is whole in {}, on the server's machine", set.display());
            let manifest = backup::copy_set(&set, target).with_context(here)?;
            backup::remove(&set)?;
            (target.clone(), manifest)
        }
    };
    show(global, "backed up to", &path, &manifest)
}

fn offline(global: &Global) -> Result<PathBuf> {
    let mut home = global.open(&global.config()?, Make::Never)?;
    home.pipeline.checkpoint()?;
    let draft = Draft::begin(global.data_dir())?;
    let mut linked = Err(anyhow!("the store named no files"));
    home.pipeline.store().hold(&mut |names| linked = draft.link_store(names))?;
    linked?;
    let (set, _) = draft.finish(&*home.pipeline.store().view(), &home.log)?;
    home.close()?;
    Ok(set)
}

/// Runs `adsum restore`.
pub fn restore(global: &Global, args: &RestoreArgs) -> Result<()> {
    let manifest = backup::restore(&args.from, global.data_dir(), &global.config()?)?;
    show(global, "restored and proven in", global.data_dir(), &manifest)
}

fn show(global: &Global, what: &str, path: &Path, manifest: &Manifest) -> Result<()> {
    let mut out = io::stdout().lock();
    if global.format(Format::Table) == Format::Table {
        writeln!(out, "{what} {}", path.display())?;
        writeln!(out, "{} files, {} bytes, {}", manifest.files.len(), manifest.bytes(), manifest.revision)?;
        writeln!(out, "state hash: {}", manifest.state_hash)?;
    } else {
        let answer = json!({
            "path": path,
            "files": manifest.files.len(),
            "bytes": manifest.bytes(),
            "revision": manifest.revision,
            "stateHash": manifest.state_hash,
            "ledger": manifest.ledger,
        });
        writeln!(out, "{answer}")?;
    }
    Ok(())
}
