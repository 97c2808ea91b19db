//! A question, the rollup that answers it, and the answer's rows.

use std::hash::BuildHasher;
use std::ops::ControlFlow;
use std::sync::Arc;

use adsum_model::catalog::{Catalog, DimensionIx, ROLLUP_DIMENSIONS_MAX, RollupIx};
use adsum_model::id::{Position, Revision};
use adsum_model::table::{TableIx, TableRows};
use adsum_model::time::BucketStart;
use adsum_pipeline::rollup_table;
use adsum_store::{BucketRange, KeyFilter, ScanNames, ScanRow, StoreView};
use anyhow::{Result, anyhow};
use hashbrown::{DefaultHashBuilder, HashTable};

use super::columns::Report;
use super::refused::Refused;
use super::window::{Granularity, TimeZone, Window, Windows};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Query {
    /// How long a bucket is.
    pub granularity: Granularity,
    /// The dimensions that rows are split by, in this order.
    pub by: Vec<String>,
    /// Values that dimensions must have; none is null.
    pub filters: Vec<(String, Vec<Option<String>>)>,
    /// From which moment on.
    pub from: Option<BucketStart>,
    /// Up to which moment.
    pub to: Option<BucketStart>,
    /// The zone of hours and days.
    pub zone: TimeZone,
}

impl Query {
    /// The stored buckets that are asked for.
    pub fn range(&self) -> BucketRange {
        BucketRange::new(self.from.unwrap_or(BucketRange::ALL.from()), self.to.unwrap_or(BucketRange::ALL.to()))
    }

    /// The report's buckets that stored ones fall into.
    pub(super) fn windows(&self) -> Windows {
        Windows::new(self.zone.clone(), self.granularity)
    }

    /// The one that a stored bucket falls into, where the bucket before it fell into `last`.
    pub(super) fn window(&self, windows: &mut Windows, last: Option<Window>, bucket: BucketStart) -> Result<Window> {
        match (self.granularity, self.from, last) {
            // Without a beginning the first bucket that there is begins the range.
            (Granularity::Range, None, Some(window)) => Ok(window),
            (Granularity::Range, from, _) => windows.of(from.unwrap_or(bucket)),
            _ => windows.of(bucket),
        }
    }
}

/// One row of an answer.
#[derive(Clone, Copy, Debug)]
pub struct ReportRow<'a> {
    /// The bucket.
    pub window: Window,
    /// The dimensions asked for, then the currency; none is null.
    pub keys: &'a [Option<&'a str>],
    /// The sums, as the catalog's columns.
    pub values: &'a [i64],
    /// The last revision that changed it.
    pub revision: Revision,
}

/// Who gets the rows of an answer, one after the other, until it breaks off.
pub type Visit<'a> = &'a mut dyn FnMut(&ReportRow<'_>) -> Result<ControlFlow<()>>;

/// What an answer may cost.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Stored rows that are read.
    pub rows_max: u64,
    /// Groups that are added up at a time: those of one bucket of the report.
    pub groups_max: usize,
}

impl Budget {
    /// For who owns the machine and the data.
    pub const UNBOUNDED: Self = Self { rows_max: u64::MAX, groups_max: usize::MAX };
}

/// Which tables hold every row since the beginning. It stays as it is while a store is open.
pub struct Complete {
    tables: Vec<bool>,
}

impl Complete {
    /// As a store was opened.
    pub fn of(view: &dyn StoreView) -> Self {
        Self { tables: view.committed().tables.iter().map(|t| t.since == Position::default()).collect() }
    }

    /// Whether a table does.
    pub fn holds(&self, table: TableIx) -> bool {
        self.tables.get(table.index()).copied().unwrap_or_default()
    }
}

/// The rows of one window while they are added up, one behind the other.
struct Sums {
    keys: usize,
    columns: usize,
    /// `keys` ids a row.
    ids: Vec<u32>,
    /// `columns` sums a row.
    values: Vec<i64>,
    revisions: Vec<Revision>,
    /// Where the row of a key stands.
    places: HashTable<usize>,
    hasher: DefaultHashBuilder,
}

impl Sums {
    fn new(keys: usize) -> Self {
        let (ids, values, revisions) = (Vec::new(), Vec::new(), Vec::new());
        let (places, hasher) = (HashTable::new(), DefaultHashBuilder::default());
        Self { keys, columns: 0, ids, values, revisions, places, hasher }
    }

