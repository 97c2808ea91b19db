//! The decoder: lines of JSON to records and rows.
//!
//! One line goes through it so: its members are read one by one, key ([`super::keys`]) and value into the field's slot
//! ([`super::fields`]); then what needs all fields is checked, and the slots that are present become the record's
//! spans ([`super::admit`]); then the projector makes its row. Invariant: a record's spans stand in field order,
//! whatever the sender's order was. Not here: which time it is, and where the bytes come from.

use std::sync::Arc;

use super::fields::{FIELDS_MAX, Fields, from_json, within};
use super::keys::{Found, Keys};
use super::reject::{Reject, RejectCode};
use super::scan::{Kind, Scanner, Str, unescaped};
use crate::campaigns::Campaigns;
use crate::catalog::{Catalog, DimensionSource, FieldIx, NullPolicy, WellKnown};
use crate::hash::Secret;
use crate::record::{Form, RecordBatch, RecordHead, RecordKind, Span, Stamp, Stream};
use crate::rows::{Projector, Rows, View};
use crate::symbol::Symbol;
use crate::time::ReceivedAt;

/// The longest line that can be an event, in bytes.
pub const EVENT_BYTES_MAX: usize = 64 * 1024;
/// The most members of one event that the catalog does not know.
const UNKNOWN_MAX: usize = 256;

/// From where and when lines come.
#[derive(Clone, Copy, Debug)]
pub struct Intake {
    /// The source's name.
    pub source: Symbol,
    /// Live or import.
    pub stream: Stream,
    /// When they were taken in.
    pub received_at: ReceivedAt,
}

/// Decoded lines: the records for the log and the rows for the engine.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// The records.
    pub batch: RecordBatch,
    /// Their rows.
    pub rows: Rows,
    /// Lines that were blank, and so not received.
    pub blank: u64,
}

impl Decoded {
    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.batch.clear();
        self.rows.clear();
        self.blank = 0;
    }
}

/// One line of a text.
#[derive(Clone, Copy)]
struct Line<'a> {
    text: &'a [u8],
    start: usize,
    end: usize,
}

pub(super) fn bit(field: FieldIx) -> u128 {
    1 << field.index()
}

/// Decodes lines; one a thread.
pub struct Decoder {
    pub(super) catalog: Arc<Catalog>,
    pub(super) known: WellKnown,
    pub(super) campaigns: Arc<Campaigns>,
    pub(super) projector: Projector,
    pub(super) keys: Keys,
    pub(super) fields: Fields,
    /// Room for the slots of one line in field order.
    pub(super) ordered: Box<[Span; FIELDS_MAX]>,
    /// Where unknown members stand in the line: key and value.
    pub(super) unknown: Vec<(Str, std::ops::Range<usize>)>,
    /// By event type, the fields that must be there.
    pub(super) required: Vec<u128>,
    /// Whether dimensions ask for checks that the fields' own do not cover.
    pub(super) check_dimensions: bool,
}

impl Decoder {
    /// For a catalog and a table of campaigns, under a data directory's secret.
    pub fn new(catalog: Arc<Catalog>, campaigns: Arc<Campaigns>, secret: Secret) -> Self {
        let required =
            catalog.event_types().iter().map(|t| t.required.iter().fold(0, |bits, f| bits | bit(*f))).collect();
        let check_dimensions = catalog
            .dimensions()
            .iter()
            .any(|d| matches!(d.source, DimensionSource::Attribute(_)) || d.nulls == NullPolicy::Reject);
        Self {
            known: *catalog.well_known(),
            projector: Projector::new(catalog.clone(), secret),
            keys: Keys::new(&catalog),
            fields: Fields::new(catalog.clone()),
            ordered: Box::new([Span::symbol(FieldIx::new(0), Symbol::NULL); FIELDS_MAX]),
            unknown: Vec::new(),
            required,
            check_dimensions,
            campaigns,
            catalog,
        }
    }

