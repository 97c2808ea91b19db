//! An event id that is used again: the first stands, the same again is a duplicate, anything else is a conflict.

use serde_json::Value;

use crate::events::{Event, text};
use crate::place::{Figures, Place, lines, sum};

/// Three ids, each used again in another way, and a good neighbour.
fn events() -> String {
    let first = |id: &str| Event::new(id).with("eventType", "click").with("impressionId", "imp_1");
    text(&[
        first("one"),
        first("two"),
        first("three"),
        first("one").with("impressionId", "imp_2"),
        first("two").with("campaignId", "camp_2"),
        first("three").at("2026-11-20T11:00:00Z"),
        first("four"),
        first("one"),
        first("four").at("2026-11-20T11:00:00+01:00"),
    ])
}

const WANT: Figures = Figures { received: 9, rejected: 0, counted: 4, duplicates: 2, conflicts: 3, quarantined: 3 };

/// The entries of `quarantine list`.
fn entries(place: &Place, args: &[&str]) -> Vec<Value> {
    let text = place.run(&[&["quarantine", "list", "--format", "ndjson"], args].concat()).ok();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(entries: &[Value]) -> Vec<(&str, &str)> {
    (entries.iter()).map(|e| (e["eventId"].as_str().unwrap_or("-"), e["reason"].as_str().unwrap())).collect()
}

fn check(workers: &str) {
    let place = Place::new();
    place.write("events.ndjson", events());
    assert_eq!(place.import(&["--workers", workers, "events.ndjson"]).figures, WANT);
    let rows = place.report(&["--granularity", "day", "--by", "campaignId"]);
    assert_eq!(lines(&rows, &["campaignId", "clicks"]), ["2026-11-20T00:00:00Z camp_1 4"]);
    let held = entries(&place, &[]);
    assert_eq!(names(&held), [("one", "conflict"), ("two", "conflict"), ("three", "conflict")]);
    let ids: Vec<&str> = held.iter().map(|e| e["id"].as_str().unwrap()).collect();
    let shown: Value = serde_json::from_str(&place.run(&["quarantine", "show", ids[0]]).ok()).unwrap();
    assert_eq!(shown["event"]["impressionId"], "imp_2");
    assert_eq!(shown["reason"], "conflict");

    // A conflict stays one, however often it is taken up again, and changes no number.
    for args in [&["--all"][..], &ids[..1]] {
        let run = place.run(&[&["quarantine", "replay", "--json", "--workers", workers], args].concat());
        let answer: Value = serde_json::from_str(&run.ok()).unwrap();
        let asked = if args == ["--all"] { 3 } else { 1 };
        assert_eq!((&answer["replayed"], &answer["released"]), (&asked.into(), &0.into()), "{answer}");
    }
    assert_eq!(entries(&place, &[]).len(), 3);
    assert_eq!(place.report(&["--granularity", "day"]), rows, "a replay that changes nothing moves no revision");
    assert_eq!(place.doctor(&[])["ledger"]["import"]["conflicts"], 3);
}

#[test]
fn the_first_stands_at_any_number_of_workers() {
    for workers in ["1", "2", "5"] {
        check(workers);
    }
}

#[test]
fn a_conflict_is_one_across_imports_and_files() {
    let place = Place::new();
    place.write("first.ndjson", text(&[Event::new("a"), Event::new("b")]));
    place.write("second.ndjson", text(&[Event::new("a").with("adId", "ad_2"), Event::new("b")]));
    assert_eq!(place.import(&["first.ndjson"]).figures.counted, 2);
    let again = place.import(&["second.ndjson"]).figures;
    assert_eq!((again.counted, again.duplicates, again.conflicts), (0, 1, 1));
    // Under another source's name the same ids are other events.
    assert_eq!(place.import(&["--source", "other", "second.ndjson"]).figures.counted, 2);
    assert_eq!(sum(&place.report(&["--granularity", "day"]), "impressions"), 4);
}

#[test]
fn a_replay_takes_up_what_is_countable_now() {
    let place = Place::new();
    place.write("euro.toml", "[campaigns.camp_1]\ncurrency = \"EUR\"\n");
    let dollars = Event::new("dollars").with("currency", "USD").with_json("priceMicros", "5");
    let file = format!("{}no event\n", text(&[dollars]));
    place.write("events.ndjson", file);
    let figures = place.import(&["--config", "euro.toml", "events.ndjson"]).figures;
    assert_eq!((figures.rejected, figures.counted, figures.conflicts, figures.quarantined), (1, 0, 0, 1));
    let held = entries(&place, &[]);
    assert_eq!(names(&held), [("dollars", "foreign_currency"), ("-", "rejected")]);
    assert_eq!(names(&entries(&place, &["--reason", "rejected"])), [("-", "rejected")]);
    assert_eq!(names(&entries(&place, &["--limit", "1"])), [("dollars", "foreign_currency")]);
    let (dollars, rejected) = (held[0]["id"].as_str().unwrap(), held[1]["id"].as_str().unwrap());
    assert_eq!(names(&entries(&place, &["--after", dollars])), [("-", "rejected")]);
    let shown: Value = serde_json::from_str(&place.run(&["quarantine", "show", rejected]).ok()).unwrap();
    assert_eq!((&shown["raw"], &shown["code"]), (&"no event".into(), &"invalid_json".into()));

    // While the campaign pays in euros it stays; once it pays in dollars the event counts.
    let replay = |config: &[&str]| -> Value {
        let args = [&["quarantine", "replay", "--json", "--all"], config].concat();
        serde_json::from_str(&place.run(&args).ok()).unwrap()
    };
    assert_eq!(replay(&["--config", "euro.toml"])["released"], 0);
    assert_eq!(replay(&[])["released"], 1);
    assert_eq!(names(&entries(&place, &[])), [("-", "rejected")]);
    let rows = place.report(&["--granularity", "day", "--by", "campaignId"]);
    let texts = lines(&rows, &["campaignId", "currency", "impressions", "spendMicros"]);
    assert_eq!(texts, ["2026-11-20T00:00:00Z camp_1 USD 1 5"]);
    assert_eq!(place.import(&["events.ndjson"]).figures.duplicates, 1);

    place.run(&["quarantine", "replay", rejected]).fails_after_output(&["nothing was replayed"]);
    place.run(&["quarantine", "show", dollars]).fails(1, &[dollars, "not in quarantine"]);
    place.run(&["quarantine", "show", "17"]).fails(1, &["17", "qr_"]);
    place.run(&["quarantine", "list", "--reason", "mood"]).fails(1, &["--reason", "mood"]);
    place.run(&["quarantine", "replay"]).fails(2, &["ID"]);
}

#[test]
fn a_csv_is_one_and_holds_no_formulas() {
    let place = Place::new();
    let formula = Event::new("=1+1").with("currency", "EUR");
    place.write("euro.toml", "[campaigns.camp_1]\ncurrency = \"USD\"\n");
    place.write("events.ndjson", format!("{}no event\n", text(&[formula])));
    place.import(&["--config", "euro.toml", "events.ndjson"]);
    let csv = place.run(&["quarantine", "list", "--format", "csv"]).ok();
    let lines: Vec<Vec<&str>> = csv.split_terminator("\r\n").map(|line| line.split(',').collect()).collect();
    let cells = |line: usize, columns: [usize; 3]| columns.map(|column| lines[line][column]);
    assert_eq!(lines.len(), 3, "{csv}");
    assert_eq!(lines[0], ["id", "reason", "receivedAt", "source", "code", "param", "eventId", "occurredAt"]);
    assert_eq!(cells(1, [1, 4, 6]), ["foreign_currency", "", "\"'=1+1\""]);
    assert_eq!(cells(2, [1, 4, 6]), ["rejected", "invalid_json", ""]);
}
