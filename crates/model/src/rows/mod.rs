//! What the engine folds: one row an event, without the text that only the log needs.
//!
//! A [`Projector`] makes rows from records, the same way whether the record was just decoded or comes out of the
//! log after a crash. Invariant: a row is a pure function of record, catalog and secret.

mod control;
mod slots;

use std::sync::Arc;

use crate::catalog::{
    BillableType, Catalog, DimensionIx, DimensionSource, EventTypeIx, FieldIx, NullPolicy, WellKnown,
};
use crate::hash::{
    ContentName, ContentSum, ContentTerm, KeyHasher, KeyPart, KeyScope, Letter, Secret, text_word, uuid_word,
};
use crate::id::{ContentHash, DedupeKey, Offset, Slot};
use crate::record::{Form, OUT_OF_FLIGHT_BIT, RecordBatch, RecordHead, RecordKind, Span, Stream};
use crate::symbol::{Symbol, SymbolCache};
use crate::time::{EventTime, MICROS_PER_SECOND, ReceivedAt};
use crate::wire::{attribute_text, canonical_json, free_word, json_word, members};

pub use control::Control;
pub(crate) use slots::{FIELDS_MAX, Slots, bit};

/// Facts about a row that are yes or no.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowFlags(u8);

impl RowFlags {
    /// It names a price.
    pub const PRICED: Self = Self(1);
    /// It names another currency than its campaign's.
    pub const FOREIGN: Self = Self(2);
    /// It comes by an import.
    pub const IMPORT: Self = Self(4);
    /// Dedupe is off for it.
    pub const NO_DEDUPE: Self = Self(8);
    /// It is a replay of a quarantined event.
    pub const REPLAY: Self = Self(16);
    /// Its campaign was paused then, or the moment lies outside its start and end.
    pub const OUT_OF_FLIGHT: Self = Self(32);

    /// Whether `flag` is set.
    pub const fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    fn set(&mut self, flag: Self, on: bool) {
        if on {
            self.0 |= flag.0;
        }
    }
}

/// One event, as the engine sees it.
#[derive(Clone, Copy, Debug)]
pub struct EventRow {
    /// Which events are the same.
    pub key: DedupeKey,
    /// Whether they say the same.
    pub content: ContentHash,
    /// When it happened.
    pub occurred_at: EventTime,
    /// When it was taken in; of a replay, when the event was.
    pub received_at: ReceivedAt,
    /// Its price in micros; 0 without one.
    pub price_micros: u64,
    /// Its value in micros; 0 without one.
    pub value_micros: u64,
    /// The content word of its userId; 0 without one.
    pub user: u64,
    /// Of a replay: the offset of the event that it takes up.
    pub target: Offset,
    /// Its place in the batch.
    pub ordinal: u32,
    /// Its source.
    pub source: Symbol,
    /// Its campaign's currency.
    pub currency: Symbol,
    /// Its type.
    pub event_type: EventTypeIx,
    /// What its campaign pays for.
    pub billable: BillableType,
    /// Its flags.
    pub flags: RowFlags,
}

/// The rows of one batch.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// The events and replays, in order.
    pub events: Vec<EventRow>,
    /// The slot of each event's key, so that a shard finds its own without a look at the others.
    pub slots: Vec<Slot>,
    /// The catalog's dimensions of each event, in order of the catalog.
    pub dimensions: Vec<Symbol>,
    /// The other records: place in the batch, and what it is; in order.
    pub controls: Vec<(u32, Control)>,
    /// How many records the batch has.
    pub records: u32,
    /// Where values stand that no row before had on that day: row and dimension. Nothing where nobody has looked yet.
    pub first_sights: Option<Vec<(u32, DimensionIx)>>,
}

impl Rows {
    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.events.clear();
        self.slots.clear();
        self.dimensions.clear();
        self.controls.clear();
        self.records = 0;
        self.first_sights = None;
    }

    /// Makes `other` of these dimensions of the last event, a bit each, of `width`.
    pub(crate) fn fold_last(&mut self, folded: u64, width: usize) {
        let start = self.dimensions.len().saturating_sub(width);
        fold(folded, &mut self.dimensions[start..]);
    }
}

