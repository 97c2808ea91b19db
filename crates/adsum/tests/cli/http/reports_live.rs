//! What is asked of a running service beside reports: ads, the ledger, the pipeline, the catalog, and the live stream.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use serde_json::{Value, json};

use super::reports::place;
use super::server::Server;
use crate::events::{Event, text};
use crate::place::{Place, Row, sum};

#[test]
fn an_ad_s_counts_are_sums_over_its_rows() {
    let place = place();
    let rows = place.report(&["--config", "euro.toml", "--by", "adId,country", "--granularity", "day"]);
    let of_ad: Vec<Row> = rows.iter().filter(|r| r.text("adId") == "ad_3").cloned().collect();
    let server = Server::start(&place, &["--config", "euro.toml"]);
    let range = "from=2026-03-28&to=2026-03-31";
    let answer = server.get(&format!("/v1/ads/ad_3/aggregated_count?{range}")).expect(200);
    for name in ["impressions", "clicks", "conversions", "unpriced"] {
        assert_eq!(answer[name], json!(sum(&of_ad, name)), "{name}");
    }
    assert_eq!(answer["spendMicros"], Value::Null, "nothing is summed across currencies");
    let currencies = answer["currencies"].as_array().unwrap();
    assert_eq!(currencies.len(), 2);
    for money in currencies {
        let own: Vec<Row> = of_ad.iter().filter(|r| r.text("currency") == money["currency"]).cloned().collect();
        assert_eq!(money["spendMicros"], json!(sum(&own, "spendMicros")));
    }
    let german = server.get(&format!("/v1/ads/ad_3/aggregated_count?{range}&filter.country=DE")).expect(200);
    let own: Vec<Row> = of_ad.iter().filter(|r| r.text("country") == "DE").cloned().collect();
    assert_eq!(german["impressions"], json!(sum(&own, "impressions")));
    let minute = "from=2026-03-28T10:01:00Z&to=2026-03-28T10:02:00Z";
    server.get(&format!("/v1/ads/ad_3/aggregated_count?{minute}")).expect(200);
    let nobody = server.get(&format!("/v1/ads/nobody/aggregated_count?{range}")).expect(200);
    assert_eq!((&nobody["impressions"], &nobody["currencies"], &nobody["ctr"]), (&json!(0), &json!([]), &Value::Null));
}

#[test]
fn users_of_an_ad_by_the_windows_that_are_kept() {
    let place = Place::new();
    let event = |n: u32, minute: u32, user: u32| {
        Event::new(&format!("e{n}"))
            .with("adId", "ad_1")
            .with("userId", &format!("u{user}"))
            .at(&format!("2026-11-20T10:{minute:02}:00Z"))
    };
    // Seven users in the first five minutes, some of them again; three of them in the third.
    let first = (0..20).map(|n| event(n, n % 5, n % 7));
    let third = (20..30).map(|n| event(n, 10 + n % 5, n % 3));
    place.write("events.ndjson", text(&first.chain(third).collect::<Vec<_>>()));
    place.import(&["events.ndjson"]);
    let server = Server::start(&place, &[]);
    let answer = server.get("/v1/ads/ad_1/distinct_users?from=2026-11-20&to=2026-11-21").expect(200);
    let windows = answer["windows"].as_array().unwrap().iter();
    let got: Vec<_> =
        windows.map(|w| (w["bucketStart"].as_str().unwrap(), w["distinctUsers"].as_i64().unwrap())).collect();
    assert_eq!(got, [("2026-11-20T10:00:00Z", 7), ("2026-11-20T10:10:00Z", 3)]);
    assert_eq!((&answer["windowSeconds"], &answer["standardError"]), (&json!(300), &json!(0.01625)));
}

#[test]
fn popular_ads_of_the_last_minutes() {
    let place = Place::new();
    // The server's clock tells the test which minutes the last ones are.
    let server = Server::start(&place, &[]);
    let empty = server.get("/v1/ads/popular_ads").expect(200);
    assert_eq!(empty["ads"], json!([]));
    let (from, to) = (empty["from"].as_str().unwrap(), empty["to"].as_str().unwrap());
    assert!(from < to && to.ends_with(":00Z"));
    assert_eq!(server.stop(), Some(0));
    let mut events = Vec::new();
    for (ad, clicks, country) in [("ad_1", 3, "US"), ("ad_2", 5, "US"), ("ad_3", 5, "DE"), ("ad_4", 1, "US")] {
        for n in 0..clicks {
            let event = Event::new(&format!("{ad}_{n}")).with("adId", ad).with("eventType", "click");
            events.push(event.with("country", country).at(from));
        }
        events.push(Event::new(&format!("{ad}_shown")).with("adId", ad).at(from));
    }
    events.push(Event::new("no_ad").with("eventType", "click").at(from));
    events.push(Event::new("seen").with("adId", "ad_4").at(from));
    events.push(Event::new("long_ago").with("adId", "ad_9").with("eventType", "click").at("2026-11-01T00:00:00Z"));
    place.write("events.ndjson", text(&events));
    place.import(&["events.ndjson"]);
    let server = Server::start(&place, &[]);
    for (query, want) in [
        ("window=24h", &["ad_2", "ad_3", "ad_1", "ad_4"][..]),
        ("window=1440m&count=2", &["ad_2", "ad_3"]),
        ("window=24h&filter.country=US", &["ad_2", "ad_1", "ad_4"]),
        ("window=24h&by=impressions", &["ad_4", "ad_1", "ad_2", "ad_3"]),
        ("window=24h&by=conversions", &[]),
    ] {
        let answer = server.get(&format!("/v1/ads/popular_ads?{query}")).expect(200);
        let ads = answer["ads"].as_array().unwrap().iter().map(|ad| ad["adId"].as_str().unwrap());
        assert_eq!(ads.collect::<Vec<_>>(), want, "{query}");
    }
    let answer = server.get("/v1/ads/popular_ads?window=24h").expect(200);
    assert_eq!((&answer["ads"][0]["clicks"], &answer["ads"][0]["impressions"]), (&json!(5), &json!(1)));
}

