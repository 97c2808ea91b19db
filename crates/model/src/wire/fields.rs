//! Values of known fields, from JSON into slots.
//!
//! Each value is checked against what its field may hold and put into the field's slot as the span that it becomes.
//! Invariant: the usual form of a value and every other form of it give the same slot, or the same reject.
//! Not here: what needs more than one field.

use std::borrow::Cow;
use std::sync::Arc;

use super::keys::{Target, Usual, unit_micros};
use super::reject::{Reject, RejectCode};
use super::scan::{JsonError, Kind, Scanner, Str, unescape_into, unescaped};
use super::text::{check_text, has_forbidden, parse_uuid};
use super::usual::{self, Text, Window};
use crate::catalog::{Catalog, FieldIx, FieldKind, ID_BYTES_MAX, TimeFormat};
use crate::hash::{ContentTerm, text_word, uuid_word};
use crate::record::{Form, Span};
use crate::rows::{FIELDS_MAX, Projector, Slots, View, Words};
use crate::short::{Short, ShortTable};
use crate::symbol::{Symbol, SymbolCache};
use crate::time::{Hours, MICROS_MAX, MICROS_MIN, TimeError, parse_rfc3339};

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

/// A short text whose symbol is looked up when the line is read.
#[derive(Clone, Copy)]
struct Deferred {
    short: Short,
    hash: u64,
    term: ContentTerm,
    start: u32,
    field: FieldIx,
}

/// The slots of one line, and what reading into them takes.
pub(super) struct Fields {
    catalog: Arc<Catalog>,
    pub slots: Slots,
    /// What the values come to.
    pub words: Words,
    /// Bytes added behind the text: unescaped strings, `$extra`.
    pub added: Vec<u8>,
    /// Length of the text behind which `added` will stand.
    pub text_len: usize,
    /// Short texts of this line: when they are looked up, their places in the table, which is larger than the caches,
    /// are at hand.
    deferred: Vec<Deferred>,
    /// The symbols of event types by short names: by their own, and then by mapping, by what it makes one.
    types: Vec<ShortTable>,
    type_symbols: Vec<Symbol>,
    /// By mapping, the symbols of the short values that it replaces; null where the field may not hold them.
    replaced: Vec<ShortTable>,
    hours: Hours,
    user_id: FieldIx,
}

/// The first half of a slot's value and the second, see [`Form`].
type Halves = (Form, u32, u32);

fn wide(form: Form, value: u64) -> Halves {
    (form, value as u32, (value >> 32) as u32)
}

/// The entries of one mapping's tables, a power of two; they grow.
const MAPPED: usize = 64;

impl Fields {
    pub fn new(catalog: Arc<Catalog>) -> Self {
        let symbols = catalog.symbols();
        let type_symbols = catalog.event_types().iter().map(|t| symbols.intern(t.name.as_bytes())).collect();
        let types_under = |values: &[(String, String)]| {
            let mut table = ShortTable::new(MAPPED);
            // The first of equal values stands, and each before a type of its name.
            let named = catalog.event_types().iter().map(|t| (&t.name, &t.name));
            for (from, to) in values.iter().map(|(from, to)| (from, to)).chain(named) {
                let event_type = catalog.event_type_named(to.as_bytes());
                if let (Some(from), Some(_)) = (Short::of_text(from.as_bytes()), event_type)
                    && table.get(from, from.hash()).is_none()
                {
                    table.insert(from, symbols.intern(to.as_bytes()).get(), text_word(to.as_bytes()));
                }
            }
            table
        };
        let replaced_by = |values: &[(String, String)]| {
            let mut table = ShortTable::new(MAPPED);
            for (from, to) in values {
                let good = check_text(to, ID_BYTES_MAX).is_ok();
                let symbol = if good { symbols.intern(to.as_bytes()) } else { Symbol::NULL };
                if let Some(from) = Short::of_text(from.as_bytes())
                    && table.get(from, from.hash()).is_none()
                {
                    table.insert(from, symbol.get(), text_word(to.as_bytes()));
                }
            }
            table
        };
        let mapping = catalog.mapping();
        let types = std::iter::once(types_under(&[])).chain(mapping.iter().map(|m| types_under(&m.values))).collect();
        let replaced = mapping.iter().map(|m| replaced_by(&m.values)).collect();
        Self {
            slots: Slots::default(),
            words: Words::default(),
            added: Vec::new(),
            text_len: 0,
            deferred: Vec::with_capacity(FIELDS_MAX),
            types,
            type_symbols,
            replaced,
            hours: Hours::default(),
            user_id: catalog.well_known().user_id,
            catalog,
        }
    }

