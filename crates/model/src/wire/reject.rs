//! Why an event was rejected: a code and the field that it is about.

/// What is wrong. The names are part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RejectCode {
    /// Not UTF-8.
    InvalidUtf8,
    /// Not JSON.
    InvalidJson,
    /// JSON, but no object.
    NotAnObject,
    /// One key stands twice.
    DuplicateField,
    /// A required field is missing or null.
    MissingField,
    /// The value is of another type: a price in quotes, with a point, an exponent or a sign.
    InvalidType,
    /// A number above or below what the field may hold.
    OutOfRange,
    /// Text of no characters.
    Empty,
    /// Text that is too long.
    TooLong,
    /// NUL, a control or a bidi character.
    ForbiddenCharacter,
    /// No RFC 3339 moment with an offset, or one that does not exist.
    InvalidTime,
    /// No event type of the catalog.
    UnknownEventType,
    /// Another schema version than 1.
    UnknownSchemaVersion,
    /// No known campaign, where the configuration asks for one.
    UnknownCampaign,
    /// Not three upper-case letters.
    InvalidCurrency,
    /// The event is larger than the limit, or nested too deep.
    TooLarge,
}

impl RejectCode {
    /// Its name in API and log.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidUtf8 => "invalid_utf8",
            Self::InvalidJson => "invalid_json",
            Self::NotAnObject => "not_an_object",
            Self::DuplicateField => "duplicate_field",
            Self::MissingField => "missing_field",
            Self::InvalidType => "invalid_type",
            Self::OutOfRange => "out_of_range",
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::ForbiddenCharacter => "forbidden_character",
            Self::InvalidTime => "invalid_time",
            Self::UnknownEventType => "unknown_event_type",
            Self::UnknownSchemaVersion => "unknown_schema_version",
            Self::UnknownCampaign => "unknown_campaign",
            Self::InvalidCurrency => "invalid_currency",
            Self::TooLarge => "too_large",
        }
    }
}

/// A rejection: the code, and the field that it is about (empty where it is about the whole).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// What is wrong.
    pub code: RejectCode,
    /// The field, by the catalog's name, also where a mapping renamed it; an unknown one as the sender named it.
    pub param: String,
}

impl Reject {
    /// Boxed, for the way of good events carries its type along.
    pub(crate) fn new(code: RejectCode, param: impl Into<String>) -> Box<Self> {
        Box::new(Self { code, param: param.into() })
    }
}
