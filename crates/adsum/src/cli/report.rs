//! `adsum report`: from a data directory, or from a server.

mod server;

use std::io::{self, BufWriter};
use std::ops::ControlFlow;

use adsum_model::time::BucketStart;
use adsum_store::AggregateStore;
use anyhow::Result;
use serde_json::{Map, json};

use super::Global;
use crate::clock;
use crate::report::{
    Budget, Complete, Format, Granularity, Query, TimeZone, add_metrics_since, distinct, plan, render,
};
use crate::wire::Make;

/// The arguments of `report`.
#[derive(clap::Args)]
pub struct Args {
    /// How long a row's bucket is.
    #[arg(long, value_enum, default_value = "hour")]
    granularity: GranularityArg,
    /// The dimensions that rows are split by.
    #[arg(long, value_delimiter = ',', value_name = "DIMENSION,...", default_value = "campaignId")]
    by: Vec<String>,
    /// Only this campaign.
    #[arg(long, value_name = "ID")]
    campaign: Option<String>,
    /// Only rows with this value of a dimension; may be repeated. An empty value is null.
    #[arg(long = "filter", value_name = "DIMENSION=VALUE", value_parser = filter)]
    filters: Vec<(String, String)>,
    /// From this moment on: 2026-11-21T08:00:00Z, or a date or local time of --tz.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// The time up to now: 90m, 24h, 7d.
    #[arg(long, value_name = "DURATION", conflicts_with = "from", value_parser = duration)]
    last: Option<i64>,
    /// Up to this moment, itself not included.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Estimate distinct users instead of counting events; standard error 1.6 %.
    #[arg(long)]
    distinct_users: bool,
    /// The time zone of hours and days, an IANA name.
    #[arg(long, default_value = "UTC", value_name = "ZONE")]
    tz: String,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum GranularityArg {
    Bucket,
    Minute,
    Hour,
    Day,
    /// The whole range as one.
    Range,
}

fn filter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write DIMENSION=VALUE".to_owned()),
    }
}

fn duration(text: &str) -> Result<i64, String> {
    let unit_seconds = match text.bytes().last() {
        Some(b'm') => 60,
        Some(b'h') => 3600,
        Some(b'd') => 86_400,
        _ => return Err("write a number and m, h or d: 90m, 24h, 7d".to_owned()),
    };
    let number = text[..text.len() - 1].parse::<i64>().ok().filter(|n| (1..=100_000).contains(n));
    number.map(|n| n * unit_seconds).ok_or_else(|| "write 1 to 100000 and m, h or d: 90m, 24h, 7d".to_owned())
}

/// Runs `adsum report`.
pub fn run(global: &Global, args: &Args) -> Result<()> {
    let query = query(args)?;
    match global.client()? {
        Some(client) => server::run(&client, global.format(Format::Table), args, query),
        None => local(global, args, query),
    }
}

fn query(args: &Args) -> Result<Query> {
    let zone = TimeZone::named("tz", &args.tz)?;
    let campaign = args.campaign.as_ref().map(|id| ("campaignId".to_owned(), id.clone()));
    let mut filters: Vec<(String, Vec<Option<String>>)> = Vec::new();
    for (name, value) in args.filters.iter().cloned().chain(campaign) {
        let value = (!value.is_empty()).then_some(value);
        match filters.iter_mut().find(|(n, _)| *n == name) {
            Some((_, values)) => values.push(value),
            None => filters.push((name, vec![value])),
        }
    }
    Ok(Query {
        granularity: match args.granularity {
            GranularityArg::Bucket => Granularity::Bucket,
            GranularityArg::Minute => Granularity::Minute,
            GranularityArg::Hour => Granularity::Hour,
            GranularityArg::Day => Granularity::Day,
            GranularityArg::Range => Granularity::Range,
        },
        by: args.by.clone(),
        filters,
        from: match (args.last, &args.from) {
            (Some(seconds), _) => {
                Some(BucketStart::from_seconds((clock::now().seconds() - seconds).div_euclid(60) * 60))
            }
            (None, from) => from.as_ref().map(|t| zone.moment("from", t)).transpose()?,
        },
        to: args.to.as_ref().map(|t| zone.moment("to", t)).transpose()?,
        zone,
    })
}

/// From the data directory.
fn local(global: &Global, args: &Args, query: Query) -> Result<()> {
    let config = global.config()?;
    let home = global.open(&config, Make::Never)?;
    let pending = home.pipeline.pending();
    let view = home.pipeline.store().view();
    let catalog = home.pipeline.catalog();
    let complete = Complete::of(&*view);
    let budget = Budget::UNBOUNDED;
    let mut out = render(global.format(Format::Table), BufWriter::with_capacity(1 << 18, io::stdout().lock()));
    if args.distinct_users {
        let planned = distinct::plan(catalog, &complete, query)?;
        out.header(&planned.report)?;
        planned
            .run(&*view, &pending.rows, budget, &mut |row| out.row(&planned.report, row).map(ControlFlow::Continue))?;
    } else {
        let planned = plan(catalog, &complete, query)?;
        out.header(&planned.report)?;
        planned
            .run(&*view, &pending.rows, budget, &mut |row| out.row(&planned.report, row).map(ControlFlow::Continue))?;
    }
    let mut meta = Map::new();
    meta.insert("dataRevision".to_owned(), json!(home.pipeline.revision().to_string()));
    let watermark = home.pipeline.clocks().watermark();
    let complete = (watermark.micros() > i64::MIN).then(|| watermark.to_string());
    meta.insert("completeThrough".to_owned(), json!(complete));
    meta.insert("timeZone".to_owned(), json!(args.tz));
    if !args.distinct_users {
        add_metrics_since(catalog, &*view, &mut meta);
    }
    out.finish(&meta)?;
    home.close()
}
