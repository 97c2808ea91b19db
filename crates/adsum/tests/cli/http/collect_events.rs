//! Single bad events in good requests: each costs itself, with index, code and field, and shows in quarantine.
//!
//! Invariant: what an answer names is what quarantine lists. Not here: every value of every field, which is the model's
//! table.

use serde_json::{Value, json};

use super::collect::{CONFIG, Sums, event, ledger, start};
use super::server::Server;
use crate::events::Event;
use crate::place::Place;

/// What is wrong, as JSON; code and param; whether the id can be read.
fn bad_events() -> Vec<(String, &'static str, &'static str, bool)> {
    let with = |name: &str, json: &str| event("evt_bad").with_json(name, json).line();
    let open = event("evt_bad").line();
    let open = &open[..open.len() - 1];
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(40), "]".repeat(40));
    vec![
        (format!("{open},\"country\":\"DE\",\"country\":\"DE\"}}"), "duplicate_field", "country", true),
        (format!("{open},\"attributes\":{{\"a\":1,\"a\":2}}}}"), "duplicate_field", "attributes", true),
        (format!("{open},\"eventId\":\"evt_other\"}}"), "duplicate_field", "eventId", true),
        (r#"["evt_bad","click"]"#.to_owned(), "not_an_object", "", false),
        ("null".to_owned(), "not_an_object", "", false),
        ("7".to_owned(), "not_an_object", "", false),
        (with("priceMicros", "1.0"), "invalid_type", "priceMicros", true),
        (with("priceMicros", "1e3"), "invalid_type", "priceMicros", true),
        (with("priceMicros", "-1"), "invalid_type", "priceMicros", true),
        (with("priceMicros", "\"1\""), "invalid_type", "priceMicros", true),
        (with("priceMicros", "18446744073709551616"), "out_of_range", "priceMicros", true),
        (with("priceMicros", "1000000000001"), "out_of_range", "priceMicros", true),
        (with("eventId", "\"\""), "empty", "eventId", false),
        (with("eventId", &format!("\"{}\"", "x".repeat(257))), "too_long", "eventId", false),
        (with("eventId", "\"a\\u0000\""), "forbidden_character", "eventId", false),
        (with("eventId", "\"a\\u0007\""), "forbidden_character", "eventId", false),
        (with("eventId", "\"a\u{202e}\""), "forbidden_character", "eventId", false),
        (with("eventId", "null"), "missing_field", "eventId", false),
        (with("eventId", "7"), "invalid_type", "eventId", false),
        (with("campaignId", "null"), "missing_field", "campaignId", true),
        (with("campaignId", "\"camp_unknown\""), "unknown_campaign", "campaignId", true),
        (with("occurredAt", "\"2020-01-01T00:00:00\""), "invalid_time", "occurredAt", true),
        (with("occurredAt", "\"2020-01-01T24:00:00Z\""), "invalid_time", "occurredAt", true),
        (with("occurredAt", "\"2026-02-29T00:00:00Z\""), "invalid_time", "occurredAt", true),
        (with("occurredAt", "\"2020-01-01T00:00:60Z\""), "invalid_time", "occurredAt", true),
        (with("occurredAt", "\"0000-01-01T00:00:00Z\""), "invalid_time", "occurredAt", true),
        (with("eventType", "\"view\""), "unknown_event_type", "eventType", true),
        (with("schemaVersion", "2"), "unknown_schema_version", "schemaVersion", true),
        (with("attributes", &deep), "too_large", "attributes", true),
        (with("currency", "\"usd\""), "invalid_currency", "currency", true),
    ]
}

/// The listed entries of quarantine, by their id.
fn quarantine(place: &Place) -> Vec<Value> {
    let text = place.run(&["quarantine", "list", "--json", "--limit", "100000", "--config", "adsum.toml"]).ok();
    serde_json::from_str::<Value>(&text).unwrap()["entries"].as_array().unwrap().clone()
}

fn collect_array(server: &Server, elements: &[String]) -> super::server::Answer {
    let body = format!("{{\"events\":[{}]}}", elements.join(","));
    server.request("POST", "/v1/events/collect", Some(("application/json", body.as_bytes())))
}

