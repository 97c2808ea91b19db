//! `adsum-dedupe`: how fast exact deduplication is, by the product's own loop, and what it takes.
//!
//! Keys go through the pipeline as events do: memtable, look-up in the store, fold, checkpoints and merges on threads of
//! their own, two shards side by side. There is no log, no decoder, and one rollup with one row a minute, so that the
//! figures are those of deduplication. Invariant: every answer is checked; a key too many or too few ends the program.
//! Not here: where the time goes (that is for a profiler).
#![allow(
    clippy::disallowed_methods,
    reason = "a program for benchmarks works on plain files; the rule is for log and store"
)]
#![allow(clippy::print_stdout, reason = "it is a program that prints figures")]
#![allow(clippy::float_arithmetic, reason = "rates for people")]

mod disk;
mod keys;
mod process;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use adsum_disk::Disk;
use adsum_engine::Rules;
use adsum_model::catalog::{Catalog, CatalogSpec};
use adsum_model::id::{DedupeKey, FrameSeq, Offset};
use adsum_model::ledger::LedgerColumn;
use adsum_model::rows::Rows;
use adsum_pipeline::{
    CheckpointRules, Executor, FrameMeta, Frozen, Merges, Pipeline, ShardSlot, merge_all_due, schemas,
};
use adsum_store::{AggregateStore, EmbeddedStore, StoreOptions};
use anyhow::{Context, Result, bail, ensure};
use clap::Parser;

use crate::disk::{Counting, forget, is_in_memory};
use crate::keys::Events;
use crate::process::{cpu, memory_mb};

/// Sends keys through the loop and tells rates, bytes and memory.
#[derive(Parser)]
#[command(name = "adsum-dedupe", version)]
struct Cli {
    /// An empty directory for the store.
    #[arg(long)]
    dir: PathBuf,
    /// Events, old ones included.
    #[arg(long, default_value_t = 100_000_000)]
    events: u64,
    /// Of so many events one has a key that was sent before, anywhere.
    #[arg(long, default_value_t = 100)]
    old_every: u64,
    /// Threads that fold.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Events a frame.
    #[arg(long, default_value_t = 16_384)]
    frame: u32,
    /// Only opens what an earlier run made, however it ended, and asks.
    #[arg(long)]
    reopen: bool,
    /// Every look-up reads the device, never the page cache.
    #[arg(long)]
    cold: bool,
    /// Runs of keys that are merged into one.
    #[arg(long)]
    fan_in: Option<usize>,
    /// Records that a checkpoint holds.
    #[arg(long)]
    checkpoint: Option<usize>,
}

/// Batches a frame: a decoder makes each.
const BATCHES: u32 = 4;
/// Old keys whose look-up is timed one by one.
const TIMED: u64 = 10_000;
/// Keys of one asking when records are checked.
const CHECKED: u64 = 4096;

/// A thread a shard, as in the product.
struct Threads;

impl Executor for Threads {
    fn each(&self, slots: &mut [ShardSlot], work: &(dyn Fn(&mut ShardSlot) + Sync)) {
        let Some((first, rest)) = slots.split_first_mut() else { return };
        std::thread::scope(|scope| {
            for slot in rest {
                scope.spawn(move || work(slot));
            }
            work(first);
        });
    }
}

/// The ends of the threads that write checkpoints and merge.
struct Commits {
    frozen: SyncSender<Arc<Frozen>>,
    committed: Receiver<()>,
}

impl Commits {
    /// As the product does after a frame: waits for the writer only when it is a whole checkpoint behind.
    fn after_frame<S: AggregateStore>(&self, pipeline: &mut Pipeline<S>) -> Result<()> {
        if pipeline.is_frozen() {
            if pipeline.is_overdue() {
                self.wait(pipeline)?;
            } else if self.committed.try_recv().is_ok() {
                pipeline.thaw();
            }
        }
        if pipeline.is_due() && !pipeline.is_frozen() {
            self.freeze(pipeline)?;
        }
        Ok(())
    }

