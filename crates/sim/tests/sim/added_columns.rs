//! A store that was kept before a metric was there: it opens, goes on, and says since when the metric is counted.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use adsum_disk::{Disk, FaultyDisk};
use adsum_model::catalog::{Catalog, CatalogSpec, MetricKind, RollupIx};
use adsum_model::id::{FrameSeq, Offset, Position, Revision};
use adsum_model::state::Checkpoint;
use adsum_model::symbol::Symbol;
use adsum_model::table::{TableRows, TableSchema};
use adsum_model::time::BucketStart;
use adsum_pipeline::{rollup_table, schemas};
use adsum_store::{AggregateStore, BucketRange, EmbeddedStore, StoreOptions};

/// The frames that the old store had folded.
const OLD_FRAMES: u64 = 5;

/// One event in every metric, as one row of the first rollup.
fn checkpoint(schemas: &[TableSchema], through: u64) -> Checkpoint {
    let at = rollup_table(RollupIx::new(0)).index();
    let schema = &schemas[at];
    let mut rows = TableRows::new(schema.keys.len(), schema.columns.len());
    let key = vec![Symbol::OTHER; schema.keys.len()];
    rows.push(BucketStart::from_seconds(0), &key, &vec![1; schema.columns.len()], Revision::new(through));
    let mut all: Vec<Vec<TableRows>> = schemas.iter().map(|_| Vec::new()).collect();
    all[at].push(rows);
    let through = Position { seq: FrameSeq::ZERO.plus(through), offset: Offset::new(through) };
    Checkpoint { through, revision: Revision::new(through.seq.get()), rows: all, ..Checkpoint::default() }
}

#[test]
fn a_store_without_the_columns_goes_on_with_them() {
    let catalog = Catalog::build(&CatalogSpec::default()).unwrap();
    let new = schemas(&catalog);
    let added = [MetricKind::OutOfFlight, MetricKind::Late].map(|kind| catalog.column_of(kind).unwrap());
    let ids = added.map(|i| catalog.columns()[i].id);
    let mut old = new.clone();
    old.iter_mut().filter(|s| s.name.starts_with("rollup")).for_each(|s| s.columns.retain(|id| !ids.contains(id)));

    let disk: Arc<dyn Disk> = Arc::new(FaultyDisk::new(1));
    let open = |schemas: &[TableSchema]| {
        let symbols = catalog.symbols().clone();
        let path = Path::new("data/store");
        EmbeddedStore::open(disk.clone(), path, schemas.to_vec(), symbols, StoreOptions::default()).unwrap().0
    };
    let commit = |store: &EmbeddedStore, checkpoint: &Checkpoint| {
        store.publish(store.write(checkpoint).unwrap()).unwrap();
    };
    commit(&open(&old), &checkpoint(&old, OLD_FRAMES));
    let store = open(&new);
    commit(&store, &checkpoint(&new, OLD_FRAMES + 1));
    for store in [&store, &open(&new)] {
        let table = rollup_table(RollupIx::new(0));
        let committed = store.committed();
        assert_eq!(committed.tables[table.index()].since, Position::default(), "the rollup itself is whole");
        for (i, since) in committed.tables[table.index()].columns_since.iter().enumerate() {
            let want = if added.contains(&i) { OLD_FRAMES } else { 0 };
            assert_eq!(since.seq.get(), want, "{}", catalog.columns()[i].name);
        }
        let mut values = Vec::new();
        let scanned = store.scan(table, BucketRange::ALL, &[], &[], &mut |row| {
            values.push(row.values.to_vec());
            ControlFlow::Continue(())
        });
        scanned.unwrap();
        let want: Vec<i64> = (0..catalog.columns().len()).map(|i| if added.contains(&i) { 1 } else { 2 }).collect();
        assert_eq!(values, [want]);
    }
}
