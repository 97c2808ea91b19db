//! The store's readers: any bytes in the place of the manifest or of one run of a small store, then everything that
//! is asked of a store, a merge among it.
//!
//! Where the second byte of an input has its first bit set, checksums are trusted, so that what lies behind them is
//! reached. Invariant: each answer is given or refused, within bounded memory; without that bit a run that is not as it
//! was written is refused, and one that is gives the answers that it gave. Not here: every single bit and cut, which
//! crates/store/tests/store/damage.rs goes through.
#![no_main]
#![allow(dead_code, reason = "the oracle of the tests can more than is asked here")]

#[path = "../../crates/store/tests/store/oracle.rs"]
mod oracle;
#[path = "small_store.rs"]
mod small_store;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use adsum_disk::FaultyDisk;
use adsum_model::id::{DedupeKey, Offset};
use adsum_model::symbol::Symbols;
use adsum_model::table::TableIx;
use adsum_model::time::BucketStart;
use adsum_store::{AggregateStore, BucketRange, KeyFilter, StoreError};
use libfuzzer_sys::fuzz_target;
use oracle::schemas;
use small_store::{SmallStore, open};

/// What one input may cost in memory: some buffers of a MiB.
const MEMORY_MAX_BYTES: usize = 64 << 20;

/// The small store, written with and without checksums that are trusted.
fn small(trusting: bool) -> &'static SmallStore {
    static STORES: [OnceLock<SmallStore>; 2] = [OnceLock::new(), OnceLock::new()];
    STORES[usize::from(trusting)].get_or_init(SmallStore::new)
}

/// Everything that a store is asked for.
fn ask(store: &dyn AggregateStore, keys: &[u128], trusting: bool) -> Result<String, StoreError> {
    let mut answers = format!("{:?}", store.committed());
    let keys: Vec<DedupeKey> = keys.iter().copied().map(DedupeKey::new).collect();
    let mut found = Vec::new();
    store.lookup(&keys, &mut found)?;
    assert_eq!(found.len(), keys.len(), "an answer for each key");
    let offsets: Vec<Offset> = (0..8).map(Offset::new).collect();
    answers += &format!("{found:?} {:?} {:?}", store.quarantined(&offsets)?, store.quarantine_list(None, 100)?);
    for (table, schema) in schemas().iter().enumerate() {
        let middle = 1_700_000_000 / 60 * 60;
        let some = BucketRange::new(BucketStart::from_seconds(middle - 600), BucketStart::from_seconds(middle));
        let filter = KeyFilter { column: 0, allowed: vec![None, Some("a3".to_owned())] };
        let filters = if schema.keys.is_empty() { Vec::new() } else { vec![filter] };
        for (range, filters) in [(BucketRange::ALL, &[][..]), (some, &filters)] {
            store.scan(TableIx::new(table), range, filters, &[], &mut |row| {
                let texts: Vec<_> = row.keys.iter().enumerate().map(|(c, id)| row.names.text(c, *id)).collect();
                let place = (row.bucket, texts.iter().map(|t| t.map(str::to_owned)).collect::<Vec<_>>());
                answers += &format!("{place:?} {:?} {:?};", row.values, row.revision);
                // Whole stripes are judged by what their footer says of them.
                assert!(trusting || range.contains(row.bucket), "a row of another range");
                ControlFlow::Continue(())
            })?;
        }
    }
    answers += &format!("{:?}", store.state_hash(None)?);
    Ok(answers)
}

/// Asks, merges what is due, and asks again, then once more of the store opened anew.
fn use_it(disk: &FaultyDisk, keys: &[u128], trusting: bool) -> Result<String, StoreError> {
    let symbols = Arc::new(Symbols::default());
    let store = open(disk, &symbols)?;
    let before = ask(&store, keys, trusting)?;
    while let Some(plan) = store.merge_due() {
        let merged = store.merge(&plan)?;
        store.publish(merged)?;
    }
    let merged = ask(&store, keys, trusting)?;
    drop(store);
    let again = ask(&open(disk, &symbols)?, keys, trusting)?;
    // Records out of order are found or not as a merge meets them.
    assert!(trusting || before == merged, "a merge changed an answer");
    assert!(trusting || merged == again, "another answer after opening again");
    Ok(merged)
}

fn run(which: u8, control: u8, bytes: &[u8]) {
    let trusting = control & 1 != 0;
    crc32fast::trust(trusting);
    let small = small(trusting);
    let (path, original) = &small.files[usize::from(which) % small.files.len()];
    let is_manifest = path.ends_with("manifest");
    let mut bytes = bytes.to_vec();
    if trusting && !is_manifest {
        // The manifest says how long it is.
        bytes.resize(original.len(), 0);
    }
    let disk = FaultyDisk::new(1);
    for (path, bytes) in &small.files {
        disk.set_bytes(path, bytes.clone());
    }
    disk.set_bytes(Path::new(path), bytes.clone());
    match use_it(&disk, &small.keys, trusting) {
        Ok(answers) if bytes == *original => {
            let before = small.answers.get_or_init(|| answers.clone());
            assert_eq!(answers, *before, "another answer");
        }
        // A manifest with the right checksum is one.
        Ok(_) => assert!(trusting || is_manifest, "a run was taken that is not as it was written"),
        Err(error) => {
            assert!(bytes != *original, "{error}");
            let damaged =
                matches!(error, StoreError::Corrupt { .. } | StoreError::Schema { .. } | StoreError::Overflow { .. });
            assert!(damaged, "{error}");
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let [which, control, bytes @ ..] = data else { return };
    adsum_fuzz::within(MEMORY_MAX_BYTES, || run(*which, *control, bytes));
});