    fn wait<S: AggregateStore>(&self, pipeline: &mut Pipeline<S>) -> Result<()> {
        self.committed.recv().context("the committing thread has ended")?;
        pipeline.thaw();
        Ok(())
    }

    fn freeze<S: AggregateStore>(&self, pipeline: &mut Pipeline<S>) -> Result<()> {
        match pipeline.freeze() {
            Some(frozen) => self.frozen.send(frozen).context("the committing thread has ended"),
            None => Ok(()),
        }
    }
}

struct Bench {
    cli: Cli,
    disk: Counting,
    catalog: Arc<Catalog>,
    events: Events,
}

impl Bench {
    fn new(cli: Cli) -> Result<Self> {
        ensure!(cli.old_every >= 2, "of two events one may be old, not more");
        let spec = CatalogSpec {
            rollups: vec![vec!["campaignId".to_owned()]],
            distinct_users: Vec::new(),
            ..CatalogSpec::default()
        };
        let catalog = Arc::new(Catalog::build(&spec).context("the catalog")?);
        let symbols = catalog.symbols();
        let events = Events {
            old_every: cli.old_every,
            event_type: catalog.event_type_named(b"impression").context("there is no type impression")?,
            source: symbols.intern(b"bench"),
            currency: symbols.intern(b"USD"),
        };
        let disk = Counting { cold: cli.cold, ..Counting::default() };
        Ok(Self { cli, disk, catalog, events })
    }

    fn open(&self) -> Result<Arc<EmbeddedStore>> {
        let defaults = StoreOptions::default();
        let options =
            StoreOptions { keys_merge_fan_in: self.cli.fan_in.unwrap_or(defaults.keys_merge_fan_in), ..defaults };
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let symbols = self.catalog.symbols().clone();
        let (store, _) = EmbeddedStore::open(disk, &self.cli.dir, schemas(&self.catalog), symbols, options)?;
        Ok(Arc::new(store))
    }

    fn pipeline(&self, store: Arc<EmbeddedStore>) -> Result<Pipeline<Arc<EmbeddedStore>>> {
        let defaults = CheckpointRules::default();
        let rules = CheckpointRules {
            records_max: self.cli.checkpoint.unwrap_or(defaults.records_max),
            merges: Merges::Elsewhere,
            ..defaults
        };
        Ok(Pipeline::new(self.catalog.clone(), store, Rules::default(), rules, self.cli.threads, Box::new(Threads))?)
    }

    /// Sends everything, in frames, and checks what became of each.
    fn load(&self) -> Result<()> {
        let store = self.open()?;
        let mut pipeline = self.pipeline(store.clone())?;
        ensure!(pipeline.through().offset == Offset::ZERO, "{} is not empty", self.cli.dir.display());
        let (frozen_out, frozen_in) = sync_channel::<Arc<Frozen>>(1);
        let (committed_out, committed_in) = sync_channel(1);
        let (merges_out, merges_in) = sync_channel(1);
        let commits = Commits { frozen: frozen_out, committed: committed_in };
        let (begun, cpu_begun) = (Instant::now(), cpu()?);
        let mut seconds = Vec::new();
        std::thread::scope(|scope| {
            let committer = scope.spawn({
                let store = store.clone();
                move || -> Result<()> {
                    for frozen in frozen_in {
                        frozen.commit(&*store)?;
                        drop(frozen);
                        // The fold may have failed meanwhile; one word is enough for whatever is to be merged.
                        let _ = committed_out.send(());
                        let _ = merges_out.try_send(());
                    }
                    Ok(())
                }
            });
            let merger = scope.spawn({
                let store = store.clone();
                move || merges_in.iter().try_for_each(|()| merge_all_due(&*store))
            });
            let folded = self.fold(&mut pipeline, &commits, &mut seconds);
            drop(commits);
            committer.join().expect("the committer does not panic").and(folded)?;
            merger.join().expect("the merger does not panic")?;
            Ok::<(), anyhow::Error>(())
        })?;
        let (wall, cpu_spent) = (begun.elapsed().as_secs_f64(), cpu()? - cpu_begun);
        let events = self.cli.events as f64;
        let keys = self.events.new_before(self.cli.events) as f64;
        let worst = seconds.iter().min().copied().unwrap_or_default();
        let written = self.disk.counts.written.load(Ordering::Relaxed) as f64;
        println!("{:<34}{:>10.2} M/s by the clock", "events", events / wall / 1e6);
        println!("{:<34}{:>10.2} M/s", "worst second", worst as f64 / 1e6);
        println!("{:<34}{:>10.3} us an event", "processor", cpu_spent.as_secs_f64() * 1e6 / events);
        println!("{:<34}{:>10.1} bytes a key", "written to runs of keys", written / keys);
        println!("{:<34}{:>10}", "buckets read by look-ups", self.disk.counts.lookups.load(Ordering::Relaxed));
        println!("{:<34}{:>10} MB", "peak memory", memory_mb("VmHWM")?);
        println!("{:<34}{:?}", "store", store.stats());
        Ok(())
    }

