//! The manifest: the one file that says what the store holds.
//!
//! Invariant: it is replaced whole (written aside, synced, renamed, directory synced), so that the store is at one
//! checkpoint or the next. It ends in a CRC-32 of all before it; whatever does not decode to the last byte is damage.

use adsum_model::id::{FrameSeq, Offset, Position, Revision};
use adsum_model::state::{ClockState, ImportFile, SmallState};
use adsum_model::table::TableSchema;
use adsum_model::time::EventTime;

use crate::bytes::{Reader, put_count, put_text};
use crate::error::StoreError;
use crate::file::RunSeal;

/// Its name.
pub(crate) const MANIFEST: &str = "manifest";
/// Its name while it is written.
pub(crate) const MANIFEST_NEXT: &str = "manifest.tmp";

const MAGIC: &[u8; 8] = b"adsumman";
const VERSION: u32 = 1;

/// A value column that a table has or had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ColumnRecord {
    pub(crate) id: u16,
    /// Whether the last checkpoint fed it.
    pub(crate) active: bool,
    pub(crate) since: Position,
}

/// A table that the store has or had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableRecord {
    pub(crate) name: String,
    /// Whether the last checkpoint fed it.
    pub(crate) active: bool,
    pub(crate) since: Position,
    pub(crate) keys: Vec<String>,
    pub(crate) columns: Vec<ColumnRecord>,
}

/// What the store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) through: Position,
    pub(crate) revision: Revision,
    pub(crate) dedupe_line: EventTime,
    pub(crate) small: SmallState,
    /// Those that the store was opened with first, in their order.
    pub(crate) tables: Vec<TableRecord>,
    /// Runs of each kind, oldest first, as [`crate::file::RunKind::ALL`].
    pub(crate) runs: [Vec<RunSeal>; 3],
}

impl Manifest {
    /// Of a store that holds nothing.
    pub(crate) fn empty() -> Self {
        Self {
            through: Position::default(),
            revision: Revision::ZERO,
            dedupe_line: EventTime::from_micros(i64::MIN),
            small: SmallState::default(),
            tables: Vec::new(),
            runs: Default::default(),
        }
    }

    /// Its bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        put_position(&mut out, self.through);
        out.extend_from_slice(&self.revision.get().to_le_bytes());
        out.extend_from_slice(&self.dedupe_line.micros().to_le_bytes());
        put_small(&mut out, &self.small);
        put_count(&mut out, self.tables.len());
        for table in &self.tables {
            put_text(&mut out, &table.name);
            out.push(u8::from(table.active));
            put_position(&mut out, table.since);
            put_count(&mut out, table.keys.len());
            table.keys.iter().for_each(|k| put_text(&mut out, k));
            put_count(&mut out, table.columns.len());
            for column in &table.columns {
                out.extend_from_slice(&column.id.to_le_bytes());
                out.push(u8::from(column.active));
                put_position(&mut out, column.since);
            }
        }
        for runs in &self.runs {
            put_count(&mut out, runs.len());
            for seal in runs {
                out.extend_from_slice(&seal.id.to_le_bytes());
                out.extend_from_slice(&seal.len.to_le_bytes());
                out.extend_from_slice(&seal.footer_len.to_le_bytes());
                out.extend_from_slice(&seal.footer_crc.to_le_bytes());
            }
        }
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads its bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let corrupt = |detail: &str| StoreError::corrupt(MANIFEST, detail);
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or_else(|| corrupt("it is too short"))?;
        if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
            return Err(corrupt("it does not match its checksum"));
        }
        let mut r = Reader::new(body);
        if r.take(MAGIC.len()) != Some(MAGIC) || r.u32() != Some(VERSION) {
            return Err(corrupt("it is of another kind or version"));
        }
        let manifest = decode_body(&mut r).filter(|_| r.is_empty());
        manifest.ok_or_else(|| corrupt("it does not decode"))
    }
}

fn decode_body(r: &mut Reader<'_>) -> Option<Manifest> {
    Some(Manifest {
        through: position(r)?,
        revision: Revision::new(r.u64()?),
        dedupe_line: EventTime::from_micros(r.i64()?),
        small: small(r)?,
        tables: (0..r.count(29)?).map(|_| table(r)).collect::<Option<_>>()?,
        runs: [seals(r)?, seals(r)?, seals(r)?],
    })
}

