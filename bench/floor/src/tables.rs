//! The tables that all threads share, in shards, each behind a lock that is taken once a piece.
//!
//! Invariant: an event id is in exactly one shard, and so is a cell; whoever inserts an id first counts the event. Not
//! here: which of two equal ids is the first in the file, for retries are equal.

use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashMap, HashSet, HashTable};
use std::hash::BuildHasher;

use crate::parse::{CellKey, Event, EventId, Sums};

const SHARDS: usize = 64;

/// The shared tables.
#[derive(Debug)]
pub struct Tables {
    hasher: DefaultHashBuilder,
    ids: Vec<Mutex<HashTable<u128>>>,
    /// Ids that are no UUIDs; rare in this workload.
    texts: Mutex<HashSet<Box<str>>>,
    cells: Vec<Mutex<HashMap<CellKey, Sums>>>,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            hasher: DefaultHashBuilder::default(),
            ids: (0..SHARDS).map(|_| Mutex::default()).collect(),
            texts: Mutex::default(),
            cells: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Tables {
    /// The cells, shard by shard; the ids are given up.
    pub fn into_cells(self) -> impl Iterator<Item = HashMap<CellKey, Sums>> {
        drop((self.ids, self.texts));
        self.cells.into_iter().map(|cells| cells.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Bits that neither a table's buckets (the lower ones) nor its tags (the uppermost seven) are made of.
fn shard_of(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}

#[derive(Clone, Copy, Debug)]
struct Hashed {
    hash: u64,
    id: u128,
    cell: CellKey,
    adds: Sums,
}

/// One thread's events on their way to the shards.
#[derive(Debug)]
pub struct Spreader<'a> {
    tables: &'a Tables,
    by_id: Vec<Vec<Hashed>>,
    by_cell: Vec<Vec<(CellKey, Sums)>>,
    texts: Vec<(Box<str>, CellKey, Sums)>,
}

impl<'a> Spreader<'a> {
    /// Nothing on its way.
    pub fn new(tables: &'a Tables) -> Self {
        Self {
            tables,
            by_id: (0..SHARDS).map(|_| Vec::new()).collect(),
            by_cell: (0..SHARDS).map(|_| Vec::new()).collect(),
            texts: Vec::new(),
        }
    }

    /// One event; it counts at the next [`Spreader::drain`].
    #[inline]
    pub fn take(&mut self, event: Event) {
        let Event { id, cell, adds } = event;
        match id {
            EventId::Uuid(id) => {
                let hash = self.tables.hasher.hash_one(id);
                self.by_id[shard_of(hash)].push(Hashed { hash, id, cell, adds });
            }
            EventId::Text(text) => self.texts.push((text, cell, adds)),
        }
    }

    /// Counts what was taken; returns how many were firsts. Fails where a sum does not fit.
    pub fn drain(&mut self) -> anyhow::Result<u64> {
        let Self { tables, by_id, by_cell, texts } = self;
        let mut firsts = 0;
        let mut first = |cell: CellKey, adds| {
            firsts += 1;
            by_cell[shard_of(tables.hasher.hash_one(cell))].push((cell, adds));
        };
        for (events, ids) in by_id.iter_mut().zip(&tables.ids) {
            let mut ids = ids.lock().unwrap_or_else(PoisonError::into_inner);
            for event in events.drain(..) {
                if let Entry::Vacant(vacant) =
                    ids.entry(event.hash, |id| *id == event.id, |id| tables.hasher.hash_one(id))
                {
                    vacant.insert(event.id);
                    first(event.cell, event.adds);
                }
            }
        }
        for (text, cell, adds) in texts.drain(..) {
            if tables.texts.lock().unwrap_or_else(PoisonError::into_inner).insert(text) {
                first(cell, adds);
            }
        }
        for (events, cells) in by_cell.iter_mut().zip(&tables.cells) {
            let mut cells = cells.lock().unwrap_or_else(PoisonError::into_inner);
            for (cell, adds) in events.drain(..) {
                let sums = cells.entry(cell).or_default();
                for (count, add) in sums.counts.iter_mut().zip(adds.counts) {
                    *count = count.checked_add(add).context("more than 2^32 events in one cell")?;
                }
                sums.spend_micros =
                    sums.spend_micros.checked_add(adds.spend_micros).context("a cell's spend is above 2^64")?;
            }
        }
        Ok(firsts)
    }
}
