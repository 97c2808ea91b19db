//! Very many values of a dimension: what is over its limit counts as `other`, costs no memory for good, and a restart
//! changes nothing of it.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use adsum_disk::FaultyDisk;
use adsum_engine::Rules;
use adsum_log::{EmbeddedLog, EventLog, FrameDraft, LogOptions};
use adsum_model::campaigns::{CampaignSpec, CampaignVersion, Campaigns, UnknownCampaign};
use adsum_model::catalog::{BillableType, Catalog, CatalogSpec, DimensionSource, DimensionSpec, NullPolicy, RollupIx};
use adsum_model::hash::Secret;
use adsum_model::id::MetadataRevision;
use adsum_model::ledger::{LedgerColumn, LedgerCounts};
use adsum_model::record::{Form, Stream};
use adsum_model::time::ReceivedAt;
use adsum_model::wire::{Decoded, Decoder, Intake, record_json};
use adsum_pipeline::{CheckpointRules, FrameMeta, InLine, LEDGER, Limits, Pipeline, rollup_table, schemas};
use adsum_store::{AggregateStore, BucketRange, EmbeddedStore, StoreOptions};

/// 2026-11-21T08:00:00Z.
const NOW: i64 = 1_795_248_000_000_000;
const DAY: i64 = 86_400_000_000;
const LIMIT: u32 = 1000;
const FRAME: usize = 2000;

fn dimension(id: u16, name: &str, source: DimensionSource<&str>) -> DimensionSpec {
    let source = match source {
        DimensionSource::Field(name) => DimensionSource::Field(name.to_owned()),
        DimensionSource::Attribute(key) => DimensionSource::Attribute(key.to_owned()),
    };
    DimensionSpec { id, name: name.to_owned(), source, nulls: NullPolicy::Keep, limit: LIMIT, doc: String::new() }
}

/// One process: what it knows ends with it, the disk stays.
struct Process {
    catalog: Arc<Catalog>,
    log: EmbeddedLog,
    pipeline: Pipeline<EmbeddedStore>,
    limits: Limits,
    decoder: Decoder,
}

impl Process {
    fn start(disk: &Arc<FaultyDisk>) -> Self {
        let spec = CatalogSpec {
            dimensions: vec![
                dimension(1000, "page", DimensionSource::Field("page")),
                dimension(1001, "site", DimensionSource::Attribute("site")),
            ],
            rollups: vec![vec!["page".to_owned()], vec!["site".to_owned()]],
            distinct_users: Vec::new(),
            ..CatalogSpec::default()
        };
        let catalog = Arc::new(Catalog::build(&spec).unwrap());
        // Declared under the name that the rest counts as: nobody else may get its terms.
        let other = CampaignSpec {
            id: "other".to_owned(),
            currency: "EUR".to_owned(),
            versions: vec![CampaignVersion::always(BillableType::Cpc)],
            ads: Vec::new(),
        };
        let campaigns = Campaigns::build(&[other], "USD", UnknownCampaign::LetThrough, catalog.symbols()).unwrap();
        let (store, _) = EmbeddedStore::open(
            disk.clone(),
            "store",
            schemas(&catalog),
            catalog.symbols().clone(),
            StoreOptions::default(),
        )
        .unwrap();
        let committed = store.committed().through;
        let known = (committed != Default::default()).then_some(committed);
        let (log, _) =
            EmbeddedLog::open(disk.clone(), Path::new("log"), catalog.clone(), LogOptions::default(), known).unwrap();
        let rules = CheckpointRules { records_max: 50_000, ..CheckpointRules::default() };
        let mut pipeline = Pipeline::new(catalog.clone(), store, Rules::default(), rules, 2, Box::new(InLine)).unwrap();
        pipeline.recover(&log, Secret::new([7; 16]), |_| {}).unwrap();
        let mut limits = pipeline.limits().clone();
        limits.settle();
        let decoder = Decoder::new(catalog.clone(), Arc::new(campaigns), Secret::new([7; 16]));
        Self { catalog, log, pipeline, limits, decoder }
    }

    /// A frame of events with these numbers, received then.
    fn take(&mut self, numbers: impl Iterator<Item = usize>, at: i64) -> Decoded {
        // Values as they usually stand, long ones, and such with an escape.
        let page = |n: usize| match n % 3 {
            0 => format!(r"p\u002f{n}"),
            1 => format!("p/{n}"),
            _ => format!("p/a-page-with-a-long-name/{n}"),
        };
        let line = |n: usize| {
            let page = page(n);
            format!(
                r#"{{"eventId":"e{n}","eventType":"click","occurredAt":"2026-11-21T07:59:00Z","campaignId":"c","page":"{page}","attributes":{{"site":"s{n}"}}}}"#
            ) + "\n"
        };
        let text: String = numbers.map(line).collect();
        let received_at = ReceivedAt::from_micros(at);
        let source = self.catalog.symbols().intern(b"web");
        let mut decoded = Decoded::default();
        self.decoder.decode_lines(
            text.into_bytes(),
            &Intake { source, stream: Stream::Live, received_at },
            &mut decoded,
        );
        self.limits.admit(&mut decoded);
        let draft = FrameDraft {
            appended_at: received_at,
            metadata_revision: MetadataRevision::ZERO,
            batches: &[&decoded.batch],
        };
        let appended = self.log.append(&draft).unwrap();
        self.limits.settle();
        let meta = FrameMeta { seq: appended.seq, appended_at: received_at, base: appended.base };
        self.pipeline.step(&meta, &[&decoded.rows]).unwrap();
        self.pipeline.checkpoint_if_due().unwrap();
        decoded
    }

