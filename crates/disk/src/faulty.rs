//! A disk in memory that forgets what was not synced, tears what was half written, and fails where it is told to.
//!
//! What a power loss does, each choice drawn from the seed: a block of a file written since its last sync is there,
//! absent (old bytes or zeros) or written in part; the length is the old one, the new one or between; a cut that was
//! not synced happened or not; a name made, moved or removed since its directory's last sync is so or not, each on its
//! own. Invariant: what `sync` and `sync_dir` made durable is there, bit for bit. Not here: bit rot; tests flip bits by
//! [`FaultyDisk::set_bytes`].

mod image;
mod names;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Disk, DiskFile, Open};
use image::Image;
use names::Names;

/// What goes wrong. Each strikes once, at the first operation of its kind from the chosen operation on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `sync` fails, and the unsynced bytes count as clean from then on: a later `sync` says Ok and keeps nothing of
    /// them, as Linux does it after a failed write-back.
    FailSync,
    /// `append` writes a part and fails.
    FailAppend,
    /// From then on files grow by so many bytes, then `append` writes what fits and fails with `StorageFull`, until
    /// [`FaultyDisk::set_space`] says otherwise.
    FullAfter(u64),
    /// `rename` fails and nothing is moved.
    FailRename,
    /// `remove` fails and nothing is removed.
    FailRemove,
    /// `sync_dir` fails; the names stay as undecided as before.
    FailSyncDir,
    /// `truncate` fails and nothing is cut.
    FailTruncate,
    /// Making a file fails.
    FailCreate,
    /// `read_exact_at` fails.
    FailRead,
    /// The machine stops: this operation may take place in part, and every later one fails until
    /// [`FaultyDisk::crash_power`] or [`FaultyDisk::crash_process`].
    Halt,
}

/// The kinds of operation that a fault strikes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Create,
    Append,
    Sync,
    Truncate,
    Rename,
    Remove,
    SyncDir,
    Read,
}

impl Fault {
    fn strikes(self, kind: Kind) -> bool {
        match self {
            Self::FailSync => kind == Kind::Sync,
            Self::FailAppend | Self::FullAfter(_) => kind == Kind::Append,
            Self::FailRename => kind == Kind::Rename,
            Self::FailRemove => kind == Kind::Remove,
            Self::FailSyncDir => kind == Kind::SyncDir,
            Self::FailTruncate => kind == Kind::Truncate,
            Self::FailCreate => kind == Kind::Create,
            Self::FailRead => kind == Kind::Read,
            Self::Halt => kind != Kind::Read,
        }
    }
}

/// The seeded choices (splitmix64).
struct Choices(u64);