    fn len(&self) -> usize {
        self.revisions.len()
    }

    fn key(&self, place: usize) -> &[u32] {
        &self.ids[place * self.keys..(place + 1) * self.keys]
    }

    fn values(&self, place: usize) -> &[i64] {
        &self.values[place * self.columns..(place + 1) * self.columns]
    }

    fn find(&self, key: &[u32]) -> Option<usize> {
        self.places.find(self.hasher.hash_one(key), |&place| self.key(place) == key).copied()
    }

    fn add(&mut self, place: usize, row: &ScanRow<'_>) -> Result<()> {
        add_up(&mut self.values[place * self.columns..(place + 1) * self.columns], row.values)?;
        self.revisions[place] = self.revisions[place].max(row.revision);
        Ok(())
    }

    fn insert(&mut self, key: &[u32], row: &ScanRow<'_>) {
        self.columns = row.values.len();
        let place = self.len();
        self.ids.extend_from_slice(key);
        self.values.extend_from_slice(row.values);
        self.revisions.push(row.revision);
        let Self { keys, ids, places, hasher, .. } = self;
        let hash_of = |&place: &usize| hasher.hash_one(&ids[place * *keys..(place + 1) * *keys]);
        places.insert_unique(hash_of(&place), place, hash_of);
    }

    /// The rows' places by key. Ids order as texts do.
    fn in_order(&self) -> Vec<usize> {
        let mut places: Vec<usize> = (0..self.len()).collect();
        places.sort_unstable_by(|a, b| self.key(*a).cmp(self.key(*b)));
        places
    }

    fn clear(&mut self) {
        self.ids.clear();
        self.values.clear();
        self.revisions.clear();
        self.places.clear();
    }
}

/// The smallest rollup that has every dimension asked for and is complete.
fn choose(catalog: &Catalog, complete: &Complete, wanted: &[DimensionIx]) -> Result<RollupIx> {
    let mut incomplete = Vec::new();
    let mut best: Option<(usize, RollupIx)> = None;
    for (i, rollup) in catalog.rollups().iter().enumerate() {
        if !wanted.iter().all(|d| rollup.dimensions.contains(d)) {
            continue;
        }
        let ix = RollupIx::new(i);
        if !complete.holds(rollup_table(ix)) {
            incomplete.push(catalog.names(&rollup.dimensions).join(" x "));
            continue;
        }
        if best.is_none_or(|(size, _)| rollup.dimensions.len() < size) {
            best = Some((rollup.dimensions.len(), ix));
        }
    }
    if let Some((_, ix)) = best {
        return Ok(ix);
    }
    if !incomplete.is_empty() {
        let detail = format!(
            "the rollup {} was added after the first events and lacks what came before; a rebuild fills it",
            incomplete.join(", ")
        );
        return Err(Refused::whole("incomplete_rollup", detail).into());
    }
    let sets: Vec<_> = catalog.rollups().iter().map(|r| catalog.names(&r.dimensions).join(" x ")).collect();
    let mut names = catalog.names(wanted);
    names.dedup();
    let detail = format!(
        "no rollup has all of these dimensions; there are: {}; configure one of {} in `rollups`",
        sets.join("; "),
        names.join(" x ")
    );
    Err(Refused::new("no_rollup", "dimensions", detail).into())
}

fn dimension(catalog: &Catalog, param: &str, what: &str, name: &str) -> Result<DimensionIx> {
    catalog.dimension_named(name).ok_or_else(|| {
        let names: Vec<_> = catalog.dimensions().iter().map(|d| d.name.as_str()).collect();
        let detail =
            format!("rows cannot be {what} by {name:?}: no dimension of the catalog; there are {}", names.join(", "));
        Refused::new("unknown_dimension", param, detail).into()
    })
}

/// The dimensions of a checked query: those that rows are split by, then those of its filters.
pub(super) fn wanted_dimensions(catalog: &Catalog, query: &Query) -> Result<Vec<DimensionIx>> {
    if let Some((_, twice)) = query.by.iter().enumerate().find(|(i, n)| query.by[..*i].contains(n)) {
        return Err(
            Refused::new("repeated_dimension", "dimensions", format!("split by {twice}, which stands twice")).into()
        );
    }
    if let (Some(from), Some(to)) = (query.from, query.to)
        && from >= to
    {
        return Err(Refused::new("invalid_range", "from", "it must lie before `to`").into());
    }
    let by = query.by.iter().map(|n| dimension(catalog, "dimensions", "split", n));
    let filters = query.filters.iter().map(|(n, _)| dimension(catalog, &format!("filter.{n}"), "filtered", n));
    by.chain(filters).collect()
}