fn fold(folded: u64, dimensions: &mut [Symbol]) {
    for (i, value) in dimensions.iter_mut().enumerate() {
        if folded >> i & 1 == 1 {
            *value = Symbol::OTHER;
        }
    }
}

/// What spans point into: a batch's arena, which a decoder may still be adding to, and its UUIDs.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// The first part of the arena.
    pub text: &'a [u8],
    /// What was added behind it.
    pub added: &'a [u8],
    /// The UUIDs.
    pub uuids: &'a [[u8; 16]],
}

impl<'a> View<'a> {
    #[inline]
    pub fn get(&self, range: std::ops::Range<usize>) -> &'a [u8] {
        if range.start < self.text.len() || self.added.is_empty() {
            &self.text[range]
        } else {
            &self.added[range.start - self.text.len()..range.end - self.text.len()]
        }
    }
}

/// A dedupe rule, made ready for one source and type.
struct Plan {
    since: EventTime,
    scope: KeyScope,
    key: Vec<FieldIx>,
    key_bits: u128,
    time_bucket_seconds: i64,
    content: Option<Vec<FieldIx>>,
}

/// What the values of one record come to, whatever order they are read in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Words {
    /// The content; without what is in `$extra`, unless it was added apart.
    pub content: ContentSum,
    /// The word of the userId.
    pub user: u64,
}

/// Makes rows from records.
pub struct Projector {
    catalog: Arc<Catalog>,
    known: WellKnown,
    cache: SymbolCache,
    keys: KeyHasher,
    /// By field, how it enters content hashes.
    names: Vec<ContentName>,
    /// The record that is read out of a batch.
    slots: Slots,
    /// The rules of one source and event type.
    plans: Vec<Vec<Plan>>,
    /// Where they stand; few, so that looking through them beats hashing.
    plan_index: Vec<((Symbol, EventTypeIx), usize)>,
    /// By symbol: the event type of that name.
    types: Vec<(Symbol, EventTypeIx)>,
    /// By dimension: what a missing value counts as.
    replacements: Vec<Symbol>,
    /// The dimensions that are taken from fields.
    from_fields: Vec<(FieldIx, DimensionIx)>,
    /// The dimension that is the campaign.
    campaign: Option<DimensionIx>,
}

impl Projector {
    /// For a catalog, under a data directory's secret.
    pub fn new(catalog: Arc<Catalog>, secret: Secret) -> Self {
        assert!(catalog.fields().len() <= FIELDS_MAX, "limits on dimensions keep to {FIELDS_MAX} fields");
        let symbols = catalog.symbols().clone();
        let types = (catalog.event_types().iter().enumerate())
            .map(|(i, t)| (symbols.intern(t.name.as_bytes()), EventTypeIx::new(i)))
            .collect();
        let replacements = (catalog.dimensions().iter())
            .map(|d| match &d.nulls {
                NullPolicy::Replace(text) => symbols.intern(text.as_bytes()),
                NullPolicy::Keep | NullPolicy::Reject => Symbol::NULL,
            })
            .collect();
        let extra = catalog.well_known().extra;
        let names = (catalog.fields().iter().enumerate())
            .map(|(i, field)| match field.content && i != extra.index() {
                true => ContentName::of(&field.name),
                false => ContentName::none(),
            })
            .collect();
        let from_fields = (catalog.fields().iter().enumerate())
            .filter_map(|(i, field)| Some((FieldIx::new(i), field.dimension?)))
            .collect();
        Self {
            cache: SymbolCache::new(symbols),
            keys: KeyHasher::new(secret),
            names,
            slots: Slots::default(),
            known: *catalog.well_known(),
            campaign: catalog.field(catalog.well_known().campaign_id).dimension,
            plans: Vec::new(),
            plan_index: Vec::new(),
            types,
            replacements,
            from_fields,
            catalog,
        }
    }

