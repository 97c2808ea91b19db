//! A backup: one consistent set of files, and what a restored copy must come to.
//!
//! Store and log end at the same frame, so that the state's hash says whether a copy is that very state. Invariant: a
//! set under its final name is whole, and nothing in it changes: runs and sealed segments never do, and the segment that
//! is appended to is copied up to the frame. What the metadata's tables hold is made again from the log. Not here: who
//! asks for one (operate, cli).

#![allow(clippy::disallowed_methods, reason = "a backup copies whole files beside log and store")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};

use adsum_log::LogView;
use adsum_store::StoreView;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ulid::Ulid;
use xxhash_rust::xxh3::Xxh3;

use crate::clock;
use crate::config::Config;
use crate::ledger::Ledger;
use crate::wire::{Home, LOG_DIR, Make, SECRET_FILE, STORE_DIR};

/// Where a data directory keeps its backups.
const BACKUPS_DIR: &str = "backups";
/// The file that describes a set; it is written last.
const MANIFEST: &str = "backup.json";
/// The end of the name of a set, or of a restored directory, that is not whole yet.
const UNFINISHED: &str = "unfinished";
/// The version of the description.
const FORMAT: u32 = 1;
/// The largest description that is read, in bytes.
const MANIFEST_BYTES_MAX: u64 = 256 << 20;
/// How much is copied at a time, in bytes.
const COPY_BYTES: usize = 1 << 20;

/// What a set holds, and what a copy must come to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The version of this description.
    pub format: u32,
    /// The program that made it.
    pub adsum: String,
    /// When, as RFC 3339.
    pub created_at: String,
    /// The last revision in it.
    pub revision: String,
    /// The first frame that is not in it.
    pub next_frame: u64,
    /// The hash of everything counted.
    pub state_hash: String,
    /// By source, the conservation ledger.
    pub ledger: Value,
    /// Its files.
    pub files: Vec<FileEntry>,
}

/// A file of a set.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileEntry {
    /// Its path in the set: `secret`, `log/...`, `store/...`.
    pub path: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// XXH3-64 of them, 16 hexadecimal digits.
    pub xxh3: String,
}

impl Manifest {
    /// Reads the description of a set.
    pub fn read(set: &Path) -> Result<Self> {
        let path = set.join(MANIFEST);
        let mut text = Vec::new();
        let file = File::open(&path).with_context(|| format!("{} is no backup: no {MANIFEST}", set.display()))?;
        file.take(MANIFEST_BYTES_MAX).read_to_end(&mut text)?;
        let manifest: Self = serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))?;
        if manifest.format != FORMAT {
            bail!("{}: format {} is not known to this version", path.display(), manifest.format);
        }
        for file in &manifest.files {
            let parts: Vec<Component<'_>> = Path::new(&file.path).components().collect();
            if parts.is_empty() || parts.len() > 2 || parts.iter().any(|p| !matches!(p, Component::Normal(_))) {
                bail!("{} is damaged: {:?} is no file of a backup", path.display(), file.path);
            }
        }
        Ok(manifest)
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.bytes).sum()
    }
}

/// A set that is being made.
pub struct Draft {
    data_dir: PathBuf,
    name: String,
    dir: PathBuf,
}

impl Draft {
    /// A new one in a data directory. What an earlier one that broke off left is removed: there is one at a time.
    pub fn begin(data_dir: &Path) -> Result<Self> {
        let backups = data_dir.join(BACKUPS_DIR);
        fs::create_dir_all(&backups).with_context(|| format!("cannot make {}", backups.display()))?;
        for entry in fs::read_dir(&backups)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == UNFINISHED) {
                fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        let millis = u64::try_from(clock::now().micros() / 1000).unwrap_or_default();
        let name = Ulid::from_parts(millis, u128::from_le_bytes(clock::random::<16>()?)).to_string();
        let dir = backups.join(format!("{name}.{UNFINISHED}"));
        for sub in [LOG_DIR, STORE_DIR] {
            fs::create_dir_all(dir.join(sub))?;
        }
        only_for_owner(&dir)?;
        Ok(Self { data_dir: data_dir.to_path_buf(), name, dir })
    }

    /// Takes in the store's files. Quick: each gets a second name.
    pub fn link_store(&self, names: &[String]) -> Result<()> {
        names.iter().try_for_each(|name| self.link(STORE_DIR, name))
    }