impl Choices {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is at least 1.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

struct State {
    choices: Choices,
    files: BTreeMap<u64, Image>,
    file_next: u64,
    names: Names,
    /// Handles of an older life of the machine fail.
    life: u64,
    halted: bool,
    operations: u64,
    faults: Vec<(u64, Fault)>,
    space: Option<u64>,
    lying_sync: bool,
    lying_sync_dir: bool,
}

/// A disk in memory for tests and the simulator. Clones share it.
#[derive(Clone)]
pub struct FaultyDisk {
    state: Arc<Mutex<State>>,
}

struct FaultyFile {
    state: Arc<Mutex<State>>,
    id: u64,
    life: u64,
    writable: bool,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn injected(what: &str) -> io::Error {
    io::Error::other(format!("injected: {what}"))
}

impl FaultyDisk {
    /// An empty disk whose choices follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                choices: Choices(seed),
                files: BTreeMap::new(),
                file_next: 0,
                names: Names::default(),
                life: 0,
                halted: false,
                operations: 0,
                faults: Vec::new(),
                space: None,
                lying_sync: false,
                lying_sync_dir: false,
            })),
        }
    }

    /// The power fails and comes back: what was not synced is lost, kept or torn; handles from before fail.
    pub fn crash_power(&self) {
        let state = &mut *lock(&self.state);
        state.begin_life();
        state.names.lose_power(&mut state.choices);
        let names = &state.names;
        state.files.retain(|id, _| names.holds(*id));
        for image in state.files.values_mut() {
            image.lose_power(&mut state.choices);
        }
    }

    /// The process dies: handles from before fail, and every byte written stays as it is (still unsynced).
    pub fn crash_process(&self) {
        lock(&self.state).begin_life();
    }

    /// Lets `fault` strike at the first operation of its kind whose number is `operation` or later.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        lock(&self.state).faults.push((operation, fault));
    }

    /// Forgets the faults that have not struck.
    pub fn clear_faults(&self) {
        lock(&self.state).faults.clear();
    }

    /// How many operations there were that write, sync or change a name; the next one has this number.
    pub fn operations(&self) -> u64 {
        lock(&self.state).operations
    }

    /// By how many bytes files may still grow; `None` for no limit.
    pub fn set_space(&self, bytes: Option<u64>) {
        lock(&self.state).space = bytes;
    }

    /// Makes `sync` say Ok and do nothing: a test that then still passes proves nothing.
    pub fn set_lying_sync(&self, lying: bool) {
        lock(&self.state).lying_sync = lying;
    }

    /// Makes `sync_dir` say Ok and do nothing.
    pub fn set_lying_sync_dir(&self, lying: bool) {
        lock(&self.state).lying_sync_dir = lying;
    }

    /// The bytes of a file as a reader sees them.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let state = lock(&self.state);
        state.names.find(path).and_then(|id| state.files.get(&id)).map(|image| image.bytes().to_vec())
    }

    /// The paths of all files as a reader sees them, sorted.
    pub fn paths(&self) -> Vec<PathBuf> {
        lock(&self.state).names.paths()
    }

    /// Puts a file there with these bytes, durably, as if it had always been so.
    pub fn set_bytes(&self, path: &Path, bytes: Vec<u8>) {
        let state = &mut *lock(&self.state);
        let id = state.file_next;
        state.file_next += 1;
        state.files.insert(id, Image::durable(bytes));
        state.names.set_durably(path, id);
    }

    /// Takes a file away, durably, as if it had never been.
    pub fn take(&self, path: &Path) {
        lock(&self.state).names.take_durably(path);
    }
}

impl State {
    fn begin_life(&mut self) {
        self.life += 1;
        self.halted = false;
    }

    /// An open file outlives its name; its bytes are dropped at the next power loss.
    fn image(&mut self, id: u64) -> &mut Image {
        self.files.entry(id).or_default()
    }

