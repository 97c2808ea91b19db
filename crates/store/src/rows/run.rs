//! One run of rows: per table its schema, dictionaries, stripes and their blocks; footer and dictionaries stay in
//! memory.
//!
//! Invariant: the footer holds the CRC-32 of every dictionary and block. Every row of a stripe comes before those of
//! the next by bucket and key; within a stripe rows, and so blocks, are in the order of their keys, then buckets.
//! Layout: header; for each table its dictionaries, then its blocks; footer.

use std::ops::Range;
use std::path::Path;

use adsum_disk::Disk;
use adsum_model::id::FrameSeq;
use adsum_model::table::TableSchema;

use super::dictionary::Dictionary;
use super::{BLOCK_ROWS, FrameRange, STRIPE_ROWS};
use crate::bytes::{Reader, put_count, put_text};
use crate::error::StoreError;
use crate::file::{RunFile, RunKind, RunSeal};

/// A stretch of the file and its CRC-32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) at: u64,
    pub(super) len: u32,
    pub(super) crc: u32,
}

/// What the footer says of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockEntry {
    pub(super) stretch: Stretch,
    pub(super) rows: u32,
    /// The least and the greatest id of the first key column: whole blocks are passed over by it.
    pub(super) first_keys: (u32, u32),
}

/// What the footer says of one stripe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StripeEntry {
    /// The first and the last bucket.
    pub(super) buckets: (i64, i64),
    /// Its blocks' places in the table.
    pub(super) blocks: Range<usize>,
}

/// A table within a run.
#[derive(Clone, Debug)]
pub(crate) struct RunTable {
    pub(crate) schema: TableSchema,
    pub(super) dictionaries: Vec<Dictionary>,
    pub(super) stripes: Vec<StripeEntry>,
    pub(super) blocks: Vec<BlockEntry>,
}

/// What the footer says of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableFooter {
    pub(super) schema: TableSchema,
    pub(super) dictionaries: Vec<Stretch>,
    pub(super) stripes: Vec<StripeEntry>,
    pub(super) blocks: Vec<BlockEntry>,
}

impl Stretch {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.at.to_le_bytes());
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&self.crc.to_le_bytes());
    }

    fn decode(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self { at: r.u64()?, len: r.u32()?, crc: r.u32()? })
    }

    fn end(&self) -> Option<u64> {
        self.at.checked_add(u64::from(self.len))
    }
}

pub(super) fn encode_footer(range: FrameRange, tables: &[TableFooter]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&range.from.get().to_le_bytes());
    out.extend_from_slice(&range.to.get().to_le_bytes());
    put_count(&mut out, tables.len());
    for table in tables {
        put_schema(&mut out, &table.schema);
        table.dictionaries.iter().for_each(|d| d.put(&mut out));
        put_count(&mut out, table.stripes.len());
        for stripe in &table.stripes {
            out.extend_from_slice(&stripe.buckets.0.to_le_bytes());
            out.extend_from_slice(&stripe.buckets.1.to_le_bytes());
            let blocks = &table.blocks[stripe.blocks.clone()];
            put_count(&mut out, blocks.len());
            for block in blocks {
                block.stretch.put(&mut out);
                out.extend_from_slice(&block.rows.to_le_bytes());
                out.extend_from_slice(&block.first_keys.0.to_le_bytes());
                out.extend_from_slice(&block.first_keys.1.to_le_bytes());
            }
        }
    }
    out
}

