//! Writing a run of rows, table after table, from rows that come in order.
//!
//! Invariant: rows come as a scan gives them, so that each bucket and key stands once in a run. Whole buckets are
//! gathered until they make a stripe, which is written by key; a bucket that fills one alone is written as it comes.

use std::ops::Range;
use std::path::Path;

use adsum_disk::Disk;
use adsum_model::symbol::Symbols;
use adsum_model::table::{TableRows, TableSchema};

use super::merged::Merged;
use super::names::{ScanNames, TableNames};
use super::run::{BlockEntry, RowsRun, Stretch, StripeEntry, TableFooter, encode_footer};
use super::scan::{Addition, Block, Packing, TableScan, bucket_of};
use super::sort::sort_by_number;
use super::{BATCH_ROWS, BLOCK_ROWS, FrameRange, SINGLE_ROWS, STRIPE_ROWS, block};
use crate::BucketRange;
use crate::error::StoreError;
use crate::file::{RunKind, RunWriter};

/// Writes one run.
pub(super) struct RowsWriter {
    out: RunWriter,
    tables: Vec<TableFooter>,
}

/// Writes one table of it.
struct TableWriter<'a> {
    out: &'a mut RunWriter,
    footer: TableFooter,
    /// Rows that are not written yet, in the order of a scan.
    rows: Block,
    /// The order in which a stripe is written.
    order: Vec<u32>,
    spare: Vec<u32>,
    numbers: Vec<i64>,
    bytes: Vec<u8>,
}

impl RowsWriter {
    pub(super) fn create(disk: &dyn Disk, dir: &Path, id: u64) -> Result<Self, StoreError> {
        Ok(Self { out: RunWriter::create(disk, dir, RunKind::Rows, id)?, tables: Vec::new() })
    }

    /// Writes what a scan shows as one table, if that is anything; `schema` has the scan's columns.
    pub(super) fn put_table(&mut self, schema: &TableSchema, scan: &TableScan<'_>) -> Result<(), StoreError> {
        let out = &mut self.out;
        let footer = scan.rows(|rows, names| {
            let mut first = Block::new(schema.keys.len(), schema.columns.len());
            if !rows.fill(BATCH_ROWS, &mut first)? {
                return Ok(None);
            }
            TableWriter::begin(out, schema, names, first)?.put(rows).map(Some)
        })?;
        self.tables.extend(footer);
        Ok(())
    }

    /// Ends the run; `None` when no table had rows (its file is then the caller's to remove).
    pub(super) fn finish(self, disk: &dyn Disk, dir: &Path, range: FrameRange) -> Result<Option<RowsRun>, StoreError> {
        if self.tables.is_empty() {
            return Ok(None);
        }
        let seal = self.out.finish(&encode_footer(range, &self.tables))?;
        RowsRun::open(disk, dir, seal).map(Some)
    }
}

fn put_stretch(out: &mut RunWriter, bytes: &[u8]) -> Result<Stretch, StoreError> {
    let at = out.position();
    out.put(bytes)?;
    let len = u32::try_from(bytes.len()).expect("a dictionary or block stays below 4 GiB");
    Ok(Stretch { at, len, crc: crc32fast::hash(bytes) })
}

impl<'a> TableWriter<'a> {
    fn begin(out: &'a mut RunWriter, schema: &TableSchema, names: &ScanNames, rows: Block) -> Result<Self, StoreError> {
        let mut bytes = Vec::new();
        let mut dictionaries = Vec::with_capacity(schema.keys.len());
        for column in 0..schema.keys.len() {
            bytes.clear();
            names.dictionary(column).put(&mut bytes);
            dictionaries.push(put_stretch(out, &bytes)?);
        }
        let footer = TableFooter { schema: schema.clone(), dictionaries, stripes: Vec::new(), blocks: Vec::new() };
        let (order, spare) = (Vec::new(), Vec::new());
        Ok(Self { out, footer, rows, order, spare, numbers: Vec::with_capacity(BLOCK_ROWS), bytes })
    }

    fn put(mut self, rows: &mut Merged<'_, '_>) -> Result<TableFooter, StoreError> {
        let packing = rows.spec().packing.clone();
        loop {
            let room = STRIPE_ROWS - self.rows.words.len();
            if !rows.fill(room.min(BATCH_ROWS), &mut self.rows)? {
                break;
            }
            if self.rows.words.len() == STRIPE_ROWS {
                self.cut(&packing)?;
            }
        }
        self.put_stripes(0..self.rows.words.len(), &packing)?;
        Ok(self.footer)
    }

    /// Writes the buckets that are whole, or a part of one that fills a stripe alone.
    fn cut(&mut self, packing: &Packing) -> Result<(), StoreError> {
        let words = &self.rows.words;
        let last = words.last().map_or(0, |&word| bucket_of(word));
        let whole = words.partition_point(|&word| bucket_of(word) < last);
        let count = if whole > 0 { whole } else { words.len() };
        self.put_stripes(0..count, packing)?;
        self.rows.remove_first(count);
        Ok(())
    }

