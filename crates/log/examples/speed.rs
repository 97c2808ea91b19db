//! Measures encoding, appending and reading of ads events: `cargo run --release -p adsum-log --example speed [DIR]`.
//!
//! Not a benchmark of the product: one thread, events made beforehand, no parsing.
#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::float_arithmetic, reason = "a measuring program")]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use adsum_disk::{Disk, DiskFile, FaultyDisk, Open, RealDisk};
use adsum_log::{EmbeddedLog, EventLog, Frame, FrameDraft, LogOptions, LogView};
use adsum_model::catalog::{BillableType, Catalog, CatalogSpec};
use adsum_model::id::{FrameSeq, MetadataRevision};
use adsum_model::record::{Form, RecordBatch, RecordKind, Span, Stamp, Stream};
use adsum_model::symbol::Symbol;
use adsum_model::time::ReceivedAt;

const EVENTS: u64 = 2_000_000;
const BATCH: u64 = 10_000;
const NOW: i64 = 1_795_219_200_000_000;

/// Takes everything and keeps nothing: what is left is the encoding.
struct NoDisk;

struct NoFile(u64);

impl Disk for NoDisk {
    fn open(&self, _: &Path, _: Open) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(NoFile(0)))
    }
    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn remove(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for NoFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0)
    }
    fn read_exact_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0 += bytes.len() as u64;
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0 = len;
        Ok(())
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `bound`, small numbers more often, roughly as a zipf distribution of exponent 1 has them.
    fn skewed(&mut self, bound: u64) -> u64 {
        let bits = 64 - bound.leading_zeros();
        let bits = 1 + self.next() % u64::from(bits);
        (self.next() & ((1 << bits) - 1)) % bound
    }
}

fn batches(catalog: &Catalog) -> Vec<RecordBatch> {
    let mut random = Random(1);
    let symbols = catalog.symbols();
    let table = |prefix: &str, count: u64| -> Vec<Symbol> {
        (0..count).map(|i| symbols.intern(format!("{prefix}{i}").as_bytes())).collect()
    };
    let (campaigns, ads, publishers) = (table("camp_", 10_000), table("ad_", 100_000), table("pub_", 2000));
    let (places, countries, devices) = (table("plc_", 50), table("C", 60), table("device", 4));
    let types = ["impression", "click", "conversion"].map(|t| symbols.intern(t.as_bytes()));
    let source = symbols.intern(b"import");
    let stamp = Stamp {
        stream: Stream::Import,
        billable: Some(BillableType::Cpm),
        currency: symbols.intern(b"USD"),
        ..Stamp::default()
    };
    let field = |name: &str| catalog.field_named(name).expect("a built-in field");
    let names = ["adId", "auctionId", "campaignId", "country", "deviceType", "eventId", "eventType", "impressionId"];
    let [ad, auction, campaign, country, device, event_id, event_type, impression] = names.map(field);
    let names = ["occurredAt", "placementId", "priceMicros", "publisherId", "schemaVersion", "userId"];
    let [occurred_at, place, price, publisher, version, user] = names.map(field);
    let mut all = Vec::new();
    for i in 0..EVENTS / BATCH {
        let mut batch = RecordBatch::default();
        for j in 0..BATCH {
            let at = NOW + (i * BATCH + j) as i64 * 100;
            // A batch is one body, received as a whole; one comes each millisecond.
            let received_at = ReceivedAt::from_micros(NOW + i as i64 * 1000);
            batch.begin(RecordKind::Event, source, received_at, stamp);
            let c = random.skewed(10_000);
            let uuid = |batch: &mut RecordBatch, random: &mut Random, field| {
                let start = batch.uuids.len() as u32;
                let mut bytes = [0; 16];
                bytes[..8].copy_from_slice(&random.next().to_le_bytes());
                bytes[8..].copy_from_slice(&random.next().to_le_bytes());
                batch.uuids.push(bytes);
                batch.push(Span { field, form: Form::Uuid, start, len: 0 });
            };
            let kind = match random.next() % 1000 {
                0 => 2,
                1..31 => 1,
                _ => 0,
            };
            batch.push(Span::symbol(ad, ads[(c * 10 + random.next() % 10) as usize]));
            uuid(&mut batch, &mut random, auction);
            batch.push(Span::symbol(campaign, campaigns[c as usize]));
            batch.push(Span::symbol(country, countries[((c + random.next() % 4) % 60) as usize]));
            batch.push(Span::symbol(device, devices[(random.next() % 4) as usize]));
            uuid(&mut batch, &mut random, event_id);
            batch.push(Span::symbol(event_type, types[kind]));
            uuid(&mut batch, &mut random, impression);
            let occurred = (at / 1000 - (random.next() % 5000) as i64) * 1000;
            batch.push(Span::wide(occurred_at, Form::Time, occurred as u64));
            batch.push(Span::symbol(place, places[(random.next() % 50) as usize]));
            batch.push(Span::wide(price, Form::Uint, 500 + random.next() % 5000));
            batch.push(Span::symbol(publisher, publishers[((c + random.next() % 24) % 2000) as usize]));
            batch.push(Span::wide(version, Form::Uint, 1));
            batch.push_bytes(user, Form::Text, format!("u_{}", random.next() % 2_000_000).as_bytes());
        }
        all.push(batch);
    }
    all
}

