//! What every store promises, checked against the naive one, whatever was merged and opened again in between.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use adsum_disk::{Disk, FaultyDisk, RealDisk};
use adsum_model::id::{DedupeKey, Offset, Position, Revision};
use adsum_model::state::{Checkpoint, DedupeRecord};
use adsum_model::symbol::{Symbol, Symbols};
use adsum_model::table::{TableIx, TableRows};
use adsum_model::time::BucketStart;
use adsum_store::{AggregateStore, BucketRange, EmbeddedStore, KeyFilter, MemoryStore, StoreError, StoreOptions};

use crate::oracle::{Drawer, Oracle, Place, Rows, Sums, add_rows, scanned, schemas};

/// Merges often, so that small tests merge too.
pub const OPTIONS: StoreOptions =
    StoreOptions { merge_fan_in: 3, merge_base_bytes: 4096, keys_merge_fan_in: 3, keys_merge_base_bytes: 4096 };

pub fn open(disk: Arc<dyn Disk>, symbols: &Arc<Symbols>) -> Result<EmbeddedStore, StoreError> {
    EmbeddedStore::open(disk, "store", schemas(), Arc::clone(symbols), OPTIONS).map(|(store, _)| store)
}

pub fn commit(store: &dyn AggregateStore, checkpoint: &Checkpoint) -> Result<(), StoreError> {
    let written = store.write(checkpoint)?;
    store.publish(written)
}

pub fn merge_all(store: &dyn AggregateStore) -> Result<usize, StoreError> {
    let mut merges = 0;
    while let Some(plan) = store.merge_due() {
        let written = store.merge(&plan)?;
        store.publish(written)?;
        merges += 1;
    }
    Ok(merges)
}

fn in_order(rows: Rows) -> Vec<(Place, Sums)> {
    rows.into_iter().collect()
}

/// Least revisions are not compared for memory stores after a merge: only files keep them.
fn compare_rows(store: &dyn AggregateStore, oracle: &Oracle, drawer: &mut Drawer, what: &str) {
    let everything = BucketRange::ALL;
    for (table, rows) in oracle.rows.iter().enumerate() {
        let strip = |rows: Vec<(Place, Sums)>| {
            rows.into_iter().map(|(place, (values, revision, _))| (place, values, revision)).collect::<Vec<_>>()
        };
        let shown = scanned(store, table, everything, &[], &[]);
        assert_eq!(strip(shown), strip(in_order(rows.clone())), "{what}: table {table}");
        let extra = [drawer.rows(table, 40), drawer.rows(table, 3)];
        let extra: Vec<&TableRows> = extra.iter().collect();
        let mut with_extra = rows.clone();
        add_rows(&mut with_extra, &extra, &drawer.symbols);
        let middle = with_extra.keys().nth(with_extra.len() / 2).map_or(0, |place| place.0);
        let range = BucketRange::new(BucketStart::from_seconds(middle - 300), BucketStart::from_seconds(middle + 120));
        let allowed =
            vec![None, Some(String::new()), Some("a3".to_owned()), Some("é4".to_owned()), Some("no".to_owned())];
        let other = vec![Some("other".to_owned()), Some("é5".to_owned()), None];
        let filters = match table {
            0 => vec![KeyFilter { column: 0, allowed }],
            1 => vec![KeyFilter { column: 10, allowed: other.clone() }, KeyFilter { column: 9, allowed: other }],
            _ => Vec::new(),
        };
        let shown = scanned(store, table, range, &filters, &extra);
        with_extra.retain(|(bucket, key), _| {
            range.contains(BucketStart::from_seconds(*bucket))
                && filters.iter().all(|f| f.allowed.contains(&key[f.column]))
        });
        assert_eq!(strip(shown), strip(in_order(with_extra)), "{what}: table {table} filtered, with extra");
    }
}

