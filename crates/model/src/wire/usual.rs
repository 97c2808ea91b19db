//! Values in the form that most senders write, read from a window of the text in few steps and without branches that
//! the values decide.
//!
//! Invariant: what is read here is right, and all of it printable ASCII; whatever is otherwise gives none, and is read
//! with care. Not here: what is wrong with a value.

use super::text::parse_uuid;
use crate::short::{Short, UUID_TEXT_BYTES};
use crate::time::Hours;

/// The bytes that one look sees.
pub(super) const WINDOW: usize = 64;
/// The bytes that are searched at once.
const CHUNK: usize = 16;

/// A window of text.
pub(super) type Window = [u8; WINDOW];

/// The bytes from `at` on; where they are fewer, a window that shows nothing.
#[inline(always)]
pub(super) fn window(text: &[u8], at: usize) -> &Window {
    text.get(at..).and_then(|rest| rest.first_chunk()).unwrap_or(&[0; WINDOW])
}

/// The string that a window begins with.
pub(super) enum Text {
    /// Of 1 to 16 bytes, or a canonical UUID.
    Short(Short),
    /// A longer one, whose first bytes are without a stop.
    Long,
}

/// Reads a string.
#[inline(always)]
pub(super) fn text(w: &Window) -> Option<Text> {
    let [b'"', inside @ ..] = w else { return None };
    let chunk = inside.first_chunk::<CHUNK>()?;
    let len = stops(chunk).trailing_zeros() as usize;
    if len < CHUNK {
        // Every place of a stop lies in the window.
        let short = Short::of_load(chunk, len)?;
        return (inside[len] == b'"').then_some(Text::Short(short));
    }
    if inside[UUID_TEXT_BYTES] == b'"'
        && let Some(uuid) = parse_uuid(inside.first_chunk()?)
    {
        return Some(Text::Short(Short::of_uuid(uuid)));
    }
    if inside[CHUNK] == b'"' {
        return Some(Text::Short(Short::of_load(chunk, CHUNK)?));
    }
    Some(Text::Long)
}

/// Reads a canonical UUID.
#[inline(always)]
pub(super) fn uuid(w: &Window) -> Option<[u8; 16]> {
    let [b'"', inside @ ..] = w else { return None };
    if inside[UUID_TEXT_BYTES] != b'"' {
        return None;
    }
    parse_uuid(inside.first_chunk()?)
}

/// Where the string ends whose inside begins at `start`: at its closing quote.
#[inline(always)]
pub(super) fn end_of_text(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let len = stops(text.get(at..)?.first_chunk()?).trailing_zeros() as usize;
        at += len;
        if len < CHUNK {
            return (text.get(at) == Some(&b'"')).then_some(at);
        }
    }
}

/// The most digits that are read here.
const DIGITS_MAX: usize = 16;

/// Reads an integer; gives the number of its digits, too.
#[inline(always)]
pub(super) fn uint(w: &[u8; DIGITS_MAX + 1]) -> Option<(u64, usize)> {
    let (first, digits) = leading_digits(*w.first_chunk()?);
    if digits == 0 || (w[0] == b'0' && digits > 1) {
        return None;
    }
    let (value, digits) = if digits < 8 {
        (first, digits)
    } else {
        let (second, more) = leading_digits(*w[8..].first_chunk()?);
        if more == 8 && w[DIGITS_MAX].is_ascii_digit() {
            return None;
        }
        (first * POWERS[more] + second, 8 + more)
    };
    // Otherwise it goes on as another number.
    (!matches!(w[digits], b'.' | b'e' | b'E')).then_some((value, digits))
}

const POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The number that the digits at the beginning write, and how many they are.
#[inline(always)]
fn leading_digits(text: [u8; 8]) -> (u64, usize) {
    let x = u64::from_le_bytes(text) ^ 0x3030_3030_3030_3030;
    // The lowest byte that is no digit reaches bit 7; what it carries goes only to those behind it.
    let others = (x | x.wrapping_add(0x7676_7676_7676_7676)) & 0x8080_8080_8080_8080;
    let count = others.trailing_zeros() / 8;
    // Zeros go in front; all digits go where there are none.
    let digits = x.checked_shl(64 - 8 * count).unwrap_or(0);
    let x = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00FF_00FF_00FF_00FF;
    let x = x.wrapping_mul(100).wrapping_add(x >> 16) & 0x0000_FFFF_0000_FFFF;
    (x.wrapping_mul(10_000).wrapping_add(x >> 32) & 0xFFFF_FFFF, count as usize)
}

/// Reads a moment in RFC 3339; gives its microseconds since 1970 and the length of its text.
#[inline(always)]
pub(super) fn time(w: &Window, hours: &mut Hours) -> Option<(i64, usize)> {
    let [b'"', inside @ ..] = w else { return None };
    let len = if inside[20] == b'"' { 20 } else { 24 };
    if inside[len] != b'"' {
        return None;
    }
    Some((hours.parse(inside.first_chunk()?, len)?, len))
}

/// Which of 16 bytes are quotes, backslashes, or not printable ASCII, the first lowest; and one bit behind them.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn stops(bytes: &[u8; CHUNK]) -> u32 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi8, _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8,
    };
    // SAFETY: SSE2 is part of x86_64, and the load reads the 16 bytes of the array.
    unsafe {
        let bytes = _mm_loadu_si128(bytes.as_ptr().cast::<__m128i>());
        let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
        let slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        // DEL and what is beyond ASCII become negative, or 0.
        let other = _mm_cmplt_epi8(_mm_add_epi8(bytes, _mm_set1_epi8(1)), _mm_set1_epi8(b' ' as i8 + 1));
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, slash), other)) as u32 | 1 << CHUNK
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn stops(bytes: &[u8; CHUNK]) -> u32 {
    let stop = |b: u8| u32::from(matches!(b, b'"' | b'\\' | 0..0x20 | 0x7F..));
    bytes.iter().rev().fold(1, |stops, b| stops << 1 | stop(*b))
}
