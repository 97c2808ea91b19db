//! The truth against a naive recount of the written lines, and the check against reports with known mistakes.
//!
//! The recount is serde_json and ordered maps, written without a look at the generator. Not here: speed.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests of a program that works on plain files")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use adsum_bench_gen::{Layout, ads, check, ysb};
use serde_json::Value;

/// 2026-11-01T00:00:58Z: the events of a run of more than 20,000 lines lie in two minutes.
const START_MS: i64 = 1_793_491_258_000;

struct Run {
    _folder: tempfile::TempDir,
    lines: PathBuf,
    truth: PathBuf,
    outcome: ads::Outcome,
}

fn run(lines: u64, seed: u64, hot_ppm: u64, layout: Layout) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let (out, truth) = (folder.path().join("a.ndjson"), folder.path().join("a.truth.csv"));
    let plan = ads::Plan { lines, seed, start_ms: START_MS, hot_ppm, events_per_second: 10_000, layout };
    let outcome = ads::write(&plan, &out, &truth).unwrap();
    Run { _folder: folder, lines: out, truth, outcome }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Recount {
    rejected: u64,
    duplicates: u64,
    rows: BTreeMap<Vec<String>, [u64; 4]>,
}

fn recount(path: &Path) -> Recount {
    let mut found = Recount::default();
    let mut lines_by_id: HashMap<String, String> = HashMap::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let Ok(Value::Object(event)) = serde_json::from_str::<Value>(line) else {
            found.rejected += 1;
            continue;
        };
        let text = |name: &str| event.get(name).and_then(Value::as_str).map(str::to_owned);
        let dimensions = ["campaignId", "publisherId", "country", "deviceType"].map(text);
        let kind =
            ["impression", "click", "conversion"].iter().position(|k| Some((*k).to_owned()) == text("eventType"));
        let price = event.get("priceMicros").and_then(Value::as_u64);
        let (Some(id), Some(kind), Some(at), Some(price), true) =
            (text("eventId"), kind, text("occurredAt"), price, dimensions.iter().all(Option::is_some))
        else {
            found.rejected += 1;
            continue;
        };
        if let Some(first) = lines_by_id.get(&id) {
            assert_eq!(first, line, "a retry is exact");
            found.duplicates += 1;
            continue;
        }
        lines_by_id.insert(id, line.to_owned());
        let key = std::iter::once(format!("{}:00Z", &at[..16])).chain(dimensions.into_iter().flatten()).collect();
        let row = found.rows.entry(key).or_default();
        row[kind] += 1;
        row[3] += if kind == 0 { price } else { 0 };
    }
    found
}

fn truth_rows(path: &Path) -> BTreeMap<Vec<String>, [u64; 4]> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut keys = Vec::new();
    let rows: BTreeMap<_, _> = text
        .lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            let key: Vec<String> = cells[..5].iter().map(|c| (*c).to_owned()).collect();
            keys.push(key.clone());
            (key, [5, 6, 7, 8].map(|column| cells[column].parse().unwrap()))
        })
        .collect();
    assert!(keys.is_sorted(), "by time, then by the dimensions");
    assert_eq!(keys.len(), rows.len(), "one row a group");
    rows
}

#[test]
fn truth_equals_a_naive_recount() {
    let cases = [
        (10_000, 1, 0, Layout::Usual),
        (10_000, 2, 500_000, Layout::Usual),
        (100_000, 3, 0, Layout::Usual),
        (30_000, 4, 0, Layout::Reversed),
        (30_000, 4, 0, Layout::Shuffled),
        (30_000, 4, 0, Layout::Spaced),
        (30_000, 4, 0, Layout::Escaped),
        (30_000, 4, 0, Layout::Unknown),
        (1, 5, 0, Layout::Usual),
        (0, 5, 0, Layout::Usual),
    ];
    for (lines, seed, hot_ppm, layout) in cases {
        let run = run(lines, seed, hot_ppm, layout);
        let found = recount(&run.lines);
        let context = format!("{lines} lines, seed {seed}, {layout:?}");
        assert_eq!(found.rows, truth_rows(&run.truth), "{context}");
        let outcome = run.outcome;
        assert_eq!((found.rejected, found.duplicates), (outcome.rejected, outcome.duplicates), "{context}");
        assert_eq!(outcome.received, lines, "{context}");
        assert_eq!(outcome.counted + outcome.duplicates + outcome.rejected, lines, "{context}");
        if lines >= 100_000 {
            assert!(outcome.rejected > 0 && outcome.duplicates > lines / 200 && outcome.sums.conversions > 0);
            assert!(outcome.duplicates < lines / 70, "{context}");
        }
    }
}