fn seals(r: &mut Reader<'_>) -> Option<Vec<RunSeal>> {
    (0..r.count(24)?)
        .map(|_| Some(RunSeal { id: r.u64()?, len: r.u64()?, footer_len: r.u32()?, footer_crc: r.u32()? }))
        .collect()
}

fn flag(r: &mut Reader<'_>) -> Option<bool> {
    match r.u8()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn table(r: &mut Reader<'_>) -> Option<TableRecord> {
    Some(TableRecord {
        name: r.text()?,
        active: flag(r)?,
        since: position(r)?,
        keys: (0..r.count(4)?).map(|_| r.text()).collect::<Option<_>>()?,
        columns: (0..r.count(19)?)
            .map(|_| Some(ColumnRecord { id: r.u16()?, active: flag(r)?, since: position(r)? }))
            .collect::<Option<_>>()?,
    })
}

fn put_position(out: &mut Vec<u8>, position: Position) {
    out.extend_from_slice(&position.seq.get().to_le_bytes());
    out.extend_from_slice(&position.offset.get().to_le_bytes());
}

fn position(r: &mut Reader<'_>) -> Option<Position> {
    Some(Position { seq: FrameSeq::new(r.u64()?), offset: Offset::new(r.u64()?) })
}

/// The live clock, an import's, and the live clock while it is in doubt.
const CLOCK: u8 = 0;
const CLOCK_OF_IMPORT: u8 = 1;
const CLOCK_IN_DOUBT: u8 = 2;

fn put_small(out: &mut Vec<u8>, small: &SmallState) {
    put_count(out, small.clocks.len());
    for clock in &small.clocks {
        out.push(match &clock.import {
            Some(_) => CLOCK_OF_IMPORT,
            None if small.clock_in_doubt => CLOCK_IN_DOUBT,
            None => CLOCK,
        });
        if let Some(source) = &clock.import {
            put_text(out, source);
        }
        out.extend_from_slice(&clock.watermark.micros().to_le_bytes());
        out.extend_from_slice(&clock.line.micros().to_le_bytes());
    }
    put_count(out, small.imports.len());
    for file in &small.imports {
        put_text(out, &file.run);
        put_text(out, &file.source);
        put_text(out, &file.path);
        for number in [file.size, file.head, file.position, file.line] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.push(u8::from(file.finished));
        put_count(out, file.figures.len());
        file.figures.iter().for_each(|f| out.extend_from_slice(&f.to_le_bytes()));
    }
}

fn small(r: &mut Reader<'_>) -> Option<SmallState> {
    let mut clock_in_doubt = false;
    let mut clock = |r: &mut Reader<'_>| {
        let kind = r.u8()?;
        clock_in_doubt |= kind == CLOCK_IN_DOUBT;
        Some(ClockState {
            import: match kind {
                CLOCK | CLOCK_IN_DOUBT => None,
                CLOCK_OF_IMPORT => Some(r.text()?),
                _ => return None,
            },
            watermark: EventTime::from_micros(r.i64()?),
            line: EventTime::from_micros(r.i64()?),
        })
    };
    let import = |r: &mut Reader<'_>| {
        Some(ImportFile {
            run: r.text()?,
            source: r.text()?,
            path: r.text()?,
            size: r.u64()?,
            head: r.u64()?,
            position: r.u64()?,
            line: r.u64()?,
            finished: flag(r)?,
            figures: (0..r.count(8)?).map(|_| r.i64()).collect::<Option<_>>()?,
        })
    };
    let clocks = (0..r.count(17)?).map(|_| clock(r)).collect::<Option<_>>()?;
    let imports = (0..r.count(49)?).map(|_| import(r)).collect::<Option<_>>()?;
    Some(SmallState { clocks, imports, clock_in_doubt })
}

