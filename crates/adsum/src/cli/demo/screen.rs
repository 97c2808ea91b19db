//! Lines that are drawn again in the same place of a terminal.
//!
//! Invariant: what stands above them stays, and a line never takes two rows, nor all of them more than the terminal
//! has, so that the next drawing finds the place again. Not here: what the lines say.

use std::io::{self, Write};

/// The size of a terminal that does not tell its own.
const COLUMNS: usize = 80;
const ROWS: usize = 24;

/// A place on standard output.
#[derive(Default)]
pub struct Screen {
    drawn: usize,
}

impl Screen {
    /// Draws over what was drawn before.
    pub fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let size = rustix::termios::tcgetwinsize(&out).ok().filter(|size| size.ws_col > 0 && size.ws_row > 1);
        let (columns, rows) = size.map_or((COLUMNS, ROWS), |size| (size.ws_col.into(), size.ws_row.into()));
        let text = over(self.drawn, lines, columns, rows);
        self.drawn = lines.len().min(rows - 1);
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

/// What draws `lines` over the last `drawn` lines of a terminal of that size.
fn over(drawn: usize, lines: &[String], columns: usize, rows: usize) -> String {
    let mut text = "\r".to_owned();
    if drawn > 0 {
        text.push_str(&format!("\x1b[{}A", drawn.min(rows - 1)));
    }
    for line in lines.iter().take(rows - 1) {
        text.push_str(&cut(line, columns));
        text.push_str("\x1b[K\n");
    }
    text.push_str("\x1b[J");
    text
}

/// A line without what is beyond so many columns. Colours take none.
fn cut(line: &str, columns: usize) -> String {
    let (mut text, mut shown, mut escaped) = (String::new(), 0, false);
    for c in line.chars() {
        escaped |= c == '\x1b';
        if escaped || shown < columns {
            text.push(c);
        }
        if escaped {
            escaped = c != 'm';
        } else {
            shown += 1;
        }
    }
    text
}

/// Colours, or none.
#[derive(Clone, Copy)]
pub struct Paint(bool);

impl Paint {
    /// Colours on a terminal, unless NO_COLOR says otherwise.
    pub fn of(terminal: bool) -> Self {
        Self(terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
    }

    pub fn bold(self, text: &str) -> String {
        self.with(1, text)
    }

    pub fn dim(self, text: &str) -> String {
        self.with(2, text)
    }

    pub fn red(self, text: &str) -> String {
        self.with(31, text)
    }

    pub fn green(self, text: &str) -> String {
        self.with(32, text)
    }

    pub fn yellow(self, text: &str) -> String {
        self.with(33, text)
    }

    fn with(self, code: u8, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_takes_one_row_whatever_its_colours() {
        for (line, columns, want) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "abc"),
            ("\x1b[1mab\x1b[0mcd", 3, "\x1b[1mab\x1b[0mc"),
            ("\x1b[32mabcdef\x1b[0m", 2, "\x1b[32mab\x1b[0m"),
            ("é€漢", 2, "é€"),
        ] {
            assert_eq!(cut(line, columns), want);
        }
    }

    #[test]
    fn it_is_drawn_over_itself_within_the_terminal() {
        let lines: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
        assert_eq!(over(0, &lines, 80, 24), "\ra\x1b[K\nb\x1b[K\nc\x1b[K\n\x1b[J");
        assert_eq!(over(3, &lines[..1], 80, 24), "\r\x1b[3Aa\x1b[K\n\x1b[J");
        assert_eq!(over(2, &lines, 80, 3), "\r\x1b[2Aa\x1b[K\nb\x1b[K\n\x1b[J");
    }
}