#[test]
fn followers_have_the_columns_of_an_earlier_impression() {
    let run = run(100_000, 9, 0, Layout::Usual);
    let text = std::fs::read_to_string(&run.lines).unwrap();
    let events: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let shared = ["campaignId", "adId", "publisherId", "placementId", "country", "deviceType", "userId", "auctionId"];
    let columns = |event: &Value| shared.map(|name| event[name].clone());
    let impressions: HashMap<&str, &Value> = events
        .iter()
        .filter(|e| e["eventType"] == "impression")
        .filter_map(|e| Some((e["impressionId"].as_str()?, e)))
        .collect();
    let mut met = 0;
    for event in events.iter().filter(|e| e["eventType"] == "click" || e["eventType"] == "conversion") {
        // The few impressions that are themselves malformed may be missing here.
        if let Some(impression) = event["impressionId"].as_str().and_then(|id| impressions.get(id))
            && event["campaignId"].is_string()
        {
            met += 1;
            assert!(impression["occurredAt"].as_str() <= event["occurredAt"].as_str());
            if shared.iter().all(|name| impression[name].is_string() && event[name].is_string()) {
                assert_eq!(columns(event), columns(impression));
            }
        }
    }
    assert!(met > 2_500, "{met}");
}

#[test]
fn one_seed_one_text() {
    let bytes = |seed, layout| std::fs::read(run(10_000, seed, 0, layout).lines).unwrap();
    assert_eq!(bytes(1, Layout::Usual), bytes(1, Layout::Usual));
    assert_ne!(bytes(1, Layout::Usual), bytes(2, Layout::Usual));
    let layouts: HashSet<Vec<u8>> = Layout::ALL.into_iter().map(|(_, layout)| bytes(1, layout)).collect();
    assert_eq!(layouts.len(), Layout::ALL.len(), "each layout is another text");
    let usual = bytes(1, Layout::Usual);
    let first = String::from_utf8(usual[..usual.iter().position(|b| *b == b'\n').unwrap()].to_vec()).unwrap();
    assert!(first.starts_with("{\"eventId\":\"") && first.ends_with(",\"schemaVersion\":1}"), "{first}");
}

#[test]
fn layouts_do_what_their_names_say() {
    for (layout, sign, at_least) in [
        (Layout::Spaced, "\": ", 130_000),
        (Layout::Escaped, "\\u00", 25_000),
        (Layout::Unknown, "\"debug\":{", 9_990),
        (Layout::Reversed, "{\"schemaVersion\":1,\"priceMicros\":", 9_900),
    ] {
        let text = std::fs::read_to_string(run(10_000, 6, 0, layout).lines).unwrap();
        let met = text.matches(sign).count();
        assert!(met >= at_least, "{layout:?}: {met}");
    }
}

