//! Values of known fields, from JSON into slots.
//!
//! Each value is checked against what its field may hold and put into the field's slot as the span that it becomes.
//! Invariant: the usual form of a value and every other form of it give the same slot, or the same reject.
//! Not here: what needs more than one field.

use std::borrow::Cow;
use std::sync::Arc;

use super::keys::{Target, Usual};
use super::reject::{Reject, RejectCode};
use super::scan::{JsonError, Kind, Scanner, Str, unescape_into, unescaped};
use super::text::has_forbidden;
use crate::catalog::{Catalog, FieldIx, FieldKind, TimeFormat};
use crate::record::{Form, Span};
use crate::short::{Short, ShortTable};
use crate::symbol::{Symbol, SymbolCache};
use crate::time::{MICROS_MAX, MICROS_MIN, TimeError, parse_rfc3339, parse_usual};

/// The most fields: presence is a number of 128 bits. The limit on dimensions keeps to it.
pub(super) const FIELDS_MAX: usize = 128;

#[cold]
pub(super) fn from_json(error: JsonError) -> Box<Reject> {
    match error {
        JsonError::Syntax => Reject::new(RejectCode::InvalidJson, ""),
        JsonError::DuplicateKey => Reject::new(RejectCode::DuplicateField, ""),
        JsonError::TooLarge => Reject::new(RejectCode::TooLarge, ""),
    }
}

/// An error in the value of a member: what is wrong with the value, and not with the line, names the member.
#[cold]
pub(super) fn within(error: JsonError, name: impl FnOnce() -> String) -> Box<Reject> {
    let mut reject = from_json(error);
    if reject.code != RejectCode::InvalidJson {
        reject.param = name();
    }
    reject
}

/// The slots of one line, and what reading into them takes.
pub(super) struct Fields {
    catalog: Arc<Catalog>,
    /// By field; what an absent field's slot holds is left over from an earlier line.
    slots: Box<[Span; FIELDS_MAX]>,
    /// Bytes added behind the text: unescaped strings, `$extra`.
    pub added: Vec<u8>,
    /// Length of the text behind which `added` will stand.
    pub text_len: usize,
    /// Short texts of this line whose symbols are looked up when the line is read: by then their places in the table,
    /// which is larger than the caches, are at hand.
    deferred: Box<[(FieldIx, Short, u32); FIELDS_MAX]>,
    deferred_count: usize,
    /// The event types of short names, and each one's symbol.
    types: ShortTable,
    type_symbols: Vec<Symbol>,
}

/// The first half of a slot's value and the second, see [`Form`].
type Halves = (Form, u32, u32);

fn wide(form: Form, value: u64) -> Halves {
    (form, value as u32, (value >> 32) as u32)
}

impl Fields {
    pub fn new(catalog: Arc<Catalog>) -> Self {
        assert!(catalog.fields().len() <= FIELDS_MAX, "limits on dimensions keep to {FIELDS_MAX} fields");
        let mut types = ShortTable::new(64);
        let mut type_symbols = Vec::new();
        for (i, t) in catalog.event_types().iter().enumerate() {
            type_symbols.push(catalog.symbols().intern(t.name.as_bytes()));
            if let Some(name) = Short::of(t.name.as_bytes(), 0, t.name.len()) {
                types.insert(name, i as u32);
            }
        }
        let none = (FieldIx::new(0), Short::default(), 0);
        let deferred = Box::new([none; FIELDS_MAX]);
        let slots = Box::new(std::array::from_fn(|i| Span::symbol(FieldIx::new(i), Symbol::NULL)));
        Self { catalog, slots, added: Vec::new(), text_len: 0, deferred, deferred_count: 0, types, type_symbols }
    }

    /// What was read for a field of this line.
    #[inline(always)]
    pub fn slot(&self, field: FieldIx) -> &Span {
        &self.slots[field.index() % FIELDS_MAX]
    }

    /// A line begins: nothing is deferred.
    #[inline(always)]
    pub fn begin_line(&mut self) {
        self.deferred_count = 0;
    }

    /// Looks up the symbols of the line's short texts.
    #[inline(always)]
    pub fn resolve(&mut self, text: &[u8], cache: &mut SymbolCache) {
        for i in 0..self.deferred_count {
            let (field, short, start) = self.deferred[i % FIELDS_MAX];
            let symbol = cache.intern_short(short, text, start as usize);
            cache.prefetch_word(symbol);
            self.slots[field.index() % FIELDS_MAX].start = symbol.get();
        }
    }

    #[inline(always)]
    fn defer(&mut self, field: FieldIx, short: Short, start: usize) {
        self.deferred[self.deferred_count % FIELDS_MAX] = (field, short, start as u32);
        self.deferred_count += 1;
    }

    /// Puts a value into a field's slot.
    #[inline(always)]
    pub fn put(&mut self, field: FieldIx, form: Form, start: u32, len: u32) {
        self.slots[field.index() % FIELDS_MAX] = Span { field, form, start, len };
    }

