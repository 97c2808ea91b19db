//! `adsum-floor`: the jobs of the benchmarks with a general parser (sonic-rs), tables in memory (hashbrown) and no durability.
//!
//! What is faster than this has to know more than JSON; what is slower pays for something. Without a subcommand it does
//! workload A in two stages on each thread: a piece of the file is parsed and spread over shards by the hash of the event
//! id, then the firsts are spread over shards by the hash of their cell. Invariant: exact, as the durable program must be.
//! Not here: dates other than `YYYY-MM-DDTHH:MM:SS[.fff]Z`, conflicts, anything on disk but the result.
#![allow(
    clippy::disallowed_methods,
    reason = "a program for benchmarks works on plain files; the rule is for log and store"
)]

mod names;
mod parse;
mod pieces;
mod result;
mod tables;
mod ysb;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::names::Names;
use crate::parse::LineParser;
use crate::tables::{Spreader, Tables};

/// Counts ad events (workload A) as fast as a general JSON parser allows.
#[derive(Parser)]
#[command(name = "adsum-floor", version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    ads: Option<AdsArgs>,
}

#[derive(Subcommand)]
enum Command {
    /// Counts the views of the Yahoo streaming benchmark (workload B) by campaign and window of 10 s.
    Ysb(YsbArgs),
    /// Parses the lines of workload A and does nothing with them.
    Parse(ParseArgs),
}

#[derive(Args)]
struct AdsArgs {
    /// The lines, NDJSON.
    #[arg(long)]
    json: PathBuf,
    /// Where the rows go, CSV sorted by minute.
    #[arg(long)]
    out: PathBuf,
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

#[derive(Args)]
struct YsbArgs {
    /// The lines, NDJSON.
    #[arg(long)]
    json: PathBuf,
    /// Where the rows go, CSV sorted by window.
    #[arg(long)]
    out: PathBuf,
    /// The campaigns with their ads, TOML.
    #[arg(long)]
    campaigns: PathBuf,
    /// A parser fitted to the order of the fields, before the general one.
    #[arg(long)]
    fitted: bool,
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

#[derive(Args)]
struct ParseArgs {
    /// The lines, NDJSON.
    #[arg(long)]
    json: PathBuf,
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// Lines by what became of them.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    received: u64,
    rejected: u64,
    counted: u64,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let found = match cli.command {
        None => count_ads(&cli.ads.context("--json and --out are needed")?)?,
        Some(Command::Ysb(args)) => count_views(&args)?,
        Some(Command::Parse(args)) => parse_only(&args)?,
    };
    writeln!(std::io::stdout(), "{found}")?;
    Ok(())
}

fn create(path: &Path) -> anyhow::Result<File> {
    File::create(path).with_context(|| format!("cannot create {}", path.display()))
}

fn count_ads(args: &AdsArgs) -> anyhow::Result<String> {
    let (names, tables) = (Names::default(), Tables::default());
    let begin = || (LineParser::new(&names), Spreader::new(&tables), Tally::default());
    let workers = pieces::on_threads(&args.json, args.threads, begin, |(parser, spreader, tally), piece| {
        for line in pieces::lines(piece) {
            tally.received += 1;
            match parser.parse(line)? {
                Some(event) => spreader.take(event),
                None => tally.rejected += 1,
            }
        }
        tally.counted += spreader.drain()?;
        Ok(())
    })?;
    let mut all = Tally::default();
    for (_, _, tally) in workers {
        all.received += tally.received;
        all.rejected += tally.rejected;
        all.counted += tally.counted;
    }
    let groups = result::write(create(&args.out)?, tables, &names, args.threads.max(1))?;
    let Tally { received, rejected, counted } = all;
    let duplicates = received - rejected - counted;
    Ok(format!(
        "{{\"received\":{received},\"rejected\":{rejected},\"counted\":{counted},\"duplicates\":{duplicates},\"groups\":{groups}}}"
    ))
}

fn count_views(args: &YsbArgs) -> anyhow::Result<String> {
    let campaigns = ysb::Campaigns::read(&args.campaigns)?;
    let workers = pieces::on_threads(&args.json, args.threads, ysb::Windows::default, |windows, piece| {
        pieces::lines(piece).for_each(|line| windows.take(&campaigns, line, args.fitted));
        Ok(())
    })?;
    let (windows, groups) = (ysb::Windows::sum(workers), create(&args.out)?);
    let groups = windows.write(groups, &campaigns)?;
    let ysb::Windows { received, rejected, views, .. } = windows;
    Ok(format!("{{\"received\":{received},\"rejected\":{rejected},\"views\":{views},\"groups\":{groups}}}"))
}

fn parse_only(args: &ParseArgs) -> anyhow::Result<String> {
    let workers = pieces::on_threads(&args.json, args.threads, Tally::default, |tally, piece| {
        for line in pieces::lines(piece) {
            tally.received += 1;
            tally.rejected += u64::from(!parse::is_event(line));
        }
        Ok(())
    })?;
    let received: u64 = workers.iter().map(|tally| tally.received).sum();
    let rejected: u64 = workers.iter().map(|tally| tally.rejected).sum();
    Ok(format!("{{\"received\":{received},\"rejected\":{rejected}}}"))
}