#[test]
fn check_finds_every_kind_of_difference() {
    let head = "bucketStart,campaignId,impressions,spendMicros\n";
    let truth = "2026-11-01T00:00:00Z,a,2,10\n2026-11-01T00:00:00Z,b,1,5\n2026-11-01T00:01:00Z,a,1,5\n";
    let other_head = "campaignId,impressions,bucketStart,currency,spendMicros\n";
    let cases: &[(&str, &str, Option<u64>)] = &[
        (head, truth, Some(0)),
        (head, "2026-11-01T00:00:00Z,b,1,5\n2026-11-01T00:00:00Z,a,2,10\n2026-11-01T00:01:00Z,a,1,5\n", Some(0)),
        (
            other_head,
            "a,2,2026-11-01T00:00:00+00:00,USD,10\r\n\"b\",1,2026-11-01T00:00:00.000Z,USD,5\nz,0,2026-11-01T00:00:00Z,,0\na,1,2026-11-01T00:01:00Z,USD,5\n",
            Some(0),
        ),
        (head, "", Some(3)),
        (head, "2026-11-01T00:00:00Z,a,2,10\n2026-11-01T00:01:00Z,a,1,5\n", Some(1)),
        (head, "2026-11-01T00:00:00Z,a,2,11\n2026-11-01T00:00:00Z,b,1,5\n2026-11-01T00:01:00Z,a,1,5\n", Some(1)),
        (head, "2026-11-01T00:00:00Z,a,2,10\n2026-11-01T00:00:00Z,c,1,5\n2026-11-01T00:01:00Z,a,1,5\n", Some(2)),
        (
            head,
            "2026-11-01T00:00:00Z,a,2,10\n2026-11-01T00:00:00Z,a,2,10\n2026-11-01T00:00:00Z,b,1,5\n2026-11-01T00:01:00Z,a,1,5\n",
            Some(1),
        ),
        (head, "2026-11-01T00:01:00Z,a,1,5\n2026-11-01T00:00:00Z,b,1,5\n", None),
        (head, "2026-11-01T00:00:00Z,a,2,1.5\n", None),
        ("bucketStart,campaignId,impressions\n", "2026-11-01T00:00:00Z,a,2\n", None),
    ];
    let folder = tempfile::tempdir().unwrap();
    let (truth_path, report_path) = (folder.path().join("truth.csv"), folder.path().join("report.csv"));
    std::fs::write(&truth_path, format!("{head}{truth}")).unwrap();
    for (head, rows, want) in cases {
        std::fs::write(&report_path, format!("{head}{rows}")).unwrap();
        let found = check::compare(&truth_path, &report_path);
        assert_eq!(found.as_ref().ok().map(|c| c.differences), *want, "{head}{rows}{found:?}");
    }
}

#[test]
fn yahoo_truth_equals_a_naive_recount() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["b.ndjson", "b.truth.csv", "campaigns.toml"].map(|name| folder.path().join(name));
    for (gap_ms, skew) in [(10, false), (1, true)] {
        let plan = ysb::Plan { events: 30_000, seed: 3, start_ms: START_MS, gap_ms, skew };
        let outcome = ysb::write(&plan, &paths[0], &paths[1], &paths[2]).unwrap();
        let mut campaign_of = HashMap::new();
        let mut campaign = String::new();
        for line in std::fs::read_to_string(&paths[2]).unwrap().lines() {
            if let Some(id) = line.strip_prefix("[campaigns.\"") {
                campaign = id.trim_end_matches("\"]").to_owned();
            }
            for ad in line.strip_prefix("ads = ").unwrap_or_default().split(['[', ']', ',', ' ', '"']) {
                campaign_of.insert(ad.to_owned(), campaign.clone());
            }
        }
        let mut rows: BTreeMap<(i64, String), u64> = BTreeMap::new();
        for line in std::fs::read_to_string(&paths[0]).unwrap().lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            if event["event_type"] == "view" {
                let at_ms: i64 = event["event_time"].as_str().unwrap().parse().unwrap();
                let campaign = campaign_of[event["ad_id"].as_str().unwrap()].clone();
                *rows.entry((at_ms / 10_000, campaign)).or_default() += 1;
            }
        }
        let want: Vec<(String, u64)> = rows.into_iter().map(|((_, campaign), views)| (campaign, views)).collect();
        let truth = std::fs::read_to_string(&paths[1]).unwrap();
        let got: Vec<(String, u64)> = truth
            .lines()
            .skip(1)
            .map(|line| {
                let cells: Vec<&str> = line.split(',').collect();
                assert!(cells[0].ends_with("0Z"), "a window starts at a multiple of ten seconds: {line}");
                (cells[1].to_owned(), cells[2].parse().unwrap())
            })
            .collect();
        assert_eq!(got, want);
        assert_eq!(outcome.views, want.iter().map(|(_, views)| views).sum::<u64>());
        assert!((9_500..10_500).contains(&outcome.views), "{}", outcome.views);
    }
}
