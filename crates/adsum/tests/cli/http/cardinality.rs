//! A sender who makes values up: every event has its own ad, publisher and placement.
//!
//! Invariant: beyond a dimension's limit they count as `other` and take no memory; totals stay exact, and who sends
//! honestly keeps every row. Not here: the limits themselves (configs, the pipeline's tests).

use super::collect::start;
use super::server::Server;
use super::visible::await_counted;
use crate::events::{Event, text};
use crate::place::{Place, sum};

const LIMIT: usize = 50;
const REQUESTS: usize = 20;
const EVENTS: usize = 1000;
const HONEST: usize = 40;

fn symbols(server: &Server) -> u64 {
    let text = server.get("/metrics").expect_text(200);
    let value = text.lines().find_map(|line| line.strip_prefix("adsum_symbols ")).unwrap();
    value.parse().unwrap()
}

fn at(id: String) -> Event {
    Event::new(&id).at("2020-01-01T00:00:00Z")
}

#[test]
fn made_up_values_cost_themselves() {
    let place = Place::new();
    let limit = |name: &str| format!("[dimensions.{name}]\nlimit = {LIMIT}\n");
    let limits: String = ["adId", "publisherId", "placementId"].into_iter().map(limit).collect();
    let server = start(&place, &format!("[time]\nhorizon_seconds = 4000000000\n{limits}"));
    let honest: Vec<Event> = (0..HONEST).map(|i| at(format!("honest_{i}")).with("adId", "ad_honest")).collect();
    assert_eq!(server.collect(&text(&honest)).expect(202)["accepted"], HONEST);
    let before = symbols(&server);
    let attacker = server.new_token("collector", None);
    for request in 0..REQUESTS {
        let events: Vec<Event> = (request * EVENTS..(request + 1) * EVENTS)
            .map(|i| {
                let event = at(format!("made_up_{i}"));
                ["adId", "publisherId", "placementId"]
                    .iter()
                    .fold(event, |e, name| e.with(name, &format!("{name}_{i}")))
            })
            .collect();
        let body = text(&events);
        let body = Some(("application/x-ndjson", body.as_bytes()));
        let answer = server.request_as(Some(&attacker), "POST", "/v1/events/collect", &[], body);
        assert_eq!(answer.expect(202)["accepted"], EVENTS);
    }
    await_counted(&server, "collector", (REQUESTS * EVENTS) as i64);
    let more = symbols(&server) - before;
    // Those of the requests that were read before the first of them reached the limit are kept, and no later ones.
    assert!(more <= 3 * EVENTS as u64 + 10, "{more} texts kept");
    let folded = server.get("/metrics").expect_text(200);
    let folded = folded.lines().find_map(|l| l.strip_prefix("adsum_dimension_values_folded_total ")).unwrap();
    assert!(folded.parse::<usize>().unwrap() >= 3 * (REQUESTS * EVENTS - LIMIT), "{folded}");
    assert_eq!(server.stop(), Some(0));
    let range = ["--from", "2020-01-01T00:00:00Z", "--to", "2020-01-01T01:00:00Z", "--config", "adsum.toml"];
    let rows = place.report(&[&range[..], &["--by", "adId"]].concat());
    let of =
        |ad: &str| rows.iter().filter(|row| row.text("adId") == ad).map(|row| row.number("impressions")).sum::<i64>();
    assert_eq!(sum(&rows, "impressions") as usize, HONEST + REQUESTS * EVENTS);
    assert_eq!(of("ad_honest") as usize, HONEST);
    // The honest ad is one of the values.
    assert_eq!((rows.len(), of("other") as usize), (LIMIT + 1, REQUESTS * EVENTS - (LIMIT - 1)));
}
