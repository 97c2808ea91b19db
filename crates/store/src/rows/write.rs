//! Writing a run of rows, table after table, from rows that come in order.
//!
//! Invariant: rows come as a scan shows them, so that each bucket and key stands once in a run and blocks are sorted.

use std::ops::ControlFlow;
use std::path::Path;

use adsum_disk::Disk;
use adsum_model::symbol::Symbols;
use adsum_model::table::{TableRows, TableSchema};

use super::names::{ScanNames, TableNames};
use super::run::{BlockEntry, RowsRun, Stretch, TableFooter, encode_footer};
use super::scan::{Addition, Block, TableScan, bucket_of};
use super::{BLOCK_ROWS, FrameRange, block};
use crate::error::StoreError;
use crate::file::{RunKind, RunWriter};
use crate::{BucketRange, ScanRow};

/// Writes one run.
pub(super) struct RowsWriter {
    out: RunWriter,
    tables: Vec<TableFooter>,
}

/// Writes one table of it.
struct TableWriter<'a> {
    out: &'a mut RunWriter,
    footer: TableFooter,
    /// Bucket, keys, values, revision, spread.
    columns: Vec<Vec<i64>>,
    bytes: Vec<u8>,
}

impl RowsWriter {
    pub(super) fn create(disk: &dyn Disk, dir: &Path, id: u64) -> Result<Self, StoreError> {
        Ok(Self { out: RunWriter::create(disk, dir, RunKind::Rows, id)?, tables: Vec::new() })
    }

    /// Writes what a scan shows as one table; `schema` has the scan's columns.
    pub(super) fn put_table(&mut self, schema: &TableSchema, scan: &TableScan<'_>) -> Result<(), StoreError> {
        let mut table: Option<TableWriter<'_>> = None;
        let mut failed = None;
        let out = &mut self.out;
        let mut out = Some(out);
        scan.each(&mut |row| {
            if let Some(out) = out.take() {
                match TableWriter::begin(out, schema, row.names) {
                    Ok(begun) => table = Some(begun),
                    Err(error) => failed = Some(error),
                }
            }
            if let Some(table) = table.as_mut().filter(|_| failed.is_none()) {
                failed = table.push(row).err();
            }
            if failed.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        if let Some(table) = table {
            let footer = table.finish()?;
            self.tables.push(footer);
        }
        Ok(())
    }

    /// Writes rows that are in no run as one table.
    fn put_addition(
        &mut self,
        schema: &TableSchema,
        scan: &TableScan<'_>,
        addition: Addition<'_>,
    ) -> Result<(), StoreError> {
        let mut out = Some(&mut self.out);
        let mut table: Option<TableWriter<'_>> = None;
        scan.each_block_added(addition, &mut |block, names| {
            if let Some(out) = out.take() {
                table = Some(TableWriter::begin(out, schema, names)?);
            }
            table.as_mut().map_or(Ok(()), |table| table.put_block(block))
        })?;
        if let Some(table) = table {
            let footer = table.finish()?;
            self.tables.push(footer);
        }
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
    fn begin(out: &'a mut RunWriter, schema: &TableSchema, names: &ScanNames) -> Result<Self, StoreError> {
        let mut bytes = Vec::new();
        let mut dictionaries = Vec::with_capacity(schema.keys.len());
        for column in 0..schema.keys.len() {
            bytes.clear();
            names.dictionary(column).put(&mut bytes);
            dictionaries.push(put_stretch(out, &bytes)?);
        }
        let columns = vec![Vec::with_capacity(BLOCK_ROWS); schema.keys.len() + schema.columns.len() + 3];
        let footer = TableFooter { schema: schema.clone(), dictionaries, blocks: Vec::new() };
        Ok(Self { out, footer, columns, bytes })
    }

    fn push(&mut self, row: &ScanRow<'_>) -> Result<(), StoreError> {
        let revision = row.revision.get() as i64;
        let spread = revision - row.revision_least.get() as i64;
        let keys = row.keys.iter().map(|&id| i64::from(id));
        let numbers = std::iter::once(row.bucket.seconds()).chain(keys);
        let numbers = numbers.chain(row.values.iter().copied()).chain([revision, spread]);
        for (column, number) in self.columns.iter_mut().zip(numbers) {
            column.push(number);
        }
        if self.columns[0].len() == BLOCK_ROWS { self.close_block() } else { Ok(()) }
    }

    /// Writes a block of a scan as one of its own; it has at most as many rows.
    fn put_block(&mut self, block: &Block) -> Result<(), StoreError> {
        let (first, rest) = self.columns.split_at_mut(1);
        first[0].extend(block.words.iter().map(|&word| bucket_of(word)));
        let (keys, rest) = rest.split_at_mut(block.keys.len());
        for (to, ids) in keys.iter_mut().zip(&block.keys) {
            to.extend(ids.iter().map(|&id| i64::from(id)));
        }
        let numbers = block.values.iter().chain([&block.revisions, &block.spreads]);
        for (to, numbers) in rest.iter_mut().zip(numbers) {
            to.extend_from_slice(numbers);
        }
        self.close_block()
    }

    fn close_block(&mut self) -> Result<(), StoreError> {
        let buckets = &self.columns[0];
        let (Some(&first), Some(&last)) = (buckets.first(), buckets.last()) else { return Ok(()) };
        let rows = buckets.len() as u32;
        let first_keys = match self.footer.schema.keys.first() {
            Some(_) => {
                let ids = &self.columns[1];
                let (least, greatest) = ids.iter().fold((i64::MAX, 0), |(a, b), &id| (a.min(id), b.max(id)));
                (least as u32, greatest as u32)
            }
            None => (0, 0),
        };
        self.bytes.clear();
        self.bytes.resize(self.columns.len() * 4, 0);
        for (i, column) in self.columns.iter_mut().enumerate() {
            let start = self.bytes.len();
            block::encode(column, &mut self.bytes);
            let len = (self.bytes.len() - start) as u32;
            self.bytes[i * 4..i * 4 + 4].copy_from_slice(&len.to_le_bytes());
            column.clear();
        }
        let stretch = put_stretch(self.out, &self.bytes)?;
        self.footer.blocks.push(BlockEntry { stretch, rows, buckets: (first, last), first_keys });
        Ok(())
    }

    fn finish(mut self) -> Result<TableFooter, StoreError> {
        self.close_block()?;
        Ok(self.footer)
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
            addition: None,
        };
        let addition = Addition { rows: &parts, columns: &schema.columns, symbols };
        writer.put_addition(schema, &scan, addition)?;
    }
    writer.finish(disk, dir, range)
}
