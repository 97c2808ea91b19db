//! Wiring: the one file that names concrete implementations.
//!
//! A data directory has one owner, a lock, a secret, a log and a store. Invariant: it opens whole or not at all, and
//! what is missing or damaged is named; a directory whose log and store disagree does not open.

#![allow(clippy::disallowed_methods, reason = "lock and secret are no part of log or store")]

use std::fs::{self, File};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use adsum_disk::{Disk, RealDisk};
use adsum_log::{EmbeddedLog, EventLog, LogOptions, LogView};
use adsum_model::campaigns::Campaigns;
use adsum_model::hash::Secret;
use adsum_model::id::{FrameSeq, Position};
use adsum_model::ledger::{LedgerColumn, LedgerCounts};
use adsum_pipeline::{InLine, LEDGER, Pipeline, schemas};
use adsum_store::{AggregateStore, BucketRange, EmbeddedStore, StoreOptions};
use anyhow::{Context, Result, bail};

use crate::clock;
use crate::config::Config;
use crate::metadata;
use crate::process::Threads;

/// Where a data directory keeps its log.
pub const LOG_DIR: &str = "log";
/// Where it keeps its store.
pub const STORE_DIR: &str = "store";
/// Where it keeps its secret.
pub const SECRET_FILE: &str = "secret";

/// An open data directory.
pub struct Home {
    /// The log.
    pub log: EmbeddedLog,
    /// The loop over the store, with every durable frame folded.
    pub pipeline: Pipeline<Arc<EmbeddedStore>>,
    /// The metadata as of the end of the log.
    pub metadata: metadata::State,
    /// The campaigns of configuration and metadata.
    pub campaigns: Arc<Campaigns>,
    /// The secret that dedupe keys are made under.
    pub secret: Secret,
    /// What opening found, for people.
    pub notes: Vec<String>,
    /// Held as long as the directory is open.
    pub lock: File,
}

/// Whether a data directory may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// It is made if it is not there.
    IfMissing,
    /// It must be there.
    Never,
}

impl Home {
    /// Opens a data directory and folds what its log has beyond its store.
    pub fn open(dir: &Path, config: &Config, make: Make, progress: &dyn Fn(u64)) -> Result<Self> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let catalog = Arc::new(config.catalog()?);
        // What is wrong in the configuration is named before anything is opened.
        config.campaigns(&catalog)?;
        if !dir.is_dir() {
            if make == Make::Never {
                bail!("{} is no data directory; `adsum import` makes one", dir.display());
            }
            disk.create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        let lock = lock(dir)?;
        // A start that was killed may have left names in it that no sync has reached.
        disk.sync_dir(dir).with_context(|| format!("cannot sync {}", dir.display()))?;
        let (log_dir, store_dir) = (dir.join(LOG_DIR), dir.join(STORE_DIR));
        let fresh = !log_dir.is_dir() && !store_dir.is_dir();
        let secret = secret(dir, fresh)?;
        let mut notes = Vec::new();
        let (store, store_report) = EmbeddedStore::open(
            disk.clone(),
            &store_dir,
            schemas(&catalog),
            catalog.symbols().clone(),
            StoreOptions::default(),
        )
        .with_context(|| format!("cannot open the store in {}", store_dir.display()))?;
        if !store_report.removed.is_empty() {
            notes.push(format!("the store had {} unfinished files, removed", store_report.removed.len()));
        }
        let committed = store.committed().through;
        let known = (committed != Position::default()).then_some(committed);
        let defaults = LogOptions::default();
        let options = LogOptions {
            segment_bytes: config.log.segment_bytes.unwrap_or(defaults.segment_bytes),
            verify_bytes: config.log.verify_bytes.unwrap_or(defaults.verify_bytes),
            ..defaults
        };
        let (log, log_report) = EmbeddedLog::open(disk, &log_dir, catalog.clone(), options, known)
            .with_context(|| format!("cannot open the log in {}", log_dir.display()))?;
        if let Some(torn) = log_report.torn {
            notes.push(format!(
                "the log ended in {} bytes that were never acknowledged ({} in {}, byte {}); kept as {}",
                torn.bytes, torn.reason, torn.segment, torn.at, torn.kept_as
            ));
        }
        if log.start().seq != FrameSeq::ZERO {
            // Nothing trims the log yet: what is missing was taken away.
            bail!("the log begins at frame {}: the segments before it are gone", log.start().seq.get());
        }
        let workers = workers(config);
        let executor: Box<dyn adsum_pipeline::Executor + Send> =
            if workers > 1 { Box::new(Threads) } else { Box::new(InLine) };
        let mut pipeline =
            Pipeline::new(catalog.clone(), Arc::new(store), config.rules(), config.checkpoints(), workers, executor)?;
        pipeline.recover(&log, secret, progress)?;
        let metadata = metadata::read(dir, &log, &catalog, metadata_records(&pipeline)?)?;
        let campaigns = Arc::new(metadata::campaigns(&metadata, config, &catalog)?);
        check_currencies(&pipeline, &campaigns)?;
        Ok(Self { log, pipeline, metadata, campaigns, secret, notes, lock })
    }