    /// This thread's view of the symbols.
    pub(crate) fn cache(&mut self) -> &mut SymbolCache {
        &mut self.cache
    }

    /// How a field enters content hashes.
    pub(crate) fn content_name(&self, field: FieldIx) -> &ContentName {
        &self.names[field.index()]
    }

    /// The event type of this name.
    pub(crate) fn event_type(&self, name: Symbol) -> Option<EventTypeIx> {
        event_type_in(&self.types, name)
    }

    /// The fields that the dedupe key of such an event is made of, as bits by field.
    pub(crate) fn key_bits(&mut self, source: Symbol, event_type: EventTypeIx, at: EventTime) -> u128 {
        let plans = self.plans_of(source, event_type);
        let plan = self.plans[plans].iter().find(|p| p.since <= at);
        plan.map_or(0, |p| p.key_bits)
    }

    /// Makes rows of a whole batch, as after reading it from the log.
    pub fn project_batch(&mut self, batch: &RecordBatch, rows: &mut Rows) {
        rows.clear();
        let view = View { text: &batch.arena, added: &[], uuids: &batch.uuids };
        let mut slots = std::mem::take(&mut self.slots);
        for (ordinal, head) in batch.heads.iter().enumerate() {
            let spans = batch.fields(head);
            if matches!(head.kind, RecordKind::Event | RecordKind::Replay) {
                slots.fill(spans);
                let words = self.words(view, spans);
                self.event_row(view, &slots, words, head, ordinal as u32, rows);
            } else {
                self.control_row(view, spans, head, ordinal as u32, rows);
            }
        }
        self.slots = slots;
        rows.records = batch.heads.len() as u32;
    }

    /// The words of an event's fields.
    fn words(&mut self, view: View<'_>, spans: &[Span]) -> Words {
        let mut words = Words::default();
        for span in spans {
            if span.field == self.known.extra {
                let object = view.get(span.range());
                for (name, range) in members(object).unwrap_or_default() {
                    self.add_unknown(&name, &object[range], &mut words.content);
                }
            } else {
                self.add_known(view, span, &mut words);
            }
        }
        words
    }

    /// Adds a field that the catalog knows.
    pub(crate) fn add_known(&mut self, view: View<'_>, span: &Span, words: &mut Words) {
        let (letter, word) = letter_and_word(&mut self.cache, view, span);
        words.content.add(self.names[span.field.index()].with(letter), word);
        if span.field == self.known.user_id {
            words.user = word;
        }
    }

    /// Adds a member that the catalog does not know, under its name and with its JSON, as the field that it could be.
    pub(crate) fn add_unknown(&self, name: &[u8], json: &[u8], content: &mut ContentSum) {
        // Two senders' times of receipt make no other event.
        if *name == *self.catalog.field(self.known.received_at).name.as_bytes() {
            return;
        }
        let Some((letter, word)) = json_word(json) else { return };
        content.add(ContentTerm::of(name, letter), word);
    }

    /// Makes a control of a record that is no event.
    pub(crate) fn control_row(&self, view: View<'_>, spans: &[Span], head: &RecordHead, ordinal: u32, rows: &mut Rows) {
        if let Some(control) = self.control(view, spans, head) {
            rows.controls.push((ordinal, control));
        }
    }

