//! The decoder: lines of JSON to records and rows.
//!
//! One line goes through it so: its members are read one by one, the key where the lines before had it
//! ([`super::shape`]) or else any key ([`super::keys`]), and the value into the field's slot ([`super::fields`]), in its
//! usual form ([`super::usual`]) or with care; then what needs all fields is checked, and the slots that are present
//! become the record's spans ([`super::admit`]); then the projector makes its row. Invariant: a record's spans stand in
//! field order, whatever the sender's order was. Not here: which time it is, and where the bytes come from.

use std::ops::Range;
use std::sync::Arc;

use super::fields::{Fields, within};
use super::keys::{Keys, Step, Usual};
use super::reject::{Reject, RejectCode};
use super::scan::{Kind, Scanner, Str, unescaped};
use super::shape::{BYTES, Next, Place, Progress, Shape};
use super::usual::{self, WINDOW, Window};
use crate::campaigns::Campaigns;
use crate::catalog::{Catalog, DimensionSource, NullPolicy, WellKnown};
use crate::hash::{Letter, Secret};
use crate::record::{Form, RecordBatch, RecordHead, RecordKind, Span, Stamp, Stream};
use crate::rows::{Projector, Rows, View, bit};
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

/// One line of a text, or one element of an array.
struct Line<'a> {
    text: &'a [u8],
    start: usize,
    /// Where it ends, once that is known.
    end: Option<usize>,
    /// Whether it is short enough and UTF-8.
    checked: bool,
}

impl<'a> Line<'a> {
    /// Where it ends.
    fn end(&mut self) -> usize {
        let Self { text, start, end, .. } = self;
        *end.get_or_insert_with(|| memchr::memchr(b'\n', &text[*start..]).map_or(text.len(), |n| *start + n))
    }

    /// Reads on with care: over the text up to the line's end, which is short enough and UTF-8.
    #[inline(always)]
    fn scanner(&mut self, at: usize) -> Result<Scanner<'a>, Box<Reject>> {
        let end = match self.end {
            Some(end) if self.checked => end,
            _ => self.check()?,
        };
        Ok(Scanner::new(&self.text[..end], at))
    }

    /// Checks the line as a whole; says where it ends.
    #[inline(never)]
    fn check(&mut self) -> Result<usize, Box<Reject>> {
        let end = self.end();
        self.check_length()?;
        if std::str::from_utf8(&self.text[self.start..end]).is_err() {
            return Err(Reject::new(RejectCode::InvalidUtf8, ""));
        }
        self.checked = true;
        Ok(end)
    }

    fn check_length(&mut self) -> Result<(), Box<Reject>> {
        if self.end() - self.start > EVENT_BYTES_MAX {
            return Err(Reject::new(RejectCode::TooLarge, ""));
        }
        Ok(())
    }

    /// Checks that nothing stands behind the event but white space. What was read up to here without a scanner is
    /// ASCII.
    #[inline(always)]
    fn finish(&mut self, at: usize) -> Result<(), Box<Reject>> {
        match self.end {
            None if self.text.get(at).is_none_or(|b| *b == b'\n') => self.end = Some(at),
            Some(end) if end == at => {}
            _ => {
                let mut s = self.scanner(at)?;
                s.skip_space();
                if s.at != s.text.len() {
                    return Err(Reject::new(RejectCode::InvalidJson, ""));
                }
            }
        }
        self.check_length()
    }
}