pub fn compare(store: &dyn AggregateStore, oracle: &Oracle, drawer: &mut Drawer, what: &str) {
    let committed = store.committed();
    assert_eq!((committed.through, committed.revision), (oracle.through, oracle.revision), "{what}");
    assert_eq!(committed.small, oracle.small, "{what}");
    assert_eq!(committed.dedupe_line.micros(), oracle.line, "{what}");
    let absent = [0_u128, u128::MAX, 7 << 64 | 1, 1 << 127];
    let keys: Vec<DedupeKey> = oracle.keys.keys().copied().chain(absent).map(DedupeKey::new).collect();
    let mut found: Vec<Option<DedupeRecord>> = Vec::new();
    store.lookup(&keys, &mut found).unwrap();
    assert_eq!(found.len(), keys.len());
    for (key, found) in keys.iter().zip(&found) {
        assert_eq!(*found, oracle.record(key.get()), "{what}: {key:?}");
    }
    let entries = oracle.entries();
    assert_eq!(store.quarantine_list(None, usize::MAX).unwrap(), entries, "{what}");
    let half = entries.len() / 2;
    if let Some(after) = entries.get(half) {
        let want: Vec<_> = entries.iter().skip(half + 1).take(5).copied().collect();
        assert_eq!(store.quarantine_list(Some(after.offset), 5).unwrap(), want, "{what}");
    }
    let offsets: Vec<Offset> = (0..oracle.through.offset.get() + 2).map(Offset::new).collect();
    let found = store.quarantined(&offsets).unwrap();
    assert_eq!(found.into_iter().flatten().collect::<Vec<_>>(), entries, "{what}");
    compare_rows(store, oracle, drawer, what);
    assert_eq!(store.state_hash(None).unwrap().get(), oracle.state_hash(), "{what}: state hash");
}

/// The contract: `again` closes a store and opens it anew, where there is such a thing.
fn check(
    seed: u64,
    size: u64,
    first: Box<dyn AggregateStore>,
    again: &dyn Fn() -> Option<Box<dyn AggregateStore>>,
    symbols: &Arc<Symbols>,
) {
    let mut drawer = Drawer::new(seed, Arc::clone(symbols));
    let mut beside = Drawer::new(seed ^ 1, Arc::clone(symbols));
    let mut oracle = Oracle::new();
    let mut store = first;
    compare(&*store, &oracle, &mut beside, "empty");
    for step in 0..12_u64 {
        let what = format!("seed {seed} step {step}");
        let checkpoint = if step == 4 {
            Checkpoint {
                through: oracle.through,
                revision: oracle.revision,
                small: oracle.small.clone(),
                ..Checkpoint::default()
            }
        } else {
            drawer.checkpoint(size)
        };
        let before = store.view();
        let hash_before = before.state_hash(None).unwrap();
        let written = store.write(&checkpoint).unwrap();
        assert_eq!(store.committed().through, oracle.through, "{what}: nothing is visible before it is published");
        let hash_pending = store.state_hash(Some(&checkpoint)).unwrap();
        if step % 3 == 1
            && let Some(plan) = store.merge_due()
        {
            // A merge beside a write, published before it.
            let merged = store.merge(&plan).unwrap();
            store.publish(merged).unwrap();
            assert_eq!(store.state_hash(None).unwrap(), hash_before, "{what}: a merge changes nothing");
        }
        store.publish(written).unwrap();
        oracle.apply(&checkpoint, symbols);
        assert_eq!(before.state_hash(None).unwrap(), hash_before, "{what}: a view stays as it was");
        assert_eq!(store.state_hash(None).unwrap(), hash_pending, "{what}: pending and published hash alike");
        compare(&*store, &oracle, &mut beside, &what);
        if step % 3 == 2 {
            merge_all(&*store).unwrap();
            compare(&*store, &oracle, &mut beside, &format!("{what} merged"));
        }
        if step % 4 == 3
            && let Some(opened) = again()
        {
            store = opened;
            compare(&*store, &oracle, &mut beside, &format!("{what} opened again"));
        }
    }
    refuses(&*store, &mut drawer);
}

