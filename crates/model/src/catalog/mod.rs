//! The catalog: event types, dimensions, metrics and rollups, each declared once.
//!
//! Built-ins stand in this folder's tables; what a user declares comes as a [`CatalogSpec`] from the configuration.
//! Decoder, row keys, run columns, query parser and `adsum catalog` derive from the [`Catalog`] made of both.
//! Invariant: a built catalog is consistent; what is wrong with a spec is a [`CatalogError`] that names the entry.

mod build;
mod dimensions;
mod event_types;
mod fields;
mod full_days;
mod metrics;

pub use build::CatalogError;
pub use dimensions::DIMENSIONS;
pub use event_types::EVENT_TYPES;
pub use fields::{FIELDS, Field, FieldKind, ID_BYTES_MAX, MICROS_MAX_PER_EVENT};
pub use full_days::FullDays;
pub use metrics::{BuiltinMetric, METRICS};

use crate::hash::DedupeRules;
use crate::symbol::Symbols;
use std::sync::Arc;

/// The most dimensions a catalog may have: the log's marks are 64 bits.
pub const DIMENSIONS_MAX: usize = 64;
/// The most dimensions one rollup may have.
pub const ROLLUP_DIMENSIONS_MAX: usize = 12;
/// The most event types.
pub const EVENT_TYPES_MAX: usize = 64;

/// What a campaign pays for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum BillableType {
    /// Per impression; `priceMicros` is the price of that one impression.
    Cpm = 1,
    /// Per click.
    Cpc = 2,
    /// Per conversion.
    Cpa = 3,
}

impl BillableType {
    /// Every billable type.
    pub const ALL: [Self; 3] = [Self::Cpm, Self::Cpc, Self::Cpa];

    /// Its name in configuration and API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpm => "cpm",
            Self::Cpc => "cpc",
            Self::Cpa => "cpa",
        }
    }

    /// The type of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|b| b.name() == name)
    }
}

/// Where a dimension's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DimensionSource<S = &'static str> {
    /// A field of the event.
    Field(S),
    /// A key of the event's `attributes` object.
    Attribute(S),
}

/// What a missing value of a dimension means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NullPolicy {
    /// It is a value of its own, null.
    #[default]
    Keep,
    /// The event is rejected.
    Reject,
    /// It counts as this text.
    Replace(String),
}

/// A built-in dimension.
#[derive(Clone, Debug)]
pub struct Builtin {
    /// Stable id, 1 to 999.
    pub id: u16,
    /// Name in JSON.
    pub name: &'static str,
    /// Where its value comes from.
    pub source: DimensionSource,
    /// What a missing value means.
    pub nulls: NullPolicy,
    /// How many values a UTC day of receivedAt may have before they fold to `other`.
    pub limit: u32,
    /// What it is.
    pub doc: &'static str,
    /// A value of it.
    pub example: &'static str,
}

/// A built-in event type.
#[derive(Clone, Copy, Debug)]
pub struct BuiltinEventType {
    /// Stable id, 1 to 999.
    pub id: u16,
    /// Name in JSON.
    pub name: &'static str,
    /// Name of its count.
    pub plural: &'static str,
    /// The billable type whose spend it makes.
    pub billed_by: Option<BillableType>,
    /// What it is.
    pub doc: &'static str,
}

/// How a metric comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Count of the event type at this place of the catalog.
    Count(EventTypeIx),
    /// Money spent.
    Spend,
    /// Value of conversions.
    Value,
    /// Billable events without a price.
    Unpriced,
    /// Events of a campaign that was paused, or outside its start and end.
    OutOfFlight,
    /// Events that came after their bucket was closed.
    Late,
    /// Estimated distinct users.
    DistinctUsers,
}

macro_rules! index {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($int);

        impl $name {
            /// From a place in the catalog's table.
            pub const fn new(index: usize) -> Self {
                Self(index as $int)
            }

            /// The place in the catalog's table.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

index! {
    /// A field's place among the catalog's fields, which stand in byte order of their names.
    FieldIx(u16)
}
index! {
    /// An event type's place in the catalog.
    EventTypeIx(u8)
}
index! {
    /// A dimension's place in the catalog.
    DimensionIx(u8)
}
index! {
    /// A rollup's place in the catalog.
    RollupIx(u8)
}

/// A dimension as declared by a user.
#[derive(Clone, Debug)]
pub struct DimensionSpec {
    /// Stable id, 1000 and up.
    pub id: u16,
    /// Name in JSON.
    pub name: String,
    /// Where its value comes from.
    pub source: DimensionSource<String>,
    /// What a missing value means.
    pub nulls: NullPolicy,
    /// Values a UTC day before they fold.
    pub limit: u32,
    /// What it is.
    pub doc: String,
}

/// An event type as declared by a user.
#[derive(Clone, Debug)]
pub struct EventTypeSpec {
    /// Stable id, 1000 and up.
    pub id: u16,
    /// Name in JSON.
    pub name: String,
    /// Name of its count.
    pub plural: String,
    /// What it is.
    pub doc: String,
}

/// How a sender's field becomes one of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingSpec {
    /// The sender's name.
    pub from: String,
    /// Our name.
    pub to: String,
    /// Values replaced by others, for text.
    pub values: Vec<(String, String)>,
    /// How a time is written.
    pub time: TimeFormat,
}

/// How a sender writes time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeFormat {
    /// RFC 3339 text.
    #[default]
    Rfc3339,
    /// Seconds since 1970 UTC, a number or its text.
    EpochSeconds,
    /// Milliseconds since 1970 UTC, a number or its text.
    EpochMillis,
    /// Microseconds since 1970 UTC, a number or its text.
    EpochMicros,
}

