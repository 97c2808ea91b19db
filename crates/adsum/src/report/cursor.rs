//! The order of a report's rows, and the place in it where a page ended.
//!
//! Invariant: rows have one total order: by the column asked for, if any, then by time, then by keys with null first.
//! A cursor is a place in that order, never a count of rows, so that a page goes on behind the last row that was shown
//! even where the data changed since. A cursor grants nothing: what may be seen is judged for every page anew.

use std::cmp::Ordering;

use adsum_model::id::Revision;
use adsum_model::time::BucketStart;
use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::columns::{Ratio, Report};
use super::query::{Query, ReportRow};
use super::refused::Refused;
use super::window::{Granularity, Window};

/// The longest cursor, in characters: five keys of 256 bytes in JSON and base64.
const CURSOR_CHARS_MAX: usize = 16 << 10;

/// A column to order by, as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderBy {
    name: String,
    descending: bool,
}

impl OrderBy {
    /// Reads `clicks` or `-clicks`.
    pub fn parse(text: String) -> Self {
        match text.strip_prefix('-') {
            Some(name) => Self { name: name.to_owned(), descending: true },
            None => Self { name: text, descending: false },
        }
    }

    fn text(&self) -> String {
        format!("{}{}", if self.descending { "-" } else { "" }, self.name)
    }
}

#[derive(Clone, Copy, Debug)]
enum Column {
    Time,
    Key(usize),
    Metric(usize),
    Ratio(Ratio),
}

/// How the rows of an answer are ordered.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    column: Column,
    descending: bool,
}

/// What a row holds in the column that it is ordered by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OrderValue {
    /// Null: before all others.
    #[serde(rename = "x")]
    Null,
    /// A metric, seconds since 1970, or millionths of a ratio.
    #[serde(rename = "n")]
    Number(i64),
    /// A key.
    #[serde(rename = "t")]
    Text(String),
}

/// A place in the order of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    #[serde(rename = "o")]
    value: OrderValue,
    #[serde(rename = "t")]
    start_seconds: i64,
    #[serde(rename = "k")]
    keys: Vec<Option<String>>,
}

impl Order {
    /// By time and keys.
    pub const TIME: Self = Self { column: Column::Time, descending: false };

    /// The order that is asked for, of an answer's columns.
    pub fn of(by: Option<&OrderBy>, report: &Report) -> Result<Self> {
        let Some(by) = by else { return Ok(Self::TIME) };
        let key = || report.keys.iter().position(|k| *k == by.name).map(Column::Key);
        let metric = || report.metric(&by.name).map(Column::Metric);
        let ratio = || report.ratios.iter().find(|r| r.name == by.name).map(|r| Column::Ratio(*r));
        let time = (by.name == "bucketStart").then_some(Column::Time);
        let column = time.or_else(key).or_else(metric).or_else(ratio).ok_or_else(|| {
            let ratios = report.ratios.iter().map(|r| r.name);
            let names = report.keys.iter().chain(&report.metrics).map(String::as_str).chain(ratios);
            let names = names.collect::<Vec<_>>().join(", ");
            let detail = format!("{:?} is no column to order by; there are bucketStart, {names}", by.name);
            Refused::new("unknown_column", "orderBy", detail)
        })?;
        Ok(Self { column, descending: by.descending })
    }

    /// Whether rows come in this order as they are made.
    pub fn is_by_time(&self) -> bool {
        matches!(self.column, Column::Time) && !self.descending
    }

    /// The place of a row.
    pub fn place(&self, row: &ReportRow<'_>) -> Place {
        let keys = row.keys.iter().map(|k| k.map(str::to_owned)).collect();
        Place { value: self.value(row), start_seconds: row.window.start().seconds(), keys }
    }

    /// Whether a row comes behind a place by the column alone.
    pub fn is_behind(&self, row: &ReportRow<'_>, place: &Place) -> bool {
        let by_column = self.value(row).cmp(&place.value);
        if self.descending { by_column.is_lt() } else { by_column.is_gt() }
    }

    fn value(&self, row: &ReportRow<'_>) -> OrderValue {
        match self.column {
            Column::Time => OrderValue::Number(row.window.start().seconds()),
            Column::Key(i) => row.keys[i].map_or(OrderValue::Null, |text| OrderValue::Text(text.to_owned())),
            Column::Metric(i) => OrderValue::Number(row.values[i]),
            // A ratio beyond 64 bits stands with the greatest.
            Column::Ratio(ratio) => (ratio.millionths(row.values))
                .map_or(OrderValue::Null, |m| OrderValue::Number(i64::try_from(m).unwrap_or(i64::MAX))),
        }
    }

    /// Which of two places comes first.
    pub fn compare(&self, a: &Place, b: &Place) -> Ordering {
        let by_column = if self.descending { b.value.cmp(&a.value) } else { a.value.cmp(&b.value) };
        by_column.then_with(|| (a.start_seconds, &a.keys).cmp(&(b.start_seconds, &b.keys)))
    }
}

impl Place {
    /// Whether a row in the order of time lies behind this place.
    pub fn is_before(&self, window: Window, keys: &[Option<&str>]) -> bool {
        let own = self.keys.iter().map(Option::as_deref);
        (self.start_seconds.cmp(&window.start().seconds())).then_with(|| own.cmp(keys.iter().copied())).is_lt()
    }

    /// Where the bucket of its row begins.
    pub fn start(&self) -> BucketStart {
        BucketStart::from_seconds(self.start_seconds)
    }
}

