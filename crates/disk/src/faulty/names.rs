//! The names of the disk: as a reader sees them, and as they lie on the platter.
//!
//! Invariant: a change is on the platter once its directory is synced; before that a power loss draws, change by
//! change, whether it happened. A rename is one change. Directories are durable when made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Choices;

enum Change {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf, u64),
    Remove(PathBuf, u64),
}

#[derive(Default)]
pub(super) struct Names {
    seen: BTreeMap<PathBuf, u64>,
    kept: BTreeMap<PathBuf, u64>,
    pending: Vec<Change>,
    dirs: BTreeSet<PathBuf>,
}

impl Change {
    fn dir(&self) -> Option<&Path> {
        match self {
            Self::Create(path, _) | Self::Remove(path, _) | Self::Rename(_, path, _) => path.parent(),
        }
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Create(path, id) => {
                names.insert(path, id);
            }
            Self::Rename(from, to, id) => {
                if names.get(&from) == Some(&id) {
                    names.remove(&from);
                }
                names.insert(to, id);
            }
            Self::Remove(path, id) => {
                if names.get(&path) == Some(&id) {
                    names.remove(&path);
                }
            }
        }
    }
}

impl Names {
    pub(super) fn find(&self, path: &Path) -> Option<u64> {
        self.seen.get(path).copied()
    }

    /// Whether a file has a name, seen or kept.
    pub(super) fn holds(&self, id: u64) -> bool {
        self.seen.values().chain(self.kept.values()).any(|held| *held == id)
    }

    pub(super) fn has_dir(&self, dir: &Path) -> bool {
        dir.as_os_str().is_empty() || self.dirs.contains(dir)
    }

    pub(super) fn create_dir_all(&mut self, dir: &Path) {
        self.dirs.extend(dir.ancestors().map(Path::to_path_buf));
    }

    pub(super) fn list(&self, dir: &Path) -> Vec<String> {
        let in_dir = self.seen.keys().filter(|path| path.parent() == Some(dir));
        let mut names: Vec<String> =
            in_dir.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect();
        names.sort_unstable();
        names
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.seen.keys().cloned().collect()
    }

    pub(super) fn create(&mut self, path: &Path, id: u64) {
        self.seen.insert(path.to_path_buf(), id);
        self.pending.push(Change::Create(path.to_path_buf(), id));
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) {
        if let Some(id) = self.seen.remove(from) {
            self.seen.insert(to.to_path_buf(), id);
            self.pending.push(Change::Rename(from.to_path_buf(), to.to_path_buf(), id));
        }
    }

    pub(super) fn remove(&mut self, path: &Path) {
        if let Some(id) = self.seen.remove(path) {
            self.pending.push(Change::Remove(path.to_path_buf(), id));
        }
    }

    pub(super) fn sync(&mut self, dir: &Path) {
        for change in std::mem::take(&mut self.pending) {
            if change.dir() == Some(dir) {
                change.apply(&mut self.kept);
            } else {
                self.pending.push(change);
            }
        }
    }

    pub(super) fn lose_power(&mut self, choices: &mut Choices) {
        for change in std::mem::take(&mut self.pending) {
            if choices.coin() {
                change.apply(&mut self.kept);
            }
        }
        self.seen.clone_from(&self.kept);
    }

    pub(super) fn set_durably(&mut self, path: &Path, id: u64) {
        if let Some(dir) = path.parent() {
            self.create_dir_all(dir);
        }
        self.take_durably(path);
        self.seen.insert(path.to_path_buf(), id);
        self.kept.insert(path.to_path_buf(), id);
    }

    pub(super) fn take_durably(&mut self, path: &Path) {
        self.seen.remove(path);
        self.kept.remove(path);
        self.pending.retain(|change| match change {
            Change::Create(at, _) | Change::Remove(at, _) => at != path,
            Change::Rename(from, to, _) => from != path && to != path,
        });
    }
}