    fn link(&self, sub: &str, name: &str) -> Result<()> {
        let (from, to) = (self.data_dir.join(sub).join(name), self.dir.join(sub).join(name));
        fs::hard_link(&from, &to).with_context(|| format!("cannot link {} to {}", from.display(), to.display()))
    }

    /// Takes in the log up to where the store stands, describes the set, and gives it its name. `view` is the state
    /// whose files were linked.
    pub fn finish(&self, view: &dyn StoreView, log: &dyn LogView) -> Result<(PathBuf, Manifest)> {
        let made = self.fill(view, log);
        if made.is_err() {
            // The reason of the failure is what counts; the next backup removes what stays.
            let _ = fs::remove_dir_all(&self.dir);
        }
        let manifest = made?;
        let path = self.data_dir.join(BACKUPS_DIR).join(&self.name);
        fs::rename(&self.dir, &path)?;
        sync_dir(&self.data_dir.join(BACKUPS_DIR))?;
        // Who asked may stand elsewhere.
        Ok((std::path::absolute(path)?, manifest))
    }

    fn fill(&self, view: &dyn StoreView, log: &dyn LogView) -> Result<Manifest> {
        let committed = view.committed();
        let segments = log.files(committed.through.seq)?;
        for (i, (name, bytes)) in segments.iter().enumerate() {
            if i + 1 < segments.len() {
                self.link(LOG_DIR, name)?;
            } else {
                // It may be appended to: what lies behind the frame is no part of the backup.
                let (from, to) = (self.data_dir.join(LOG_DIR).join(name), self.dir.join(LOG_DIR).join(name));
                copy(&from, &to, Some(*bytes))?;
            }
        }
        copy(&self.data_dir.join(SECRET_FILE), &self.dir.join(SECRET_FILE), None)?;
        let mut files = Vec::new();
        for sub in ["", LOG_DIR, STORE_DIR] {
            let dir = self.dir.join(sub);
            let mut names = Vec::new();
            for entry in fs::read_dir(&dir)? {
                let entry = entry?;
                if entry.file_type()?.is_file() {
                    names.push(entry.file_name().to_string_lossy().into_owned());
                }
            }
            names.sort();
            for name in names {
                let (bytes, xxh3) = pass(&mut File::open(dir.join(&name))?, None, None)?;
                let path = if sub.is_empty() { name } else { format!("{sub}/{name}") };
                files.push(FileEntry { path, bytes, xxh3 });
            }
            sync_dir(&dir)?;
        }
        let ledger = Ledger::of(view, &[])?;
        if !ledger.problems.is_empty() {
            bail!("the ledger does not balance: {}", ledger.problems.join("; "));
        }
        let manifest = Manifest {
            format: FORMAT,
            adsum: env!("CARGO_PKG_VERSION").to_owned(),
            created_at: clock::now().to_string(),
            revision: committed.revision.to_string(),
            next_frame: committed.through.seq.get(),
            state_hash: view.state_hash(None)?.to_string(),
            ledger: ledger.json(),
            files,
        };
        write_manifest(&self.dir, &manifest)?;
        Ok(manifest)
    }
}

/// Copies a set to a new place, each byte checked against its description, and syncs it.
pub fn copy_set(from: &Path, to: &Path) -> Result<Manifest> {
    let manifest = Manifest::read(from)?;
    into_empty(to, |unfinished| {
        copy_files(from, &manifest, unfinished)?;
        write_manifest(unfinished, &manifest)
    })?;
    Ok(manifest)
}

/// Makes a data directory of a set, and proves that it is the state that was backed up: every byte of the files and of
/// the log's records is checked, the ledger balances and is the same, and so is the state's hash.
pub fn restore(from: &Path, to: &Path, config: &Config) -> Result<Manifest> {
    let manifest = Manifest::read(from)?;
    into_empty(to, |unfinished| {
        copy_files(from, &manifest, unfinished)?;
        let mut home = Home::open(unfinished, config, Make::Never, &|_| {})?;
        home.log.verify_all()?;
        let ledger = Ledger::of(&*adsum_store::AggregateStore::view(home.pipeline.store()), &[])?;
        if !ledger.problems.is_empty() {
            bail!("the restored ledger does not balance: {}", ledger.problems.join("; "));
        }
        let found = [
            ("next frame", home.log.durable().seq.get().to_string(), manifest.next_frame.to_string()),
            ("revision", home.pipeline.revision().to_string(), manifest.revision.clone()),
            ("ledger", ledger.json().to_string(), manifest.ledger.to_string()),
            ("state hash", home.pipeline.state_hash()?.to_string(), manifest.state_hash.clone()),
        ];
        for (what, restored, backed_up) in found {
            if restored != backed_up {
                bail!(
                    "the restored {what} is {restored}, the backup's is {backed_up}; restore under the configuration \
                     that the backup was made under"
                );
            }
        }
        adsum_log::EventLog::close(&mut home.log)?;
        Ok(())
    })?;
    Ok(manifest)
}

