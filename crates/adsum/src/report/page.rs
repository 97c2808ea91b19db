//! One page of a report, as JSON.
//!
//! Invariant: pages that follow one another by cursor show every row once, and together what a stream shows; a page
//! that goes on over newer data goes on behind the last row shown. Memory is bounded by the page, and by one bucket's
//! groups.

use std::collections::BinaryHeap;
use std::ops::ControlFlow;

use adsum_model::catalog::Catalog;
use adsum_model::id::Revision;
use anyhow::Result;
use serde_json::{Value, json};

use super::cursor::{Cursor, Order, OrderBy, Place};
use super::desk::{Desk, PAGE_BUDGET, Standing, blocking};
use super::query::{Planned, Query, ReportRow};
use super::render::RowText;
use super::since::add_metrics_since;
use super::window::Window;
use crate::http::Problem;
use crate::live::Snapshot;

/// Which page.
pub struct PageAsked {
    /// The whole question.
    pub query: Query,
    /// The most rows.
    pub limit: usize,
    /// The column that rows are ordered by.
    pub order_by: Option<OrderBy>,
    /// Their order, resolved.
    pub order: Order,
    /// Where the former page ended.
    pub cursor: Option<Cursor>,
}

/// Answers with one page.
pub async fn page(desk: &Desk, mut planned: Planned, asked: PageAsked) -> Result<Vec<u8>, Problem> {
    let permit = desk.page_permit().await?;
    // Rows come by time, so what lies before the cursor's bucket need not be read again.
    if let (Some(cursor), true) = (&asked.cursor, asked.order.is_by_time()) {
        planned.go_on_from(cursor.place().start());
    }
    let snapshot = desk.snapshot(vec![planned.table()], planned.query().range()).await?;
    let catalog = desk.service.catalog.clone();
    blocking(permit, move || write(&catalog, &planned, &asked, &snapshot)).await
}

/// A row that is kept until the page is whole.
struct Kept {
    place: Place,
    window: Window,
    keys: Vec<Option<String>>,
    values: Vec<i64>,
    revision: Revision,
}

/// The body.
struct Body<'a> {
    planned: &'a Planned,
    text: RowText,
    bytes: Vec<u8>,
    rows: usize,
    /// Where the catalog counts late events, and how many the page has.
    late: Option<(usize, i64)>,
}

impl Body<'_> {
    fn push(&mut self, row: &ReportRow<'_>) -> Result<()> {
        self.bytes.extend_from_slice(if self.rows > 0 { b",\n" } else { b"\n" });
        self.text.json(&self.planned.report, row, &mut self.bytes)?;
        self.rows += 1;
        if let Some((column, late)) = &mut self.late {
            *late = late.saturating_add(row.values[*column]);
        }
        Ok(())
    }
}

fn write(catalog: &Catalog, planned: &Planned, asked: &PageAsked, snapshot: &Snapshot) -> Result<Vec<u8>> {
    let standing = Standing::now(snapshot);
    let mut body = Body {
        planned,
        text: RowText::new(standing.freshness_seconds),
        bytes: b"{\"rows\":[".to_vec(),
        rows: 0,
        late: planned.report.metric("lateEvents").map(|column| (column, 0)),
    };
    let after = asked.cursor.as_ref().map(Cursor::place);
    let last = match asked.order.is_by_time() {
        true => by_time(planned, asked, after, snapshot, &mut body)?,
        false => by_column(planned, asked, after, snapshot, &mut body)?,
    };
    let first_revision = asked.cursor.as_ref().map_or(standing.revision, Cursor::first_revision);
    let next = last.map(|place| Cursor::new(&asked.query, asked.order_by.as_ref(), first_revision, place).to_string());
    let mut meta = standing.meta(&planned.query().zone);
    meta.insert("lateEvents".to_owned(), json!(body.late.map(|(_, late)| late)));
    meta.insert("firstPageRevision".to_owned(), json!(first_revision.to_string()));
    add_metrics_since(catalog, &*snapshot.view, &mut meta);
    let mut bytes = body.bytes;
    let tail = format!("\n],\"meta\":{},\"nextCursor\":{}}}\n", Value::Object(meta), json!(next));
    bytes.extend_from_slice(tail.as_bytes());
    Ok(bytes)
}

/// Writes rows as they come, until the page is full. Says where it ended, if there are more.
fn by_time(
    planned: &Planned,
    asked: &PageAsked,
    after: Option<&Place>,
    snapshot: &Snapshot,
    body: &mut Body<'_>,
) -> Result<Option<Place>> {
    let (mut last, mut more) = (None, false);
    planned.run(&*snapshot.view, &snapshot.pending, PAGE_BUDGET, &mut |row| {
        if after.is_some_and(|place| !place.is_before(row.window, row.keys)) {
            return Ok(ControlFlow::Continue(()));
        }
        if body.rows == asked.limit {
            more = true;
            return Ok(ControlFlow::Break(()));
        }
        body.push(row)?;
        if body.rows == asked.limit {
            last = Some(asked.order.place(row));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(last.filter(|_| more))
}

/// Reads every row and keeps the first ones behind the cursor.
fn by_column(
    planned: &Planned,
    asked: &PageAsked,
    after: Option<&Place>,
    snapshot: &Snapshot,
    body: &mut Body<'_>,
) -> Result<Option<Place>> {
    let mut first = First { order: asked.order, rows: BinaryHeap::new(), most: asked.limit, more: false };
    planned.run(&*snapshot.view, &snapshot.pending, PAGE_BUDGET, &mut |row| {
        // Most rows are far behind the first ones; whether a cursor lies behind them too decides nothing then.
        if first.is_full_before(row) {
            first.more = true;
            return Ok(ControlFlow::Continue(()));
        }
        let place = asked.order.place(row);
        if after.is_none_or(|after| asked.order.compare(after, &place).is_lt()) {
            first.take(place, row);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let more = first.more;
    let rows = first.rows.into_sorted_vec();
    for Ranked { kept, .. } in &rows {
        let keys: Vec<Option<&str>> = kept.keys.iter().map(Option::as_deref).collect();
        body.push(&ReportRow { window: kept.window, keys: &keys, values: &kept.values, revision: kept.revision })?;
    }
    Ok(rows.into_iter().next_back().map(|r| r.kept.place).filter(|_| more))
}

/// The first rows in an order, the last of them at the top.
struct First {
    order: Order,
    rows: BinaryHeap<Ranked>,
    most: usize,
    more: bool,
}

struct Ranked {
    order: Order,
    kept: Kept,
}

impl First {
    /// Whether so many rows come before this one, by the column alone.
    fn is_full_before(&self, row: &ReportRow<'_>) -> bool {
        self.rows.len() == self.most && self.rows.peek().is_some_and(|last| self.order.is_behind(row, &last.kept.place))
    }

    fn take(&mut self, place: Place, row: &ReportRow<'_>) {
        if self.rows.len() == self.most {
            self.more = true;
            if self.rows.peek().is_some_and(|last| self.order.compare(&place, &last.kept.place).is_gt()) {
                return;
            }
            self.rows.pop();
        }
        let keys = row.keys.iter().map(|k| k.map(str::to_owned)).collect();
        let kept = Kept { place, window: row.window, keys, values: row.values.to_vec(), revision: row.revision };
        self.rows.push(Ranked { order: self.order, kept });
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order.compare(&self.kept.place, &other.kept.place)
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}
