//! Answers as CSV, JSON, NDJSON, or a table for people.

use std::io::Write;

use anyhow::Result;
use serde_json::{Map, Value};

use super::columns::{Report, decimal};
use super::people::PeopleTable;
use super::query::ReportRow;
use super::window::Window;

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Aligned, for people.
    Table,
    /// One object with rows and meta.
    Json,
    /// One object a row.
    Ndjson,
    /// RFC 4180 with a header.
    Csv,
}

/// Writes single rows as text.
pub struct RowText {
    freshness_seconds: i64,
    /// The last row's bucket and its text: rows come by time.
    window: Option<(Window, String)>,
}

impl RowText {
    /// For rows that are so fresh.
    pub fn new(freshness_seconds: i64) -> Self {
        Self { freshness_seconds, window: None }
    }

    fn bucket_start(&mut self, window: Window) -> &str {
        if self.window.as_ref().is_none_or(|(last, _)| *last != window) {
            self.window = Some((window, window.to_string()));
        }
        self.window.as_ref().map(|(_, text)| text.as_str()).unwrap_or_default()
    }

    /// The header of a CSV.
    pub fn csv_header(report: &Report, out: &mut impl Write) -> Result<()> {
        Ok(write!(out, "{}\r\n", report.names().join(","))?)
    }

    /// A line of a CSV.
    pub fn csv(&mut self, report: &Report, row: &ReportRow<'_>, line: &mut Vec<u8>) -> Result<()> {
        line.extend_from_slice(self.bucket_start(row.window).as_bytes());
        for key in row.keys {
            line.push(b',');
            if let Some(text) = key {
                csv_text(text, line);
            }
        }
        for value in row.values {
            write!(line, ",{value}")?;
        }
        for _ in &report.invalid {
            line.extend_from_slice(b",0");
        }
        for ratio in &report.ratios {
            line.push(b',');
            if let Some(value) = ratio.millionths(row.values) {
                line.extend_from_slice(decimal(value).as_bytes());
            }
        }
        write!(line, ",false,false,{},{}\r\n", row.revision, self.freshness_seconds)?;
        Ok(())
    }

    /// An object of JSON, its members in the order of the columns.
    pub fn json(&mut self, report: &Report, row: &ReportRow<'_>, out: &mut Vec<u8>) -> Result<()> {
        write!(out, "{{\"bucketStart\":\"{}\"", self.bucket_start(row.window))?;
        for (name, key) in report.keys.iter().zip(row.keys) {
            write!(out, ",\"{name}\":")?;
            serde_json::to_writer(&mut *out, key)?;
        }
        for (name, value) in report.metrics.iter().zip(row.values) {
            write!(out, ",\"{name}\":{value}")?;
        }
        for name in &report.invalid {
            write!(out, ",\"{name}\":0")?;
        }
        for ratio in &report.ratios {
            match ratio.millionths(row.values) {
                Some(value) => write!(out, ",\"{}\":{}", ratio.name, decimal(value))?,
                None => write!(out, ",\"{}\":null", ratio.name)?,
            }
        }
        // Nothing is frozen before there is a correction window that ends.
        write!(out, ",\"isFinalized\":false,\"adjusted\":false,\"revision\":\"{}\"", row.revision)?;
        write!(out, ",\"freshnessSeconds\":{}}}", self.freshness_seconds)?;
        Ok(())
    }

    fn cells(&mut self, report: &Report, row: &ReportRow<'_>) -> Vec<String> {
        let mut cells = vec![self.bucket_start(row.window).to_owned()];
        cells.extend(row.keys.iter().map(|k| k.unwrap_or_default().to_owned()));
        cells.extend(row.values.iter().map(i64::to_string));
        cells.extend(report.invalid.iter().map(|_| "0".to_owned()));
        cells.extend(report.ratios.iter().map(|r| r.millionths(row.values).map(decimal).unwrap_or_default()));
        cells.extend(["false".to_owned(), "false".to_owned(), row.revision.to_string()]);
        cells.push(self.freshness_seconds.to_string());
        cells
    }
}

/// Writes an answer's rows as they come.
pub struct Renderer<W> {
    format: Format,
    out: W,
    rows: u64,
    text: RowText,
    table: PeopleTable,
    keys: usize,
    line: Vec<u8>,
}

/// Begins an answer of what is known now.
pub fn render<W: Write>(format: Format, out: W) -> Renderer<W> {
    Renderer { format, out, rows: 0, text: RowText::new(0), table: PeopleTable::default(), keys: 0, line: Vec::new() }
}

impl<W: Write> Renderer<W> {
    /// The first line, where the format has one.
    pub fn header(&mut self, report: &Report) -> Result<()> {
        match self.format {
            Format::Csv => RowText::csv_header(report, &mut self.out)?,
            Format::Json => write!(self.out, "{{\"rows\":[")?,
            Format::Table => {
                self.table.header(report.names());
                self.keys = 1 + report.keys.len();
            }
            Format::Ndjson => {}
        }
        Ok(())
    }

    /// One row.
    pub fn row(&mut self, report: &Report, row: &ReportRow<'_>) -> Result<()> {
        self.line.clear();
        match self.format {
            Format::Csv => self.text.csv(report, row, &mut self.line)?,
            Format::Table => self.table.row(self.text.cells(report, row)),
            Format::Json => {
                self.line.extend_from_slice(if self.rows > 0 { b",\n" } else { b"\n" });
                self.text.json(report, row, &mut self.line)?;
            }
            Format::Ndjson => {
                self.text.json(report, row, &mut self.line)?;
                self.line.push(b'\n');
            }
        }
        self.out.write_all(&self.line)?;
        self.rows += 1;
        Ok(())
    }

    /// The end: what the answer stands on.
    pub fn finish(mut self, meta: &Map<String, Value>) -> Result<()> {
        match self.format {
            Format::Json => writeln!(self.out, "\n],\"meta\":{}}}", Value::Object(meta.clone()))?,
            Format::Table => {
                self.table.draw(self.keys, &mut self.out)?;
                write_meta(meta, &mut self.out)?;
            }
            Format::Csv | Format::Ndjson => {}
        }
        self.out.flush()?;
        Ok(())
    }
}

/// What an answer stands on, as lines for people.
pub fn write_meta(meta: &Map<String, Value>, out: &mut impl Write) -> Result<()> {
    for (name, value) in meta {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        writeln!(out, "{name}: {text}")?;
    }
    Ok(())
}

/// A cell of RFC 4180. One that a spreadsheet would take for a formula gets an apostrophe before it.
pub(crate) fn csv_text(text: &str, line: &mut Vec<u8>) {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let quoted = formula || text.contains(['"', ',', '\n', '\r']);
    if quoted {
        line.push(b'"');
    }
    if formula {
        line.push(b'\'');
    }
    for b in text.bytes() {
        if b == b'"' {
            line.push(b'"');
        }
        line.push(b);
    }
    if quoted {
        line.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_neutralised() {
        for (text, want) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("=1+1", "\"'=1+1\""),
            ("-2", "\"'-2\""),
            ("@x", "\"'@x\""),
            ("\tx", "\"'\tx\""),
            ("<script>", "<script>"),
        ] {
            let mut line = Vec::new();
            csv_text(text, &mut line);
            assert_eq!(String::from_utf8(line).unwrap(), want);
        }
    }
}
