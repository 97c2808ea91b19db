//! The door for a request's body in JSON: `{"events":[...]}`, one object with one member.
//!
//! The body is scanned whole before anything of it is decoded: what is no JSON costs the request, and then each element
//! is decoded where it stands, by the way of a line, so that a bad one costs itself alone. Invariant: a body that is
//! refused leaves nothing behind. Not here: encodings and sizes, which are the collector's.

use std::ops::Range;

use super::decode::{Decoded, Decoder, Intake};
use super::scan::{JsonError, Scanner, unescaped};
use super::text::has_forbidden;
use crate::catalog::ID_BYTES_MAX;

/// The one member of a body.
const EVENTS: &str = "events";
/// The longest name of a member that an error repeats, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// What is wrong with a body as a whole. The names are part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyCode {
    /// Not JSON.
    InvalidJson,
    /// JSON, but no object.
    NotAnObject,
    /// `events` is no array.
    InvalidType,
    /// A member beside `events`.
    UnknownField,
    /// `events` stands twice.
    DuplicateField,
    /// No `events`, or an empty one.
    NoEvents,
    /// More events than a request may have.
    TooManyEvents,
}

impl BodyCode {
    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::NotAnObject => "not_an_object",
            Self::InvalidType => "invalid_type",
            Self::UnknownField => "unknown_field",
            Self::DuplicateField => "duplicate_field",
            Self::NoEvents => "no_events",
            Self::TooManyEvents => "too_many_events",
        }
    }
}

/// Why a body was refused whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyError {
    /// What is wrong.
    pub code: BodyCode,
    /// Up to which byte of the body all was well.
    pub at: usize,
    /// The member that it is about; empty where it is about the whole.
    pub param: String,
}

impl BodyError {
    fn new(code: BodyCode, at: usize, param: &str) -> Self {
        Self { code, at, param: param.to_owned() }
    }
}

impl Decoder {
    /// Decodes the elements of `events` into `out`, which is emptied first; `text` becomes its arena. Each element
    /// becomes one record, in order. On an error nothing was decoded.
    pub fn decode_array(
        &mut self,
        text: Vec<u8>,
        events_max: usize,
        intake: &Intake,
        out: &mut Decoded,
    ) -> Result<(), BodyError> {
        out.clear();
        let elements = elements(&text, events_max)?;
        self.decode(text, Some(elements), intake, out);
        Ok(())
    }
}

/// Where the elements of `events` stand.
fn elements(text: &[u8], events_max: usize) -> Result<Vec<Range<usize>>, BodyError> {
    let mut s = Scanner::new(text, 0);
    s.skip_space();
    match s.peek() {
        None => return Err(BodyError::new(BodyCode::NoEvents, s.at, EVENTS)),
        Some(b'{') => {}
        Some(_) => return Err(no_object(s)),
    }
    let mut found: Option<Vec<Range<usize>>> = None;
    let mut refused: Option<BodyError> = None;
    let scanned = s.each_member(|s, key| {
        let name = unescaped(s.text, key);
        if *name != *EVENTS.as_bytes() {
            let shown = String::from_utf8_lossy(&name[..name.len().min(NAME_BYTES_MAX)]);
            refused.get_or_insert_with(|| BodyError::new(BodyCode::UnknownField, s.at, &shown));
            return s.pass_over();
        }
        if found.is_some() {
            refused.get_or_insert_with(|| BodyError::new(BodyCode::DuplicateField, s.at, EVENTS));
        }
        if s.peek() != Some(b'[') {
            refused.get_or_insert_with(|| BodyError::new(BodyCode::InvalidType, s.at, EVENTS));
            return s.pass_over();
        }
        let mut ranges = Vec::new();
        array(s, &mut ranges, events_max)?;
        if ranges.len() > events_max {
            refused.get_or_insert_with(|| BodyError::new(BodyCode::TooManyEvents, s.at, EVENTS));
        }
        found = Some(ranges);
        Ok(())
    });
    s.skip_space();
    if scanned.is_err() || s.at != text.len() {
        return Err(BodyError::new(BodyCode::InvalidJson, s.at.min(text.len()), ""));
    }
    match (refused, found) {
        (Some(refused), _) => Err(refused),
        (None, Some(ranges)) if !ranges.is_empty() => Ok(ranges),
        (None, _) => Err(BodyError::new(BodyCode::NoEvents, s.at, EVENTS)),
    }
}

/// Goes through the array that the scanner stands at. Of elements beyond the limit only one more is noted.
fn array(s: &mut Scanner<'_>, ranges: &mut Vec<Range<usize>>, events_max: usize) -> Result<(), JsonError> {
    s.expect(b'[')?;
    s.skip_space();
    if s.eat(b']') {
        return Ok(());
    }
    loop {
        s.skip_space();
        let start = s.at;
        s.pass_over()?;
        if ranges.len() <= events_max {
            ranges.push(start..s.at);
        }
        s.skip_space();
        if s.eat(b']') {
            return Ok(());
        }
        s.expect(b',')?;
    }
}

/// What a body that does not begin with a brace is: nothing, another JSON value, or no JSON.
fn no_object(mut s: Scanner<'_>) -> BodyError {
    let begin = s.at;
    let mut empty = s;
    empty.at += 1;
    empty.skip_space();
    let empty = s.peek() == Some(b'[') && empty.peek() == Some(b']');
    let whole = s.pass_over().is_ok_and(|()| {
        s.skip_space();
        s.at == s.text.len()
    });
    match (whole, empty) {
        (false, _) => BodyError::new(BodyCode::InvalidJson, s.at.min(s.text.len()), ""),
        (true, true) => BodyError::new(BodyCode::NoEvents, begin, EVENTS),
        (true, false) => BodyError::new(BodyCode::NotAnObject, begin, ""),
    }
}

/// The text of a member of an object that was rejected, where it can be read and shown: text as an id may be, in front
/// of what is broken.
pub fn readable_member(raw: &[u8], names: &[&str]) -> Option<String> {
    let mut found = None;
    let mut s = Scanner::new(raw, 0);
    s.skip_space();
    // Why the object is wrong was said before; what stands in front of the error is what can be read.
    let _ = s.each_member(|s, key| {
        let name = unescaped(s.text, key);
        let wanted = found.is_none() && names.iter().any(|n| *name == *n.as_bytes());
        if !wanted || s.peek() != Some(b'"') {
            return s.pass_over();
        }
        s.at += 1;
        let value = s.string()?;
        let text = unescaped(s.text, value);
        if !text.is_empty() && text.len() <= ID_BYTES_MAX && !has_forbidden(&text) {
            found = String::from_utf8(text.into_owned()).ok();
        }
        Ok(())
    });
    found
}
