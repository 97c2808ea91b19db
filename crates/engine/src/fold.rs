//! One shard's fold over a frame: age, currency, dedupe, window, in that order.
//!
//! A shard owns slots, and with them every event whose key falls there: a retry and a wrong reuse of a key always
//! meet their first. Invariant: what a shard does depends on its slots' events in log order alone.

use std::sync::Arc;

use adsum_model::catalog::{Catalog, DimensionIx};
use adsum_model::distinct::{COUPONS, Coupon};
use adsum_model::id::{ContentHash, DedupeKey, Offset, Revision, SLOT_COUNT};
use adsum_model::ledger::{LedgerColumn, LedgerCounts};
use adsum_model::prefetch::fetch;
use adsum_model::rows::{EventRow, RowFlags, Rows};
use adsum_model::state::{DedupeRecord, QuarantineEntry, QuarantineReason};
use adsum_model::symbol::{Symbol, Symbols};
use adsum_model::time::{BucketStart, EventTime, ReceivedAt};

use crate::cells::Columns;
use crate::clock::{Rules, Seen};
use crate::unsaved::Unsaved;

/// Why a frame cannot be folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// A sum would not fit in 64 bits: the process stops rather than show a wrapped number.
    #[error("a sum would overflow 64 bits; raise an alarm, nothing of this frame was published")]
    Overflow,
}

/// What holds for a whole frame.
#[derive(Clone, Copy, Debug)]
pub struct FrameContext {
    /// When the frame was appended.
    pub appended_at: ReceivedAt,
    /// The revision that the frame publishes.
    pub revision: Revision,
    /// The acceptance line before the frame.
    pub line: EventTime,
    /// The live watermark before the frame: buckets that end up to it are closed.
    pub watermark: EventTime,
    /// The limits of time.
    pub rules: Rules,
}

/// What a shard needs to know before it can fold: look these up and come back.
#[derive(Clone, Debug, Default)]
pub struct Lookups {
    /// Rows of the batches that are this shard's: batch, then row.
    mine: Vec<Mine>,
    /// The keys that may have been committed.
    pub keys: Vec<DedupeKey>,
    /// Offsets whose place in quarantine is asked for by replays.
    pub quarantine: Vec<Offset>,
}

/// Where one of a shard's rows lies.
#[derive(Clone, Copy, Debug, Default)]
struct Mine {
    batch: u32,
    row: u32,
}

impl Mine {
    #[inline]
    fn of<'a>(self, batches: &[&'a Rows]) -> &'a EventRow {
        &batches[self.batch as usize].events[self.row as usize]
    }

    /// The row's dimensions, of which each row has `width`.
    #[inline]
    fn dimensions<'a>(self, batches: &[&'a Rows], width: usize) -> &'a [Symbol] {
        let row = self.row as usize;
        &batches[self.batch as usize].dimensions[row * width..(row + 1) * width]
    }

    /// Asks the processor for the row: a shard's own lie too far apart for it to foresee them.
    #[inline]
    fn prefetch(self, batches: &[&Rows], width: usize) {
        let row = self.of(batches);
        fetch(row);
        fetch(&row.flags);
        if let Some(first) = self.dimensions(batches, width).first() {
            fetch(first);
        }
    }
}

/// What was found for the [`Lookups`], in their order.
#[derive(Clone, Debug, Default)]
pub struct Prior {
    /// For each key its committed record.
    pub records: Vec<Option<DedupeRecord>>,
    /// For each offset its entry in quarantine.
    pub quarantine: Vec<Option<QuarantineEntry>>,
    /// What the raw events say of the keys of replays, and of imports that may meet keys of live sources.
    pub ended: Arc<Ended>,
}

/// The contents that were counted under keys, in the raw events: keys that have ended included.
#[derive(Clone, Debug)]
pub struct Ended {
    /// By key.
    pub contents: hashbrown::HashMap<DedupeKey, Vec<ContentHash>>,
    /// Whether the raw events reach back to the beginning; without them a replay that meets nothing is refused.
    pub complete: bool,
}

