//! Asking all runs for many keys at once.
//!
//! Invariant: of the runs that hold a key the one with the greatest offset answers, which is the newest, and ended
//! records answer for nobody. A chunk of keys asks one filter after the other, each filter's blocks fetched while the
//! former is asked, because nearly every key is absent everywhere and would otherwise wait for memory once a run. What
//! filters let through is read last: first whatever lies in memory, while the disk fetches all the rest at one time.

use std::sync::Arc;

use adsum_model::id::DedupeKey;
use adsum_model::state::DedupeRecord;
use adsum_model::time::EventTime;

use super::has_ended;
use super::run::KeysRun;
use crate::error::StoreError;

/// Keys asked together: enough to hide memory's latency, few enough to stay in the first cache.
const CHUNK: usize = 64;
/// Buckets that the disk fetches at one time.
const WAITING_MAX: usize = 64;

/// A key that a run may hold.
#[derive(Clone, Copy)]
struct Candidate {
    key: u32,
    run: u32,
}

/// For each key its record in the newest of `runs` (oldest first) that holds it.
pub(crate) fn lookup(
    runs: &[Arc<KeysRun>],
    line: EventTime,
    keys: &[DedupeKey],
    found: &mut Vec<Option<DedupeRecord>>,
) -> Result<(), StoreError> {
    found.clear();
    found.resize(keys.len(), None);
    let mut candidates = Vec::new();
    for (n, chunk) in keys.chunks(CHUNK).enumerate() {
        ask_filters(runs, n * CHUNK, chunk, &mut candidates);
    }
    read(runs, keys, &candidates, found)?;
    for slot in found {
        slot.take_if(|record| has_ended(record, line));
    }
    Ok(())
}

/// Which of the keys (the first of them is the `first`th of all) each run may hold, newest runs first.
fn ask_filters(runs: &[Arc<KeysRun>], first: usize, keys: &[DedupeKey], candidates: &mut Vec<Candidate>) {
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
        for (n, (key, &block)) in keys.iter().zip(&blocks).enumerate() {
            if run.filter.may_hold(key.get(), block) {
                run.prefetch_bucket(key.get());
                candidates.push(Candidate { key: (first + n) as u32, run: i as u32 });
            }
        }
        std::mem::swap(&mut blocks, &mut blocks_next);
    }
}

fn read(
    runs: &[Arc<KeysRun>],
    keys: &[DedupeKey],
    candidates: &[Candidate],
    found: &mut [Option<DedupeRecord>],
) -> Result<(), StoreError> {
    let mut buf = Vec::new();
    let mut waiting = Vec::with_capacity(WAITING_MAX);
    for part in candidates.chunks(WAITING_MAX) {
        for candidate in part {
            let slot = &mut found[candidate.key as usize];
            // What is there is of a newer run.
            if slot.is_none() {
                match runs[candidate.run as usize].find_at_once(keys[candidate.key as usize].get(), &mut buf)? {
                    Some(record) => *slot = record,
                    None => waiting.push(*candidate),
                }
            }
        }
        for candidate in waiting.drain(..) {
            let record = runs[candidate.run as usize].find(keys[candidate.key as usize].get(), &mut buf)?;
            let slot = &mut found[candidate.key as usize];
            // What is there may be of an older run that did not have to wait.
            if record.is_some_and(|r| slot.is_none_or(|s| s.offset < r.offset)) {
                *slot = record;
            }
        }
    }
    Ok(())
}
