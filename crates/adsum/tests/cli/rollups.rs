//! Which rollup answers: the smallest that covers the question and has seen everything, or none.

use crate::events::{Event, text};
use crate::place::{Place, lines, sum};

fn event(id: &str, country: &str) -> Event {
    Event::new(id).with("country", country).with("publisherId", "pub_1").with("deviceType", "mobile")
}

#[test]
fn what_no_rollup_covers_is_refused_with_what_there_is() {
    let place = Place::new();
    place.write("events.ndjson", text(&[event("1", "US")]));
    place.import(&["events.ndjson"]);
    let sets = ["campaignId x publisherId x country x deviceType", "campaignId x adId x placementId x country"];
    for args in [
        &["--by", "publisherId,adId"][..],
        &["--by", "publisherId", "--filter", "adId=ad_1"],
        &["--by", "campaignId", "--filter", "placementId=p", "--filter", "deviceType=mobile"],
    ] {
        place.run(&[&["report"], args].concat()).fails(1, &sets);
    }
    // Every rollup adds up to the same.
    for by in ["publisherId", "adId", "country", "campaignId,publisherId,country,deviceType", "placementId,adId"] {
        assert_eq!(sum(&place.report(&["--by", by]), "impressions"), 1, "{by}");
    }
}

#[test]
fn a_rollup_that_came_later_lacks_what_came_before() {
    let place = Place::new();
    place.write("old.toml", "rollups = [[\"campaignId\"]]\n");
    place.write("new.toml", "rollups = [[\"campaignId\"], [\"campaignId\", \"country\"]]\n");
    place.write("first.ndjson", text(&[event("1", "US"), event("2", "DE")]));
    place.write("second.ndjson", text(&[event("3", "US")]));
    place.import(&["--config", "old.toml", "first.ndjson"]);
    place.run(&["report", "--config", "old.toml", "--by", "country"]).fails(1, &["no rollup", "campaignId"]);

    let lacks = ["campaignId x country", "added after the first events"];
    place.run(&["report", "--config", "new.toml", "--by", "country"]).fails(1, &lacks);
    assert_eq!(place.import(&["--config", "new.toml", "second.ndjson"]).figures.counted, 1);
    place.run(&["report", "--config", "new.toml", "--by", "country"]).fails(1, &lacks);
    place.run(&["report", "--config", "new.toml", "--filter", "country=US"]).fails(1, &lacks);
    // What is whole answers, though it is asked with the new configuration.
    let campaigns = |config: &str| place.report(&["--config", config, "--granularity", "day"]);
    assert_eq!(lines(&campaigns("new.toml"), &["campaignId", "impressions"]), ["2026-11-20T00:00:00Z camp_1 3"]);
    assert_eq!(campaigns("old.toml"), campaigns("new.toml"));
    // Dropped for a while it lacks what came then, and says so when it is back.
    place.write("third.ndjson", text(&[event("4", "US")]));
    place.import(&["--config", "old.toml", "third.ndjson"]);
    place.run(&["report", "--config", "new.toml", "--by", "country"]).fails(1, &lacks);
    assert_eq!(sum(&campaigns("new.toml"), "impressions"), 4);
}

#[test]
fn a_rollup_that_was_there_from_the_beginning_and_dropped_for_a_while() {
    let place = Place::new();
    place.write("both.toml", "rollups = [[\"campaignId\"], [\"country\"]]\n");
    place.write("one.toml", "rollups = [[\"campaignId\"]]\n");
    for (i, config) in ["both.toml", "one.toml", "both.toml"].into_iter().enumerate() {
        place.write("events.ndjson", text(&[event(&i.to_string(), "US")]));
        place.import(&["--config", config, "events.ndjson"]);
    }
    // A number that lacks one of the three would be a lie.
    let args = ["report", "--config", "both.toml", "--by", "country"];
    place.run(&args).fails(1, &["country", "added after the first events"]);
    assert_eq!(sum(&place.report(&["--config", "both.toml"]), "impressions"), 3);
}

#[test]
fn buckets_of_another_length_are_another_rollup() {
    let place = Place::new();
    place.write("ten.toml", "bucket_seconds = 10\n");
    place.write("events.ndjson", text(&[event("1", "US")]));
    place.import(&["events.ndjson"]);
    place.run(&["report", "--config", "ten.toml"]).fails(1, &["campaignId", "added after the first events"]);
    assert_eq!(sum(&place.report(&[]), "impressions"), 1);
}

#[test]
fn a_metric_that_came_later_says_since_when_it_counts() {
    let place = Place::new();
    place.write("old.toml", "");
    place.write("new.toml", "[event_types.install]\nid = 1000\n");
    place.write("first.ndjson", text(&[event("1", "US")]));
    place.write("second.ndjson", text(&[event("2", "US").with("eventType", "install"), event("3", "US")]));
    let since = |config: &str| {
        let answer = place.run(&["report", "--json", "--config", config]).ok();
        serde_json::from_str::<serde_json::Value>(&answer).unwrap()["meta"]["metricsSince"].clone()
    };
    place.import(&["--config", "old.toml", "first.ndjson"]);
    assert_eq!(since("old.toml"), serde_json::Value::Null);
    place.import(&["--config", "new.toml", "second.ndjson"]);
    // The first import was of the revisions 1 to 3: its beginning, its events, its end.
    assert_eq!(since("new.toml"), serde_json::json!({ "installs": "rev_4" }));
    assert_eq!(
        lines(&place.report(&["--config", "new.toml", "--granularity", "day"]), &["impressions", "installs"]),
        ["2026-11-20T00:00:00Z 2 1"]
    );
}
