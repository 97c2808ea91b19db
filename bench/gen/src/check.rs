//! A report against the truth: the same rows with the same numbers, or where they differ.
//!
//! Both are read bucket by bucket, so both must be sorted by bucketStart (in any order within one bucket), and memory is
//! that of one bucket. The truth's header says what is compared: its metrics are values, its other columns the key. The
//! report names the same columns in any order, with others between. Invariant: a row of zeros says the same as no row;
//! everything else that is not equal is a difference. Not here: where a report comes from.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, bail, ensure};

use crate::time::canonical_bucket;

const BUCKET: &str = "bucketStart";
const METRICS: [&str; 4] = ["impressions", "clicks", "conversions", "spendMicros"];
/// So many differences are shown; all are counted.
const SHOWN_MAX: usize = 20;

/// Between the texts of a key; no text of a report holds it.
const KEY_SEPARATOR: u8 = 0x1F;

/// A row's key (all texts but the bucket) and its values, of which the first ones are in use.
type Row = (Vec<u8>, [i64; METRICS.len()]);

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Rows of the truth that are not all zeros.
    pub truth_rows: u64,
    /// Those of the report.
    pub report_rows: u64,
    /// Rows that are missing, too many, or have other numbers.
    pub differences: u64,
    /// The first of them.
    pub shown: Vec<String>,
    /// Each value's name with its sum over the truth and over the report.
    pub totals: Vec<(String, i128, i128)>,
}

impl Comparison {
    /// Whether there is no difference.
    pub fn is_exact(&self) -> bool {
        self.differences == 0
    }

    fn differ(&mut self, bucket: &[u8], key: &[u8], truth: Option<&Row>, report: Option<&Row>) {
        self.differences += 1;
        if self.shown.len() < SHOWN_MAX {
            let used = self.totals.len();
            let values = |row: Option<&Row>| row.map_or("no row".to_owned(), |(_, v)| format!("{:?}", &v[..used]));
            let key = String::from_utf8_lossy(key).replace(char::from(KEY_SEPARATOR), ",");
            let bucket = String::from_utf8_lossy(bucket);
            self.shown.push(format!("{bucket},{key}: truth {}, report {}", values(truth), values(report)));
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.shown {
            writeln!(f, "{line}")?;
        }
        let verdict = if self.is_exact() { "exact" } else { "NOT EXACT" };
        let Self { truth_rows, report_rows, differences, .. } = self;
        writeln!(f, "{verdict}: {truth_rows} rows of the truth, {report_rows} of the report, {differences} differ")?;
        for (name, truth, report) in &self.totals {
            writeln!(f, "{name}: truth {truth}, report {report}")?;
        }
        Ok(())
    }
}

/// Splits one CSV record (RFC 4180, without line breaks inside quotes): the unquoted text, and where each cell lies in it.
fn split(line: &[u8], text: &mut Vec<u8>, cells: &mut Vec<Range<usize>>) {
    text.clear();
    cells.clear();
    let (mut start, mut quoted) = (0, false);
    let mut bytes = line.iter().copied().peekable();
    while let Some(b) = bytes.next() {
        match b {
            b'"' if quoted && bytes.peek() == Some(&b'"') => {
                text.push(b'"');
                bytes.next();
            }
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                cells.push(start..text.len());
                start = text.len();
            }
            _ => text.push(b),
        }
    }
    cells.push(start..text.len());
}

/// An integer, with or without a minus.
fn integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// One side, read bucket by bucket.
struct Side {
    name: String,
    lines: BufReader<File>,
    line: Vec<u8>,
    number: u64,
    text: Vec<u8>,
    cells: Vec<Range<usize>>,
    columns: usize,
    bucket_column: usize,
    key_columns: Vec<usize>,
    value_columns: Vec<usize>,
    /// The row after the bucket that was read last.
    ahead: Option<([u8; 20], Row)>,
}

