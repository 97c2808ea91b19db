//! The request decoder: a body as lines or as a JSON object, under one of three configurations.
//!
//! Invariant: every line and every element becomes exactly one record or one reject, a reject keeps its bytes, and what
//! a line becomes depends on nothing before it. What is accepted is JSON, comes back out of the log as it was, and is
//! projected again to the same row. Not here: sockets, encodings and sizes, which are the collector's.
#![no_main]
#![allow(dead_code, reason = "the doors of the tests can more than is asked here")]

#[path = "../../crates/model/tests/model/door.rs"]
mod door;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use adsum_disk::FaultyDisk;
use adsum_log::{EmbeddedLog, EventLog, Frame, FrameDraft, LogOptions, LogView};
use adsum_model::campaigns::{Campaigns, UnknownCampaign};
use adsum_model::catalog::{BillableType, Catalog, ID_BYTES_MAX, NullPolicy, TimeFormat};
use adsum_model::hash::Secret;
use adsum_model::id::{FrameSeq, MetadataRevision};
use adsum_model::record::{RecordBatch, RecordKind, Stream};
use adsum_model::time::ReceivedAt;
use adsum_model::wire::{BodyCode, Decoded, Decoder, Intake, readable_member};
use door::{Config, Door, RECEIVED, SECRET, SOURCE, campaign, dimension, mapped, rule};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

/// More lines than these are not decoded once more alone.
const ALONE_MAX: usize = 3;
const EVENTS_MAX: usize = 64;
/// What one input may cost in memory: the decoders' tables and some hundred bytes for a byte.
const MEMORY_MAX_BYTES: usize = 64 << 20;

/// The configurations that an input chooses from.
fn config(choice: usize) -> Config {
    Config::with(|c| match choice {
        0 => {}
        1 => {
            c.spec.mapping = vec![
                mapped("time", "occurredAt", &[], TimeFormat::EpochMillis),
                mapped("kind", "eventType", &[("view", "impression"), ("bad", "unheard")], TimeFormat::Rfc3339),
                mapped("land", "country", &[("de", "DE"), ("none", "")], TimeFormat::Rfc3339),
            ];
            c.stream = Stream::Import;
        }
        _ => {
            c.spec.dimensions.push(dimension(1000, "size", "attributes.size", NullPolicy::Reject));
            c.spec.dedupe = vec![rule(&["impressionId", "clickOrdinal"], Some(&["eventType", "adId"]))];
            c.campaigns = vec![campaign("camp_1", BillableType::Cpc, "EUR", &["ad_1"])];
            c.unknown = UnknownCampaign::Reject;
        }
    })
}

/// A decoder of its own under a configuration that an input chooses. The catalogs stay, as they do in a process.
fn door(choice: u8) -> Door {
    static CATALOGS: OnceLock<[(Arc<Catalog>, Arc<Campaigns>, Stream); 3]> = OnceLock::new();
    let catalogs = CATALOGS.get_or_init(|| {
        [0, 1, 2].map(|choice| {
            let door = config(choice).door();
            (door.catalog, door.campaigns, door.stream)
        })
    });
    let (catalog, campaigns, stream) = catalogs[usize::from(choice % 3)].clone();
    let decoder = Decoder::new(catalog.clone(), campaigns.clone(), Secret::new(SECRET));
    Door { catalog, campaigns, decoder, stream }
}

/// What became of each record: its kind, words and all that a row says of an event, but for its place.
fn told(door: &Door, decoded: &Decoded) -> Vec<String> {
    let facts = door.facts(&decoded.rows);
    assert_eq!(door.project(&decoded.batch).0, facts, "the row of the record is another");
    let mut events = facts.into_iter().map(|f| door::Facts { ordinal: 0, ..f }).zip(door.json(&decoded.batch));
    let heads = decoded.batch.heads.iter();
    (door.outcomes(decoded).into_iter().zip(heads))
        .map(|(outcome, head)| match head.kind {
            RecordKind::Event => format!("{outcome} {:?}", events.next().expect("a row for each event")),
            _ => format!("{outcome} {:?}", door.raw(&decoded.batch, head)),
        })
        .collect()
}

/// Whether a reader of the standard's JSON takes it at all, and whether it takes it with its own limits.
fn json(text: &[u8]) -> (bool, bool) {
    (serde_json::from_slice::<&RawValue>(text).is_ok(), serde_json::from_slice::<serde_json::Value>(text).is_ok())
}

fn check_json(text: &[u8], outcome: &str) {
    let (loose, strict) = json(text);
    assert!(loose || !outcome.starts_with("event "), "an event that is no JSON: {outcome}");
    assert!(!strict || !outcome.starts_with("reject invalid_json"), "JSON that is refused: {outcome}");
}

