//! The decoder: lines of JSON to records and rows.
//!
//! It expects the next key where the last line had it and compares before it looks one up, so a sender's usual order
//! costs least and any order gives the same answer. Invariant: a record's spans stand in field order, whatever the
//! sender's order was. Not here: which time it is, and where the bytes come from.

use std::sync::Arc;

use super::reject::{Reject, RejectCode};
use super::scan::{JsonError, Kind, Scanner, Str, attribute_text, quote_into, unescape, unescape_into};
use super::text::{has_forbidden, parse_uuid};
use crate::campaigns::Campaigns;
use crate::catalog::{Catalog, DimensionSource, EventTypeIx, FieldIx, FieldKind, ID_BYTES_MAX, NullPolicy, TimeFormat};
use crate::hash::Secret;
use crate::record::{Form, RecordBatch, RecordHead, RecordKind, Span, Stamp, Stream};
use crate::rows::{Projector, Rows, View};
use crate::symbol::Symbol;
use crate::time::{EventTime, MICROS_MAX, MICROS_MIN, ReceivedAt, TimeError, parse_rfc3339};

/// The longest line that can be an event, in bytes.
pub const EVENT_BYTES_MAX: usize = 64 * 1024;

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

/// What a JSON key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// A field of ours, and the mapping by which it came.
    Field(FieldIx, Option<u16>),
    /// A field that the catalog does not know.
    Unknown,
}

/// A key where the last line had it: its bytes as written with quotes and colon, and what it means.
struct Expected {
    written: Vec<u8>,
    /// Where the key's closing quote stands in it.
    key_end: usize,
    target: Target,
}

#[derive(Clone, Copy)]
struct Slot {
    form: Form,
    start: u32,
    len: u32,
}

impl Slot {
    const EMPTY: Self = Self { form: Form::Text, start: 0, len: 0 };

    fn wide(form: Form, value: u64) -> Self {
        Self { form, start: value as u32, len: (value >> 32) as u32 }
    }
}

/// One line of a text.
#[derive(Clone, Copy)]
struct Line<'a> {
    text: &'a [u8],
    start: usize,
    end: usize,
}

fn bit(field: FieldIx) -> u128 {
    1 << field.index()
}

fn is_currency(code: &[u8]) -> bool {
    code.len() == 3 && code.iter().all(u8::is_ascii_uppercase)
}

#[cold]
fn from_json(error: JsonError) -> Box<Reject> {
    match error {
        JsonError::Syntax => Reject::new(RejectCode::InvalidJson, ""),
        JsonError::DuplicateKey => Reject::new(RejectCode::DuplicateField, ""),
        JsonError::TooLarge => Reject::new(RejectCode::TooLarge, ""),
    }
}

/// An error in the value of a member: what is wrong with the value, and not with the line, names the member.
#[cold]
fn within(error: JsonError, name: impl FnOnce() -> String) -> Box<Reject> {
    let mut reject = from_json(error);
    if reject.code != RejectCode::InvalidJson {
        reject.param = name();
    }
    reject
}

/// Decodes lines; one a thread.
pub struct Decoder {
    catalog: Arc<Catalog>,
    campaigns: Arc<Campaigns>,
    projector: Projector,
    names: hashbrown::HashMap<Vec<u8>, Target>,
    expected: Vec<Expected>,
    slots: Vec<Slot>,
    /// Where unknown members stand in the line: key and value.
    unknown: Vec<(Str, std::ops::Range<usize>)>,
    /// Bytes added behind the text: unescaped strings, `$extra`.
    added: Vec<u8>,
    /// Length of the text behind which `added` will stand.
    text_len: usize,
    /// By event type, the fields that must be there.
    required: Vec<u128>,
    /// Whether dimensions ask for checks that the fields' own do not cover.
    check_dimensions: bool,
}

