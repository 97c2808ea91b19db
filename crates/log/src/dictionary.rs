//! What a segment's records refer to by number: strings, and shapes (everything about a record but its values).
//!
//! Invariant: entries are numbered from 1 in the order in which a segment's frames bring them; numbers never leave the
//! segment. Names of fields are kept, never their places in a catalog. Not here: the values (encode, decode).

use adsum_model::catalog::{BillableType, Catalog, FieldIx};
use adsum_model::record::{Form, RecordKind, Stamp, Stream};
use adsum_model::symbol::Symbol;

use crate::varint::{Cursor, Writer};

/// The most strings of a segment's dictionary; what comes later stands in the records.
pub(crate) const STRINGS_MAX: u32 = 1 << 20;
/// The longest string that enters a dictionary, in bytes.
pub(crate) const STRING_BYTES_MAX: usize = 256;
/// The most shapes of a segment's dictionary.
pub(crate) const SHAPES_MAX: usize = 4096;
/// The most bytes of a segment's dictionary: recovery may have to write it again into one frame.
pub(crate) const DICTIONARY_BYTES_MAX: usize = 16 << 20;

/// How a value is written. The numbers are part of format v1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Encoding {
    /// A symbol as the number of a string; 0 is null.
    Dictionary = 1,
    /// A symbol as its text, where the dictionary has no room for it.
    Inline = 2,
    /// Text.
    Text = 3,
    /// 16 bytes.
    Uuid = 4,
    /// An integer from 0.
    Uint = 5,
    /// A negative integer v, as -1 - v.
    Int = 6,
    /// A moment on a full millisecond, in ms from the frame's time base.
    Millis = 7,
    /// A moment in microseconds from the frame's time base.
    Micros = 8,
    /// JSON text.
    Json = 9,
    /// Bytes.
    Bytes = 10,
}

impl Encoding {
    const ALL: [Self; 10] = [
        Self::Dictionary,
        Self::Inline,
        Self::Text,
        Self::Uuid,
        Self::Uint,
        Self::Int,
        Self::Millis,
        Self::Micros,
        Self::Json,
        Self::Bytes,
    ];

    /// The form of the values that it writes.
    #[inline(always)]
    pub(crate) fn form(self) -> Form {
        match self {
            Self::Dictionary | Self::Inline => Form::Symbol,
            Self::Text => Form::Text,
            Self::Uuid => Form::Uuid,
            Self::Uint => Form::Uint,
            Self::Int => Form::Int,
            Self::Millis | Self::Micros => Form::Time,
            Self::Json => Form::Json,
            Self::Bytes => Form::Bytes,
        }
    }
}

/// How a record's resolved campaign follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum CampaignForm {
    /// It has none.
    #[default]
    None = 0,
    /// As the number of a string.
    Dictionary = 1,
    /// As its text.
    Inline = 2,
}

/// Everything about a record but its values, as the writer sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub kind: RecordKind,
    pub source: Symbol,
    pub stream: Stream,
    pub billable: Option<BillableType>,
    pub currency: Symbol,
    pub campaign: CampaignForm,
    pub folded: u64,
    pub fields: Vec<(FieldIx, Encoding)>,
}

const SOURCE_FLAG: u8 = 1;
const CURRENCY_FLAG: u8 = 2;
const CAMPAIGN_SHIFT: u8 = 2;

impl Shape {
    /// A shape to fill.
    pub(crate) fn empty() -> Self {
        Self {
            kind: RecordKind::Tick,
            source: Symbol::NULL,
            stream: Stream::Live,
            billable: None,
            currency: Symbol::NULL,
            campaign: CampaignForm::None,
            folded: 0,
            fields: Vec::new(),
        }
    }

    /// As an entry of the dictionary.
    pub(crate) fn encode(&self, catalog: &Catalog, out: &mut Writer) {
        let mut flags = (self.campaign as u8) << CAMPAIGN_SHIFT;
        if !self.source.is_null() {
            flags |= SOURCE_FLAG;
        }
        if !self.currency.is_null() {
            flags |= CURRENCY_FLAG;
        }
        out.put(&[self.kind as u8, self.stream as u8, self.billable.map_or(0, |b| b as u8), flags]);
        catalog.symbols().read(|names| {
            for symbol in [self.source, self.currency] {
                if !symbol.is_null() {
                    out.put_text(names.bytes(symbol));
                }
            }
        });
        let folded = || catalog.dimensions().iter().enumerate().filter(|(i, _)| self.folded >> i & 1 == 1);
        out.put_varint(folded().count() as u64);
        for (_, dimension) in folded() {
            out.put_text(dimension.name.as_bytes());
        }
        out.put_varint(self.fields.len() as u64);
        for (field, encoding) in &self.fields {
            out.put_text(catalog.field(*field).name.as_bytes());
            out.put(&[*encoding as u8]);
        }
    }
}

