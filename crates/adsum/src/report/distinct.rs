//! Distinct users by dimensions and time: estimates over gross events (see [`adsum_model::distinct`]).
//!
//! Invariant: an estimate is over one set of windows that lie wholly within the report's bucket; where no kept set
//! is fine enough the query is refused.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use adsum_model::catalog::{Catalog, DimensionIx, DistinctDef};
use adsum_model::distinct::{Coupon, Sketch};
use adsum_model::id::Revision;
use adsum_model::table::{TableIx, TableRows};
use adsum_model::time::BucketStart;
use adsum_pipeline::distinct_table;
use adsum_store::{KeyFilter, ScanNames, ScanRow, StoreView};
use anyhow::{Result, anyhow, bail};
use hashbrown::HashMap;

use super::columns::Report;
use super::query::{Budget, Complete, Query, ReportRow, Visit, each_row, key_filters, too_costly, wanted_dimensions};
use super::refused::Refused;
use super::window::{Granularity, Window, Windows};

/// The standard error of an estimate: 1.04 / sqrt(4096), see [`adsum_model::distinct`].
pub const STANDARD_ERROR: &str = "0.01625";

/// A question that can be answered, and from which set.
pub struct PlannedUsers {
    query: Query,
    /// How the answer's columns are named.
    pub report: Report,
    set: DistinctDef,
    table: TableIx,
    shown: Vec<usize>,
    filters: Vec<KeyFilter>,
}

/// Checks a query against the catalog and chooses the set that answers it.
pub fn plan(catalog: &Catalog, complete: &Complete, query: Query) -> Result<PlannedUsers> {
    let wanted = wanted_dimensions(catalog, &query)?;
    let (index, set) = choose(catalog, complete, &query, &wanted)?;
    let place = |d: &DimensionIx| set.dimensions.iter().position(|x| x == d).unwrap_or_default();
    let report = Report {
        keys: query.by.clone(),
        metrics: vec!["distinctUsers".to_owned()],
        invalid: Vec::new(),
        ratios: Vec::new(),
    };
    let shown = wanted[..query.by.len()].iter().map(place).collect();
    let filters = key_filters(&query, &wanted, place);
    Ok(PlannedUsers { report, set: set.clone(), table: distinct_table(catalog, index), shown, filters, query })
}

impl PlannedUsers {
    /// The table that answers.
    pub fn table(&self) -> TableIx {
        self.table
    }

    /// Length of the set's windows in seconds.
    pub fn window_seconds(&self) -> i64 {
        self.set.window_seconds
    }

    /// Answers how many distinct users there were. `visit` gets the rows by time, then by dimensions, null first.
    pub fn run(&self, view: &dyn StoreView, extra: &[Vec<TableRows>], budget: Budget, visit: Visit<'_>) -> Result<()> {
        let mut gather = Gather {
            query: &self.query,
            set: &self.set,
            shown: &self.shown,
            groups_max: budget.groups_max,
            windows: self.query.windows(),
            window: None,
            bucket: None,
            groups: HashMap::new(),
            names: None,
            visit,
        };
        let range = self.query.range();
        each_row(view, extra, self.table, range, &self.filters, budget, &mut |row| gather.row(row))?;
        gather.flush().map(|_| ())
    }
}

