//! Damaged, missing, cut and exchanged files: refused by name, never a wrong number.
//!
//! `ADSUM_CHECKPOINT_SIZE` is how much of everything each of the two checkpoints holds (default 8).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use adsum_disk::FaultyDisk;
use adsum_model::id::DedupeKey;
use adsum_model::symbol::Symbols;
use adsum_store::{AggregateStore, StoreError};

use crate::contract::{commit, open};
use crate::oracle::{Drawer, Oracle};

fn size() -> u64 {
    std::env::var("ADSUM_CHECKPOINT_SIZE").map_or(8, |text| text.parse().unwrap())
}

struct Small {
    disk: FaultyDisk,
    symbols: Arc<Symbols>,
    oracle: Oracle,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Small {
    fn new(checkpoints: usize, size: u64) -> Self {
        let symbols = Arc::new(Symbols::default());
        let disk = FaultyDisk::new(1);
        let store = open(Arc::new(disk.clone()), &symbols).unwrap();
        let (mut drawer, mut oracle) = (Drawer::new(11, Arc::clone(&symbols)), Oracle::new());
        for _ in 0..checkpoints {
            let checkpoint = drawer.checkpoint(size);
            commit(&store, &checkpoint).unwrap();
            oracle.apply(&checkpoint, &symbols);
        }
        let files = disk.paths().into_iter().map(|p| (p.clone(), disk.bytes(&p).unwrap())).collect();
        Self { disk, symbols, oracle, files }
    }

    /// Opens and reads everything.
    fn read(&self) -> Result<(), StoreError> {
        let store = open(Arc::new(self.disk.clone()), &self.symbols)?;
        let keys: Vec<DedupeKey> = self.oracle.keys.keys().copied().map(DedupeKey::new).collect();
        let mut found = Vec::new();
        store.lookup(&keys, &mut found)?;
        assert!(keys.iter().zip(&found).all(|(k, f)| *f == self.oracle.record(k.get())), "a wrong answer");
        assert_eq!(store.quarantine_list(None, usize::MAX)?, self.oracle.entries(), "a wrong answer");
        assert_eq!(store.state_hash(None)?.get(), self.oracle.state_hash(), "a wrong answer");
        Ok(())
    }

    fn refused(&self, path: &Path, what: &str) {
        let name = path.file_name().unwrap().to_str().unwrap();
        match self.read() {
            Err(StoreError::Corrupt { file, .. }) => assert_eq!(file, name, "{what}"),
            other => panic!("{name}, {what}: {other:?}"),
        }
    }
}

#[test]
fn every_bit_flip() {
    let small = Small::new(2, size());
    small.read().unwrap();
    assert_eq!(small.files.len(), 7, "two runs of each kind and the manifest");
    let mut bits = 0;
    for (path, bytes) in &small.files {
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            small.disk.set_bytes(path, flipped);
            small.refused(path, &format!("bit {bit}"));
            bits += 1;
        }
        small.disk.set_bytes(path, bytes.clone());
    }
    assert!(bits > 30_000, "{bits}");
    small.read().unwrap();
    println!("proved: {bits} bit flips in the {} files of two checkpoints: each refused by name", small.files.len());
}

#[test]
fn every_cut_and_what_is_missing_or_too_long() {
    let small = Small::new(2, size());
    let mut cuts = 0;
    for (path, bytes) in &small.files {
        for len in 0..bytes.len() {
            cuts += 1;
            small.disk.set_bytes(path, bytes[..len].to_vec());
            small.refused(path, &format!("cut to {len}"));
        }
        small.disk.set_bytes(path, [bytes.as_slice(), &[0]].concat());
        small.refused(path, "a byte more");
        small.disk.take(path);
        small.refused(path, "missing");
        small.disk.set_bytes(path, bytes.clone());
    }
    small.read().unwrap();
    println!("proved: {cuts} truncations of the files of two checkpoints: each refused by name");
}

#[test]
fn runs_of_another_checkpoint_in_their_place() {
    let small = Small::new(2, 8);
    let of = |path: &Path| path.file_name().unwrap().to_str().unwrap().split('-').next().unwrap().to_owned();
    for (path, bytes) in &small.files {
        for (other, others) in &small.files {
            if other != path && of(other) == of(path) {
                small.disk.set_bytes(path, others.clone());
                small.refused(path, "exchanged");
            }
        }
        small.disk.set_bytes(path, bytes.clone());
    }
}

#[test]
fn files_that_nobody_named_go_and_others_stay() {
    let small = Small::new(2, 8);
    let stray = Path::new("store/keys-00000000000000ff.run");
    let foreign = Path::new("store/notes.txt");
    small.disk.set_bytes(stray, vec![1, 2, 3]);
    small.disk.set_bytes(Path::new("store/manifest.tmp"), vec![1]);
    small.disk.set_bytes(foreign, vec![1]);
    small.read().unwrap();
    assert_eq!(small.disk.bytes(stray), None);
    assert_eq!(small.disk.bytes(foreign), Some(vec![1]));
    assert_eq!(small.disk.paths().len(), small.files.len() + 1);
}