    fn fold<S: AggregateStore>(
        &self,
        pipeline: &mut Pipeline<S>,
        commits: &Commits,
        seconds: &mut Vec<u64>,
    ) -> Result<()> {
        let mut batches: Vec<Rows> = (0..BATCHES).map(|_| Rows::default()).collect();
        let dimensions = self.catalog.dimensions().len();
        let per_batch = self.cli.frame / BATCHES;
        let (mut second, mut in_second) = (Instant::now(), 0);
        let mut at = 0;
        let mut seq = FrameSeq::new(0);
        while at < self.cli.events {
            let mut firsts = Vec::new();
            let mut next = at;
            for _ in 0..BATCHES {
                let count = (self.cli.events - next).min(u64::from(per_batch)) as u32;
                firsts.push((next, count));
                next += u64::from(count);
            }
            // Drawn side by side, as decoders would make them.
            std::thread::scope(|scope| {
                let share = batches.len().div_ceil(self.cli.threads.max(1));
                for (batches, firsts) in batches.chunks_mut(share).zip(firsts.chunks(share)) {
                    scope.spawn(move || {
                        for (rows, &(first, count)) in batches.iter_mut().zip(firsts) {
                            self.events.rows(first, count, dimensions, rows);
                        }
                    });
                }
            });
            let meta = FrameMeta { seq, appended_at: self.events.appended_at(next), base: Offset::new(at) };
            let published = pipeline.step(&meta, &batches.iter().collect::<Vec<_>>())?;
            let new = self.events.new_before(next) - self.events.new_before(at);
            let old = next - at - new;
            let duplicates: i64 = published.counts.iter().map(|(_, c)| c.get(LedgerColumn::Duplicates)).sum();
            if published.counted != new || duplicates != old as i64 {
                bail!(
                    "frame {seq:?}: {} counted of {new} new, {duplicates} duplicates of {old} old",
                    published.counted
                );
            }
            commits.after_frame(pipeline)?;
            in_second += next - at;
            if second.elapsed() >= Duration::from_secs(1) {
                seconds.push((in_second as f64 / second.elapsed().as_secs_f64()) as u64);
                (second, in_second) = (Instant::now(), 0);
            }
            at = next;
            seq = seq.plus(1);
        }
        if pipeline.is_frozen() {
            commits.wait(pipeline)?;
        }
        commits.freeze(pipeline)?;
        if pipeline.is_frozen() {
            commits.wait(pipeline)?;
        }
        Ok(())
    }