impl Decoder {
    /// For a catalog and a table of campaigns, under a data directory's secret.
    pub fn new(catalog: Arc<Catalog>, campaigns: Arc<Campaigns>, secret: Secret) -> Self {
        let mut names = hashbrown::HashMap::new();
        for (i, field) in catalog.fields().iter().enumerate() {
            if field.kind != FieldKind::Internal {
                names.insert(field.name.clone().into_bytes(), Target::Field(FieldIx::new(i), None));
            }
        }
        for (i, m) in catalog.mapping().iter().enumerate() {
            if let Some(to) = catalog.field_named(&m.to) {
                names.insert(m.from.clone().into_bytes(), Target::Field(to, Some(i as u16)));
            }
        }
        let required =
            catalog.event_types().iter().map(|t| t.required.iter().fold(0, |bits, f| bits | bit(*f))).collect();
        let check_dimensions = catalog
            .dimensions()
            .iter()
            .any(|d| matches!(d.source, DimensionSource::Attribute(_)) || d.nulls == NullPolicy::Reject);
        assert!(catalog.fields().len() <= 128, "presence is a number of 128 bits: limits on dimensions keep to it");
        Self {
            projector: Projector::new(catalog.clone(), secret),
            names,
            expected: Vec::new(),
            slots: vec![Slot::EMPTY; catalog.fields().len()],
            unknown: Vec::new(),
            added: Vec::new(),
            text_len: 0,
            required,
            check_dimensions,
            campaigns,
            catalog,
        }
    }

    /// Decodes the lines of `text` into `out`, which is emptied first; `text` becomes its arena.
    pub fn decode_lines(&mut self, text: Vec<u8>, intake: &Intake, out: &mut Decoded) {
        out.clear();
        self.added.clear();
        self.text_len = text.len();
        let utf8 = std::str::from_utf8(&text).is_ok();
        let mut start = 0;
        while start < text.len() {
            let end = memchr::memchr(b'\n', &text[start..]).map_or(text.len(), |n| start + n);
            self.decode_line(&text, start, end, utf8, intake, out);
            start = end + 1;
        }
        out.batch.arena = text;
        out.batch.arena.extend_from_slice(&self.added);
        out.rows.records = out.batch.heads.len() as u32;
    }

    fn decode_line(&mut self, text: &[u8], start: usize, end: usize, utf8: bool, intake: &Intake, out: &mut Decoded) {
        let line = &text[start..end];
        if line.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r')) {
            out.blank += 1;
            return;
        }
        let result = if end - start > EVENT_BYTES_MAX {
            Err(Reject::new(RejectCode::TooLarge, ""))
        } else if !utf8 && std::str::from_utf8(line).is_err() {
            Err(Reject::new(RejectCode::InvalidUtf8, ""))
        } else {
            self.event(&text[..end], start, intake, &mut out.batch)
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
        let view = View { text, added: &self.added, uuids: &out.batch.uuids };
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
        let known = *self.catalog.well_known();
        let code = self.projector.cache().symbols().intern(reject.code.name().as_bytes());
        let mut spans = vec![
            Span::symbol(known.code, code),
            Span::bytes(known.raw, Form::Bytes, line.start, line.end - line.start),
        ];
        if !reject.param.is_empty() {
            let start = line.text.len() + self.added.len();
            self.added.extend_from_slice(reject.param.as_bytes());
            spans.push(Span::bytes(known.param, Form::Text, start, reject.param.len()));
        }
        spans.sort_by_key(|s| s.field);
        head.span_count = spans.len() as u16;
        batch.spans.append(&mut spans);
        head
    }

    /// Decodes the event in `text[start..]`, or says what is wrong with it and leaves `batch` as it was.
    fn event(
        &mut self,
        text: &[u8],
        start: usize,
        intake: &Intake,
        batch: &mut RecordBatch,
    ) -> Result<RecordHead, Box<Reject>> {
        let (added, uuids) = (self.added.len(), batch.uuids.len());
        let result = self.members(text, start, batch).and_then(|present| {
            let stamp = self.admit(text, present, intake)?;
            Ok((present, stamp))
        });
        match result {
            Ok((present, stamp)) => {
                let mut head = self.head(RecordKind::Event, intake, stamp, batch);
                head.span_count = self.emit(text, present, batch);
                Ok(head)
            }
            Err(reject) => {
                self.added.truncate(added);
                batch.uuids.truncate(uuids);
                Err(reject)
            }
        }
    }

