//! The Yahoo streaming benchmark by configuration alone: other names, other words, times in milliseconds, no event ids,
//! campaigns found from ads, windows of ten seconds.
//!
//! The events are those of the dataArtisans fork's generator: event k has ad k mod 1000 and type k mod 3, so that every
//! 3,000 events in a row give each campaign exactly 10 views.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::place::{Figures, Place};

/// 2026-11-20T10:00:00Z.
const START_MS: u64 = 1_795_168_800_000;

fn config() -> String {
    let mut toml = String::from(
        "bucket_seconds = 10\n\
         required = [\"eventType\", \"occurredAt\", \"adId\"]\n\
         rollups = [[\"campaignId\"]]\n\
         [fields]\n\
         user_id = \"userId\"\n\
         page_id = \"placementId\"\n\
         ad_id = \"adId\"\n\
         event_type = { to = \"eventType\", values = { view = \"impression\", purchase = \"conversion\" } }\n\
         event_time = { to = \"occurredAt\", time = \"epoch_ms\" }\n\
         [[dedupe]]\n\
         off = true\n\
         [campaign_defaults]\n\
         unknown = \"reject\"\n",
    );
    for campaign in 0..100 {
        let ads: Vec<String> = (0..10).map(|i| format!("\"ad_{}\"", campaign * 10 + i)).collect();
        writeln!(toml, "[campaigns.campaign_{campaign}]\nads = [{}]", ads.join(", ")).unwrap();
    }
    toml
}

fn event(k: u64, gap_ms: u64) -> String {
    let kind = ["view", "click", "purchase"][(k % 3) as usize];
    let (ad, time) = (k % 1000, START_MS + k * gap_ms);
    format!(
        "{{\"user_id\":\"u{}\",\"page_id\":\"p{}\",\"ad_id\":\"ad_{ad}\",\"ad_type\":\"banner\",\
         \"event_type\":\"{kind}\",\"event_time\":\"{time}\",\"ip_address\":\"1.2.3.4\"}}\n",
        k % 100,
        k % 97
    )
}

/// Views by window (seconds since 1970) and campaign: what the generator means, counted without adsum.
fn truth(events: u64, gap_ms: u64) -> BTreeMap<(i64, String), i64> {
    let mut views = BTreeMap::new();
    for k in (0..events).filter(|k| k % 3 == 0) {
        let window = (START_MS + k * gap_ms) / 10_000 * 10;
        *views.entry((window as i64, format!("campaign_{}", k % 1000 / 10))).or_default() += 1;
    }
    views
}

#[test]
fn exact_counts_in_windows_of_ten_seconds() {
    const EVENTS: u64 = 15_000;
    let place = Place::new();
    place.write("ysb.toml", config());
    let text: String = (0..EVENTS).map(|k| event(k, 7)).collect();
    place.write("events.ndjson", &text);
    let stranger = event(0, 7).replace("ad_0", "ad_of_nobody");
    place.write("stranger.ndjson", stranger);
    for workers in ["1", "3"] {
        let place_of_workers = Place::new();
        place_of_workers.write("ysb.toml", config());
        place_of_workers.write("events.ndjson", &text);
        let import = place_of_workers.import(&["--config", "ysb.toml", "--workers", workers, "events.ndjson"]);
        let all = Figures { received: EVENTS as i64, counted: EVENTS as i64, ..Figures::default() };
        assert_eq!(import.figures, all);
        let rows = place_of_workers.report(&["--config", "ysb.toml", "--granularity", "bucket"]);
        let mut got = BTreeMap::new();
        let mut of_campaign: BTreeMap<String, i64> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.number("impressions") > 0) {
            let window = row.text("bucketStart").parse::<jiff::Timestamp>().unwrap().as_second();
            let campaign = row.text("campaignId").to_owned();
            *of_campaign.entry(campaign.clone()).or_default() += row.number("impressions");
            got.insert((window, campaign), row.number("impressions"));
        }
        assert_eq!(got, truth(EVENTS, 7));
        assert!(of_campaign.len() == 100 && of_campaign.values().all(|views| *views == 50), "{of_campaign:?}");
    }
    // An event without an id cannot be told from its like: imported again, it counts again.
    place.import(&["--config", "ysb.toml", "events.ndjson"]);
    assert_eq!(place.import(&["--config", "ysb.toml", "events.ndjson"]).figures.counted, EVENTS as i64);
    assert_eq!(place.import(&["--config", "ysb.toml", "stranger.ndjson"]).figures.rejected, 1);
}
