//! How far import runs have come: files, positions and figures, folded from the records of imports.
//!
//! Invariant: a frame holds lines of one file at most, and its progress record says which; so the figures of a file
//! are what became of exactly the lines before its position.

use adsum_model::ledger::LedgerCounts;
use adsum_model::state::ImportFile;

/// The files of import runs that are not finished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imports {
    files: Vec<ImportFile>,
}

impl Imports {
    /// As a checkpoint left them.
    pub fn restore(files: &[ImportFile]) -> Self {
        Self { files: files.to_vec() }
    }

    /// For a checkpoint.
    pub fn files(&self) -> &[ImportFile] {
        &self.files
    }

    /// The files of a source.
    pub fn of_source<'a>(&'a self, source: &'a str) -> impl Iterator<Item = &'a ImportFile> + 'a {
        self.files.iter().filter(move |f| f.source == source)
    }

    /// A run begins. Of another run of its source the unfinished files go over to it, the finished ones are forgotten.
    pub(crate) fn begin(&mut self, source: &str, run: &str) {
        self.files.retain(|f| f.source != source || f.run == run || !f.finished);
        for file in self.files.iter_mut().filter(|f| f.source == source) {
            run.clone_into(&mut file.run);
        }
    }

    /// A file of a run was read to a position; `counts` is what became of this frame's lines.
    pub(crate) fn progress(&mut self, file: &ImportFile, counts: &LedgerCounts) {
        let same =
            |f: &ImportFile| (&f.source, &f.path, f.size, f.head) == (&file.source, &file.path, file.size, file.head);
        let mut figures = LedgerCounts::default();
        if let Some(i) = self.files.iter().position(same) {
            let old = self.files.swap_remove(i);
            if old.position <= file.position {
                figures = LedgerCounts::from_values(&old.figures);
            }
        }
        figures.merge(counts);
        self.files.push(ImportFile { figures: figures.values().to_vec(), ..file.clone() });
        self.files.sort_by(|a, b| (&a.source, &a.path).cmp(&(&b.source, &b.path)));
    }

    /// A run has ended: its files are forgotten.
    pub(crate) fn end(&mut self, source: &str) {
        self.files.retain(|f| f.source != source);
    }
}