    /// Decodes the lines of `text` into `out`, which is emptied first; `text` becomes its arena.
    pub fn decode_lines(&mut self, text: Vec<u8>, intake: &Intake, out: &mut Decoded) {
        out.clear();
        self.begin(&text);
        let mut start = 0;
        while start < text.len() {
            let end = memchr::memchr(b'\n', &text[start..]).map_or(text.len(), |n| start + n);
            self.decode_line(&text, start, end, intake, out);
            start = end + 1;
        }
        self.end(text, out);
    }

    /// The same for what stands in these ranges of `text`, each of which becomes one record.
    pub(super) fn decode_ranges(
        &mut self,
        text: Vec<u8>,
        ranges: Vec<std::ops::Range<usize>>,
        intake: &Intake,
        out: &mut Decoded,
    ) {
        self.begin(&text);
        for range in ranges {
            self.decode_line(&text, range.start, range.end, intake, out);
        }
        self.end(text, out);
    }

    fn begin(&mut self, text: &[u8]) {
        self.fields.added.clear();
        self.fields.text_len = text.len();
    }

    fn end(&self, text: Vec<u8>, out: &mut Decoded) {
        out.batch.arena = text;
        out.batch.arena.extend_from_slice(&self.fields.added);
        out.rows.records = out.batch.heads.len() as u32;
    }

    fn decode_line(&mut self, text: &[u8], start: usize, end: usize, intake: &Intake, out: &mut Decoded) {
        let line = &text[start..end];
        if line.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r')) {
            out.blank += 1;
            return;
        }
        // Such a line is UTF-8, and none of its strings has a character to look at twice.
        let printable = none_from_del(line);
        let result = if line.len() > EVENT_BYTES_MAX {
            Err(Reject::new(RejectCode::TooLarge, ""))
        } else if !printable && std::str::from_utf8(line).is_err() {
            Err(Reject::new(RejectCode::InvalidUtf8, ""))
        } else {
            self.event(Scanner { text: &text[..end], at: start, printable }, intake, &mut out.batch)
        };
        let head = match result {
            Ok(head) => head,
            Err(reject) => {
                let line = Line { text, start, end };
                self.reject(line, &reject, intake, &mut out.batch)
            }
        };
        let ordinal = out.batch.heads.len() as u32;
        out.batch.heads.push(head);
        let view = View { text, added: &self.fields.added, uuids: &out.batch.uuids };
        let spans = &out.batch.spans[head.span_start as usize..];
        self.projector.project(view, spans, &head, ordinal, &mut out.rows);
    }

    fn head(&self, kind: RecordKind, intake: &Intake, stamp: Stamp, batch: &RecordBatch) -> RecordHead {
        RecordHead {
            kind,
            source: intake.source,
            received_at: intake.received_at,
            stamp,
            span_start: batch.spans.len() as u32,
            span_count: 0,
        }
    }

    fn reject(&mut self, line: Line<'_>, reject: &Reject, intake: &Intake, batch: &mut RecordBatch) -> RecordHead {
        let stamp = Stamp { stream: intake.stream, ..Stamp::default() };
        let mut head = self.head(RecordKind::Reject, intake, stamp, batch);
        let known = self.known;
        let code = self.projector.cache().symbols().intern(reject.code.name().as_bytes());
        let mut spans = vec![
            Span::symbol(known.code, code),
            Span::bytes(known.raw, Form::Bytes, line.start, line.end - line.start),
        ];
        if !reject.param.is_empty() {
            let start = line.text.len() + self.fields.added.len();
            self.fields.added.extend_from_slice(reject.param.as_bytes());
            spans.push(Span::bytes(known.param, Form::Text, start, reject.param.len()));
        }
        spans.sort_by_key(|s| s.field);
        head.span_count = spans.len() as u16;
        batch.spans.append(&mut spans);
        head
    }

    /// Decodes the event that the scanner stands at, or says what is wrong with it and leaves `batch` as it was.
    fn event(&mut self, s: Scanner<'_>, intake: &Intake, batch: &mut RecordBatch) -> Result<RecordHead, Box<Reject>> {
        let (added, uuids) = (self.fields.added.len(), batch.uuids.len());
        let result = self.members(s, batch).and_then(|present| {
            let stamp = self.admit(s.text, present, intake)?;
            Ok((present, stamp))
        });
        match result {
            Ok((present, stamp)) => {
                let mut head = self.head(RecordKind::Event, intake, stamp, batch);
                head.span_count = self.emit(s.text, present, batch);
                Ok(head)
            }
            Err(reject) => {
                self.fields.added.truncate(added);
                batch.uuids.truncate(uuids);
                Err(reject)
            }
        }
    }

    /// Reads the members into slots; says which fields are present.
    #[inline(never)]
    fn members(&mut self, mut s: Scanner<'_>, batch: &mut RecordBatch) -> Result<u128, Box<Reject>> {
        let Self { keys, fields, projector, unknown, .. } = self;
        let cache = projector.cache();
        unknown.clear();
        fields.begin_line();
        s.skip_space();
        if !s.eat(b'{') {
            return Err(no_object(s));
        }
        // Fields whose key stood in the line, and those of them with a null, which is missing.
        let (mut seen, mut nulls) = (0_u128, 0_u128);
        s.skip_space();
        let mut open = !s.eat(b'}');
        let mut place = 0;
        while open {
            s.skip_space();
            let found = match keys.expected(&mut s, place) {
                Some(target) => Found::Field(target),
                None => {
                    let (found, end) = keys.look_up(s, place).map_err(from_json)?;
                    s.at = end;
                    found
                }
            };
            if !s.eat(b':') {
                s.skip_space();
                s.expect(b':').map_err(from_json)?;
            }
            s.skip_space();
            match found {
                Found::Field(target) => {
                    if seen & target.bit != 0 {
                        return Err(fields.about(RejectCode::DuplicateField, target.field));
                    }
                    seen |= target.bit;
                    if !fields.read(&mut s, target, cache, &mut batch.uuids)? {
                        nulls |= target.bit;
                    }
                }
                Found::Unknown(key) => s.at = unknown_member(s, key, unknown)?,
            }
            place += 1;
            if !s.eat(b',') {
                s.skip_space();
                open = !s.eat(b'}');
                if open {
                    s.expect(b',').map_err(from_json)?;
                }
            }
        }
        s.skip_space();
        if s.at != s.text.len() {
            return Err(Reject::new(RejectCode::InvalidJson, ""));
        }
        fields.resolve(s.text, cache);
        Ok(seen & !nulls)
    }
}

