//! The tables that the loop keeps in a store: the ledger, the values that dimensions were seen with, the rollups.

use adsum_model::catalog::{Catalog, RollupIx};
use adsum_model::ledger::ledger_schema;
use adsum_model::table::{TableIx, TableSchema};

/// The conservation ledger's table.
pub const LEDGER: TableIx = TableIx::new(0);
/// The table of values that count towards cardinality limits: its bucket is the UTC day of receivedAt.
pub const DIMENSION_DAYS: TableIx = TableIx::new(1);
/// The table of campaigns and the currencies that their events were counted in; it has one bucket, 0.
pub const CAMPAIGN_CURRENCIES: TableIx = TableIx::new(2);
const ROLLUPS: usize = 3;

/// The schemas of a catalog's tables, as a store is opened with them.
pub fn schemas(catalog: &Catalog) -> Vec<TableSchema> {
    let days = TableSchema {
        name: "dimension_days".to_owned(),
        keys: vec!["dimension".to_owned(), "value".to_owned()],
        columns: vec![1],
    };
    let currencies = TableSchema {
        name: "campaign_currencies".to_owned(),
        keys: vec!["campaignId".to_owned(), "currency".to_owned()],
        columns: vec![1],
    };
    let rollups = catalog.rollups().iter().map(|rollup| {
        let names = catalog.names(&rollup.dimensions);
        TableSchema {
            name: format!("rollup:{}:{}", catalog.bucket_seconds(), names.join(",")),
            keys: names.into_iter().chain(["currency"]).map(str::to_owned).collect(),
            columns: catalog.columns().iter().map(|c| c.id).collect(),
        }
    });
    let distinct = catalog.distinct_users().iter().map(|d| {
        let names = catalog.names(&d.dimensions);
        TableSchema {
            name: format!("distinct_users:{}:{}", d.window_seconds, names.join(",")),
            keys: names.into_iter().chain(["coupon"]).map(str::to_owned).collect(),
            columns: vec![1],
        }
    });
    [ledger_schema(), days, currencies].into_iter().chain(rollups).chain(distinct).collect()
}

/// The tables that shards add to, in the order of a shard's rows: rollups, then sets of distinct users.
pub(crate) fn shard_table(index: usize) -> TableIx {
    TableIx::new(ROLLUPS + index)
}

/// The table of a set of distinct users, by its place in the catalog.
pub fn distinct_table(catalog: &Catalog, index: usize) -> TableIx {
    TableIx::new(ROLLUPS + catalog.rollups().len() + index)
}

/// The table of a rollup.
pub fn rollup_table(rollup: RollupIx) -> TableIx {
    TableIx::new(ROLLUPS + rollup.index())
}