    /// Makes the row of an event or a replay.
    #[inline(always)]
    pub(crate) fn event_row(
        &mut self,
        view: View<'_>,
        slots: &Slots,
        words: Words,
        head: &RecordHead,
        ordinal: u32,
        rows: &mut Rows,
    ) {
        let known = &self.known;
        let dimensions_at = rows.dimensions.len();
        rows.dimensions.extend_from_slice(&self.replacements);
        let dimensions = &mut rows.dimensions[dimensions_at..];
        for (field, dimension) in &self.from_fields {
            // A record from before a field was a dimension holds its text.
            if let Some(span) = slots.get(*field).filter(|span| span.form == Form::Symbol)
                && let Some(place) = dimensions.get_mut(dimension.index())
            {
                *place = span.as_symbol();
            }
        }
        if let (Some(campaign), false) = (self.campaign, head.stamp.campaign.is_null()) {
            dimensions[campaign.index()] = head.stamp.campaign;
        }
        let mut row = EventRow {
            key: DedupeKey::default(),
            content: ContentHash::default(),
            occurred_at: EventTime::from_micros(slots.wide(known.occurred_at) as i64),
            received_at: head.received_at,
            price_micros: slots.wide(known.price_micros),
            value_micros: slots.wide(known.value_micros),
            user: words.user,
            target: Offset::new(slots.wide(known.target)),
            ordinal,
            source: head.source,
            currency: head.stamp.currency,
            event_type: event_type_in(&self.types, slots.symbol(known.event_type)).unwrap_or_default(),
            billable: head.stamp.billable.unwrap_or(BillableType::Cpm),
            flags: RowFlags::default(),
        };
        row.flags.set(RowFlags::IMPORT, head.stamp.stream == Stream::Import);
        row.flags.set(RowFlags::REPLAY, head.kind == RecordKind::Replay);
        row.flags.set(RowFlags::PRICED, slots.has(known.price_micros));
        let foreign = slots.get(known.currency).is_some_and(|span| span.as_symbol() != head.stamp.currency);
        row.flags.set(RowFlags::FOREIGN, foreign);
        row.flags.set(RowFlags::OUT_OF_FLIGHT, slots.wide(known.flags) & OUT_OF_FLIGHT_BIT != 0);
        if let Some(attributes) = slots.get(known.attributes) {
            self.attribute_dimensions(view, *attributes, head.stamp.folded, dimensions);
        }
        if head.stamp.folded != 0 {
            fold(head.stamp.folded, &mut rows.dimensions[dimensions_at..]);
        }
        self.identify(view, slots, words, &mut row);
        rows.slots.push(row.key.slot());
        rows.events.push(row);
    }

    /// Sets key and content under the dedupe rule of the row's source, type and time.
    #[inline(always)]
    fn identify(&mut self, view: View<'_>, slots: &Slots, mut words: Words, row: &mut EventRow) {
        let plans = self.plans_of(row.source, row.event_type);
        let Self { cache, keys, names, plans: all, .. } = self;
        let plans = &all[plans];
        let plan = plans.iter().find(|p| p.since <= row.occurred_at).unwrap_or(&plans[plans.len() - 1]);
        // Without declared fields the content is every content field.
        if let Some(fields) = &plan.content {
            words.content = ContentSum::default();
            for field in fields {
                if let Some(span) = slots.get(*field) {
                    let (letter, word) = letter_and_word(cache, view, span);
                    words.content.add(names[field.index()].with(letter), word);
                }
            }
        }
        row.content = words.content.finish();
        if plan.key.is_empty() {
            row.flags.set(RowFlags::NO_DEDUPE, true);
            row.key = DedupeKey::new(u128::from(row.content.get() ^ plan.scope.value()) << 64);
            return;
        }
        if let ([field], 0) = (plan.key.as_slice(), plan.time_bucket_seconds)
            && let Some(span) = slots.get(*field).filter(|span| span.form == Form::Uuid)
        {
            row.key = KeyHasher::of_uuid(&plan.scope, &view.uuids[span.start as usize]);
            return;
        }
        keys.begin();
        for field in &plan.key {
            // A missing part was rejected at the edge; a record from elsewhere keys on the empty text.
            let Some(span) = slots.get(*field) else {
                keys.part(KeyPart::Text(b""));
                continue;
            };
            match span.form {
                Form::Uuid => keys.part(KeyPart::Uuid(&view.uuids[span.start as usize])),
                Form::Symbol => {
                    let symbol = span.as_symbol();
                    cache.symbols().read(|names| keys.part(KeyPart::Text(names.bytes(symbol))));
                }
                Form::Text => keys.part(KeyPart::Text(view.get(span.range()))),
                Form::Uint => keys.part(KeyPart::Uint(span.as_wide())),
                Form::Int => keys.part(KeyPart::Int(span.as_wide() as i64)),
                Form::Time => keys.part(KeyPart::Time(span.as_wide() as i64)),
                Form::Json | Form::Bytes => keys.part(KeyPart::Json(&canonical(view.get(span.range())))),
            }
        }
        if plan.time_bucket_seconds > 0 {
            let bucket = row.occurred_at.micros().div_euclid(plan.time_bucket_seconds * MICROS_PER_SECOND);
            keys.part(KeyPart::Time(bucket));
        }
        row.key = keys.finish(&plan.scope);
    }

