//! Merging runs of rows into one, as streams.
//!
//! Invariant: every table and every column of the inputs is kept, those too that the store was not opened with; rows
//! of equal bucket and key become one. The run covers the frames of all inputs, which stand beside one another.

use std::path::Path;
use std::sync::Arc;

use adsum_disk::Disk;
use adsum_model::table::TableSchema;

use super::FrameRange;
use super::names::TableNames;
use super::run::{RowsRun, RunTable};
use super::scan::TableScan;
use super::write::RowsWriter;
use crate::BucketRange;
use crate::error::StoreError;

/// The tables of `runs`, each with all columns that any run has for it, in order of their ids.
pub(crate) fn union_of<'a>(runs: impl Iterator<Item = &'a RunTable>) -> Vec<TableSchema> {
    let mut all: Vec<TableSchema> = Vec::new();
    for table in runs {
        match all.iter_mut().find(|s| s.name == table.schema.name) {
            Some(schema) => schema.columns.extend(&table.schema.columns),
            None => all.push(table.schema.clone()),
        }
    }
    for schema in &mut all {
        schema.columns.sort_unstable();
        schema.columns.dedup();
    }
    all
}

/// Merges runs (oldest first) into the run `id`.
pub(crate) fn merge(
    disk: &dyn Disk,
    dir: &Path,
    id: u64,
    runs: &[Arc<RowsRun>],
) -> Result<Option<RowsRun>, StoreError> {
    let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return Ok(None) };
    let range = FrameRange { from: first.range().from, to: last.range().to };
    let mut writer = RowsWriter::create(disk, dir, id)?;
    for schema in union_of(runs.iter().flat_map(|r| r.tables())) {
        let sources: Vec<(&RowsRun, &RunTable)> =
            runs.iter().filter_map(|r| Some((&**r, r.table(&schema.name)?))).collect();
        let tables: Vec<&RunTable> = sources.iter().map(|s| s.1).collect();
        let scan = TableScan {
            name: &schema.name,
            width: schema.keys.len(),
            columns: &schema.columns,
            runs: &sources,
            names: &TableNames::of(&tables, schema.keys.len()),
            range: BucketRange::ALL,
            filters: &[],
            addition: None,
        };
        writer.put_table(&schema, &scan)?;
    }
    writer.finish(disk, dir, range)
}
