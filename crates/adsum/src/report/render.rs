//! Answers as CSV, JSON, NDJSON, or a table for people.

use std::io::Write;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::query::{Report, ReportRow};
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

/// Writes rows as they come.
pub struct Renderer<W> {
    format: Format,
    out: W,
    rows: u64,
    table: comfy_table::Table,
    line: Vec<u8>,
    /// The last row's bucket and its text: rows come by time.
    window: Option<(Window, String)>,
}

/// Begins an answer.
pub fn render<W: Write>(format: Format, out: W) -> Renderer<W> {
    Renderer { format, out, rows: 0, table: comfy_table::Table::new(), line: Vec::new(), window: None }
}

/// The click-through rate in millionths, rounded half up; none without impressions.
fn ctr_millionths(report: &Report, values: &[i64]) -> Option<i128> {
    let (impressions, clicks) = report.ctr?;
    let (shown, clicked) = (i128::from(values[impressions]), i128::from(values[clicks]));
    (shown > 0).then(|| (clicked * 2_000_000 + shown) / (shown * 2))
}

fn millionths(value: i128) -> String {
    format!("{}.{:06}", value / 1_000_000, value % 1_000_000)
}

impl<W: Write> Renderer<W> {
    /// The first line, where the format has one.
    pub fn header(&mut self, report: &Report) -> Result<()> {
        let names: Vec<&str> = (["bucketStart"].into_iter())
            .chain(report.keys.iter().map(String::as_str))
            .chain(report.metrics.iter().map(String::as_str))
            .chain(report.ctr.map(|_| "ctr"))
            .chain(["revision"])
            .collect();
        match self.format {
            Format::Csv => writeln!(self.out, "{}\r", names.join(","))?,
            Format::Json => write!(self.out, "{{\"rows\":[")?,
            Format::Table => {
                self.table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
                self.table.set_header(names);
            }
            Format::Ndjson => {}
        }
        Ok(())
    }

    /// One row.
    pub fn row(&mut self, report: &Report, row: &ReportRow<'_>) -> Result<()> {
        let ctr = ctr_millionths(report, row.values);
        match self.format {
            Format::Csv => self.csv(report, row, ctr)?,
            Format::Table => {
                let mut cells = vec![row.window.to_string()];
                cells.extend(row.keys.iter().map(|k| k.unwrap_or_default().to_owned()));
                cells.extend(row.values.iter().map(i64::to_string));
                cells.extend(report.ctr.map(|_| ctr.map(millionths).unwrap_or_default()));
                cells.push(row.revision.to_string());
                self.table.add_row(cells);
            }
            Format::Json | Format::Ndjson => {
                if self.format == Format::Json {
                    self.out.write_all(if self.rows > 0 { b",\n" } else { b"\n" })?;
                }
                write!(self.out, "{}", object(report, row, ctr))?;
                if self.format == Format::Ndjson {
                    self.out.write_all(b"\n")?;
                }
            }
        }
        self.rows += 1;
        Ok(())
    }

    fn csv(&mut self, report: &Report, row: &ReportRow<'_>, ctr: Option<i128>) -> Result<()> {
        let line = &mut self.line;
        line.clear();
        if self.window.as_ref().is_none_or(|(window, _)| *window != row.window) {
            self.window = Some((row.window, row.window.to_string()));
        }
        if let Some((_, text)) = &self.window {
            line.extend_from_slice(text.as_bytes());
        }
        for key in row.keys {
            line.push(b',');
            if let Some(text) = key {
                csv_text(text, line);
            }
        }
        for value in row.values {
            write!(line, ",{value}")?;
        }
        if report.ctr.is_some() {
            line.push(b',');
            if let Some(ctr) = ctr {
                write!(line, "{}", millionths(ctr))?;
            }
        }
        write!(line, ",{}\r\n", row.revision)?;
        self.out.write_all(line)?;
        Ok(())
    }

    /// The end: what the answer stands on.
    pub fn finish(mut self, meta: &Map<String, Value>) -> Result<()> {
        match self.format {
            Format::Json => writeln!(self.out, "\n],\"meta\":{}}}", Value::Object(meta.clone()))?,
            Format::Table => {
                writeln!(self.out, "{}", self.table)?;
                for (name, value) in meta {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    writeln!(self.out, "{name}: {text}")?;
                }
            }
            Format::Csv | Format::Ndjson => {}
        }
        self.out.flush()?;
        Ok(())
    }
}

fn object(report: &Report, row: &ReportRow<'_>, ctr: Option<i128>) -> Value {
    let mut object = Map::new();
    object.insert("bucketStart".to_owned(), json!(row.window.to_string()));
    for (name, key) in report.keys.iter().zip(row.keys) {
        object.insert(name.clone(), json!(key));
    }
    for (name, value) in report.metrics.iter().zip(row.values) {
        object.insert(name.clone(), json!(value));
    }
    if report.ctr.is_some() {
        let ctr = ctr.and_then(|c| millionths(c).parse::<serde_json::Number>().ok());
        object.insert("ctr".to_owned(), json!(ctr));
    }
    object.insert("revision".to_owned(), json!(row.revision.to_string()));
    Value::Object(object)
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
            ("<script>", "<script>"),
        ] {
            let mut line = Vec::new();
            csv_text(text, &mut line);
            assert_eq!(String::from_utf8(line).unwrap(), want);
        }
    }

    #[test]
    fn rates_are_rounded_and_null_without_impressions() {
        let report = Report { keys: Vec::new(), metrics: Vec::new(), ctr: Some((0, 1)) };
        for (values, want) in [([124_400, 1804], Some("0.014502")), ([3, 2], Some("0.666667")), ([0, 5], None)] {
            assert_eq!(ctr_millionths(&report, &values).map(millionths).as_deref(), want);
        }
    }
}