/// Decodes lines; one a thread.
pub struct Decoder {
    pub(super) catalog: Arc<Catalog>,
    pub(super) known: WellKnown,
    pub(super) campaigns: Arc<Campaigns>,
    pub(super) projector: Projector,
    pub(super) keys: Keys,
    shape: Shape,
    /// Whether the processor has what [`Self::all_wide`] is compiled for.
    #[cfg(target_arch = "x86_64")]
    wide: bool,
    pub(super) fields: Fields,
    /// Where unknown members stand in the line: key and value.
    pub(super) unknown: Vec<(Str, Range<usize>)>,
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
        let projector = Projector::new(catalog.clone(), secret);
        let term = |field, usual| {
            projector.content_name(field).with(match usual {
                Usual::Uint { .. } => Letter::Uint,
                Usual::Time | Usual::Epoch { .. } => Letter::Time,
                _ => Letter::Text,
            })
        };
        Self {
            known: *catalog.well_known(),
            keys: Keys::new(&catalog, term),
            shape: Shape::new(),
            #[cfg(target_arch = "x86_64")]
            wide: is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("lzcnt")
                && is_x86_feature_detected!("popcnt"),
            projector,
            fields: Fields::new(catalog.clone()),
            unknown: Vec::new(),
            required,
            check_dimensions,
            campaigns,
            catalog,
        }
    }

    /// Decodes the lines of `text` into `out`, which is emptied first; `text` becomes its arena.
    pub fn decode_lines(&mut self, text: Vec<u8>, intake: &Intake, out: &mut Decoded) {
        self.decode(text, None, intake, out);
    }

    /// The same for what stands in these ranges of `text`, each of which becomes one record; without them for each line.
    pub(super) fn decode(
        &mut self,
        text: Vec<u8>,
        ranges: Option<Vec<Range<usize>>>,
        intake: &Intake,
        out: &mut Decoded,
    ) {
        out.clear();
        self.fields.added.clear();
        self.fields.text_len = text.len();
        self.projector.cache().full = self.catalog.full_days().at(intake.received_at);
        #[cfg(target_arch = "x86_64")]
        if self.wide {
            // SAFETY: the processor has what the function is compiled for. Measured with `examples/decode_rate.rs`: a
            // twentieth of the time and of the instructions.
            unsafe { self.all_wide(&text, ranges.as_deref(), intake, out) };
        } else {
            self.all(&text, ranges.as_deref(), intake, out);
        }
        #[cfg(not(target_arch = "x86_64"))]
        self.all(&text, ranges.as_deref(), intake, out);
        out.batch.arena = text;
        out.batch.arena.extend_from_slice(&self.fields.added);
        out.rows.records = out.batch.heads.len() as u32;
    }

    /// The same as [`Self::all`], compiled for what processors have since 2013.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn all_wide(&mut self, text: &[u8], ranges: Option<&[Range<usize>]>, intake: &Intake, out: &mut Decoded) {
        self.all(text, ranges, intake, out);
    }

    #[inline(always)]
    fn all(&mut self, text: &[u8], ranges: Option<&[Range<usize>]>, intake: &Intake, out: &mut Decoded) {
        let (mut start, mut ranges) = (0, ranges.map(<[_]>::iter));
        loop {
            let mut end = None;
            if let Some(ranges) = &mut ranges {
                let Some(range) = ranges.next() else { return };
                (start, end) = (range.start, Some(range.end));
            } else if start >= text.len() {
                return;
            }
            start = self.decode_line(Line { text, start, end, checked: false }, intake, out) + 1;
        }
    }

    /// Decodes a line; says where it ends.
    #[inline(always)]
    fn decode_line(&mut self, mut line: Line<'_>, intake: &Intake, out: &mut Decoded) -> usize {
        let text = line.text;
        if matches!(text.get(line.start), Some(0..=b' ')) {
            let end = line.end();
            if text[line.start..end].iter().all(|b| matches!(b, b' ' | b'\t' | b'\r')) {
                out.blank += 1;
                return end;
            }
        }
        let ordinal = out.batch.heads.len() as u32;
        let added = self.fields.added.len();
        let result = self.event(&mut line, intake, &mut out.batch);
        let end = line.end();
        match result {
            Ok(head) => {
                out.batch.heads.push(head);
                let view = View { text, added: &self.fields.added, uuids: &out.batch.uuids };
                let (slots, words) = (&self.fields.slots, self.fields.words);
                self.projector.event_row(view, slots, words, &head, ordinal, &mut out.rows);
                if self.projector.cache().folded != 0 {
                    self.fold(out);
                }
            }
            Err(reject) => {
                self.projector.cache().folded = 0;
                self.fields.added.truncate(added);
                let head = self.reject(text, line.start..end, &reject, intake, &mut out.batch);
                out.batch.heads.push(head);
                let view = View { text, added: &self.fields.added, uuids: &out.batch.uuids };
                let spans = &out.batch.spans[head.span_start as usize..];
                self.projector.control_row(view, spans, &head, ordinal, &mut out.rows);
            }
        }
        end
    }

    /// Notes which dimensions of the last event have a value that no symbol was made of: it counts as `other`.
    #[cold]
    fn fold(&mut self, out: &mut Decoded) {
        let folded = std::mem::take(&mut self.projector.cache().folded);
        if let Some(head) = out.batch.heads.last_mut() {
            head.stamp.folded |= folded;
        }
        out.rows.fold_last(folded, self.catalog.dimensions().len());
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

    #[cold]
    fn reject(
        &mut self,
        text: &[u8],
        raw: Range<usize>,
        reject: &Reject,
        intake: &Intake,
        batch: &mut RecordBatch,
    ) -> RecordHead {
        let stamp = Stamp { stream: intake.stream, ..Stamp::default() };
        let mut head = self.head(RecordKind::Reject, intake, stamp, batch);
        let known = self.known;
        let code = self.projector.cache().symbols().intern(reject.code.name().as_bytes());
        let mut spans = vec![Span::symbol(known.code, code), Span::bytes(known.raw, Form::Bytes, raw.start, raw.len())];
        if !reject.param.is_empty() {
            let start = text.len() + self.fields.added.len();
            self.fields.added.extend_from_slice(reject.param.as_bytes());
            spans.push(Span::bytes(known.param, Form::Text, start, reject.param.len()));
        }
        spans.sort_by_key(|s| s.field);
        head.span_count = spans.len() as u16;
        batch.spans.append(&mut spans);
        head
    }

    /// Decodes an event, or says what is wrong with it and leaves the records of `batch` as they were.
    #[inline(always)]
    fn event(
        &mut self,
        line: &mut Line<'_>,
        intake: &Intake,
        batch: &mut RecordBatch,
    ) -> Result<RecordHead, Box<Reject>> {
        let uuids = batch.uuids.len();
        let result = match self.members(line, batch) {
            Ok(()) => self.admit(line.text, intake),
            Err(reject) => Err(reject),
        };
        match result {
            Ok(stamp) => {
                let mut head = self.head(RecordKind::Event, intake, stamp, batch);
                head.span_count = self.emit(line.text, batch);
                Ok(head)
            }
            Err(reject) => {
                batch.uuids.truncate(uuids);
                Err(reject)
            }
        }
    }

    /// Reads the members into slots.
    #[inline(always)]
    fn members(&mut self, line: &mut Line<'_>, batch: &mut RecordBatch) -> Result<(), Box<Reject>> {
        let Self { keys, shape, fields, projector, unknown, .. } = self;
        let text = line.text;
        unknown.clear();
        fields.begin_line();
        let mut progress = Progress::default();
        let mut rest = shape.rest(&progress);
        // Fields with a null, which is missing.
        let mut nulls = 0;
        let mut at = line.start;
        loop {
            let (target, value, w) = match expected(text, at, rest) {
                Some((place, w)) => {
                    rest = &rest[1..];
                    let value = at + place.len;
                    match &place.next {
                        Next::Field(target) => (target, value, w),
                        Next::Unknown(key, escaped) => {
                            let key = Str { start: at + key.start, end: at + key.end, escaped: *escaped };
                            at = unknown_member(line, key, value, progress.strange, unknown)?;
                            continue;
                        }
                        Next::End => {
                            at = value;
                            break;
                        }
                    }
                }
                None => {
                    let mut s = line.scanner(at)?;
                    let step = keys.read(&mut s, at == line.start)?;
                    shape.read_to(rest, &mut progress);
                    let new = shape.surprise(step, keys, &mut progress);
                    rest = shape.rest(&progress);
                    let key = match step {
                        Step::Known(key) => key,
                        Step::Unknown(key) => {
                            at = unknown_member(line, key, s.at, true, unknown)?;
                            continue;
                        }
                        Step::End => {
                            at = s.at;
                            break;
                        }
                    };
                    let target = keys.target(key);
                    if !new {
                        return Err(fields.about(RejectCode::DuplicateField, target.field));
                    }
                    (target, s.at, usual::window(text, s.at))
                }
            };
            at = match fields.usual(text, value, w, target, projector.cache(), &mut batch.uuids) {
                Some(end) => end,
                None => {
                    let mut s = line.scanner(value)?;
                    // Less white space may have been expected than there is.
                    s.skip_space();
                    if !fields.with_care(&mut s, text, target, projector, &mut batch.uuids)? {
                        nulls |= target.bit;
                    }
                    s.at
                }
            };
        }
        line.finish(at)?;
        fields.resolve(text, projector.cache());
        shape.read_to(rest, &mut progress);
        fields.slots.set_present(shape.seen(&progress) & !nulls);
        shape.learn(&text[line.start..at], keys, &progress);
        Ok(())
    }
}

