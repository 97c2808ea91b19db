//! Records that are no events: what the engine is told by them.
//!
//! Invariant: a control is a pure function of its record. Not here: what it changes (the pipeline's step).

use super::{Projector, View};
use crate::catalog::FieldIx;
use crate::record::{Form, RecordHead, RecordKind, Span};
use crate::state::ImportFile;
use crate::symbol::Symbol;
use crate::time::ReceivedAt;
use crate::wire::format_uuid;

/// A record that is no event, as the engine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// A line failed validation.
    Reject {
        /// Its source.
        source: Symbol,
        /// When it was taken in.
        received_at: ReceivedAt,
    },
    /// Time passes.
    Tick {
        /// The collector's time.
        at: ReceivedAt,
    },
    /// The metadata changed.
    Metadata {
        /// Who changed it.
        source: Symbol,
        /// When.
        received_at: ReceivedAt,
    },
    /// The collector's clock is in doubt, or no more.
    ClockDoubt {
        /// Whether the doubt begins.
        begun: bool,
        /// The collector's time.
        at: ReceivedAt,
    },
    /// An import run begins.
    ImportBegin {
        /// Its source.
        source: String,
        /// The run.
        run: String,
    },
    /// The events of this frame come from this place of this file.
    ImportProgress {
        /// Where the file was read to.
        file: ImportFile,
    },
    /// An import run ends.
    ImportEnd {
        /// Its source.
        source: String,
        /// The run.
        run: String,
    },
}

impl Projector {
    /// What a record says to the engine; none where it is an event or a replay of one.
    pub(super) fn control(&self, view: View<'_>, spans: &[Span], head: &RecordHead) -> Option<Control> {
        let known = self.catalog.well_known();
        let (source, received_at) = (head.source, head.received_at);
        let text = |field: FieldIx| self.text(view, spans, field);
        let number = |field: FieldIx| spans.iter().find(|s| s.field == field).map_or(0, Span::as_wide);
        let source_name = || self.cache.symbols().text(source).unwrap_or_default();
        Some(match head.kind {
            RecordKind::Event | RecordKind::Replay => return None,
            RecordKind::Reject => Control::Reject { source, received_at },
            RecordKind::Tick => Control::Tick { at: received_at },
            RecordKind::Metadata => Control::Metadata { source, received_at },
            RecordKind::ClockDoubt => Control::ClockDoubt { begun: text(known.code) == "begun", at: received_at },
            RecordKind::ImportBegin => Control::ImportBegin { source: source_name(), run: text(known.run) },
            RecordKind::ImportEnd => Control::ImportEnd { source: source_name(), run: text(known.run) },
            RecordKind::ImportProgress => Control::ImportProgress {
                file: ImportFile {
                    run: text(known.run),
                    source: source_name(),
                    path: text(known.path),
                    size: number(known.size),
                    head: number(known.head),
                    position: number(known.position),
                    line: number(known.line),
                    finished: text(known.code) == "finished",
                    figures: Vec::new(),
                },
            },
        })
    }

    /// The text of a field; empty without it.
    fn text(&self, view: View<'_>, spans: &[Span], field: FieldIx) -> String {
        let Some(span) = spans.iter().find(|s| s.field == field) else { return String::new() };
        match span.form {
            Form::Uuid => String::from_utf8_lossy(&format_uuid(&view.uuids[span.start as usize])).into_owned(),
            Form::Symbol => self.cache.symbols().text(span.as_symbol()).unwrap_or_default(),
            _ => String::from_utf8_lossy(view.get(span.range())).into_owned(),
        }
    }
}
