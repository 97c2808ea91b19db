//! Fields that the catalog does not know, as members of the JSON object in `$extra`, so that nothing is lost.
//!
//! Invariant: the object is one again, whatever it held before. Not here: finding out which fields are unknown.

use adsum_model::record::Form;
use adsum_model::time::format_utc;

/// A value as decoded.
pub(crate) enum Value<'a> {
    /// Text, a symbol's too.
    Text(&'a [u8]),
    /// A UUID.
    Uuid([u8; 16]),
    /// 64 bits in one of the forms that hold them.
    Wide(Form, u64),
    /// JSON text.
    Json(&'a [u8]),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// Adds a member to `object`, which holds a JSON object's text or nothing yet.
pub(crate) fn add_member(object: &mut Vec<u8>, name: &str, value: &Value<'_>) {
    while object.last().is_some_and(|b| b.is_ascii_whitespace() || *b == b'}') {
        // Only the last brace goes: a member's own brace is followed by it.
        if object.pop() == Some(b'}') {
            break;
        }
    }
    let inside = object.iter().rev().find(|b| !b.is_ascii_whitespace()).copied();
    match inside {
        None => object.push(b'{'),
        Some(b'{') if object.iter().filter(|b| !b.is_ascii_whitespace()).count() == 1 => {}
        Some(_) => object.push(b','),
    }
    push_string(object, name.as_bytes());
    object.push(b':');
    match value {
        Value::Text(bytes) => push_string(object, bytes),
        Value::Uuid(bytes) => {
            object.push(b'"');
            for (i, byte) in bytes.iter().enumerate() {
                if matches!(i, 4 | 6 | 8 | 10) {
                    object.push(b'-');
                }
                push_hex(object, *byte);
            }
            object.push(b'"');
        }
        Value::Wide(Form::Time, bits) => push_string(object, format_utc(*bits as i64).as_bytes()),
        Value::Wide(Form::Int, bits) => object.extend_from_slice((*bits as i64).to_string().as_bytes()),
        Value::Wide(_, bits) => object.extend_from_slice(bits.to_string().as_bytes()),
        Value::Json(text) => object.extend_from_slice(text),
        Value::Bytes(bytes) => {
            object.push(b'"');
            for byte in *bytes {
                push_hex(object, *byte);
            }
            object.push(b'"');
        }
    }
    object.push(b'}');
}

fn push_hex(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                push_hex(out, *byte);
            }
            _ => out.push(*byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_join_the_object() {
        let cases: &[(&str, Value<'_>, &str)] = &[
            ("", Value::Wide(Form::Uint, u64::MAX), r#"{"n":18446744073709551615}"#),
            ("{}", Value::Wide(Form::Int, -5_i64 as u64), r#"{"n":-5}"#),
            (" { } ", Value::Json(b"{}"), r#" { "n":{}}"#),
            (r#"{"a":{}}"#, Value::Text(b"x\"\\\n\xc3\xa4"), "{\"a\":{},\"n\":\"x\\\"\\\\\\u000a\u{e4}\"}"),
            (r#"{"a":{"b":1}} "#, Value::Wide(Form::Time, 0), r#"{"a":{"b":1},"n":"1970-01-01T00:00:00Z"}"#),
            (r#"{"a":"{"}"#, Value::Bytes(b"\x00\xff"), r#"{"a":"{","n":"00ff"}"#),
            ("", Value::Uuid([0xab; 16]), r#"{"n":"abababab-abab-abab-abab-abababababab"}"#),
        ];
        for (before, value, want) in cases {
            let mut object = before.as_bytes().to_vec();
            add_member(&mut object, "n", value);
            assert_eq!(String::from_utf8_lossy(&object), *want);
            assert!(serde_json::from_slice::<serde_json::Value>(&object).is_ok(), "{want}");
        }
    }
}