    /// Opens what was made, as a start after a crash does, and asks.
    fn reopen(&self) -> Result<()> {
        let events = if self.cli.reopen { self.open()?.committed().through.offset.get() } else { self.cli.events };
        let keys = self.events.new_before(events);
        let some = |n: u64, of: u64| ((u128::from(n) * u128::from(keys)) / u128::from(of)) as u64;
        if self.cli.cold {
            let (mut pages, mut in_memory) = (0, 0);
            for entry in std::fs::read_dir(&self.cli.dir)? {
                let path = entry?.path();
                if path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"keys-")) {
                    forget(&path)?;
                    let len = path.metadata()?.len();
                    for i in 0..1000 {
                        pages += 1;
                        in_memory += u64::from(is_in_memory(&path, len / 1000 * i)?);
                    }
                }
            }
            println!("{:<34}{:>10} of {pages}", "pages found in memory", in_memory);
            ensure!(in_memory * 100 <= pages, "the disk is not cold");
        }
        let begun = Instant::now();
        let store = self.open()?;
        let opened = begun.elapsed();
        let pipeline = self.pipeline(store.clone())?;
        ensure!(pipeline.through().offset.get() == events, "it is not where it was");
        let mut found = Vec::new();
        store.lookup(&[self.events.record(0).key], &mut found)?;
        ensure!(found[0] == Some(self.events.record(0)), "the first key is not what it was");
        println!("{:<34}{:>10.1} ms", "open", opened.as_secs_f64() * 1e3);
        println!("{:<34}{:>10.1} ms", "open to first answer", begun.elapsed().as_secs_f64() * 1e3);
        println!("{:<34}{:>10} MB", "memory then", memory_mb("VmRSS")?);

        let mut times = Vec::new();
        for i in 0..TIMED {
            let record = self.events.record(some(i * 7919 % TIMED, TIMED));
            let begun = Instant::now();
            store.lookup(&[record.key], &mut found)?;
            times.push(begun.elapsed());
            ensure!(found[0] == Some(record), "{record:?} is {:?}", found[0]);
        }
        times.sort_unstable();
        let at = |per_mille: usize| times[times.len() * per_mille / 1000].as_secs_f64() * 1e6;
        println!("{:<34}{:>10.1} us, p99 {:.1} us", "look-up of one old key, p50", at(500), at(990));

        let cpu_begun = cpu()?;
        let (count, begun) = (1 << 22, Instant::now());
        let mut asked = 0;
        while asked < count {
            let keys: Vec<DedupeKey> = (asked..asked + CHECKED).map(|n| self.events.absent(n)).collect();
            store.lookup(&keys, &mut found)?;
            ensure!(found.iter().all(Option::is_none), "a key was found that nobody sent");
            asked += CHECKED;
        }
        let (wall, spent) = (begun.elapsed().as_secs_f64(), cpu()? - cpu_begun);
        println!(
            "{:<34}{:>10.1} ns of processor each, {:.2} M/s on one thread",
            "look-up of new keys",
            spent.as_secs_f64() * 1e9 / count as f64,
            count as f64 / wall / 1e6
        );
        let checked = if self.cli.cold { 1 << 16 } else { 1 << 20 };
        let (mut asked, begun, cpu_begun) = (0, Instant::now(), cpu()?);
        while asked < checked {
            let records: Vec<_> = (asked..asked + CHECKED).map(|n| self.events.record(some(n, checked))).collect();
            let keys: Vec<DedupeKey> = records.iter().map(|r| r.key).collect();
            store.lookup(&keys, &mut found)?;
            ensure!(records.iter().zip(&found).all(|(r, f)| *f == Some(*r)), "a record is not what it was");
            asked += CHECKED;
        }
        let (wall, spent) = (begun.elapsed().as_secs_f64(), cpu()? - cpu_begun);
        println!(
            "{:<34}{:>10.1} us of processor each, {:.2} M/s on one thread",
            "look-up of old keys",
            spent.as_secs_f64() * 1e6 / checked as f64,
            checked as f64 / wall / 1e6
        );
        Ok(())
    }
}

fn main() -> Result<()> {
    let bench = Bench::new(Cli::parse())?;
    if !bench.cli.reopen {
        bench.load()?;
    }
    bench.reopen()
}