/// The filters of a query as a table's key columns.
pub(super) fn key_filters(
    query: &Query,
    wanted: &[DimensionIx],
    place: impl Fn(&DimensionIx) -> usize,
) -> Vec<KeyFilter> {
    (query.filters.iter().zip(&wanted[query.by.len()..]))
        .map(|((_, allowed), d)| KeyFilter { column: place(d), allowed: allowed.clone() })
        .collect()
}

/// Scans a table, with the rows that are not committed yet, until `take` fails or breaks off, within a budget.
pub(super) fn each_row(
    view: &dyn StoreView,
    extra: &[Vec<TableRows>],
    table: TableIx,
    range: BucketRange,
    filters: &[KeyFilter],
    budget: Budget,
    take: &mut dyn FnMut(&ScanRow<'_>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let extra: Vec<&TableRows> = extra.get(table.index()).map(|rows| rows.iter().collect()).unwrap_or_default();
    let mut result = Ok(());
    let mut rows = 0_u64;
    view.scan(table, range, filters, &extra, &mut |row| {
        rows += 1;
        let taken = if rows > budget.rows_max { Err(too_costly("rows to read", budget.rows_max)) } else { take(row) };
        taken.unwrap_or_else(|error| {
            result = Err(error);
            ControlFlow::Break(())
        })
    })?;
    result
}

/// The refusal of an answer that would take more of something than it may.
pub(super) fn too_costly(what: &str, max: u64) -> anyhow::Error {
    let detail = format!(
        "the answer takes more than {max} {what}; ask for a shorter range, fewer dimensions or more filters, or for text/csv"
    );
    Refused::whole("too_costly", detail).into()
}

/// A query that can be answered, and from which rollup.
pub struct Planned {
    query: Query,
    /// How the answer's columns are named.
    pub report: Report,
    rollup: RollupIx,
    shown: Vec<usize>,
    filters: Vec<KeyFilter>,
    /// Whether the rollup's rows are the answer's as they come: nothing is to be added up or sorted.
    as_stored: bool,
}

/// Checks a query against the catalog and chooses the rollup that answers it.
pub fn plan(catalog: &Catalog, complete: &Complete, query: Query) -> Result<Planned> {
    let wanted = wanted_dimensions(catalog, &query)?;
    let rollup = choose(catalog, complete, &wanted)?;
    let dimensions = &catalog.rollups()[rollup.index()].dimensions;
    let place = |d: &DimensionIx| dimensions.iter().position(|x| x == d).unwrap_or_default();
    let mut shown: Vec<usize> = wanted[..query.by.len()].iter().map(place).collect();
    shown.push(dimensions.len());
    let filters = key_filters(&query, &wanted, place);
    let as_stored = match query.granularity {
        Granularity::Bucket => true,
        Granularity::Minute => catalog.bucket_seconds() == 60,
        Granularity::Hour | Granularity::Day | Granularity::Range => false,
    } && shown.iter().enumerate().all(|(i, column)| i == *column)
        && shown.len() == dimensions.len() + 1;
    Ok(Planned { report: Report::of(catalog, &query.by), query, rollup, shown, filters, as_stored })
}

impl Planned {
    /// The question.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// The table that answers.
    pub fn table(&self) -> TableIx {
        rollup_table(self.rollup)
    }

    /// Leaves out the buckets before `from`, which must be where a bucket of the report begins.
    pub fn go_on_from(&mut self, from: BucketStart) {
        self.query.from = self.query.from.max(Some(from));
    }

    /// Answers from `view` and the rows that are not committed yet (by table). `visit` gets the rows by time, then
    /// by dimensions, null first.
    pub fn run(&self, view: &dyn StoreView, extra: &[Vec<TableRows>], budget: Budget, visit: Visit<'_>) -> Result<()> {
        let mut adder = Adder {
            query: &self.query,
            shown: &self.shown,
            as_stored: self.as_stored,
            groups_max: budget.groups_max,
            windows: self.query.windows(),
            window: None,
            bucket: None,
            key: Vec::new(),
            last: 0,
            sums: Sums::new(self.shown.len()),
            names: None,
            ended: false,
            visit,
        };
        let range = self.query.range();
        each_row(view, extra, self.table(), range, &self.filters, budget, &mut |row| adder.row(row))?;
        adder.flush().map(|_| ())
    }
}

/// The most keys of a row: a rollup's dimensions and the currency.
const KEYS_MAX: usize = ROLLUP_DIMENSIONS_MAX + 1;

/// Adds up the rows of one window after the other: the scan comes by time.
struct Adder<'a> {
    query: &'a Query,
    shown: &'a [usize],
    as_stored: bool,
    groups_max: usize,
    windows: Windows,
    window: Option<Window>,
    bucket: Option<BucketStart>,
    /// The present row's key.
    key: Vec<u32>,
    /// Where the sum stands that the row before was added to.
    last: usize,
    sums: Sums,
    names: Option<Arc<ScanNames>>,
    /// Whether nobody wants further rows.
    ended: bool,
    visit: Visit<'a>,
}

