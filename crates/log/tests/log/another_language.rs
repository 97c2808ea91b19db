//! What another language reads, and the log of format v1 that is kept for ever.
//!
//! `UPDATE_FIXTURES=1` writes fixtures/format/v1/log anew; that is for a change of the description before it is
//! released, never after.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use adsum_disk::{Disk, RealDisk};
use adsum_log::{EmbeddedLog, EventLog, LogOptions, LogView};
use adsum_model::catalog::Catalog;
use adsum_model::id::{FrameSeq, Position};
use adsum_model::record::{RecordKind, Stream};
use serde_json::Value as Json;

use crate::sample::{NOW, Random, Record, SMALL, Value, append, catalog, read_all};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

fn fixture() -> PathBuf {
    repository().join("fixtures/format/v1/log")
}

fn open(dir: &Path, catalog: &Arc<Catalog>) -> EmbeddedLog {
    EmbeddedLog::open(Arc::new(RealDisk), dir, catalog.clone(), SMALL, None).unwrap().0
}

/// Whole files, for the test itself.
mod real {
    #![allow(clippy::disallowed_methods, reason = "the test damages and copies files behind the log's back")]

    use std::path::Path;

    pub fn read(path: &Path) -> Vec<u8> {
        std::fs::read(path).unwrap()
    }

    pub fn write(path: &Path, bytes: &[u8]) {
        std::fs::write(path, bytes).unwrap();
    }
}

