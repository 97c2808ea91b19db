//! The files of the repository, read once for all rules.
//!
//! Invariant: paths are relative to the root, with `/`, in order. Left out: what is built or fetched (`target`,
//! `node_modules`, the root's `data`), what fuzzers made up, git's own folder, and symbolic links. Files that are not
//! UTF-8 are known by name only.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::Finding;
use super::lexer::split;

const SKIPPED: [&str; 6] = [".git", "target", "node_modules", "__pycache__", ".venv", ".pytest_cache"];
const SKIPPED_PATHS: [&str; 2] = ["data", "fuzz/corpus"];

/// One text file.
pub struct File {
    pub path: String,
    pub text: String,
    /// For Rust: the text with comments and the insides of strings blanked, byte for byte in the same places.
    pub code: String,
    /// For Rust: the text with all but comments blanked.
    pub comments: String,
}

/// The repository.
pub struct Tree {
    pub files: Vec<File>,
    /// Every file and folder, text or not.
    pub names: BTreeSet<String>,
}

impl Tree {
    /// Reads everything under `root`.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Self { files: Vec::new(), names: BTreeSet::new() };
        tree.read_folder(root, "")?;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    fn read_folder(&mut self, folder: &Path, path: &str) -> io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let below = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            let skipped = SKIPPED.contains(&name.as_str()) || SKIPPED_PATHS.contains(&below.as_str());
            let kind = entry.file_type()?;
            if skipped || kind.is_symlink() {
                continue;
            }
            self.names.insert(below.clone());
            if kind.is_dir() {
                self.read_folder(&entry.path(), &below)?;
            } else if let Some(text) = text_of(&entry.path())? {
                let (code, comments) = if below.ends_with(".rs") { split(&text) } else { Default::default() };
                self.files.push(File { path: below, text, code, comments });
            }
        }
        Ok(())
    }

    /// Our Rust: crates, fuzz, xtask and bench.
    pub fn rust(&self) -> impl Iterator<Item = &File> {
        let ours = |path: &str| ["crates/", "fuzz/", "xtask/", "bench/"].iter().any(|folder| path.starts_with(folder));
        self.files.iter().filter(move |file| file.path.ends_with(".rs") && ours(&file.path))
    }
}

/// The text of a file. None when it is not UTF-8, or was removed since its folder was listed (editors do that).
fn text_of(path: &Path) -> io::Result<Option<String>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8(bytes).ok()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

impl File {
    /// A finding at a byte of this file's text.
    pub fn at(&self, offset: usize, what: impl Into<String>) -> Finding {
        let before = self.text.as_bytes().iter().take(offset);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        Finding { path: self.path.clone(), line, what: what.into() }
    }

    /// A finding about the file as a whole.
    pub fn whole(&self, what: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line: 0, what: what.into() }
    }

    /// The lines of the text, with the byte at which each begins and without their ends.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut at = 0;
        self.text.split_inclusive('\n').map(move |line| {
            let begins = at;
            at += line.len();
            (begins, line.strip_suffix('\n').unwrap_or(line))
        })
    }
}

/// Where `word` stands in `text` as a word of its own: not part of a longer identifier.
pub fn words<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    let inside = |c: char| c == '_' || c.is_alphanumeric();
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        !before.ends_with(inside) && !after.starts_with(inside)
    })
}

/// The identifier with which a text begins; empty when it begins with none.
pub fn first_word(text: &str) -> &str {
    let end = text.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(text.len());
    &text[..end]
}
