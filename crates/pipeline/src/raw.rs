//! The look-up in the raw events: which contents of a key were counted, however long ago.
//!
//! A key ends when its event lies below the acceptance line, and the store forgets it. Age is waived for a replay, and
//! does not apply to an import, which may come under a live source's name; so an event that was counted under an ended
//! key must still be found: in the log. An event there that is not in
//! quarantine was counted, or is a duplicate of one that was. Invariant: the answer depends on the log before the frame
//! and on the state after it, never on checkpoints. Not here: who needs it (step).

use std::collections::BTreeSet;
use std::sync::Arc;

use adsum_engine::Ended;
use adsum_log::{Frame, LogView};
use adsum_model::catalog::{Catalog, EventTypeIx};
use adsum_model::hash::{DedupeRule, Secret};
use adsum_model::id::{DedupeKey, FrameSeq, Offset};
use adsum_model::record::{RecordKind, Stream};
use adsum_model::rows::{Projector, RowFlags, Rows};
use adsum_model::symbol::Symbol;

use crate::error::PipelineError;

/// Where the raw events lie.
pub(crate) struct RawEvents {
    log: Box<dyn LogView>,
    secret: Secret,
    /// The sources that sent live events; known from the first import on.
    live_sources: Option<BTreeSet<Symbol>>,
}

/// An event whose key was asked for.
pub(crate) struct Met {
    /// Where it lies.
    pub offset: Offset,
    /// Its key.
    pub key: DedupeKey,
    /// Its content.
    pub content: adsum_model::id::ContentHash,
}

impl RawEvents {
    /// In this log, under a data directory's secret.
    pub fn new(log: Box<dyn LogView>, secret: Secret) -> Self {
        Self { log, secret, live_sources: None }
    }

    /// Whether the log still has its first frame.
    pub fn are_complete(&self) -> bool {
        self.log.start().seq == FrameSeq::ZERO
    }

    /// Takes in the sources of live events, once anybody asks for them.
    pub fn observe(&mut self, batches: &[&Rows]) {
        let Some(live) = &mut self.live_sources else { return };
        let mut last = Symbol::NULL;
        for row in batches.iter().flat_map(|b| &b.events) {
            if row.source != last && !row.flags.has(RowFlags::IMPORT) {
                live.insert(row.source);
                last = row.source;
            }
        }
    }

    /// Whether an import under this name may meet keys of live events of the frames before `end`: where the source
    /// sends live too, or shares its keys with others.
    pub fn may_meet_live(&mut self, catalog: &Catalog, source: Symbol, end: FrameSeq) -> Result<bool, PipelineError> {
        if self.live_sources.is_none() {
            let mut live = BTreeSet::new();
            let mut reader = self.log.read(self.log.start().seq)?;
            let mut frame = Frame::default();
            while reader.next(&mut frame)? && frame.seq < end {
                let heads = frame.records.heads.iter();
                let events = heads.filter(|h| h.kind == RecordKind::Event && h.stamp.stream == Stream::Live);
                live.extend(events.map(|h| h.source));
            }
            self.live_sources = Some(live);
        }
        let sends_live = self.live_sources.as_ref().is_some_and(|live| live.contains(&source));
        let name = catalog.symbols().text(source).unwrap_or_default();
        let types = (0..catalog.event_types().len()).map(EventTypeIx::new);
        let shares = types.flat_map(|t| catalog.dedupe().for_source(&name, t)).any(DedupeRule::is_shared);
        Ok(sends_live || shares)
    }

    /// The events with these keys in the frames before `end`, in log order.
    pub fn find(
        &self,
        catalog: &Arc<Catalog>,
        keys: &BTreeSet<DedupeKey>,
        end: FrameSeq,
    ) -> Result<Vec<Met>, PipelineError> {
        let mut projector = Projector::new(catalog.clone(), self.secret);
        let mut reader = self.log.read(self.log.start().seq)?;
        let (mut frame, mut rows) = (Frame::default(), Rows::default());
        let mut found = Vec::new();
        while reader.next(&mut frame)? && frame.seq < end {
            projector.project_batch(&frame.records, &mut rows);
            let events = rows.events.iter().filter(|r| !r.flags.has(RowFlags::REPLAY) && keys.contains(&r.key));
            found.extend(events.map(|r| Met {
                offset: frame.base.plus(u64::from(r.ordinal)),
                key: r.key,
                content: r.content,
            }));
        }
        Ok(found)
    }
}

/// The contents of those events that `is_held` does not know as quarantined.
pub(crate) fn ended(met: Vec<Met>, is_held: impl Fn(usize) -> bool, complete: bool) -> Ended {
    let mut ended = Ended { complete, ..Ended::default() };
    for (i, event) in met.into_iter().enumerate() {
        if !is_held(i) {
            ended.contents.entry(event.key).or_default().push(event.content);
        }
    }
    ended
}
