//! Reading one run's blocks of one table, in order, those that a scan needs.
//!
//! Invariant: a block is decoded only after its CRC-32 was right, and then key columns first: where no row passes the
//! filters, its values stay packed. What does not decode is damage.

use super::block::decode;
use super::run::{BlockEntry, RowsRun, RunTable};
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
    numbers: Vec<i64>,
}

impl<'a> RunCursor<'a> {
    pub(super) fn new(run: &'a RowsRun, table: &'a RunTable, map: &'a [Vec<u32>], spec: &Spec<'_>) -> Self {
        let next = table.blocks.partition_point(|b| b.buckets.1 < spec.range.from().seconds());
        let place = |id: &u16| table.schema.columns.iter().position(|c| c == id);
        let first_ids = spec.allowed.first().and_then(Option::as_ref).map(|allowed| {
            let ids = map[0].iter().enumerate().filter(|(_, all)| allowed[**all as usize]);
            ids.map(|(own, _)| own as u32).collect()
        });
        let places = spec.columns.iter().map(place).collect();
        Self { run, table, map, next, places, first_ids, bytes: Vec::new(), numbers: Vec::new() }
    }

    /// Decodes the next block that may hold rows to show; false at the end.
    pub(super) fn fill(&mut self, spec: &Spec<'_>, block: &mut Block) -> Result<bool, StoreError> {
        while let Some(entry) = self.table.blocks.get(self.next) {
            if entry.buckets.0 >= spec.range.to().seconds() {
                break;
            }
            self.next += 1;
            if self.may_pass(entry) {
                let stretch = entry.stretch;
                self.run.file.read_checked(&mut self.bytes, stretch.at, stretch.len as usize, stretch.crc)?;
                self.decode(entry, spec, block)
                    .ok_or_else(|| self.run.file.corrupt(format!("the block at {} does not decode", stretch.at)))?;
                return Ok(true);
            }
        }
        block.picks.clear();
        Ok(false)
    }

    fn may_pass(&self, entry: &BlockEntry) -> bool {
        let (least, greatest) = entry.first_keys;
        self.first_ids.as_ref().is_none_or(|ids| {
            let at = ids.partition_point(|&id| id < least);
            ids.get(at).is_some_and(|&id| id <= greatest)
        })
    }

    fn decode(&mut self, entry: &BlockEntry, spec: &Spec<'_>, block: &mut Block) -> Option<()> {
        let (rows, width, values) = (entry.rows as usize, self.map.len(), self.table.schema.columns.len());
        let mut reader = Reader::new(&self.bytes);
        let lens = (0..width + values + 3).map(|_| reader.u32()).collect::<Option<Vec<_>>>()?;
        let parts = lens.iter().map(|&len| reader.take(len as usize)).collect::<Option<Vec<_>>>()?;
        if !reader.is_empty() {
            return None;
        }
        decode(parts[0], rows, &mut self.numbers)?;
        block.words.clear();
        block.words.extend(self.numbers.iter().map(|&bucket| bucket_word(bucket)));
        block.picks.clear();
        let (from, to) = (spec.range.from().seconds(), spec.range.to().seconds());
        if entry.buckets.0 >= from && entry.buckets.1 < to {
            block.picks.extend(0..rows as u32);
        } else {
            let within = |row: &u32| (from..to).contains(&self.numbers[*row as usize]);
            block.picks.extend((0..rows as u32).filter(within));
        }
        let mut shift = 64;
        for column in 0..width {
            decode(parts[1 + column], rows, &mut self.numbers)?;
            let (map, ids) = (&self.map[column], &mut block.keys[column]);
            ids.clear();
            for &number in &self.numbers {
                ids.push(*map.get(usize::try_from(number).ok()?)?);
            }
            if let Some(bits) = spec.packing.bits.get(column) {
                shift -= bits;
                for (word, &id) in block.words.iter_mut().zip(ids.iter()) {
                    *word |= u128::from(id) << shift;
                }
            }
            if spec.allowed[column].is_some() {
                block.picks.retain(|&row| spec.passes(column, ids[row as usize]));
            }
        }
        if block.picks.is_empty() {
            return Some(());
        }
        for (place, to) in self.places.iter().zip(&mut block.values) {
            match place {
                Some(place) => decode(parts[1 + width + place], rows, to)?,
                None => {
                    to.clear();
                    to.resize(rows, 0);
                }
            }
        }
        decode(parts[1 + width + values], rows, &mut block.revisions)?;
        decode(parts[2 + width + values], rows, &mut block.spreads)?;
        let in_order = block.spreads.iter().zip(&block.revisions).all(|(&s, &r)| (0..=r).contains(&s));
        in_order.then_some(())
    }
}