/// What comes back out of the log is what went in.
fn check_log(door: &Door, decoded: &Decoded, told: &[String]) {
    let disk = FaultyDisk::new(1);
    let open = |catalog: Arc<Catalog>| {
        let log = EmbeddedLog::open(Arc::new(disk.clone()), Path::new("log"), catalog, LogOptions::default(), None);
        log.expect("a disk without faults").0
    };
    let at = ReceivedAt::from_micros(RECEIVED);
    let draft = FrameDraft { appended_at: at, metadata_revision: MetadataRevision::new(1), batches: &[&decoded.batch] };
    open(door.catalog.clone()).append(&draft).expect("a frame that is small enough");
    let mut frame = Frame::default();
    let log = open(door.catalog.clone());
    let there = log.read(FrameSeq::ZERO).and_then(|mut reader| reader.next(&mut frame)).expect("a frame that is read");
    assert!(there && frame.records.len() == told.len(), "the frame has as many records");
    let words = |batch: &RecordBatch| {
        let heads = batch.heads.iter();
        heads.map(|h| format!("{:?} {:?} {}", h.kind, h.stamp, h.received_at)).collect::<Vec<_>>()
    };
    assert_eq!(words(&frame.records), words(&decoded.batch));
    assert_eq!(door.json(&frame.records), door.json(&decoded.batch));
    assert_eq!(door.project(&frame.records), door.project(&decoded.batch));
    for (now, before) in frame.records.heads.iter().zip(&decoded.batch.heads) {
        assert_eq!(door.raw(&frame.records, now), door.raw(&decoded.batch, before));
    }
}

fn lines(choice: u8, text: &[u8]) {
    let mut door = door(choice);
    let decoded = door.decode(SOURCE, text);
    let outcomes = told(&door, &decoded);
    let all: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
    let all = if all.last().is_some_and(|last| last.is_empty()) { &all[..all.len() - 1] } else { &all };
    let blank = |line: &&&[u8]| line.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r'));
    assert_eq!(decoded.blank as usize, all.iter().filter(blank).count(), "blank lines");
    let lines: Vec<_> = all.iter().filter(|line| !blank(line)).collect();
    assert_eq!(lines.len(), outcomes.len(), "a record for each line");
    for ((line, outcome), head) in lines.iter().zip(&outcomes).zip(&decoded.batch.heads) {
        check_json(line, outcome);
        assert!(head.kind == RecordKind::Event || door.raw(&decoded.batch, head) == **line, "a reject keeps its line");
        // What an answer shows of it.
        if let Some(id) = readable_member(line, &["eventId"]) {
            assert!(!id.is_empty() && id.len() <= ID_BYTES_MAX, "an id that is none");
        }
    }
    for (line, outcome) in lines.iter().zip(&outcomes).take(ALONE_MAX) {
        let mut door = self::door(choice);
        let alone = door.decode(SOURCE, line);
        assert_eq!(told(&door, &alone), [outcome.as_str()], "a line becomes the same alone");
    }
    check_log(&door, &decoded, &outcomes);
}

fn array(choice: u8, text: &[u8]) {
    let mut door = door(choice);
    let source = door.catalog.symbols().intern(SOURCE.as_bytes());
    let intake = Intake { source, stream: door.stream, received_at: ReceivedAt::from_micros(RECEIVED) };
    let mut decoded = Decoded::default();
    let (loose, strict) = json(text);
    if let Err(error) = door.decoder.decode_array(text.to_vec(), EVENTS_MAX, &intake, &mut decoded) {
        assert!(error.at <= text.len() && decoded.batch.is_empty() && decoded.rows.events.is_empty());
        assert!(error.code != BodyCode::InvalidJson || !strict, "JSON that is refused");
        return;
    }
    // What is no UTF-8 costs the element that it stands in.
    assert!(loose || std::str::from_utf8(text).is_err(), "a body that is no JSON");
    let outcomes = told(&door, &decoded);
    #[derive(serde::Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        events: Vec<&'a RawValue>,
    }
    // A reader that wants UTF-8 cannot say how many there are where a text is none.
    if let Ok(body) = serde_json::from_slice::<Body<'_>>(text) {
        assert_eq!(body.events.len(), outcomes.len(), "a record for each element");
        for ((element, outcome), head) in body.events.iter().zip(&outcomes).zip(&decoded.batch.heads) {
            let element = element.get().as_bytes();
            let is_event = head.kind == RecordKind::Event;
            assert!(is_event || door.raw(&decoded.batch, head) == element, "a reject keeps its bytes");
            if !element.contains(&b'\n') {
                let mut door = self::door(choice);
                let alone = door.decode(SOURCE, element);
                assert_eq!(told(&door, &alone), [outcome.as_str()], "an element is what it is as a line");
            }
        }
    }
    check_log(&door, &decoded, &outcomes);
}

fuzz_target!(|data: &[u8]| {
    let [control, text @ ..] = data else { return };
    adsum_fuzz::within(MEMORY_MAX_BYTES, || {
        if control & 1 == 0 { lines(control >> 1, text) } else { array(control >> 1, text) }
    });
});
