//! As much of a terminal as `adsum demo` draws on: lines, the cursor up, clearing, and some colours.
//!
//! Invariant: what stands at the end is what a reader would see. What the demo does not use is not known here, and
//! shows as it was written.

/// How characters look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Look {
    /// As text is.
    #[default]
    Plain,
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
}

/// A row of characters.
pub type Row = Vec<(char, Look)>;

/// The characters of a row.
pub fn text(row: &Row) -> String {
    row.iter().map(|(c, _)| c).collect()
}

/// A terminal of endless height and width.
#[derive(Default)]
pub struct Terminal {
    rows: Vec<Row>,
    at: usize,
    column: usize,
    look: Look,
}

impl Terminal {
    /// Draws what a program writes.
    pub fn take(&mut self, written: &str) {
        let mut rest = written;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '\r' => self.column = 0,
                '\n' => self.at += 1,
                '\x1b' => rest = self.escape(rest),
                c => self.put(c),
            }
        }
    }

    /// The rows, without the blanks at their ends.
    pub fn rows(&self) -> Vec<Row> {
        let blank = |row: &Row| row.iter().rposition(|(c, _)| *c != ' ').map_or(0, |last| last + 1);
        self.rows.iter().map(|row| row[..blank(row)].to_vec()).collect()
    }

    fn row(&mut self) -> &mut Row {
        if self.rows.len() <= self.at {
            self.rows.resize(self.at + 1, Row::new());
        }
        &mut self.rows[self.at]
    }

    fn put(&mut self, c: char) {
        let (column, look) = (self.column, self.look);
        let row = self.row();
        if row.len() <= column {
            row.resize(column + 1, (' ', Look::Plain));
        }
        row[column] = (c, look);
        self.column += 1;
    }

    /// Obeys `[NUMBER LETTER`, and gives what stands behind it.
    fn escape<'t>(&mut self, text: &'t str) -> &'t str {
        let Some(body) = text.strip_prefix('[') else { return text };
        let Some(end) = body.find(|c: char| !c.is_ascii_digit() && c != ';') else { return text };
        let number: Option<usize> = body[..end].parse().ok();
        let column = self.column;
        match &body[end..=end] {
            "A" => self.at = self.at.saturating_sub(number.unwrap_or(1)),
            "K" => self.row().truncate(column),
            "J" => {
                self.row().truncate(column);
                self.rows.truncate(self.at + 1);
            }
            "m" => {
                self.look = match number {
                    Some(1) => Look::Bold,
                    Some(2) => Look::Dim,
                    Some(31) => Look::Red,
                    Some(32) => Look::Green,
                    Some(33) => Look::Yellow,
                    _ => Look::Plain,
                }
            }
            _ => return text,
        }
        &body[end + 1..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_over_is_gone() {
        for (written, want) in [
            ("a\r\nb", &["a", "b"][..]),
            ("abc\rx", &["xbc"]),
            ("abc\rx\x1b[K", &["x"]),
            ("a\r\nb\r\nc\r\n\x1b[2AB\x1b[K\r\n\x1b[J", &["a", "B", ""]),
            ("\x1b[32mgreen\x1b[0m  ", &["green"]),
            ("\x1b[?25l", &["[?25l"]),
        ] {
            let mut terminal = Terminal::default();
            terminal.take(written);
            let rows: Vec<String> = terminal.rows().iter().map(text).collect();
            assert_eq!(rows, want, "{written:?}");
        }
    }

    #[test]
    fn colours_hold_until_they_end() {
        let mut terminal = Terminal::default();
        terminal.take("a\x1b[33mb\x1b[0mc");
        assert_eq!(terminal.rows(), [[('a', Look::Plain), ('b', Look::Yellow), ('c', Look::Plain)]]);
    }
}