/// The first of these places, if it stands at `at`, and a window of the text behind it.
#[inline(always)]
fn expected<'a, 's>(text: &'a [u8], at: usize, places: &'s [Place]) -> Option<(&'s Place, &'a Window)> {
    let place = places.first()?;
    let bytes: &[u8; BYTES + WINDOW] = text.get(at..)?.first_chunk()?;
    if !place.begins(bytes.first_chunk()?) {
        return None;
    }
    Some((place, bytes[place.len % BYTES..].first_chunk()?))
}

/// What a line is that begins with no brace.
#[cold]
pub(super) fn no_object(mut s: Scanner<'_>) -> Box<Reject> {
    let json = s.value(0).is_ok_and(|_| {
        s.skip_space();
        s.at == s.text.len()
    });
    Reject::new(if json { RejectCode::NotAnObject } else { RejectCode::InvalidJson }, "")
}

/// Notes where a member that the catalog does not know stands, whose value begins at `value`; says where it ends. Keys
/// that stand where they stood in one line before are known to differ.
#[inline(never)]
fn unknown_member(
    line: &mut Line<'_>,
    key: Str,
    value: usize,
    may_be_twice: bool,
    unknown: &mut Vec<(Str, Range<usize>)>,
) -> Result<usize, Box<Reject>> {
    let text = line.text;
    let name = || String::from_utf8_lossy(&unescaped(text, key)).into_owned();
    if unknown.len() >= UNKNOWN_MAX {
        line.scanner(value)?;
        return Err(Reject::new(RejectCode::TooLarge, name()));
    }
    if may_be_twice && unknown.iter().any(|(other, _)| unescaped(text, *other) == unescaped(text, key)) {
        line.scanner(value)?;
        return Err(Reject::new(RejectCode::DuplicateField, name()));
    }
    if text.get(value) == Some(&b'"')
        && let Some(end) = usual::end_of_text(text, value + 1)
    {
        unknown.push((key, value..end + 1));
        return Ok(end + 1);
    }
    let mut s = line.scanner(value)?;
    // Less white space may have been expected than there is.
    s.skip_space();
    let start = s.at;
    let kind = s.value(1).map_err(|e| within(e, name))?;
    // A null is missing, but its name is taken all the same.
    let range = if kind == Kind::Null { start..start } else { start..s.at };
    unknown.push((key, range));
    Ok(s.at)
}