#[test]
fn the_ledger_balances_and_the_pipeline_is_told() {
    let place = place();
    place.write("bad.ndjson", format!("{}{{\"eventId\":\n", text(&[Event::new("e1")])));
    place.import(&["--config", "euro.toml", "--source", "other", "bad.ndjson"]);
    let ledger = place.doctor(&["--config", "euro.toml"])["ledger"].clone();
    let server = Server::start(&place, &["--config", "euro.toml"]);
    for source in ["import", "other"] {
        let answer = server.get(&format!("/v1/conservation?source={source}")).expect(200);
        assert_eq!((&answer["balances"], &answer["imbalances"]), (&json!(true), &json!([])));
        let mut rows = answer["rows"].as_array().unwrap().iter();
        assert!(rows.all(|r| r["source"] == source && r["balances"] == true));
        assert_eq!(answer["sums"], ledger[source], "{source}");
    }
    let all = server.get("/v1/conservation").expect(200);
    assert_eq!(all["sums"]["received"], json!(3002));
    let none = server.get("/v1/conservation?to=2020-01-01").expect(200);
    assert_eq!((&none["rows"], &none["sums"]["received"]), (&json!([]), &json!(0)));

    let pipeline = server.get("/v1/pipeline").expect(200);
    assert_eq!((&pipeline["clockInDoubt"], &pipeline["imports"]), (&json!(false), &json!([])));
    assert_eq!(pipeline["writer"], json!({ "queueDepth": 0, "queueBytes": 0 }));
    assert!(pipeline["through"]["offset"].as_u64().unwrap() >= 3002, "{pipeline}");
    assert!(pipeline["disk"]["folders"]["log"]["bytes"].as_u64().unwrap() > 1000, "{pipeline}");
    assert!(pipeline["disk"]["folders"]["store"]["files"].as_u64().unwrap() > 0, "{pipeline}");

    let shown: Value = serde_json::from_str(&place.run(&["catalog", "show", "--json"]).ok()).unwrap();
    assert_eq!(server.get("/v1/catalog").expect(200), shown);
}

/// A stream of events as a raw connection, past its head.
fn watch(server: &Server) -> (String, BufReader<TcpStream>) {
    let mut socket = TcpStream::connect(server.address()).unwrap();
    let request =
        format!("GET /v1/events/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", server.token);
    socket.write_all(request.as_bytes()).unwrap();
    let mut lines = BufReader::new(socket);
    let mut status = String::new();
    lines.read_line(&mut status).unwrap();
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        lines.read_line(&mut line).unwrap();
    }
    (status, lines)
}

#[test]
fn the_stream_tells_what_happens_and_ends_with_the_service() {
    let place = place();
    let server = Server::start(&place, &["--config", "euro.toml"]);
    let (status, mut lines) = watch(&server);
    assert!(status.contains("200"), "{status}");
    let mut tail = (place.command(&["tail", "--url", &server.url, "--token-file", "token", "--format", "ndjson"]))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(tail.stdout.take().unwrap());
    // Time passes, so a revision comes every second.
    let mut line = String::new();
    while !line.starts_with("event: revision") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0);
    }
    line.clear();
    lines.read_line(&mut line).unwrap();
    assert!(line.starts_with("data: {") && line.contains("\"dataRevision\":\"rev_"), "{line}");
    let mut first = String::new();
    told.read_line(&mut first).unwrap();
    let first: Value = serde_json::from_str(&first).unwrap();
    assert!(["revision", "watermark"].contains(&first["event"].as_str().unwrap()), "{first}");
    assert_eq!(server.stop(), Some(0), "a client that watches holds up no end");
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    told.read_to_string(&mut rest).unwrap();
    assert_eq!(tail.wait().unwrap().code(), Some(0));
}

#[test]
fn so_many_watch_and_no_more() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let watching: Vec<_> = (0..64).map(|_| watch(&server)).collect();
    assert!(watching.iter().all(|(status, _)| status.contains("200")));
    let refused = server.get("/v1/events/stream");
    assert_eq!(
        (refused.expect(503)["code"].as_str(), refused.header("retry-after")),
        (Some("too_many_watchers"), Some("5"))
    );
    assert_eq!(server.stop(), Some(0));
    place.run(&["tail"]).fails(1, &["--url"]);
}