#[test]
fn a_bad_event_costs_itself_alone() {
    let place = Place::new();
    let config = format!("{CONFIG}[campaign_defaults]\nunknown = \"reject\"\n[campaigns.camp_1]\nbillable = \"cpm\"\n");
    let server = start(&place, &config);
    let mut sums = Sums::default();
    let mut named = Vec::new();
    for (i, (bad, code, param, readable)) in bad_events().into_iter().enumerate() {
        let good: Vec<String> = (0..2).map(|n| event(format!("evt_{i}_{n}")).line()).collect();
        let as_lines = format!("\n{}\n\n{bad}\n{}\n", good[0], good[1]);
        let answers =
            [collect_array(&server, &[good[0].clone(), bad.clone(), good[1].clone()]), server.collect(&as_lines)];
        for answer in answers {
            let mut body = sums.add(&answer);
            assert_eq!((&body["accepted"], &body["rejected"], &body["quarantined"]), (&2.into(), &1.into(), &0.into()));
            assert_eq!(body.get("errorsOmitted"), None);
            let mut error = body["errors"][0].take();
            named.push((error["quarantineId"].take(), code, param));
            let mut want = json!({ "index": 1, "code": code, "quarantineId": null });
            if !param.is_empty() {
                want["param"] = param.into();
            }
            if readable {
                want["eventId"] = "evt_bad".into();
            }
            assert_eq!(error, want, "{bad}");
        }
        sums.check_served(&server);
    }
    // A line that is no JSON costs the line, and its id is read where it stands in front.
    let broken = sums.add(&server.collect("{\"eventId\":\"evt_bad\",\"a\":tru}\n{\"eventId\n"));
    assert_eq!(broken["errors"][0]["eventId"], "evt_bad");
    let codes: Vec<&Value> = broken["errors"].as_array().unwrap().iter().map(|error| &error["code"]).collect();
    assert_eq!(codes, ["invalid_json", "invalid_json"]);
    assert_eq!(server.stop(), Some(0));
    sums.check(&ledger(&place, "admin"));
    let listed = quarantine(&place);
    assert_eq!(listed.len(), named.len() + 2);
    for (id, code, param) in &named {
        let entry = listed.iter().find(|entry| entry["id"] == *id).unwrap_or_else(|| panic!("no {id}"));
        let text = |name: &str| entry[name].as_str().unwrap_or_default();
        assert_eq!((text("reason"), text("code"), text("param")), ("rejected", *code, *param), "{id}");
    }
}

