//! `GET /v1/conservation`: the ledger, by source and hour of receivedAt.
//!
//! Invariant: what is shown are the ledger's own rows, and whether the equations hold is computed from them here, row
//! by row and over all.

use std::ops::ControlFlow;
use std::sync::Arc;

use adsum_model::ledger::{LedgerColumn, LedgerCounts};
use adsum_model::time::{BucketStart, MICROS_PER_SECOND, format_utc};
use adsum_pipeline::LEDGER;
use adsum_store::{BucketRange, KeyFilter};
use anyhow::Result;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::desk::{Desk, Standing, blocking};
use super::params::Params;
use super::query::{Budget, add_up, each_row};
use super::refused::{Refused, problem};
use super::window::{Granularity, TimeZone};
use crate::http::Problem;

/// Rows that one answer shows.
const BUDGET: Budget = Budget { rows_max: 100_000, groups_max: 0 };

struct Asked {
    range: BucketRange,
    filters: Vec<KeyFilter>,
    zone: TimeZone,
}

/// The ledger's rows, their sums, and whether they balance.
pub async fn conservation(State(desk): State<Arc<Desk>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let asked = read(query.as_deref()).map_err(problem)?;
    let permit = desk.page_permit().await?;
    let snapshot = desk.snapshot(vec![LEDGER], asked.range).await?;
    let answer = blocking(permit, move || {
        let (mut rows, mut imbalances) = (Vec::new(), Vec::new());
        let mut sums = [0_i64; LedgerColumn::ALL.len()];
        let (view, pending) = (&*snapshot.view, &snapshot.pending);
        each_row(view, pending, LEDGER, asked.range, &asked.filters, BUDGET, &mut |row| {
            let counts = LedgerCounts::from_values(row.values);
            add_up(&mut sums, counts.values())?;
            let source = row.names.text(0, row.keys[0]);
            let hour = format_utc(row.bucket.seconds() * MICROS_PER_SECOND);
            let broken = counts.imbalances();
            let mut object = columns(&counts);
            object.insert("hour".to_owned(), json!(hour));
            object.insert("source".to_owned(), json!(source));
            object.insert("balances".to_owned(), json!(broken.is_empty()));
            imbalances.extend(broken.iter().map(|e| json!({ "hour": hour, "source": source, "equation": e })));
            rows.push(Value::Object(object));
            Ok(ControlFlow::Continue(()))
        })?;
        let sums = LedgerCounts::from_values(&sums);
        let balances = imbalances.is_empty() && sums.imbalances().is_empty();
        let meta = Standing::now(&snapshot).meta(&asked.zone);
        let sums = columns(&sums);
        Ok(json!({ "rows": rows, "sums": sums, "balances": balances, "imbalances": imbalances, "meta": meta }))
    });
    Ok(super::json(answer.await?.to_string()))
}

fn columns(counts: &LedgerCounts) -> Map<String, Value> {
    LedgerColumn::ALL.iter().map(|c| (c.name().to_owned(), json!(counts.get(*c)))).collect()
}

fn read(query: Option<&str>) -> Result<Asked> {
    let mut params = Params::parse(query)?;
    let zone = TimeZone::named("timeZone", "UTC")?;
    let mut end = |name: &str, otherwise: BucketStart| -> Result<BucketStart> {
        let Some(text) = params.take(name)? else { return Ok(otherwise) };
        let at = zone.moment(name, &text)?;
        if !zone.is_start(at, Granularity::Hour)? {
            return Err(Refused::new("misaligned", name, "the ledger has full hours of UTC; write one").into());
        }
        Ok(at)
    };
    let (from, to) = (end("from", BucketRange::ALL.from())?, end("to", BucketRange::ALL.to())?);
    if from >= to {
        return Err(Refused::new("invalid_range", "from", "it must lie before `to`").into());
    }
    // No source: the ticks and metadata of the process itself.
    let source = params.take("source")?.map(|s| (!s.is_empty()).then_some(s));
    params.finish("from, to, source")?;
    let filters = source.map(|s| KeyFilter { column: 0, allowed: vec![s] }).into_iter().collect();
    Ok(Asked { range: BucketRange::new(from, to), filters, zone })
}
