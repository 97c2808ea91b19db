//! `adsum-load`: sends events to a collector over HTTP and says how fast and how soon they were acknowledged.
//!
//! Invariant: a figure is printed only for a run in which every request was answered 202 and the server's ledger says
//! afterwards exactly what was sent. One thread carries all connections, so that the server beside it on the same cores
//! is measured and not the client. Not here: the events themselves (bench/gen writes them).
#![allow(
    clippy::disallowed_methods,
    reason = "a program for benchmarks works on plain files; the rule is for log and store"
)]

mod bodies;
mod connection;
mod floor;
mod ledger;
mod load;
mod outcome;
mod probe;
mod process;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};

/// Sends events to a collector, or serves as the floor that one is measured against.
#[derive(Parser)]
#[command(name = "adsum-load", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sends events and prints one line of JSON.
    Run(RunArgs),
    /// Serves `POST /v1/events/collect` and keeps nothing.
    Floor(FloorArgs),
}

#[derive(clap::Args)]
struct RunArgs {
    /// Where the server listens.
    #[arg(long)]
    address: SocketAddr,
    /// The file of a token that may send events and read reports; without it the server is a floor and has no ledger.
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// The lines, NDJSON.
    #[arg(long)]
    lines: PathBuf,
    /// Events to send. When all lines were sent they are sent again with other event ids.
    #[arg(long)]
    events: u64,
    /// Events a request.
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Bodies are compressed beforehand, gzip -6; then no line is sent twice.
    #[arg(long)]
    gzip: bool,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Requests a second, sent when they are due; without it each connection sends when it has its answer.
    #[arg(long)]
    rate: Option<u64>,
    /// Asks reports for single events of its own, meanwhile.
    #[arg(long)]
    probe: bool,
    /// Process id of the server, for its CPU time.
    #[arg(long)]
    pid: Option<u32>,
}

#[derive(clap::Args)]
struct FloorArgs {
    #[arg(long)]
    listen: SocketAddr,
    /// What is done with a body before the answer.
    #[arg(long, value_enum, default_value_t = floor::Work::Acknowledge)]
    work: floor::Work,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run(args),
        Command::Floor(args) => floor::serve(args.listen, args.work),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell where even standard error is closed.
            let _ = writeln!(std::io::stderr(), "adsum-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: RunArgs) -> anyhow::Result<()> {
    let token = match &args.token_file {
        None => None,
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            Some(text.trim().to_owned())
        }
    };
    let token = token.as_deref();
    let mut bodies = bodies::Bodies::read(&args.lines, args.batch, args.gzip, args.events, token)?;
    let before = token.map(|token| ledger::read(args.address, token)).transpose()?.unwrap_or_default();
    let prober = (args.probe.then_some(token).flatten()).map(|token| probe::begin(args.address, token)).transpose()?;
    let cpu = args.pid.map(process::cpu_time).transpose()?;
    let pace = load::Pace { connections: args.connections, per_second: args.rate };
    let mut sent = load::run(args.address, &mut bodies, &pace)?;
    let cpu = match (args.pid, cpu) {
        (Some(pid), Some(before)) => process::cpu_time(pid)?.saturating_sub(before),
        _ => Duration::ZERO,
    };
    let peak_mb = args.pid.map(process::peak_mb).transpose()?.unwrap_or_default();
    let probed = prober.map(probe::Prober::end).transpose()?;
    if let Some(token) = token {
        let expected = before.plus(&sent.counts).plus(&probed.as_ref().map(probe::Probed::counts).unwrap_or_default());
        ledger::check(args.address, token, &expected)?;
    }
    writeln!(std::io::stdout(), "{}", outcome::json(&mut sent, cpu, peak_mb, probed))?;
    Ok(())
}