impl Side {
    fn open(path: &Path) -> anyhow::Result<(Self, Vec<String>)> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut side = Self {
            name: path.display().to_string(),
            lines: BufReader::with_capacity(1 << 20, file),
            line: Vec::new(),
            number: 0,
            text: Vec::new(),
            cells: Vec::new(),
            columns: 0,
            bucket_column: 0,
            key_columns: Vec::new(),
            value_columns: Vec::new(),
            ahead: None,
        };
        ensure!(side.next_line()?, "{} is empty", side.name);
        let header: Vec<String> =
            side.cells.iter().map(|c| String::from_utf8_lossy(&side.text[c.clone()]).into_owned()).collect();
        side.columns = header.len();
        Ok((side, header))
    }

    fn choose(&mut self, header: &[String], keys: &[String], values: &[String]) -> anyhow::Result<()> {
        let find = |name: &str| {
            header.iter().position(|h| h == name).with_context(|| format!("{}: no column {name}", self.name))
        };
        self.bucket_column = find(BUCKET)?;
        self.key_columns = keys.iter().map(|name| find(name)).collect::<anyhow::Result<_>>()?;
        self.value_columns = values.iter().map(|name| find(name)).collect::<anyhow::Result<_>>()?;
        self.ahead = self.next_row()?;
        Ok(())
    }

    fn next_line(&mut self) -> anyhow::Result<bool> {
        self.line.clear();
        if self.lines.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(false);
        }
        self.number += 1;
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        split(line.strip_suffix(b"\r").unwrap_or(line), &mut self.text, &mut self.cells);
        Ok(true)
    }

    /// The next row that is not all zeros.
    fn next_row(&mut self) -> anyhow::Result<Option<([u8; 20], Row)>> {
        while self.next_line()? {
            let at = || format!("{} line {}", self.name, self.number);
            ensure!(self.cells.len() == self.columns, "{}: {} columns", at(), self.cells.len());
            let cell = |column: usize| &self.text[self.cells[column].clone()];
            let bucket = canonical_bucket(cell(self.bucket_column))
                .with_context(|| format!("{}: bucketStart is no whole second in UTC", at()))?;
            let mut values = [0; METRICS.len()];
            for (value, column) in values.iter_mut().zip(&self.value_columns) {
                *value = integer(cell(*column)).with_context(|| format!("{}: a value is no integer", at()))?;
            }
            if values.iter().any(|value| *value != 0) {
                let mut key = Vec::with_capacity(self.text.len());
                for column in &self.key_columns {
                    key.extend_from_slice(cell(*column));
                    key.push(KEY_SEPARATOR);
                }
                key.pop();
                return Ok(Some((bucket, (key, values))));
            }
        }
        Ok(None)
    }

    /// The rows of `bucket`, sorted; none if the next bucket is a later one.
    fn rows_of(&mut self, bucket: &[u8; 20]) -> anyhow::Result<Vec<Row>> {
        let mut rows = Vec::new();
        while let Some((at, row)) = self.ahead.take() {
            if at > *bucket {
                self.ahead = Some((at, row));
                break;
            }
            if at < *bucket {
                bail!("{} line {}: not sorted by {BUCKET}", self.name, self.number);
            }
            rows.push(row);
            self.ahead = self.next_row()?;
        }
        rows.sort_unstable();
        Ok(rows)
    }
}

/// Compares a report with a truth, both CSV.
///
/// # Errors
/// Where one cannot be read, lacks a column, has a value that is no integer, or is not sorted by bucketStart.
pub fn compare(truth: &Path, report: &Path) -> anyhow::Result<Comparison> {
    let (mut truth, header) = Side::open(truth)?;
    let (mut report, report_header) = Side::open(report)?;
    let (values, keys): (Vec<String>, Vec<String>) =
        header.iter().filter(|name| *name != BUCKET).cloned().partition(|name| METRICS.contains(&name.as_str()));
    truth.choose(&header, &keys, &values)?;
    report.choose(&report_header, &keys, &values)?;
    let mut found =
        Comparison { totals: values.into_iter().map(|name| (name, 0, 0)).collect(), ..Comparison::default() };
    while let Some(bucket) = [&truth.ahead, &report.ahead].into_iter().flatten().map(|(bucket, _)| *bucket).min() {
        let (wanted, got) = (truth.rows_of(&bucket)?, report.rows_of(&bucket)?);
        compare_bucket(&bucket, &wanted, &got, &mut found);
    }
    Ok(found)
}

fn compare_bucket(bucket: &[u8], wanted: &[Row], got: &[Row], found: &mut Comparison) {
    found.truth_rows += wanted.len() as u64;
    found.report_rows += got.len() as u64;
    for (column, (_, truth, report)) in found.totals.iter_mut().enumerate() {
        *truth += wanted.iter().map(|(_, values)| i128::from(values[column])).sum::<i128>();
        *report += got.iter().map(|(_, values)| i128::from(values[column])).sum::<i128>();
    }
    let (mut left, mut right) = (wanted.iter().peekable(), got.iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((key, _)), Some((other, _))) => key.cmp(other),
        };
        let truth = if order.is_le() { left.next() } else { None };
        let report = if order.is_ge() { right.next() } else { None };
        if truth != report
            && let Some((key, _)) = truth.or(report)
        {
            found.differ(bucket, key, truth, report);
        }
    }
}