/// A rule that says which events are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DedupeSpec {
    /// The sources it holds for; empty: every source.
    pub sources: Vec<String>,
    /// The event types it holds for; empty: every type.
    pub event_types: Vec<String>,
    /// Sources with one group share their keys; none: each source has its own.
    pub group: Option<String>,
    /// The fields that make the key; empty turns dedupe off.
    pub key: Vec<String>,
    /// If over 0, the key also has occurredAt in buckets of so many seconds.
    pub time_bucket_seconds: u32,
    /// The fields that are the content; none: every content field, or campaignId and adId where there is a group.
    pub content: Option<Vec<String>>,
    /// From which occurredAt on it holds, microseconds since 1970 UTC.
    pub since_micros: i64,
}

/// A set of dimensions that distinct users are counted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistinctSpec {
    /// Names of the dimensions.
    pub by: Vec<String>,
    /// Length of a window, a multiple of the bucket's.
    pub window_seconds: u32,
}

/// Everything that a user may declare.
#[derive(Clone, Debug)]
pub struct CatalogSpec {
    /// Dimensions beside the built-in ones.
    pub dimensions: Vec<DimensionSpec>,
    /// Limits of built-in dimensions in place of their own, by name.
    pub limits: Vec<(String, u32)>,
    /// Event types beside the built-in ones.
    pub event_types: Vec<EventTypeSpec>,
    /// Fields required of every event, by name.
    pub required: Vec<String>,
    /// Fields required of one event type beside those.
    pub required_by_type: Vec<(String, Vec<String>)>,
    /// The sets of dimensions that aggregates are kept by.
    pub rollups: Vec<Vec<String>>,
    /// The sets that distinct users are counted by.
    pub distinct_users: Vec<DistinctSpec>,
    /// Foreign field names.
    pub mapping: Vec<MappingSpec>,
    /// Dedupe rules; where none holds, eventId within its source.
    pub dedupe: Vec<DedupeSpec>,
    /// Length of a bucket: a divisor of 60.
    pub bucket_seconds: u32,
}

impl Default for CatalogSpec {
    fn default() -> Self {
        let names = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        Self {
            dimensions: Vec::new(),
            limits: Vec::new(),
            event_types: Vec::new(),
            required: names(&["eventId", "eventType", "occurredAt", "campaignId"]),
            required_by_type: Vec::new(),
            rollups: vec![
                names(&["campaignId", "publisherId", "country", "deviceType"]),
                names(&["campaignId", "adId", "placementId", "country"]),
            ],
            distinct_users: vec![
                DistinctSpec { by: names(&["campaignId", "adId"]), window_seconds: 300 },
                DistinctSpec { by: names(&["campaignId"]), window_seconds: 3600 },
            ],
            mapping: Vec::new(),
            dedupe: Vec::new(),
            bucket_seconds: 60,
        }
    }
}

/// A field as the decoder knows it.
#[derive(Clone, Debug)]
pub struct FieldDef {
    /// Its name in JSON.
    pub name: String,
    /// What it must hold.
    pub kind: FieldKind,
    /// Whether it is content.
    pub content: bool,
    /// The dimension that is taken from it.
    pub dimension: Option<DimensionIx>,
    /// What it is.
    pub doc: String,
}

/// A dimension.
#[derive(Clone, Debug)]
pub struct DimensionDef {
    /// Stable id.
    pub id: u16,
    /// Name in JSON.
    pub name: String,
    /// Where its value comes from.
    pub source: DimensionSource<String>,
    /// The field of a dimension taken from a field.
    pub field: Option<FieldIx>,
    /// What a missing value means.
    pub nulls: NullPolicy,
    /// Values a UTC day before they fold.
    pub limit: u32,
    /// What it is.
    pub doc: String,
    /// A value of it, where one is given.
    pub example: String,
}

/// An event type.
#[derive(Clone, Debug)]
pub struct EventTypeDef {
    /// Stable id.
    pub id: u16,
    /// Name in JSON.
    pub name: String,
    /// Name of its count.
    pub plural: String,
    /// The billable type whose spend it makes.
    pub billed_by: Option<BillableType>,
    /// Fields that must be there.
    pub required: Vec<FieldIx>,
    /// What it is.
    pub doc: String,
}

/// A set of dimensions that aggregates are kept by.
#[derive(Clone, Debug)]
pub struct RollupDef {
    /// Its dimensions, in declared order, which is the order of its row key.
    pub dimensions: Vec<DimensionIx>,
}

