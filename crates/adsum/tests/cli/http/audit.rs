//! The audit: every act of administration is in it, once, with who did it, and stays whatever happens to its store.
//!
//! Invariant: acts are done over HTTP and compared whole with what the audit tells afterwards.

use serde_json::{Value, json};

use super::imports::start;
use super::server::{Server, Target};
use crate::events::{Event, text};
use crate::place::Place;

/// Everything in the audit, the oldest first, in pages of `limit`.
fn audit(server: &Target, limit: usize) -> Vec<Value> {
    let mut acts = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("/v1/audit?limit={limit}{cursor}")).expect(200);
        acts.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    acts.reverse();
    acts
}

/// Action, target and detail of each.
fn said(acts: &[Value]) -> Vec<(String, String, Value)> {
    let text = |act: &Value, name: &str| act[name].as_str().unwrap().to_owned();
    acts.iter().map(|act| (text(act, "action"), text(act, "target"), act["detail"].clone())).collect()
}

fn server_act(action: &str, server: &Target) -> (String, String, Value) {
    (action.to_owned(), server.url.clone(), json!({ "version": env!("CARGO_PKG_VERSION") }))
}

/// Does everything that is an act, and gives what the audit is to tell of it.
fn act(server: &Server) -> Vec<(&'static str, String, Value)> {
    let file = |path: &str| json!({ "path": path, "size": 10, "head": "00000000000000ff" });
    let begin = |source: &str, files: Value| {
        server.post("/v1/imports", &json!({ "source": source, "files": files })).expect(200)["run"].clone()
    };
    let run = begin("s", json!([file("x")]));
    assert_eq!(begin("s", json!([file("x")])), run, "to begin again is no act");
    let lines = text(&[Event::new("a"), Event::new("a").with("country", "DE")]);
    let id = run.as_str().unwrap();
    let chunk = format!("/v1/imports/s/chunks?run={id}&path=x&position=0&next={}&last=true", lines.len());
    server.request("POST", &chunk, Some(("application/x-ndjson", lines.as_bytes()))).expect(200);
    server.post(&format!("/v1/imports/s/end?run={id}"), &Value::Null).expect(200);
    let broken = begin("t", json!([file("x"), file("y")]));
    server.post("/v1/imports/t/end?abort=true", &Value::Null).expect(200);

    let held = server.get("/v1/quarantine").expect(200)["entries"][0]["id"].clone();
    server.post("/v1/quarantine/replay", &json!({ "ids": [held, "qr_999999"] })).expect(200);
    server.post("/v1/quarantine/replay", &json!({ "ids": ["qr_999999"] })).expect(200);
    server.post("/v1/clock/confirm", &Value::Null).expect(200);
    let backup = server.post("/v1/backups", &Value::Null).expect(201);
    server.put("/v1/publishers/pub_1", &json!({ "name": "P" })).expect(200);
    // What is refused is no act.
    server.post("/v1/imports/t/end?abort=true", &Value::Null).expect(404);
    server.post("/v1/quarantine/replay", &json!({ "ids": [] })).expect(400);
    server.request_as(None, "POST", "/v1/clock/confirm", &[], None).expect(401);
    let name = backup["name"].as_str().unwrap().to_owned();
    let of_backup = ["bytes", "revision", "stateHash"].map(|name| (name.to_owned(), backup[name].clone()));
    vec![
        ("import.begin", "s".to_owned(), json!({ "run": run, "files": 1, "resumed": false })),
        ("import.end", "s".to_owned(), json!({ "run": run, "received": 2, "counted": 1 })),
        ("import.begin", "t".to_owned(), json!({ "run": broken, "files": 2, "resumed": false })),
        ("import.abort", "t".to_owned(), json!({ "run": broken, "received": 0, "counted": 0 })),
        ("quarantine.replay", "quarantine".to_owned(), json!({ "asked": 2, "replayed": 1 })),
        ("clock.confirm", "clock".to_owned(), json!({ "inDoubt": false })),
        ("backup.create", name, Value::Object(of_backup.into_iter().collect())),
        ("publisher.put", "pub_1".to_owned(), json!({ "name": "P" })),
    ]
}

#[test]
fn every_act_is_told_and_outlives_the_store() {
    let place = Place::new();
    let server = start(&place, &[]);
    let done = act(&server);
    let acts = audit(&server, 1000);
    let mut want = vec![said(&acts)[0].clone(), server_act("server.start", &server)];
    assert_eq!(want[0].0, "token.create", "the admin token comes first");
    want.extend(done.into_iter().map(|(action, target, detail)| (action.to_owned(), target, detail)));
    assert_eq!(said(&acts), want);
    assert_eq!(audit(&server, 3), acts, "page by page");
    // Each is one change of the metadata, in the order of the log, by the token that asked.
    let revisions: Vec<u64> = acts.iter().map(|act| act["metadataRevision"].as_u64().unwrap()).collect();
    assert_eq!(revisions, (1..=acts.len() as u64).collect::<Vec<_>>());
    let token = &acts[0]["target"];
    for act in &acts[2..] {
        assert_eq!((&act["tokenId"], &act["source"]), (token, &json!("admin")), "{act}");
        assert!(act["requestId"].is_string(), "{act}");
    }
    assert_eq!((&acts[1]["tokenId"], &acts[1]["requestId"]), (&json!("server"), &Value::Null));

    let mut before = acts;
    want.push(server_act("server.stop", &server));
    assert_eq!(server.stop(), Some(0));
    // After a clean end; after a kill, which says nothing; without the store, made again from the log.
    for lost in [false, false, true] {
        if lost {
            for name in ["metadata.sqlite", "metadata.sqlite-wal", "metadata.sqlite-shm"] {
                let _ = std::fs::remove_file(place.path("data").join(name));
            }
        }
        let server = start(&place, &[]);
        want.push(server_act("server.start", &server));
        let acts = audit(&server, 1000);
        assert_eq!(said(&acts), want);
        assert_eq!(acts[..before.len()], before);
        before = acts;
        server.kill();
    }
    let ledger = &place.doctor(&[])["ledger"];
    let of = |source: &str| ledger[source]["metadata"].as_u64().unwrap();
    assert_eq!(of("admin") + of("server"), before.len() as u64, "{ledger}");
}

#[test]
fn an_act_changes_nothing_that_events_are_resolved_by() {
    let place = Place::new();
    let server = start(&place, &[]);
    server.put("/v1/advertisers/adv_1", &json!({ "timeZone": "UTC" })).expect(200);
    let campaign =
        json!({ "advertiser": "adv_1", "currency": "EUR", "billable": "cpc", "effectiveFrom": "2026-01-01T00:00:00Z" });
    let put = server.put("/v1/campaigns/camp_1", &campaign).expect(200);
    server.post("/v1/clock/confirm", &Value::Null).expect(200);
    assert_eq!(server.get("/v1/campaigns/camp_1").expect(200), put);
    server.put("/v1/ads/ad_1", &json!({ "campaignId": "camp_1" })).expect(200);
    place.write("events.ndjson", text(&[Event::new("e").without("campaignId").with("adId", "ad_1")]));
    let args = ["import", "--json", "--url", &server.url, "--token-file", "token", "events.ndjson"];
    place.run(&args).ok();
    let rows = server
        .get("/v1/reports?from=2026-11-20T00:00:00Z&to=2026-11-21T00:00:00Z&granularity=day&dimensions=campaignId");
    let row = &rows.expect(200)["rows"][0];
    assert_eq!(
        (&row["campaignId"], &row["currency"], &row["impressions"]),
        (&json!("camp_1"), &json!("EUR"), &json!(1))
    );
}