/// A directory of this test's own, gone at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("adsum-log-{name}-{}", std::process::id()));
        RealDisk.create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn python(dir: &Path) -> Result<Vec<Json>, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/read_log.py");
    let output = Command::new("python3").arg(script).arg(dir).output().expect("python3 is installed");
    if !output.status.success() {
        return Err(String::from_utf8(output.stderr).unwrap());
    }
    let text = String::from_utf8(output.stdout).unwrap();
    Ok(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn rust(log: &dyn LogView, catalog: &Catalog) -> Vec<Json> {
    let frames = read_all(log, catalog, FrameSeq::ZERO).unwrap();
    let records = frames.iter().flat_map(|(seq, base, records)| {
        records.iter().enumerate().map(|(i, record)| record.to_json(*seq, base.plus(i as u64)))
    });
    records.collect()
}

/// One of every kind, form and way to write it.
fn odd_records() -> Vec<Record> {
    let base = Record::sample(&mut Random(3));
    let text = |s: &str| Value::Text(s.to_owned());
    let long = "\u{e9}".repeat(200);
    let fields: Vec<Vec<(&str, Value)>> = vec![
        vec![],
        vec![("eventId", text("")), ("occurredAt", Value::Time(NOW)), ("userId", text("\u{1F642} \"\\\n"))],
        vec![("eventId", Value::Uuid([0xff; 16])), ("occurredAt", Value::Time(NOW + 1))],
        vec![("occurredAt", Value::Time(i64::MIN))],
        vec![("occurredAt", Value::Time(i64::MAX))],
        vec![("edgeReceivedAt", Value::Time(-62_135_596_800_000_000)), ("occurredAt", Value::Time(0))],
        vec![("position", Value::Int(-1)), ("priceMicros", Value::Uint(u64::MAX))],
        vec![("position", Value::Int(i64::MIN)), ("priceMicros", Value::Uint((1 << 28) - 1))],
        vec![("$extra", Value::Json("{\"a\": [1.50, null]}".to_owned())), ("priceMicros", Value::Uint(1 << 28))],
        vec![("$raw", Value::Bytes((0..=255).collect()))],
        vec![("adId", Value::Symbol(long.clone())), ("country", Value::Symbol(String::new()))],
    ];
    let with = |fields: &[(&str, Value)], i: usize| Record {
        kind: RecordKind::ALL[i % RecordKind::ALL.len()],
        stream: if i.is_multiple_of(2) { Stream::Import } else { Stream::Live },
        received_at: [NOW, i64::MIN, i64::MAX, 0][i % 4],
        campaign: [None, Some("camp_1".to_owned()), Some(long.clone())][i % 3].clone(),
        folded: [vec![], vec!["campaignId".to_owned(), "country".to_owned()]][i % 2].clone(),
        fields: fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        ..base.clone()
    };
    fields.iter().enumerate().map(|(i, fields)| with(fields, i)).collect()
}

fn write(dir: &Path) {
    let catalog = catalog();
    let mut random = Random(2026);
    let mut log = open(dir, &catalog);
    for i in 0..7 {
        append(&mut log, &catalog, i * 1000, &Record::samples(&mut random, i as usize)).unwrap();
    }
    append(&mut log, &catalog, 7000, &odd_records()).unwrap();
    // Opened again, the last frame moves to a segment of its own, with the dictionary of those before it.
    let mut log = open(dir, &catalog);
    append(&mut log, &catalog, 8000, &Record::samples(&mut random, 9)).unwrap();
    log.close().unwrap();
}

#[test]
fn python_reads_what_was_just_written() {
    let scratch = Scratch::new("python");
    write(&scratch.0);
    let catalog = catalog();
    let want = python(&scratch.0).unwrap();
    assert_eq!(want.len(), 21 + 11 + 9);
    assert_eq!(rust(&open(&scratch.0, &catalog), &catalog), want);
}

#[test]
fn python_reads_the_words_that_only_adsum_writes() {
    let scratch = Scratch::new("python-words");
    let catalog = catalog();
    let mut random = Random(2026);
    let mut log = open(&scratch.0, &catalog);
    let mut records = Record::samples(&mut random, 3);
    let text = |text: &str| Value::Text(text.to_owned());
    for (kind, name, value) in [
        (RecordKind::Event, "$flags", Value::Uint(1)),
        (RecordKind::Replay, "$flags", Value::Uint(1)),
        (RecordKind::Metadata, "$raw", Value::Bytes(b"{}".to_vec())),
        (RecordKind::ClockDoubt, "$code", text("begun")),
    ] {
        records.push(Record { kind, fields: vec![(name.to_owned(), value)], ..records[0].clone() });
    }
    append(&mut log, &catalog, 0, &records).unwrap();
    log.close().unwrap();
    let read = python(&scratch.0).unwrap();
    assert_eq!(rust(&open(&scratch.0, &catalog), &catalog), read);
    let kinds: Vec<_> = read.iter().rev().take(4).map(|r| r["kind"].as_u64()).collect();
    assert_eq!(kinds, [Some(9), Some(8), Some(4), Some(1)]);
    assert_eq!(read[read.len() - 4]["fields"]["$flags"]["uint"], 1);
}

#[test]
fn python_finds_damage_too() {
    let scratch = Scratch::new("python-damage");
    write(&scratch.0);
    let name = format!("{:020}.log", 0);
    let mut bytes = real::read(&scratch.0.join(&name));
    for at in [3, 20, 47, 60, 130, 140, 400] {
        bytes[at] ^= 4;
        real::write(&scratch.0.join(&name), &bytes);
        let error = python(&scratch.0).unwrap_err();
        assert!(error.starts_with(&name), "byte {at}: {error}");
        bytes[at] ^= 4;
    }
}

#[test]
fn the_log_that_is_kept_for_ever() {
    let dir = fixture();
    let expected = dir.join("expected.ndjson");
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        let _ = std::fs::remove_dir_all(&dir);
        write(&dir);
        let lines: Vec<_> = python(&dir).unwrap().iter().map(|json| format!("{json}\n")).collect();
        real::write(&expected, lines.concat().as_bytes());
    }
    let text = String::from_utf8(real::read(&expected)).unwrap();
    let want: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(python(&dir).unwrap(), want);
    // Opening may move frames, so it happens to a copy; without proof of the last frame, and with the store's.
    for proven in [false, true] {
        let scratch = Scratch::new(if proven { "fixture-proven" } else { "fixture" });
        for name in RealDisk.list(&dir).unwrap() {
            real::write(&scratch.0.join(&name), &real::read(&dir.join(&name)));
        }
        let catalog = catalog();
        let durable = Position { seq: FrameSeq::new(10), offset: adsum_model::id::Offset::new(want.len() as u64) };
        let store = proven.then_some(durable);
        let disk = Arc::new(RealDisk);
        let (log, report) = EmbeddedLog::open(disk, &scratch.0, catalog.clone(), LogOptions::default(), store).unwrap();
        assert_eq!((log.durable(), report.moved_frames), (durable, u64::from(!proven)));
        assert_eq!(rust(&log, &catalog), want);
    }
}

#[test]
fn the_description_shows_the_fixture() {
    let text = String::from_utf8(real::read(&repository().join("docs/formats/log-v1.md"))).unwrap();
    let vector = text.split("## Test vector").nth(1).unwrap().split("```").nth(1).unwrap();
    let shown: String = vector.lines().filter_map(|line| line.trim().split("  ").next()).collect();
    let bytes = real::read(&fixture().join(format!("{:020}.log", 0)));
    let hex: String = bytes[136..318].iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(shown.replace(' ', ""), hex);
}
