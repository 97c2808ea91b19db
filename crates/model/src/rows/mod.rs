//! What the engine folds: one row an event, without the text that only the log needs.
//!
//! A [`Projector`] makes rows from records, the same way whether the record was just decoded or comes out of the
//! log after a crash. Invariant: a row is a pure function of record, catalog and secret.

mod control;

use std::borrow::Cow;
use std::sync::Arc;

use crate::catalog::{BillableType, Catalog, DimensionIx, DimensionSource, EventTypeIx, FieldDef, FieldIx, NullPolicy};
use crate::hash::{ContentHasher, HashValue, KeyHasher, Secret, name_word};
use crate::id::{ContentHash, DedupeKey, Offset, Slot};
use crate::record::{Form, OUT_OF_FLIGHT_BIT, RecordBatch, RecordHead, RecordKind, Span, Stream};
use crate::symbol::{Symbol, SymbolCache};
use crate::time::{EventTime, MICROS_PER_SECOND, ReceivedAt};
use crate::wire::{attribute_text, canonical_json, format_uuid, json_word, members};

pub use control::Control;

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
    /// XXH3-64 of its userId; 0 without one.
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
}

impl Rows {
    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.events.clear();
        self.slots.clear();
        self.dimensions.clear();
        self.controls.clear();
        self.records = 0;
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
    /// Lends the text of a UUID; a decoder's span says where it also stands in the arena.
    #[inline]
    fn with_uuid<R>(&self, span: &Span, take: impl FnOnce(&[u8]) -> R) -> R {
        match (span.len as usize).checked_sub(1) {
            Some(start) => take(self.get(start..start + 36)),
            None => take(&format_uuid(&self.uuids[span.start as usize])),
        }
    }

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
    scope: u64,
    key: Vec<FieldIx>,
    key_bits: u128,
    time_bucket_seconds: i64,
    content: Option<Vec<FieldIx>>,
}

const LETTERS: [u8; 5] = *b"TPMIJ";

/// What a field is to a row, beside content and a dimension.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    None,
    EventType,
    OccurredAt,
    Price,
    Value,
    Currency,
    User,
    Target,
    Flags,
    Attributes,
    Extra,
}

/// What a projector asks of a field, in one cache line.
#[repr(align(64))]
struct FieldPlan {
    /// The first word in a content hash, by letter.
    name_words: [u64; LETTERS.len()],
    /// The dimension that is taken from it, or a place that no dimension has.
    dimension: usize,
    role: Role,
    content: bool,
}

fn field_plans(catalog: &Catalog) -> Vec<FieldPlan> {
    let known = catalog.well_known();
    let roles = [
        (known.event_type, Role::EventType),
        (known.occurred_at, Role::OccurredAt),
        (known.price_micros, Role::Price),
        (known.value_micros, Role::Value),
        (known.currency, Role::Currency),
        (known.user_id, Role::User),
        (known.target, Role::Target),
        (known.flags, Role::Flags),
        (known.attributes, Role::Attributes),
        (known.extra, Role::Extra),
    ];
    let plan = |(i, field): (usize, &FieldDef)| FieldPlan {
        name_words: LETTERS.map(|letter| name_word(&field.name, letter)),
        dimension: field.dimension.map_or(usize::MAX, DimensionIx::index),
        role: roles.iter().find(|(known, _)| known.index() == i).map_or(Role::None, |(_, role)| *role),
        content: field.content,
    };
    catalog.fields().iter().enumerate().map(plan).collect()
}

/// Makes rows from records.
pub struct Projector {
    catalog: Arc<Catalog>,
    cache: SymbolCache,
    keys: KeyHasher,
    content: ContentHasher,
    /// By field.
    fields: Vec<FieldPlan>,
    /// The rules of one source and event type.
    plans: Vec<Vec<Plan>>,
    /// Where they stand; few, so that looking through them beats hashing.
    plan_index: Vec<((Symbol, EventTypeIx), usize)>,
    /// By symbol: the event type of that name.
    types: Vec<(Symbol, EventTypeIx)>,
    /// By dimension: what a missing value counts as.
    replacements: Vec<Symbol>,
    /// The dimension that is the campaign.
    campaign: Option<DimensionIx>,
}

impl Projector {
    /// For a catalog, under a data directory's secret.
    pub fn new(catalog: Arc<Catalog>, secret: Secret) -> Self {
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
        Self {
            cache: SymbolCache::new(symbols),
            keys: KeyHasher::new(secret),
            content: ContentHasher::default(),
            fields: field_plans(&catalog),
            campaign: catalog.field(catalog.well_known().campaign_id).dimension,
            plans: Vec::new(),
            plan_index: Vec::new(),
            types,
            replacements,
            catalog,
        }
    }

