//! Text of fields: which characters an id may hold, and UUIDs in their canonical form.

use super::reject::RejectCode;

/// Whether validated UTF-8 holds a character that no field may hold: NUL and other controls (C0, DEL, C1), and the
/// bidirectional formatting characters, which make two ids look like one (Unicode TR 36, section 2.4).
pub(crate) fn has_forbidden(text: &[u8]) -> bool {
    if text.iter().all(|b| matches!(b, b' '..=b'~')) {
        return false;
    }
    let Ok(text) = std::str::from_utf8(text) else { return true };
    text.chars().any(|c| {
        c.is_control()
            || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    })
}

/// Checks text as fields that are ids are checked: at least one byte, at most `bytes_max`, no control and no bidi
/// character.
pub fn check_text(text: &str, bytes_max: usize) -> Result<(), RejectCode> {
    match text.len() {
        0 => Err(RejectCode::Empty),
        bytes if bytes > bytes_max => Err(RejectCode::TooLong),
        _ if has_forbidden(text.as_bytes()) => Err(RejectCode::ForbiddenCharacter),
        _ => Ok(()),
    }
}

/// The 16 bytes of a canonical lower-case UUID (8-4-4-4-12); any other text gives none.
#[inline(always)]
pub(crate) fn parse_uuid(text: &[u8; 36]) -> Option<[u8; 16]> {
    if text[8] != b'-' || text[13] != b'-' || text[18] != b'-' || text[23] != b'-' {
        return None;
    }
    // The digits as four numbers: put together from parts of memory, they would have to wait for the writes.
    let four = |at: usize| u64::from(u32::from_le_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]]));
    let eight = |at: usize| four(at) | four(at + 4) << 32;
    hex_pairs([eight(0), four(9) | four(14) << 32, four(19) | four(24) << 32, eight(28)])
}

/// Sixteen bytes from 32 lower-case hexadecimal digits, eight in each number, the first lowest.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn hex_pairs(digits: [u64; 4]) -> Option<[u8; 16]> {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi8, _mm_and_si128, _mm_cmpeq_epi8, _mm_max_epu8, _mm_min_epu8, _mm_movemask_epi8,
        _mm_or_si128, _mm_packus_epi16, _mm_set_epi64x, _mm_set1_epi8, _mm_set1_epi16, _mm_slli_epi16, _mm_srli_epi16,
        _mm_storeu_si128,
    };
    // SAFETY: SSE2 is part of x86_64; the store stays within the array.
    unsafe {
        let within = |x: __m128i, low: u8, high: u8| {
            let clamped = _mm_max_epu8(_mm_min_epu8(x, _mm_set1_epi8(high as i8)), _mm_set1_epi8(low as i8));
            _mm_cmpeq_epi8(clamped, x)
        };
        let half = |low: u64, high: u64| {
            let x = _mm_set_epi64x(high as i64, low as i64);
            let letter = within(x, b'a', b'f');
            let good = _mm_or_si128(within(x, b'0', b'9'), letter);
            let nine = _mm_and_si128(letter, _mm_set1_epi8(9));
            let nibbles = _mm_and_si128(_mm_add_epi8(x, nine), _mm_set1_epi8(0xF));
            // In each 16 bits the first digit is the low byte: it becomes the high nibble.
            let pairs = _mm_or_si128(_mm_slli_epi16::<4>(nibbles), _mm_srli_epi16::<8>(nibbles));
            (_mm_and_si128(pairs, _mm_set1_epi16(0xFF)), good)
        };
        let ((first, good), (second, also)) = (half(digits[0], digits[1]), half(digits[2], digits[3]));
        if _mm_movemask_epi8(_mm_and_si128(good, also)) != 0xFFFF {
            return None;
        }
        let mut out = [0_u8; 16];
        _mm_storeu_si128(out.as_mut_ptr().cast::<__m128i>(), _mm_packus_epi16(first, second));
        Some(out)
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn hex_pairs(digits: [u64; 4]) -> Option<[u8; 16]> {
    let nibble = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let digits = digits.map(u64::to_le_bytes);
    let mut out = [0_u8; 16];
    for (byte, pair) in out.iter_mut().zip(digits.as_flattened().chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(out)
}

/// The canonical text of a UUID.
pub fn format_uuid(bytes: &[u8; 16]) -> [u8; 36] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = [b'-'; 36];
    let mut at = 0;
    for (i, b) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            at += 1;
        }
        out[at] = DIGITS[usize::from(b >> 4)];
        out[at + 1] = DIGITS[usize::from(b & 0xF)];
        at += 2;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_uuids() {
        let good = "0f8fad5b-d9cb-469f-a165-70867728950e";
        let parse = |text: &str| text.as_bytes().first_chunk().and_then(parse_uuid);
        let parsed = parse(good).unwrap();
        assert_eq!(&format_uuid(&parsed), good.as_bytes());
        for other in [
            "0F8fad5b-d9cb-469f-a165-70867728950e",
            "0f8fad5bd9cb-469f-a165-70867728950ee",
            "0f8fad5b-d9cb-469f-a165-70867728950",
            "0f8fad5b-d9cb-469f-a165-7086772895zz",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn table_of_characters() {
        for (text, forbidden) in [
            ("camp_1", false),
            ("Zürich", false),
            ("a\u{7f}", true),
            ("a\u{85}", true),
            ("a\u{0}", true),
            ("a\u{202e}b", true),
            ("a\u{2066}b", true),
            ("\u{200f}", true),
            ("\u{200d}", false),
        ] {
            assert_eq!(has_forbidden(text.as_bytes()), forbidden, "{text:?}");
        }
    }
}