    /// Where the rules for a source and type stand, made ready at first sight.
    #[inline]
    fn plans_of(&mut self, source: Symbol, event_type: EventTypeIx) -> usize {
        let at = (source, event_type);
        let found = self.plan_index.iter().find(|(key, _)| *key == at);
        match found {
            Some((_, index)) => *index,
            None => self.make_plans(at),
        }
    }

    #[cold]
    fn make_plans(&mut self, at: (Symbol, EventTypeIx)) -> usize {
        let source = self.cache.symbols().text(at.0).unwrap_or_default();
        let plans = (self.catalog.dedupe().for_source(&source, at.1))
            .map(|rule| Plan {
                since: rule.since,
                scope: self.keys.scope(rule, &source),
                key_bits: rule.key.iter().fold(0, |bits, f| bits | 1 << f.index()),
                key: rule.key.clone(),
                time_bucket_seconds: rule.time_bucket_seconds,
                content: rule.content.as_ref().map(|fields| {
                    let mut fields = fields.clone();
                    fields.push(self.catalog.well_known().event_type);
                    fields.sort();
                    fields.dedup();
                    fields
                }),
            })
            .collect();
        self.plans.push(plans);
        let index = self.plans.len() - 1;
        self.plan_index.insert(0, (at, index));
        index
    }

    /// Fills the dimensions that come from `attributes`, but for those that count as `other`.
    fn attribute_dimensions(&mut self, view: View<'_>, attributes: Span, folded: u64, dimensions: &mut [Symbol]) {
        let Self { catalog, cache, .. } = self;
        let object = view.get(attributes.range());
        for (i, d) in catalog.dimensions().iter().enumerate() {
            if let DimensionSource::Attribute(key) = &d.source
                && folded >> i & 1 == 0
                && let Some(text) = attribute_text(object, key)
                && let Some(symbol) = cache.at_hand(&text).or_else(|| cache.meet(1 << i, &text).0)
            {
                dimensions[i] = symbol;
            }
        }
    }
}

fn event_type_in(types: &[(Symbol, EventTypeIx)], name: Symbol) -> Option<EventTypeIx> {
    types.iter().find(|(symbol, _)| *symbol == name).map(|(_, ix)| *ix)
}

/// The letter and the word of a field's value.
fn letter_and_word(cache: &mut SymbolCache, view: View<'_>, span: &Span) -> (Letter, u64) {
    match span.form {
        Form::Text => (Letter::Text, text_word(view.get(span.range()))),
        Form::Symbol => (Letter::Text, cache.word(span.as_symbol())),
        Form::Uuid => (Letter::Text, uuid_word(&view.uuids[span.start as usize])),
        Form::Uint => (Letter::Uint, span.as_wide()),
        Form::Int => (Letter::Int, span.as_wide()),
        Form::Time => (Letter::Time, span.as_wide()),
        Form::Json | Form::Bytes => (Letter::Json, free_word(view.get(span.range()))),
    }
}

/// The text by which free JSON enters a key; what is no JSON enters as it stands.
fn canonical(text: &[u8]) -> Vec<u8> {
    canonical_json(text).unwrap_or_else(|_| text.to_vec())
}
