//! `adsum-floor`: the job of workload A with a general parser (sonic-rs), tables in memory (hashbrown) and no durability.
//!
//! What is faster than this has to know more than JSON; what is slower pays for something. Two stages on each thread: a
//! piece of the file is parsed and spread over shards by the hash of the event id, then the firsts are spread over shards
//! by the hash of their cell. Invariant: exact, as the durable program must be. Not here: dates other than
//! `YYYY-MM-DDTHH:MM:SS[.fff]Z`, conflicts, anything on disk but the result.
#![allow(
    clippy::disallowed_methods,
    reason = "a program for benchmarks works on plain files; the rule is for log and store"
)]

mod names;
mod parse;
mod pieces;
mod result;
mod tables;

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, anyhow};
use clap::Parser;

use crate::names::Names;
use crate::parse::LineParser;
use crate::pieces::Pieces;
use crate::tables::{Spreader, Tables};

/// Counts ad events (workload A) as fast as a general JSON parser allows.
#[derive(Parser)]
#[command(name = "adsum-floor", version)]
struct Cli {
    /// The lines, NDJSON.
    #[arg(long)]
    json: PathBuf,
    /// Where the rows go, CSV sorted by minute.
    #[arg(long)]
    out: PathBuf,
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
    let file = File::open(&cli.json).with_context(|| format!("cannot open {}", cli.json.display()))?;
    let pieces = Pieces::new(&file)?;
    let next_piece = AtomicU64::new(0);
    let (names, tables) = (Names::default(), Tables::default());
    let tallies: Vec<anyhow::Result<Tally>> = std::thread::scope(|threads| {
        let workers: Vec<_> =
            (0..cli.threads.max(1)).map(|_| threads.spawn(|| work(&pieces, &next_piece, &names, &tables))).collect();
        workers.into_iter().map(|w| w.join().unwrap_or_else(|_| Err(anyhow!("a worker panicked")))).collect()
    });
    let mut all = Tally::default();
    for tally in tallies {
        let tally = tally?;
        all.received += tally.received;
        all.rejected += tally.rejected;
        all.counted += tally.counted;
    }
    let out = File::create(&cli.out).with_context(|| format!("cannot create {}", cli.out.display()))?;
    let groups = result::write(out, tables, &names, cli.threads.max(1))?;
    let Tally { received, rejected, counted } = all;
    let duplicates = received - rejected - counted;
    writeln!(
        std::io::stdout(),
        "{{\"received\":{received},\"rejected\":{rejected},\"counted\":{counted},\"duplicates\":{duplicates},\"groups\":{groups}}}"
    )?;
    Ok(())
}

/// Takes pieces until there are none left.
fn work(pieces: &Pieces<'_>, next_piece: &AtomicU64, names: &Names, tables: &Tables) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let mut parser = LineParser::new(names);
    let mut spreader = Spreader::new(tables);
    let mut bytes = Vec::new();
    while let Some(lines) = pieces.read(next_piece.fetch_add(1, Ordering::Relaxed), &mut bytes)? {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', lines).chain([lines.len()]) {
            let line = &lines[start..end];
            start = end + 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            tally.received += 1;
            match parser.parse(line)? {
                Some(event) => spreader.take(event),
                None => tally.rejected += 1,
            }
        }
        tally.counted += spreader.drain()?;
    }
    Ok(tally)
}
