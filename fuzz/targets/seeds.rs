//! Writes what fuzzing begins with where the formats of log and store changed: files as the present code writes them,
//! with and without checksums that are trusted. `cargo run --bin seeds` in this folder.
//!
//! Invariant: it adds to the corpora and removes nothing. Not here: seeds of text, which are in the corpora.
#![allow(dead_code, reason = "the samples and the oracle of the tests can more than is asked here")]

#[path = "../../crates/store/tests/store/oracle.rs"]
mod oracle;
#[path = "../../crates/log/tests/log/sample.rs"]
mod sample;
#[path = "small_store.rs"]
mod small_store;

use std::io;
use std::path::Path;

use adsum_disk::FaultyDisk;
use adsum_log::{EventLog, LogOptions};
// So that the allocator and the coverage counters, which these are compiled for, are linked.
use libfuzzer_sys as _;
use sample::{Random, Record};
use small_store::SmallStore;

fn segments(trusting: bool) -> io::Result<()> {
    for seed in 0..3 {
        let (disk, catalog) = (FaultyDisk::new(1), sample::catalog());
        let options = LogOptions { segment_bytes: 1200, ..LogOptions::default() };
        let (mut log, _) = sample::open(&disk, &catalog, options, None).map_err(io::Error::other)?;
        let mut random = Random(seed);
        for frame in 0..4 {
            let records = Record::samples(&mut random, 4);
            sample::append(&mut log, &catalog, frame, &records).map_err(io::Error::other)?;
        }
        log.close().map_err(io::Error::other)?;
        let files: Vec<Vec<u8>> = disk.paths().iter().filter_map(|path| disk.bytes(path)).collect();
        let control = u8::from(trusting);
        let one = [&[control], &files[0][..]].concat();
        std::fs::write(format!("corpus/segment/seed-{control}-{seed}"), one)?;
        if let [first, second, ..] = &files[..] {
            let two = [&[control | 4], &(first.len() as u16).to_le_bytes()[..], first, second].concat();
            std::fs::write(format!("corpus/segment/seed-{control}-{seed}-two"), two)?;
        }
    }
    Ok(())
}

fn runs(trusting: bool) -> io::Result<()> {
    let control = u8::from(trusting);
    for (i, (_, bytes)) in SmallStore::new().files.iter().enumerate() {
        let seed = [&[i as u8, control], &bytes[..]].concat();
        std::fs::write(format!("corpus/store/seed-{control}-{i}"), seed)?;
    }
    Ok(())
}

fn main() -> io::Result<()> {
    for folder in ["corpus/segment", "corpus/store"] {
        std::fs::create_dir_all(Path::new(folder))?;
    }
    for trusting in [false, true] {
        crc32fast::trust(trusting);
        segments(trusting)?;
        runs(trusting)?;
    }
    Ok(())
}
