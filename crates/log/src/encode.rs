//! Records to bytes: one frame at a time, against the dictionary of the segment that it goes to.
//!
//! Invariant: a frame carries every dictionary entry that it is the first to use; a frame that did not become durable
//! takes its entries back ([`Encoder::rollback`]). Not here: writing the bytes.
//!
//! Most records have the shape of the one before, so a record is first written as if it had, and again if that fails.

use std::sync::Arc;

use adsum_model::catalog::Catalog;
use adsum_model::prefetch::fetch;
use adsum_model::record::{Form, RecordBatch, RecordHead, Span};
use adsum_model::symbol::Symbol;
use hashbrown::HashMap;

use crate::LogError;
use crate::dictionary::{
    CampaignForm, DICTIONARY_BYTES_MAX, Encoding, SHAPES_MAX, STRING_BYTES_MAX, STRINGS_MAX, Shape,
};
use crate::layout::{FRAME_HEADER_BYTES, FrameHeader, section_crc};
use crate::varint::{VARINT_BYTES_MAX, Writer, varint, zigzag};

/// From this size on a block is closed and the next one begins, in bytes.
const BLOCK_BYTES: usize = 256 << 10;
/// Room for one value that is no text, and for what precedes a text.
const VALUE_BYTES_MAX: usize = 16;
/// Room for what precedes the values: shape, receivedAt, campaign.
const HEAD_BYTES_MAX: usize = 3 * VARINT_BYTES_MAX;
/// How many shapes are remembered: impressions and the few clicks between them need no look-up.
const RECENT: usize = 3;
/// Room for the texts of a usual record.
const TEXTS_BYTES: usize = 16 << 10;
/// How many records ahead of its turn the numbers of a record's symbols are asked for.
const PREFETCH_AHEAD: usize = 4;

/// The numbers of symbols in the current segment's dictionary: an array by symbol, stamped with the segment, so that
/// a new segment costs nothing and a look-up hashes nothing. An entry has 32 bits, for the look-ups of a frame miss
/// the cache and are what encoding takes longest for.
struct StringIds {
    stamped: Vec<u32>,
    /// From 1 to [`GENERATION_MAX`]; 0 stamps entries of no segment.
    generation: u32,
    count: u32,
}

/// Bits of an entry that hold the number.
const ID_BITS: u32 = 21;
const GENERATION_MAX: u32 = (1 << (32 - ID_BITS)) - 1;

const _: () = assert!(STRINGS_MAX < 1 << ID_BITS);

impl StringIds {
    #[inline(always)]
    fn get(&self, symbol: Symbol) -> Option<u32> {
        match self.stamped.get(symbol.index()) {
            Some(stamped) if stamped >> ID_BITS == self.generation => Some(stamped & ((1 << ID_BITS) - 1)),
            _ => None,
        }
    }

    /// Asks the processor for the numbers of a record's symbols, and for its texts.
    #[inline(always)]
    fn prefetch(&self, batch: &RecordBatch, head: &RecordHead) {
        for span in batch.fields(head) {
            match span.form {
                Form::Symbol => self.stamped.get(span.as_symbol().index()).map_or((), fetch),
                Form::Text => batch.arena.get(span.start as usize).map_or((), fetch),
                _ => {}
            }
        }
    }

    fn set(&mut self, symbol: Symbol, id: u32) {
        if self.stamped.len() <= symbol.index() {
            self.stamped.resize((symbol.index() + 1).next_power_of_two(), 0);
        }
        self.stamped[symbol.index()] = (self.generation << ID_BITS) | id;
    }

    fn forget(&mut self, symbol: Symbol) {
        self.stamped[symbol.index()] = 0;
    }

    fn clear(&mut self) {
        if self.generation == GENERATION_MAX {
            self.stamped.fill(0);
            self.generation = 0;
        }
        self.generation += 1;
        self.count = 0;
        self.set(Symbol::NULL, 0);
    }
}

/// Writes the frames of one segment after another.
pub(crate) struct Encoder {
    catalog: Arc<Catalog>,
    ids: StringIds,
    shapes: Vec<Shape>,
    shape_ids: HashMap<Shape, u32>,
    dictionary_bytes: usize,
    /// The numbers less one of the shapes that the last records had, the last one first.
    recent: [usize; RECENT],
    scratch: Shape,
    out: Writer,
    new: NewEntries,
    begun: Option<Begun>,
}