#[test]
fn a_copy_of_the_held_files_is_the_same_state() {
    let dirs = tempfile::tempdir().unwrap();
    let symbols = Arc::new(Symbols::default());
    let open = |dir: &std::path::Path| {
        let opened = EmbeddedStore::open(Arc::new(RealDisk), dir, schemas(), Arc::clone(&symbols), OPTIONS);
        opened.unwrap()
    };
    let from = dirs.path().join("from");
    let (store, _) = open(&from);
    let mut drawer = Drawer::new(5, Arc::clone(&symbols));
    let view = std::thread::scope(|scope| {
        for step in 0..9 {
            commit(&store, &drawer.checkpoint(60)).unwrap();
            let to = dirs.path().join(step.to_string());
            std::fs::create_dir(&to).unwrap();
            // Merges go on beside the copy and take files away before and after it, never in its midst.
            let merging = scope.spawn(|| merge_all(&store).unwrap());
            let mut view = None;
            store
                .hold(&mut |names| {
                    for name in names {
                        std::fs::copy(from.join(name), to.join(name)).unwrap();
                    }
                    view = Some(store.view());
                })
                .unwrap();
            merging.join().unwrap();
            let (copy, report) = open(&to);
            assert_eq!(report, adsum_store::OpenReport::default(), "step {step}");
            let view = view.unwrap();
            assert_eq!(copy.committed(), *view.committed());
            assert_eq!(copy.state_hash(None).unwrap(), view.state_hash(None).unwrap(), "step {step}");
        }
        store.view()
    });
    assert!(view.committed().through > Position::default());
}

/// What a store refuses.
fn refuses(store: &dyn AggregateStore, drawer: &mut Drawer) {
    let stale = |result: Result<(), StoreError>| assert!(matches!(result, Err(StoreError::Stale { .. })), "{result:?}");
    let schema =
        |result: Result<(), StoreError>| assert!(matches!(result, Err(StoreError::Schema { .. })), "{result:?}");
    let (one, two) = (drawer.checkpoint(3), drawer.checkpoint(3));
    let (first, second) = (store.write(&one).unwrap(), store.write(&two).unwrap());
    store.publish(first).unwrap();
    stale(store.publish(second));
    stale(store.write(&Checkpoint { through: Position::default(), ..Checkpoint::default() }).map(drop));
    let narrow = Checkpoint { through: two.through, rows: vec![vec![TableRows::new(1, 3)]], ..Checkpoint::default() };
    schema(store.write(&narrow).map(drop));
    let many = Checkpoint { through: two.through, rows: vec![Vec::new(); 4], ..Checkpoint::default() };
    schema(store.write(&many).map(drop));
    schema(store.scan(TableIx::new(3), BucketRange::ALL, &[], &[], &mut |_| ControlFlow::Continue(())));
    let filter = KeyFilter { column: 2, allowed: vec![None] };
    schema(store.scan(TableIx::new(0), BucketRange::ALL, &[filter], &[], &mut |_| ControlFlow::Continue(())));
    let mut shown = 0;
    let stop = &mut |_: &adsum_store::ScanRow<'_>| {
        shown += 1;
        ControlFlow::Break(())
    };
    store.scan(TableIx::new(0), BucketRange::ALL, &[], &[], stop).unwrap();
    assert!(shown <= 1, "a scan ends where its visitor breaks off");
    overflows(store, two.through);
}

fn overflows(store: &dyn AggregateStore, through: Position) {
    let mut rows = TableRows::new(0, 2);
    rows.push(BucketStart::from_seconds(0), &[] as &[Symbol], &[i64::MAX, 1], Revision::new(1));
    let checkpoint = || Checkpoint { through, rows: vec![vec![], vec![], vec![rows.clone()]], ..Checkpoint::default() };
    commit(store, &checkpoint()).unwrap();
    let scan = |extra: &[&TableRows]| {
        store.scan(TableIx::new(2), BucketRange::ALL, &[], extra, &mut |_| ControlFlow::Continue(()))
    };
    scan(&[]).unwrap();
    let overflow = |result: Result<(), StoreError>| match result {
        Err(StoreError::Overflow { table }) => assert_eq!(table, "total"),
        other => panic!("a wrapped sum: {other:?}"),
    };
    overflow(scan(&[&rows]));
    overflow(store.state_hash(Some(&checkpoint())).map(drop));
    commit(store, &checkpoint()).unwrap();
    overflow(scan(&[]));
}