    /// Reads the members into slots; says which fields are present.
    fn members(&mut self, text: &[u8], start: usize, batch: &mut RecordBatch) -> Result<u128, Box<Reject>> {
        let (mut seen, mut present) = (0_u128, 0_u128);
        self.unknown.clear();
        let mut s = Scanner::new(text, start);
        s.skip_space();
        if !s.eat(b'{') {
            let json = s.value(0).is_ok_and(|_| {
                s.skip_space();
                s.at == text.len()
            });
            return Err(Reject::new(if json { RejectCode::NotAnObject } else { RejectCode::InvalidJson }, ""));
        }
        let syntax = |e| from_json(e);
        s.skip_space();
        let mut index = 0;
        let mut open = !s.eat(b'}');
        while open {
            s.skip_space();
            let (key, target) = self.key(&mut s, index).map_err(syntax)?;
            s.skip_space();
            match target {
                Target::Field(field, mapping) => {
                    if seen & bit(field) != 0 {
                        return Err(self.about(RejectCode::DuplicateField, field));
                    }
                    seen |= bit(field);
                    if self.value(&mut s, field, mapping, batch)? {
                        present |= bit(field);
                    }
                }
                Target::Unknown => self.unknown_member(&mut s, key)?,
            }
            index += 1;
            s.skip_space();
            open = !s.eat(b'}');
            if open {
                s.expect(b',').map_err(syntax)?;
            }
        }
        s.skip_space();
        if s.at != text.len() {
            return Err(Reject::new(RejectCode::InvalidJson, ""));
        }
        Ok(present)
    }

    /// Eats a key and its colon.
    #[inline(always)]
    fn key(&mut self, s: &mut Scanner<'_>, index: usize) -> Result<(Str, Target), JsonError> {
        if let Some(expected) = self.expected.get(index)
            && s.text[s.at..].starts_with(&expected.written)
        {
            let key = Str { start: s.at + 1, end: s.at + expected.key_end, escaped: false, special: false };
            s.at += expected.written.len();
            return Ok((key, expected.target));
        }
        self.key_looked_up(s, index)
    }

    fn key_looked_up(&mut self, s: &mut Scanner<'_>, index: usize) -> Result<(Str, Target), JsonError> {
        let start = s.at;
        s.expect(b'"')?;
        let key = s.string()?;
        s.skip_space();
        s.expect(b':')?;
        let target = if key.escaped {
            self.names.get(&unescape(s.text, key)).copied()
        } else {
            self.names.get(&s.text[key.start..key.end]).copied()
        }
        .unwrap_or(Target::Unknown);
        if !key.escaped {
            if index == self.expected.len() && index < 128 {
                self.expected.push(Expected { written: Vec::new(), key_end: 0, target });
            }
            if let Some(expected) = self.expected.get_mut(index) {
                expected.written.clear();
                expected.written.extend_from_slice(&s.text[start..s.at]);
                expected.key_end = key.end - start;
                expected.target = target;
            }
        }
        Ok((key, target))
    }

    fn unknown_member(&mut self, s: &mut Scanner<'_>, key: Str) -> Result<(), Box<Reject>> {
        const UNKNOWN_MAX: usize = 256;
        let name = || String::from_utf8_lossy(&unescape(s.text, key)).into_owned();
        if self.unknown.len() >= UNKNOWN_MAX {
            return Err(Reject::new(RejectCode::TooLarge, name()));
        }
        if self.unknown.iter().any(|(other, _)| unescape(s.text, *other) == unescape(s.text, key)) {
            return Err(Reject::new(RejectCode::DuplicateField, name()));
        }
        let start = s.at;
        let kind = s.value(1).map_err(|e| within(e, name))?;
        // A null is missing, but its name is taken all the same.
        let range = if kind == Kind::Null { start..start } else { start..s.at };
        self.unknown.push((key, range));
        Ok(())
    }

