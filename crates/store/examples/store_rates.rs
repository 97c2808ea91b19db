//! How fast the embedded store flushes, looks up, merges and scans, on one thread and a real directory.
//!
//! `cargo run --release -p adsum-store --example store_rates -- <dir> [millions of keys] [millions of rows]`. Rates are
//! by processor time, since others may use the machine; it reads that from Linux's /proc. Not a test: it prints figures of this machine and this hour.

#![allow(clippy::print_stdout, reason = "it is a program that prints figures")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use adsum_disk::{Disk, DiskFile, Open, RealDisk};
use adsum_model::id::{ContentHash, DedupeKey, FrameSeq, Offset, Position, Revision};
use adsum_model::state::{Checkpoint, DedupeRecord};
use adsum_model::symbol::{Symbol, Symbols};
use adsum_model::table::{TableIx, TableRows, TableSchema};
use adsum_model::time::{BucketStart, EventTime};
use adsum_store::{AggregateStore, BucketRange, EmbeddedStore, KeyFilter, ScanRow, StoreError, StoreOptions};

/// The real disk, with the time spent in syncs counted.
#[derive(Clone, Default)]
struct Timed {
    sync_ns: Arc<AtomicU64>,
}

struct TimedFile {
    file: Box<dyn DiskFile>,
    sync_ns: Arc<AtomicU64>,
}

impl Disk for Timed {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        let file = RealDisk.open(path, how)?;
        Ok(Box::new(TimedFile { file, sync_ns: Arc::clone(&self.sync_ns) }))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }
}

impl DiskFile for TimedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.append(bytes)
    }
    fn sync(&mut self) -> io::Result<()> {
        let start = Instant::now();
        let result = self.file.sync();
        self.sync_ns.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result
    }
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }
}

/// splitmix64.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

fn key(i: u64, seed: u64) -> u128 {
    let mut numbers = Numbers(i.wrapping_mul(0xD6E8_FEB8_6659_FD93) ^ seed << 40);
    u128::from(numbers.next()) << 64 | u128::from(numbers.next())
}

struct Bench {
    disk: Timed,
    dir: PathBuf,
    symbols: Arc<Symbols>,
}

impl Bench {
    fn open(&self) -> Result<EmbeddedStore, StoreError> {
        let schema = TableSchema {
            name: "rollup".to_owned(),
            keys: ["campaign", "publisher", "country", "device", "currency"].map(str::to_owned).to_vec(),
            columns: (1..=8).collect(),
        };
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let symbols = Arc::clone(&self.symbols);
        Ok(EmbeddedStore::open(disk, &self.dir, vec![schema], symbols, StoreOptions::default())?.0)
    }

    /// Times what is done `count` times.
    fn time<T>(&self, what: &str, count: u64, act: impl FnOnce() -> T) -> T {
        self.disk.sync_ns.store(0, Ordering::Relaxed);
        let (start, start_cpu) = (Instant::now(), cpu_ns());
        let result = act();
        let busy = cpu_ns() - start_cpu;
        let ns = start.elapsed().as_nanos() as u64;
        let sync = self.disk.sync_ns.load(Ordering::Relaxed);
        println!(
            "{what:<52} {:>10} ns of this core each ({:>7} thousand/s), {:>6} ms by the clock, {:>4} ms of it syncs",
            format!("{}.{}", busy / count, busy * 10 / count % 10),
            count * 1_000_000 / busy.max(1),
            ns / 1_000_000,
            sync / 1_000_000
        );
        result
    }
}

/// Nanoseconds that this thread spent on a core.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or_default()
}

fn peak_mb() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or("VmHWM: unknown");
    line.split_whitespace()
        .nth(1)
        .and_then(|kb| kb.parse::<u64>().ok())
        .map_or_else(String::new, |kb| format!("{} MB peak", kb / 1024))
}

fn at(seq: u64) -> Position {
    Position { seq: FrameSeq::new(seq), offset: Offset::new(seq << 32) }
}

fn commit(store: &EmbeddedStore, checkpoint: &Checkpoint) -> Result<(), StoreError> {
    let written = store.write(checkpoint)?;
    store.publish(written)
}