/// A shape as a reader sees it, under its own catalog.
#[derive(Clone, Debug)]
pub(crate) struct ReadShape {
    pub kind: RecordKind,
    pub source: Symbol,
    /// Without the campaign, which each record has its own of.
    pub stamp: Stamp,
    pub campaign: CampaignForm,
    /// In the order of the values.
    pub fields: Vec<(FieldIx, Encoding)>,
    /// Whether every field is known and they ascend; otherwise `names` tells what to do.
    pub plain: bool,
    /// Name of each field that the catalog does not know, else `None`; empty where all are known.
    pub unknown: Vec<Option<String>>,
}

impl ReadShape {
    /// From an entry of the dictionary; `None` where it is malformed.
    pub(crate) fn decode(entry: &[u8], catalog: &Catalog) -> Option<Self> {
        let mut cursor = Cursor::new(entry);
        let kind = RecordKind::from_code(cursor.byte()?)?;
        let stream = match cursor.byte()? {
            0 => Stream::Live,
            1 => Stream::Import,
            _ => return None,
        };
        let billable = match cursor.byte()? {
            0 => None,
            code => Some(BillableType::ALL.into_iter().find(|b| *b as u8 == code)?),
        };
        let flags = cursor.byte()?;
        let campaign = match flags >> CAMPAIGN_SHIFT {
            0 => CampaignForm::None,
            1 => CampaignForm::Dictionary,
            2 => CampaignForm::Inline,
            _ => return None,
        };
        let mut symbol = |flag: u8| match flags & flag {
            0 => Some(Symbol::NULL),
            _ => cursor.utf8().map(|text| catalog.symbols().intern(text.as_bytes())),
        };
        let (source, currency) = (symbol(SOURCE_FLAG)?, symbol(CURRENCY_FLAG)?);
        let mut folded = 0;
        for _ in 0..cursor.count()? {
            // A dimension that the catalog has no more has no row to fold.
            if let Some(dimension) = catalog.dimension_named(cursor.utf8()?) {
                folded |= 1 << dimension.index();
            }
        }
        let (mut fields, mut unknown) = (Vec::new(), Vec::new());
        for _ in 0..cursor.count()? {
            let name = cursor.utf8()?;
            let code = cursor.byte()?;
            let encoding = Encoding::ALL.into_iter().find(|e| *e as u8 == code)?;
            let known = catalog.field_named(name);
            fields.push((known.unwrap_or(catalog.well_known().extra), encoding));
            unknown.push(if known.is_some() { None } else { Some(name.to_owned()) });
        }
        if !cursor.is_at_end() || fields.len() > usize::from(u16::MAX) {
            return None;
        }
        let plain = unknown.iter().all(Option::is_none) && fields.is_sorted_by(|a, b| a.0 < b.0);
        let stamp = Stamp { stream, billable, currency, campaign: Symbol::NULL, folded };
        Some(Self { kind, source, stamp, campaign, fields, plain, unknown })
    }
}

/// A segment's dictionary as a reader has it so far.
#[derive(Clone, Debug)]
pub(crate) struct Dictionary {
    /// By number; 0 is null.
    pub strings: Vec<Symbol>,
    /// By number less one.
    pub shapes: Vec<ReadShape>,
}

impl Default for Dictionary {
    fn default() -> Self {
        Self { strings: vec![Symbol::NULL], shapes: Vec::new() }
    }
}

impl Dictionary {
    /// Begins a segment.
    pub(crate) fn clear(&mut self) {
        self.strings.truncate(1);
        self.shapes.clear();
    }

    /// Adds the entries of one frame; `None` where they are malformed.
    pub(crate) fn add(&mut self, payload: &[u8], catalog: &Catalog) -> Option<()> {
        if payload.is_empty() {
            return Some(());
        }
        let mut cursor = Cursor::new(payload);
        for _ in 0..cursor.count()? {
            self.strings.push(catalog.symbols().intern(cursor.utf8()?.as_bytes()));
        }
        for _ in 0..cursor.count()? {
            self.shapes.push(ReadShape::decode(cursor.text()?, catalog)?);
        }
        if cursor.is_at_end() { Some(()) } else { None }
    }
}

/// Several frames' dictionary sections as one, for recovery: it moves a frame away from those before it.
#[derive(Default)]
pub(crate) struct Gathered {
    strings: Writer,
    string_count: u64,
    shapes: Writer,
    shape_count: u64,
}

impl Gathered {
    /// Adds the entries of one frame; `None` where they are malformed.
    pub(crate) fn add(&mut self, payload: &[u8]) -> Option<()> {
        if payload.is_empty() {
            return Some(());
        }
        let mut cursor = Cursor::new(payload);
        for (out, count) in [(&mut self.strings, &mut self.string_count), (&mut self.shapes, &mut self.shape_count)] {
            for _ in 0..cursor.count()? {
                out.put_text(cursor.text()?);
                *count += 1;
            }
        }
        if cursor.is_at_end() { Some(()) } else { None }
    }

    /// The payload of one section with all of them; empty where there are none.
    pub(crate) fn payload(&self) -> Vec<u8> {
        if self.string_count + self.shape_count == 0 {
            return Vec::new();
        }
        let mut out = Writer::default();
        for (entries, count) in [(&self.strings, self.string_count), (&self.shapes, self.shape_count)] {
            out.put_varint(count);
            out.put(entries.bytes());
        }
        out.bytes().to_vec()
    }
}
