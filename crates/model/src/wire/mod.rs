//! From bytes to records: JSON as senders write it, checked strictly.
//!
//! Invariant: a line becomes one event or one reject, never both and never nothing (blank lines are not received);
//! the order of fields, white space and escapes change no answer. Not here: sockets, files, and what an event means.

mod admit;
mod array;
mod decode;
mod fields;
mod keys;
mod members;
mod reject;
mod scan;
mod shape;
mod text;
mod usual;
mod write;

pub use array::{BodyCode, BodyError, readable_member};
pub use decode::{Decoded, Decoder, Intake};
pub(crate) use members::{attribute_text, free_word, json_word};
pub use members::{canonical_json, find_member, members};
pub use reject::{Reject, RejectCode};
pub use scan::{JsonError, quote_into};
pub(crate) use text::parse_uuid;
pub use text::{check_text, format_uuid};
pub use write::record_json;
