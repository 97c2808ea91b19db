//! A naive store to compare with, and checkpoints drawn from a seed.
//!
//! Invariant: it shares no code with the stores but the model's types. What it draws keeps the engine's promises:
//! offsets grow, the dedupe line never moves back, a key comes again only after its record has ended.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use adsum_model::id::{ContentHash, DedupeKey, FrameSeq, Offset, Position, Revision};
use adsum_model::state::{
    Checkpoint, ClockState, DedupeRecord, ImportFile, QuarantineEntry, QuarantineReason, SmallState,
};
use adsum_model::symbol::{Symbol, Symbols};
use adsum_model::table::{TableIx, TableRows, TableSchema};
use adsum_model::time::{BucketStart, EventTime, ReceivedAt};
use adsum_store::{AggregateStore, BucketRange, KeyFilter};
use xxhash_rust::xxh3::xxh3_128;

/// Seeded choices (splitmix64).
pub struct Choices(pub u64);

impl Choices {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    pub fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// A row's bucket and key.
pub type Place = (i64, Vec<Option<String>>);
/// Values, greatest and least revision.
pub type Sums = (Vec<i64>, u64, u64);
/// The rows of a table.
pub type Rows = BTreeMap<Place, Sums>;

/// The tables of most tests: an ordinary one, one whose keys do not fit a word, and one without a key.
pub fn schemas() -> Vec<TableSchema> {
    let schema = |name: &str, keys: usize, columns: &[u16]| TableSchema {
        name: name.to_owned(),
        keys: (0..keys).map(|k| format!("k{k}")).collect(),
        columns: columns.to_vec(),
    };
    vec![schema("rollup", 2, &[4, 1, 9]), schema("wide", 11, &[1]), schema("total", 0, &[1, 2])]
}

/// How many texts each key column of the wide table has: 7 bits each, so that the last ones do not fit 64 bits.
const WIDE_TEXTS: u64 = 100;

/// What a store should hold.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    pub through: Position,
    pub revision: Revision,
    pub line: i64,
    pub small: SmallState,
    pub keys: BTreeMap<u128, (u64, i64, u64, bool)>,
    pub rows: Vec<Rows>,
    pub quarantine: BTreeMap<u64, (u8, i64)>,
}

impl Oracle {
    pub fn new() -> Self {
        Self { line: i64::MIN, rows: vec![Rows::new(); schemas().len()], ..Self::default() }
    }

    pub fn apply(&mut self, checkpoint: &Checkpoint, symbols: &Symbols) {
        self.through = checkpoint.through;
        self.revision = checkpoint.revision;
        self.line = self.line.max(checkpoint.dedupe_line.micros());
        self.small = checkpoint.small.clone();
        for r in checkpoint.dedupe.iter().flatten() {
            let new = (r.content.get(), r.occurred_at.micros(), r.offset.get(), r.import);
            let slot = self.keys.entry(r.key.get()).or_insert(new);
            if slot.2 <= new.2 {
                *slot = new;
            }
        }
        for (table, parts) in checkpoint.rows.iter().enumerate() {
            add_rows(&mut self.rows[table], &parts.iter().collect::<Vec<_>>(), symbols);
        }
        for entry in &checkpoint.quarantined {
            self.quarantine.insert(entry.offset.get(), (entry.reason as u8, entry.received_at.micros()));
        }
        for offset in &checkpoint.released {
            self.quarantine.remove(&offset.get());
        }
    }

    pub fn record(&self, key: u128) -> Option<DedupeRecord> {
        let &(content, occurred_at, offset, import) = self.keys.get(&key)?;
        (import || occurred_at >= self.line).then(|| DedupeRecord {
            key: DedupeKey::new(key),
            content: ContentHash::new(content),
            occurred_at: EventTime::from_micros(occurred_at),
            offset: Offset::new(offset),
            import,
        })
    }

    pub fn entries(&self) -> Vec<QuarantineEntry> {
        let entry = |(&offset, &(reason, micros)): (&u64, &(u8, i64))| QuarantineEntry {
            offset: Offset::new(offset),
            reason: QuarantineReason::from_code(reason).unwrap(),
            received_at: ReceivedAt::from_micros(micros),
        };
        self.quarantine.iter().map(entry).collect()
    }

