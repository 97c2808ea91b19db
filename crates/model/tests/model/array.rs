//! The body in JSON: what costs the request, and what costs one event.
//!
//! Invariant: each case names the whole answer. Not here: what is wrong with one event, which has its tables in
//! `bad_input.rs` and the same code.

use adsum_model::record::{RecordKind, Stream};
use adsum_model::time::ReceivedAt;
use adsum_model::wire::{BodyError, Decoded, Intake, readable_member};
use proptest::prelude::*;

use crate::door::{Config, Door, RECEIVED, SOURCE, line};

const EVENTS_MAX: usize = 3;
const GOOD_OUTCOME: &str = "event click 2026-11-21T08:05:16Z cpm USD campaignId=camp_1";

fn decode(door: &mut Door, text: &[u8]) -> Result<Decoded, BodyError> {
    let source = door.catalog.symbols().intern(SOURCE.as_bytes());
    let intake = Intake { source, stream: Stream::Live, received_at: ReceivedAt::from_micros(RECEIVED) };
    let mut decoded = Decoded::default();
    door.decoder.decode_array(text.to_vec(), EVENTS_MAX, &intake, &mut decoded).map(|()| decoded)
}

/// `code param`, or what became of each element.
fn answer(door: &mut Door, text: &[u8]) -> Vec<String> {
    match decode(door, text) {
        Ok(decoded) => door.outcomes(&decoded),
        Err(error) => {
            assert!(error.at <= text.len());
            vec![format!("{} {}", error.code.name(), error.param).trim_end().to_owned()]
        }
    }
}

#[test]
fn what_costs_the_request() {
    let good = line(&[]);
    let deep = format!("{{\"events\":{}{}}}", "[".repeat(100_000), "]".repeat(99_999));
    let cases: Vec<(String, &str)> = vec![
        (String::new(), "no_events events"),
        (" \r\n\t".into(), "no_events events"),
        ("{}".into(), "no_events events"),
        ("[]".into(), "no_events events"),
        (" [ ] ".into(), "no_events events"),
        ("{\"events\":[]}".into(), "no_events events"),
        (" { \"events\" : [ ] } ".into(), "no_events events"),
        (format!("[{good}]"), "not_an_object"),
        (good.clone(), "unknown_field eventId"),
        ("null".into(), "not_an_object"),
        ("\"events\"".into(), "not_an_object"),
        ("17".into(), "not_an_object"),
        ("{\"events\":null}".into(), "invalid_type events"),
        (format!("{{\"events\":{good}}}"), "invalid_type events"),
        ("{\"events\":\"[]\"}".into(), "invalid_type events"),
        (format!("{{\"events\":[{good}],\"source\":\"a\"}}"), "unknown_field source"),
        (format!("{{\"batch\":1,\"events\":[{good}]}}"), "unknown_field batch"),
        (format!("{{\"Events\":[{good}]}}"), "unknown_field Events"),
        (format!("{{\"events\":[{good}],\"events\":[{good}]}}"), "duplicate_field events"),
        (format!("{{\"events\":[{good}],\"\\u0065vents\":[]}}"), "duplicate_field events"),
        (format!("{{\"events\":[{}]}}", [&*good; 4].join(",")), "too_many_events events"),
        (format!("{{\"events\":[{good}"), "invalid_json"),
        (format!("{{\"events\":[{good}]"), "invalid_json"),
        (format!("{{\"events\":[{good}]}} x"), "invalid_json"),
        (format!("{{\"events\":[{good}]}}{{}}"), "invalid_json"),
        (format!("{{\"events\":[{good},]}}"), "invalid_json"),
        (format!("{{\"events\":[,{good}]}}"), "invalid_json"),
        (format!("{{\"events\":[{good}{good}]}}"), "invalid_json"),
        (format!("{{\"events\":[{good}],}}"), "invalid_json"),
        (format!("{{events:[{good}]}}"), "invalid_json"),
        (format!("{good}\n{good}"), "invalid_json"),
        ("{\"events\":[{\"a\":01}]}".into(), "invalid_json"),
        ("{\"events\":[{\"a\":tru}]}".into(), "invalid_json"),
        ("{\"events\":[{\"a\":1]]}".into(), "invalid_json"),
        ("{\"events\":[{\"a\":\"\\ud800\"}]}".into(), "invalid_json"),
        ("{\"events\":[{\"a\":\"\u{1}\"}]}".into(), "invalid_json"),
        ("{\"events\":[{\"a\" 1}]}".into(), "invalid_json"),
        (deep, "invalid_json"),
        (format!("\u{feff}{{\"events\":[{good}]}}"), "invalid_json"),
        ("event".into(), "invalid_json"),
        ("\u{0}".into(), "invalid_json"),
    ];
    let mut door = Config::default().door();
    for (text, want) in &cases {
        assert_eq!(answer(&mut door, text.as_bytes()), [*want], "{}", text.chars().take(200).collect::<String>());
    }
    // A body that was cut short anywhere is refused whole.
    let whole = format!("{{\"events\":[{good},{good}]}}");
    for n in 1..whole.len() {
        assert_eq!(answer(&mut door, &whole.as_bytes()[..n]), ["invalid_json"], "{n}");
    }
    assert_eq!(answer(&mut door, whole.as_bytes()), [GOOD_OUTCOME; 2]);
}

