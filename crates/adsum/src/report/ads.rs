//! What is asked of ads: how often one was seen in a range, by how many users, and which were the most popular lately.
//!
//! Invariant: counts add up over currencies, money never does. An ad that has no events has counts of 0, and so has one
//! of somebody else's campaigns.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use adsum_model::catalog::{Catalog, MetricKind};
use adsum_model::id::Revision;
use adsum_model::time::{BucketStart, MICROS_PER_SECOND, format_utc};
use anyhow::Result;
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use hashbrown::HashMap;
use serde_json::{Map, Number, Value, json};

use super::columns::{Report, decimal};
use super::desk::{Desk, PAGE_BUDGET, Standing, blocking};
use super::distinct::{self, STANDARD_ERROR};
use super::json;
use super::params::{Filters, Params};
use super::query::{Planned, Query, add_up, plan};
use super::refused::{Refused, problem};
use super::request::{Scope, check_range};
use super::since::add_metrics_since;
use super::window::{Granularity, TimeZone};
use crate::http::{Principal, Problem};

const AD: &str = "adId";

/// Ads of an answer, if not said, and at most.
const POPULAR: usize = 100;
const POPULAR_MAX: usize = 1_000;
/// The longest window of popular ads, in minutes.
const WINDOW_MINUTES_MAX: i64 = 1_440;

/// The ad of a path.
fn id(ad: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    ad.map(|Path(ad)| ad).map_err(|_| Problem::not_found("the path names no ad: its id is no text"))
}

/// A query for one ad, or for all.
fn query(granularity: Granularity, ad: Option<String>, scope: &Scope, params: &mut Params) -> Result<Query> {
    let mut filters: Filters = params.filters();
    if filters.iter().any(|(name, _)| name == AD) && ad.is_some() {
        return Err(Refused::new("repeated_parameter", "filter.adId", "the path names the ad; leave it out").into());
    }
    filters.extend(ad.map(|id| (AD.to_owned(), vec![Some(id)])));
    scope.restrict(&mut filters)?;
    let zone = TimeZone::named("timeZone", "UTC")?;
    Ok(Query { granularity, by: Vec::new(), filters, from: None, to: None, zone })
}

/// The columns of counts, and those of money.
fn split(catalog: &Catalog) -> (Vec<usize>, Vec<usize>) {
    let is_money = |i: &usize| matches!(catalog.columns()[*i].kind, MetricKind::Spend | MetricKind::Value);
    let (money, counts) = (0..catalog.columns().len()).partition(is_money);
    (counts, money)
}

/// Some of the columns of a row.
fn members(report: &Report, columns: &[usize], values: &[i64]) -> Map<String, Value> {
    columns.iter().map(|i| (report.metrics[*i].clone(), json!(values[*i]))).collect()
}

fn add_ratios(report: &Report, values: &[i64], object: &mut Map<String, Value>) {
    for ratio in &report.ratios {
        let value = ratio.millionths(values).and_then(|m| decimal(m).parse::<Number>().ok());
        object.insert(ratio.name.to_owned(), json!(value));
    }
}

fn moment(at: BucketStart) -> String {
    format_utc(at.seconds() * MICROS_PER_SECOND)
}

/// `GET /v1/ads/{adId}/aggregated_count`: counts over a range, money by currency.
pub async fn aggregated_count(
    State(desk): State<Arc<Desk>>,
    Extension(principal): Extension<Principal>,
    ad: Result<Path<String>, PathRejection>,
    RawQuery(text): RawQuery,
) -> Result<Response, Problem> {
    let ad = id(ad)?;
    let scope = desk.scope(&principal);
    let catalog = desk.service.catalog.clone();
    let read = || -> Result<Query> {
        let mut params = Params::parse(text.as_deref())?;
        let query = query(Granularity::Range, Some(ad.clone()), &scope, &mut params)?;
        let (from, to) = params.range(&query.zone)?;
        check_range(&query.zone, Granularity::Range, catalog.bucket_seconds(), from, to)?;
        params.finish("from, to, filter.<dimension>")?;
        Ok(Query { from: Some(from), to: Some(to), ..query })
    };
    let query = read().map_err(problem)?;
    let planned = plan(&catalog, desk.complete().await?, query).map_err(problem)?;
    let permit = desk.page_permit().await?;
    let snapshot = desk.snapshot(vec![planned.table()], planned.query().range()).await?;
    let answer = blocking(permit, move || {
        let (counts, money) = split(&catalog);
        let mut sums = vec![0_i64; catalog.columns().len()];
        let (mut by_currency, mut revision) = (Vec::new(), Revision::ZERO);
        planned.run(&*snapshot.view, &snapshot.pending, PAGE_BUDGET, &mut |row| {
            add_counts(&mut sums, row.values, &counts)?;
            let mut object = members(&planned.report, &money, row.values);
            object.insert("currency".to_owned(), json!(row.keys[0]));
            by_currency.push(Value::Object(object));
            revision = revision.max(row.revision);
            Ok(ControlFlow::Continue(()))
        })?;
        let mut object = members(&planned.report, &counts, &sums);
        add_ratios(&planned.report, &sums, &mut object);
        let mut meta = Standing::now(&snapshot).meta(&planned.query().zone);
        add_metrics_since(&catalog, &*snapshot.view, &mut meta);
        object.insert("adId".to_owned(), json!(ad));
        add_range(&planned, &mut object);
        object.insert("currencies".to_owned(), json!(by_currency));
        object.insert("revision".to_owned(), json!(revision.to_string()));
        object.insert("meta".to_owned(), Value::Object(meta));
        Ok(Value::Object(object))
    });
    Ok(json(answer.await?.to_string()))
}