    /// The state hash, as `hash.rs` describes it, written once more.
    pub fn state_hash(&self) -> u128 {
        let mut sum = 0_u128;
        let text = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        };
        for (schema, rows) in schemas().iter().zip(&self.rows) {
            for ((bucket, key), (values, _, _)) in rows.iter().filter(|(_, s)| s.0.iter().any(|&v| v != 0)) {
                let mut bytes = vec![1];
                text(&mut bytes, &schema.name);
                bytes.extend_from_slice(&bucket.to_le_bytes());
                for part in key {
                    bytes.push(u8::from(part.is_some()));
                    part.iter().for_each(|p| text(&mut bytes, p));
                }
                let mut columns: Vec<(u16, i64)> = schema.columns.iter().copied().zip(values.iter().copied()).collect();
                columns.sort_unstable();
                for (id, value) in columns.into_iter().filter(|(_, v)| *v != 0) {
                    bytes.extend_from_slice(&id.to_le_bytes());
                    bytes.extend_from_slice(&value.to_le_bytes());
                }
                sum = sum.wrapping_add(xxh3_128(&bytes));
            }
        }
        for record in self.keys.keys().filter_map(|&key| self.record(key)) {
            let mut bytes = vec![2];
            bytes.extend_from_slice(&record.key.get().to_le_bytes());
            bytes.extend_from_slice(&record.content.get().to_le_bytes());
            bytes.extend_from_slice(&record.occurred_at.micros().to_le_bytes());
            bytes.extend_from_slice(&record.offset.get().to_le_bytes());
            bytes.push(u8::from(record.import));
            sum = sum.wrapping_add(xxh3_128(&bytes));
        }
        for (offset, (reason, micros)) in &self.quarantine {
            let mut bytes = vec![3];
            bytes.extend_from_slice(&offset.to_le_bytes());
            bytes.push(*reason);
            bytes.extend_from_slice(&micros.to_le_bytes());
            sum = sum.wrapping_add(xxh3_128(&bytes));
        }
        sum
    }
}

/// Adds rows as a scan does.
pub fn add_rows(rows: &mut Rows, parts: &[&TableRows], symbols: &Symbols) {
    for part in parts {
        for i in 0..part.len() {
            let key = part.key(i).iter().map(|&s| symbols.text(s)).collect();
            let revision = part.revisions[i].get();
            let slot = rows.entry((part.buckets[i].seconds(), key));
            let slot = slot.or_insert_with(|| (vec![0; part.value_width], revision, revision));
            slot.0.iter_mut().zip(part.row_values(i)).for_each(|(a, b)| *a += b);
            slot.1 = slot.1.max(revision);
            slot.2 = slot.2.min(revision);
        }
    }
}

/// The rows that a scan shows, which must come in order and each once.
pub fn scanned(
    store: &dyn AggregateStore,
    table: usize,
    range: BucketRange,
    filters: &[KeyFilter],
    extra: &[&TableRows],
) -> Vec<(Place, Sums)> {
    let mut shown = Vec::new();
    store
        .scan(TableIx::new(table), range, filters, extra, &mut |row| {
            let key = row.keys.iter().enumerate().map(|(c, &id)| row.names.text(c, id).map(str::to_owned)).collect();
            let sums = (row.values.to_vec(), row.revision.get(), row.revision_least.get());
            shown.push(((row.bucket.seconds(), key), sums));
            ControlFlow::Continue(())
        })
        .unwrap();
    shown
}

/// Draws checkpoints, one upon the other.
pub struct Drawer {
    choices: Choices,
    pub symbols: Arc<Symbols>,
    frame: u64,
    offset: u64,
    now: i64,
    line: i64,
    /// Keys in use: whether import, and the greatest occurred_at.
    used: BTreeMap<u128, (bool, i64)>,
    drawn: Vec<u128>,
    held: Vec<u64>,
}

const MINUTE: i64 = 60_000_000;

impl Drawer {
    pub fn new(seed: u64, symbols: Arc<Symbols>) -> Self {
        let now = 1_700_000_000_000_000;
        let (used, drawn, held) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { choices: Choices(seed), symbols, frame: 0, offset: 0, now, line: i64::MIN, used, drawn, held }
    }

    /// A key: uniform ones, and now and then one of few that share their upper half.
    fn key(&mut self) -> u128 {
        let upper = if self.choices.one_in(8) { 7 } else { self.choices.below(u64::MAX) };
        u128::from(upper) << 64 | u128::from(self.choices.below(1 << 40))
    }

