//! Distinct users by dimensions and time: estimates over gross events (see [`adsum_model::distinct`]).
//!
//! Invariant: an estimate is over one set of windows that lie wholly within the report's bucket; where no kept set
//! is fine enough the query is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use adsum_model::catalog::{Catalog, DimensionIx, DistinctDef};
use adsum_model::distinct::{Coupon, Sketch};
use adsum_model::id::{Position, Revision};
use adsum_model::table::TableRows;
use adsum_model::time::BucketStart;
use adsum_pipeline::distinct_table;
use adsum_store::{ScanNames, ScanRow, StoreView};
use anyhow::{Result, anyhow, bail};
use hashbrown::HashMap;

use super::query::{Query, Report, ReportRow, each_row, key_filters, wanted_dimensions};
use super::window::Window;

/// The columns of an answer.
pub fn columns(query: &Query) -> Report {
    Report { keys: query.by.clone(), metrics: vec!["distinctUsers".to_owned()], ctr: None }
}

/// Answers how many distinct users there were. `visit` gets the rows by time, then by dimensions, null first.
pub fn run(
    catalog: &Catalog,
    view: &dyn StoreView,
    extra: &[Vec<TableRows>],
    query: &Query,
    visit: &mut dyn FnMut(&ReportRow<'_>) -> Result<()>,
) -> Result<()> {
    let wanted = wanted_dimensions(catalog, query)?;
    let (index, set) = choose(catalog, view, query, &wanted)?;
    let table = distinct_table(catalog, index);
    let place = |d: &DimensionIx| set.dimensions.iter().position(|x| x == d).unwrap_or_default();
    let filters = key_filters(query, &wanted, place);
    let mut gather = Gather {
        query,
        set,
        shown: wanted[..query.by.len()].iter().map(place).collect(),
        window: None,
        bucket: None,
        groups: HashMap::new(),
        names: None,
        visit,
    };
    each_row(view, extra, table, query, &filters, &mut |row| gather.row(row))?;
    gather.flush()
}

/// The coarsest complete set that has every dimension asked for: the fewest rows to read.
fn choose<'a>(
    catalog: &'a Catalog,
    view: &dyn StoreView,
    query: &Query,
    wanted: &[DimensionIx],
) -> Result<(usize, &'a DistinctDef)> {
    let ends = [query.from, query.to];
    let fits = |d: &DistinctDef| {
        let probe = BucketStart::from_seconds(0);
        let fine = (query.zone.window(probe, query.granularity).ok())
            == (query.zone.window(BucketStart::from_seconds(d.window_seconds - 60), query.granularity).ok());
        let aligned = ends.iter().flatten().all(|b| b.seconds().rem_euclid(d.window_seconds) == 0);
        fine && aligned && wanted.iter().all(|w| d.dimensions.contains(w))
    };
    let complete =
        |index: usize| view.committed().tables[distinct_table(catalog, index).index()].since == Position::default();
    let sets = catalog.distinct_users().iter().enumerate();
    let found = sets.filter(|(i, d)| fits(d) && complete(*i)).max_by_key(|(_, d)| d.window_seconds);
    found.ok_or_else(|| {
        let names = |d: &DistinctDef| format!("{} by {} s", catalog.names(&d.dimensions).join(" x "), d.window_seconds);
        let kept: Vec<_> = catalog.distinct_users().iter().map(names).collect();
        anyhow!(
            "no set of distinct users covers these dimensions, this granularity and range; kept are: {}",
            kept.join("; ")
        )
    })
}

struct Gather<'a> {
    query: &'a Query,
    set: &'a DistinctDef,
    shown: Vec<usize>,
    window: Option<Window>,
    bucket: Option<BucketStart>,
    groups: HashMap<Vec<u32>, (Vec<Coupon>, Revision)>,
    names: Option<Arc<ScanNames>>,
    visit: &'a mut dyn FnMut(&ReportRow<'_>) -> Result<()>,
}

impl Gather<'_> {
    fn row(&mut self, row: &ScanRow<'_>) -> Result<()> {
        if self.bucket != Some(row.bucket) {
            let zone = &self.query.zone;
            let window = zone.window(row.bucket, self.query.granularity)?;
            let last = BucketStart::from_seconds(row.bucket.seconds() + self.set.window_seconds - 60);
            if zone.window(last, self.query.granularity)? != window {
                bail!("windows of {} s do not fit this zone's {:?}s", self.set.window_seconds, self.query.granularity);
            }
            if self.window != Some(window) {
                self.flush()?;
                self.window = Some(window);
            }
            self.bucket = Some(row.bucket);
            self.names = Some(row.names.clone());
        }
        let column = self.set.dimensions.len();
        let coupon = row.names.text(column, row.keys[column]).and_then(Coupon::parse);
        let coupon = coupon.ok_or_else(|| anyhow!("the table of distinct users holds what is no coupon"))?;
        let key: Vec<u32> = self.shown.iter().map(|i| row.keys[*i]).collect();
        let (coupons, revision) = self.groups.entry(key).or_default();
        coupons.push(coupon);
        *revision = (*revision).max(row.revision);
        Ok(())
    }

    /// Hands out the rows of the window that ends.
    fn flush(&mut self) -> Result<()> {
        let (Some(window), Some(names)) = (self.window, self.names.clone()) else { return Ok(()) };
        let sorted: BTreeMap<_, _> = self.groups.drain().collect();
        for (key, (coupons, revision)) in sorted {
            let mut sketch = Sketch::default();
            coupons.into_iter().for_each(|c| sketch.add(c));
            let keys: Vec<_> = key.iter().zip(&self.shown).map(|(id, column)| names.text(*column, *id)).collect();
            let users = i64::try_from(sketch.estimate())?;
            (self.visit)(&ReportRow { window, keys: &keys, values: &[users], revision })?;
        }
        Ok(())
    }
}