fn add_counts(sums: &mut [i64], values: &[i64], counts: &[usize]) -> Result<()> {
    for i in counts {
        add_up(&mut sums[*i..=*i], &values[*i..=*i])?;
    }
    Ok(())
}

fn add_range(planned: &Planned, object: &mut Map<String, Value>) {
    for (name, at) in [("from", planned.query().from), ("to", planned.query().to)] {
        object.insert(name.to_owned(), json!(at.map(moment)));
    }
}

/// `GET /v1/ads/{adId}/distinct_users`: estimates, by windows as they are kept.
pub async fn distinct_users(
    State(desk): State<Arc<Desk>>,
    Extension(principal): Extension<Principal>,
    ad: Result<Path<String>, PathRejection>,
    RawQuery(text): RawQuery,
) -> Result<Response, Problem> {
    let ad = id(ad)?;
    let scope = desk.scope(&principal);
    let catalog = desk.service.catalog.clone();
    let read = || -> Result<Query> {
        let mut params = Params::parse(text.as_deref())?;
        let query = query(Granularity::Bucket, Some(ad.clone()), &scope, &mut params)?;
        let (from, to) = params.range(&query.zone)?;
        check_range(&query.zone, Granularity::Bucket, catalog.bucket_seconds(), from, to)?;
        params.finish("from, to, filter.<dimension>")?;
        Ok(Query { from: Some(from), to: Some(to), ..query })
    };
    let query = read().map_err(problem)?;
    let range = query.range();
    let planned = distinct::plan(&catalog, desk.complete().await?, query).map_err(problem)?;
    let permit = desk.page_permit().await?;
    let snapshot = desk.snapshot(vec![planned.table()], range).await?;
    let answer = blocking(permit, move || {
        let mut windows = Vec::new();
        planned.run(&*snapshot.view, &snapshot.pending, PAGE_BUDGET, &mut |row| {
            let start = row.window.to_string();
            windows.push(
                json!({ "bucketStart": start, "distinctUsers": row.values[0], "revision": row.revision.to_string() }),
            );
            Ok(ControlFlow::Continue(()))
        })?;
        let meta = Standing::now(&snapshot).meta(&TimeZone::named("timeZone", "UTC")?);
        Ok(json!({
            "adId": ad,
            "from": moment(range.from()),
            "to": moment(range.to()),
            "windowSeconds": planned.window_seconds(),
            "standardError": STANDARD_ERROR.parse::<Number>().ok(),
            "windows": windows,
            "meta": meta,
        }))
    });
    Ok(json(answer.await?.to_string()))
}

/// What is asked for popular ads.
struct Popular {
    count: usize,
    /// The event type's count that decides.
    by: String,
    query: Query,
}

fn read_popular(desk: &Desk, text: Option<&str>, scope: &Scope) -> Result<Popular> {
    let catalog = &desk.service.catalog;
    let mut params = Params::parse(text)?;
    let mut query = query(Granularity::Range, None, scope, &mut params)?;
    query.by = vec![AD.to_owned()];
    let count = params.number("count", POPULAR, 1, POPULAR_MAX)?;
    let minutes = window_minutes(&params.take("window")?.unwrap_or_else(|| "5m".to_owned()))?;
    let by = params.take("by")?.unwrap_or_else(|| "clicks".to_owned());
    let counts: Vec<_> = catalog.event_types().iter().map(|t| t.plural.as_str()).collect();
    if !counts.contains(&by.as_str()) {
        let detail = format!("{by:?} is no count of events; there are {}", counts.join(", "));
        return Err(Refused::new("unknown_column", "by", detail).into());
    }
    params.finish("count, window, by, filter.<dimension>")?;
    // The minute that runs is the last of them, so that the window moves on from minute to minute.
    let now = desk.service.clock.now().seconds();
    let to = now - now.rem_euclid(60) + 60;
    query.from = Some(BucketStart::from_seconds(to - 60 * minutes));
    query.to = Some(BucketStart::from_seconds(to));
    Ok(Popular { count, by, query })
}