    fn record(&mut self) -> Option<DedupeRecord> {
        let again = self.choices.one_in(4).then(|| {
            let at = self.choices.below(self.drawn.len().max(1) as u64) as usize;
            self.drawn.get(at).copied()
        });
        let key = again.flatten().unwrap_or_else(|| self.key());
        if self.used.get(&key).is_some_and(|&(import, at)| import || at >= self.line) {
            return None;
        }
        let import = self.choices.one_in(10);
        let occurred_at = self.now - self.choices.below(10 * MINUTE as u64) as i64;
        let occurred_at = occurred_at.max(self.line);
        self.used.insert(key, (import, occurred_at));
        self.drawn.push(key);
        self.offset += 1;
        Some(DedupeRecord {
            key: DedupeKey::new(key),
            content: ContentHash::new(self.choices.below(u64::MAX)),
            occurred_at: EventTime::from_micros(occurred_at),
            offset: Offset::new(self.offset),
            import,
        })
    }

    fn symbol(&mut self, column: usize, texts: u64) -> Symbol {
        match self.choices.below(texts + 1) {
            0 => Symbol::NULL,
            1 => self.symbols.intern(b""),
            n => self.symbols.intern(format!("{}{n}", if column.is_multiple_of(2) { "a" } else { "é" }).as_bytes()),
        }
    }

    pub fn rows(&mut self, table: usize, count: u64) -> TableRows {
        let schema = &schemas()[table];
        let mut rows = TableRows::new(schema.keys.len(), schema.columns.len());
        let texts = if table == 1 { WIDE_TEXTS } else { 12 };
        for _ in 0..self.choices.below(count + 1) {
            let bucket = self.now / 1_000_000 / 60 * 60 - 60 * self.choices.below(20) as i64;
            let few = self.choices.one_in(2);
            let key: Vec<Symbol> = (0..schema.keys.len())
                .map(|c| if few && table == 1 { Symbol::OTHER } else { self.symbol(c, texts) })
                .collect();
            let mut values: Vec<i64> = (0..schema.columns.len())
                .map(|_| self.choices.below(9) as i64 - if self.choices.one_in(5) { 4_000_000_000 } else { 0 })
                .collect();
            if self.choices.one_in(9) {
                values.fill(0);
            }
            let revision = Revision::new(self.frame + 1 + self.choices.below(3));
            rows.push(BucketStart::from_seconds(bucket), &key, &values, revision);
        }
        rows
    }

    /// The next checkpoint; about `size` of everything.
    pub fn checkpoint(&mut self, size: u64) -> Checkpoint {
        let dedupe =
            (0..3).map(|_| (0..self.choices.below(size + 1)).filter_map(|_| self.record()).collect()).collect();
        let rows = (0..3).map(|table| (0..2).map(|_| self.rows(table, size)).collect()).collect();
        let (mut quarantined, mut released) = (Vec::new(), Vec::new());
        for _ in 0..self.choices.below(size / 4 + 2) {
            self.offset += 1;
            let again = self.choices.one_in(5).then(|| self.held.last().copied()).flatten();
            let offset = again.unwrap_or(self.offset);
            let reason = QuarantineReason::ALL[self.choices.below(5) as usize];
            let received_at = ReceivedAt::from_micros(self.now);
            quarantined.push(QuarantineEntry { offset: Offset::new(offset), reason, received_at });
            if again.is_none() {
                self.held.push(offset);
            }
            if self.choices.one_in(3) {
                let at = self.choices.below(self.held.len() as u64) as usize;
                released.push(Offset::new(self.held.remove(at)));
            }
        }
        self.frame += 1 + self.choices.below(5);
        self.offset += 1;
        self.now += MINUTE * self.choices.below(8) as i64;
        self.line = self.line.max(self.now - 15 * MINUTE);
        let clock = ClockState {
            import: None,
            watermark: EventTime::from_micros(self.now),
            line: EventTime::from_micros(self.line),
        };
        let import = ImportFile {
            run: "r1".into(),
            source: "import".into(),
            path: "/f.ndjson".into(),
            size: 7,
            head: self.choices.below(1 << 60),
            position: self.offset,
            line: self.offset,
            finished: false,
            figures: vec![1, 2, 3],
        };
        Checkpoint {
            through: Position { seq: FrameSeq::new(self.frame), offset: Offset::new(self.offset) },
            revision: Revision::new(self.frame),
            dedupe,
            dedupe_line: EventTime::from_micros(self.line),
            rows,
            quarantined,
            released,
            small: SmallState { clocks: vec![clock], imports: vec![import], clock_in_doubt: false },
        }
    }
}