    /// This thread's view of the symbols.
    pub(crate) fn cache(&mut self) -> &mut SymbolCache {
        &mut self.cache
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
        for (ordinal, head) in batch.heads.iter().enumerate() {
            self.project(view, batch.fields(head), head, ordinal as u32, rows);
        }
        rows.records = batch.heads.len() as u32;
    }

    /// Makes the row of one record.
    pub(crate) fn project(&mut self, view: View<'_>, spans: &[Span], head: &RecordHead, ordinal: u32, rows: &mut Rows) {
        if matches!(head.kind, RecordKind::Event | RecordKind::Replay) {
            self.project_event(view, spans, head, ordinal, rows);
        } else if let Some(control) = self.control(view, spans, head) {
            rows.controls.push((ordinal, control));
        }
    }

    #[inline]
    fn project_event(&mut self, view: View<'_>, spans: &[Span], head: &RecordHead, ordinal: u32, rows: &mut Rows) {
        let dimensions_at = rows.dimensions.len();
        rows.dimensions.extend_from_slice(&self.replacements);
        let dimensions = &mut rows.dimensions[dimensions_at..];
        let mut row = EventRow {
            key: DedupeKey::default(),
            content: ContentHash::default(),
            occurred_at: EventTime::default(),
            received_at: head.received_at,
            price_micros: 0,
            value_micros: 0,
            user: 0,
            target: Offset::ZERO,
            ordinal,
            source: head.source,
            currency: head.stamp.currency,
            event_type: EventTypeIx::default(),
            billable: head.stamp.billable.unwrap_or(BillableType::Cpm),
            flags: RowFlags::default(),
        };
        row.flags.set(RowFlags::IMPORT, head.stamp.stream == Stream::Import);
        row.flags.set(RowFlags::REPLAY, head.kind == RecordKind::Replay);
        let (mut extra, mut attributes) = (None, None);
        let Self { fields, cache, content, types, .. } = self;
        let fields = fields.as_slice();
        content.clear();
        for span in spans {
            let field = &fields[span.field.index()];
            let mut word = 0;
            if span.form == Form::Symbol {
                if let Some(dimension) = dimensions.get_mut(field.dimension) {
                    *dimension = span.as_symbol();
                }
                if field.content {
                    word = cache.word(span.as_symbol());
                    content.add(field.name_words[0], word);
                }
            } else if field.content && field.role != Role::Extra {
                let (letter, value) = hash_value(cache, view, span);
                word = value;
                content.add(field.name_words[letter], word);
            }
            // Most fields have no role: a comparison of their own costs less than the jump.
            if field.role == Role::None {
                continue;
            }
            match field.role {
                Role::None => {}
                Role::EventType => row.event_type = event_type_in(types, span.as_symbol()).unwrap_or_default(),
                Role::OccurredAt => row.occurred_at = EventTime::from_micros(span.as_wide() as i64),
                Role::Price => {
                    row.price_micros = span.as_wide();
                    row.flags.set(RowFlags::PRICED, true);
                }
                Role::Value => row.value_micros = span.as_wide(),
                Role::Currency => row.flags.set(RowFlags::FOREIGN, span.as_symbol() != head.stamp.currency),
                Role::User => row.user = word,
                Role::Target => row.target = Offset::new(span.as_wide()),
                Role::Flags => row.flags.set(RowFlags::OUT_OF_FLIGHT, span.as_wide() & OUT_OF_FLIGHT_BIT != 0),
                Role::Attributes => attributes = Some(*span),
                Role::Extra => extra = Some(*span),
            }
        }
        if let (Some(campaign), false) = (self.campaign, head.stamp.campaign.is_null()) {
            dimensions[campaign.index()] = head.stamp.campaign;
        }
        if let Some(attributes) = attributes {
            self.attribute_dimensions(view, attributes, dimensions);
        }
        if head.stamp.folded != 0 {
            for (i, value) in dimensions.iter_mut().enumerate() {
                if head.stamp.folded >> i & 1 == 1 {
                    *value = Symbol::OTHER;
                }
            }
        }
        if let Some(extra) = extra {
            self.content_with_extra(view, spans, extra);
        }
        self.identify(view, spans, &mut row);
        rows.slots.push(row.key.slot());
        rows.events.push(row);
    }

