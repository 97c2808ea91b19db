//! Tables and columns that come, go and come back.

use std::ops::ControlFlow;
use std::sync::Arc;

use adsum_disk::{Disk, FaultyDisk};
use adsum_model::id::{FrameSeq, Offset, Position, Revision};
use adsum_model::state::Checkpoint;
use adsum_model::symbol::{Symbol, Symbols};
use adsum_model::table::{TableIx, TableRows, TableSchema};
use adsum_model::time::BucketStart;
use adsum_store::{AggregateStore, BucketRange, EmbeddedStore, StoreError};

use crate::contract::{OPTIONS, commit, merge_all};

fn at(seq: u64) -> Position {
    Position { seq: FrameSeq::new(seq), offset: Offset::new(seq) }
}

fn schema(name: &str, columns: &[u16]) -> TableSchema {
    TableSchema { name: name.to_owned(), keys: vec!["k".to_owned()], columns: columns.to_vec() }
}

struct Machine {
    disk: Arc<dyn Disk>,
    symbols: Arc<Symbols>,
}

impl Machine {
    fn open(&self, schemas: &[TableSchema]) -> Result<EmbeddedStore, StoreError> {
        let opened =
            EmbeddedStore::open(Arc::clone(&self.disk), "s", schemas.to_vec(), Arc::clone(&self.symbols), OPTIONS);
        opened.map(|(store, _)| store)
    }

    /// One row of bucket 0 in each table.
    fn feed(&self, store: &EmbeddedStore, seq: u64, tables: &[&[i64]]) {
        let key = [self.symbols.intern(b"x")];
        let row = |values: &&[i64]| {
            let mut rows = TableRows::new(1, values.len());
            rows.push(BucketStart::from_seconds(0), &key as &[Symbol], values, Revision::new(seq));
            vec![rows]
        };
        let rows = tables.iter().map(row).collect();
        let through = at(seq);
        commit(store, &Checkpoint { through, revision: Revision::new(seq), rows, ..Checkpoint::default() }).unwrap();
    }
}

fn values(store: &EmbeddedStore, table: usize) -> Vec<i64> {
    let mut shown = Vec::new();
    let visit = &mut |row: &adsum_store::ScanRow<'_>| {
        shown.extend_from_slice(row.values);
        ControlFlow::Continue(())
    };
    store.scan(TableIx::new(table), BucketRange::ALL, &[], &[], visit).unwrap();
    shown
}

fn since(store: &EmbeddedStore) -> Vec<(u64, Vec<u64>)> {
    let number = |p: &Position| p.seq.get();
    let tables = store.committed().tables;
    tables.iter().map(|t| (number(&t.since), t.columns_since.iter().map(number).collect())).collect()
}

#[test]
fn older_runs_read_under_newer_schemas_and_nothing_is_lost() {
    let machine = Machine { disk: Arc::new(FaultyDisk::new(1)), symbols: Arc::default() };
    let store = machine.open(&[schema("a", &[1]), schema("b", &[5])]).unwrap();
    machine.feed(&store, 1, &[&[10], &[7]]);
    let before = store.state_hash(None).unwrap();

    let store = machine.open(&[schema("c", &[1]), schema("a", &[2, 1])]).unwrap();
    assert_eq!(since(&store), [(1, vec![1]), (0, vec![1, 0])]);
    assert_eq!((values(&store, 0), values(&store, 1)), (vec![], vec![0, 10]), "what a run lacks is 0");
    assert_eq!(store.state_hash(None).unwrap(), before, "a table that is gone still counts");
    let store = machine.open(&[schema("b", &[5]), schema("a", &[1])]).unwrap();
    assert_eq!(since(&store), [(0, vec![0]), (0, vec![0])], "nothing was published in between");

    let store = machine.open(&[schema("c", &[1]), schema("a", &[2, 1])]).unwrap();
    machine.feed(&store, 2, &[&[3], &[5, 1]]);
    machine.feed(&store, 3, &[&[3], &[5, 1]]);
    // So many runs of rows that a merge is due.
    (4..7).for_each(|seq| machine.feed(&store, seq, &[&[0], &[0, 0]]));
    let before = store.state_hash(None).unwrap();
    assert!(merge_all(&store).unwrap() > 0);
    assert_eq!(store.state_hash(None).unwrap(), before);
    assert_eq!((values(&store, 0), values(&store, 1)), (vec![6], vec![10, 12]));

    let store = machine.open(&[schema("b", &[5]), schema("a", &[1])]).unwrap();
    assert_eq!(since(&store), [(6, vec![6]), (0, vec![0])], "b was not fed for a while");
    assert_eq!((values(&store, 0), values(&store, 1)), (vec![7], vec![12]), "it went through the merge");
    assert_eq!(store.state_hash(None).unwrap(), before, "a column that is gone still counts");
}

#[test]
fn another_key_needs_another_name() {
    let machine = Machine { disk: Arc::new(FaultyDisk::new(1)), symbols: Arc::default() };
    drop(machine.open(&[schema("a", &[1])]).unwrap());
    let other = TableSchema { keys: vec!["other".to_owned()], ..schema("a", &[1]) };
    let refused = machine.open(&[other]).map(drop);
    assert!(matches!(&refused, Err(StoreError::Schema { table, .. }) if table == "a"), "{refused:?}");
}

#[test]
fn a_fresh_store_says_so() {
    let machine = Machine { disk: Arc::new(FaultyDisk::new(1)), symbols: Arc::default() };
    let open = || {
        let symbols = Arc::clone(&machine.symbols);
        EmbeddedStore::open(Arc::clone(&machine.disk), "s", vec![schema("a", &[1])], symbols, OPTIONS).unwrap().1
    };
    assert!(open().fresh);
    assert!(!open().fresh);
}