    #[cold]
    fn about(&self, code: RejectCode, field: FieldIx) -> Box<Reject> {
        Reject::new(code, self.catalog.field(field).name.clone())
    }

    /// Reads a known field's value into its slot; false where it is null.
    #[inline(always)]
    fn value(
        &mut self,
        s: &mut Scanner<'_>,
        field: FieldIx,
        mapping: Option<u16>,
        batch: &mut RecordBatch,
    ) -> Result<bool, Box<Reject>> {
        let kind = self.catalog.field(field).kind;
        let start = s.at;
        let slot = match (s.peek(), kind) {
            (Some(b'"'), FieldKind::Text { max_bytes }) => {
                s.at += 1;
                let text = s.string().map_err(from_json)?;
                self.text(s.text, text, field, max_bytes, mapping, batch)?
            }
            (Some(b'"'), FieldKind::Time) => {
                s.at += 1;
                let text = s.string().map_err(from_json)?;
                self.time(s.text, text, field, mapping)?
            }
            (Some(b'0'..=b'9'), FieldKind::Uint { max }) => {
                s.number().map_err(from_json)?;
                let value = self.integer(&s.text[start..s.at], field)?;
                match u64::try_from(value) {
                    Ok(value) if value <= max => Slot::wide(Form::Uint, value),
                    _ => return Err(self.about(RejectCode::OutOfRange, field)),
                }
            }
            (Some(b'"'), FieldKind::EventType) => {
                s.at += 1;
                let text = s.string().map_err(from_json)?;
                self.event_type_slot(s.text, text, field, mapping)?
            }
            (Some(b'"'), FieldKind::Currency) => {
                s.at += 1;
                let text = s.string().map_err(from_json)?;
                self.currency(s.text, text, field)?
            }
            (Some(b'0'..=b'9' | b'-'), FieldKind::Int) => {
                s.number().map_err(from_json)?;
                let value = self.integer(&s.text[start..s.at], field)?;
                match (u64::try_from(value), i64::try_from(value)) {
                    (Ok(value), Ok(_)) => Slot::wide(Form::Uint, value),
                    (_, Ok(value)) => Slot::wide(Form::Int, value as u64),
                    _ => return Err(self.about(RejectCode::OutOfRange, field)),
                }
            }
            (Some(b'0'..=b'9' | b'-'), FieldKind::SchemaVersion) => {
                s.number().map_err(from_json)?;
                if &s.text[start..s.at] != b"1" {
                    return Err(self.about(RejectCode::UnknownSchemaVersion, field));
                }
                Slot::wide(Form::Uint, 1)
            }
            (Some(b'0'..=b'9' | b'-'), FieldKind::Time) if mapping.is_some() => {
                s.number().map_err(from_json)?;
                let value = self.integer(&s.text[start..s.at], field)?;
                self.epoch(value, field, mapping)?
            }
            _ => match s.value(1).map_err(|e| within(e, || self.catalog.field(field).name.clone()))? {
                Kind::Null => return Ok(false),
                Kind::Number if kind == FieldKind::Number => self.json_slot(start, s.at),
                Kind::Object if kind == FieldKind::Object => self.json_slot(start, s.at),
                _ if kind == FieldKind::Any => self.json_slot(start, s.at),
                _ => return Err(self.about(RejectCode::InvalidType, field)),
            },
        };
        self.slots[field.index()] = slot;
        Ok(true)
    }

    fn json_slot(&self, start: usize, end: usize) -> Slot {
        Slot { form: Form::Json, start: start as u32, len: (end - start) as u32 }
    }

    fn integer(&self, token: &[u8], field: FieldIx) -> Result<i128, Box<Reject>> {
        if token.iter().any(|b| matches!(b, b'.' | b'e' | b'E')) {
            return Err(self.about(RejectCode::InvalidType, field));
        }
        if token.len() > 30 {
            return Err(self.about(RejectCode::OutOfRange, field));
        }
        let (negative, digits) = if token[0] == b'-' { (true, &token[1..]) } else { (false, token) };
        let value = digits.iter().fold(0_i128, |v, b| v * 10 + i128::from(b - b'0'));
        Ok(if negative { -value } else { value })
    }