    /// Counts an operation and says which fault strikes it.
    fn begin(&mut self, kind: Kind) -> io::Result<Option<Fault>> {
        if self.halted {
            return Err(injected("the machine has stopped"));
        }
        let number = self.operations;
        if kind != Kind::Read {
            self.operations += 1;
        }
        let Some(at) = self.faults.iter().position(|(n, fault)| *n <= number && fault.strikes(kind)) else {
            return Ok(None);
        };
        let (_, fault) = self.faults.remove(at);
        match fault {
            Fault::Halt => self.halted = true,
            Fault::FullAfter(bytes) => self.space = Some(bytes),
            _ => {}
        }
        Ok(Some(fault))
    }
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        let state = &mut *lock(&self.state);
        let found = state.names.find(path);
        let id = match (how, found) {
            (Open::Create, Some(_)) => {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, path.display().to_string()));
            }
            (Open::Create, None) => {
                let fault = state.begin(Kind::Create)?;
                if !path.parent().is_some_and(|dir| state.names.has_dir(dir)) {
                    return Err(io::Error::new(io::ErrorKind::NotFound, path.display().to_string()));
                }
                if fault.is_some_and(|f| f != Fault::Halt || state.choices.coin()) {
                    return Err(injected("create"));
                }
                let id = state.file_next;
                state.file_next += 1;
                state.files.insert(id, Image::default());
                state.names.create(path, id);
                if fault.is_some() {
                    return Err(injected("create"));
                }
                id
            }
            (_, Some(id)) => id,
            (_, None) => return Err(io::Error::new(io::ErrorKind::NotFound, path.display().to_string())),
        };
        if state.halted {
            return Err(injected("the machine has stopped"));
        }
        Ok(Box::new(FaultyFile { state: self.state.clone(), id, life: state.life, writable: how != Open::Read }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = lock(&self.state);
        if !state.names.has_dir(dir) {
            return Err(io::Error::new(io::ErrorKind::NotFound, dir.display().to_string()));
        }
        Ok(state.names.list(dir))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        if state.halted {
            return Err(injected("the machine has stopped"));
        }
        state.names.create_dir_all(dir);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change_name(Kind::Rename, from, "rename", |names| names.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change_name(Kind::Remove, path, "remove", |names| names.remove(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let state = &mut *lock(&self.state);
        if state.begin(Kind::SyncDir)?.is_some() {
            return Err(injected("sync_dir"));
        }
        if !state.lying_sync_dir {
            state.names.sync(dir);
        }
        Ok(())
    }
}

impl FaultyDisk {
    fn change_name(&self, kind: Kind, path: &Path, what: &str, change: impl FnOnce(&mut Names)) -> io::Result<()> {
        let state = &mut *lock(&self.state);
        if state.names.find(path).is_none() {
            return Err(io::Error::new(io::ErrorKind::NotFound, path.display().to_string()));
        }
        let fault = state.begin(kind)?;
        // A machine that stops may have moved the name just before.
        if fault.is_none() || (fault == Some(Fault::Halt) && state.choices.coin()) {
            change(&mut state.names);
        }
        if fault.is_some() { Err(injected(what)) } else { Ok(()) }
    }
}

impl FaultyFile {
    fn with<R>(&self, act: impl FnOnce(&mut State, u64) -> io::Result<R>) -> io::Result<R> {
        let state = &mut *lock(&self.state);
        if state.life != self.life {
            return Err(injected("this handle is from before the crash"));
        }
        act(state, self.id)
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::Error::new(io::ErrorKind::PermissionDenied, "opened to be read")) }
    }
}

impl DiskFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|state, id| Ok(state.image(id).bytes().len() as u64))
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.with(|state, id| {
            if state.begin(Kind::Read)?.is_some() {
                return Err(injected("read"));
            }
            let bytes = state.image(id).bytes();
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            match bytes[start..].get(..buf.len()) {
                Some(found) => {
                    buf.copy_from_slice(found);
                    Ok(())
                }
                None => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.check_writable()?;
        self.with(|state, id| {
            let fault = state.begin(Kind::Append)?;
            let part = match fault {
                Some(Fault::FailAppend | Fault::Halt) => state.choices.below(bytes.len() as u64 + 1),
                _ => bytes.len() as u64,
            };
            let fits = state.space.map_or(part, |space| part.min(space));
            if let Some(space) = &mut state.space {
                *space -= fits;
            }
            state.image(id).append(&bytes[..fits as usize]);
            if matches!(fault, Some(Fault::FailAppend | Fault::Halt)) {
                return Err(injected("append"));
            }
            if fits < part { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.check_writable()?;
        self.with(|state, id| {
            match state.begin(Kind::Sync)? {
                None if state.lying_sync => {}
                None => state.image(id).sync(),
                // A machine that stops in a sync has written some blocks; the power loss draws which.
                Some(Fault::Halt) => return Err(injected("sync")),
                Some(_) => {
                    state.image(id).fail_sync();
                    return Err(injected("sync"));
                }
            }
            Ok(())
        })
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        self.with(|state, id| {
            let fault = state.begin(Kind::Truncate)?;
            if fault.is_none() || (fault == Some(Fault::Halt) && state.choices.coin()) {
                let freed = state.image(id).truncate(len);
                if let Some(space) = &mut state.space {
                    *space += freed;
                }
            }
            if fault.is_some() { Err(injected("truncate")) } else { Ok(()) }
        })
    }
}
