//! JSON values taken apart: an object's members, the canonical text of a value, and how it enters a hash.
//!
//! Invariant: the order of members, white space and escapes change no canonical text. Not here: the grammar, which is
//! the scanner's.

use std::borrow::Cow;

use xxhash_rust::xxh3::xxh3_64;

use super::scan::{DEPTH_MAX, JsonError, Kind, MEMBERS_MAX, Scanner, quote_into, unescape, unescaped};
use crate::hash::{ContentSum, ContentTerm, Letter, text_word};

/// One member of an object: its key's text, and where its value lies.
type Member<'a> = (Cow<'a, [u8]>, std::ops::Range<usize>);

/// The members of a JSON object.
pub fn members(object: &[u8]) -> Result<Vec<Member<'_>>, JsonError> {
    let mut scanner = Scanner::new(object, 0);
    scanner.skip_space();
    members_at(&mut scanner, 0)
}

/// The members of the object that the scanner stands at, which is eaten.
fn members_at<'a>(scanner: &mut Scanner<'a>, depth: usize) -> Result<Vec<Member<'a>>, JsonError> {
    let text = scanner.text;
    let mut found: Vec<Member<'a>> = Vec::new();
    scanner.each_member(|s, key| {
        let name = unescaped(text, key);
        if found.iter().any(|(other, _)| *other == name) {
            return Err(JsonError::DuplicateKey);
        }
        let start = s.at;
        s.value(depth + 1)?;
        found.push((name, start..s.at));
        Ok(())
    })?;
    Ok(found)
}

/// Where the value of `key` lies in a JSON object; `None` if it has no such key.
pub fn find_member(object: &[u8], key: &str) -> Result<Option<std::ops::Range<usize>>, JsonError> {
    Ok(members(object)?.into_iter().find(|(name, _)| **name == *key.as_bytes()).map(|(_, range)| range))
}

/// The canonical text of a JSON value: no white space, keys in byte order, numbers as written, and strings with only
/// the escapes that JSON needs.
pub fn canonical_json(value: &[u8]) -> Result<Vec<u8>, JsonError> {
    let mut out = Vec::with_capacity(value.len());
    let mut scanner = Scanner::new(value, 0);
    scanner.skip_space();
    canonical_into(&mut scanner, 0, &mut out)?;
    Ok(out)
}

fn canonical_into(scanner: &mut Scanner<'_>, depth: usize, out: &mut Vec<u8>) -> Result<(), JsonError> {
    let text = scanner.text;
    match scanner.peek().ok_or(JsonError::Syntax)? {
        b'{' => {
            let mut all = members_at(scanner, depth)?;
            if depth > DEPTH_MAX || all.len() > MEMBERS_MAX {
                return Err(JsonError::TooLarge);
            }
            all.sort_by(|a, b| a.0.cmp(&b.0));
            out.push(b'{');
            for (i, (name, range)) in all.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                quote_into(&name, out);
                out.push(b':');
                canonical_into(&mut Scanner::new(text, range.start), depth + 1, out)?;
            }
            out.push(b'}');
        }
        b'[' => {
            out.push(b'[');
            let mut first = true;
            scanner.each_element(|scanner| {
                if !first {
                    out.push(b',');
                }
                first = false;
                canonical_into(scanner, depth + 1, out)
            })?;
            out.push(b']');
        }
        _ => {
            let start = scanner.at;
            match scanner.value(depth)? {
                Kind::String(s) => quote_into(&unescaped(text, s), out),
                _ => out.extend_from_slice(&text[start..scanner.at]),
            }
        }
    }
    Ok(())
}

/// How an unknown field enters a content hash: its letter and its word; a null is missing.
pub(crate) fn json_word(value: &[u8]) -> Option<(Letter, u64)> {
    match value.first()? {
        b'n' => return None,
        b'"' => match Scanner::new(value, 0).value(0).ok()? {
            Kind::String(s) => return Some((Letter::Text, text_word(&unescaped(value, s)))),
            _ => return None,
        },
        b'-' | b'0'..=b'9' => {
            let text = std::str::from_utf8(value).ok()?;
            match (text.parse::<u64>(), text.parse::<i64>()) {
                (Ok(n), _) => return Some((Letter::Uint, n)),
                // -0 is no unsigned number to Rust, and no negative one to us.
                (_, Ok(0)) => return Some((Letter::Uint, 0)),
                (_, Ok(n)) => return Some((Letter::Int, n as u64)),
                _ => {}
            }
        }
        _ => {}
    }
    Some((Letter::Json, free_word(value)))
}

/// The word of free JSON; what is no JSON enters as it stands.
pub(crate) fn free_word(value: &[u8]) -> u64 {
    let mut sum = ContentSum::default();
    let mut scanner = Scanner::new(value, 0);
    scanner.skip_space();
    match add_free(&mut scanner, b"", 0, &mut sum) {
        Ok(()) => sum.word(),
        Err(_) => xxh3_64(value),
    }
}

/// Adds the term that the value makes under a name to a sum; the value is eaten.
fn add_free(scanner: &mut Scanner<'_>, name: &[u8], depth: usize, sum: &mut ContentSum) -> Result<(), JsonError> {
    let (text, start) = (scanner.text, scanner.at);
    if depth > DEPTH_MAX {
        return Err(JsonError::TooLarge);
    }
    let mut inside = ContentSum::default();
    let (letter, word) = match scanner.peek() {
        Some(b'{') => {
            scanner.each_member(|s, key| add_free(s, &unescaped(text, key), depth + 1, &mut inside))?;
            (Letter::Object, inside.word())
        }
        Some(b'[') => {
            let mut place = 0;
            scanner.each_element(|s| {
                place += 1;
                add_free(s, decimal(place - 1, &mut [0; 20]), depth + 1, &mut inside)
            })?;
            (Letter::Array, inside.word())
        }
        _ => match scanner.value(depth)? {
            Kind::String(s) => (Letter::Text, text_word(&unescaped(text, s))),
            _ => (Letter::Json, xxh3_64(&text[start..scanner.at])),
        },
    };
    sum.add(ContentTerm::of(name, letter), word);
    Ok(())
}

/// A number in decimal.
fn decimal(mut number: u64, room: &mut [u8; 20]) -> &[u8] {
    let mut at = room.len();
    loop {
        at -= 1;
        room[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &room[at..];
        }
    }
}

/// A key of `attributes` as a dimension's value: text, or a number or truth value as written; null, objects and
/// arrays are no value.
pub(crate) fn attribute_text(object: &[u8], key: &str) -> Option<Vec<u8>> {
    let range = find_member(object, key).ok()??;
    let value = &object[range];
    match Scanner::new(value, 0).value(0).ok()? {
        Kind::String(s) => Some(unescape(value, s)),
        Kind::Number | Kind::True | Kind::False => Some(value.to_vec()),
        Kind::Null | Kind::Object | Kind::Array => None,
    }
}