#[test]
fn what_costs_one_event() {
    let good = line(&[]);
    let open = good[..good.len() - 1].to_owned();
    let nested = |n: usize| line(&[("attributes", &format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n)))]);
    let long = line(&[("note", &format!("\"{}\"", "x".repeat(70_000)))]);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        ("null".into(), "reject not_an_object"),
        ("17".into(), "reject not_an_object"),
        ("\"event\"".into(), "reject not_an_object"),
        ("[]".into(), "reject not_an_object"),
        (r#"["evt_1","click","2026-11-21T08:05:16Z","camp_1"]"#.into(), "reject not_an_object"),
        (format!("[{good}]").into(), "reject not_an_object"),
        ("{}".into(), "reject missing_field eventType"),
        (format!("{open},\"eventId\":\"evt_2\"}}").into(), "reject duplicate_field eventId"),
        (format!("{open},\"a\":{{\"b\":1,\"b\":2}}}}").into(), "reject duplicate_field a"),
        (line(&[("priceMicros", "1.0")]).into(), "reject invalid_type priceMicros"),
        (line(&[("priceMicros", "18446744073709551616")]).into(), "reject out_of_range priceMicros"),
        (line(&[("eventId", "\"evt\\u0000\"")]).into(), "reject forbidden_character eventId"),
        (nested(32).into(), "reject too_large attributes"),
        (nested(30_000).into(), "reject too_large attributes"),
        (long.into(), "reject too_large"),
        (b"{\"eventId\":\"\xff\"}".to_vec(), "reject invalid_utf8"),
        (good.replace(',', " ,\n\t").into(), GOOD_OUTCOME),
        (line(&[("attributes", "{\"a\":\n[1,\n2]}")]).into(), GOOD_OUTCOME),
    ];
    let before = line(&[("eventId", "\"0f8fad5b-d9cb-469f-a165-70867728950e\""), ("x", "1")]);
    let after = line(&[("eventId", "\"evt_\\u0032\""), ("country", "\"Zürich\"")]);
    let mut door = Config::default().door();
    let alone = door.decode(SOURCE, format!("{before}\n{after}"));
    let alone = (door.facts(&alone.rows), door.json(&alone.batch));
    for (element, want) in &cases {
        let shown = String::from_utf8_lossy(element).chars().take(200).collect::<String>();
        let text = [b"{\"events\":[", before.as_bytes(), b",\n ", element, b" , ", after.as_bytes(), b"]}"].concat();
        let decoded = decode(&mut door, &text).unwrap_or_else(|e| panic!("{e:?}: {shown}"));
        let outcomes = door.outcomes(&decoded);
        assert_eq!((outcomes.len(), outcomes[1].as_str()), (3, *want), "{shown}");
        let middle = &decoded.batch.heads[1];
        let (mut facts, mut json) = (door.facts(&decoded.rows), door.json(&decoded.batch));
        if middle.kind == RecordKind::Reject {
            assert_eq!(door.raw(&decoded.batch, middle), *element, "{shown}");
        } else {
            facts.remove(1);
            json.remove(1);
        }
        facts[1].ordinal -= 1;
        assert_eq!((facts, json), alone, "{shown}");
        assert_eq!(door.project(&decoded.batch).0, door.facts(&decoded.rows), "{shown}");
    }
}

#[test]
fn what_is_read_of_a_rejected_object() {
    for (raw, want) in [
        (r#"{"eventId":"evt_1"}"#, Some("evt_1")),
        (r#" {"a":{"b":1,"b":2},"event\u0049d":"evt_\u0031"}"#, Some("evt_1")),
        (r#"{"eventId":"evt_1","eventId":"evt_2"}"#, Some("evt_1")),
        (r#"{"eventId":"evt_1","a":tru"#, Some("evt_1")),
        (r#"{"a":tru,"eventId":"evt_1"}"#, None),
        (r#"{"id":"evt_7"}"#, Some("evt_7")),
        (r#"{"eventId":7}"#, None),
        (r#"{"eventId":""}"#, None),
        (r#"{"eventId":"a\u0000"}"#, None),
        (r#"["eventId"]"#, None),
        ("", None),
    ] {
        assert_eq!(readable_member(raw.as_bytes(), &["eventId", "id"]).as_deref(), want, "{raw}");
    }
    assert_eq!(readable_member(format!("{{\"eventId\":\"{}\"}}", "x".repeat(257)).as_bytes(), &["eventId"]), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// The lenient way over an element and a strict parser agree on what is JSON.
    #[test]
    fn any_bytes_are_json_or_not_for_both(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 0..4),
    ) {
        let good = line(&[("priceMicros", "12"), ("attributes", "{\"a\":[1,null,-2.5e3,true,\"\\n\"]}")]);
        let mut text = good.into_bytes();
        for (at, byte, how) in edits {
            let i = at.index(text.len());
            match how {
                0 => text[i] = byte & 0x7f,
                1 => text.insert(i, byte & 0x7f),
                _ => drop(text.remove(i)),
            }
        }
        let body = [b"{\"events\":[", &text[..], b"]}"].concat();
        let ours = decode(&mut Config::default().door(), &body).map_err(|e| e.code.name());
        let theirs = serde_json::from_slice::<&serde_json::value::RawValue>(&body).is_ok();
        prop_assert_eq!(ours.as_ref().err() != Some(&"invalid_json"), theirs, "{}", String::from_utf8_lossy(&body));
    }
}