    /// Sets key and content under the dedupe rule of the row's source, type and time.
    fn identify(&mut self, view: View<'_>, spans: &[Span], row: &mut EventRow) {
        let plans = self.plans_of(row.source, row.event_type);
        let plans = &self.plans[plans];
        let plan = plans.iter().find(|p| p.since <= row.occurred_at).unwrap_or(&plans[plans.len() - 1]);
        // Without declared fields the content is every content field, collected when they were gone through.
        if let Some(fields) = &plan.content {
            self.content.clear();
            for span in spans.iter().filter(|s| fields.contains(&s.field)) {
                let (letter, word) = hash_value(&mut self.cache, view, span);
                self.content.add(self.fields[span.field.index()].name_words[letter], word);
            }
        }
        row.content = self.content.finish();
        if plan.key.is_empty() {
            row.flags.set(RowFlags::NO_DEDUPE, true);
            row.key = DedupeKey::new(u128::from(row.content.get() ^ plan.scope) << 64);
            return;
        }
        self.keys.begin(plan.scope);
        for field in &plan.key {
            // A missing part was rejected at the edge; a record from elsewhere keys on the empty text.
            let Some(span) = spans.iter().find(|s| s.field == *field) else {
                self.keys.part(HashValue::Text(b""));
                continue;
            };
            match span.form {
                Form::Uuid => {
                    let keys = &mut self.keys;
                    view.with_uuid(span, |text| keys.part(HashValue::Text(text)));
                }
                Form::Symbol => {
                    let keys = &mut self.keys;
                    let symbol = span.as_symbol();
                    self.cache.symbols().read(|names| keys.part(HashValue::Text(names.bytes(symbol))));
                }
                Form::Text => self.keys.part(HashValue::Text(view.get(span.range()))),
                Form::Uint => self.keys.part(HashValue::Uint(span.as_wide())),
                Form::Int => self.keys.part(HashValue::Int(span.as_wide() as i64)),
                Form::Time => self.keys.part(HashValue::Time(span.as_wide() as i64)),
                Form::Json | Form::Bytes => self.keys.part(HashValue::Json(&canonical(view.get(span.range())))),
            }
        }
        if plan.time_bucket_seconds > 0 {
            let bucket = row.occurred_at.micros().div_euclid(plan.time_bucket_seconds * MICROS_PER_SECOND);
            self.keys.part(HashValue::Time(bucket));
        }
        row.key = self.keys.finish();
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
                    fields
                }),
            })
            .collect();
        self.plans.push(plans);
        let index = self.plans.len() - 1;
        self.plan_index.insert(0, (at, index));
        index
    }

    /// Collects the content anew with the unknown fields where their names stand in the order, so that making one of
    /// them a dimension changes no hash.
    fn content_with_extra(&mut self, view: View<'_>, spans: &[Span], extra: Span) {
        let catalog = self.catalog.clone();
        let mut words: Vec<(Cow<'_, [u8]>, u64, u64)> = Vec::with_capacity(spans.len() + 4);
        for span in spans {
            let field = &self.fields[span.field.index()];
            if field.content && field.role != Role::Extra {
                let (letter, word) = hash_value(&mut self.cache, view, span);
                let name = catalog.field(span.field).name.as_bytes();
                words.push((Cow::Borrowed(name), field.name_words[letter], word));
            }
        }
        let object = view.get(extra.range());
        let received_at = &catalog.field(catalog.well_known().received_at).name;
        for (name, range) in members(object).unwrap_or_default() {
            // Two senders' times of receipt make no other event.
            if *name == *received_at.as_bytes() {
                continue;
            }
            let Some((letter, word)) = json_word(&object[range]) else { continue };
            let name_word = name_word(&String::from_utf8_lossy(&name), letter);
            words.push((name, name_word, word));
        }
        words.sort();
        self.content.clear();
        for (_, name, value) in words {
            self.content.add(name, value);
        }
    }

    /// Fills the dimensions that come from `attributes`.
    fn attribute_dimensions(&mut self, view: View<'_>, attributes: Span, dimensions: &mut [Symbol]) {
        let catalog = self.catalog.clone();
        let object = view.get(attributes.range());
        for (i, d) in catalog.dimensions().iter().enumerate() {
            if let DimensionSource::Attribute(key) = &d.source
                && let Some(text) = attribute_text(object, key)
            {
                dimensions[i] = self.cache.intern(&text, 0, text.len());
            }
        }
    }
}

fn event_type_in(types: &[(Symbol, EventTypeIx)], name: Symbol) -> Option<EventTypeIx> {
    types.iter().find(|(symbol, _)| *symbol == name).map(|(_, ix)| *ix)
}

/// The letter's index and the word of a field's value.
#[inline(always)]
fn hash_value(cache: &mut SymbolCache, view: View<'_>, span: &Span) -> (usize, u64) {
    match span.form {
        Form::Text => (0, xxhash_rust::xxh3::xxh3_64(view.get(span.range()))),
        Form::Symbol => (0, cache.word(span.as_symbol())),
        Form::Uuid => (0, view.with_uuid(span, xxhash_rust::xxh3::xxh3_64)),
        Form::Uint => (1, span.as_wide()),
        Form::Int => (2, span.as_wide()),
        Form::Time => (3, span.as_wide()),
        Form::Json | Form::Bytes => (4, xxhash_rust::xxh3::xxh3_64(&canonical(view.get(span.range())))),
    }
}

/// The text by which free JSON enters a hash; what is no JSON enters as it stands.
fn canonical(text: &[u8]) -> Vec<u8> {
    canonical_json(text).unwrap_or_else(|_| text.to_vec())
}