    #[inline(always)]
    fn text(
        &mut self,
        text: &[u8],
        s: Str,
        field: FieldIx,
        bytes_max: usize,
        mapping: Option<u16>,
        batch: &mut RecordBatch,
    ) -> Result<Slot, Box<Reject>> {
        if s.escaped || s.special || mapping.is_some() {
            return self.text_with_care(text, s, field, bytes_max, mapping);
        }
        let len = s.end - s.start;
        if len == 0 || len > bytes_max {
            let code = if len == 0 { RejectCode::Empty } else { RejectCode::TooLong };
            return Err(self.about(code, field));
        }
        if self.catalog.field(field).dimension.is_some() {
            let symbol = self.projector.cache().intern(text, s.start, s.end);
            return Ok(Slot { form: Form::Symbol, start: symbol.get(), len: 0 });
        }
        if len == 36
            && let Some(uuid) = parse_uuid(&text[s.start..s.end])
        {
            batch.uuids.push(uuid);
            // Where the text stands, plus one: the projector hashes text.
            return Ok(Slot { form: Form::Uuid, start: batch.uuids.len() as u32 - 1, len: s.start as u32 + 1 });
        }
        Ok(Slot { form: Form::Text, start: s.start as u32, len: len as u32 })
    }

    /// Text with escapes, beyond ASCII, or under a mapping.
    #[cold]
    fn text_with_care(
        &mut self,
        text: &[u8],
        s: Str,
        field: FieldIx,
        bytes_max: usize,
        mapping: Option<u16>,
    ) -> Result<Slot, Box<Reject>> {
        let start = self.added.len();
        unescape_into(text, s, &mut self.added);
        self.map_value(start, mapping);
        let len = self.added.len() - start;
        let value = &self.added[start..];
        let code = if len == 0 {
            Some(RejectCode::Empty)
        } else if len > bytes_max {
            Some(RejectCode::TooLong)
        } else if has_forbidden(value) {
            Some(RejectCode::ForbiddenCharacter)
        } else {
            None
        };
        if let Some(code) = code {
            return Err(self.about(code, field));
        }
        if self.catalog.field(field).dimension.is_some() {
            let symbol = self.projector.cache().intern(&self.added, start, start + len);
            self.added.truncate(start);
            return Ok(Slot { form: Form::Symbol, start: symbol.get(), len: 0 });
        }
        // A UUID that took this way is kept as text: the same hash, some bytes more.
        Ok(Slot { form: Form::Text, start: (self.text_len + start) as u32, len: len as u32 })
    }

    /// Replaces the text added from `start` by what a mapping says.
    fn map_value(&mut self, start: usize, mapping: Option<u16>) {
        let Some(ix) = mapping else { return };
        let values = &self.catalog.mapping()[usize::from(ix)].values;
        if let Some((_, to)) = values.iter().find(|(from, _)| from.as_bytes() == &self.added[start..]) {
            self.added.truncate(start);
            self.added.extend_from_slice(to.as_bytes());
        }
    }

    fn event_type_slot(
        &mut self,
        text: &[u8],
        s: Str,
        field: FieldIx,
        mapping: Option<u16>,
    ) -> Result<Slot, Box<Reject>> {
        let found = if s.escaped || mapping.is_some() {
            let start = self.added.len();
            unescape_into(text, s, &mut self.added);
            self.map_value(start, mapping);
            let found = self.catalog.event_type_named(&self.added[start..]);
            self.added.truncate(start);
            found
        } else {
            self.catalog.event_type_named(&text[s.start..s.end])
        };
        let Some(event_type) = found else { return Err(self.about(RejectCode::UnknownEventType, field)) };
        Ok(Slot { form: Form::Symbol, start: self.projector.event_type_symbol(event_type).get(), len: 0 })
    }