/// Nanoseconds that this thread has been running, so that other work on the machine counts less.
fn cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
    text.split(' ').next().and_then(|first| first.parse().ok()).expect("a number")
}

fn encode_only(catalog: &Arc<Catalog>, batches: &[&RecordBatch]) {
    let (mut log, _) =
        EmbeddedLog::open(Arc::new(NoDisk), Path::new("log"), catalog.clone(), LogOptions::default(), None)
            .expect("a new log opens");
    let started = cpu_nanos();
    for group in batches.chunks(10) {
        let appended_at = group.last().and_then(|batch| batch.heads.last()).expect("no batch is empty").received_at;
        let draft = FrameDraft { appended_at, metadata_revision: MetadataRevision::ZERO, batches: group };
        log.append(&draft).expect("the append succeeds");
    }
    let nanos = cpu_nanos() - started;
    println!("encode: {:.1} CPU ns/event", nanos as f64 / EVENTS as f64);
}

fn measure(name: &str, disk: Arc<dyn Disk>, dir: &Path, catalog: &Arc<Catalog>, batches: &[&RecordBatch]) {
    let per_event = |since: Instant| since.elapsed().as_nanos() as f64 / EVENTS as f64;
    let options = LogOptions::default();
    let (mut log, _) = EmbeddedLog::open(disk.clone(), dir, catalog.clone(), options, None).expect("a new log opens");
    let mut bytes = 0;
    let started = Instant::now();
    for group in batches.chunks(10) {
        let appended_at = group.last().and_then(|batch| batch.heads.last()).expect("no batch is empty").received_at;
        let draft = FrameDraft { appended_at, metadata_revision: MetadataRevision::ZERO, batches: group };
        bytes += log.append(&draft).expect("the append succeeds").bytes;
    }
    let append = per_event(started);
    let started = cpu_nanos();
    let mut reader = log.read(FrameSeq::ZERO).expect("the first frame is there");
    let mut frame = Frame::default();
    let mut records = 0;
    while reader.next(&mut frame).expect("a frame is read") {
        records += frame.records.len() as u64;
    }
    let read = (cpu_nanos() - started) as f64 / EVENTS as f64;
    assert_eq!(records, EVENTS);
    drop(log);
    let started = Instant::now();
    EmbeddedLog::open(disk, dir, catalog.clone(), options, None).expect("the log opens again");
    let per = bytes as f64 / EVENTS as f64;
    println!(
        "{name}: append {append:.1} ns/event, read {read:.1} CPU ns/event, open {:.1} ns/event, {per:.2} bytes/event",
        per_event(started)
    );
}

fn main() {
    let catalog = Arc::new(Catalog::build(&CatalogSpec::default()).expect("the built-in catalog"));
    let batches = batches(&catalog);
    let batches: Vec<_> = batches.iter().collect();
    for _ in 0..3 {
        encode_only(&catalog, &batches);
    }
    for _ in 0..3 {
        measure("memory", Arc::new(FaultyDisk::new(1)), Path::new("log"), &catalog, &batches);
    }
    if let Some(dir) = std::env::args().nth(1) {
        let dir = Path::new(&dir).join(format!("speed-{}", std::process::id()));
        measure("disk", Arc::new(RealDisk), &dir, &catalog, &batches);
        std::fs::remove_dir_all(&dir).expect("the log is removed");
    }
}
