//! Bytes to records: the blocks of one frame, against the dictionary of its segment and the catalog of today.
//!
//! Invariant: whatever the bytes are, the outcome is records or a reason, never a panic; texts stay where they were
//! read (the batch's arena begins with the frame's body). Not here: reading the bytes, and the segment's chain.

use adsum_model::catalog::{Catalog, FieldIx};
use adsum_model::record::{Form, RecordBatch, RecordHead, Span, Stamp};
use adsum_model::symbol::Symbol;
use adsum_model::time::ReceivedAt;

use crate::dictionary::{CampaignForm, Dictionary, Encoding, ReadShape};
use crate::extra::{Value, add_member};
use crate::layout::{FrameHeader, dictionary_payload, next_block};
use crate::varint::{Cursor, unzigzag};

/// What a frame's values are relative to.
#[derive(Clone, Copy)]
struct Bases {
    appended_at: i64,
    time_millis: i64,
    time_micros: i64,
}

/// The parts of a batch that decoding adds to, while the arena is read.
struct Columns<'a> {
    uuids: &'a mut Vec<[u8; 16]>,
    spans: &'a mut Vec<Span>,
    heads: &'a mut Vec<RecordHead>,
    /// What goes behind the arena, which has `arena_len` bytes.
    added: Vec<u8>,
    arena_len: usize,
}

/// Adds the frame's own entries to the dictionary and its records to `batch`, whose arena is the frame's body.
///
/// The error says what is wrong with the frame.
pub(crate) fn decode_frame(
    header: &FrameHeader,
    dictionary: &mut Dictionary,
    catalog: &Catalog,
    batch: &mut RecordBatch,
) -> Result<(), String> {
    let RecordBatch { arena, uuids, spans, heads } = batch;
    uuids.clear();
    spans.clear();
    heads.clear();
    let binding = header.binding();
    let (blocks, section) = arena.split_at(header.blocks_bytes as usize);
    let malformed = || "the dictionary is malformed".to_owned();
    dictionary.add(dictionary_payload(section, binding)?, catalog).ok_or_else(malformed)?;
    let bases = Bases {
        appended_at: header.appended_at.micros(),
        time_millis: header.time_base_micros / 1000,
        time_micros: header.time_base_micros,
    };
    // A record has at least two bytes, so a count that lies cannot ask for more than twice the body's memory.
    heads.reserve((header.records as usize).min(blocks.len()));
    let mut columns = Columns { uuids, spans, heads, added: Vec::new(), arena_len: arena.len() };
    let mut pos = 0;
    while let Some(payload) = next_block(blocks, &mut pos, binding)? {
        let start = payload.start;
        let mut cursor = Cursor::new(&blocks[payload]);
        while !cursor.is_at_end() {
            if record(&mut cursor, start, dictionary, catalog, bases, &mut columns).is_none() {
                return Err(format!("record {} of the frame is malformed", columns.heads.len()));
            }
        }
    }
    if columns.heads.len() != header.records as usize {
        return Err(format!("{} records stand where the header says {}", columns.heads.len(), header.records));
    }
    let added = columns.added;
    arena.extend_from_slice(&added);
    Ok(())
}

#[inline]
fn record(
    cursor: &mut Cursor<'_>,
    payload_start: usize,
    dictionary: &Dictionary,
    catalog: &Catalog,
    bases: Bases,
    columns: &mut Columns<'_>,
) -> Option<()> {
    let inline;
    let shape = match cursor.count()? {
        0 => {
            inline = ReadShape::decode(cursor.text()?, catalog)?;
            &inline
        }
        id => dictionary.shapes.get(id - 1)?,
    };
    let received_at = ReceivedAt::from_micros(bases.appended_at.wrapping_add(unzigzag(cursor.varint()?)));
    let campaign = match shape.campaign {
        CampaignForm::None => Symbol::NULL,
        CampaignForm::Dictionary => *dictionary.strings.get(cursor.count()?)?,
        CampaignForm::Inline => catalog.symbols().intern(cursor.utf8()?.as_bytes()),
    };
    let stamp = Stamp { campaign, ..shape.stamp };
    let span_start = columns.spans.len() as u32;
    if shape.plain {
        columns.spans.reserve(shape.fields.len());
        for (field, encoding) in &shape.fields {
            let span = value(cursor, payload_start, *field, *encoding, dictionary, catalog, bases, columns.uuids)?;
            columns.spans.push(span);
        }
    } else {
        odd_fields(cursor, payload_start, shape, dictionary, catalog, bases, columns)?;
    }
    let span_count = (columns.spans.len() - span_start as usize) as u16;
    columns.heads.push(RecordHead {
        kind: shape.kind,
        source: shape.source,
        received_at,
        stamp,
        span_start,
        span_count,
    });
    Some(())
}