/// The set that answers, of those that are complete and have every dimension asked for: the coarsest, which has the
/// fewest rows to read; where buckets are asked for as they are stored, the finest.
fn choose<'a>(
    catalog: &'a Catalog,
    complete: &Complete,
    query: &Query,
    wanted: &[DimensionIx],
) -> Result<(usize, &'a DistinctDef)> {
    let ends = [query.from, query.to];
    let as_stored = query.granularity == Granularity::Bucket;
    let fits = |d: &DistinctDef| {
        let probe = BucketStart::from_seconds(0);
        let last = BucketStart::from_seconds(d.window_seconds - 60);
        let window = |bucket| query.zone.window(bucket, query.granularity).ok();
        let aligned = ends.iter().flatten().all(|b| b.seconds().rem_euclid(d.window_seconds) == 0);
        (is_whole(query.granularity) || window(probe) == window(last))
            && aligned
            && wanted.iter().all(|w| d.dimensions.contains(w))
    };
    let sets = catalog.distinct_users().iter().enumerate();
    let fitting = sets.filter(|(i, d)| fits(d) && complete.holds(distinct_table(catalog, *i)));
    let found = match as_stored {
        true => fitting.min_by_key(|(_, d)| d.window_seconds),
        false => fitting.max_by_key(|(_, d)| d.window_seconds),
    };
    found.ok_or_else(|| {
        let names = |d: &DistinctDef| format!("{} by {} s", catalog.names(&d.dimensions).join(" x "), d.window_seconds);
        let kept: Vec<_> = catalog.distinct_users().iter().map(names).collect();
        let detail = format!(
            "no set of distinct users covers these dimensions ({}), this granularity and range; kept are: {}; \
             configure one in `distinct_users`",
            catalog.names(wanted).join(" x "),
            kept.join("; ")
        );
        Refused::whole("no_distinct_users", detail).into()
    })
}

/// Whether windows as they are kept lie within the report's buckets, whichever the zone.
fn is_whole(granularity: Granularity) -> bool {
    matches!(granularity, Granularity::Bucket | Granularity::Range)
}

struct Gather<'a> {
    query: &'a Query,
    set: &'a DistinctDef,
    shown: &'a [usize],
    groups_max: usize,
    windows: Windows,
    window: Option<Window>,
    bucket: Option<BucketStart>,
    groups: HashMap<Vec<u32>, (Vec<Coupon>, Revision)>,
    names: Option<Arc<ScanNames>>,
    visit: Visit<'a>,
}

impl Gather<'_> {
    fn row(&mut self, row: &ScanRow<'_>) -> Result<ControlFlow<()>> {
        if self.bucket != Some(row.bucket) {
            let window = self.query.window(&mut self.windows, self.window, row.bucket)?;
            let last = BucketStart::from_seconds(row.bucket.seconds() + self.set.window_seconds - 60);
            if !is_whole(self.query.granularity) && self.windows.of(last)? != window {
                bail!("windows of {} s do not fit this zone's {:?}s", self.set.window_seconds, self.query.granularity);
            }
            if self.window != Some(window) {
                if self.flush()?.is_break() {
                    // Nothing is left to be handed out at the end.
                    self.window = None;
                    return Ok(ControlFlow::Break(()));
                }
                self.window = Some(window);
            }
            self.bucket = Some(row.bucket);
            self.names = Some(row.names.clone());
        }
        let column = self.set.dimensions.len();
        let coupon = row.names.text(column, row.keys[column]).and_then(Coupon::parse);
        let coupon = coupon.ok_or_else(|| anyhow!("the table of distinct users holds what is no coupon"))?;
        let key: Vec<u32> = self.shown.iter().map(|i| row.keys[*i]).collect();
        if self.groups.len() >= self.groups_max && !self.groups.contains_key(&key) {
            return Err(too_costly("groups in one bucket", self.groups_max as u64));
        }
        let (coupons, revision) = self.groups.entry(key).or_default();
        coupons.push(coupon);
        *revision = (*revision).max(row.revision);
        Ok(ControlFlow::Continue(()))
    }

    /// Hands out the rows of the window that ends.
    fn flush(&mut self) -> Result<ControlFlow<()>> {
        let (Some(window), Some(names)) = (self.window, self.names.clone()) else {
            return Ok(ControlFlow::Continue(()));
        };
        let sorted: BTreeMap<_, _> = self.groups.drain().collect();
        for (key, (coupons, revision)) in sorted {
            let mut sketch = Sketch::default();
            coupons.into_iter().for_each(|c| sketch.add(c));
            let keys: Vec<_> = key.iter().zip(self.shown).map(|(id, column)| names.text(*column, *id)).collect();
            let users = i64::try_from(sketch.estimate())?;
            if (self.visit)(&ReportRow { window, keys: &keys, values: &[users], revision })?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
