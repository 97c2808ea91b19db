//! The records of a run itself, and what a run goes on with: shared by the import into a data directory and the one
//! into a running server.
//!
//! Invariant: a progress record lies in the same frame as the lines before its position. A run is gone on with only if
//! every file that it left is among the files asked for.

use std::sync::Arc;

use adsum_model::catalog::Catalog;
use adsum_model::hash::Secret;
use adsum_model::record::{Form, RecordBatch, RecordKind, Span, Stamp, Stream};
use adsum_model::rows::Projector;
use adsum_model::state::ImportFile;
use adsum_model::symbol::Symbol;
use adsum_model::time::ReceivedAt;
use adsum_model::wire::Decoded;
use anyhow::Result;

use super::read::Source;
use crate::clock;

/// How files stand to the unfinished run of their source.
pub struct Standing {
    /// The run's id: the unfinished run's, or a new one.
    pub run: String,
    /// Whether it goes on with an unfinished run.
    pub resumed: bool,
    /// By file: the position and line to go on from; `None` for one that was finished before.
    pub starts: Vec<Option<(u64, u64)>>,
}

impl Standing {
    /// Of `files`, where `known` is what the unfinished run of their source left.
    pub fn of(files: &[Source], known: &[&ImportFile]) -> Result<Self> {
        let state_of = |file: &Source| {
            let found = known.iter().find(|k| (&k.path, k.size, k.head) == (&file.path, file.size, file.head));
            found.filter(|_| file.resumable())
        };
        let covered = files.iter().filter(|f| state_of(f).is_some()).count();
        let resumed = !known.is_empty() && covered == known.len();
        let starts = files
            .iter()
            .map(|file| match state_of(file) {
                Some(state) if state.finished && resumed => None,
                Some(state) if !state.finished => Some((state.position, state.line)),
                _ => Some((0, 0)),
            })
            .collect();
        let run = match known.first() {
            Some(first) if resumed => first.run.clone(),
            _ => {
                let random = u64::from_le_bytes(clock::random::<8>()?);
                format!("im_{:x}_{random:016x}", clock::now().micros())
            }
        };
        Ok(Self { run, resumed, starts })
    }
}

/// How far a file was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Bytes of its text.
    pub position: u64,
    /// Lines of it.
    pub line: u64,
    /// Whether that is its end.
    pub finished: bool,
}

/// Makes the records of a run.
pub struct RunRecords {
    catalog: Arc<Catalog>,
    projector: Projector,
    source: Symbol,
    run: String,
}

impl RunRecords {
    /// Of a run of a source.
    pub fn new(catalog: Arc<Catalog>, secret: Secret, source: Symbol, run: String) -> Self {
        Self { projector: Projector::new(catalog.clone(), secret), catalog, source, run }
    }

    fn record(&mut self, kind: RecordKind, at: ReceivedAt, fill: impl FnOnce(&Catalog, &mut RecordBatch)) -> Decoded {
        let mut decoded = Decoded::default();
        let stamp = Stamp { stream: Stream::Import, ..Stamp::default() };
        decoded.batch.begin(kind, self.source, at, stamp);
        decoded.batch.push_bytes(self.catalog.well_known().run, Form::Text, self.run.as_bytes());
        fill(&self.catalog, &mut decoded.batch);
        decoded.batch.spans.sort_by_key(|s| s.field);
        self.projector.project_batch(&decoded.batch, &mut decoded.rows);
        decoded
    }

    /// That the run begins.
    pub fn begin(&mut self, at: ReceivedAt) -> Decoded {
        self.record(RecordKind::ImportBegin, at, |_, _| {})
    }

    /// That the run has ended, or was broken off.
    pub fn end(&mut self, at: ReceivedAt) -> Decoded {
        self.record(RecordKind::ImportEnd, at, |_, _| {})
    }

    /// How far the file with this path, size and head was read.
    pub fn progress(&mut self, (path, size, head): (&str, u64, u64), reached: Reached, at: ReceivedAt) -> Decoded {
        self.record(RecordKind::ImportProgress, at, |catalog, batch| {
            let known = catalog.well_known();
            batch.push_bytes(known.path, Form::Text, path.as_bytes());
            batch.push(Span::wide(known.size, Form::Uint, size));
            batch.push(Span::wide(known.head, Form::Uint, head));
            batch.push(Span::wide(known.position, Form::Uint, reached.position));
            batch.push(Span::wide(known.line, Form::Uint, reached.line));
            if reached.finished {
                batch.push_bytes(known.code, Form::Text, b"finished");
            }
        })
    }
}
