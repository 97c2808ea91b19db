//! Reading one run's rows of one table, stripe by stripe, those that a scan needs.
//!
//! Invariant: a block is decoded only after its CRC-32 was right, and then what is filtered by first: of the other
//! columns only the values of rows that pass are unpacked. What does not decode is damage.

use super::block::{decode, decode_at};
use super::run::{BlockEntry, RowsRun, RunTable, StripeEntry};
use super::scan::{Block, Spec, bucket_word};
use crate::bytes::Reader;
use crate::error::StoreError;

/// Where a scan stands in a run.
pub(super) struct RunCursor<'a> {
    run: &'a RowsRun,
    table: &'a RunTable,
    map: &'a [Vec<u32>],
    next: usize,
    /// For each column that is shown its place in the run's block, if the run has it.
    places: Vec<Option<usize>>,
    /// The run's own ids of the first key column that pass, if that is filtered.
    first_ids: Option<Vec<u32>>,
    bytes: Vec<u8>,
    /// A column of the present block, and which of its rows pass.
    numbers: Vec<i64>,
    picks: Vec<u32>,
    spare: Vec<u32>,
}

impl<'a> RunCursor<'a> {
    pub(super) fn new(run: &'a RowsRun, table: &'a RunTable, map: &'a [Vec<u32>], spec: &Spec<'_>) -> Self {
        let next = table.stripes.partition_point(|s| s.buckets.1 < spec.range.from().seconds());
        let place = |id: &u16| table.schema.columns.iter().position(|c| c == id);
        let first_ids = spec.first_allowed.as_ref().map(|allowed| {
            // The run's ids are in the order of all ids.
            allowed.iter().filter_map(|all| map[0].binary_search(all).ok()).map(|own| own as u32).collect()
        });
        Self {
            run,
            table,
            map,
            next,
            places: spec.columns.iter().map(place).collect(),
            first_ids,
            bytes: Vec::new(),
            numbers: Vec::new(),
            picks: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Decodes the next stripe that has rows to show, in place of what is in `block`; false at the end.
    pub(super) fn fill(&mut self, spec: &Spec<'_>, block: &mut Block) -> Result<bool, StoreError> {
        block.clear();
        let table = self.table;
        while let Some(stripe) = table.stripes.get(self.next) {
            if stripe.buckets.0 >= spec.range.to().seconds() {
                break;
            }
            self.next += 1;
            let mut rest = &table.blocks[stripe.blocks.clone()];
            while let Some(first) = rest.iter().position(|b| self.may_pass(b)) {
                rest = &rest[first..];
                let count = rest.iter().position(|b| !self.may_pass(b)).unwrap_or(rest.len());
                let (together, further) = rest.split_at(count);
                self.read(together)?;
                self.decode_all(together, stripe, spec, block)?;
                rest = further;
            }
            if !block.words.is_empty() {
                block.order(stripe.buckets, &mut self.spare);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn may_pass(&self, entry: &BlockEntry) -> bool {
        let (least, greatest) = entry.first_keys;
        self.first_ids.as_ref().is_none_or(|ids| {
            let at = ids.partition_point(|&id| id < least);
            ids.get(at).is_some_and(|&id| id <= greatest)
        })
    }

    /// Reads blocks that stand one behind the other at once.
    fn read(&mut self, together: &[BlockEntry]) -> Result<(), StoreError> {
        let at = together.first().map_or(0, |b| b.stretch.at);
        let len = together.iter().map(|b| b.stretch.len as usize).sum();
        self.bytes.resize(len, 0);
        self.run.file.read(&mut self.bytes, at)
    }

    fn decode_all(
        &mut self,
        together: &[BlockEntry],
        stripe: &StripeEntry,
        spec: &Spec<'_>,
        block: &mut Block,
    ) -> Result<(), StoreError> {
        let bytes = std::mem::take(&mut self.bytes);
        let mut rest = bytes.as_slice();
        for entry in together {
            let (own, further) = rest.split_at(entry.stretch.len as usize);
            self.run.file.check(own, entry.stretch.at, entry.stretch.crc)?;
            self.decode(own, entry, stripe, spec, block)
                .ok_or_else(|| self.run.file.corrupt(format!("the block at {} does not decode", entry.stretch.at)))?;
            rest = further;
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Adds a block's rows that pass.
    fn decode(
        &mut self,
        bytes: &[u8],
        entry: &BlockEntry,
        stripe: &StripeEntry,
        spec: &Spec<'_>,
        block: &mut Block,
    ) -> Option<()> {
        let (rows, width, values) = (entry.rows as usize, self.map.len(), self.table.schema.columns.len());
        let mut reader = Reader::new(bytes);
        let lens = (0..width + values + 3).map(|_| reader.u32()).collect::<Option<Vec<_>>>()?;
        let parts = lens.iter().map(|&len| reader.take(len as usize)).collect::<Option<Vec<_>>>()?;
        if !reader.is_empty() {
            return None;
        }
        self.picks.clear();
        self.picks.extend(0..rows as u32);
        let (from, to) = (spec.range.from().seconds(), spec.range.to().seconds());
        if stripe.buckets.0 < from || stripe.buckets.1 >= to {
            self.numbers.clear();
            decode(parts[0], rows, &mut self.numbers)?;
            self.picks.retain(|&row| (from..to).contains(&self.numbers[row as usize]));
        }
        for column in (0..width).filter(|&c| spec.allowed[c].is_some()) {
            if self.picks.is_empty() {
                return Some(());
            }
            self.numbers.clear();
            decode(parts[1 + column], rows, &mut self.numbers)?;
            let map = &self.map[column];
            if !self.numbers.iter().all(|&number| (number as u64) < map.len() as u64) {
                return None;
            }
            self.picks.retain(|&row| spec.passes(column, map[self.numbers[row as usize] as usize]));
        }
        if self.picks.is_empty() {
            return Some(());
        }
        let start = block.words.len();
        self.numbers.clear();
        decode_at(parts[0], rows, &self.picks, &mut self.numbers)?;
        block.words.extend(self.numbers.iter().map(|&bucket| bucket_word(bucket)));
        for (column, (map, to)) in self.map.iter().zip(&mut block.keys).enumerate() {
            self.numbers.clear();
            decode_at(parts[1 + column], rows, &self.picks, &mut self.numbers)?;
            if !self.numbers.iter().all(|&number| (number as u64) < map.len() as u64) {
                return None;
            }
            to.extend(self.numbers.iter().map(|&number| map[number as usize]));
            if let Some(shift) = spec.packing.shift(column) {
                for (word, &id) in block.words[start..].iter_mut().zip(&to[start..]) {
                    *word |= u128::from(id) << shift;
                }
            }
        }
        for (place, to) in self.places.iter().zip(&mut block.values) {
            match place {
                Some(place) => decode_at(parts[1 + width + place], rows, &self.picks, to)?,
                None => to.resize(block.words.len(), 0),
            }
        }
        decode_at(parts[1 + width + values], rows, &self.picks, &mut block.revisions)?;
        decode_at(parts[2 + width + values], rows, &self.picks, &mut block.spreads)?;
        let (revisions, spreads) = (&block.revisions[start..], &block.spreads[start..]);
        let in_order = spreads.iter().zip(revisions).all(|(&s, &r)| (0..=r).contains(&s));
        in_order.then_some(())
    }
}