impl Adder<'_> {
    fn row(&mut self, row: &ScanRow<'_>) -> Result<ControlFlow<()>> {
        if self.bucket != Some(row.bucket) {
            let window = self.query.window(&mut self.windows, self.window, row.bucket)?;
            if self.window != Some(window) {
                if self.flush()?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                self.window = Some(window);
            }
            self.bucket = Some(row.bucket);
        }
        if let (true, Some(window)) = (self.as_stored, self.window) {
            let mut keys = [None; KEYS_MAX];
            for (i, id) in row.keys.iter().enumerate() {
                keys[i] = row.names.text(i, *id);
            }
            let keys = &keys[..row.keys.len()];
            return (self.visit)(&ReportRow { window, keys, values: row.values, revision: row.revision });
        }
        if self.names.is_none() {
            self.names = Some(row.names.clone());
        }
        self.key.clear();
        self.key.extend(self.shown.iter().map(|i| row.keys[*i]));
        // Rows that follow one another often have one key: that of the one campaign asked for.
        let again = self.last < self.sums.len() && self.sums.key(self.last) == self.key;
        if let Some(place) = if again { Some(self.last) } else { self.sums.find(&self.key) } {
            self.sums.add(place, row)?;
            self.last = place;
            return Ok(ControlFlow::Continue(()));
        }
        if self.sums.len() >= self.groups_max {
            return Err(too_costly("groups in one bucket", self.groups_max as u64));
        }
        self.last = self.sums.len();
        self.sums.insert(&self.key, row);
        Ok(ControlFlow::Continue(()))
    }

    /// Hands out the rows of the window that ends.
    fn flush(&mut self) -> Result<ControlFlow<()>> {
        let (Some(window), Some(names), false) = (self.window, self.names.clone(), self.ended) else {
            return Ok(ControlFlow::Continue(()));
        };
        let mut keys = Vec::with_capacity(self.shown.len());
        for place in self.sums.in_order() {
            keys.clear();
            let ids = self.sums.key(place).iter().zip(self.shown);
            keys.extend(ids.map(|(id, column)| names.text(*column, *id)));
            let (values, revision) = (self.sums.values(place), self.sums.revisions[place]);
            if (self.visit)(&ReportRow { window, keys: &keys, values, revision })?.is_break() {
                self.ended = true;
                return Ok(ControlFlow::Break(()));
            }
        }
        self.sums.clear();
        Ok(ControlFlow::Continue(()))
    }
}

