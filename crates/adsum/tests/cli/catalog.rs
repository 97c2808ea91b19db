//! `catalog show` and `catalog check`: which catalog may follow which.

use serde_json::{Value, json};

use crate::place::Place;

const CONFIG: &str = "\
[dimensions.siteSection]
id = 1000
[event_types.viewable]
id = 1000
";

/// An edit of a catalog, and what must be said of it; nothing: it may follow.
type Case = (&'static str, fn(&mut Value), &'static [&'static str]);

fn entry<'a>(catalog: &'a mut Value, list: &str, name: &str) -> &'a mut Value {
    let entries = catalog[list].as_array_mut().unwrap();
    entries.iter_mut().find(|entry| entry["name"] == name).unwrap()
}

fn remove(catalog: &mut Value, list: &str, name: &str) {
    catalog[list].as_array_mut().unwrap().retain(|entry| entry["name"] != name);
}

const CASES: &[Case] = &[
    ("the same", |_| {}, &[]),
    ("another limit", |c| entry(c, "dimensions", "country")["limit"] = json!(5), &[]),
    ("other words", |c| entry(c, "dimensions", "country")["doc"] = json!("where"), &[]),
    ("another rollup", |c| c["rollups"] = json!([["country"]]), &[]),
    (
        "a new dimension",
        |c| {
            let mut new = entry(c, "dimensions", "siteSection").clone();
            (new["id"], new["name"], new["from"]) = (json!(1001), json!("tier"), json!("tier"));
            c["dimensions"].as_array_mut().unwrap().push(new);
        },
        &[],
    ),
    ("a schema version more", |c| c["schemaVersions"] = json!([1, 2]), &[]),
    (
        "an id reused",
        |c| entry(c, "dimensions", "siteSection")["name"] = json!("tier"),
        &["1000", "siteSection", "tier"],
    ),
    ("another id", |c| entry(c, "dimensions", "siteSection")["id"] = json!(1001), &["siteSection", "1000"]),
    (
        "taken from elsewhere",
        |c| entry(c, "dimensions", "siteSection")["from"] = json!("part"),
        &["siteSection", "part"],
    ),
    ("a dimension dropped", |c| remove(c, "dimensions", "siteSection"), &["siteSection", "dropped"]),
    ("a built-in dimension dropped", |c| remove(c, "dimensions", "country"), &["country", "dropped"]),
    ("an event type dropped", |c| remove(c, "eventTypes", "viewable"), &["viewable", "dropped"]),
    (
        "an event type's id reused",
        |c| entry(c, "eventTypes", "viewable")["name"] = json!("seen"),
        &["viewable", "seen"],
    ),
    ("a count renamed", |c| entry(c, "eventTypes", "viewable")["plural"] = json!("seen"), &["viewable", "seen"]),
    ("a metric dropped", |c| remove(c, "metrics", "spendMicros"), &["spendMicros", "dropped"]),
    (
        "a metric's kind changed",
        |c| entry(c, "metrics", "spendMicros")["kind"] = json!("count"),
        &["spendMicros", "count"],
    ),
    ("a field's type changed", |c| entry(c, "fields", "priceMicros")["type"] = json!("text"), &["priceMicros", "text"]),
    (
        "no content any more",
        |c| entry(c, "fields", "priceMicros")["content"] = json!(false),
        &["priceMicros", "content"],
    ),
    ("a schema version dropped", |c| c["schemaVersions"] = json!([2]), &["schema version 1"]),
    ("buckets of another length", |c| c["bucketSeconds"] = json!(10), &["bucket_seconds", "60", "10"]),
];

#[test]
fn table_of_catalogs_that_follow() {
    let place = Place::new();
    place.write("old.toml", CONFIG);
    let old = place.run(&["catalog", "show", "--json", "--config", "old.toml"]).ok();
    place.write("old.json", &old);
    for (what, edit, words) in CASES {
        let mut new: Value = serde_json::from_str(&old).unwrap();
        edit(&mut new);
        place.write("new.json", new.to_string());
        for old in ["old.json", "old.toml"] {
            let run = place.run(&["catalog", "check", old, "new.json"]);
            if words.is_empty() {
                assert_eq!((what, run.ok().as_str()), (what, "compatible\n"));
            } else {
                println!("{what}");
                run.fails(1, words);
            }
        }
    }
}

#[test]
fn configurations_are_compared_as_they_are() {
    let place = Place::new();
    place.write("old.toml", CONFIG);
    place.write("more.toml", format!("{CONFIG}[dimensions.tier]\nid = 1001\n"));
    place.write("less.toml", "");
    place.write("ten.toml", format!("bucket_seconds = 10\n{CONFIG}"));
    let check = |old: &str, new: &str| place.run(&["catalog", "check", old, new]);
    assert_eq!(check("old.toml", "more.toml").ok(), "compatible\n");
    check("more.toml", "old.toml").fails(1, &["tier", "1001", "dropped", "old.toml"]);
    check("old.toml", "less.toml").fails(1, &["siteSection", "viewable"]);
    check("old.toml", "ten.toml").fails(1, &["bucket_seconds"]);
    check("old.toml", "missing.toml").fails(1, &["missing.toml"]);
    place.write("no.json", "{}");
    check("old.toml", "no.json").fails(1, &["no.json"]);
}

#[test]
fn what_is_shown() {
    let place = Place::new();
    let table = place.run(&["catalog", "show"]).ok();
    for word in [
        "campaignId",
        "impressions",
        "spendMicros",
        "outOfFlight",
        "lateEvents",
        "campaignId x publisherId x country x deviceType",
        "occurredAt",
    ] {
        assert!(table.contains(word), "{word}");
    }
    assert!(!table.contains('$'), "what only adsum writes is not shown");
}
