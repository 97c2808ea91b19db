//! What of the metadata outlives restarts, kills and a lost store, and what is never kept: secrets.
//!
//! Invariant: what must stay is compared whole, as the server tells it.

use std::sync::mpsc::sync_channel;

use serde_json::json;

use super::metadata::{everything, ids, put_one_of_each};
use super::server::Server;
use crate::place::Place;

#[test]
fn it_outlives_restarts_and_a_lost_store() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    put_one_of_each(&server);
    let body = json!({"advertiser": "adv_1", "currency": "EUR", "status": "paused", "start": "2026-11-21T00:00:00Z"});
    server.put("/v1/campaigns/camp_1", &body).expect(200);
    let token =
        server.post("/v1/tokens", &json!({"role": "reporter", "source": "s", "requestsPerSecond": 7})).expect(201);
    server.request("DELETE", &format!("/v1/tokens/{}", token["id"].as_str().unwrap()), None).expect(200);
    let key = server.post("/v1/site-keys", &json!({"source": "web"})).expect(201);
    server.request("DELETE", &format!("/v1/site-keys/{}", key["id"].as_str().unwrap()), None).expect(200);
    let url = server.post("/v1/click-destinations", &json!({"url": "https://a.example"})).expect(201);
    server.post("/v1/click-destinations", &json!({"url": "https://b.example"})).expect(201);
    let gone = server.request("DELETE", &format!("/v1/click-destinations/{}", url["id"].as_str().unwrap()), None);
    assert_eq!(gone.status, 204);
    let bulk: String = (0..7_000).map(|i| format!("{{\"kind\":\"publisher\",\"id\":\"p{i}\"}}\n")).collect();
    server.request("POST", "/v1/metadata/bulk", Some(("application/x-ndjson", bulk.as_bytes()))).expect(200);
    let before = everything(&server);
    assert_eq!(before[8].as_array().unwrap().len(), 900, "as much of the audit as is compared");
    assert_eq!(server.stop(), Some(0));
    let server = Server::start(&place, &[]);
    assert_eq!(everything(&server), before, "after a clean end");
    server.kill();
    for name in ["metadata.sqlite", "metadata.sqlite-wal", "metadata.sqlite-shm"] {
        let _ = std::fs::remove_file(place.path("data").join(name));
    }
    let server = Server::start(&place, &[]);
    assert_eq!(everything(&server), before, "made again from the log");
    server.kill();
    let server = Server::start(&place, &[]);
    assert_eq!(everything(&server), before, "after a kill");
    assert_eq!(server.stop(), Some(0));
    // A store that knows more than the log is another log's.
    let other = Place::new();
    let server = Server::start(&other, &[]);
    assert_eq!(server.stop(), Some(0));
    std::fs::copy(place.path("data/metadata.sqlite"), other.path("data/metadata.sqlite")).unwrap();
    other
        .run(&["serve", "--listen", "127.0.0.1:0", "--token-file", "token"])
        .fails(1, &["of another log", "take it away"]);
}

#[test]
fn the_log_decides_where_the_store_fails() {
    let place = Place::new();
    let store = place.path("data/metadata.sqlite");
    let alter = |from: &str, to: &str| {
        let code = format!(
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=60); \
             c.execute('ALTER TABLE {from} RENAME TO {to}'); c.commit()"
        );
        let python = std::process::Command::new("python3").args(["-c", &code]).arg(&store).status().unwrap();
        assert!(python.success());
    };
    let server = Server::start(&place, &[]);
    alter("audit", "broken");
    put_one_of_each(&server);
    assert_eq!(ids(&server.get("/v1/ads").expect(200)), ["ad_1"], "the change holds");
    assert_eq!(server.get("/v1/audit").status, 500);
    // What was missed comes before the next change.
    alter("broken", "audit");
    server.put("/v1/publishers/next", &json!({})).expect(200);
    assert_eq!(server.get("/v1/audit").expect(200)["items"].as_array().unwrap().len(), 8);
    // A start takes over what was missed as well.
    alter("audit", "broken");
    server.put("/v1/publishers/last", &json!({})).expect(200);
    server.kill();
    alter("broken", "audit");
    let server = Server::start(&place, &[]);
    assert_eq!(server.get("/v1/audit").expect(200)["items"].as_array().unwrap().len(), 10, "with this start");
    assert_eq!(ids(&server.get("/v1/publishers").expect(200)), ["last", "next", "pub_1"]);
}

