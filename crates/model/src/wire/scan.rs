//! A strict JSON scanner over bytes that are known to be UTF-8.
//!
//! It borrows, allocates nothing on the way of plain values, and refuses what RFC 8259 refuses: bare control
//! characters, lone surrogates, leading zeros, trailing commas. Invariant: nesting is bounded by [`DEPTH_MAX`], and
//! equal keys in one object are an error at every depth. Not here: what a field must hold.

use std::borrow::Cow;

/// The deepest nesting.
pub(crate) const DEPTH_MAX: usize = 32;
/// The most members of one nested object.
pub(super) const MEMBERS_MAX: usize = 512;
/// The members of an object whose keys are kept at hand.
const FEW: usize = 8;

/// Why a text is no JSON that we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonError {
    /// Against the grammar.
    Syntax,
    /// A key stands twice in one object.
    DuplicateKey,
    /// Nested deeper, or an object has more members, than the limit.
    TooLarge,
}

/// A scanned string: where its inside lies, and what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Str {
    pub start: usize,
    pub end: usize,
    /// It has escapes.
    pub escaped: bool,
}

/// A scanned value's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    String(Str),
    Number,
    Object,
    Array,
    True,
    False,
    Null,
}

#[derive(Clone, Copy)]
pub(crate) struct Scanner<'a> {
    pub text: &'a [u8],
    pub at: usize,
}

impl<'a> Scanner<'a> {
    /// Of a text, from a place in it on.
    pub fn new(text: &'a [u8], at: usize) -> Self {
        Self { text, at }
    }

    #[inline(always)]
    pub fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    #[inline(always)]
    pub fn skip_space(&mut self) {
        if let Some(0..=b' ') = self.peek() {
            self.at = behind_spaces(self.text, self.at);
        }
    }

    #[inline(always)]
    pub fn eat(&mut self, byte: u8) -> bool {
        if self.peek() == Some(byte) {
            self.at += 1;
            true
        } else {
            false
        }
    }

