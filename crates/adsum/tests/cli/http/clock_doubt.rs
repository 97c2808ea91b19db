//! A start on another day doubts its clock; the times of senders, or an operator, end it.

use std::sync::Arc;

use adsum_disk::RealDisk;
use adsum_log::{EmbeddedLog, EventLog, FrameDraft, LogOptions};
use adsum_model::catalog::{Catalog, CatalogSpec};
use adsum_model::id::MetadataRevision;
use adsum_model::time::{ReceivedAt, parse_rfc3339};
use serde_json::{Value, json};

use super::imports::start;
use super::server::Target;
use crate::events::{Event, text};
use crate::place::Place;

const DAY_MICROS: i64 = 86_400_000_000;
/// How many senders are asked in a doubt.
const SENDERS: usize = 20;

/// When the server was started, by its own clock.
fn started(server: &Target) -> i64 {
    let at = server.get("/v1/audit?limit=1").expect(200)["items"][0]["at"].as_str().unwrap().to_owned();
    parse_rfc3339(at.as_bytes()).unwrap()
}

/// The last frame of the log is one of that moment.
fn append_at(place: &Place, micros: i64) {
    let catalog = Arc::new(Catalog::build(&CatalogSpec::default()).unwrap());
    let dir = place.path("data/log");
    let (mut log, _) = EmbeddedLog::open(Arc::new(RealDisk), &dir, catalog, LogOptions::default(), None).unwrap();
    let appended_at = ReceivedAt::from_micros(micros);
    log.append(&FrameDraft { appended_at, metadata_revision: MetadataRevision::ZERO, batches: &[] }).unwrap();
    log.close().unwrap();
}

fn in_doubt(server: &Target) -> bool {
    // The engine is told by a record, which comes with the next frame: a tick is not more than a second away.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    server.get("/v1/pipeline").expect(200)["clockInDoubt"].as_bool().unwrap()
}

#[test]
fn senders_or_an_operator_end_a_doubt() {
    // seconds that the senders are off, and whether they end it
    for (off_seconds, ends) in [(0, true), (-3_600, false)] {
        let place = Place::new();
        let server = start(&place, &[]);
        let now = started(&server);
        assert!(!in_doubt(&server));
        assert_eq!(server.stop(), Some(0));
        append_at(&place, now + 2 * DAY_MICROS);

        let server = start(&place, &[]);
        assert!(in_doubt(&server), "the log ends two days from now");
        let at = ReceivedAt::from_micros(started(&server) + off_seconds * 1_000_000).to_string();
        let events = |count: usize, prefix: &str| -> String {
            text(&(0..count).map(|i| Event::new(&format!("{prefix}_{i}")).at(&at)).collect::<Vec<_>>())
        };
        server.collect(&events(SENDERS - 1, "some")).expect(202);
        assert!(in_doubt(&server), "too few to say");
        server.collect(&events(1, "last")).expect(202);
        assert_eq!(in_doubt(&server), !ends, "senders off by {off_seconds} s");
        let answer = server.post("/v1/clock/confirm", &Value::Null).expect(200);
        assert_eq!(answer, json!({ "confirmed": !ends }));
        assert!(!in_doubt(&server));
        let act = &server.get("/v1/audit?limit=1").expect(200)["items"][0];
        assert_eq!((&act["action"], &act["detail"]), (&json!("clock.confirm"), &json!({ "inDoubt": !ends })));
        assert_eq!(server.stop(), Some(0));
        place.doctor(&[]);
    }
}
