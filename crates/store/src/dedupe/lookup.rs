//! Asking all runs for many keys at once.
//!
//! Invariant: the newest run that holds a key answers, and ended records answer for nobody. A chunk of keys asks one
//! filter after the other, each filter's blocks fetched while the former is asked, because nearly every key is absent
//! everywhere and would otherwise wait for memory once a run.

use std::sync::Arc;

use adsum_model::id::DedupeKey;
use adsum_model::state::DedupeRecord;
use adsum_model::time::EventTime;

use super::has_ended;
use super::run::KeysRun;
use crate::error::StoreError;

/// Keys asked together: enough to hide memory's latency, few enough to stay in the first cache.
const CHUNK: usize = 64;

/// For each key its record in the newest of `runs` (oldest first) that holds it.
pub(crate) fn lookup(
    runs: &[Arc<KeysRun>],
    line: EventTime,
    keys: &[DedupeKey],
    found: &mut Vec<Option<DedupeRecord>>,
) -> Result<(), StoreError> {
    found.clear();
    found.resize(keys.len(), None);
    let mut buf = Vec::new();
    for (keys, found) in keys.chunks(CHUNK).zip(found.chunks_mut(CHUNK)) {
        ask(runs, keys, found, &mut buf)?;
        for slot in found {
            slot.take_if(|record| has_ended(record, line));
        }
    }
    Ok(())
}

fn ask(
    runs: &[Arc<KeysRun>],
    keys: &[DedupeKey],
    found: &mut [Option<DedupeRecord>],
    buf: &mut Vec<u8>,
) -> Result<(), StoreError> {
    let mut blocks = [0_u32; CHUNK];
    let mut blocks_next = [0_u32; CHUNK];
    let fetch = |run: &KeysRun, blocks: &mut [u32; CHUNK]| {
        for (block, key) in blocks.iter_mut().zip(keys) {
            *block = run.filter.prefetch(key.get());
        }
    };
    if let Some(run) = runs.last() {
        fetch(run, &mut blocks);
    }
    for (i, run) in runs.iter().enumerate().rev() {
        if i > 0 {
            fetch(&runs[i - 1], &mut blocks_next);
        }
        for ((key, slot), &block) in keys.iter().zip(found.iter_mut()).zip(&blocks) {
            if run.filter.may_hold(key.get(), block) && slot.is_none() {
                *slot = run.find(key.get(), buf)?;
            }
        }
        std::mem::swap(&mut blocks, &mut blocks_next);
    }
    Ok(())
}