/// The frame at hand.
struct Begun {
    header: FrameHeader,
    binding: u32,
    bases: Bases,
    /// Whether a time was met, which the bases are of.
    timed: bool,
    /// Where the open block begins.
    block: Option<usize>,
    records: u64,
}

/// The entries that the current frame is the first to use.
#[derive(Default)]
struct NewEntries {
    symbols: Vec<Symbol>,
    strings: Writer,
    shapes: Writer,
    shape_count: usize,
    bytes: usize,
}

/// What a frame's values are relative to.
#[derive(Clone, Copy)]
struct Bases {
    appended_at: i64,
    time_millis: i64,
    time_micros: i64,
}

impl Encoder {
    /// An encoder without a segment; [`Self::begin_segment`] comes first.
    pub(crate) fn new(catalog: Arc<Catalog>) -> Self {
        let mut ids = StringIds { stamped: Vec::new(), generation: 0, count: 0 };
        ids.clear();
        Self {
            catalog,
            ids,
            shapes: Vec::new(),
            shape_ids: HashMap::new(),
            dictionary_bytes: 0,
            recent: [0; RECENT],
            scratch: Shape::empty(),
            out: Writer::default(),
            new: NewEntries::default(),
            begun: None,
        }
    }

    /// Forgets the dictionary: the next frame is the first of a segment.
    pub(crate) fn begin_segment(&mut self) {
        self.ids.clear();
        self.shapes.clear();
        self.shape_ids.clear();
        self.dictionary_bytes = 0;
        self.recent = [0; RECENT];
        self.forget_new();
    }

    /// Begins a frame; `header` has everything but the time base, the count and the lengths. What was begun before and
    /// not ended is forgotten.
    pub(crate) fn begin(&mut self, header: FrameHeader) {
        self.rollback();
        self.out.clear();
        self.out.put(&[0; FRAME_HEADER_BYTES]);
        let bases = Bases { appended_at: header.appended_at.micros(), time_millis: 0, time_micros: 0 };
        self.begun = Some(Begun { binding: header.binding(), header, bases, timed: false, block: None, records: 0 });
    }

    /// Adds records to the frame.
    pub(crate) fn push(&mut self, batch: &RecordBatch, bytes_max: u64) -> Result<(), LogError> {
        let mut begun = self.begun.take().expect("a frame was begun");
        // Times are relative to the first one of the frame.
        if !begun.timed
            && let Some(time) = batch.spans.iter().find(|s| s.form == Form::Time)
        {
            begun.timed = true;
            begun.bases.time_millis = time.as_wide() as i64 / 1000;
            begun.bases.time_micros = begun.bases.time_millis * 1000;
        }
        for (i, head) in batch.heads.iter().enumerate() {
            if let Some(ahead) = batch.heads.get(i + PREFETCH_AHEAD) {
                self.ids.prefetch(batch, ahead);
            }
            let start = *begun.block.get_or_insert_with(|| begin_block(&mut self.out));
            self.record(batch, head, begun.bases);
            if self.out.len() - start >= BLOCK_BYTES {
                end_block(&mut self.out, start, begun.binding);
                begun.block = None;
                self.check_size(bytes_max)?;
            }
        }
        begun.records += batch.heads.len() as u64;
        self.begun = Some(begun);
        Ok(())
    }

    /// Ends the frame and returns its bytes.
    pub(crate) fn end(&mut self, bytes_max: u64) -> Result<(FrameHeader, &[u8]), LogError> {
        let Begun { mut header, bases, binding, block, records, .. } = self.begun.take().expect("a frame was begun");
        if let Some(start) = block {
            end_block(&mut self.out, start, binding);
        }
        let blocks_end = self.out.len();
        self.end_dictionary(binding);
        self.check_size(bytes_max)?;
        let too_large = LogError::TooLarge { bytes: self.out.len() as u64, bytes_max };
        let Ok(records) = u32::try_from(records) else { return Err(too_large) };
        header.time_base_micros = bases.time_micros;
        header.records = records;
        header.blocks_bytes = (blocks_end - FRAME_HEADER_BYTES) as u32;
        header.dictionary_bytes = (self.out.len() - blocks_end) as u32;
        self.out.bytes_mut()[..FRAME_HEADER_BYTES].copy_from_slice(&header.encode());
        Ok((header, self.out.bytes()))
    }