    /// Writes rows of several buckets as one stripe, those of one bucket as stripes that follow one another.
    fn put_stripes(&mut self, rows: Range<usize>, packing: &Packing) -> Result<(), StoreError> {
        let words = &self.rows.words[rows.clone()];
        let (Some(&first), Some(&last)) = (words.first(), words.last()) else { return Ok(()) };
        let buckets = (bucket_of(first), bucket_of(last));
        if buckets.0 == buckets.1 {
            for start in rows.clone().step_by(SINGLE_ROWS) {
                let first = self.footer.blocks.len();
                let end = rows.end.min(start + SINGLE_ROWS);
                for start in (start..end).step_by(BLOCK_ROWS) {
                    self.put_block(Rows::Together(start..end.min(start + BLOCK_ROWS)))?;
                }
                self.end_stripe(buckets, first);
            }
            return Ok(());
        }
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend(rows.start as u32..rows.end as u32);
        let key = |row: &u32| packing.key(self.rows.words[*row as usize] as u64);
        sort_by_number(&mut order, &mut self.spare, packing.key_bits, key);
        let first = self.footer.blocks.len();
        for rows in order.chunks(BLOCK_ROWS) {
            self.put_block(Rows::At(rows))?;
        }
        self.end_stripe(buckets, first);
        self.order = order;
        Ok(())
    }

    fn end_stripe(&mut self, buckets: (i64, i64), first: usize) {
        self.footer.stripes.push(StripeEntry { buckets, blocks: first..self.footer.blocks.len() });
    }

    fn put_block(&mut self, at: Rows<'_>) -> Result<(), StoreError> {
        let Self { rows, numbers, bytes, .. } = self;
        bytes.clear();
        bytes.resize((rows.keys.len() + rows.values.len() + 3) * 4, 0);
        let mut column = 0;
        let mut put = |numbers: &[i64]| {
            let start = bytes.len();
            let ends = block::encode(numbers, bytes);
            let len = (bytes.len() - start) as u32;
            bytes[column * 4..column * 4 + 4].copy_from_slice(&len.to_le_bytes());
            column += 1;
            ends
        };
        at.each(&rows.words, bucket_of, numbers);
        put(numbers);
        let mut first_keys = (0, 0);
        for (column, ids) in rows.keys.iter().enumerate() {
            at.each(ids, i64::from, numbers);
            let ends = put(numbers);
            if column == 0 {
                first_keys = (ends.0 as u32, ends.1 as u32);
            }
        }
        for values in rows.values.iter().chain([&rows.revisions, &rows.spreads]) {
            match &at {
                Rows::Together(rows) => put(&values[rows.clone()]),
                Rows::At(_) => {
                    at.each(values, |value| value, numbers);
                    put(numbers)
                }
            };
        }
        let stretch = put_stretch(self.out, &self.bytes)?;
        self.footer.blocks.push(BlockEntry { stretch, rows: at.len() as u32, first_keys });
        Ok(())
    }
}

/// The rows of a block.
enum Rows<'a> {
    Together(Range<usize>),
    At(&'a [u32]),
}

impl Rows<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Together(rows) => rows.len(),
            Self::At(order) => order.len(),
        }
    }

    /// What they have in a column, as numbers.
    fn each<A: Copy>(&self, from: &[A], make: impl Fn(A) -> i64, to: &mut Vec<i64>) {
        to.clear();
        match self {
            Self::Together(rows) => to.extend(from[rows.clone()].iter().map(|&a| make(a))),
            Self::At(order) => to.extend(order.iter().map(|&row| make(from[row as usize]))),
        }
    }
}

/// Writes the rows of a checkpoint, by table as `schemas`, as one run. `None` when there are none.
pub(crate) fn flush(
    disk: &dyn Disk,
    dir: &Path,
    id: u64,
    range: FrameRange,
    schemas: &[&TableSchema],
    rows: &[Vec<TableRows>],
    symbols: &Symbols,
) -> Result<Option<RowsRun>, StoreError> {
    if rows.iter().flatten().all(TableRows::is_empty) {
        return Ok(None);
    }
    let mut writer = RowsWriter::create(disk, dir, id)?;
    for (schema, parts) in schemas.iter().zip(rows) {
        let parts: Vec<&TableRows> = parts.iter().filter(|p| !p.is_empty()).collect();
        if parts.is_empty() {
            continue;
        }
        let scan = TableScan {
            name: &schema.name,
            width: schema.keys.len(),
            columns: &schema.columns,
            runs: &[],
            names: &TableNames::of(&[], schema.keys.len()),
            range: BucketRange::ALL,
            filters: &[],
            addition: Some(Addition { rows: &parts, columns: &schema.columns, symbols }),
        };
        writer.put_table(schema, &scan)?;
    }
    writer.finish(disk, dir, range)
}
