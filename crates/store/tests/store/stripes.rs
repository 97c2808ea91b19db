//! Rows that fill several stripes: many small buckets, buckets that fill stripes alone, and both in turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use adsum_disk::FaultyDisk;
use adsum_model::id::{FrameSeq, Offset, Position, Revision};
use adsum_model::state::Checkpoint;
use adsum_model::symbol::Symbols;
use adsum_model::table::{TableRows, TableSchema};
use adsum_model::time::BucketStart;
use adsum_store::{BucketRange, EmbeddedStore, KeyFilter, StoreOptions};

use crate::contract::{commit, merge_all};
use crate::oracle::{Rows, add_rows, scanned};

const TABLE: usize = 0;

/// Buckets of a minute and how many rows each: they follow one another.
const BUCKETS: [(i64, i64); 5] = [(300, 60), (1, 40_000), (40, 500), (2, 33_000), (3, 5)];

/// Merges four runs of rows.
const OPTIONS: StoreOptions =
    StoreOptions { merge_fan_in: 2, merge_base_bytes: 64 << 20, keys_merge_fan_in: 2, keys_merge_base_bytes: 64 << 20 };

/// The rows of one checkpoint, of later ones fewer; every third comes twice, and each in another order than it is stored in.
fn rows(symbols: &Symbols, seq: u64) -> TableRows {
    let mut rows = TableRows::new(2, 2);
    let (mut minute, mut n) = (0, seq as i64);
    for (buckets, count) in BUCKETS {
        for _ in 0..buckets {
            for _ in 0..count / seq as i64 {
                n = (n * 7_919 + 12_345).rem_euclid(1_000_003);
                let key = [format!("c{}", n % 311), format!("p{}", n / 311 % 173)];
                let key = [symbols.intern(key[0].as_bytes()), symbols.intern(key[1].as_bytes())];
                let bucket = BucketStart::from_seconds(60 * minute);
                for _ in 0..1 + i64::from(n % 3 == 0) {
                    rows.push(bucket, &key, &[1, n - 500_000], Revision::new(10 * seq + n as u64 % 7));
                }
            }
            minute += 1;
        }
    }
    rows
}

fn check(store: &EmbeddedStore, want: &Rows, what: &str) {
    let minutes =
        |from: i64, to: i64| BucketRange::new(BucketStart::from_seconds(60 * from), BucketStart::from_seconds(60 * to));
    let ranges = [BucketRange::ALL, minutes(17, 23), minutes(299, 302), minutes(300, 301), minutes(341, 344)];
    let campaign =
        |names: &[&str]| KeyFilter { column: 0, allowed: names.iter().map(|name| Some((*name).to_owned())).collect() };
    let publisher = KeyFilter { column: 1, allowed: vec![Some("p5".to_owned()), None] };
    let filters =
        [vec![], vec![campaign(&["c7"])], vec![campaign(&["c0", "c99", "none"]), publisher.clone()], vec![publisher]];
    for range in ranges {
        for filters in &filters {
            let passes = |(bucket, key): &(i64, Vec<Option<String>>)| {
                range.contains(BucketStart::from_seconds(*bucket))
                    && filters.iter().all(|f| f.allowed.contains(&key[f.column]))
            };
            let want: Vec<_> =
                want.iter().filter(|(place, _)| passes(place)).map(|(p, sums)| (p.clone(), sums.clone())).collect();
            let shown = scanned(store, TABLE, range, filters, &[]);
            assert!(shown == want, "{what}: {range:?} {filters:?}: {} rows, wanted {}", shown.len(), want.len());
        }
    }
}

#[test]
fn every_row_is_found_in_its_stripe_and_in_order() {
    let symbols = Arc::new(Symbols::default());
    let schema =
        TableSchema { name: "t".to_owned(), keys: ["c", "p"].map(str::to_owned).to_vec(), columns: vec![1, 2] };
    let disk = Arc::new(FaultyDisk::new(1));
    let open =
        || EmbeddedStore::open(disk.clone(), "s", vec![schema.clone()], Arc::clone(&symbols), OPTIONS).unwrap().0;
    let store = open();
    let mut want: Rows = BTreeMap::new();
    for seq in 1..=4 {
        let rows = rows(&symbols, seq);
        add_rows(&mut want, &[&rows], &symbols);
        let through = Position { seq: FrameSeq::new(seq), offset: Offset::new(seq) };
        let revision = Revision::new(seq);
        commit(&store, &Checkpoint { through, revision, rows: vec![vec![rows]], ..Checkpoint::default() }).unwrap();
    }
    check(&store, &want, "four runs");
    assert!(merge_all(&store).unwrap() > 0);
    check(&store, &want, "merged");
    drop(store);
    check(&open(), &want, "opened again");
}