/// Fills a directory beside `to` and gives it that name when all went well; else nothing stays. `to` must not be there,
/// or be empty.
fn into_empty(to: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    match fs::read_dir(to) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                bail!("{} is not empty", to.display());
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot look into {}", to.display())),
    }
    let name = to.file_name().with_context(|| format!("{} names no directory", to.display()))?;
    let parent = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let unfinished = parent.join(format!("{}.{UNFINISHED}", name.to_string_lossy()));
    fs::create_dir(&unfinished).with_context(|| format!("cannot make {}", unfinished.display()))?;
    let filled = only_for_owner(&unfinished).and_then(|()| fill(&unfinished));
    if let Err(error) = filled {
        // The reason of the failure is what counts.
        let _ = fs::remove_dir_all(&unfinished);
        return Err(error);
    }
    sync_dir(&unfinished)?;
    fs::rename(&unfinished, to)?;
    sync_dir(parent)
}

fn copy_files(from: &Path, manifest: &Manifest, to: &Path) -> Result<()> {
    for sub in [LOG_DIR, STORE_DIR] {
        fs::create_dir_all(to.join(sub))?;
    }
    for file in &manifest.files {
        let (bytes, xxh3) = copy(&from.join(&file.path), &to.join(&file.path), None)?;
        if (bytes, &xxh3) != (file.bytes, &file.xxh3) {
            bail!("the backup is damaged: {} is not what was backed up", from.join(&file.path).display());
        }
    }
    [LOG_DIR, STORE_DIR].iter().try_for_each(|sub| sync_dir(&to.join(sub)))
}

/// Copies a file, or the beginning of one, with its permissions, and syncs it.
fn copy(from: &Path, to: &Path, bytes: Option<u64>) -> Result<(u64, String)> {
    let work = || -> Result<(u64, String)> {
        let mut source = File::open(from)?;
        let mut target = File::options().write(true).create_new(true).open(to)?;
        target.set_permissions(source.metadata()?.permissions())?;
        let passed = pass(&mut source, Some(&mut target), bytes)?;
        if bytes.is_some_and(|bytes| bytes != passed.0) {
            bail!("it is shorter than {} bytes", bytes.unwrap_or_default());
        }
        target.sync_all()?;
        Ok(passed)
    };
    work().with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// Reads a file, or its beginning, and writes it where it is wanted; gives its length and hash.
fn pass(from: &mut File, mut to: Option<&mut File>, bytes: Option<u64>) -> Result<(u64, String)> {
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; COPY_BYTES];
    let mut left = bytes.unwrap_or(u64::MAX);
    let mut passed = 0;
    while left > 0 {
        let want = usize::try_from(left).map_or(COPY_BYTES, |left| left.min(COPY_BYTES));
        let read = from.read(&mut buffer[..want])?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        if let Some(to) = &mut to {
            to.write_all(&buffer[..read])?;
        }
        passed += read as u64;
        left -= read as u64;
    }
    Ok((passed, format!("{:016x}", hash.digest())))
}

fn write_manifest(set: &Path, manifest: &Manifest) -> Result<()> {
    let mut file = File::create(set.join(MANIFEST))?;
    file.write_all(serde_json::to_string_pretty(manifest)?.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    sync_dir(set)
}

/// Removes a set.
pub fn remove(set: &Path) -> Result<()> {
    fs::remove_dir_all(set).with_context(|| format!("cannot remove {}", set.display()))
}

/// A set holds the secret: nobody else may look in.
fn only_for_owner(dir: &Path) -> Result<()> {
    #[cfg(unix)]
    fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    Ok(())
}

fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)?.sync_all().with_context(|| format!("cannot sync {}", dir.display()))
}