impl Default for Ended {
    fn default() -> Self {
        Self { contents: hashbrown::HashMap::new(), complete: true }
    }
}

/// What a frame changed in one shard.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// By source and hour of receivedAt (seconds since 1970).
    pub ledger: Vec<((Symbol, i64), LedgerCounts)>,
    /// Entries that came into quarantine, or whose reason changed.
    pub quarantined: Vec<QuarantineEntry>,
    /// Entries that left it.
    pub released: Vec<Offset>,
    /// Campaigns, each with the currency that an event of it was counted in: at least every new pair.
    pub currencies: Vec<(Symbol, Symbol)>,
    /// What moves the clocks.
    pub seen: Seen,
    /// Events counted.
    pub counted: u64,
}

impl Effects {
    #[inline]
    fn counts(&mut self, source: Symbol, received_at: ReceivedAt) -> &mut LedgerCounts {
        let seconds = received_at.seconds();
        let key = (source, seconds - seconds.rem_euclid(3600));
        // The rows of a frame share source and hour nearly always: the last entry is looked at first.
        match self.ledger.iter().rposition(|(k, _)| *k == key) {
            Some(i) => &mut self.ledger[i].1,
            None => {
                self.ledger.push((key, LedgerCounts::default()));
                let last = self.ledger.len() - 1;
                &mut self.ledger[last].1
            }
        }
    }
}

/// How many rows before its turn a place of a table is asked for; what lies behind the place, half as many; and the row
/// itself twice as many.
const PREFETCH_AHEAD: usize = 16;

/// The state of some slots.
pub struct Shard {
    /// By slot, whether it is this shard's.
    owned: [bool; SLOT_COUNT],
    dimensions: usize,
    bucket_seconds: i64,
    columns: Columns,
    /// What is folded now goes here.
    now: Unsaved,
    /// What a checkpoint is being written of.
    frozen: Option<Arc<Unsaved>>,
    /// The memory of the one before.
    spare: Option<Unsaved>,
    coupons: Coupons,
    /// The dimension that is the campaign.
    campaign: Option<usize>,
    /// By campaign, the currency of its last counted event.
    currencies: Vec<Symbol>,
    /// By rollup, where the cells of the next rows will be looked for: a ring.
    hashes: Vec<[u64; PREFETCH_AHEAD]>,
    catalog: Arc<Catalog>,
}

impl Shard {
    /// The `index`th of `count` shards, with nothing folded since the last checkpoint.
    pub fn new(catalog: &Arc<Catalog>, index: usize, count: usize) -> Self {
        let columns = Columns::new(catalog);
        Self {
            owned: std::array::from_fn(|slot| slot % count == index),
            dimensions: catalog.dimensions().len(),
            bucket_seconds: catalog.bucket_seconds(),
            now: Unsaved::new(catalog, &columns),
            frozen: None,
            spare: None,
            coupons: Coupons::new(catalog.symbols().clone()),
            campaign: catalog.dimension_named("campaignId").map(DimensionIx::index),
            currencies: Vec::new(),
            hashes: vec![[0; PREFETCH_AHEAD]; catalog.rollups().len()],
            columns,
            catalog: catalog.clone(),
        }
    }

    /// The record of a key that no checkpoint has.
    #[inline]
    fn find(&self, key: DedupeKey) -> Option<&DedupeRecord> {
        let frozen = || self.frozen.as_ref().and_then(|f| f.memtable.find(key));
        self.now.memtable.find(key).or_else(frozen)
    }

    /// What became of an entry of the quarantine since the last checkpoint; the inner `None`: it was released.
    fn entry(&self, offset: Offset) -> Option<Option<QuarantineEntry>> {
        let frozen = || self.frozen.as_ref().and_then(|f| f.quarantine.get(&offset));
        self.now.quarantine.get(&offset).or_else(frozen).copied()
    }