/// `5m` or `2h`, as minutes.
fn window_minutes(text: &str) -> Result<i64> {
    let (number, unit) = text.split_at(text.len().saturating_sub(usize::from(text.is_ascii())));
    let factor = match unit {
        "m" => Some(1),
        "h" => Some(60),
        _ => None,
    };
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let number = number.parse::<i64>().ok().filter(|_| digits);
    let minutes = number.zip(factor).and_then(|(n, f)| n.checked_mul(f));
    let wrong = || {
        let detail = format!("{text:?} is no window; write 1m to {WINDOW_MINUTES_MAX}m, or hours as 2h");
        Refused::new("invalid_parameter", "window", detail)
    };
    Ok(minutes.filter(|m| (1..=WINDOW_MINUTES_MAX).contains(m)).ok_or_else(wrong)?)
}

/// `GET /v1/ads/popular_ads`: the ads with the most clicks (or another count) in the last minutes.
pub async fn popular(
    State(desk): State<Arc<Desk>>,
    Extension(principal): Extension<Principal>,
    RawQuery(text): RawQuery,
) -> Result<Response, Problem> {
    let scope = desk.scope(&principal);
    let catalog = desk.service.catalog.clone();
    let Popular { count, by, query } = read_popular(&desk, text.as_deref(), &scope).map_err(problem)?;
    let planned = plan(&catalog, desk.complete().await?, query).map_err(problem)?;
    let permit = desk.page_permit().await?;
    let snapshot = desk.snapshot(vec![planned.table()], planned.query().range()).await?;
    let answer = blocking(permit, move || {
        let (counts, _) = split(&catalog);
        // One ad has a row for each currency.
        let mut ads: HashMap<String, Vec<i64>> = HashMap::new();
        planned.run(&*snapshot.view, &snapshot.pending, PAGE_BUDGET, &mut |row| {
            if let Some(ad) = row.keys[0] {
                let sums = ads.entry_ref(ad).or_insert_with(|| vec![0; row.values.len()]);
                add_counts(sums, row.values, &counts)?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let column = planned.report.metric(&by).unwrap_or_default();
        let first = most(ads, column, count);
        let rows = first.into_iter().map(|(ad, values)| {
            let mut object = members(&planned.report, &counts, &values);
            add_ratios(&planned.report, &values, &mut object);
            object.insert("adId".to_owned(), json!(ad));
            Value::Object(object)
        });
        let mut object = Map::new();
        object.insert("ads".to_owned(), rows.collect());
        object.insert("by".to_owned(), json!(by));
        add_range(&planned, &mut object);
        let mut meta = Standing::now(&snapshot).meta(&planned.query().zone);
        add_metrics_since(&catalog, &*snapshot.view, &mut meta);
        object.insert("meta".to_owned(), Value::Object(meta));
        Ok(Value::Object(object))
    });
    Ok(json(answer.await?.to_string()))
}

/// The ads with the greatest values of a column, of equal ones those first by id; none that has 0.
fn most(ads: HashMap<String, Vec<i64>>, column: usize, count: usize) -> Vec<(String, Vec<i64>)> {
    let ranked = ads.into_iter().filter(|(_, values)| values[column] > 0);
    let ranked: BTreeMap<_, _> = ranked.map(|(ad, values)| ((Reverse(values[column]), ad), values)).collect();
    ranked.into_iter().take(count).map(|((_, ad), values)| (ad, values)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_minutes_of_a_day_at_most() {
        for (text, want) in [
            ("5m", Some(5)),
            ("1m", Some(1)),
            ("1440m", Some(1440)),
            ("24h", Some(1440)),
            ("0m", None),
            ("1441m", None),
            ("25h", None),
            ("5", None),
            ("m", None),
            ("", None),
            ("+5m", None),
            ("5s", None),
            ("5\u{00b5}", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(window_minutes(text).ok(), want, "{text:?}");
        }
    }

    #[test]
    fn the_most_popular_come_first_and_ties_by_id() {
        let ads = [("c", 5), ("a", 5), ("b", 9), ("d", 0)].map(|(ad, n)| (ad.to_owned(), vec![n]));
        let names = |count| -> Vec<String> {
            most(ads.iter().cloned().collect(), 0, count).into_iter().map(|(ad, _)| ad).collect()
        };
        assert_eq!(names(10), ["b", "a", "c"]);
        assert_eq!(names(2), ["b", "a"]);
    }
}