    /// What was read for a field of this line.
    #[inline(always)]
    pub fn slot(&self, field: FieldIx) -> &Span {
        self.slots.slot(field)
    }

    /// A line begins.
    #[inline(always)]
    pub fn begin_line(&mut self) {
        self.deferred.clear();
        self.words = Words::default();
    }

    /// Looks up the symbols of the line's short texts.
    #[inline(always)]
    pub fn resolve(&mut self, text: &[u8], cache: &mut SymbolCache) {
        let Self { catalog, slots, words, deferred, .. } = self;
        for deferred in deferred {
            let Deferred { short, hash, field, .. } = *deferred;
            let ((form, start, len), word) = match cache.short_at_hand(short, hash) {
                Some((symbol, word)) => ((Form::Symbol, symbol.get(), 0), word),
                None => meet(catalog, field, text, deferred.start as usize, short.len(), cache),
            };
            words.content.add(deferred.term, word);
            slots.put(field, form, start, len);
        }
    }

    /// A reject about a field.
    #[cold]
    #[inline(never)]
    pub fn about(&self, code: RejectCode, field: FieldIx) -> Box<Reject> {
        Reject::new(code, self.catalog.field(field).name.clone())
    }

    /// Reads a value, which begins at `at` and in the window, in its usual form into its slot; says where it ends; none where it has another or is wrong.
    #[inline(always)]
    pub fn usual(
        &mut self,
        text: &[u8],
        at: usize,
        w: &Window,
        target: &Target,
        cache: &mut SymbolCache,
        uuids: &mut Vec<[u8; 16]>,
    ) -> Option<usize> {
        let (form, start, len, word, end) = match target.usual {
            Usual::Symbol { len_max } => match usual::text(w)? {
                Text::Short(short) => return Some(self.defer(at, target, short, cache)),
                Text::Long => {
                    let end = usual::end_of_text(text, at + 1)?;
                    if end - at - 1 > len_max {
                        return None;
                    }
                    let ((form, start, len), word) = match cache.at_hand(&text[at + 1..end]) {
                        Some(symbol) => ((Form::Symbol, symbol.get(), 0), cache.word(symbol)),
                        None => meet(&self.catalog, target.field, text, at + 1, end - at - 1, cache),
                    };
                    (form, start, len, word, end + 1)
                }
            },
            Usual::MappedSymbol => {
                let Text::Short(short) = usual::text(w)? else { return None };
                match self.replaced.get(usize::from(target.mapping?))?.get(short, short.hash()) {
                    None => return Some(self.defer(at, target, short, cache)),
                    Some((symbol, word)) if symbol != Symbol::NULL.get() => {
                        (Form::Symbol, symbol, 0, word, at + short.len() + 2)
                    }
                    // Replaced by what the field may not hold.
                    Some(_) => return None,
                }
            }
            Usual::Text { len_max } => {
                let (form, start, len, word, end) = match usual::uuid(w) {
                    Some(uuid) => {
                        uuids.push(uuid);
                        (Form::Uuid, uuids.len() - 1, 0, uuid_word(&uuid), at + 38)
                    }
                    None => {
                        if w[0] != b'"' {
                            return None;
                        }
                        let (start, end) = (at + 1, usual::end_of_text(text, at + 1)?);
                        let len = end - start;
                        if len.wrapping_sub(1) >= len_max {
                            return None;
                        }
                        (Form::Text, start, len, text_word(&text[start..end]), end + 1)
                    }
                };
                if target.field == self.user_id {
                    self.words.user = word;
                }
                (form, start as u32, len as u32, word, end)
            }
            Usual::Uint { min, max } => {
                let (value, digits) = usual::uint(w.first_chunk()?)?;
                if value < min || value > max {
                    return None;
                }
                let (form, start, len) = wide(Form::Uint, value);
                (form, start, len, value, at + digits)
            }
            Usual::Time => {
                let (micros, len) = usual::time(w, &mut self.hours)?;
                let (form, start, half) = wide(Form::Time, micros as u64);
                (form, start, half, micros as u64, at + len + 2)
            }
            Usual::Epoch { unit_micros } => {
                let quote = usize::from(w[0] == b'"');
                let (value, digits) = usual::uint(w[quote..].first_chunk()?)?;
                if quote == 1 && w[1 + digits] != b'"' {
                    return None;
                }
                let micros = i64::try_from(value).ok()?.checked_mul(unit_micros).filter(|m| *m <= MICROS_MAX)?;
                let (form, start, len) = wide(Form::Time, micros as u64);
                (form, start, len, micros as u64, at + digits + 2 * quote)
            }
            Usual::EventType => {
                let Text::Short(name) = usual::text(w)? else { return None };
                let types = self.types.get(target.mapping.map_or(0, |ix| 1 + usize::from(ix)))?;
                let (symbol, word) = types.get(name, name.hash())?;
                (Form::Symbol, symbol, 0, word, at + name.len() + 2)
            }
            Usual::None => return None,
        };
        self.words.content.add(target.term, word);
        self.slots.put(target.field, form, start, len);
        Some(end)
    }