    /// Phase one: finds this shard's rows, and what must be looked up for them.
    pub fn keys(&self, batches: &[&Rows], lookups: &mut Lookups) {
        let Lookups { mine, keys, quarantine } = lookups;
        keys.clear();
        quarantine.clear();
        // Written for every row and kept for the shard's own: nobody can foretell whose the next one is.
        mine.resize(batches.iter().map(|b| b.slots.len()).sum::<usize>() + 1, Mine::default());
        let mut count = 0;
        for (b, batch) in batches.iter().enumerate() {
            for (i, slot) in batch.slots.iter().enumerate() {
                mine[count] = Mine { batch: b as u32, row: i as u32 };
                count += usize::from(self.owned[slot.index() % SLOT_COUNT]);
            }
        }
        mine.truncate(count);
        for (n, at) in mine.iter().enumerate() {
            if let Some(ahead) = mine.get(n + 2 * PREFETCH_AHEAD) {
                fetch(ahead.of(batches));
            }
            if let Some(ahead) = mine.get(n + PREFETCH_AHEAD) {
                self.prefetch_record(ahead.of(batches).key);
            }
            let row = at.of(batches);
            // A key met since the last checkpoint is known here; the store would only tell an older story.
            if !row.flags.has(RowFlags::NO_DEDUPE) && self.find(row.key).is_none() {
                keys.push(row.key);
            }
            if row.flags.has(RowFlags::REPLAY) {
                quarantine.push(row.target);
            }
        }
    }

    #[inline]
    fn prefetch_record(&self, key: DedupeKey) {
        self.now.memtable.prefetch(key);
        if let Some(frozen) = &self.frozen {
            frozen.memtable.prefetch(key);
        }
    }

    /// Phase two: folds this shard's rows. `bases` are the offsets of the batches' first records.
    pub fn fold(
        &mut self,
        context: &FrameContext,
        batches: &[&Rows],
        bases: &[Offset],
        lookups: &Lookups,
        prior: &Prior,
    ) -> Result<Effects, FoldError> {
        let mut effects = Effects::default();
        let mut records = prior.records.iter();
        let mut entries = prior.quarantine.iter();
        // Phase one asked for every key that the tables did not have then; a key of this frame may be in one by now.
        let mut asked = lookups.keys.iter().peekable();
        let mine = &lookups.mine;
        (0..mine.len().min(PREFETCH_AHEAD)).for_each(|n| self.hash_ahead(n, mine[n], batches));
        for (n, at) in mine.iter().enumerate() {
            if let Some(ahead) = mine.get(n + 2 * PREFETCH_AHEAD) {
                ahead.prefetch(batches, self.dimensions);
            }
            if mine.len() > n + PREFETCH_AHEAD / 2 {
                self.prefetch_cells(n + PREFETCH_AHEAD / 2);
            }
            let row = at.of(batches);
            let committed = match asked.peek() {
                Some(key) if **key == row.key && !row.flags.has(RowFlags::NO_DEDUPE) => {
                    asked.next();
                    Committed::Asked(records.next().copied().flatten())
                }
                _ => Committed::KnownHere,
            };
            let offset = bases[at.batch as usize].plus(u64::from(row.ordinal));
            let event = Event { n, row, dimensions: at.dimensions(batches, self.dimensions), offset };
            if row.flags.has(RowFlags::REPLAY) {
                let entry = entries.next().copied().flatten();
                let found = Found { committed, entry, ended: &prior.ended };
                self.replay(context, &event, found, &mut effects)?;
            } else {
                let found = Found { committed, entry: None, ended: &prior.ended };
                self.event(context, &event, found, &mut effects)?;
            }
            if let Some(ahead) = mine.get(n + PREFETCH_AHEAD) {
                self.hash_ahead(n + PREFETCH_AHEAD, *ahead, batches);
            }
        }
        Ok(effects)
    }