/// Adds values to sums, one by one. An overflow is an error, never a wrapped number.
pub(super) fn add_up(sums: &mut [i64], values: &[i64]) -> Result<()> {
    for (to, from) in sums.iter_mut().zip(values) {
        *to = to.checked_add(*from).ok_or_else(|| anyhow!("a sum would overflow 64 bits"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use adsum_model::catalog::CatalogSpec;
    use adsum_model::id::{DedupeKey, Offset};
    use adsum_model::state::{Checkpoint, DedupeRecord, QuarantineEntry, SmallState};
    use adsum_model::time::EventTime;
    use adsum_store::{Committed, StateHash, StoreError};

    use super::super::refused::problem;
    use super::*;

    /// A view of rows of a key of five columns: bucket, id of the first key, value of the first column.
    struct Rows {
        committed: Committed,
        rows: Vec<(i64, u32, i64)>,
    }

    impl StoreView for Rows {
        fn committed(&self) -> &Committed {
            &self.committed
        }

        fn lookup(&self, _: &[DedupeKey], _: &mut Vec<Option<DedupeRecord>>) -> Result<(), StoreError> {
            unreachable!("a report looks up no keys")
        }

        fn quarantined(&self, _: &[Offset]) -> Result<Vec<Option<QuarantineEntry>>, StoreError> {
            unreachable!("a report asks for no quarantine")
        }

        fn quarantine_list(&self, _: Option<Offset>, _: usize) -> Result<Vec<QuarantineEntry>, StoreError> {
            unreachable!("a report asks for no quarantine")
        }

        fn scan(
            &self,
            _: TableIx,
            _: BucketRange,
            _: &[KeyFilter],
            _: &[&TableRows],
            visit: &mut dyn FnMut(&ScanRow<'_>) -> ControlFlow<()>,
        ) -> Result<(), StoreError> {
            let names = Arc::new(ScanNames::default());
            for (bucket, key, value) in &self.rows {
                let row = ScanRow {
                    bucket: BucketStart::from_seconds(*bucket),
                    keys: &[*key, 0, 0, 0, 0],
                    values: &[*value, 0, 0, 0, 0, 0],
                    revision: Revision::new(1),
                    revision_least: Revision::new(1),
                    names: &names,
                };
                if visit(&row).is_break() {
                    break;
                }
            }
            Ok(())
        }

        fn state_hash(&self, _: Option<&Checkpoint>) -> Result<StateHash, StoreError> {
            unreachable!("a report asks for no hash")
        }
    }

    /// The sums of a report by hour and campaign, or the code of what came in their place.
    fn sums(rows: &[(i64, u32, i64)], budget: Budget, break_after: usize) -> Result<Vec<i64>, &'static str> {
        let catalog = Catalog::build(&CatalogSpec::default()).unwrap();
        let committed = Committed {
            through: Position::default(),
            revision: Revision::ZERO,
            dedupe_line: EventTime::from_micros(i64::MIN),
            small: SmallState::default(),
            tables: Vec::new(),
        };
        let view = Rows { committed, rows: rows.to_vec() };
        let complete = Complete { tables: vec![true; 8] };
        let zone = TimeZone::named("tz", "UTC").unwrap();
        let by = vec!["campaignId".to_owned()];
        let query = Query { granularity: Granularity::Hour, by, filters: Vec::new(), from: None, to: None, zone };
        let planned = plan(&catalog, &complete, query).unwrap();
        let mut sums = Vec::new();
        let ran = planned.run(&view, &[], budget, &mut |row| {
            sums.push(row.values[0]);
            Ok(if sums.len() < break_after { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        });
        ran.map(|()| sums).map_err(|error| problem(error).code)
    }

    #[test]
    fn an_answer_keeps_to_its_budget_and_never_wraps() {
        let all = Budget::UNBOUNDED;
        let rows = [(0, 1, 5), (60, 1, 6), (60, 2, 7), (3600, 1, 8)];
        for (rows, budget, break_after, want) in [
            (&rows[..], all, 99, Ok(vec![11, 7, 8])),
            (&rows, Budget { rows_max: 4, groups_max: 2 }, 99, Ok(vec![11, 7, 8])),
            (&rows, Budget { rows_max: 3, ..all }, 99, Err("too_costly")),
            (&rows, Budget { groups_max: 1, ..all }, 99, Err("too_costly")),
            (&rows, all, 1, Ok(vec![11])),
            (&rows, all, 2, Ok(vec![11, 7])),
            // Counts and money become invoices: no answer is better than a wrapped one.
            (&[(0, 1, i64::MAX), (60, 1, 1)], all, 99, Err("internal")),
            (&[(0, 1, i64::MAX), (3600, 1, 1)], all, 99, Ok(vec![i64::MAX, 1])),
            (&[], all, 99, Ok(Vec::new())),
        ] {
            assert_eq!(sums(rows, budget, break_after), want, "{rows:?} {budget:?} {break_after}");
        }
    }
}