/// Reads one value as a span. Texts lie `payload_start` bytes further in the arena than in the cursor.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "inlined into the loop over the fields; a struct would be taken apart")]
fn value(
    cursor: &mut Cursor<'_>,
    payload_start: usize,
    field: FieldIx,
    encoding: Encoding,
    dictionary: &Dictionary,
    catalog: &Catalog,
    bases: Bases,
    uuids: &mut Vec<[u8; 16]>,
) -> Option<Span> {
    Some(match encoding {
        Encoding::Dictionary => Span::symbol(field, *dictionary.strings.get(cursor.count()?)?),
        Encoding::Inline => Span::symbol(field, catalog.symbols().intern(cursor.utf8()?.as_bytes())),
        Encoding::Uuid => {
            let start = uuids.len() as u32;
            uuids.push(cursor.sixteen()?);
            Span { field, form: Form::Uuid, start, len: 0 }
        }
        Encoding::Uint => Span::wide(field, Form::Uint, cursor.varint()?),
        Encoding::Int => Span::wide(field, Form::Int, !cursor.varint()?),
        Encoding::Millis => {
            let millis = unzigzag(cursor.varint()?).checked_add(bases.time_millis)?;
            Span::wide(field, Form::Time, millis.checked_mul(1000)? as u64)
        }
        Encoding::Micros => {
            let micros = unzigzag(cursor.varint()?).wrapping_add(bases.time_micros);
            Span::wide(field, Form::Time, micros as u64)
        }
        Encoding::Text | Encoding::Json | Encoding::Bytes => {
            let len = cursor.count()?;
            let start = cursor.pos() + payload_start;
            cursor.take(len)?;
            Span::bytes(field, encoding.form(), start, len)
        }
    })
}

/// Reads the values of a shape with fields that the catalog does not know, or in another order than the catalog's.
#[cold]
fn odd_fields(
    cursor: &mut Cursor<'_>,
    payload_start: usize,
    shape: &ReadShape,
    dictionary: &Dictionary,
    catalog: &Catalog,
    bases: Bases,
    columns: &mut Columns<'_>,
) -> Option<()> {
    let first = columns.spans.len();
    let extra_field = catalog.well_known().extra;
    let mut unknown: Vec<u8> = Vec::new();
    let mut members = Vec::new();
    for ((field, encoding), name) in shape.fields.iter().zip(&shape.unknown) {
        let mut whole = *cursor;
        let span = value(cursor, payload_start, *field, *encoding, dictionary, catalog, bases, columns.uuids)?;
        match name {
            // What `$extra` holds already is the beginning of the object.
            None if *field == extra_field && span.form == Form::Json => unknown.extend_from_slice(whole.text()?),
            None => columns.spans.push(span),
            Some(name) => members.push((name, span, whole)),
        }
    }
    for (name, span, mut at) in members {
        match span.form {
            Form::Symbol => catalog.symbols().read(|names| {
                add_member(&mut unknown, name, &Value::Text(names.bytes(span.as_symbol())));
            }),
            Form::Uuid => add_member(&mut unknown, name, &Value::Uuid(columns.uuids[span.start as usize])),
            Form::Text => add_member(&mut unknown, name, &Value::Text(at.text()?)),
            Form::Json => add_member(&mut unknown, name, &Value::Json(at.text()?)),
            Form::Bytes => add_member(&mut unknown, name, &Value::Bytes(at.text()?)),
            Form::Uint | Form::Int | Form::Time => {
                add_member(&mut unknown, name, &Value::Wide(span.form, span.as_wide()))
            }
        }
    }
    if !unknown.is_empty() {
        let start = columns.arena_len + columns.added.len();
        columns.spans.push(Span::bytes(extra_field, Form::Json, start, unknown.len()));
        columns.added.extend_from_slice(&unknown);
    }
    columns.spans[first..].sort_by_key(|span| span.field);
    Some(())
}
