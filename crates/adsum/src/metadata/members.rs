//! The members of a request's JSON object, taken out one by one and checked.
//!
//! Invariant: what is left over in the end is refused by name, so a misspelt member never passes for one that is
//! missing; a member that stands twice is refused; null is missing. Not here: what the members mean ([`super::read`]).

use adsum_model::catalog::ID_BYTES_MAX;
use adsum_model::time::{EventTime, parse_rfc3339};
use adsum_model::wire::check_text;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use crate::http::Problem;

/// How long a name for people may be, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// How many members an object may have.
const MEMBERS_MAX: usize = 64;

/// An object's members that were not taken yet.
#[derive(Debug)]
pub struct Members(Vec<(String, Value)>);

impl Members {
    /// Reads an object.
    pub fn read(json: &[u8]) -> Result<Self, Problem> {
        let text = std::str::from_utf8(json).map_err(|_| Problem::bad_request("invalid_utf8", "this is not UTF-8"))?;
        let mut members = match serde_json::from_str::<Object>(text) {
            Ok(Object(members)) => members,
            Err(error) if error.is_data() => return Err(Problem::bad_request("not_an_object", error.to_string())),
            Err(error) => return Err(Problem::bad_request("invalid_json", format!("this is no JSON: {error}"))),
        };
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|w| w[0] == w[1]) {
            return Err(Problem::bad_request("duplicate_field", "a member stands twice").about(twice[0]));
        }
        members.retain(|(_, value)| !value.is_null());
        Ok(Self(members))
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(n, _)| n == name)?;
        Some(self.0.swap_remove(at).1)
    }

    fn text(&mut self, name: &str, bytes_max: usize) -> Result<Option<String>, Problem> {
        let text = match self.take(name) {
            None => return Ok(None),
            Some(Value::String(text)) => text,
            Some(_) => return Err(Problem::bad_request("invalid_type", "text is expected").about(name)),
        };
        check(&text, bytes_max).map_err(|p| p.about(name))?;
        Ok(Some(text))
    }

    /// A name for people.
    pub fn name(&mut self) -> Result<Option<String>, Problem> {
        self.text("name", NAME_BYTES_MAX)
    }

    /// An id, or other text of which one has to be careful.
    pub fn id_if(&mut self, name: &str) -> Result<Option<String>, Problem> {
        self.text(name, ID_BYTES_MAX)
    }

    /// The same, which must be there.
    pub fn id(&mut self, name: &str) -> Result<String, Problem> {
        self.id_if(name)?.ok_or_else(|| missing(name))
    }

    /// Text of at most so many bytes, which must be there.
    pub fn required(&mut self, name: &str, bytes_max: usize) -> Result<String, Problem> {
        self.text(name, bytes_max)?.ok_or_else(|| missing(name))
    }

    /// The id that the path names may be repeated, and must be the same then.
    pub fn same_id(&mut self, id: &str) -> Result<(), Problem> {
        match self.id_if("id")? {
            Some(other) if other != id => {
                Err(Problem::bad_request("id_mismatch", "the path and the body name different ids").about("id"))
            }
            _ => Ok(()),
        }
    }

    /// One of some words.
    pub fn word<T>(&mut self, name: &str, words: &str, of: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Problem> {
        let Some(text) = self.id_if(name)? else { return Ok(None) };
        match of(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(Problem::bad_request("invalid_value", format!("none of {words}")).about(name)),
        }
    }

    /// A moment.
    pub fn moment(&mut self, name: &str) -> Result<Option<EventTime>, Problem> {
        let Some(text) = self.id_if(name)? else { return Ok(None) };
        match parse_rfc3339(text.as_bytes()) {
            Ok(micros) => Ok(Some(EventTime::from_micros(micros))),
            Err(_) => {
                let detail = "no RFC 3339 moment with its offset, as in 2026-11-21T08:00:00Z";
                Err(Problem::bad_request("invalid_time", detail).about(name))
            }
        }
    }

    /// A whole number from 1 to `max`.
    pub fn number(&mut self, name: &str, max: u32) -> Result<Option<u32>, Problem> {
        let number = match self.take(name) {
            None => return Ok(None),
            Some(Value::Number(number)) => number,
            Some(_) => return Err(Problem::bad_request("invalid_type", "a whole number is expected").about(name)),
        };
        match number.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| (1..=max).contains(n)) {
            Some(number) => Ok(Some(number)),
            None => Err(Problem::bad_request("out_of_range", format!("a whole number from 1 to {max}")).about(name)),
        }
    }

    /// Everything was taken.
    pub fn end(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::bad_request("unknown_field", "there is no such member").about(name)),
        }
    }
}

/// Checks an id of a path.
pub fn check_id(id: &str) -> Result<(), Problem> {
    check(id, ID_BYTES_MAX).map_err(|p| p.about("id"))
}

fn check(text: &str, bytes_max: usize) -> Result<(), Problem> {
    check_text(text, bytes_max)
        .map_err(|code| Problem::bad_request(code.name(), format!("text of 1 to {bytes_max} bytes without controls")))
}

fn missing(name: &str) -> Problem {
    Problem::bad_request("missing_field", "this member is required").about(name)
}

/// An object whose members keep their order, and stand twice where they do.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Object;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Object, M::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                    if members.len() > MEMBERS_MAX {
                        return Err(M::Error::custom("an object of so many members is none of these"));
                    }
                }
                Ok(Object(members))
            }
        }
        from.deserialize_map(Reader)
    }
}
