//! The quarantine of a running service, uncommitted entries included, and the clock's confirmation.

use serde_json::{Value, json};

use super::imports::start;
use super::server::Server;
use crate::events::{Event, text};
use crate::place::{Imported, Place};

/// Two conflicts, two events in a foreign currency and two lines that are no events.
fn events() -> String {
    let euro = |id: &str| Event::new(id).with("campaignId", "euro").with("currency", "EUR");
    let events = [Event::new("a"), Event::new("b"), euro("c"), euro("d")];
    let conflicts = [Event::new("a").with("country", "DE"), Event::new("b").with("country", "FR")];
    format!("{}{}no event\nneither\n", text(&events), text(&conflicts))
}

fn import(place: &Place, server: &Server) {
    place.write("events.ndjson", events());
    let args = ["import", "--json", "--url", &server.url, "--token-file", "token", "events.ndjson"];
    let figures = Imported::of(&place.run(&args).ok()).figures;
    assert_eq!((figures.counted, figures.quarantined, figures.rejected), (2, 4, 2));
}

/// Pages of one entry are the list of all.
fn check_lists(server: &Server) -> Vec<Value> {
    let all = server.get("/v1/quarantine").expect(200);
    assert_eq!(all["nextCursor"], Value::Null);
    let all = all["entries"].as_array().unwrap().clone();
    let mut paged = Vec::new();
    let mut after = String::new();
    loop {
        let page = server.get(&format!("/v1/quarantine?limit=1{after}")).expect(200);
        paged.extend(page["entries"].as_array().unwrap().clone());
        let Some(next) = page["nextCursor"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(paged, all);
    all
}

fn of_reason(server: &Server, reason: &str) -> Vec<String> {
    let page = server.get(&format!("/v1/quarantine?reason={reason}")).expect(200);
    let entries = page["entries"].as_array().unwrap();
    assert!(entries.iter().all(|e| e["reason"] == reason), "{page}");
    entries.iter().map(|e| e["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn listed_shown_and_taken_up_again() {
    let place = Place::new();
    let server = start(&place, &[]);
    import(&place, &server);
    // Nothing is committed yet, and all of it is there.
    let all = check_lists(&server);
    assert_eq!(all.len(), 6);
    let conflicts = of_reason(&server, "conflict");
    let foreign = of_reason(&server, "foreign_currency");
    let rejected = of_reason(&server, "rejected");
    assert_eq!((conflicts.len(), foreign.len(), rejected.len()), (2, 2, 2));
    let shown = server.get(&format!("/v1/quarantine/{}", conflicts[0])).expect(200);
    assert_eq!((&shown["event"]["country"], &shown["eventId"]), (&json!("DE"), &json!("a")));
    let shown = server.get(&format!("/v1/quarantine/{}", rejected[0])).expect(200);
    assert_eq!((&shown["raw"], &shown["code"]), (&json!("no event"), &json!("invalid_json")));
    let replay = |server: &Server, ids: &[&str]| server.post("/v1/quarantine/replay", &json!({ "ids": ids }));
    // The campaign is in dollars as far as anybody knows: the events stay.
    let ids: Vec<&str> = foreign.iter().map(String::as_str).collect();
    let answer = replay(&server, &ids).expect(200);
    assert_eq!(answer, json!({ "replayed": 2, "released": 0, "held": 2, "refused": [] }));
    let mixed = [&conflicts[0], &conflicts[0], &rejected[0], "qr_999999"];
    let answer = replay(&server, &mixed).expect(200);
    assert_eq!((&answer["replayed"], &answer["held"]), (&json!(1), &json!(1)));
    let why: Vec<&str> = answer["refused"].as_array().unwrap().iter().map(|r| r["why"].as_str().unwrap()).collect();
    for (why, word) in why.iter().zip(["twice", "rejected", "not in quarantine"]) {
        assert!(why.contains(word), "{answer}");
    }
    assert_eq!(server.stop(), Some(0));

    // Committed now, and resolved by what is configured today.
    place.write("euro.toml", "[campaigns.euro]\ncurrency = \"EUR\"\n");
    let server = start(&place, &["--config", "euro.toml"]);
    assert_eq!(check_lists(&server).len(), 6);
    let answer = replay(&server, &[foreign[0].as_str()]).expect(200);
    assert_eq!(answer, json!({ "replayed": 1, "released": 1, "held": 0, "refused": [] }));
    assert_eq!(of_reason(&server, "foreign_currency"), foreign[1..]);
    assert_eq!(check_lists(&server).len(), 5);
    assert_eq!(server.get(&format!("/v1/quarantine/{}", foreign[0])).status, 404);

    // The command line sees the same, and takes up the rest.
    let args = ["--url", &server.url, "--token-file", "token"];
    let run = |more: &[&str]| place.run(&[more, &args].concat());
    let listed = run(&["quarantine", "list", "--format", "ndjson"]).ok();
    let listed: Vec<Value> = listed.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(listed, check_lists(&server));
    assert_eq!(run(&["quarantine", "list", "--limit", "2", "--format", "ndjson"]).ok().lines().count(), 2);
    let shown = run(&["quarantine", "show", &conflicts[1]]).ok();
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["event"]["country"], "FR");
    run(&["quarantine", "show", &foreign[0]]).fails(1, &["not_found", "404"]);
    let answer: Value = serde_json::from_str(&run(&["quarantine", "replay", "--all", "--json"]).ok()).unwrap();
    assert_eq!(answer, json!({ "replayed": 3, "released": 1, "held": 2, "refused": [] }));
    let left: Vec<Value> = check_lists(&server);
    assert_eq!(server.stop(), Some(0));
    let listed = place.run(&["quarantine", "list", "--format", "ndjson", "--config", "euro.toml"]).ok();
    assert_eq!(listed.lines().map(|l| serde_json::from_str(l).unwrap()).collect::<Vec<Value>>(), left);
    let ledger = &place.doctor(&["--config", "euro.toml"])["ledger"]["import"];
    assert_eq!((&ledger["counted"], &ledger["quarantined"], &ledger["replays"]), (&json!(4), &json!(2), &json!(7)));
}

#[test]
fn wrong_parameters_are_named() {
    let place = Place::new();
    let server = start(&place, &[]);
    let many: Vec<String> = (0..1001).map(|i| format!("qr_{i}")).collect();
    let get = |path: &str| server.get(&format!("/v1/quarantine{path}"));
    let replay = |ids: Value| server.post("/v1/quarantine/replay", &json!({ "ids": ids }));
    let cases = [
        (get("?limit=0"), "limit"),
        (get("?limit=1001"), "limit"),
        (get("?reason=mood"), "reason"),
        (get("?after=17"), "after"),
        (get("/17"), "id"),
        (replay(json!([])), "ids"),
        (replay(json!(many)), "ids"),
        (replay(json!(["qr_1", "qr_x"])), "ids[1]"),
    ];
    for (answer, param) in cases {
        assert_eq!(answer.expect(400)["param"], param);
    }
    for path in ["?mood=1", "?limit=1&limit=2", "?limit=-1"] {
        assert_eq!(get(path).status, 400, "{path}");
    }
    assert_eq!(server.post("/v1/clock/confirm", &Value::Null).expect(200), json!({ "confirmed": false }));
    let args = ["clock", "confirm", "--json", "--url", &server.url, "--token-file", "token"];
    assert_eq!(place.run(&args).ok(), "{\"confirmed\":false}\n");
    place.run(&["clock", "confirm"]).fails(1, &["--url"]);
}