    /// Of each of both rollups: rows, events of the rest, all events.
    fn rows(&self) -> Vec<(usize, i64, i64)> {
        let clicks = self.catalog.columns().iter().position(|c| c.name == "clicks").unwrap();
        (0..2)
            .map(|i| {
                let table = rollup_table(RollupIx::new(i));
                let pending = self.pipeline.pending_rows(table, BucketRange::ALL);
                let extra: Vec<_> = pending.iter().collect();
                let (mut rows, mut rest, mut all) = (0, 0, 0);
                let scanned = self.pipeline.store().scan(table, BucketRange::ALL, &[], &extra, &mut |row| {
                    rows += 1;
                    all += row.values[clicks];
                    if row.names.text(0, row.keys[0]) == Some("other") {
                        rest += row.values[clicks];
                    }
                    ControlFlow::Continue(())
                });
                scanned.unwrap();
                (rows, rest, all)
            })
            .collect()
    }

    fn ledger(&self) -> LedgerCounts {
        let pending = self.pipeline.pending_rows(LEDGER, BucketRange::ALL);
        let extra: Vec<_> = pending.iter().collect();
        let mut sum = LedgerCounts::default();
        let scanned = self.pipeline.store().scan(LEDGER, BucketRange::ALL, &[], &extra, &mut |row| {
            sum.merge(&LedgerCounts::from_values(row.values));
            ControlFlow::Continue(())
        });
        scanned.unwrap();
        sum
    }
}

#[test]
fn what_is_over_the_limit_counts_as_other_and_is_kept_in_the_log_alone() {
    const EVENTS: usize = 200_000;
    let disk = Arc::new(FaultyDisk::new(1));
    let mut process = Process::start(&disk);
    for first in (0..EVENTS).step_by(FRAME) {
        process.take(first..first + FRAME, NOW);
    }
    let limit = LIMIT as usize;
    let rest = (EVENTS - limit) as i64;
    let wanted = vec![(limit + 1, rest, EVENTS as i64); 2];
    assert_eq!(process.rows(), wanted);
    // The values of both dimensions up to the limit, those of the frame that was decoded before it was known to be
    // reached, and some words that every process has.
    assert!(process.catalog.symbols().len() < 2 * FRAME + 100, "{} symbols", process.catalog.symbols().len());

    // A retry of one that is over the limit is a duplicate, whichever form its value has by now; so is one that was
    // first seen before the day was full, and one on the next day, when there is room again.
    let decoded = process.take([EVENTS - 1, 3, FRAME + 1].into_iter(), NOW + 1);
    let page = process.catalog.field_named("page").unwrap();
    let forms: Vec<Form> = (decoded.batch.heads.iter()).map(|h| decoded.batch.field(h, page).unwrap().form).collect();
    assert_eq!(forms, [Form::Text, Form::Symbol, Form::Text]);
    let json = record_json(&decoded.batch, &decoded.batch.heads[0], &process.catalog);
    let json = String::from_utf8(json).unwrap();
    assert!(json.contains("p/199999\""), "{json}");
    let next_day = process.take([EVENTS - 1, EVENTS - 2].into_iter(), NOW + DAY);
    assert!(next_day.batch.heads.iter().all(|h| h.stamp.folded == 0));
    let ledger = process.ledger();
    let counts = [LedgerColumn::Received, LedgerColumn::Counted, LedgerColumn::Duplicates].map(|c| ledger.get(c));
    assert_eq!(counts, [EVENTS as i64 + 5, EVENTS as i64, 5]);

    // A restart has the same numbers and decides the same, without the values.
    let state = process.pipeline.state_hash().unwrap();
    drop(process);
    let mut process = Process::start(&disk);
    assert_eq!(process.rows(), wanted);
    assert_eq!(process.pipeline.state_hash().unwrap(), state);
    assert!(process.catalog.symbols().len() < 2 * FRAME + 100, "{} symbols", process.catalog.symbols().len());
    let again = process.take([EVENTS, EVENTS + 1].into_iter(), NOW);
    assert!(again.batch.heads.iter().all(|h| h.stamp.folded.count_ones() == 2));
    assert_eq!(process.rows(), vec![(limit + 1, rest + 2, EVENTS as i64 + 2); 2]);
}