#[test]
fn many_errors_are_counted_and_the_first_listed() {
    let place = Place::new();
    let server = start(&place, "");
    let body = sums_of(&server, 1007);
    assert_eq!((&body["accepted"], &body["rejected"], &body["errorsOmitted"]), (&0.into(), &1007.into(), &7.into()));
    let errors = body["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1000);
    assert!(errors.iter().enumerate().all(|(i, error)| error["index"] == i));
    let over = collect_array(&server, &vec!["{}".to_owned(); 5001]).expect_problem();
    assert_eq!(over, (413, "too_many_events".to_owned(), "events".to_owned()));
    assert_eq!(server.stop(), Some(0));
}

fn sums_of(server: &Server, count: usize) -> Value {
    collect_array(server, &vec!["{}".to_owned(); count]).expect(202)
}

#[test]
fn what_is_known_not_to_count_is_said() {
    let place = Place::new();
    // The line is drawn by what comes: the default horizon.
    let server = start(&place, "[collect.site_keys]\nsk_web = \"web\"\n");
    let far = |id: &str| event(id).at("9999-01-01T00:00:00Z").line();
    let future = collect_array(&server, &[far("far_1"), far("far_2")]).expect(202);
    assert_eq!((&future["accepted"], &future["quarantined"]), (&2.into(), &2.into()), "{future}");
    // A pixel's event happens now, and draws the line when it is folded; from then on old events are too old.
    let pixel = server.get("/v1/pixel.gif?key=sk_web&eventType=impression&eventId=evt_now&campaignId=camp_1");
    assert_eq!(pixel.status, 200);
    let mut sent = 0;
    loop {
        sent += 1;
        let old = collect_array(&server, &[event(format!("old_{sent}")).line()]).expect(202);
        assert_eq!(old["accepted"], 1);
        if old["quarantined"] == 1 {
            break;
        }
        assert!(sent < 10_000, "no line was drawn");
    }
    assert_eq!(server.stop(), Some(0));
    let reasons: Vec<Value> = quarantine(&place).into_iter().map(|mut entry| entry["reason"].take()).collect();
    assert_eq!(reasons.iter().filter(|reason| **reason == "future").count(), 2);
    assert!(reasons.iter().filter(|reason| **reason == "too_old").count() >= 1);
}

#[test]
fn an_address_is_written_as_the_policy_says() {
    for (policy, v4, v6, other) in [
        ("", Some("203.0.113.0"), Some("2001:db8:1::"), None),
        ("ip = \"truncate\"", Some("203.0.113.0"), Some("2001:db8:1::"), None),
        ("ip = \"drop\"", None, None, None),
        ("ip = \"keep\"", Some("203.0.113.77"), Some("2001:db8:1:2::3"), Some("somewhere")),
    ] {
        let place = Place::new();
        let server = start(&place, &format!("[privacy]\n{policy}\n"));
        // Far in the future: quarantine shows the record as it was written.
        let far =
            |id: &str, ip: &str| event(id).at("9999-01-01T00:00:00Z").with("ip", ip).with("userAgent", "x").line();
        let body = [far("a", "203.0.113.77"), far("b", "2001:db8:1:2::3"), far("c", "somewhere")];
        assert_eq!(collect_array(&server, &body).expect(202)["accepted"], 3);
        assert_eq!(server.stop(), Some(0));
        let mut entries = quarantine(&place);
        entries.sort_by_key(|entry| entry["eventId"].to_string());
        for (entry, want) in entries.iter().zip([v4, v6, other]) {
            let id = entry["id"].as_str().unwrap();
            let shown = place.run(&["quarantine", "show", id, "--config", "adsum.toml"]).ok();
            let shown: Value = serde_json::from_str(&shown).unwrap();
            assert_eq!(shown["event"]["ip"].as_str(), want, "{policy} {shown}");
            assert_eq!((&shown["event"]["userAgent"], &shown["event"]["campaignId"]), (&"x".into(), &"camp_1".into()));
        }
        assert_eq!(entries.len(), 3);
    }
}

#[test]
fn what_counts_is_what_was_written_of_an_address() {
    let config =
        format!("rollups = [[\"campaignId\", \"network\"]]\n{CONFIG}[dimensions.network]\nid = 1001\nfield = \"ip\"\n");
    let from = |id: &str, ip: &str| event(id).with("ip", ip).line();
    let body = [from("a", "203.0.113.77"), from("b", "203.0.113.78"), from("c", "somewhere")];
    // As it was counted at once, and as it comes out of the log again.
    for killed in [false, true] {
        let place = Place::new();
        let server = start(&place, &config);
        assert_eq!(collect_array(&server, &body).expect(202)["accepted"], 3);
        if killed {
            server.kill();
        } else {
            assert_eq!(server.stop(), Some(0));
        }
        let range = ["--from", "2020-01-01T00:00:00Z", "--to", "2020-01-01T01:00:00Z"];
        let mut rows = place.report(&[&range[..], &["--by", "network", "--config", "adsum.toml"]].concat());
        rows.sort_by_key(|row| row.text("network").to_owned());
        let rows: Vec<_> = rows.iter().map(|row| (row.text("network"), row.number("impressions"))).collect();
        assert_eq!(rows, [("-", 1), ("203.0.113.0", 2)], "killed: {killed}");
    }
}

#[test]
fn no_field_is_left_out_by_either_door() {
    let place = Place::new();
    let server = start(&place, CONFIG);
    let line = |id: &str| {
        Event::new(id).at("2020-01-01T00:00:00Z").with_json("priceMicros", "1500000").with("country", "DE").line()
    };
    assert_eq!(collect_array(&server, &[line("a")]).expect(202)["accepted"], 1);
    assert_eq!(server.collect(&line("b")).expect(202)["accepted"], 1);
    assert_eq!(server.stop(), Some(0));
    let rows = place.report(&[
        "--from",
        "2020-01-01T00:00:00Z",
        "--to",
        "2020-01-01T01:00:00Z",
        "--by",
        "campaignId,country",
        "--config",
        "adsum.toml",
    ]);
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].text("country"), rows[0].number("impressions"), rows[0].number("spendMicros")),
        ("DE", 2, 3_000_000)
    );
}