    fn currency(&mut self, text: &[u8], s: Str, field: FieldIx) -> Result<Slot, Box<Reject>> {
        let symbol = if s.escaped {
            let code = unescape(text, s);
            is_currency(&code).then(|| self.projector.cache().intern(&code, 0, code.len()))
        } else {
            is_currency(&text[s.start..s.end]).then(|| self.projector.cache().intern(text, s.start, s.end))
        };
        let Some(symbol) = symbol else { return Err(self.about(RejectCode::InvalidCurrency, field)) };
        Ok(Slot { form: Form::Symbol, start: symbol.get(), len: 0 })
    }

    fn time(&mut self, text: &[u8], s: Str, field: FieldIx, mapping: Option<u16>) -> Result<Slot, Box<Reject>> {
        let owned;
        let bytes = if s.escaped {
            owned = unescape(text, s);
            &owned[..]
        } else {
            &text[s.start..s.end]
        };
        if self.time_format(mapping) != TimeFormat::Rfc3339 {
            // Text that would be the number too: Rust reads a plus sign, JSON does not.
            let text = std::str::from_utf8(bytes).ok().filter(|t| !t.starts_with('+'));
            let number = text.and_then(|t| t.parse::<i64>().ok());
            let Some(number) = number else { return Err(self.about(RejectCode::InvalidTime, field)) };
            return self.epoch(i128::from(number), field, mapping);
        }
        match parse_rfc3339(bytes) {
            Ok(micros) => Ok(Slot::wide(Form::Time, micros as u64)),
            Err(TimeError::Form | TimeError::NoOffset | TimeError::Range) => {
                Err(self.about(RejectCode::InvalidTime, field))
            }
        }
    }

    fn time_format(&self, mapping: Option<u16>) -> TimeFormat {
        mapping.map_or(TimeFormat::Rfc3339, |ix| self.catalog.mapping()[usize::from(ix)].time)
    }

    fn epoch(&self, value: i128, field: FieldIx, mapping: Option<u16>) -> Result<Slot, Box<Reject>> {
        let unit_micros = match self.time_format(mapping) {
            TimeFormat::Rfc3339 => return Err(self.about(RejectCode::InvalidType, field)),
            TimeFormat::EpochSeconds => 1_000_000,
            TimeFormat::EpochMillis => 1_000,
            TimeFormat::EpochMicros => 1,
        };
        let micros = value.checked_mul(unit_micros).and_then(|m| i64::try_from(m).ok());
        match micros {
            Some(micros) if (MICROS_MIN..=MICROS_MAX).contains(&micros) => Ok(Slot::wide(Form::Time, micros as u64)),
            _ => Err(self.about(RejectCode::InvalidTime, field)),
        }
    }

    /// Checks what needs all fields, and resolves the campaign.
    fn admit(&mut self, text: &[u8], present: u128, intake: &Intake) -> Result<Stamp, Box<Reject>> {
        let known = *self.catalog.well_known();
        let symbol = |decoder: &Self, field: FieldIx| {
            if present & bit(field) == 0 { Symbol::NULL } else { Symbol::new(decoder.slots[field.index()].start) }
        };
        if present & bit(known.event_type) == 0 {
            return Err(self.about(RejectCode::MissingField, known.event_type));
        }
        let event_type = self.projector.event_type(symbol(self, known.event_type)).unwrap_or_default();
        let mut stamp = Stamp { stream: intake.stream, ..Stamp::default() };
        let mut campaign = symbol(self, known.campaign_id);
        if campaign.is_null()
            && let Some(found) = self.campaigns.of_ad(symbol(self, known.ad_id))
        {
            campaign = found;
            stamp.campaign = found;
        }
        let mut missing = self.required[event_type.index()] & !present;
        if !stamp.campaign.is_null() {
            missing &= !bit(known.campaign_id);
        }
        if missing == 0 {
            missing = self.missing_key_parts(present, intake, event_type);
        }
        if missing != 0 {
            return Err(self.about(RejectCode::MissingField, FieldIx::new(missing.trailing_zeros() as usize)));
        }
        if self.check_dimensions {
            self.dimension_checks(text, present, campaign)?;
        }
        let Some(terms) = self.campaigns.terms(campaign) else {
            return Err(self.about(RejectCode::UnknownCampaign, known.campaign_id));
        };
        stamp.billable = Some(terms.billable);
        stamp.currency = terms.currency;
        Ok(stamp)
    }

