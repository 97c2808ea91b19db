//! A question, the rollup that answers it, and the answer's rows.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use adsum_model::catalog::{Catalog, DimensionIx, MetricKind, ROLLUP_DIMENSIONS_MAX, RollupIx};
use adsum_model::id::{Position, Revision};
use adsum_model::table::{TableIx, TableRows};
use adsum_model::time::BucketStart;
use adsum_pipeline::rollup_table;
use adsum_store::{BucketRange, KeyFilter, ScanNames, ScanRow, StoreView};
use anyhow::{Result, bail};
use hashbrown::HashMap;

use super::window::{Granularity, TimeZone, Window};

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

/// How an answer's columns are named.
#[derive(Clone, Debug)]
pub struct Report {
    /// The dimensions asked for, then `currency`.
    pub keys: Vec<String>,
    /// The catalog's columns.
    pub metrics: Vec<String>,
    /// Where impressions and clicks stand among them, for the click-through rate.
    pub ctr: Option<(usize, usize)>,
}

/// A row while it is added up.
struct Sum {
    values: Vec<i64>,
    revision: Revision,
}

/// The smallest rollup that has every dimension asked for and is complete.
fn choose(catalog: &Catalog, view: &dyn StoreView, wanted: &[DimensionIx]) -> Result<RollupIx> {
    let mut incomplete = Vec::new();
    let mut best: Option<(usize, RollupIx)> = None;
    for (i, rollup) in catalog.rollups().iter().enumerate() {
        if !wanted.iter().all(|d| rollup.dimensions.contains(d)) {
            continue;
        }
        let ix = RollupIx::new(i);
        if view.committed().tables[rollup_table(ix).index()].since != Position::default() {
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
        bail!(
            "the rollup {} was added after the first events and lacks what came before; a rebuild fills it",
            incomplete.join(", ")
        );
    }
    let sets: Vec<_> = catalog.rollups().iter().map(|r| catalog.names(&r.dimensions).join(" x ")).collect();
    bail!("no rollup has all of these dimensions; there are: {}", sets.join("; "))
}

fn dimension(catalog: &Catalog, param: &str, name: &str) -> Result<DimensionIx> {
    match catalog.dimension_named(name) {
        Some(ix) => Ok(ix),
        None => {
            let names: Vec<_> = catalog.dimensions().iter().map(|d| d.name.as_str()).collect();
            bail!("{param}: {name:?} is no dimension of the catalog; there are {}", names.join(", "))
        }
    }
}

/// The dimensions of a checked query: those that rows are split by, then those of its filters.
pub(super) fn wanted_dimensions(catalog: &Catalog, query: &Query) -> Result<Vec<DimensionIx>> {
    if let Some(twice) = query.by.iter().enumerate().find(|(i, n)| query.by[..*i].contains(n)) {
        bail!("by: {} stands twice", twice.1);
    }
    if let (Some(from), Some(to)) = (query.from, query.to)
        && from >= to
    {
        bail!("from: must lie before to");
    }
    let by = query.by.iter().map(|n| dimension(catalog, "by", n));
    by.chain(query.filters.iter().map(|(n, _)| dimension(catalog, "filter", n))).collect()
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

/// Scans a table over a query's range, with the rows that are not committed yet, until `take` fails.
pub(super) fn each_row(
    view: &dyn StoreView,
    extra: &[Vec<TableRows>],
    table: TableIx,
    query: &Query,
    filters: &[KeyFilter],
    take: &mut dyn FnMut(&ScanRow<'_>) -> Result<()>,
) -> Result<()> {
    let range =
        BucketRange::new(query.from.unwrap_or(BucketRange::ALL.from()), query.to.unwrap_or(BucketRange::ALL.to()));
    let extra: Vec<&TableRows> = extra.get(table.index()).map(|rows| rows.iter().collect()).unwrap_or_default();
    let mut result = Ok(());
    view.scan(table, range, filters, &extra, &mut |row| {
        result = take(row);
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    result
}

/// A query that can be answered, and from which rollup.
pub struct Planned<'a> {
    query: &'a Query,
    /// How the answer's columns are named.
    pub report: Report,
    rollup: RollupIx,
    shown: Vec<usize>,
    filters: Vec<KeyFilter>,
    /// Whether the rollup's rows are the answer's as they come: nothing is to be added up or sorted.
    as_stored: bool,
}

/// Checks a query against the catalog and chooses the rollup that answers it.
pub fn plan<'a>(catalog: &Catalog, view: &dyn StoreView, query: &'a Query) -> Result<Planned<'a>> {
    let wanted = wanted_dimensions(catalog, query)?;
    let rollup = choose(catalog, view, &wanted)?;
    let dimensions = &catalog.rollups()[rollup.index()].dimensions;
    let place = |d: &DimensionIx| dimensions.iter().position(|x| x == d).unwrap_or_default();
    let mut shown: Vec<usize> = wanted[..query.by.len()].iter().map(place).collect();
    shown.push(dimensions.len());
    let filters = key_filters(query, &wanted, place);
    let count_of = |name: &str| {
        let ix = catalog.event_type_named(name.as_bytes())?;
        catalog.column_of(MetricKind::Count(ix))
    };
    let report = Report {
        keys: query.by.iter().cloned().chain(["currency".to_owned()]).collect(),
        metrics: catalog.columns().iter().map(|c| c.name.clone()).collect(),
        ctr: count_of("impression").zip(count_of("click")),
    };
    let as_stored = match query.granularity {
        Granularity::Bucket => true,
        Granularity::Minute => catalog.bucket_seconds() == 60,
        Granularity::Hour | Granularity::Day => false,
    } && shown.iter().enumerate().all(|(i, column)| i == *column)
        && shown.len() == dimensions.len() + 1;
    Ok(Planned { query, report, rollup, shown, filters, as_stored })
}

impl Planned<'_> {
    /// Answers from `view` and the rows that are not committed yet (by table). `visit` gets the rows by time, then
    /// by dimensions, null first.
    pub fn run(
        &self,
        view: &dyn StoreView,
        extra: &[Vec<TableRows>],
        visit: &mut dyn FnMut(&ReportRow<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut adder = Adder {
            query: self.query,
            shown: &self.shown,
            as_stored: self.as_stored,
            window: None,
            bucket: None,
            sums: HashMap::new(),
            names: None,
            visit,
        };
        each_row(view, extra, rollup_table(self.rollup), self.query, &self.filters, &mut |row| adder.row(row))?;
        adder.flush()
    }
}

/// The most keys of a row: a rollup's dimensions and the currency.
const KEYS_MAX: usize = ROLLUP_DIMENSIONS_MAX + 1;

/// Adds up the rows of one window after the other: the scan comes by time.
struct Adder<'a> {
    query: &'a Query,
    shown: &'a [usize],
    as_stored: bool,
    window: Option<Window>,
    bucket: Option<BucketStart>,
    sums: HashMap<Vec<u32>, Sum>,
    names: Option<Arc<ScanNames>>,
    visit: &'a mut dyn FnMut(&ReportRow<'_>) -> Result<()>,
}

