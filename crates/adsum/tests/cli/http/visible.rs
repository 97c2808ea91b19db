//! What was acknowledged is seen: soon in reports, and how soon in the metrics.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::collect::{event, start};
use super::server::{Server, Target};
use crate::place::Place;

/// The promise is a second; a machine that does much else gets more time before it counts as broken.
const PROMISED: Duration = Duration::from_secs(5);
/// Where no promise is tested, so long is waited for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until the answer is what is waited for, and says how long that took.
#[track_caller]
fn until(what: &str, most: Duration, mut is_so: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < most, "not so after {most:?}: {what}");
    }
    begun.elapsed()
}

/// Waits until so many events of a source are counted.
#[track_caller]
pub fn await_counted(server: &Target, source: &str, events: i64) {
    let counted = || server.get(&format!("/v1/conservation?source={source}")).expect(200)["sums"]["counted"].clone();
    until(&format!("{events} counted of {source}"), PATIENCE, || counted() == json!(events));
}

#[test]
fn what_was_acknowledged_is_in_a_report_within_a_second() {
    const ROUNDS: i64 = 200;
    let place = Place::new();
    let server = start(&place, super::collect::CONFIG);
    let path = "/v1/reports/campaigns/camp_1?from=2020-01-01&to=2020-01-02&granularity=day";
    let seen = || match server.get(path) {
        answer if answer.status == 404 => 0,
        answer => {
            answer.expect(200)["rows"].as_array().unwrap().iter().map(|r| r["impressions"].as_i64().unwrap()).sum()
        }
    };
    let mut worst = Duration::ZERO;
    for round in 1..=ROUNDS {
        assert_eq!(server.collect(&event(format!("e_{round}")).line()).expect(202)["accepted"], 1);
        worst = worst.max(until("the event is in the report", PROMISED, || seen() == round));
        assert_eq!(seen(), round, "what was seen once stays");
    }
    println!("{ROUNDS} rounds, the worst took {worst:?}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn what_a_checkpoint_publishes_is_told_once() {
    const EVENTS: i64 = 100;
    let place = Place::new();
    let config = format!("{}[checkpoint]\nframes = 1\n", super::collect::CONFIG);
    let server = start(&place, &config);
    let told = |path: &str, what: &str| {
        let answer = server.get(path).expect(200);
        let rows = answer["rows"].as_array().unwrap();
        rows.iter().map(|row| row[what].as_i64().unwrap()).sum::<i64>()
    };
    for sent in 1..=EVENTS {
        assert_eq!(server.collect(&event(format!("e_{sent}")).line()).expect(202)["accepted"], 1);
        // While it is committed it is in memory, and then in the store: never in both.
        let told = [
            told("/v1/conservation?source=admin", "counted"),
            told("/v1/reports?from=2020-01-01&to=2020-01-02&granularity=day", "impressions"),
        ];
        assert!(told.iter().all(|told| *told == sent || *told == sent - 1), "{told:?} of {sent}");
    }
    assert_eq!(server.stop(), Some(0));
}

/// The value of a sample of /metrics that is a count.
fn count(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// The least bound, in seconds, within which so many of a hundred samples of a histogram lie; none where that is no
/// bound, or where there are no samples.
fn quantile<'t>(text: &'t str, name: &str, percent: u64) -> Option<&'t str> {
    let total = count(text, &format!("{name}_count"));
    let mut buckets = text.lines().filter_map(|line| {
        let (bound, count) = line.strip_prefix(name)?.strip_prefix("_bucket{le=\"")?.split_once("\"} ")?;
        Some((bound, count.parse::<u64>().unwrap()))
    });
    let within = buckets.find(|(_, count)| total > 0 && count * 100 >= percent * total);
    within.map(|(bound, _)| bound).filter(|bound| *bound != "+Inf")
}