/// Whether every byte comes before DEL, 0x7F.
fn none_from_del(line: &[u8]) -> bool {
    let mut greatest = [0_u8; 32];
    let mut take = |bytes: &[u8]| {
        for (greatest, b) in greatest.iter_mut().zip(bytes) {
            *greatest = (*greatest).max(*b);
        }
    };
    let (chunks, rest) = line.as_chunks::<32>();
    for chunk in chunks {
        take(chunk);
    }
    // The last 32 bytes once more in part are faster than the rest byte by byte.
    take(line.last_chunk::<32>().map_or(rest, |last| last));
    greatest.iter().all(|b| *b < 0x7F)
}

#[cold]
fn no_object(mut s: Scanner<'_>) -> Box<Reject> {
    let json = s.value(0).is_ok_and(|_| {
        s.skip_space();
        s.at == s.text.len()
    });
    Reject::new(if json { RejectCode::NotAnObject } else { RejectCode::InvalidJson }, "")
}

/// Notes where a member that the catalog does not know stands; says where it ends.
#[inline(never)]
fn unknown_member(
    mut s: Scanner<'_>,
    key: Str,
    unknown: &mut Vec<(Str, std::ops::Range<usize>)>,
) -> Result<usize, Box<Reject>> {
    let name = || String::from_utf8_lossy(&unescaped(s.text, key)).into_owned();
    if unknown.len() >= UNKNOWN_MAX {
        return Err(Reject::new(RejectCode::TooLarge, name()));
    }
    if unknown.iter().any(|(other, _)| unescaped(s.text, *other) == unescaped(s.text, key)) {
        return Err(Reject::new(RejectCode::DuplicateField, name()));
    }
    let start = s.at;
    let kind = s.value(1).map_err(|e| within(e, name))?;
    // A null is missing, but its name is taken all the same.
    let range = if kind == Kind::Null { start..start } else { start..s.at };
    unknown.push((key, range));
    Ok(s.at)
}