    #[inline(always)]
    pub fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.eat(byte) { Ok(()) } else { Err(JsonError::Syntax) }
    }

    /// A string whose opening quote was eaten.
    #[inline(always)]
    pub fn string(&mut self) -> Result<Str, JsonError> {
        let start = self.at;
        let end = stop_from(self.text, start);
        self.at = end + 1;
        match self.text.get(end) {
            Some(b'"') => Ok(Str { start, end, escaped: false }),
            Some(b'\\') => self.string_with_escapes(start, end),
            _ => Err(JsonError::Syntax),
        }
    }

    /// Goes on behind the first backslash, which stands at `stop`.
    #[inline(never)]
    fn string_with_escapes(&mut self, start: usize, mut stop: usize) -> Result<Str, JsonError> {
        loop {
            self.at = stop + 1;
            match self.text.get(stop) {
                Some(b'"') => {
                    return Ok(Str { start, end: stop, escaped: true });
                }
                Some(b'\\') => self.escape()?,
                _ => return Err(JsonError::Syntax),
            }
            stop = stop_from(self.text, self.at);
        }
    }

    /// An escape whose backslash was eaten.
    fn escape(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                let unit = self.hex4()?;
                if (0xD800..0xDC00).contains(&unit) {
                    if !(self.eat(b'\\') && self.eat(b'u')) {
                        return Err(JsonError::Syntax);
                    }
                    if !(0xDC00..0xE000).contains(&self.hex4()?) {
                        return Err(JsonError::Syntax);
                    }
                } else if (0xDC00..0xE000).contains(&unit) {
                    return Err(JsonError::Syntax);
                }
            }
            _ => return Err(JsonError::Syntax),
        }
        Ok(())
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let digits = self.text.get(self.at..self.at + 4).ok_or(JsonError::Syntax)?;
        self.at += 4;
        digits.iter().try_fold(0_u32, |value, &b| {
            let digit = (b as char).to_digit(16).ok_or(JsonError::Syntax)?;
            Ok(value * 16 + digit)
        })
    }

    /// A number, by the grammar of RFC 8259.
    pub fn number(&mut self) -> Result<(), JsonError> {
        self.eat(b'-');
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(JsonError::Syntax),
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(JsonError::Syntax) }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), JsonError> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(())
        } else {
            Err(JsonError::Syntax)
        }
    }

    /// Any value, wholly checked.
    pub fn value(&mut self, depth: usize) -> Result<Kind, JsonError> {
        if depth > DEPTH_MAX {
            return Err(JsonError::TooLarge);
        }
        match self.peek().ok_or(JsonError::Syntax)? {
            b'"' => {
                self.at += 1;
                self.string().map(Kind::String)
            }
            b'{' => {
                self.object(depth)?;
                Ok(Kind::Object)
            }
            b'[' => {
                self.each_element(|scanner| scanner.value(depth + 1).map(|_| ()))?;
                Ok(Kind::Array)
            }
            b't' => self.word(b"true").map(|()| Kind::True),
            b'f' => self.word(b"false").map(|()| Kind::False),
            b'n' => self.word(b"null").map(|()| Kind::Null),
            _ => self.number().map(|()| Kind::Number),
        }
    }

    /// Passes over any value: grammar alone, however deep, equal keys and all. Where one array holds many values, what
    /// is wrong beyond grammar is each value's own.
    pub fn pass_over(&mut self) -> Result<(), JsonError> {
        // The closing brackets that are still to come; no deeper than the text is long.
        let mut open: Vec<u8> = Vec::new();
        loop {
            match self.peek().ok_or(JsonError::Syntax)? {
                b'{' => {
                    self.at += 1;
                    self.skip_space();
                    if !self.eat(b'}') {
                        open.push(b'}');
                        self.key()?;
                        continue;
                    }
                }
                b'[' => {
                    self.at += 1;
                    self.skip_space();
                    if !self.eat(b']') {
                        open.push(b']');
                        continue;
                    }
                }
                // No brackets: at depth 0 it can be nothing too deep and no object.
                _ => {
                    self.value(0)?;
                }
            }
            // Behind a value: what it closes, or the next one.
            loop {
                let Some(close) = open.last().copied() else { return Ok(()) };
                self.skip_space();
                if self.eat(close) {
                    open.pop();
                    continue;
                }
                self.expect(b',')?;
                self.skip_space();
                if close == b'}' {
                    self.key()?;
                }
                break;
            }
        }
    }

    /// An object's key with its colon, up to the value.
    fn key(&mut self) -> Result<Str, JsonError> {
        self.expect(b'"')?;
        let key = self.string()?;
        self.skip_space();
        self.expect(b':')?;
        self.skip_space();
        Ok(key)
    }

    fn object(&mut self, depth: usize) -> Result<(), JsonError> {
        // Most objects have few members, and need no memory of their own.
        let (mut few, mut many) = ([Str { start: 0, end: 0, escaped: false }; FEW], Vec::new());
        let mut count = 0;
        self.each_member(|scanner, key| {
            if count >= MEMBERS_MAX {
                return Err(JsonError::TooLarge);
            }
            let name = unescaped(scanner.text, key);
            if few[..count.min(FEW)].iter().chain(&many).any(|other| unescaped(scanner.text, *other) == name) {
                return Err(JsonError::DuplicateKey);
            }
            match few.get_mut(count) {
                Some(place) => *place = key,
                None => many.push(key),
            }
            count += 1;
            scanner.value(depth + 1).map(|_| ())
        })
    }

    /// Goes through an array's elements; `take` is called at each and must eat it.
    pub fn each_element(&mut self, mut take: impl FnMut(&mut Self) -> Result<(), JsonError>) -> Result<(), JsonError> {
        self.expect(b'[')?;
        self.skip_space();
        if self.eat(b']') {
            return Ok(());
        }
        loop {
            self.skip_space();
            take(self)?;
            self.skip_space();
            if self.eat(b']') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    /// Goes through an object's members; `take` is called at each value and must eat it.
    pub fn each_member(
        &mut self,
        mut take: impl FnMut(&mut Self, Str) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.expect(b'{')?;
        self.skip_space();
        if self.eat(b'}') {
            return Ok(());
        }
        loop {
            self.skip_space();
            let key = self.key()?;
            take(self, key)?;
            self.skip_space();
            if self.eat(b'}') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }
}

#[inline(never)]
fn behind_spaces(text: &[u8], at: usize) -> usize {
    let space = |b: &&u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
    at + text[at..].iter().take_while(space).count()
}

/// Where the first quote, backslash or control character from `at` on stands, or the text's end.
#[inline(always)]
fn stop_from(text: &[u8], mut at: usize) -> usize {
    while let Some(bytes) = text.get(at..).and_then(|rest| rest.first_chunk()) {
        let stops = stops(bytes);
        if stops != 0 {
            return at + stops.trailing_zeros() as usize;
        }
        at += 16;
    }
    stop_near_end(text, at)
}

/// The same where fewer than 16 bytes are left: the last 16 of the text are looked at, without those before `at`.
#[inline(never)]
fn stop_near_end(text: &[u8], at: usize) -> usize {
    let Some(bytes) = text.last_chunk() else {
        let stop = |b: &u8| matches!(b, b'"' | b'\\' | 0..0x20);
        return text[at..].iter().position(stop).map_or(text.len(), |n| at + n);
    };
    match stops(bytes) >> (16 - (text.len() - at)) {
        0 => text.len(),
        stops => at + stops.trailing_zeros() as usize,
    }
}

/// Which of 16 bytes are quotes, backslashes or control characters, the first lowest.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn stops(bytes: &[u8; 16]) -> u32 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
    };
    // SAFETY: SSE2 is part of x86_64, and the load reads the 16 bytes of the array.
    unsafe {
        let bytes = _mm_loadu_si128(bytes.as_ptr().cast::<__m128i>());
        let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
        let slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1F)), bytes);
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, slash), control)) as u32
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn stops(bytes: &[u8; 16]) -> u32 {
    let stop = |b: u8| u32::from(matches!(b, b'"' | b'\\' | 0..0x20));
    bytes.iter().rev().fold(0, |stops, b| stops << 1 | stop(*b))
}