    /// A reject about a field.
    #[cold]
    #[inline(never)]
    pub fn about(&self, code: RejectCode, field: FieldIx) -> Box<Reject> {
        Reject::new(code, self.catalog.field(field).name.clone())
    }

    /// Reads a known field's value into its slot; false where it is null.
    #[inline(always)]
    pub fn read(
        &mut self,
        s: &mut Scanner<'_>,
        target: &Target,
        cache: &mut SymbolCache,
        uuids: &mut Vec<[u8; 16]>,
    ) -> Result<bool, Box<Reject>> {
        let begin = s.at;
        match self.usual(s, target, cache, uuids) {
            Some((form, start, len)) => {
                self.put(target.field, form, start, len);
                Ok(true)
            }
            None => {
                // Only a copy is lent out, so that the usual way's scanner stays in registers.
                let mut careful = Scanner { at: begin, ..*s };
                let there = self.read_with_care(&mut careful, target, cache)?;
                s.at = careful.at;
                Ok(there)
            }
        }
    }

    /// Reads a value in its usual form; none, with the scanner anywhere, where it has another or is wrong.
    #[inline(always)]
    fn usual(
        &mut self,
        s: &mut Scanner<'_>,
        target: &Target,
        cache: &mut SymbolCache,
        uuids: &mut Vec<[u8; 16]>,
    ) -> Option<Halves> {
        match target.usual {
            Usual::Symbol { len_max } => {
                if let Some((short, start)) = s.short_string() {
                    cache.prefetch_short(short);
                    self.defer(target.field, short, start);
                    return Some((Form::Symbol, Symbol::NULL.get(), 0));
                }
                let (start, end) = s.plain_string()?;
                if (end - start).wrapping_sub(1) >= len_max {
                    return None;
                }
                Some((Form::Symbol, cache.intern(s.text, start, end).get(), 0))
            }
            Usual::Text { len_max } => {
                if let Some(uuid) = s.uuid() {
                    uuids.push(uuid);
                    // Where the text stands, plus one: the projector hashes text.
                    return Some((Form::Uuid, uuids.len() as u32 - 1, s.at as u32 - 36));
                }
                let (start, end) = s.plain_string()?;
                let len = end - start;
                (len.wrapping_sub(1) < len_max).then_some((Form::Text, start as u32, len as u32))
            }
            Usual::Uint { min, max } => {
                let value = s.small_integer()?;
                (min <= value && value <= max).then(|| wide(Form::Uint, value))
            }
            Usual::Time => {
                let (start, end) = s.plain_string()?;
                Some(wide(Form::Time, parse_usual(&s.text[start..end])? as u64))
            }
            Usual::EventType => {
                let (name, _) = s.short_string()?;
                let event_type = self.types.get(name)?;
                Some((Form::Symbol, self.type_symbols[event_type as usize].get(), 0))
            }
            Usual::None => None,
        }
    }

