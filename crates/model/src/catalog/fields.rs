//! The fields of an event that are no dimensions, and those that only records of the log carry.
//!
//! Invariant: the fields known to the decoder are these plus the fields that dimensions are taken from.

/// What a field must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Text of 1 to `max_bytes` bytes of UTF-8 without control and bidi characters.
    Text {
        /// Longest, in bytes.
        max_bytes: usize,
    },
    /// The event type: a name of the catalog.
    EventType,
    /// An RFC 3339 moment with its offset.
    Time,
    /// An integer from 0 to `max`, written as one (no sign, point, exponent or quotes).
    Uint {
        /// Greatest.
        max: u64,
    },
    /// Any integer of 64 bits.
    Int,
    /// Any JSON number; kept as written.
    Number,
    /// An ISO 4217 code: three upper-case letters.
    Currency,
    /// A JSON object; kept as written.
    Object,
    /// Text, a number, an object ...: any JSON value; kept as written.
    Any,
    /// The schema version: 1.
    SchemaVersion,
    /// Written by adsum itself, never by a sender.
    Internal,
}

/// A field of an event, or of a record of the log where its name begins with `$`.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in JSON.
    pub name: &'static str,
    /// What it must hold.
    pub kind: FieldKind,
    /// Whether it belongs to the content that tells a duplicate from a conflict.
    pub content: bool,
    /// What it is.
    pub doc: &'static str,
}

/// The longest id, in bytes.
pub const ID_BYTES_MAX: usize = 256;
/// The greatest price or value of one event: a million units of currency.
pub const MICROS_MAX_PER_EVENT: u64 = 1_000_000_000_000;

const fn field(name: &'static str, kind: FieldKind, content: bool, doc: &'static str) -> Field {
    Field { name, kind, content, doc }
}

const ID: FieldKind = FieldKind::Text { max_bytes: ID_BYTES_MAX };
const MICROS: FieldKind = FieldKind::Uint { max: MICROS_MAX_PER_EVENT };

/// Every field that is not a dimension's.
pub const FIELDS: &[Field] = &[
    field("eventId", ID, true, "The sender's id of the event; by default the dedupe key within the source."),
    field("eventType", FieldKind::EventType, true, "What happened: a type of the catalog."),
    field("occurredAt", FieldKind::Time, true, "When it happened; places it in its bucket."),
    field("receivedAt", FieldKind::Time, false, "The sender's own time of receipt; kept as edgeReceivedAt."),
    field("edgeReceivedAt", FieldKind::Time, false, "When an edge server took it in; decides nothing."),
    field("auctionId", ID, true, "The auction that the ad won."),
    field("impressionId", ID, true, "The impression that a click or a conversion follows from."),
    field("clickId", ID, true, "The click that a conversion follows from."),
    field("clickOrdinal", FieldKind::Uint { max: u32::MAX as u64 }, true, "Which click on the impression, from 1."),
    field("userId", ID, true, "The user, under the sender's pseudonym."),
    field("sessionId", ID, true, "The user's session."),
    field("position", FieldKind::Int, true, "Place of the ad on the page."),
    field("propensity", FieldKind::Number, true, "Probability with which the policy chose the ad."),
    field("priceMicros", MICROS, true, "Price of this one event in millionths of the currency."),
    field("valueMicros", MICROS, true, "What a conversion was worth, in millionths of the currency."),
    field("currency", FieldKind::Currency, true, "ISO 4217 code of price and value."),
    field("userAgent", FieldKind::Text { max_bytes: 2048 }, false, "The browser's words about itself."),
    field("ip", FieldKind::Text { max_bytes: 64 }, false, "The viewer's address."),
    field("consent", FieldKind::Any, true, "The consent given (TCF, GPP)."),
    field("measurementSource", ID, true, "Who measured it."),
    field("schemaVersion", FieldKind::SchemaVersion, false, "Version of this schema; missing means 1."),
    field("attributes", FieldKind::Object, true, "Anything else; raw until the catalog approves a key."),
    field("$extra", FieldKind::Internal, true, "Fields that the catalog does not know, as members of one object."),
    field("$flags", FieldKind::Internal, false, "What the collector found: bit 0, the campaign was out of flight."),
    field("$code", FieldKind::Internal, false, "Why a line was rejected, or an import ended."),
    field("$param", FieldKind::Internal, false, "The field that a rejection is about."),
    field("$raw", FieldKind::Internal, false, "The bytes that were rejected."),
    field("$target", FieldKind::Internal, false, "Offset of the quarantined event that a replay takes up."),
    field("$run", FieldKind::Internal, false, "The import's run."),
    field("$path", FieldKind::Internal, false, "The file's path as given."),
    field("$size", FieldKind::Internal, false, "The file's size in bytes."),
    field("$head", FieldKind::Internal, false, "XXH3-64 of the file's first MiB."),
    field("$position", FieldKind::Internal, false, "How many bytes of the file's text were read."),
    field("$line", FieldKind::Internal, false, "How many lines of the file were read."),
];
