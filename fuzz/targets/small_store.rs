//! A small store of three checkpoints, as files: what the store's target damages and what its seeds are.
//!
//! Invariant: it is drawn from a fixed seed, so that an input damages the same store tomorrow.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use adsum_disk::FaultyDisk;
use adsum_model::symbol::Symbols;
use adsum_store::{AggregateStore, EmbeddedStore, StoreError, StoreOptions};

use super::oracle::{Drawer, schemas};

/// The files of the store, sorted, and the keys that are in it.
pub struct SmallStore {
    /// Path and bytes.
    pub files: Vec<(PathBuf, Vec<u8>)>,
    /// The keys that it holds, and one that it does not.
    pub keys: Vec<u128>,
    /// The answers that it gives undamaged, once it was asked.
    pub answers: OnceLock<String>,
}

/// Opens it; a second run of a kind is merged with the first.
pub fn open(disk: &FaultyDisk, symbols: &Arc<Symbols>) -> Result<EmbeddedStore, StoreError> {
    let options =
        StoreOptions { merge_fan_in: 2, merge_base_bytes: 4096, keys_merge_fan_in: 2, keys_merge_base_bytes: 4096 };
    EmbeddedStore::open(Arc::new(disk.clone()), "store", schemas(), symbols.clone(), options).map(|(store, _)| store)
}

impl SmallStore {
    /// Writes it.
    pub fn new() -> Self {
        let (disk, symbols) = (FaultyDisk::new(1), Arc::new(Symbols::default()));
        let store = open(&disk, &symbols).expect("an empty store");
        let mut drawer = Drawer::new(11, symbols);
        let mut keys = vec![0];
        for _ in 0..3 {
            let checkpoint = drawer.checkpoint(6);
            keys.extend(checkpoint.dedupe.iter().flatten().map(|record| record.key.get()));
            let written = store.write(&checkpoint).expect("a disk without faults");
            store.publish(written).expect("a disk without faults");
        }
        let files = disk.paths().into_iter().map(|path| (path.clone(), disk.bytes(&path).expect("a file"))).collect();
        Self { files, keys, answers: OnceLock::new() }
    }
}