    fn check_size(&self, bytes_max: u64) -> Result<(), LogError> {
        let bytes = self.out.len() as u64;
        if bytes > bytes_max { Err(LogError::TooLarge { bytes, bytes_max }) } else { Ok(()) }
    }

    /// The frame is durable, and its dictionary entries with it.
    pub(crate) fn commit(&mut self) {
        self.forget_new();
    }

    /// The frame is not in the segment: its dictionary entries are taken back.
    pub(crate) fn rollback(&mut self) {
        for symbol in &self.new.symbols {
            self.ids.forget(*symbol);
        }
        self.ids.count -= self.new.symbols.len() as u32;
        for shape in self.shapes.drain(self.shapes.len() - self.new.shape_count..) {
            self.shape_ids.remove(&shape);
        }
        self.dictionary_bytes -= self.new.bytes;
        self.recent = [0; RECENT];
        self.begun = None;
        self.forget_new();
    }

    fn forget_new(&mut self) {
        self.new.symbols.clear();
        self.new.strings.clear();
        self.new.shapes.clear();
        self.new.shape_count = 0;
        self.new.bytes = 0;
    }

    fn end_dictionary(&mut self, binding: u32) {
        if self.new.symbols.is_empty() && self.new.shape_count == 0 {
            return;
        }
        let start = self.out.len();
        self.out.put_varint(self.new.symbols.len() as u64);
        self.out.put(self.new.strings.bytes());
        self.out.put_varint(self.new.shape_count as u64);
        self.out.put(self.new.shapes.bytes());
        let crc = section_crc(binding, &self.out.bytes()[start..]);
        self.out.put(&crc.to_le_bytes());
    }

    #[inline]
    fn record(&mut self, batch: &RecordBatch, head: &RecordHead, bases: Bases) {
        for i in 0..RECENT {
            let recent = self.recent[i];
            let Some(shape) = self.shapes.get(recent).filter(|shape| has_head(shape, head)) else { continue };
            if let Some(len) = usual_record(&mut self.out, &self.ids, (recent, shape), batch, head, bases) {
                self.out.advance(len);
                self.recent.copy_within(..i, 1);
                self.recent[0] = recent;
                return;
            }
        }
        self.record_of_other_shape(batch, head, bases);
    }

    #[inline(never)]
    fn record_of_other_shape(&mut self, batch: &RecordBatch, head: &RecordHead, bases: Bases) {
        let mut shape = std::mem::replace(&mut self.scratch, Shape::empty());
        self.describe(&mut shape, batch, head);
        let id = self.shape_ids.get(&shape).copied().or_else(|| self.add_shape(&shape));
        match id {
            Some(id) => {
                self.recent.copy_within(..RECENT - 1, 1);
                self.recent[0] = id as usize - 1;
                self.out.put_varint(u64::from(id));
            }
            None => {
                // The dictionary has no room: the shape stands in the record itself.
                let mut entry = Writer::default();
                shape.encode(&self.catalog, &mut entry);
                self.out.put_varint(0);
                self.out.put_text(entry.bytes());
            }
        }
        self.values(&shape, batch, head, bases);
        self.scratch = shape;
    }

    /// Finds the encoding of each value; new strings enter the dictionary.
    fn describe(&mut self, shape: &mut Shape, batch: &RecordBatch, head: &RecordHead) {
        shape.kind = head.kind;
        shape.source = head.source;
        shape.stream = head.stamp.stream;
        shape.billable = head.stamp.billable;
        shape.currency = head.stamp.currency;
        shape.folded = head.stamp.folded;
        shape.campaign = match head.stamp.campaign {
            campaign if campaign.is_null() => CampaignForm::None,
            campaign if self.string_id(campaign).is_some() => CampaignForm::Dictionary,
            _ => CampaignForm::Inline,
        };
        shape.fields.clear();
        for span in batch.fields(head) {
            let encoding = match span.form {
                Form::Symbol if self.string_id(span.as_symbol()).is_some() => Encoding::Dictionary,
                Form::Symbol => Encoding::Inline,
                Form::Text => Encoding::Text,
                Form::Uuid => Encoding::Uuid,
                Form::Uint => Encoding::Uint,
                Form::Int => Encoding::Int,
                Form::Time if (span.as_wide() as i64) % 1000 == 0 => Encoding::Millis,
                Form::Time => Encoding::Micros,
                Form::Json => Encoding::Json,
                Form::Bytes => Encoding::Bytes,
            };
            shape.fields.push((span.field, encoding));
        }
    }