/// The text of a scanned string; copied only if it has escapes.
pub(crate) fn unescaped(text: &[u8], s: Str) -> Cow<'_, [u8]> {
    if s.escaped { Cow::Owned(unescape(text, s)) } else { Cow::Borrowed(&text[s.start..s.end]) }
}

/// The text of a scanned string.
pub(crate) fn unescape(text: &[u8], s: Str) -> Vec<u8> {
    let mut out = Vec::with_capacity(s.end - s.start);
    unescape_into(text, s, &mut out);
    out
}

/// Appends the text of a scanned string.
pub(crate) fn unescape_into(text: &[u8], s: Str, out: &mut Vec<u8>) {
    let inside = &text[s.start..s.end];
    if !s.escaped {
        out.extend_from_slice(inside);
        return;
    }
    let hex = |from: usize| {
        inside[from..from + 4].iter().fold(0_u32, |v, b| v * 16 + (*b as char).to_digit(16).unwrap_or_default())
    };
    let mut at = 0;
    while let Some(plain) = memchr::memchr(b'\\', &inside[at..]) {
        out.extend_from_slice(&inside[at..at + plain]);
        at += plain;
        at += 2;
        match inside[at - 1] {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let mut unit = hex(at);
                at += 4;
                if (0xD800..0xDC00).contains(&unit) {
                    unit = 0x10000 + ((unit - 0xD800) << 10) + (hex(at + 2) - 0xDC00);
                    at += 6;
                }
                let c = char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            plain => out.push(plain),
        }
    }
    out.extend_from_slice(&inside[at..]);
}

/// Appends `text` as a JSON string.
pub fn quote_into(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    while let Some(plain) = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20)) {
        out.extend_from_slice(&rest[..plain]);
        match rest[plain] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b => out.extend_from_slice(format!("\\u{b:04x}").as_bytes()),
        }
        rest = &rest[plain + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::canonical_json;

    #[test]
    fn table_of_values() {
        let deep = "[".repeat(40) + &"]".repeat(40);
        let cases: &[(&str, Result<&str, JsonError>)] = &[
            (r#"{"b":1,"a":[true,null , "x\u0041\n"]}"#, Ok(r#"{"a":[true,null,"xA\u000a"],"b":1}"#)),
            (r#"{ }"#, Ok("{}")),
            ("[ ]", Ok("[]")),
            ("1.50e+3", Ok("1.50e+3")),
            ("-0", Ok("-0")),
            (r#""\ud83d\ude00 \/""#, Ok("\"\u{1F600} /\"")),
            (r#"{"a":1,"\u0061":2}"#, Err(JsonError::DuplicateKey)),
            (r#"{"a":{"b":1,"b":1}}"#, Err(JsonError::DuplicateKey)),
            ("01", Err(JsonError::Syntax)),
            ("1.", Err(JsonError::Syntax)),
            ("+1", Err(JsonError::Syntax)),
            ("nul", Err(JsonError::Syntax)),
            ("[1,]", Err(JsonError::Syntax)),
            (r#"{"a":1,}"#, Err(JsonError::Syntax)),
            (r#"{a:1}"#, Err(JsonError::Syntax)),
            ("\"a\u{1}\"", Err(JsonError::Syntax)),
            (r#""\ud800""#, Err(JsonError::Syntax)),
            (r#""\udc00""#, Err(JsonError::Syntax)),
            (r#""\x""#, Err(JsonError::Syntax)),
            ("\"open", Err(JsonError::Syntax)),
            ("", Err(JsonError::Syntax)),
            (&deep, Err(JsonError::TooLarge)),
        ];
        for (text, want) in cases {
            let whole = {
                let mut s = Scanner::new(text.as_bytes(), 0);
                let value = s.value(0);
                let end = if s.at == text.len() { Ok(()) } else { Err(JsonError::Syntax) };
                value.and(end)
            };
            let got = whole.and_then(|()| canonical_json(text.as_bytes()));
            assert_eq!(got.map(|b| String::from_utf8(b).unwrap()), want.map(str::to_owned), "{text}");
        }
    }
}