    fn missing_key_parts(&mut self, present: u128, intake: &Intake, event_type: EventTypeIx) -> u128 {
        let slot = self.slots[self.catalog.well_known().occurred_at.index()];
        let at = EventTime::from_micros((u64::from(slot.start) | u64::from(slot.len) << 32) as i64);
        self.projector.key_bits(intake.source, event_type, at) & !present
    }

    fn dimension_checks(&self, text: &[u8], present: u128, campaign: Symbol) -> Result<(), Box<Reject>> {
        let known = self.catalog.well_known();
        for d in self.catalog.dimensions() {
            let (there, name) = match (&d.source, d.field) {
                (DimensionSource::Attribute(key), _) => {
                    let value = if present & bit(known.attributes) == 0 {
                        None
                    } else {
                        let slot = self.slots[known.attributes.index()];
                        attribute_text(&text[slot.start as usize..(slot.start + slot.len) as usize], key)
                    };
                    let name = format!("attributes.{key}");
                    if value.as_ref().is_some_and(|v| v.len() > ID_BYTES_MAX) {
                        return Err(Reject::new(RejectCode::TooLong, name));
                    }
                    if value.as_ref().is_some_and(|v| has_forbidden(v)) {
                        return Err(Reject::new(RejectCode::ForbiddenCharacter, name));
                    }
                    (value.is_some(), name)
                }
                (DimensionSource::Field(name), Some(field)) => {
                    let found = field == known.campaign_id && !campaign.is_null();
                    (found || present & bit(field) != 0, name.clone())
                }
                (DimensionSource::Field(name), None) => (false, name.clone()),
            };
            if d.nulls == NullPolicy::Reject && !there {
                return Err(Reject::new(RejectCode::MissingField, name));
            }
        }
        Ok(())
    }

    /// Writes the spans of an event that passed; says how many.
    fn emit(&mut self, text: &[u8], mut present: u128, batch: &mut RecordBatch) -> u16 {
        let known = *self.catalog.well_known();
        if present & bit(known.received_at) != 0 {
            // The sender's own time of receipt decides nothing; it is kept under another name.
            if present & bit(known.edge_received_at) == 0 {
                self.slots[known.edge_received_at.index()] = self.slots[known.received_at.index()];
                present |= bit(known.edge_received_at);
            }
            present &= !bit(known.received_at);
        }
        if !self.unknown.is_empty() && self.extra(text) {
            present |= bit(known.extra);
        }
        let before = batch.spans.len();
        while present != 0 {
            let i = present.trailing_zeros() as usize;
            present &= present - 1;
            let Slot { form, start, len } = self.slots[i];
            batch.spans.push(Span { field: FieldIx::new(i), form, start, len });
        }
        (batch.spans.len() - before) as u16
    }

    /// Writes the unknown members as one object, keys sorted; false where all of them are null.
    fn extra(&mut self, text: &[u8]) -> bool {
        let mut all: Vec<(Vec<u8>, std::ops::Range<usize>)> = (self.unknown.iter())
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (unescape(text, *key), value.clone()))
            .collect();
        if all.is_empty() {
            return false;
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        let start = self.added.len();
        for (i, (name, value)) in all.into_iter().enumerate() {
            self.added.push(if i == 0 { b'{' } else { b',' });
            quote_into(&name, &mut self.added);
            self.added.push(b':');
            self.added.extend_from_slice(&text[value]);
        }
        self.added.push(b'}');
        let len = self.added.len() - start;
        self.slots[self.catalog.well_known().extra.index()] =
            self.json_slot(self.text_len + start, self.text_len + start + len);
        true
    }
}