/// The tables of a store at `through` that has `known` tables, opened with `schemas`: those first, then those that
/// are gone. What is new or was not fed by the last checkpoint is complete from `through` on.
pub(crate) fn reconcile(
    known: &[TableRecord],
    schemas: &[TableSchema],
    through: Position,
) -> Result<Vec<TableRecord>, StoreError> {
    let mut tables = Vec::with_capacity(known.len().max(schemas.len()));
    for schema in schemas {
        let refuse = |detail: String| Err(StoreError::Schema { table: schema.name.clone(), detail });
        if tables.iter().any(|t: &TableRecord| t.name == schema.name) {
            return refuse("it is named twice".to_owned());
        }
        if schema.columns.iter().enumerate().any(|(i, c)| schema.columns[..i].contains(c)) {
            return refuse("it names a column twice".to_owned());
        }
        let before = known.iter().find(|t| t.name == schema.name);
        if let Some(before) = before.filter(|t| t.keys != schema.keys) {
            return refuse(format!("its key was {:?} and shall be {:?}: choose a new name", before.keys, schema.keys));
        }
        let fed = before.filter(|t| t.active);
        let since = fed.map_or(through, |t| t.since);
        let fed_column = |id: u16| fed?.columns.iter().find(|c| c.id == id && c.active);
        let mut columns: Vec<ColumnRecord> = schema
            .columns
            .iter()
            .map(|&id| ColumnRecord { id, active: true, since: fed_column(id).map_or(through, |c| c.since) })
            .collect();
        let gone = before.into_iter().flat_map(|t| &t.columns).filter(|c| !schema.columns.contains(&c.id));
        columns.extend(gone.map(|c| ColumnRecord { active: false, ..c.clone() }));
        tables.push(TableRecord { name: schema.name.clone(), active: true, since, keys: schema.keys.clone(), columns });
    }
    let gone = known.iter().filter(|t| schemas.iter().all(|s| s.name != t.name));
    tables.extend(gone.map(|t| TableRecord { active: false, ..t.clone() }));
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seq: u64) -> Position {
        Position { seq: FrameSeq::new(seq), offset: Offset::new(seq * 10) }
    }

    fn schema(name: &str, columns: &[u16]) -> TableSchema {
        TableSchema { name: name.to_owned(), keys: vec!["a".to_owned()], columns: columns.to_vec() }
    }

    fn full() -> Manifest {
        let tables = reconcile(&[], &[schema("t", &[1, 2]), schema("u", &[7])], at(3)).unwrap();
        let seal = RunSeal { id: 4, len: 99, footer_len: 12, footer_crc: 77 };
        let figures = vec![1, -2];
        let import = ImportFile {
            run: "r".into(),
            source: "i".into(),
            path: "/x".into(),
            size: 9,
            head: 8,
            position: 7,
            line: 6,
            finished: true,
            figures,
        };
        let clock = ClockState {
            import: Some("i".into()),
            watermark: EventTime::from_micros(5),
            line: EventTime::from_micros(-5),
        };
        let live = ClockState { import: None, ..clock.clone() };
        let small = SmallState { clocks: vec![live, clock], imports: vec![import], clock_in_doubt: true };
        Manifest { through: at(9), small, tables, runs: [vec![seal], vec![], vec![seal, seal]], ..Manifest::empty() }
    }

    #[test]
    fn it_round_trips_and_every_flip_and_cut_is_noticed() {
        let bytes = full().encode();
        assert_eq!(Manifest::decode(&bytes).unwrap(), full());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&flipped).is_err(), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn tables_and_columns_say_from_where_on_they_are_complete() {
        let first = reconcile(&[], &[schema("t", &[1]), schema("u", &[7])], at(0)).unwrap();
        let second = reconcile(&first, &[schema("t", &[2, 1])], at(5)).unwrap();
        assert_eq!(second[0].since, at(0));
        assert_eq!(second[0].columns.iter().map(|c| c.since).collect::<Vec<_>>(), [at(5), at(0)]);
        assert_eq!((second[1].name.as_str(), second[1].active), ("u", false));
        let third = reconcile(&second, &[schema("u", &[7]), schema("t", &[2])], at(8)).unwrap();
        assert_eq!((third[0].since, third[1].since), (at(8), at(0)), "u was not fed in between");
        assert_eq!(third[1].columns.iter().map(|c| (c.id, c.active)).collect::<Vec<_>>(), [(2, true), (1, false)]);
        let other_key = TableSchema { keys: vec!["b".to_owned()], ..schema("t", &[1]) };
        for refused in [vec![schema("t", &[1]), schema("t", &[1])], vec![schema("t", &[1, 1])], vec![other_key]] {
            assert!(matches!(reconcile(&first, &refused, at(8)), Err(StoreError::Schema { .. })), "{refused:?}");
        }
    }
}