    /// The number of a symbol's string, given now if there is room.
    fn string_id(&mut self, symbol: Symbol) -> Option<u32> {
        if let Some(id) = self.ids.get(symbol) {
            return Some(id);
        }
        let (ids, new, dictionary_bytes) = (&mut self.ids, &mut self.new, &mut self.dictionary_bytes);
        self.catalog.symbols().read(|names| {
            let text = names.bytes(symbol);
            let bytes = text.len() + 2;
            if text.len() > STRING_BYTES_MAX
                || ids.count >= STRINGS_MAX
                || *dictionary_bytes + bytes > DICTIONARY_BYTES_MAX
            {
                return None;
            }
            new.strings.put_text(text);
            new.symbols.push(symbol);
            new.bytes += bytes;
            *dictionary_bytes += bytes;
            ids.count += 1;
            let id = ids.count;
            ids.set(symbol, id);
            Some(id)
        })
    }

    fn add_shape(&mut self, shape: &Shape) -> Option<u32> {
        let mut entry = Writer::default();
        shape.encode(&self.catalog, &mut entry);
        let bytes = entry.len() + 3;
        if self.shapes.len() >= SHAPES_MAX || self.dictionary_bytes + bytes > DICTIONARY_BYTES_MAX {
            return None;
        }
        self.new.shapes.put_text(entry.bytes());
        self.new.shape_count += 1;
        self.new.bytes += bytes;
        self.dictionary_bytes += bytes;
        self.shapes.push(shape.clone());
        let id = self.shapes.len() as u32;
        self.shape_ids.insert(shape.clone(), id);
        Some(id)
    }

    /// Writes receivedAt, campaign and values of a record that `shape` was made for; symbols may stand in it as text.
    fn values(&mut self, shape: &Shape, batch: &RecordBatch, head: &RecordHead, bases: Bases) {
        let out = &mut self.out;
        let text_of = |out: &mut Writer, symbol| self.catalog.symbols().read(|names| out.put_text(names.bytes(symbol)));
        out.put_varint(zigzag(head.received_at.micros().wrapping_sub(bases.appended_at)));
        match shape.campaign {
            CampaignForm::None => {}
            CampaignForm::Dictionary => {
                let id = self.ids.get(head.stamp.campaign).expect("the shape was made for this record");
                out.put_varint(u64::from(id));
            }
            CampaignForm::Inline => text_of(out, head.stamp.campaign),
        }
        for (span, (_, encoding)) in batch.fields(head).iter().zip(&shape.fields) {
            match encoding {
                Encoding::Inline => text_of(out, span.as_symbol()),
                Encoding::Text | Encoding::Json | Encoding::Bytes => out.put_text(&batch.arena[span.range()]),
                _ => {
                    let mut place = [0; VALUE_BYTES_MAX];
                    let len = value(&mut place, &self.ids, batch, span, *encoding, bases);
                    out.put(&place[..len.expect("the shape was made for this record")]);
                }
            }
        }
    }
}

fn begin_block(out: &mut Writer) -> usize {
    let start = out.len();
    out.put(&[0; 4]);
    start
}

fn end_block(out: &mut Writer, start: usize, binding: u32) {
    let payload_bytes = (out.len() - start - 4) as u32;
    out.bytes_mut()[start..start + 4].copy_from_slice(&payload_bytes.to_le_bytes());
    let crc = section_crc(binding, &out.bytes()[start..]);
    out.put(&crc.to_le_bytes());
}