    /// Puts off looking up the symbol of a short text; says where its string ends.
    #[inline(always)]
    fn defer(&mut self, at: usize, target: &Target, short: Short, cache: &SymbolCache) -> usize {
        let hash = short.hash();
        cache.prefetch_short(hash);
        self.deferred.push(Deferred { short, hash, term: target.term, start: at as u32 + 1, field: target.field });
        at + short.len() + 2
    }

    /// Reads any value into its slot; false where it is null. The scanner's text ends with the line, `text` does not.
    #[inline(never)]
    pub fn with_care(
        &mut self,
        s: &mut Scanner<'_>,
        text: &[u8],
        target: &Target,
        projector: &mut Projector,
        uuids: &mut Vec<[u8; 16]>,
    ) -> Result<bool, Box<Reject>> {
        if !self.read_with_care(s, target, projector.cache(), uuids)? {
            return Ok(false);
        }
        let view = View { text, added: &self.added, uuids };
        projector.add_known(view, self.slots.slot(target.field), &mut self.words);
        Ok(true)
    }

    fn read_with_care(
        &mut self,
        s: &mut Scanner<'_>,
        target: &Target,
        cache: &mut SymbolCache,
        uuids: &mut Vec<[u8; 16]>,
    ) -> Result<bool, Box<Reject>> {
        let field = target.field;
        let start = s.at;
        let (form, start, len) = match (s.peek(), target.kind) {
            (Some(b'"'), FieldKind::Text { max_bytes }) => {
                s.at += 1;
                let text = s.string().map_err(from_json)?;
                self.text(s.text, text, target, max_bytes, cache, uuids)?
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
        self.slots.put(field, form, start, len);
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
        uuids: &mut Vec<[u8; 16]>,
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
            let known = match cache.at_hand(value) {
                None => cache.meet(dimension_bit(&self.catalog, target.field), value).0,
                known => known,
            };
            let Some(symbol) = known else {
                return Ok((Form::Text, (self.text_len + start) as u32, len as u32));
            };
            self.added.truncate(start);
            return Ok((Form::Symbol, symbol.get(), 0));
        }
        if let Some(uuid) = value.try_into().ok().and_then(parse_uuid) {
            uuids.push(uuid);
            self.added.truncate(start);
            return Ok((Form::Uuid, uuids.len() as u32 - 1, 0));
        }
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
        let Some(unit_micros) = unit_micros(self.time_format(target.mapping)) else {
            return Err(self.about(RejectCode::InvalidType, target.field));
        };
        let micros = value.checked_mul(i128::from(unit_micros)).and_then(|m| i64::try_from(m).ok());
        match micros {
            Some(micros) if (MICROS_MIN..=MICROS_MAX).contains(&micros) => Ok(wide(Form::Time, micros as u64)),
            _ => Err(self.about(RejectCode::InvalidTime, target.field)),
        }
    }
}

/// The dimension of a field as a bit.
fn dimension_bit(catalog: &Catalog, field: FieldIx) -> u64 {
    catalog.field(field).dimension.map_or(0, |dimension| 1 << dimension.index())
}

/// What becomes of a dimension's value that this thread has not met: a symbol, or text where none is made of it.
#[cold]
#[inline(never)]
fn meet(
    catalog: &Catalog,
    field: FieldIx,
    text: &[u8],
    start: usize,
    len: usize,
    cache: &mut SymbolCache,
) -> (Halves, u64) {
    let (known, word) = cache.meet(dimension_bit(catalog, field), &text[start..start + len]);
    let halves = match known {
        Some(symbol) => (Form::Symbol, symbol.get(), 0),
        None => (Form::Text, start as u32, len as u32),
    };
    (halves, word)
}

fn json(start: usize, end: usize) -> Halves {
    (Form::Json, start as u32, (end - start) as u32)
}