    /// Asks for the places of row `n`, whose turn comes later.
    #[inline]
    fn hash_ahead(&mut self, n: usize, at: Mine, batches: &[&Rows]) {
        let row = at.of(batches);
        self.now.memtable.prefetch(row.key);
        let dimensions = at.dimensions(batches, self.dimensions);
        let bucket = BucketStart::of(row.occurred_at, self.bucket_seconds);
        for (cells, hashes) in self.now.cells.iter().zip(&mut self.hashes) {
            let hash = cells.hash(bucket, dimensions, row.currency);
            cells.prefetch_place(hash);
            hashes[n % PREFETCH_AHEAD] = hash;
        }
    }

    /// A cell is two steps away in memory: its place is asked for first, the cell when the place is there.
    #[inline]
    fn prefetch_cells(&self, n: usize) {
        for (cells, hashes) in self.now.cells.iter().zip(&self.hashes) {
            cells.prefetch_cell(hashes[n % PREFETCH_AHEAD]);
        }
    }

    #[inline]
    fn event(
        &mut self,
        context: &FrameContext,
        event: &Event<'_>,
        found: Found<'_>,
        effects: &mut Effects,
    ) -> Result<(), FoldError> {
        let row = event.row;
        let import = row.flags.has(RowFlags::IMPORT);
        let outcome = if import {
            self.judge_against_all(row, found.committed, found.ended)
        } else if is_future(row.occurred_at, row.received_at, &context.rules) {
            Outcome::Quarantined(QuarantineReason::Future)
        } else if row.occurred_at < context.line {
            Outcome::Quarantined(QuarantineReason::TooOld)
        } else {
            self.judge(row, found.committed, Some(context.line))
        };
        let counts = effects.counts(row.source, row.received_at);
        counts.add(LedgerColumn::Received, 1);
        counts.add(LedgerColumn::Accepted, 1);
        match outcome {
            Outcome::Quarantined(reason) => {
                counts.quarantine(reason, 1);
                self.hold(QuarantineEntry { offset: event.offset, reason, received_at: row.received_at }, effects);
                return Ok(());
            }
            Outcome::Duplicate => counts.add(LedgerColumn::Duplicates, 1),
            Outcome::First => {
                counts.add(LedgerColumn::Counted, 1);
                counts.add(LedgerColumn::WithoutDedupe, i64::from(row.flags.has(RowFlags::NO_DEDUPE)));
                self.count(context, event, effects)?;
            }
        }
        effects.seen.event(import, row.source, row.occurred_at, row.received_at);
        Ok(())
    }

    /// A replay moves one event from quarantined to what it then is: age is waived, the future is checked again.
    /// An event that was counted under a key that has ended since is found in the raw events; where those are gone a
    /// replay that meets no other is refused.
    fn replay(
        &mut self,
        context: &FrameContext,
        event: &Event<'_>,
        found: Found<'_>,
        effects: &mut Effects,
    ) -> Result<(), FoldError> {
        let row = event.row;
        let held = self.entry(row.target).unwrap_or(found.entry);
        let counts = effects.counts(row.source, row.received_at);
        counts.add(LedgerColumn::Replays, 1);
        let Some(held) = held.filter(|e| e.reason != QuarantineReason::Rejected) else {
            counts.add(LedgerColumn::ReplaysRefused, 1);
            return Ok(());
        };
        let import = row.flags.has(RowFlags::IMPORT);
        let outcome = if held.reason == QuarantineReason::Conflict {
            Outcome::Quarantined(QuarantineReason::Conflict)
        } else if !import && is_future(row.occurred_at, context.appended_at, &context.rules) {
            Outcome::Quarantined(QuarantineReason::Future)
        } else {
            self.judge_against_all(row, found.committed, found.ended)
        };
        let is_first = matches!(outcome, Outcome::First) && !row.flags.has(RowFlags::NO_DEDUPE);
        if is_first && !found.ended.complete {
            counts.add(LedgerColumn::ReplaysRefused, 1);
            return Ok(());
        }
        counts.quarantine(held.reason, -1);
        match outcome {
            Outcome::Quarantined(reason) => {
                counts.quarantine(reason, 1);
                if reason != held.reason {
                    self.hold(QuarantineEntry { reason, ..held }, effects);
                }
                return Ok(());
            }
            Outcome::Duplicate => counts.add(LedgerColumn::Duplicates, 1),
            Outcome::First => {
                counts.add(LedgerColumn::Counted, 1);
                counts.add(LedgerColumn::WithoutDedupe, i64::from(row.flags.has(RowFlags::NO_DEDUPE)));
                self.count(context, event, effects)?;
            }
        }
        self.now.quarantine.insert(row.target, None);
        effects.released.push(row.target);
        Ok(())
    }