impl Adder<'_> {
    fn row(&mut self, row: &ScanRow<'_>) -> Result<()> {
        if self.bucket != Some(row.bucket) {
            let window = self.query.zone.window(row.bucket, self.query.granularity)?;
            if self.window != Some(window) {
                self.flush()?;
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
        let key: Vec<u32> = self.shown.iter().map(|i| row.keys[*i]).collect();
        match self.sums.entry(key) {
            hashbrown::hash_map::Entry::Occupied(mut found) => {
                let sum = found.get_mut();
                for (to, from) in sum.values.iter_mut().zip(row.values) {
                    *to = to.checked_add(*from).ok_or_else(|| anyhow::anyhow!("a sum would overflow 64 bits"))?;
                }
                sum.revision = sum.revision.max(row.revision);
            }
            hashbrown::hash_map::Entry::Vacant(free) => {
                free.insert(Sum { values: row.values.to_vec(), revision: row.revision });
            }
        }
        Ok(())
    }

    /// Hands out the rows of the window that ends.
    fn flush(&mut self) -> Result<()> {
        let (Some(window), Some(names)) = (self.window, self.names.clone()) else { return Ok(()) };
        // Ids order as texts do, so the sorted map is the order of the answer.
        let sorted: BTreeMap<Vec<u32>, Sum> = self.sums.drain().collect();
        for (key, sum) in sorted {
            let keys: Vec<_> = key.iter().zip(self.shown).map(|(id, column)| names.text(*column, *id)).collect();
            (self.visit)(&ReportRow { window, keys: &keys, values: &sum.values, revision: sum.revision })?;
        }
        Ok(())
    }
}