fn lookups(bench: &Bench, store: &EmbeddedStore, per_run: u64, what: &str) -> Result<(), StoreError> {
    const COUNT: u64 = 4 << 20;
    let mut found = Vec::new();
    let mut ask = |what: &str, key_of: &dyn Fn(u64) -> u128, want: u64| -> Result<(), StoreError> {
        let batches: Vec<Vec<DedupeKey>> =
            (0..COUNT / 4096).map(|b| (0..4096).map(|i| DedupeKey::new(key_of(b * 4096 + i))).collect()).collect();
        let hits = bench.time(what, COUNT, || {
            batches.iter().try_fold(0, |hits, batch| {
                store.lookup(batch, &mut found)?;
                Ok::<u64, StoreError>(hits + found.iter().flatten().count() as u64)
            })
        })?;
        assert!(hits == want, "{hits} found of {want}");
        Ok(())
    };
    ask(&format!("look-up, absent, {what}"), &|i| key(i, 99), 0)?;
    ask(&format!("look-up, absent, keys of one slot, {what}"), &|i| key(i, 98) >> 6 | 5 << 122, 0)?;
    let one_in_100 = |i: u64| if i.is_multiple_of(100) { key(i % per_run, i % 2) } else { key(i, 97) };
    ask(&format!("look-up, 1 in 100 present, {what}"), &one_in_100, COUNT.div_ceil(100))?;
    ask(&format!("look-up, all present, {what}"), &|i| key(i % per_run, i % 4), COUNT)
}

/// The keys of one flush.
const RUN_KEYS: u64 = 2_000_000;

fn flush_keys(store: &EmbeddedStore, run: u64) -> impl FnOnce() -> Result<(), StoreError> + '_ {
    let record = move |i: u64| DedupeRecord {
        key: DedupeKey::new(key(i, run)),
        content: ContentHash::new(i),
        occurred_at: EventTime::from_micros(1_700_000_000_000_000),
        offset: Offset::new(run * RUN_KEYS + i),
        import: false,
    };
    // As two workers hand them over.
    let dedupe = vec![(0..RUN_KEYS / 2).map(record).collect(), (RUN_KEYS / 2..RUN_KEYS).map(record).collect()];
    let checkpoint = Checkpoint { through: at(run + 1), dedupe, ..Checkpoint::default() };
    move || commit(store, &checkpoint)
}

fn dedupe(bench: &Bench, millions: u64) -> Result<(), StoreError> {
    let store = bench.open()?;
    for run in 0..4 {
        bench.time(&format!("flush of {RUN_KEYS} keys, a key"), RUN_KEYS, flush_keys(&store, run))?;
    }
    lookups(bench, &store, RUN_KEYS, "4 runs")?;
    println!("{}, {:?}", peak_mb(), store.stats());
    bench.time("state hash, a key", 4 * RUN_KEYS, || store.state_hash(None))?;
    let merge = || {
        let Some(plan) = store.merge_due() else { return Ok(false) };
        let written = store.merge(&plan)?;
        store.publish(written)?;
        Ok::<bool, StoreError>(true)
    };
    bench.time("merge of 4 runs, a key", 4 * RUN_KEYS, merge)?;
    lookups(bench, &store, RUN_KEYS, "1 run")?;
    println!("{}, {:?}", peak_mb(), store.stats());
    let runs = millions * 1_000_000 / RUN_KEYS;
    if runs > 4 {
        // The keys are drawn within, at about 20 ns each.
        bench.time("flushes and merges of all others, a key", (runs - 4) * RUN_KEYS, || {
            for run in 4..runs {
                flush_keys(&store, run)()?;
                while merge()? {}
            }
            Ok::<(), StoreError>(())
        })?;
        println!("{}, {:?}", peak_mb(), store.stats());
        lookups(bench, &store, RUN_KEYS, "all keys")?;
    }
    drop(store);
    bench.time("open, a key", runs.max(4) * RUN_KEYS, || bench.open())?;
    println!("{}", peak_mb());
    Ok(())
}

fn draw_rows(bench: &Bench, count: u64, seed: u64) -> TableRows {
    let intern = |prefix: &str, i: u64| bench.symbols.intern(format!("{prefix}{i}").as_bytes());
    let campaigns: Vec<Symbol> = (0..10_000).map(|i| intern("camp_", i)).collect();
    let publishers: Vec<Symbol> = (0..240).map(|i| intern("pub_", i)).collect();
    let countries: Vec<Symbol> = (0..40).map(|i| intern("c", i)).collect();
    let devices: Vec<Symbol> = (0..4).map(|i| intern("device", i)).collect();
    let currency = bench.symbols.intern(b"USD");
    let mut numbers = Numbers(seed);
    let mut rows = TableRows::new(5, 8);
    for _ in 0..count {
        // About zipf: the product of two uniform numbers leans to the small ones.
        let campaign = numbers.below(10_000) * numbers.below(10_000) / 10_000;
        let publisher = campaign * 7 % 216 + numbers.below(24);
        let country = campaign % 36 + numbers.below(4);
        let device = devices[numbers.below(4) as usize];
        let key = [
            campaigns[campaign as usize],
            publishers[publisher as usize],
            countries[country as usize],
            device,
            currency,
        ];
        let click = i64::from(numbers.below(33) == 0);
        let spend = numbers.below(20_000) as i64;
        let bucket = BucketStart::from_seconds(1_700_000_040 + 60 * (seed * 2 + numbers.below(5)) as i64);
        rows.push(bucket, &key, &[1, click, 0, spend, 0, 0, 0, 0], Revision::new(seed * 100 + numbers.below(100)));
    }
    rows
}