#[test]
fn memory() {
    for seed in 0..6 {
        let symbols = Arc::new(Symbols::default());
        let store = MemoryStore::new(schemas(), Arc::clone(&symbols)).unwrap();
        check(seed, 60, Box::new(store), &|| None, &symbols);
    }
}

#[test]
fn embedded_on_a_disk_in_memory() {
    for seed in 0..12 {
        let symbols = Arc::new(Symbols::default());
        let disk: Arc<dyn Disk> = Arc::new(FaultyDisk::new(seed));
        let store = Box::new(open(Arc::clone(&disk), &symbols).unwrap());
        let again = || Some(Box::new(open(Arc::clone(&disk), &symbols).unwrap()) as Box<dyn AggregateStore>);
        check(seed, if seed == 0 { 400 } else { 60 }, store, &again, &symbols);
    }
}

#[test]
fn embedded_on_the_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("a/b");
    let symbols = Arc::new(Symbols::default());
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let open = || {
        let opened = EmbeddedStore::open(Arc::clone(&disk), &path, schemas(), Arc::clone(&symbols), OPTIONS);
        Box::new(opened.unwrap().0) as Box<dyn AggregateStore>
    };
    check(77, 60, open(), &|| Some(open()), &symbols);
}

#[test]
fn many_rows_and_keys_in_many_blocks() {
    let symbols = Arc::new(Symbols::default());
    let disk: Arc<dyn Disk> = Arc::new(FaultyDisk::new(1));
    let stores: [Box<dyn AggregateStore>; 2] =
        [Box::new(open(disk, &symbols).unwrap()), Box::new(MemoryStore::new(schemas(), Arc::clone(&symbols)).unwrap())];
    for store in stores {
        let (mut drawer, mut oracle) = (Drawer::new(5, Arc::clone(&symbols)), Oracle::new());
        for step in 0..4 {
            let checkpoint = drawer.checkpoint(6_000);
            commit(&*store, &checkpoint).unwrap();
            oracle.apply(&checkpoint, &symbols);
            compare(&*store, &oracle, &mut Drawer::new(9, Arc::clone(&symbols)), &format!("step {step}"));
        }
        merge_all(&*store).unwrap();
        compare(&*store, &oracle, &mut Drawer::new(9, Arc::clone(&symbols)), "merged");
    }
}

#[test]
fn files_keep_the_least_revision_too() {
    let symbols = Arc::new(Symbols::default());
    let store = open(Arc::new(FaultyDisk::new(1)), &symbols).unwrap();
    let (mut drawer, mut oracle) = (Drawer::new(5, Arc::clone(&symbols)), Oracle::new());
    for _ in 0..7 {
        let checkpoint = drawer.checkpoint(50);
        commit(&store, &checkpoint).unwrap();
        merge_all(&store).unwrap();
        oracle.apply(&checkpoint, &symbols);
        for (table, rows) in oracle.rows.iter().enumerate() {
            assert_eq!(scanned(&store, table, BucketRange::ALL, &[], &[]), in_order(rows.clone()));
        }
    }
    assert!(store.stats().rows_runs < 7, "{:?}", store.stats());
}

#[test]
fn several_threads_look_up_while_others_publish() {
    let symbols = Arc::new(Symbols::default());
    let store = open(Arc::new(FaultyDisk::new(1)), &symbols).unwrap();
    let mut drawer = Drawer::new(5, Arc::clone(&symbols));
    let first = drawer.checkpoint(300);
    commit(&store, &first).unwrap();
    let records: Vec<DedupeRecord> = first.dedupe.iter().flatten().filter(|r| r.import).copied().collect();
    let keys: Vec<DedupeKey> = records.iter().map(|r| r.key).collect();
    assert!(!keys.is_empty());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut found = Vec::new();
                for _ in 0..300 {
                    store.lookup(&keys, &mut found).unwrap();
                    assert!(found.iter().zip(&records).all(|(f, r)| f.as_ref() == Some(r)), "imports never end");
                }
            });
        }
        for _ in 0..20 {
            commit(&store, &drawer.checkpoint(50)).unwrap();
            merge_all(&store).unwrap();
        }
    });
}