/// A service that has done something for tenants whose names are nobody else's.
fn busy(place: &Place) -> (Server, Vec<String>) {
    let server = start(place, super::collect::CONFIG);
    server.put("/v1/advertisers/adv_zebra", &json!({"timeZone": "UTC"})).expect(200);
    server.put("/v1/campaigns/camp_zebra", &json!({"advertiser": "adv_zebra", "currency": "EUR"})).expect(200);
    server.put("/v1/ads/ad_zebra", &json!({"campaignId": "camp_zebra"})).expect(200);
    let made = server.post("/v1/tokens", &json!({"role": "collector", "source": "zebra"})).expect(201);
    let (id, token) = (made["id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned());
    let key = server.post("/v1/site-keys", &json!({"source": "zebra"})).expect(201)["id"].as_str().unwrap().to_owned();
    for i in 0..100 {
        let line = event(format!("zebra_{i}")).with("campaignId", "camp_zebra").with("adId", "ad_zebra").line();
        let body = Some(("application/x-ndjson", line.as_bytes()));
        server.request_as(Some(&token), "POST", "/v1/events/collect", &[], body).expect(202);
    }
    let pixel = format!("/v1/pixel.gif?key={key}&eventType=click&campaignId=camp_zebra&eventId=zebra_p");
    assert_eq!(server.request_as(None, "GET", &pixel, &[], None).status, 200);
    await_counted(&server, "zebra", 101);
    for path in [
        "/v1/campaigns/camp_zebra",
        "/v1/reports/campaigns/camp_zebra?from=2020-01-01&to=2020-01-02",
        "/v1/ads/ad_zebra/aggregated_count?from=2020-01-01&to=2020-01-02",
    ] {
        server.get(path).expect(200);
    }
    server.request_as(Some(&token), "GET", "/v1/campaigns/camp_zebra", &[], None).expect(403);
    let names = vec!["zebra".to_owned(), id, token, key, server.token.clone()];
    (server, names)
}

#[test]
fn the_metrics_say_how_soon_and_name_nobody() {
    let place = Place::new();
    let (server, names) = busy(&place);
    let text = server.get("/metrics").expect_text(200);
    let name = "adsum_receipt_to_visible_seconds";
    let (frames, p95) = (count(&text, &format!("{name}_count")), quantile(&text, name, 95));
    assert!(frames >= 100, "{frames} frames");
    let p95 = p95.unwrap_or_else(|| panic!("no bound of {name} in {text}"));
    println!("p95 of {name}: at most {p95} s over {frames} frames");
    assert_eq!(quantile(&text, name, 101), None, "a share that no bound holds has none");
    assert_eq!(count(&text, "adsum_events_counted_total"), 101);
    for name in &names {
        assert!(!text.contains(name), "{name} in {text}");
    }
    // Whatever labels there are, their names are these.
    let labels = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('{'));
    for (_, rest) in labels {
        for pair in rest.split('}').next().unwrap().split(',') {
            let label = pair.split('=').next().unwrap();
            assert!(["method", "path", "status", "le"].contains(&label), "{label} in {rest}");
        }
    }
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_metric_that_came_later_says_so_in_every_answer_of_counts() {
    let place = Place::new();
    let old = super::collect::CONFIG;
    let server = start(&place, old);
    server.collect(&event("1").with("adId", "ad_1").line()).expect(202);
    await_counted(&server, "admin", 1);
    let range = "from=2020-01-01&to=2020-01-02";
    let paths = [
        format!("/v1/reports?{range}"),
        format!("/v1/reports/campaigns/camp_1?{range}"),
        format!("/v1/ads/ad_1/aggregated_count?{range}"),
        "/v1/ads/popular_ads".to_owned(),
    ];
    let since = |server: &Server| -> Vec<Value> {
        paths.iter().map(|path| server.get(path).expect(200)["meta"]["metricsSince"].clone()).collect()
    };
    assert_eq!(since(&server), vec![Value::Null; 4]);
    assert_eq!(server.stop(), Some(0));
    let server = start(&place, &format!("{old}[event_types.install]\nid = 1000\n"));
    let before = since(&server);
    let line = event("2").with("adId", "ad_1").with("eventType", "install").line();
    server.collect(&line).expect(202);
    await_counted(&server, "admin", 2);
    let counted = server.get(&paths[0]).expect(200);
    assert_eq!(counted["rows"][0]["installs"], 1);
    // It counts from the new configuration's first revision on, before its first event and after.
    assert_eq!(since(&server), before);
    let revision = before[0]["installs"].as_str().unwrap();
    assert_eq!(before, vec![json!({"installs": revision}); 4]);
    let number = |text: &str| text.strip_prefix("rev_").unwrap().parse::<u64>().unwrap();
    assert!(number(revision) <= number(counted["rows"][0]["revision"].as_str().unwrap()), "{counted}");
    assert_eq!(server.stop(), Some(0));
}
