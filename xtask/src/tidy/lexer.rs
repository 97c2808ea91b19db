//! Splits Rust into code and comments, so that a rule about code does not stumble over a string or a sentence.
//!
//! Invariant: both halves are as long as the text, byte for byte in the same places, with every line end kept. Not a
//! parser: it knows comments, strings and characters, no more.

/// The code (comments and the insides of strings blanked) and the comments (all else blanked).
pub fn split(text: &str) -> (String, String) {
    let bytes = text.as_bytes();
    let mut kinds = vec![Kind::Code; bytes.len()];
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let in_word = at > 0 && is_word(bytes[at - 1]);
        let (kind, len) = if rest.starts_with("//") {
            (Kind::Comment, rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            (Kind::Comment, block_comment(rest))
        } else if let (false, Some(len)) = (in_word, raw_string(rest)) {
            (Kind::Text, len)
        } else if rest.starts_with('"') {
            (Kind::Text, quoted(rest, b'"'))
        } else if let Some(len) = character(rest) {
            (Kind::Text, len)
        } else {
            (Kind::Code, rest.chars().next().map_or(1, char::len_utf8))
        };
        kinds[at..at + len].fill(kind);
        at += len;
    }
    let half = |wanted: Kind| {
        let kept =
            bytes.iter().zip(&kinds).map(|(byte, kind)| if *kind == wanted || *byte == b'\n' { *byte } else { b' ' });
        String::from_utf8(kept.collect()).expect("whole characters are kept or blanked")
    };
    (half(Kind::Code), half(Kind::Comment))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Text,
}

fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// The length of a block comment; they nest.
fn block_comment(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let (mut at, mut depth) = (0, 0);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

/// The length of a raw string with its prefix.
fn raw_string(rest: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"]
        .into_iter()
        .find(|prefix| rest.strip_prefix(prefix).is_some_and(|after| after.starts_with(['"', '#'])))?;
    let after = &rest[prefix.len()..];
    let hashes = after.len() - after.trim_start_matches('#').len();
    let inside = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let opened = prefix.len() + hashes + 1;
    Some(inside.find(&end).map_or(rest.len(), |at| opened + at + end.len()))
}

/// The length of something quoted, its escapes passed over.
fn quoted(rest: &str, quote: u8) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The length of a character; None for a lifetime or a label.
fn character(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    let first = inside.chars().next()?;
    if first == '\\' {
        return Some(quoted(rest, b'\''));
    }
    inside[first.len_utf8()..].starts_with('\'').then_some(first.len_utf8() + 2)
}

#[cfg(test)]
mod tests {
    use super::split;

    /// `wanted` marks each byte: `c` code, `d` comment, `.` the inside of a string (line ends are kept by both).
    #[track_caller]
    fn check(text: &str, wanted: &str) {
        let (code, comments) = split(text);
        assert_eq!((code.len(), comments.len()), (text.len(), text.len()));
        let marks = text.bytes().enumerate().map(|(at, byte)| {
            match (byte, code.as_bytes()[at] == byte, comments.as_bytes()[at] == byte) {
                (b'\n' | b' ', ..) => byte as char,
                (_, true, false) => 'c',
                (_, false, true) => 'd',
                _ => '.',
            }
        });
        assert_eq!(marks.collect::<String>(), wanted, "{text}");
    }

    #[test]
    fn code_comments_and_strings_are_told_apart() {
        check("let a = 1; // b", "ccc c c cc dd d");
        check("a /* b /* c */ d */ e", "c dd d dd d dd d dd c");
        check("a(\"b // c\")", "cc.. .. ..c");
        check("\"\\\"x\" y", "..... c");
        check("r\"a\\\" b", "..... c");
        check("r#\"a\"b\"# c", "........ c");
        check("br##\"a\"#\"## c", "........... c");
        check("r#type b", "cccccc c");
        check("bar\"x\" y", "ccc... c");
        check("'\"' a '\\'' b 'é' c", "... c .... c .... c");
        check("&'a str", "ccc ccc");
        check("'a: loop", "ccc cccc");
        check("a // b\nc \"d\ne\" f", "c dd d\nc ..\n.. c");
        check("/* never closed", "dd ddddd dddddd");
        check("\"never closed", "...... ......");
        check("\"ends in a backslash\\", "..... .. . ..........");
    }
}
