//! Since when each metric is counted: one that came after the first events lacks what came before.
//!
//! Invariant: what is not named here is whole from the first event on. Not here: rollups that came later, which are
//! refused (query).

use adsum_model::catalog::{Catalog, RollupIx};
use adsum_model::id::{Position, Revision};
use adsum_pipeline::rollup_table;
use adsum_store::StoreView;
use serde_json::{Map, Value};

/// Says in an answer's meta, by metric that was added to a store with events, the first revision that counts it; where
/// there is none it says nothing.
pub fn add_metrics_since(catalog: &Catalog, view: &dyn StoreView, meta: &mut Map<String, Value>) {
    let tables = &view.committed().tables;
    let mut since = Map::new();
    for (i, column) in catalog.columns().iter().enumerate() {
        let rollups = (0..catalog.rollups().len()).map(|r| &tables[rollup_table(RollupIx::new(r)).index()]);
        let whole = rollups.filter(|table| table.since == Position::default());
        if let Some(latest) = whole.map(|t| t.columns_since[i]).max().filter(|at| *at != Position::default()) {
            since.insert(column.name.clone(), Revision::of_frame(latest.seq).to_string().into());
        }
    }
    if !since.is_empty() {
        meta.insert("metricsSince".to_owned(), since.into());
    }
}
