//! A report from a server: the same rows and columns as from a data directory.
//!
//! CSV is streamed as it comes; other formats are made of pages. Invariant: rows are shown as the server wrote them.

use std::io::{self, BufWriter, Write};

use adsum_model::time::{BucketStart, MICROS_PER_SECOND, format_utc};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::super::client::Client;
use super::Args;
use crate::clock;
use crate::report::{Format, Granularity, PeopleTable, Query, write_meta};

/// Rows that are asked for at a time.
const PAGE_ROWS: usize = 10_000;

/// A page as the server sends it.
#[derive(Deserialize)]
struct Page {
    rows: Vec<Box<RawValue>>,
    meta: Box<RawValue>,
    #[serde(rename = "nextCursor")]
    next_cursor: Option<String>,
}

/// Shows the server's answer.
pub fn run(client: &Client, format: Format, args: &Args, query: Query) -> Result<()> {
    if args.distinct_users {
        bail!("--distinct-users: a server answers it for one ad, at /v1/ads/<adId>/distinct_users");
    }
    let path = path(args, &query)?;
    let mut out = BufWriter::with_capacity(1 << 18, io::stdout().lock());
    match format {
        Format::Csv => {
            io::copy(&mut client.get(&path, "text/csv")?, &mut out).context("the server's answer broke off")?;
        }
        // Its time, its dimensions, its currency.
        Format::Table => table(client, &path, query.by.len() + 2, &mut out)?,
        Format::Json | Format::Ndjson => lines(client, &path, format, &mut out)?,
    }
    Ok(out.flush()?)
}

/// The question as a path. A range that `--last` gives begins and ends where buckets do.
fn path(args: &Args, query: &Query) -> Result<String> {
    let (mut from, mut to) = (query.from, query.to);
    if args.last.is_some() {
        from = from.map(|at| query.zone.window(at, query.granularity).map(|w| w.start())).transpose()?;
        let now = BucketStart::from_seconds(clock::now().seconds().div_euclid(60) * 60);
        to = Some(to.map_or_else(|| query.zone.next_start(now, query.granularity), Ok)?);
    }
    let (Some(from), Some(to)) = (from, to) else {
        bail!("a server answers for a range: give --from and --to, or --last")
    };
    let moment = |at: BucketStart| format_utc(at.seconds() * MICROS_PER_SECOND);
    let granularity = Granularity::NAMED.into_iter().find(|(_, g)| *g == query.granularity).map_or("hour", |(n, _)| n);
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    pairs.append_pair("from", &moment(from)).append_pair("to", &moment(to));
    pairs.append_pair("granularity", granularity).append_pair("timeZone", &args.tz);
    pairs.append_pair("dimensions", &query.by.join(","));
    for (name, values) in &query.filters {
        for value in values {
            pairs.append_pair(&format!("filter.{name}"), value.as_deref().unwrap_or_default());
        }
    }
    Ok(format!("/v1/reports?{}", pairs.finish()))
}

/// Every page, one after the other.
fn pages(client: &Client, path: &str, take: &mut dyn FnMut(&Page) -> Result<()>) -> Result<()> {
    let mut cursor: Option<String> = None;
    loop {
        let further = cursor.map(|c| format!("&cursor={c}")).unwrap_or_default();
        let answer = client.get(&format!("{path}&limit={PAGE_ROWS}{further}"), "application/json")?;
        let page: Page =
            serde_json::from_reader(io::BufReader::new(answer)).context("the server sent what is no report")?;
        take(&page)?;
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

fn lines(client: &Client, path: &str, format: Format, out: &mut impl Write) -> Result<()> {
    let json = format == Format::Json;
    let mut rows = 0_u64;
    let mut meta = String::new();
    if json {
        write!(out, "{{\"rows\":[")?;
    }
    pages(client, path, &mut |page| {
        for row in &page.rows {
            match (json, rows) {
                (true, 0) => write!(out, "\n{}", row.get())?,
                (true, _) => write!(out, ",\n{}", row.get())?,
                (false, _) => writeln!(out, "{}", row.get())?,
            }
            rows += 1;
        }
        page.meta.get().clone_into(&mut meta);
        Ok(())
    })?;
    if json {
        writeln!(out, "\n],\"meta\":{meta}}}")?;
    }
    Ok(())
}

fn table(client: &Client, path: &str, keys: usize, out: &mut impl Write) -> Result<()> {
    let mut table = PeopleTable::default();
    let mut meta = serde_json::Map::new();
    pages(client, path, &mut |page| {
        for row in &page.rows {
            let Members(members) = serde_json::from_str(row.get()).context("the server sent what is no row")?;
            if !table.has_header() {
                table.header(members.iter().map(|(name, _)| name.as_str()));
            }
            table.row(members.iter().map(|(_, value)| cell(value)).collect::<Result<_>>()?);
        }
        meta = serde_json::from_str(page.meta.get())?;
        Ok(())
    })?;
    table.draw(keys, out)?;
    write_meta(&meta, out)
}

/// A cell's text: a number as it was written, with all its digits.
fn cell(value: &RawValue) -> Result<String> {
    match value.get() {
        "null" => Ok(String::new()),
        text if text.starts_with('"') => Ok(serde_json::from_str(text)?),
        number => Ok(number.to_owned()),
    }
}

/// The members of an object in the order in which they were written, which is the order of the columns.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}