/// Where a page ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    #[serde(rename = "q")]
    query: u64,
    #[serde(rename = "r")]
    revision: u64,
    #[serde(rename = "p")]
    place: Place,
}

impl Cursor {
    /// Behind a row of a question whose first page was answered at `revision`.
    pub fn new(query: &Query, order_by: Option<&OrderBy>, revision: Revision, place: Place) -> Self {
        Self { query: fingerprint(query, order_by), revision: revision.get(), place }
    }

    /// Reads a cursor, which must be of this question.
    pub fn read(text: &str, query: &Query, order_by: Option<&OrderBy>) -> Result<Self> {
        let wrong = || Refused::new("invalid_cursor", "cursor", "no answer gave it; begin without a cursor");
        let bytes = (text.len() <= CURSOR_CHARS_MAX).then(|| URL_SAFE_NO_PAD.decode(text).ok()).flatten();
        let cursor: Self = bytes.and_then(|b| serde_json::from_slice(&b).ok()).ok_or_else(wrong)?;
        if cursor.query != fingerprint(query, order_by) {
            let detail = "it is another question's; ask with the parameters that it was given for, or without it";
            return Err(Refused::new("invalid_cursor", "cursor", detail).into());
        }
        let whole = match query.granularity {
            Granularity::Bucket | Granularity::Range => true,
            granularity => query.zone.is_start(cursor.place.start(), granularity).map_err(|_| wrong())?,
        };
        if !whole || cursor.place.keys.len() != query.by.len() + 1 {
            return Err(wrong().into());
        }
        Ok(cursor)
    }

    /// The revision at which the first page was answered.
    pub fn first_revision(&self) -> Revision {
        Revision::new(self.revision)
    }

    /// The place of the last row shown.
    pub fn place(&self) -> &Place {
        &self.place
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = serde_json::to_vec(self).map_err(|_| std::fmt::Error)?;
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// A hash of a question, without how many rows a page has.
fn fingerprint(query: &Query, order_by: Option<&OrderBy>) -> u64 {
    let Query { granularity, by, filters, from, to, zone } = query;
    let ends = [from, to].map(|end| end.map(BucketStart::seconds));
    let order = order_by.map(OrderBy::text);
    xxh3_64(format!("{granularity:?} {by:?} {filters:?} {ends:?} {:?} {order:?}", zone.name()).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::window::TimeZone;
    use super::*;

    fn query(by: &[&str], granularity: Granularity) -> Query {
        let at = |s| Some(BucketStart::from_seconds(s));
        let zone = TimeZone::named("timeZone", "UTC").unwrap();
        let by = by.iter().map(|b| (*b).to_owned()).collect();
        Query { granularity, by, filters: Vec::new(), from: at(0), to: at(7200), zone }
    }

    fn place(value: OrderValue, start_seconds: i64, keys: &[Option<&str>]) -> Place {
        Place { value, start_seconds, keys: keys.iter().map(|k| k.map(str::to_owned)).collect() }
    }

    #[test]
    fn a_cursor_is_of_one_question_and_says_where_it_ended() {
        let mine = query(&["country"], Granularity::Hour);
        let keys = [None, Some("USD")];
        let cursor = Cursor::new(&mine, None, Revision::new(7), place(OrderValue::Number(3600), 3600, &keys));
        assert_eq!(Cursor::read(&cursor.to_string(), &mine, None).unwrap(), cursor);
        let other = Cursor::new(&mine, None, Revision::new(7), place(OrderValue::Number(60), 60, &keys));
        let short = Cursor::new(&mine, None, Revision::new(7), place(OrderValue::Number(60), 3600, &keys[1..]));
        let by_clicks = OrderBy::parse("-clicks".to_owned());
        for (text, query, order) in [
            (cursor.to_string(), query(&["adId"], Granularity::Hour), None),
            (cursor.to_string(), query(&["country"], Granularity::Day), None),
            (cursor.to_string(), mine.clone(), Some(&by_clicks)),
            // In the middle of an hour: half of its sum would be left out.
            (other.to_string(), mine.clone(), None),
            (short.to_string(), mine.clone(), None),
            ("nonsense".to_owned(), mine.clone(), None),
            ("!".to_owned(), mine.clone(), None),
            ("A".repeat(CURSOR_CHARS_MAX + 1), mine.clone(), None),
        ] {
            let error = Cursor::read(&text, &query, order).unwrap_err().downcast::<Refused>().unwrap();
            assert_eq!((error.code, error.param.as_deref()), ("invalid_cursor", Some("cursor")), "{text}");
        }
    }

    #[test]
    fn ties_go_by_time_and_keys_in_either_direction() {
        let number = OrderValue::Number;
        let places = [
            place(number(5), 0, &[None]),
            place(number(5), 0, &[Some("a")]),
            place(number(5), 60, &[None]),
            place(number(9), 0, &[Some("b")]),
            place(OrderValue::Null, 0, &[Some("c")]),
        ];
        for (descending, want) in [(false, [4, 0, 1, 2, 3]), (true, [3, 0, 1, 2, 4])] {
            let order = Order { column: Column::Metric(0), descending };
            let mut got: Vec<usize> = (0..places.len()).collect();
            got.sort_by(|a, b| order.compare(&places[*a], &places[*b]));
            assert_eq!(got, want, "descending: {descending}");
        }
    }
}
