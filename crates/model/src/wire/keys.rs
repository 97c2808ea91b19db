//! What the keys of a line mean.
//!
//! Invariant: a key means one field, or none that the catalog knows. Not here: which order they come in, which is the
//! shape's, and values.

use hashbrown::HashMap;

use super::decode::no_object;
use super::fields::from_json;
use super::reject::Reject;
use super::scan::{Scanner, Str, unescape};
use crate::catalog::{Catalog, FieldDef, FieldIx, FieldKind, TimeFormat};
use crate::hash::ContentTerm;
use crate::rows::bit;
use crate::short::{Short, ShortTable};

/// How a field's value usually stands: without escapes, in printable ASCII, in the form that most senders write.
#[derive(Clone, Copy, Debug)]
pub(super) enum Usual {
    /// Text of a dimension, up to so many bytes.
    Symbol { len_max: usize },
    /// Text of a dimension, some of whose values a mapping replaces.
    MappedSymbol,
    /// Other text.
    Text { len_max: usize },
    /// An integer from `min` to `max`.
    Uint { min: u64, max: u64 },
    /// `2026-11-21T08:05:16.123Z`, or without the fraction.
    Time,
    /// So many microseconds since 1970, a number or its text.
    Epoch { unit_micros: i64 },
    /// The name of an event type, or what a mapping makes one.
    EventType,
    /// Rarely.
    None,
}

impl Usual {
    fn of(field: &FieldDef, replaces: bool, time: TimeFormat) -> Self {
        match field.kind {
            // Short texts and UUIDs are not measured.
            FieldKind::Text { max_bytes: 0..36 } => Self::None,
            FieldKind::Text { .. } if field.dimension.is_some() && replaces => Self::MappedSymbol,
            FieldKind::Text { max_bytes } if field.dimension.is_some() => Self::Symbol { len_max: max_bytes },
            FieldKind::Text { .. } if replaces => Self::None,
            FieldKind::Text { max_bytes } => Self::Text { len_max: max_bytes },
            FieldKind::Uint { max } => Self::Uint { min: 0, max },
            FieldKind::SchemaVersion => Self::Uint { min: 1, max: 1 },
            FieldKind::Time => match unit_micros(time) {
                None => Self::Time,
                Some(unit_micros) => Self::Epoch { unit_micros },
            },
            FieldKind::EventType => Self::EventType,
            _ => Self::None,
        }
    }
}

/// The microseconds of a time format's unit; none of text.
pub(super) fn unit_micros(format: TimeFormat) -> Option<i64> {
    match format {
        TimeFormat::Rfc3339 => None,
        TimeFormat::EpochSeconds => Some(1_000_000),
        TimeFormat::EpochMillis => Some(1_000),
        TimeFormat::EpochMicros => Some(1),
    }
}

/// A field as a key names it: all that reading its value asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub field: FieldIx,
    /// The field's place as a bit.
    pub bit: u128,
    pub kind: FieldKind,
    pub usual: Usual,
    /// How a value of the usual form enters the content hash.
    pub term: ContentTerm,
    /// The mapping by which the key came.
    pub mapping: Option<u16>,
    /// Whether a dimension is taken from it.
    pub dimension: bool,
}

/// The number of a key that the catalog knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyIx(u16);

/// What stands behind a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A key of the catalog's.
    Known(KeyIx),
    /// One that the catalog does not know.
    Unknown(Str),
    /// The end of the object.
    End,
}

/// The keys that a catalog knows.
pub(super) struct Keys {
    targets: Vec<Target>,
    short: ShortTable,
    /// Names that are longer than 16 bytes.
    long: HashMap<Vec<u8>, u16>,
}

impl Keys {
    /// For a catalog whose fields enter content hashes so.
    pub fn new(catalog: &Catalog, term: impl Fn(FieldIx, Usual) -> ContentTerm) -> Self {
        let mut keys = Self { targets: Vec::new(), short: ShortTable::new(128), long: HashMap::new() };
        // A foreign name goes before a field's own.
        for (i, m) in catalog.mapping().iter().enumerate() {
            if let Some(field) = catalog.field_named(&m.to) {
                let usual = Usual::of(catalog.field(field), !m.values.is_empty(), m.time);
                keys.add(catalog, &m.from, field, usual, Some(i as u16), term(field, usual));
            }
        }
        for (i, def) in catalog.fields().iter().enumerate() {
            if def.kind != FieldKind::Internal {
                let (field, usual) = (FieldIx::new(i), Usual::of(def, false, TimeFormat::Rfc3339));
                keys.add(catalog, &def.name, field, usual, None, term(field, usual));
            }
        }
        keys
    }

    /// Adds a key, unless its name is taken.
    fn add(
        &mut self,
        catalog: &Catalog,
        name: &str,
        field: FieldIx,
        usual: Usual,
        mapping: Option<u16>,
        term: ContentTerm,
    ) {
        if self.find(name.as_bytes(), 0, name.len()).is_some() {
            return;
        }
        let number = self.targets.len() as u16;
        match Short::of(name.as_bytes(), 0, name.len()) {
            Some(short) => self.short.insert(short, u32::from(number), 0),
            None => {
                self.long.insert(name.as_bytes().to_vec(), number);
            }
        }
        let def = catalog.field(field);
        let dimension = def.dimension.is_some();
        self.targets.push(Target { field, bit: bit(field), kind: def.kind, usual, term, mapping, dimension });
    }

    /// What a key names.
    #[inline(always)]
    pub fn target(&self, key: KeyIx) -> &Target {
        &self.targets[usize::from(key.0)]
    }

    /// The number of the key `text[start..end]`.
    #[inline(always)]
    fn find(&self, text: &[u8], start: usize, end: usize) -> Option<u16> {
        match Short::of(text, start, end) {
            Some(short) => self.short.get(short, short.hash()).map(|(number, _)| number as u16),
            None => self.long.get(&text[start..end]).copied(),
        }
    }

    /// Reads what stands behind a value, or at the line's beginning, and moves the scanner to the next value.
    #[inline(always)]
    pub fn read(&self, s: &mut Scanner<'_>, first: bool) -> Result<Step, Box<Reject>> {
        s.skip_space();
        if first {
            if !s.eat(b'{') {
                return Err(no_object(*s));
            }
            s.skip_space();
        }
        if s.eat(b'}') {
            return Ok(Step::End);
        }
        if !first {
            s.expect(b',').map_err(from_json)?;
            s.skip_space();
        }
        s.expect(b'"').map_err(from_json)?;
        let key = s.string().map_err(from_json)?;
        s.skip_space();
        s.expect(b':').map_err(from_json)?;
        s.skip_space();
        let number = if key.escaped {
            let name = unescape(s.text, key);
            self.find(&name, 0, name.len())
        } else {
            self.find(s.text, key.start, key.end)
        };
        Ok(number.map_or(Step::Unknown(key), |number| Step::Known(KeyIx(number))))
    }
}