fn scan(
    store: &EmbeddedStore,
    range: BucketRange,
    filters: &[KeyFilter],
    extra: &[&TableRows],
) -> Result<(u64, i64), StoreError> {
    let (mut rows, mut sum) = (0, 0_i64);
    store.scan(TableIx::new(0), range, filters, extra, &mut |row: &ScanRow<'_>| {
        rows += 1;
        sum += row.values[0];
        ControlFlow::Continue(())
    })?;
    Ok((rows, sum))
}

/// How often a short scan is repeated: the processor's time is told in ticks.
const CALLS: u64 = 100;

fn scans(bench: &Bench, store: &EmbeddedStore, stored: u64, what: &str) -> Result<(), StoreError> {
    scan(store, BucketRange::new(BucketStart::from_seconds(0), BucketStart::from_seconds(1)), &[], &[])?;
    let (rows, sum) =
        bench.time(&format!("full scan, {what}, a stored row"), stored, || scan(store, BucketRange::ALL, &[], &[]))?;
    println!("    {rows} rows, {sum} impressions");
    let allowed = vec![Some("camp_17".to_owned())];
    let filter = [KeyFilter { column: 0, allowed }];
    let calls =
        |range| (0..CALLS).try_fold(0, |rows, _| Ok::<u64, StoreError>(rows + scan(store, range, &filter, &[])?.0));
    let rows = bench.time(&format!("one campaign, {what}, a call"), CALLS, || calls(BucketRange::ALL))?;
    println!("    {} rows", rows / CALLS);
    let minute = BucketRange::new(BucketStart::from_seconds(1_700_000_160), BucketStart::from_seconds(1_700_000_220));
    let rows = bench.time(&format!("one campaign and minute, {what}, a call"), CALLS, || calls(minute))?;
    println!("    {} rows", rows / CALLS);
    Ok(())
}

fn rows(bench: &Bench, millions: u64) -> Result<(), StoreError> {
    let per_run = millions * 1_000_000 / 4;
    let store = bench.open()?;
    let base = store.committed().through.seq.get();
    let mut stored = 0;
    for run in 0..4 {
        let rows = vec![vec![draw_rows(bench, per_run, run + 1)]];
        let through = at(base + run + 1);
        let checkpoint = Checkpoint { through, rows, ..Checkpoint::default() };
        bench.time(&format!("flush of {per_run} rows, a row"), per_run, || commit(&store, &checkpoint))?;
        stored += per_run;
    }
    scans(bench, &store, stored, "4 runs")?;
    let extra = draw_rows(bench, 100_000, 9);
    bench.time("full scan with 100,000 extra rows, a row", stored + 100_000, || {
        scan(&store, BucketRange::ALL, &[], &[&extra])
    })?;
    bench.time("state hash, a row", stored, || store.state_hash(None))?;
    println!("{}, {:?}", peak_mb(), store.stats());
    while let Some(plan) = store.merge_due() {
        bench.time("merge of 4 runs, a row", stored, || {
            let written = store.merge(&plan)?;
            store.publish(written)
        })?;
    }
    scans(bench, &store, stored, "merged")?;
    println!("{}, {:?}", peak_mb(), store.stats());
    Ok(())
}

fn main() -> Result<(), StoreError> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().map_or_else(|| std::env::temp_dir().join("store-rates"), PathBuf::from);
    let mut number = |default: u64| args.next().and_then(|a| a.parse().ok()).unwrap_or(default);
    let (keys, row_count) = (number(8), number(4));
    let bench = Bench { disk: Timed::default(), dir: dir.join("keys"), symbols: Arc::default() };
    if keys > 0 {
        dedupe(&bench, keys)?;
    }
    let bench = Bench { dir: dir.join("rows"), ..bench };
    if row_count > 0 {
        rows(&bench, row_count)?;
    }
    Ok(())
}
