//! The hot paths on fixed inputs: `cargo xtask gate` runs each of [`PATHS`] under callgrind and counts the
//! instructions within [`counted`].
//!
//! Invariant: one seed, one thread that does what is counted, symbols in a fixed order, and everything that is not the
//! path itself outside of it, so that two runs count the same. Not here: what a path may take
//! (bench/gate/instructions.toml) and how it is counted (xtask).
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program for developers reads plain files and talks to the task that runs it"
)]

mod world;

use std::ops::ControlFlow;
use std::process::ExitCode;

use adsum_model::catalog::RollupIx;
use adsum_pipeline::rollup_table;
use adsum_store::{AggregateStore, BucketRange};
use anyhow::Result;

use world::{Lines, World};

/// A name, and what runs the path and says for how many events, or rows, it was.
type Path = (&'static str, fn(&std::path::Path, Lines) -> Result<u64>);

const PATHS: &[Path] = &[
    ("decode", decode),
    ("append", append),
    ("dedupe", dedupe),
    ("aggregate", aggregate),
    ("checkpoint", checkpoint),
    ("query", query),
    // No path of its own: it is `decode` with more lines than it says, which the gate must find.
    ("planted", planted),
];
/// One line in so many is decoded twice where a slowdown is planted, and was seen before where keys are looked up.
const ONE_IN: usize = 10;

/// Without an argument it names the paths; with one it runs that path.
fn main() -> Result<ExitCode> {
    let Some(name) = std::env::args().nth(1) else {
        PATHS.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(ExitCode::SUCCESS);
    };
    let Some((_, run)) = PATHS.iter().find(|(known, _)| *known == name) else { return Ok(ExitCode::from(2)) };
    let place = tempfile::tempdir()?;
    let lines = Lines::of_workload_a(place.path())?;
    println!("{}", run(place.path(), lines)?);
    Ok(ExitCode::SUCCESS)
}

/// What is counted: callgrind knows it by its name.
#[inline(never)]
fn counted<T>(path: impl FnOnce() -> T) -> T {
    path()
}

/// Lines to records and rows.
fn decode(place: &std::path::Path, lines: Lines) -> Result<u64> {
    let mut world = World::new(place, world::as_shipped())?;
    world.decode(lines.warm);
    counted(|| world.decode(lines.counted));
    Ok(world.decoded.rows.events.len() as u64)
}

fn planted(place: &std::path::Path, lines: Lines) -> Result<u64> {
    let more = world::every(&lines.counted, ONE_IN);
    let decoded = decode(place, Lines { counted: [&lines.counted[..], &more].concat(), ..lines })?;
    Ok(decoded * ONE_IN as u64 / (ONE_IN as u64 + 1))
}

/// Records to a durable frame of the log.
fn append(place: &std::path::Path, lines: Lines) -> Result<u64> {
    let mut world = World::new(place, world::as_shipped())?;
    world.decode(lines.warm);
    world.append()?;
    world.decode(lines.counted);
    counted(|| world.append())?;
    Ok(world.decoded.rows.events.len() as u64)
}

/// Rows to keys that wait, looked up in the store before; one in ten is found there. There is next to no cell.
fn dedupe(place: &std::path::Path, lines: Lines) -> Result<u64> {
    let mut world = World::new(place, world::without_cells())?;
    let retried = world::every(&lines.counted, ONE_IN);
    for before in [lines.warm, retried] {
        world.decode(before);
        world.step()?;
    }
    world.pipeline.checkpoint()?;
    world.decode(lines.counted);
    counted(|| world.step())?;
    Ok(world.decoded.rows.events.len() as u64)
}

/// Rows to the cells of every rollup, with nothing deduped.
fn aggregate(place: &std::path::Path, lines: Lines) -> Result<u64> {
    let mut world = World::new(place, world::without_dedupe())?;
    world.decode(lines.warm);
    world.step()?;
    world.decode(lines.counted);
    counted(|| world.step())?;
    Ok(world.decoded.rows.events.len() as u64)
}

/// Keys and cells that wait to runs of the store.
fn checkpoint(place: &std::path::Path, lines: Lines) -> Result<u64> {
    let mut world = World::new(place, world::as_shipped())?;
    world.decode(lines.counted);
    world.step()?;
    counted(|| world.pipeline.checkpoint())?;
    Ok(world.decoded.rows.events.len() as u64)
}

/// Every row of a rollup out of two runs of the store.
fn query(place: &std::path::Path, lines: Lines) -> Result<u64> {
    let mut world = World::new(place, world::without_dedupe())?;
    for lines in [lines.warm, lines.counted] {
        world.decode(lines);
        world.step()?;
        world.pipeline.checkpoint()?;
    }
    let table = rollup_table(RollupIx::new(0));
    let mut rows = 0;
    counted(|| {
        world.pipeline.store().scan(table, BucketRange::ALL, &[], &[], &mut |row| {
            rows += u64::from(row.values.iter().any(|value| *value != 0));
            ControlFlow::Continue(())
        })
    })?;
    Ok(rows)
}