    /// Currency, then dedupe. A key ends below `line`; without a line it never does.
    #[inline]
    fn judge(&self, row: &EventRow, committed: Committed, line: Option<EventTime>) -> Outcome {
        if row.flags.has(RowFlags::FOREIGN) {
            return Outcome::Quarantined(QuarantineReason::Currency);
        }
        if row.flags.has(RowFlags::NO_DEDUPE) {
            return Outcome::First;
        }
        let first = match committed {
            // What is frozen did not have it; this frame may have brought it.
            Committed::Asked(committed) => self.now.memtable.find(row.key).copied().or(committed),
            Committed::KnownHere => self.find(row.key).copied(),
        };
        match first {
            Some(first) if !first.import && line.is_some_and(|line| first.occurred_at < line) => Outcome::First,
            Some(first) if first.content == row.content => Outcome::Duplicate,
            Some(_) => Outcome::Quarantined(QuarantineReason::Conflict),
            None => Outcome::First,
        }
    }

    /// As [`Self::judge`] without a line, against the raw events too: one counted event with the same content makes a
    /// duplicate, whatever has been counted under the key since.
    fn judge_against_all(&self, row: &EventRow, committed: Committed, ended: &Ended) -> Outcome {
        let outcome = self.judge(row, committed, None);
        match (&outcome, ended.contents.get(&row.key)) {
            (Outcome::First | Outcome::Quarantined(QuarantineReason::Conflict), Some(contents))
                if !row.flags.has(RowFlags::NO_DEDUPE) =>
            {
                if contents.contains(&row.content) {
                    Outcome::Duplicate
                } else {
                    Outcome::Quarantined(QuarantineReason::Conflict)
                }
            }
            _ => outcome,
        }
    }

    #[inline]
    fn count(&mut self, context: &FrameContext, event: &Event<'_>, effects: &mut Effects) -> Result<(), FoldError> {
        let Event { n, row, dimensions, offset } = *event;
        effects.counted += 1;
        self.note_currency(row, dimensions, effects);
        if !row.flags.has(RowFlags::NO_DEDUPE) {
            self.now.memtable.insert(DedupeRecord {
                key: row.key,
                content: row.content,
                occurred_at: row.occurred_at,
                offset,
                import: row.flags.has(RowFlags::IMPORT),
            });
        }
        let bucket = BucketStart::of(row.occurred_at, self.bucket_seconds);
        // An import lives by its own clock, which closes no bucket.
        let late =
            !row.flags.has(RowFlags::IMPORT) && bucket.seconds() + self.bucket_seconds <= context.watermark.seconds();
        for (cells, hashes) in self.now.cells.iter_mut().zip(&self.hashes) {
            let hash = hashes[n % PREFETCH_AHEAD];
            cells.add(row, dimensions, (bucket, late), hash, &self.columns, context.revision)?;
        }
        if row.user != 0 && !self.now.users.is_empty() {
            let coupon = self.coupons.symbol(Coupon::of(row.user));
            for (window_seconds, cells) in &mut self.now.users {
                let window = BucketStart::of(row.occurred_at, *window_seconds);
                cells.add_user(dimensions, window, coupon, context.revision);
            }
        }
        Ok(())
    }