    /// Closes the log, so that its last frame is proven. Without it the next start copies that frame.
    pub fn close(mut self) -> Result<()> {
        Ok(self.log.close()?)
    }
}

/// How many changes of the metadata the log holds: the ledger counts them.
fn metadata_records<S: AggregateStore>(pipeline: &Pipeline<S>) -> Result<u64> {
    let mut records = 0;
    let pending = pipeline.pending_rows(LEDGER, BucketRange::ALL);
    let extra: Vec<_> = pending.iter().collect();
    pipeline.store().scan(LEDGER, BucketRange::ALL, &[], &extra, &mut |row| {
        records += LedgerCounts::from_values(row.values).get(LedgerColumn::Metadata) as u64;
        ControlFlow::Continue(())
    })?;
    Ok(records)
}

/// A campaign's currency is fixed once it has events: a configuration that says otherwise is refused.
fn check_currencies<S: AggregateStore>(pipeline: &Pipeline<S>, campaigns: &Campaigns) -> Result<()> {
    let name = |symbol| pipeline.catalog().symbols().text(symbol).unwrap_or_default();
    for (campaign, counted) in pipeline.campaign_currencies() {
        if let Some(declared) = campaigns.currency(campaign).filter(|c| *c != counted) {
            bail!(
                "campaigns.{}.currency: the configuration says {}, but the campaign has events in {}, and a campaign's \
                 currency is fixed once it has events",
                name(campaign),
                name(declared),
                name(counted)
            );
        }
    }
    Ok(())
}

/// How many shards fold.
pub fn workers(config: &Config) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    config.workers.unwrap_or_else(cores).clamp(1, adsum_model::id::SLOT_COUNT)
}

fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            bail!(
                "{} is in use by another adsum process: a data directory has one owner; ask a server by --url",
                dir.display()
            )
        }
        Err(fs::TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// Reads the secret, or makes it for a directory that has nothing yet. It is synced before anything is keyed by it.
pub fn secret(dir: &Path, fresh: bool) -> Result<Secret> {
    let path: PathBuf = dir.join(SECRET_FILE);
    match fs::read(&path) {
        Ok(bytes) => match <[u8; 16]>::try_from(bytes.as_slice()) {
            Ok(bytes) => Ok(Secret::new(bytes)),
            Err(_) => bail!("{} is damaged: 16 bytes are expected, {} are there", path.display(), bytes.len()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && fresh => {
            let bytes = clock::random::<16>()?;
            let temporary = dir.join("secret.tmp");
            let mut options = File::options();
            options.create(true).truncate(true).write(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(dir)?.sync_all()?;
            Ok(Secret::new(bytes))
        }
        Err(error) => Err(error).with_context(|| {
            format!("cannot read {}: without it no duplicate can be told, so nothing starts", path.display())
        }),
    }
}
