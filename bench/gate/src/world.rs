//! What the paths work on: lines of workload A, and a decoder, a log and a pipeline over a store in one folder.
//!
//! Invariant: the same calls give the same state. Not here: which of them are counted (main).

use std::path::Path;
use std::sync::Arc;

use adsum_bench_gen::{Layout, ads};
use adsum_disk::RealDisk;
use adsum_log::{EmbeddedLog, EventLog, FrameDraft, LogOptions};
use adsum_model::campaigns::{Campaigns, UnknownCampaign};
use adsum_model::catalog::{Catalog, CatalogSpec, DedupeSpec};
use adsum_model::hash::Secret;
use adsum_model::id::MetadataRevision;
use adsum_model::record::Stream;
use adsum_model::symbol::Symbol;
use adsum_model::time::ReceivedAt;
use adsum_model::wire::{Decoded, Decoder, Intake};
use adsum_pipeline::{CheckpointRules, FrameMeta, InLine, Pipeline, schemas};
use adsum_store::{EmbeddedStore, StoreOptions};
use anyhow::{Context, Result};

const SEED: u64 = 42;
/// 2026-11-01T00:00:00Z.
const START_MS: i64 = 1_793_491_200_000;
const RECEIVED_AT: ReceivedAt = ReceivedAt::from_micros(START_MS * 1000 + 3_600_000_000);

/// Lines that come first, so that tables and dictionaries are warm.
const WARM_LINES: u64 = 20_000;
/// Lines that are counted.
const COUNTED_LINES: u64 = 20_000;

/// The first lines of workload A.
#[derive(Clone)]
pub struct Lines {
    /// Those that come first.
    pub warm: Vec<u8>,
    /// Those that are counted.
    pub counted: Vec<u8>,
}

impl Lines {
    /// Makes them, by way of files in a folder.
    pub fn of_workload_a(place: &Path) -> Result<Self> {
        let (out, truth) = (place.join("lines.ndjson"), place.join("truth.csv"));
        let lines = WARM_LINES + COUNTED_LINES;
        let plan = ads::Plan {
            lines,
            seed: SEED,
            start_ms: START_MS,
            hot_ppm: 0,
            events_per_second: 10_000,
            layout: Layout::Usual,
        };
        ads::write(&plan, &out, &truth)?;
        let mut warm = std::fs::read(&out)?;
        let ends = warm.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        let cut = ends.take(usize::try_from(WARM_LINES)?).last().context("no lines were written")?;
        let counted = warm.split_off(cut);
        Ok(Self { warm, counted })
    }
}

/// One line in `n`.
pub fn every(lines: &[u8], n: usize) -> Vec<u8> {
    lines.split_inclusive(|byte| *byte == b'\n').step_by(n).flatten().copied().collect()
}

/// What counts where nothing is configured: two rollups, and distinct users.
pub fn as_shipped() -> CatalogSpec {
    CatalogSpec::default()
}

/// The same with nothing deduped.
pub fn without_dedupe() -> CatalogSpec {
    let off = DedupeSpec {
        sources: Vec::new(),
        event_types: Vec::new(),
        group: None,
        key: Vec::new(),
        time_bucket_seconds: 0,
        content: None,
        since_micros: i64::MIN,
    };
    CatalogSpec { dedupe: vec![off], ..CatalogSpec::default() }
}

/// One rollup that has next to no cells.
pub fn without_cells() -> CatalogSpec {
    CatalogSpec { rollups: vec![vec!["deviceType".to_owned()]], distinct_users: Vec::new(), ..CatalogSpec::default() }
}

/// A data directory with one worker.
pub struct World {
    /// The loop over the store.
    pub pipeline: Pipeline<Arc<EmbeddedStore>>,
    /// What was decoded last.
    pub decoded: Decoded,
    decoder: Decoder,
    log: EmbeddedLog,
    source: Symbol,
}

impl World {
    /// An empty one in a folder.
    pub fn new(folder: &Path, spec: CatalogSpec) -> Result<Self> {
        let catalog = Arc::new(Catalog::build(&spec)?);
        let campaigns = Campaigns::build(&[], "USD", UnknownCampaign::LetThrough, catalog.symbols());
        let campaigns = campaigns.ok().context("no campaign is declared")?;
        let disk = Arc::new(RealDisk);
        let (log, _) =
            EmbeddedLog::open(disk.clone(), &folder.join("log"), catalog.clone(), LogOptions::default(), None)?;
        let (tables, symbols) = (schemas(&catalog), catalog.symbols().clone());
        let (store, _) = EmbeddedStore::open(disk, folder.join("store"), tables, symbols, StoreOptions::default())?;
        let rules = CheckpointRules { records_max: usize::MAX, cells_max: usize::MAX, ..CheckpointRules::default() };
        let pipeline = Pipeline::new(catalog.clone(), Arc::new(store), Default::default(), rules, 1, Box::new(InLine))?;
        let source = catalog.symbols().intern(b"import");
        let decoder = Decoder::new(catalog.clone(), Arc::new(campaigns), Secret::new([7; 16]));
        Ok(Self { pipeline, decoded: Decoded::default(), decoder, log, source })
    }

    /// Decodes lines into memory that is there already.
    pub fn decode(&mut self, lines: Vec<u8>) {
        let intake = Intake { source: self.source, stream: Stream::Import, received_at: RECEIVED_AT };
        self.decoder.decode_lines(lines, &intake, &mut self.decoded);
    }

    /// Appends what was decoded as one frame.
    pub fn append(&mut self) -> Result<()> {
        let draft = FrameDraft {
            appended_at: RECEIVED_AT,
            metadata_revision: MetadataRevision::default(),
            batches: &[&self.decoded.batch],
        };
        self.log.append(&draft)?;
        Ok(())
    }

    /// Folds what was decoded as one frame.
    pub fn step(&mut self) -> Result<()> {
        let next = self.pipeline.through();
        let meta = FrameMeta { seq: next.seq, appended_at: RECEIVED_AT, base: next.offset };
        self.pipeline.step(&meta, &[&self.decoded.rows])?;
        Ok(())
    }
}
