//! Workload A: writes the lines in their order of arrival, and the truth beside them.
//!
//! Invariant: exactly `lines` lines, each a first, a retry or a malformed one; the truth holds each first once. Memory does
//! not grow with the number of lines.

use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context, anyhow, ensure};

use crate::arrival::Arrivals;
use crate::line::{Layout, LinePrinter};
use crate::sink::Sink;
use crate::truth::{Sums, Truth};
use crate::world::World;

/// Lines that are handed to the printing thread at once, and how many such batches may wait.
const BATCH_LINES: usize = 4_096;
const BATCHES_MAX: usize = 8;

/// What to write.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Lines in all, retries and malformed ones included.
    pub lines: u64,
    /// The same seed gives the same bytes.
    pub seed: u64,
    /// When the first event occurs, in milliseconds since 1970.
    pub start_ms: i64,
    /// Millionths of the impressions that go to one campaign, beside its share.
    pub hot_ppm: u64,
    /// Events in a second of simulated time.
    pub events_per_second: u64,
    /// How the lines are written.
    pub layout: Layout,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Lines.
    pub received: u64,
    /// Malformed lines.
    pub rejected: u64,
    /// Lines that count.
    pub counted: u64,
    /// Retries.
    pub duplicates: u64,
    /// Rows of the truth.
    pub groups: u64,
    /// Over all rows.
    pub sums: Sums,
    /// Size of the lines' file.
    pub bytes: u64,
}

impl Outcome {
    /// As a JSON object.
    pub fn to_json(&self) -> String {
        let fields = [
            ("received", self.received),
            ("accepted", self.received - self.rejected),
            ("rejected", self.rejected),
            ("counted", self.counted),
            ("duplicates", self.duplicates),
            ("groups", self.groups),
            ("impressions", self.sums.impressions),
            ("clicks", self.sums.clicks),
            ("conversions", self.sums.conversions),
            ("spendMicros", self.sums.spend_micros),
            ("bytes", self.bytes),
        ];
        let members: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}\n", members.join(","))
    }
}

/// Writes the lines to `out`, the truth's rows to `truth` (CSV) and its totals beside it (`.json`).
///
/// # Errors
/// Where a file cannot be written, or `truth` is itself named `.json`.
pub fn write(plan: &Plan, out: &Path, truth: &Path) -> anyhow::Result<Outcome> {
    let totals = truth.with_extension("json");
    ensure!(totals != truth, "the truth is a CSV: {} is the name of its totals", truth.display());
    let world = World::new(plan.seed, plan.start_ms, plan.hot_ppm, plan.events_per_second);
    let mut counts = Truth::create(truth)?;
    let mut tally = Tally::default();
    let bytes = std::thread::scope(|threads| {
        let (batches, to_print) = sync_channel::<Vec<u64>>(BATCHES_MAX);
        let printer = threads.spawn(|| print_all(plan, &world, out, to_print));
        let simulated = simulate(plan, &world, &mut counts, &mut tally, &batches);
        drop(batches);
        let bytes = printer.join().map_err(|_| anyhow!("the printer panicked"))??;
        simulated.map(|()| bytes)
    })?;
    let (sums, groups) = counts.finish()?;
    let Tally { lines, rejected, counted } = tally;
    let duplicates = lines - counted - rejected;
    let outcome = Outcome { received: lines, rejected, counted, duplicates, groups, sums, bytes };
    std::fs::File::create(&totals)
        .and_then(|mut file| file.write_all(outcome.to_json().as_bytes()))
        .with_context(|| format!("cannot write {}", totals.display()))?;
    Ok(outcome)
}

#[derive(Default)]
struct Tally {
    lines: u64,
    rejected: u64,
    counted: u64,
}

/// Lets events occur until there are lines enough, counts them, and sends on their indices as they arrive.
fn simulate(
    plan: &Plan,
    world: &World,
    counts: &mut Truth,
    tally: &mut Tally,
    batches: &SyncSender<Vec<u64>>,
) -> anyhow::Result<()> {
    let mut arrivals = Arrivals::new(plan.seed);
    let mut batch = Vec::with_capacity(BATCH_LINES);
    let mut index = 0;
    while tally.lines < plan.lines {
        let event = world.event(index);
        let at_ms = (event.occurred_at_ms - plan.start_ms) as u64;
        tally.lines += arrivals.occur(index, at_ms, event.defect.is_none(), plan.lines - tally.lines);
        if event.defect.is_some() {
            tally.rejected += 1;
        } else {
            tally.counted += 1;
            counts.count(&event)?;
        }
        arrivals.arrived(at_ms, |i| batch.push(i));
        if batch.len() >= BATCH_LINES && batches.send(std::mem::take(&mut batch)).is_err() {
            // The printer has stopped, and says why when it is joined.
            return Ok(());
        }
        index += 1;
    }
    arrivals.rest(|i| {
        batch.push(i);
        if batch.len() >= BATCH_LINES {
            // As above; there is nothing left to stop early.
            let _ = batches.send(std::mem::take(&mut batch));
        }
    });
    let _ = batches.send(batch);
    Ok(())
}

/// Writes the lines of all batches; returns the file's size in bytes.
fn print_all(plan: &Plan, world: &World, out: &Path, batches: Receiver<Vec<u64>>) -> anyhow::Result<u64> {
    let mut printer = LinePrinter::new(plan.seed, plan.layout);
    let mut sink = Sink::create(out)?;
    for batch in batches {
        for index in batch {
            printer.print(&world.event(index), &mut sink.block);
            sink.flush_if_full()?;
        }
    }
    sink.finish()
}
