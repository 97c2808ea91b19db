//! Replays of events whose key has ended: found in the raw events, and refused where those are gone.

use std::sync::Arc;

use adsum_engine::Rules;
use adsum_log::{EventLog, FrameDraft, LogView, MemoryLog};
use adsum_model::campaigns::{Campaigns, UnknownCampaign};
use adsum_model::catalog::{Catalog, CatalogSpec};
use adsum_model::hash::Secret;
use adsum_model::id::{FrameSeq, MetadataRevision, Offset};
use adsum_model::ledger::{LedgerColumn, LedgerCounts};
use adsum_model::record::{RecordBatch, Stream};
use adsum_model::replay::push_replay;
use adsum_model::rows::{Projector, Rows};
use adsum_model::time::{MICROS_PER_SECOND, ReceivedAt, format_utc};
use adsum_model::wire::{Decoded, Decoder, Intake};
use adsum_pipeline::{CheckpointRules, FrameMeta, InLine, Pipeline, schemas};
use adsum_store::MemoryStore;

struct World {
    catalog: Arc<Catalog>,
    campaigns: Arc<Campaigns>,
    log: MemoryLog,
    pipeline: Pipeline<MemoryStore>,
}

fn secret() -> Secret {
    Secret::new([7; 16])
}

fn at(seconds: i64) -> ReceivedAt {
    ReceivedAt::from_micros(seconds * MICROS_PER_SECOND)
}

impl World {
    fn new() -> Self {
        let catalog = Arc::new(Catalog::build(&CatalogSpec::default()).unwrap());
        let campaigns = Campaigns::build(&[], "USD", UnknownCampaign::LetThrough, catalog.symbols()).unwrap();
        let store = MemoryStore::new(schemas(&catalog), catalog.symbols().clone()).unwrap();
        let rules = Rules { horizon_micros: 600 * MICROS_PER_SECOND, ..Rules::default() };
        let checkpoints = CheckpointRules { records_max: 1, cells_max: 1, frames_max: 1, ..CheckpointRules::default() };
        let mut pipeline = Pipeline::new(catalog.clone(), store, rules, checkpoints, 2, Box::new(InLine)).unwrap();
        let log = MemoryLog::new();
        pipeline.recover(&log, secret(), |_| {}).unwrap();
        Self { catalog, campaigns: Arc::new(campaigns), log, pipeline }
    }

    fn fold(&mut self, batch: &RecordBatch, rows: &Rows, now: i64) {
        let draft = FrameDraft { appended_at: at(now), metadata_revision: MetadataRevision::ZERO, batches: &[batch] };
        let appended = self.log.append(&draft).unwrap();
        let meta = FrameMeta { seq: appended.seq, appended_at: at(now), base: appended.base };
        self.pipeline.step(&meta, &[rows]).unwrap();
        self.pipeline.checkpoint_if_due().unwrap();
    }

    /// A frame of events: id and second of each.
    fn send(&mut self, now: i64, events: &[(&str, i64)]) {
        let line = |(id, occurred_at): &(&str, i64)| {
            let occurred_at = format_utc(occurred_at * MICROS_PER_SECOND);
            format!(
                "{{\"eventId\":\"{id}\",\"eventType\":\"click\",\"occurredAt\":\"{occurred_at}\",\"campaignId\":\"c\"}}\n"
            )
        };
        let text: String = events.iter().map(line).collect();
        let source = self.catalog.symbols().intern(b"web");
        let intake = Intake { source, stream: Stream::Live, received_at: at(now) };
        let mut decoded = Decoded::default();
        let mut decoder = Decoder::new(self.catalog.clone(), self.campaigns.clone(), secret());
        decoder.decode_lines(text.into_bytes(), &intake, &mut decoded);
        self.fold(&decoded.batch, &decoded.rows, now);
    }

    fn replay(&mut self, now: i64, targets: &[u64]) {
        let mut batch = RecordBatch::default();
        for target in targets.iter().map(|t| Offset::new(*t)) {
            let frame = self.log.frame_of(target).unwrap();
            let head = frame.records.heads[(target.get() - frame.base.get()) as usize];
            assert!(push_replay(&frame.records, &head, target, &self.catalog, &self.campaigns, &mut batch));
        }
        let mut rows = Rows::default();
        Projector::new(self.catalog.clone(), secret()).project_batch(&batch, &mut rows);
        self.fold(&batch, &rows, now);
    }

    fn ledger(&self) -> LedgerCounts {
        use adsum_store::{AggregateStore, BucketRange};
        let mut sum = LedgerCounts::default();
        let add = &mut |row: &adsum_store::ScanRow<'_>| {
            sum.merge(&LedgerCounts::from_values(row.values));
            std::ops::ControlFlow::Continue(())
        };
        self.pipeline.store().scan(adsum_pipeline::LEDGER, BucketRange::ALL, &[], &[], add).unwrap();
        sum
    }
}

#[test]
fn a_replay_meets_the_raw_events_or_is_refused_where_they_are_gone() {
    use LedgerColumn as C;
    // trimmed -> counted, duplicates, quarantined, refused
    for (trimmed, want) in [(false, [3, 1, 0, 0]), (true, [2, 0, 2, 2])] {
        let mut world = World::new();
        world.send(10_000, &[("a", 10_000)]);
        world.send(20_000, &[("b", 20_000)]);
        // Both are too old by now: a retry, whose key has ended, and one that never came before.
        world.send(20_001, &[("a", 10_000), ("x", 10_000)]);
        if trimmed {
            world.log.trim(&[("fold", FrameSeq::new(2))], at(i64::from(u32::MAX))).unwrap();
            assert_eq!(world.log.start().seq, FrameSeq::new(2));
        }
        world.replay(20_002, &[2, 3]);
        let ledger = world.ledger();
        let got = [C::Counted, C::Duplicates, C::Quarantined, C::ReplaysRefused].map(|c| ledger.get(c));
        assert_eq!(got, want, "trimmed: {trimmed}");
        assert_eq!(ledger.imbalances(), Vec::<String>::new());
    }
}