#[inline(always)]
fn has_head(shape: &Shape, head: &RecordHead) -> bool {
    let stamp = &head.stamp;
    shape.fields.len() == usize::from(head.span_count)
        && shape.kind == head.kind
        && shape.source == head.source
        && shape.stream == stamp.stream
        && shape.billable == stamp.billable
        && shape.currency == stamp.currency
        && shape.folded == stamp.folded
        && (shape.campaign == CampaignForm::None) == stamp.campaign.is_null()
}

/// Writes a whole record of a known shape into the room that it makes behind what is written; says how many bytes that
/// are. None where it does not fit the shape, or has more text than is usual.
#[inline]
fn usual_record(
    out: &mut Writer,
    ids: &StringIds,
    (number, shape): (usize, &Shape),
    batch: &RecordBatch,
    head: &RecordHead,
    bases: Bases,
) -> Option<usize> {
    let fields = batch.fields(head);
    out.reserve(HEAD_BYTES_MAX + fields.len() * VALUE_BYTES_MAX + TEXTS_BYTES);
    let room = out.room();
    let mut at = varint(place(room, 0)?, number as u64 + 1);
    at += varint(place(room, at)?, zigzag(head.received_at.micros().wrapping_sub(bases.appended_at)));
    match shape.campaign {
        CampaignForm::None => {}
        CampaignForm::Dictionary => at += varint(place(room, at)?, u64::from(ids.get(head.stamp.campaign)?)),
        CampaignForm::Inline => return None,
    }
    for (span, (field, encoding)) in fields.iter().zip(&shape.fields) {
        if span.field != *field || span.form != encoding.form() {
            return None;
        }
        at += value(place(room, at)?, ids, batch, span, *encoding, bases)?;
        if let Encoding::Text | Encoding::Json | Encoding::Bytes = encoding {
            let bytes = &batch.arena[span.range()];
            room.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
            at += bytes.len();
        }
    }
    Some(at)
}

#[inline(always)]
fn place(room: &mut [u8], at: usize) -> Option<&mut [u8; VALUE_BYTES_MAX]> {
    room.get_mut(at..at + VALUE_BYTES_MAX)?.first_chunk_mut()
}

/// Writes one value, of a text its length; says how many bytes that are, or none where the encoding does not fit it.
#[inline(always)]
fn value(
    place: &mut [u8; VALUE_BYTES_MAX],
    ids: &StringIds,
    batch: &RecordBatch,
    span: &Span,
    encoding: Encoding,
    bases: Bases,
) -> Option<usize> {
    Some(match encoding {
        Encoding::Dictionary => varint(place, u64::from(ids.get(span.as_symbol())?)),
        Encoding::Inline => return None,
        Encoding::Uuid => {
            *place = batch.uuids[span.start as usize];
            place.len()
        }
        Encoding::Uint => varint(place, span.as_wide()),
        Encoding::Int => varint(place, !span.as_wide()),
        Encoding::Millis => {
            let micros = span.as_wide() as i64;
            if micros % 1000 != 0 {
                return None;
            }
            varint(place, zigzag(micros / 1000 - bases.time_millis))
        }
        Encoding::Micros => {
            let micros = span.as_wide() as i64;
            // A full millisecond has one encoding, so that equal records have equal bytes.
            if micros % 1000 == 0 {
                return None;
            }
            varint(place, zigzag(micros.wrapping_sub(bases.time_micros)))
        }
        Encoding::Text | Encoding::Json | Encoding::Bytes => varint(place, u64::from(span.len)),
    })
}

const _: () = assert!(VALUE_BYTES_MAX >= VARINT_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_an_older_segment_are_never_seen() {
        let mut ids = StringIds { stamped: Vec::new(), generation: 0, count: 0 };
        for round in 0..3 * GENERATION_MAX {
            ids.clear();
            let symbol = Symbol::new(1 + round % 7);
            assert_eq!((ids.get(Symbol::NULL), ids.get(symbol)), (Some(0), None), "round {round}");
            ids.set(symbol, STRINGS_MAX);
            assert_eq!(ids.get(symbol), Some(STRINGS_MAX));
            ids.forget(symbol);
            assert_eq!(ids.get(symbol), None);
            ids.set(symbol, 1);
        }
    }
}