fn decode_footer(bytes: &[u8]) -> Option<(FrameRange, Vec<TableFooter>)> {
    let mut r = Reader::new(bytes);
    let range = FrameRange { from: FrameSeq::new(r.u64()?), to: FrameSeq::new(r.u64()?) };
    let mut tables = Vec::new();
    for _ in 0..r.count(12)? {
        let schema = decode_schema(&mut r)?;
        let dictionaries = schema.keys.iter().map(|_| Stretch::decode(&mut r)).collect::<Option<Vec<_>>>()?;
        let (mut stripes, mut blocks) = (Vec::new(), Vec::new());
        for _ in 0..r.count(20)? {
            let buckets = (r.i64()?, r.i64()?);
            let first = blocks.len();
            for _ in 0..r.count(28).filter(|&n| n <= STRIPE_ROWS)? {
                blocks.push(BlockEntry {
                    stretch: Stretch::decode(&mut r)?,
                    rows: r.u32().filter(|&n| n >= 1 && n as usize <= BLOCK_ROWS)?,
                    first_keys: (r.u32()?, r.u32()?),
                });
            }
            stripes.push(StripeEntry { buckets, blocks: first..blocks.len() });
        }
        tables.push(TableFooter { schema, dictionaries, stripes, blocks });
    }
    r.is_empty().then_some((range, tables))
}

/// Writes a table's schema.
pub(super) fn put_schema(out: &mut Vec<u8>, schema: &TableSchema) {
    put_text(out, &schema.name);
    put_count(out, schema.keys.len());
    schema.keys.iter().for_each(|k| put_text(out, k));
    put_count(out, schema.columns.len());
    schema.columns.iter().for_each(|c| out.extend_from_slice(&c.to_le_bytes()));
}

fn decode_schema(r: &mut Reader<'_>) -> Option<TableSchema> {
    let name = r.text()?;
    let keys = (0..r.count(4)?).map(|_| r.text()).collect::<Option<Vec<_>>>()?;
    let columns = (0..r.count(2)?).map(|_| r.u16()).collect::<Option<Vec<_>>>()?;
    Some(TableSchema { name, keys, columns })
}

/// A run that is read.
#[derive(Debug)]
pub(crate) struct RowsRun {
    pub(super) file: RunFile,
    range: FrameRange,
    tables: Vec<RunTable>,
}

impl RowsRun {
    /// Opens the run that the manifest names, with its footer and dictionaries.
    pub(crate) fn open(disk: &dyn Disk, dir: &Path, seal: RunSeal) -> Result<Self, StoreError> {
        let (file, footer) = RunFile::open(disk, dir, RunKind::Rows, seal)?;
        let (range, footers) = decode_footer(&footer).ok_or_else(|| file.corrupt("its footer does not decode"))?;
        let mut tables = Vec::with_capacity(footers.len());
        let mut bytes = Vec::new();
        for table in footers {
            let mut stretches = table.dictionaries.iter().chain(table.blocks.iter().map(|b| &b.stretch));
            if stretches.any(|s| s.end().is_none_or(|end| end > file.content_end())) {
                return Err(file.corrupt("a dictionary or a block lies outside"));
            }
            let mut dictionaries = Vec::with_capacity(table.dictionaries.len());
            for at in &table.dictionaries {
                file.read_checked(&mut bytes, at.at, at.len as usize, at.crc)?;
                let dictionary = Dictionary::decode(&bytes);
                dictionaries.push(dictionary.ok_or_else(|| file.corrupt("a dictionary does not decode"))?);
            }
            let TableFooter { schema, stripes, blocks, .. } = table;
            tables.push(RunTable { schema, dictionaries, stripes, blocks });
        }
        Ok(Self { file, range, tables })
    }

    /// What the manifest names it by.
    pub(crate) fn seal(&self) -> RunSeal {
        self.file.seal()
    }

    /// The frames whose rows it holds.
    pub(crate) fn range(&self) -> FrameRange {
        self.range
    }

    /// Its tables.
    pub(crate) fn tables(&self) -> &[RunTable] {
        &self.tables
    }

    /// The table of this name.
    pub(crate) fn table(&self, name: &str) -> Option<&RunTable> {
        self.tables.iter().find(|t| t.schema.name == name)
    }

    /// Bytes that it holds in memory.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let of = |t: &RunTable| {
            t.blocks.len() * size_of::<BlockEntry>()
                + t.stripes.len() * size_of::<StripeEntry>()
                + t.dictionaries.iter().map(Dictionary::resident_bytes).sum::<usize>()
        };
        self.tables.iter().map(of).sum::<usize>() as u64
    }
}