/// A set of dimensions that distinct users are counted by.
#[derive(Clone, Debug)]
pub struct DistinctDef {
    /// Its dimensions, in declared order.
    pub dimensions: Vec<DimensionIx>,
    /// Length of a window in seconds; windows begin at multiples of it since 1970 UTC.
    pub window_seconds: i64,
}

/// A column of stored values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDef {
    /// Stable id: a metric's, or 1,000 and an event type's.
    pub id: u16,
    /// The metric's name.
    pub name: String,
    /// How it comes about.
    pub kind: MetricKind,
}

/// The fields that code names.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "each is the field of that name")]
pub struct WellKnown {
    pub event_id: FieldIx,
    pub event_type: FieldIx,
    pub occurred_at: FieldIx,
    pub received_at: FieldIx,
    pub edge_received_at: FieldIx,
    pub campaign_id: FieldIx,
    pub ad_id: FieldIx,
    pub user_id: FieldIx,
    pub price_micros: FieldIx,
    pub value_micros: FieldIx,
    pub currency: FieldIx,
    pub schema_version: FieldIx,
    pub attributes: FieldIx,
    pub extra: FieldIx,
    pub flags: FieldIx,
    pub code: FieldIx,
    pub param: FieldIx,
    pub raw: FieldIx,
    pub target: FieldIx,
    pub run: FieldIx,
    pub path: FieldIx,
    pub size: FieldIx,
    pub head: FieldIx,
    pub position: FieldIx,
    pub line: FieldIx,
}

/// The catalog in force.
pub struct Catalog {
    fields: Vec<FieldDef>,
    by_name: hashbrown::HashMap<String, FieldIx>,
    well_known: WellKnown,
    dimensions: Vec<DimensionDef>,
    event_types: Vec<EventTypeDef>,
    rollups: Vec<RollupDef>,
    distinct_users: Vec<DistinctDef>,
    columns: Vec<ColumnDef>,
    mapping: Vec<MappingSpec>,
    dedupe: DedupeRules,
    bucket_seconds: i64,
    symbols: Arc<Symbols>,
    full_days: FullDays,
}

impl Catalog {
    /// Builds the catalog of the built-ins and `spec`.
    pub fn build(spec: &CatalogSpec) -> Result<Self, CatalogError> {
        build::build(spec)
    }

    /// The fields, in byte order of their names.
    pub fn fields(&self) -> &[FieldDef] {
        &self.fields
    }

    /// One field.
    pub fn field(&self, field: FieldIx) -> &FieldDef {
        &self.fields[field.index()]
    }

    /// The field of this name.
    pub fn field_named(&self, name: &str) -> Option<FieldIx> {
        self.by_name.get(name).copied()
    }

    /// The fields that code names.
    pub fn well_known(&self) -> &WellKnown {
        &self.well_known
    }

    /// The dimensions, by id.
    pub fn dimensions(&self) -> &[DimensionDef] {
        &self.dimensions
    }

    /// The dimension of this name.
    pub fn dimension_named(&self, name: &str) -> Option<DimensionIx> {
        self.dimensions.iter().position(|d| d.name == name).map(DimensionIx::new)
    }

    /// The event types, by id.
    pub fn event_types(&self) -> &[EventTypeDef] {
        &self.event_types
    }

    /// One event type.
    pub fn event_type(&self, event_type: EventTypeIx) -> &EventTypeDef {
        &self.event_types[event_type.index()]
    }

    /// The event type of this name.
    pub fn event_type_named(&self, name: &[u8]) -> Option<EventTypeIx> {
        self.event_types.iter().position(|t| t.name.as_bytes() == name).map(EventTypeIx::new)
    }

    /// The rollups, in declared order.
    pub fn rollups(&self) -> &[RollupDef] {
        &self.rollups
    }

    /// The names of some dimensions.
    pub fn names(&self, dimensions: &[DimensionIx]) -> Vec<&str> {
        dimensions.iter().map(|d| self.dimensions[d.index()].name.as_str()).collect()
    }

    /// The sets that distinct users are counted by, in declared order.
    pub fn distinct_users(&self) -> &[DistinctDef] {
        &self.distinct_users
    }

    /// The stored columns: a count for each event type, then the built-in metrics by id.
    pub fn columns(&self) -> &[ColumnDef] {
        &self.columns
    }

    /// The column of a metric that is no count.
    pub fn column_of(&self, kind: MetricKind) -> Option<usize> {
        self.columns.iter().position(|c| c.kind == kind)
    }

    /// Foreign field names.
    pub fn mapping(&self) -> &[MappingSpec] {
        &self.mapping
    }

    /// Which events are the same.
    pub fn dedupe(&self) -> &DedupeRules {
        &self.dedupe
    }

    /// Length of a bucket in seconds.
    pub fn bucket_seconds(&self) -> i64 {
        self.bucket_seconds
    }

    /// The strings that this process has met.
    pub fn symbols(&self) -> &Arc<Symbols> {
        &self.symbols
    }

    /// The dimensions that have as many values as they may.
    pub fn full_days(&self) -> &FullDays {
        &self.full_days
    }
}
