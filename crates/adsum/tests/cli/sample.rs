//! The sample in `fixtures/sample`, counted by hand. Not here: what the pages show of it (pages).

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use serde_json::Value;

use crate::place::{Figures, Place, repository};

/// Impressions, clicks, conversions, spend and value by campaign.
type Totals = BTreeMap<String, [i64; 5]>;

/// The sample's numbers, counted in the plainest way from its lines.
fn truth(text: &str) -> (Figures, Totals) {
    let mut figures = Figures::default();
    let mut totals = Totals::new();
    let mut first: HashMap<String, Value> = HashMap::new();
    for line in text.lines() {
        figures.received += 1;
        let event: Option<Value> = serde_json::from_str(line).ok();
        let good = event.filter(|e| {
            let time = e["occurredAt"].as_str().unwrap();
            time.contains('T') && time.ends_with('Z') && (e["priceMicros"].is_null() || e["priceMicros"].is_i64())
        });
        let Some(event) = good else {
            figures.rejected += 1;
            continue;
        };
        let id = event["eventId"].as_str().unwrap().to_owned();
        match first.get(&id) {
            Some(same) if *same == event => figures.duplicates += 1,
            Some(_) => {
                figures.conflicts += 1;
                figures.quarantined += 1;
            }
            None => {
                figures.counted += 1;
                let campaign = event["campaignId"].as_str().unwrap();
                let per_click = ["job-board", "used-cars"].contains(&campaign);
                let kind = ["impression", "click", "conversion"].iter().position(|k| event["eventType"] == *k).unwrap();
                let sums = totals.entry(campaign.to_owned()).or_default();
                sums[kind] += 1;
                if kind == usize::from(per_click) {
                    sums[3] += event["priceMicros"].as_i64().unwrap_or(0);
                }
                sums[4] += event["valueMicros"].as_i64().unwrap_or(0);
                first.insert(id, event);
            }
        }
    }
    (figures, totals)
}

#[test]
fn the_sample_counts_as_it_does_by_hand() {
    let dir = repository().join("fixtures/sample");
    let (config, file) = (dir.join("adsum.toml"), dir.join("events.ndjson.gz"));
    let (config, file) = (config.to_str().unwrap(), file.to_str().unwrap());
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap()).read_to_string(&mut text).unwrap();
    let (figures, totals) = truth(&text);
    assert!(figures.rejected > 5 && figures.duplicates > 50 && figures.conflicts > 3, "{figures:?}");
    let place = Place::new();
    assert_eq!(place.import(&["--config", config, file]).figures, figures);
    let mut got = Totals::new();
    for row in place.report(&["--config", config, "--granularity", "day"]) {
        let names = ["impressions", "clicks", "conversions", "spendMicros", "valueMicros"];
        got.insert(row.text("campaignId").to_owned(), names.map(|name| row.number(name)));
    }
    assert_eq!(got, totals);
}