#[test]
fn nothing_acknowledged_is_lost_by_kills() {
    let place = Place::new();
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..5 {
        let server = Server::start(&place, &[]);
        for id in &acknowledged {
            server.get(&format!("/v1/publishers/{id}")).expect(200);
        }
        let (told, heard) = sync_channel(0);
        let (url, token) = (server.url.clone(), server.token.clone());
        let putting = std::thread::spawn(move || {
            for i in 0.. {
                let id = format!("p{round}_{i}");
                let request = http::Request::put(format!("{url}/v1/publishers/{id}"))
                    .header("authorization", format!("Bearer {token}"))
                    .header("content-type", "application/json")
                    .body("{}")
                    .unwrap();
                match ureq::run(request) {
                    Ok(answer) if answer.status() == 200 => {}
                    _ => break,
                }
                if told.send(id).is_err() {
                    break;
                }
            }
        });
        acknowledged.extend(heard.iter().take(10 + 7 * round));
        // The next one is on its way: it is in the log or not, and the store follows or not.
        server.kill();
        acknowledged.extend(heard.iter());
        putting.join().unwrap();
    }
    let server = Server::start(&place, &[]);
    for id in &acknowledged {
        server.get(&format!("/v1/publishers/{id}")).expect(200);
    }
    assert!(acknowledged.len() >= 120, "{}", acknowledged.len());
}

#[test]
fn secrets_are_nowhere_but_in_the_answer() {
    let place = Place::new();
    let server = Server::start(&place, &["--log", "trace"]);
    let made = server.post("/v1/tokens", &json!({"role": "collector", "source": "canary"})).expect(201);
    let secrets = [made["token"].as_str().unwrap().to_owned(), server.token.clone()];
    let id = made["id"].as_str().unwrap().to_owned();
    // They are used rightly and wrongly, and stand where none belongs: in queries, paths, headers and events.
    let token = &secrets[0];
    for (bearer, path) in [
        (Some(token.as_str()), "/v1/tokens".to_owned()),
        (Some(token), format!("/v1/reports?from=2020-01-01&to=2020-01-02&token={token}")),
        (Some(&server.token), format!("/v1/reports?from={token}&to=2020-01-02")),
        (Some(&server.token), format!("/v1/campaigns/{token}")),
        (Some(&server.token), format!("/{token}")),
        (Some(&token[..60]), "/v1/audit".to_owned()),
        (None, format!("/v1/audit?authorization={token}")),
    ] {
        let headers = [("x-request-id", "canary"), ("x-api-key", token.as_str()), ("cookie", token)];
        let answer = server.request_as(bearer, "GET", &path, &headers, None);
        assert!(answer.status >= 400 && !answer.text().contains(&token["adsum_".len()..]), "{path}: {}", answer.text());
    }
    assert_eq!(server.collect("{\"eventId\":\"e\"}").status, 202);
    server.post("/v1/backups", &serde_json::Value::Null).expect(201);
    for path in ["/v1/tokens", "/v1/audit", "/metrics", "/v1/quarantine", "/v1/conservation", "/v1/pipeline"] {
        let shown = server.get(path);
        assert_eq!(shown.status, 200, "{path}");
        assert!(!secrets.iter().any(|s| shown.text().contains(&s["adsum_".len()..])), "{path}");
        assert!(!shown.text().contains("sha256"), "{path}");
    }
    assert_eq!(server.stop(), Some(0));
    let (mut files, mut found) = (0, 0);
    let mut folders = vec![place.path("")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let holds = |text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
            files += 1;
            found += usize::from(holds(&id));
            let is_token_file = path == place.path("token");
            assert!(is_token_file || !secrets.iter().any(|s| holds(&s["adsum_".len()..])), "{}", path.display());
        }
    }
    let backed_up = place.path("data/backups").is_dir();
    assert!(files >= 4 && found >= 2 && backed_up, "log, store and backup: {files} files, {found} with the token's id");
}