    #[inline]
    fn note_currency(&mut self, row: &EventRow, dimensions: &[Symbol], effects: &mut Effects) {
        let Some(campaign) = self.campaign.map(|d| dimensions[d]).filter(|c| !c.is_null() && *c != Symbol::OTHER)
        else {
            return;
        };
        if self.currencies.len() <= campaign.index() {
            self.currencies.resize(campaign.index() + 1024, Symbol::NULL);
        }
        if self.currencies[campaign.index()] != row.currency {
            self.currencies[campaign.index()] = row.currency;
            effects.currencies.push((campaign, row.currency));
        }
    }

    fn hold(&mut self, entry: QuarantineEntry, effects: &mut Effects) {
        self.now.quarantine.insert(entry.offset, Some(entry));
        effects.quarantined.push(entry);
    }

    /// How many dedupe records and cells wait for the next checkpoint; what is frozen waits no more.
    pub fn pending(&self) -> (usize, usize) {
        self.now.size()
    }

    /// What no published checkpoint has: what is frozen, then what came after.
    pub fn unsaved(&self) -> impl Iterator<Item = &Unsaved> {
        self.frozen.iter().map(|f| &**f).chain([&self.now])
    }

    /// Sets apart what waits for a checkpoint; it is asked until [`Self::thaw`]. Nothing may be frozen already.
    pub fn freeze(&mut self) -> Arc<Unsaved> {
        debug_assert!(self.frozen.is_none(), "one checkpoint at a time");
        let fresh = self.spare.take().unwrap_or_else(|| Unsaved::new(&self.catalog, &self.columns));
        let frozen = Arc::new(std::mem::replace(&mut self.now, fresh));
        self.frozen = Some(frozen.clone());
        frozen
    }

    /// The store knows what was frozen: it is forgotten, and its memory serves again if nobody else holds it.
    pub fn thaw(&mut self) {
        if let Some(mut frozen) = self.frozen.take().and_then(|f| Arc::try_unwrap(f).ok()) {
            frozen.clear();
            self.spare = Some(frozen);
        }
    }
}

/// The symbols of coupons' texts, made at first use.
struct Coupons {
    symbols: Arc<Symbols>,
    known: Vec<Symbol>,
}

impl Coupons {
    fn new(symbols: Arc<Symbols>) -> Self {
        Self { symbols, known: Vec::new() }
    }

    #[inline]
    fn symbol(&mut self, coupon: Coupon) -> Symbol {
        if self.known.is_empty() {
            self.known.resize(COUPONS, Symbol::NULL);
        }
        let known = &mut self.known[coupon.index()];
        if known.is_null() {
            *known = self.symbols.intern(coupon.text().as_bytes());
        }
        *known
    }
}

/// One of a shard's rows: where it lies among them, and where in the log.
struct Event<'a> {
    n: usize,
    row: &'a EventRow,
    dimensions: &'a [Symbol],
    offset: Offset,
}

/// What the store says of a key.
#[derive(Clone, Copy)]
enum Committed {
    /// It was asked: no table of the shard had the key.
    Asked(Option<DedupeRecord>),
    /// It was not asked, for a table of the shard had the key.
    KnownHere,
}

/// What was found for one event.
struct Found<'a> {
    committed: Committed,
    entry: Option<QuarantineEntry>,
    ended: &'a Ended,
}

enum Outcome {
    First,
    Duplicate,
    Quarantined(QuarantineReason),
}

fn is_future(occurred_at: EventTime, now: ReceivedAt, rules: &Rules) -> bool {
    occurred_at.micros() > now.micros().saturating_add(rules.future_micros)
}
