//! What the keys of a line mean.
//!
//! Senders keep to an order: each key is compared with the one that stood at its place in the line before, and looked
//! up only where it differs. Invariant: the order decides how fast a key is found, never what it means.

use hashbrown::HashMap;

use super::scan::{JsonError, Scanner, Str, unescape};
use crate::catalog::{Catalog, FieldDef, FieldIx, FieldKind};
use crate::short::{Short, ShortTable};

/// How many places of a line are remembered.
const PLACES: usize = 128;
/// The bytes that are compared at once.
const LOAD: usize = 16;
/// Where no key is remembered.
const NONE: u16 = u16::MAX;

/// How a field's value usually stands: without escapes, in printable ASCII, in the form that most senders write.
#[derive(Clone, Copy, Debug)]
pub(super) enum Usual {
    /// Text of a dimension, up to so many bytes.
    Symbol { len_max: usize },
    /// Other text.
    Text { len_max: usize },
    /// An integer from `min` to `max`.
    Uint { min: u64, max: u64 },
    /// `2026-11-21T08:05:16.123Z`, or without the fraction.
    Time,
    /// The name of an event type.
    EventType,
    /// Rarely, or under a mapping.
    None,
}

impl Usual {
    fn of(field: &FieldDef, mapping: Option<u16>) -> Self {
        match field.kind {
            _ if mapping.is_some() => Self::None,
            // Short texts and UUIDs are not measured.
            FieldKind::Text { max_bytes: 0..36 } => Self::None,
            FieldKind::Text { max_bytes } if field.dimension.is_some() => Self::Symbol { len_max: max_bytes },
            FieldKind::Text { max_bytes } => Self::Text { len_max: max_bytes },
            FieldKind::Uint { max } => Self::Uint { min: 0, max },
            FieldKind::SchemaVersion => Self::Uint { min: 1, max: 1 },
            FieldKind::Time => Self::Time,
            FieldKind::EventType => Self::EventType,
            _ => Self::None,
        }
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
    /// The mapping by which the key came.
    pub mapping: Option<u16>,
    /// Whether a dimension is taken from it.
    pub dimension: bool,
}

/// A key that the catalog knows.
struct Key {
    /// Its name in quotes, as the number that a 16-byte load makes of it. A longer one is never expected.
    quoted: u128,
    /// The bytes of the load that belong to it.
    mask: u128,
    quoted_len: usize,
    target: Target,
}

/// The keys that a catalog knows, and where the last line had them.
pub(super) struct Keys {
    known: Vec<Key>,
    short: ShortTable,
    /// Names that are longer than 16 bytes.
    long: HashMap<Vec<u8>, u16>,
    /// By place in the line, the key that stood there last.
    expected: [u16; PLACES],
}

/// A key that was looked up.
pub(super) enum Found<'a> {
    /// It names a field.
    Field(&'a Target),
    /// The catalog does not know it.
    Unknown(Str),
}

impl Keys {
    pub fn new(catalog: &Catalog) -> Self {
        let mut keys =
            Self { known: Vec::new(), short: ShortTable::new(128), long: HashMap::new(), expected: [NONE; PLACES] };
        // A foreign name goes before a field's own.
        for (i, m) in catalog.mapping().iter().enumerate() {
            if let Some(field) = catalog.field_named(&m.to) {
                keys.add(catalog, &m.from, field, Some(i as u16));
            }
        }
        for (i, field) in catalog.fields().iter().enumerate() {
            if field.kind != FieldKind::Internal {
                keys.add(catalog, &field.name, FieldIx::new(i), None);
            }
        }
        keys
    }

    /// Adds a key, unless its name is taken.
    fn add(&mut self, catalog: &Catalog, name: &str, field: FieldIx, mapping: Option<u16>) {
        if self.find(name.as_bytes(), 0, name.len()).is_some() {
            return;
        }
        let number = self.known.len() as u16;
        match Short::of(name.as_bytes(), 0, name.len()) {
            Some(short) => self.short.insert(short, u32::from(number)),
            None => {
                self.long.insert(name.as_bytes().to_vec(), number);
            }
        }
        let quoted_len = name.len() + 2;
        let (mut quoted, mut mask) = ([0; 16], [0; 16]);
        if quoted_len <= LOAD {
            quoted[..quoted_len].copy_from_slice(format!("\"{name}\"").as_bytes());
            mask[..quoted_len].fill(0xFF);
        }
        let def = catalog.field(field);
        self.known.push(Key {
            quoted: u128::from_le_bytes(quoted),
            mask: u128::from_le_bytes(mask),
            quoted_len,
            target: Target {
                field,
                bit: 1 << field.index(),
                kind: def.kind,
                usual: Usual::of(def, mapping),
                mapping,
                dimension: def.dimension.is_some(),
            },
        });
    }

    /// The number of the key `text[start..end]`.
    #[inline(always)]
    fn find(&self, text: &[u8], start: usize, end: usize) -> Option<u16> {
        match Short::of(text, start, end) {
            Some(short) => self.short.get(short).map(|number| number as u16),
            None => self.long.get(&text[start..end]).copied(),
        }
    }

    /// Eats the key that stood at this place last, if it stands there again.
    #[inline(always)]
    pub fn expected(&self, s: &mut Scanner<'_>, place: usize) -> Option<&Target> {
        let key = self.known.get(usize::from(*self.expected.get(place)?))?;
        let load = s.text.get(s.at..).and_then(|rest| rest.first_chunk::<16>())?;
        if (u128::from_le_bytes(*load) ^ key.quoted) & key.mask != 0 {
            return None;
        }
        s.at += key.quoted_len;
        Some(&key.target)
    }

    /// Finds any key and where it ends, and expects it at this place from now on.
    #[inline(never)]
    pub fn look_up(&mut self, mut s: Scanner<'_>, place: usize) -> Result<(Found<'_>, usize), JsonError> {
        s.expect(b'"')?;
        let key = s.string()?;
        let number = if key.escaped {
            let name = unescape(s.text, key);
            self.find(&name, 0, name.len())
        } else {
            self.find(s.text, key.start, key.end)
        };
        let Some(number) = number else { return Ok((Found::Unknown(key), s.at)) };
        let found = &self.known[usize::from(number)];
        if found.quoted_len <= LOAD
            && let Some(expected) = self.expected.get_mut(place)
        {
            *expected = number;
        }
        Ok((Found::Field(&found.target), s.at))
    }
}
