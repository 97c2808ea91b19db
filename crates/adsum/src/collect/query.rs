//! A query string as an event: for browsers that can only ask for an address.
//!
//! Each parameter becomes a member of a JSON object under its own name, and the one decoder says what it is worth.
//! Invariant: nothing that a parameter holds can be more than the one member. Not here: which parameters are no fields.

use adsum_model::catalog::{Catalog, FieldKind};
use adsum_model::time::ReceivedAt;
use adsum_model::wire::quote_into;
use http::StatusCode;
use serde_json::value::RawValue;

use crate::http::Problem;

/// The longest query string, in bytes.
const QUERY_BYTES_MAX: usize = 8 << 10;

/// A query string taken apart; names and values are any bytes.
pub struct Query {
    parameters: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Query {
    /// Takes a query string apart.
    pub fn parse(text: Option<&str>) -> Result<Self, Problem> {
        let text = text.unwrap_or_default();
        if text.len() > QUERY_BYTES_MAX {
            let detail = format!("a query string has at most {QUERY_BYTES_MAX} bytes");
            return Err(Problem::new(StatusCode::URI_TOO_LONG, "query_too_long", detail));
        }
        let parameter = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (unescaped(name.as_bytes()), unescaped(value.as_bytes()))
        };
        Ok(Self { parameters: text.split('&').filter(|part| !part.is_empty()).map(parameter).collect() })
    }

    /// Takes a parameter out that is no field: its value, if it stands once and is UTF-8.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let mut found: Vec<Vec<u8>> = Vec::new();
        self.parameters.retain_mut(|(own, value)| {
            let named = own == name.as_bytes();
            if named {
                found.push(std::mem::take(value));
            }
            !named
        });
        let [value] = found.as_slice() else { return None };
        String::from_utf8(value.clone()).ok()
    }

    /// Adds a parameter, if the sender gave none of that name.
    pub fn default(&mut self, name: &str, value: &[u8]) {
        if !self.parameters.iter().any(|(own, _)| own == name.as_bytes()) {
            self.parameters.push((name.as_bytes().to_vec(), value.to_vec()));
        }
    }

    /// The event as one line of JSON, with a moment of receipt where it names none of its own.
    pub fn event(mut self, catalog: &Catalog, received_at: ReceivedAt) -> Vec<u8> {
        self.default("occurredAt", received_at.to_string().as_bytes());
        let mut out = Vec::new();
        for (name, value) in &self.parameters {
            out.push(if out.is_empty() { b'{' } else { b',' });
            quote_into(name, &mut out);
            out.push(b':');
            let plain = kind_of(catalog, name).is_some_and(|kind| stands_bare(kind, value));
            if plain {
                out.extend_from_slice(value);
            } else {
                quote_into(value, &mut out);
            }
        }
        out.push(b'}');
        out
    }
}

/// What the field of this name holds, under our name or a sender's.
fn kind_of(catalog: &Catalog, name: &[u8]) -> Option<FieldKind> {
    let name = std::str::from_utf8(name).ok()?;
    let mapped = catalog.mapping().iter().find(|m| m.from == name).map_or(name, |m| m.to.as_str());
    catalog.field_named(mapped).map(|field| catalog.field(field).kind)
}

/// Whether a value is what its field holds without quotes: a number, or an object.
fn stands_bare(kind: FieldKind, value: &[u8]) -> bool {
    let begins = match kind {
        FieldKind::Uint { .. } | FieldKind::Int | FieldKind::Number | FieldKind::SchemaVersion => {
            value.first().is_some_and(|b| matches!(b, b'-' | b'0'..=b'9'))
        }
        FieldKind::Object => value.first() == Some(&b'{'),
        _ => false,
    };
    // One value to its end, and no line break inside, which would end the line.
    begins && !value.contains(&b'\n') && serde_json::from_slice::<&RawValue>(value).is_ok()
}

/// Plus signs are spaces and %XX are bytes (the URL standard, application/x-www-form-urlencoded).
fn unescaped(text: &[u8]) -> Vec<u8> {
    let digit = |b: &u8| char::from(*b).to_digit(16);
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match (first, behind) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, behind @ ..]) if digit(high).is_some() && digit(low).is_some() => {
                out.push((digit(high).unwrap_or_default() * 16 + digit(low).unwrap_or_default()) as u8);
                rest = behind;
            }
            _ => out.push(*first),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use adsum_model::catalog::CatalogSpec;

    use super::*;

    #[test]
    fn table_of_queries() {
        let catalog = Catalog::build(&CatalogSpec::default()).unwrap();
        let at = ReceivedAt::from_micros(1_795_248_320_000_000);
        for (query, want) in [
            ("occurredAt=x", r#"{"occurredAt":"x"}"#),
            ("eventId=e+1%2F%22&occurredAt=x", r#"{"eventId":"e 1/\"","occurredAt":"x"}"#),
            ("priceMicros=12&occurredAt=x", r#"{"priceMicros":12,"occurredAt":"x"}"#),
            ("priceMicros=012&occurredAt=x", r#"{"priceMicros":"012","occurredAt":"x"}"#),
            ("priceMicros=1%2C%22a%22%3A2&occurredAt=x", r#"{"priceMicros":"1,\"a\":2","occurredAt":"x"}"#),
            ("position=-3&propensity=0.25&occurredAt=x", r#"{"position":-3,"propensity":0.25,"occurredAt":"x"}"#),
            ("attributes=%7B%22a%22%3A1%7D&occurredAt=x", r#"{"attributes":{"a":1},"occurredAt":"x"}"#),
            ("attributes=%7B%22a%22%0A%3A1%7D&occurredAt=x", r#"{"attributes":"{\"a\"\u000a:1}","occurredAt":"x"}"#),
            ("attributes=%7B%7D%2C%22a%22%3A%7B%7D&occurredAt=x", r#"{"attributes":"{},\"a\":{}","occurredAt":"x"}"#),
            ("userId=7&a%3Db=%zz&&occurredAt=x", r#"{"userId":"7","a=b":"%zz","occurredAt":"x"}"#),
            ("eventId=a&eventId=b&occurredAt=x", r#"{"eventId":"a","eventId":"b","occurredAt":"x"}"#),
            ("", r#"{"occurredAt":"2026-11-21T08:05:20Z"}"#),
        ] {
            let event = Query::parse(Some(query)).unwrap().event(&catalog, at);
            assert_eq!(String::from_utf8(event).unwrap(), want, "{query}");
        }
        let mut query = Query::parse(Some("key=sk&u=a&u=b&x=%ff")).unwrap();
        assert_eq!(query.take("key").as_deref(), Some("sk"));
        assert_eq!((query.take("u"), query.take("key")), (None, None));
        let long = "a".repeat(QUERY_BYTES_MAX + 1);
        assert_eq!(Query::parse(Some(&long)).err().map(|problem| problem.code), Some("query_too_long"));
    }
}