    /// Reads any value, or says what is wrong with it.
    #[inline(never)]
    fn read_with_care(
        &mut self,
        s: &mut Scanner<'_>,
        target: &Target,
        cache: &mut SymbolCache,
    ) -> Result<bool, Box<Reject>> {
        let field = target.field;
        let start = s.at;
        let (form, start, len) = match (s.peek(), target.kind) {
            (Some(b'"'), FieldKind::Text { max_bytes }) => {
                s.at += 1;
                let text = s.string().map_err(from_json)?;
                self.text(s.text, text, target, max_bytes, cache)?
            }
            (Some(b'"'), FieldKind::Time) => {
                s.at += 1;
                let text = s.string().map_err(from_json)?;
                self.time(s.text, text, target)?
            }
            (Some(b'"'), FieldKind::EventType) => {
                s.at += 1;
                let text = s.string().map_err(from_json)?;
                self.event_type(s.text, text, target)?
            }
            (Some(b'0'..=b'9'), FieldKind::Uint { max }) => {
                s.number().map_err(from_json)?;
                let value = self.integer(&s.text[start..s.at], field)?;
                match u64::try_from(value) {
                    Ok(value) if value <= max => wide(Form::Uint, value),
                    _ => return Err(self.about(RejectCode::OutOfRange, field)),
                }
            }
            (Some(b'"'), FieldKind::Currency) => {
                s.at += 1;
                let text = s.string().map_err(from_json)?;
                let code = unescaped(s.text, text);
                if code.len() != 3 || !code.iter().all(u8::is_ascii_uppercase) {
                    return Err(self.about(RejectCode::InvalidCurrency, field));
                }
                let symbol = match &code {
                    Cow::Borrowed(_) => cache.intern(s.text, text.start, text.end),
                    Cow::Owned(code) => cache.intern(code, 0, code.len()),
                };
                (Form::Symbol, symbol.get(), 0)
            }
            (Some(b'0'..=b'9' | b'-'), FieldKind::Int) => {
                s.number().map_err(from_json)?;
                let value = self.integer(&s.text[start..s.at], field)?;
                match (u64::try_from(value), i64::try_from(value)) {
                    (Ok(value), Ok(_)) => wide(Form::Uint, value),
                    (_, Ok(value)) => wide(Form::Int, value as u64),
                    _ => return Err(self.about(RejectCode::OutOfRange, field)),
                }
            }
            (Some(b'0'..=b'9' | b'-'), FieldKind::SchemaVersion) => {
                s.number().map_err(from_json)?;
                if &s.text[start..s.at] != b"1" {
                    return Err(self.about(RejectCode::UnknownSchemaVersion, field));
                }
                wide(Form::Uint, 1)
            }
            (Some(b'0'..=b'9' | b'-'), FieldKind::Time) if target.mapping.is_some() => {
                s.number().map_err(from_json)?;
                let value = self.integer(&s.text[start..s.at], field)?;
                self.epoch(value, target)?
            }
            (_, kind) => match s.value(1).map_err(|e| within(e, || self.catalog.field(field).name.clone()))? {
                Kind::Null => return Ok(false),
                Kind::Number if kind == FieldKind::Number => json(start, s.at),
                Kind::Object if kind == FieldKind::Object => json(start, s.at),
                _ if kind == FieldKind::Any => json(start, s.at),
                _ => return Err(self.about(RejectCode::InvalidType, field)),
            },
        };
        self.put(field, form, start, len);
        Ok(true)
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

    /// Text with escapes, beyond ASCII, under a mapping, or too short or long.
    fn text(
        &mut self,
        text: &[u8],
        s: Str,
        target: &Target,
        bytes_max: usize,
        cache: &mut SymbolCache,
    ) -> Result<Halves, Box<Reject>> {
        let start = self.added.len();
        unescape_into(text, s, &mut self.added);
        self.map_value(start, target.mapping);
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
            return Err(self.about(code, target.field));
        }
        if target.dimension {
            let symbol = cache.intern(&self.added, start, start + len);
            self.added.truncate(start);
            return Ok((Form::Symbol, symbol.get(), 0));
        }
        // A UUID that took this way is kept as text: the same hash, some bytes more.
        Ok((Form::Text, (self.text_len + start) as u32, len as u32))
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

    fn event_type(&mut self, text: &[u8], s: Str, target: &Target) -> Result<Halves, Box<Reject>> {
        let start = self.added.len();
        unescape_into(text, s, &mut self.added);
        self.map_value(start, target.mapping);
        let found = self.catalog.event_type_named(&self.added[start..]);
        self.added.truncate(start);
        let Some(event_type) = found else { return Err(self.about(RejectCode::UnknownEventType, target.field)) };
        Ok((Form::Symbol, self.type_symbols[event_type.index()].get(), 0))
    }

    fn time(&self, text: &[u8], s: Str, target: &Target) -> Result<Halves, Box<Reject>> {
        let bytes = unescaped(text, s);
        if self.time_format(target.mapping) != TimeFormat::Rfc3339 {
            // The text of a number as JSON writes it: without a plus.
            let number = std::str::from_utf8(&bytes).ok().filter(|t| !t.starts_with('+'));
            let number = number.and_then(|t| t.parse::<i64>().ok());
            let Some(number) = number else { return Err(self.about(RejectCode::InvalidTime, target.field)) };
            return self.epoch(i128::from(number), target);
        }
        match parse_rfc3339(&bytes) {
            Ok(micros) => Ok(wide(Form::Time, micros as u64)),
            Err(TimeError::Form | TimeError::NoOffset | TimeError::Range) => {
                Err(self.about(RejectCode::InvalidTime, target.field))
            }
        }
    }

    fn time_format(&self, mapping: Option<u16>) -> TimeFormat {
        mapping.map_or(TimeFormat::Rfc3339, |ix| self.catalog.mapping()[usize::from(ix)].time)
    }

    fn epoch(&self, value: i128, target: &Target) -> Result<Halves, Box<Reject>> {
        let unit_micros = match self.time_format(target.mapping) {
            TimeFormat::Rfc3339 => return Err(self.about(RejectCode::InvalidType, target.field)),
            TimeFormat::EpochSeconds => 1_000_000,
            TimeFormat::EpochMillis => 1_000,
            TimeFormat::EpochMicros => 1,
        };
        let micros = value.checked_mul(unit_micros).and_then(|m| i64::try_from(m).ok());
        match micros {
            Some(micros) if (MICROS_MIN..=MICROS_MAX).contains(&micros) => Ok(wide(Form::Time, micros as u64)),
            _ => Err(self.about(RejectCode::InvalidTime, target.field)),
        }
    }
}

fn json(start: usize, end: usize) -> Halves {
    (Form::Json, start as u32, (end - start) as u32)
}
