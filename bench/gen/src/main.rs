//! `adsum-gen`: writes a workload with its truth, or checks a report against one.
//!
//! Not here: what a workload is; this file only reads the command line.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use adsum_bench_gen::{Layout, ads, check, ysb};
use anyhow::Context;
use clap::{Args, Parser, Subcommand};

/// 2026-11-01T00:00:00Z.
const START_MS: i64 = 1_793_491_200_000;

/// Writes ad events (workload A) with their exact truth.
#[derive(Parser)]
#[command(name = "adsum-gen", version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    ads: Option<AdsArgs>,
}

#[derive(Subcommand)]
enum Command {
    /// Writes the Yahoo streaming benchmark's events (workload B), its campaigns, and its truth.
    Ysb(YsbArgs),
    /// Compares a report (CSV) with a truth; exits 1 if they differ.
    Check(CheckArgs),
}

#[derive(Args)]
struct AdsArgs {
    /// Lines to write, retries and malformed ones included.
    #[arg(long)]
    events: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The lines, NDJSON.
    #[arg(long)]
    out: PathBuf,
    /// The truth, CSV; its totals go beside it as .json.
    #[arg(long)]
    truth: PathBuf,
    /// The part of the impressions that goes to one campaign: 0.5 is half of them.
    #[arg(long, default_value = "0", value_parser = millionths)]
    hot: u64,
    /// Events in a second of simulated time.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    events_per_second: u64,
    /// How lines are written: usual, reversed, shuffled, spaced, escaped, unknown.
    #[arg(long, default_value = "usual", value_parser = layout)]
    order: Layout,
    /// When the first event occurs, in milliseconds since 1970.
    #[arg(long, default_value_t = START_MS)]
    start_ms: i64,
}

#[derive(Args)]
struct YsbArgs {
    #[arg(long)]
    events: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The lines, NDJSON.
    #[arg(long)]
    out: PathBuf,
    /// The truth, CSV: views (as impressions) of each campaign in each window of 10 s.
    #[arg(long)]
    truth: PathBuf,
    /// The campaigns with their ads, TOML.
    #[arg(long)]
    campaigns: PathBuf,
    /// Milliseconds of event time between two events: 10 is the benchmark's catch-up mode.
    #[arg(long, default_value_t = 10)]
    gap_ms: u64,
    /// Event times jitter by -49 to +50 ms, and one in 100,000 is up to 60 s late.
    #[arg(long)]
    skew: bool,
    #[arg(long, default_value_t = START_MS)]
    start_ms: i64,
}

#[derive(Args)]
struct CheckArgs {
    #[arg(long)]
    truth: PathBuf,
    #[arg(long)]
    report: PathBuf,
}

/// A decimal from 0 to 1 in millionths, without going through floats.
fn millionths(text: &str) -> Result<u64, String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let value = (digits(whole) && digits(part) && part.len() <= 6)
        .then(|| format!("{whole}{part:0<6}").parse::<u64>().ok())
        .flatten()
        .filter(|ppm| *ppm <= 1_000_000);
    value.ok_or_else(|| "from 0 to 1, with at most six decimals".to_owned())
}

fn layout(name: &str) -> Result<Layout, String> {
    let names: Vec<&str> = Layout::ALL.iter().map(|(name, _)| *name).collect();
    Layout::from_name(name).ok_or_else(|| format!("one of {}", names.join(", ")))
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            // Nothing is left to tell where even standard error is closed.
            let _ = writeln!(std::io::stderr(), "adsum-gen: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match cli.command {
        None => {
            let args = cli.ads.context("--events, --out and --truth are needed")?;
            let AdsArgs { events: lines, seed, hot: hot_ppm, events_per_second, order: layout, start_ms, .. } = args;
            let plan = ads::Plan { lines, seed, start_ms, hot_ppm, events_per_second, layout };
            write!(out, "{}", ads::write(&plan, &args.out, &args.truth)?.to_json())?;
        }
        Some(Command::Ysb(args)) => {
            let YsbArgs { events, seed, start_ms, gap_ms, skew, .. } = args;
            let plan = ysb::Plan { events, seed, start_ms, gap_ms, skew };
            let outcome = ysb::write(&plan, &args.out, &args.truth, &args.campaigns)?;
            write!(out, "{}", outcome.to_json())?;
        }
        Some(Command::Check(args)) => {
            let comparison = check::compare(&args.truth, &args.report)?;
            write!(out, "{comparison}")?;
            if !comparison.is_exact() {
                return Ok(ExitCode::from(1));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
