//! The configuration: what every section of it does, and what is said of a wrong one.

use crate::events::{Event, text};
use crate::place::{Figures, Place, lines, sum};

/// Every section and every key, used once.
const EVERYTHING: &str = r#"
bucket_seconds = 10
required = ["eventId", "eventType", "occurredAt"]
rollups = [["campaignId", "siteSection", "tier"], ["country", "brand", "creativeId"]]
workers = 2

[time]
future_seconds = 60
horizon_seconds = 86400
disorder_seconds = 5
idle_seconds = 30

[log]
segment_bytes = 100000
verify_bytes = 200000

[checkpoint]
records = 1000
cells = 1000
frames = 3

[import]
chunk_bytes = 500
frame_bytes = 2000

[fields]
id = "eventId"
kind = { to = "eventType", values = { view = "impression", buy = "conversion" } }
ts = { to = "occurredAt", time = "epoch_ms" }
geo = { to = "country", values = { UK = "GB" } }

[dimensions.siteSection]
id = 1000
field = "section"
nulls = "keep"
limit = 100
doc = "The part of the site."

[dimensions.brand]
id = 1001
attribute = "brand"
nulls = { replace = "none" }
limit = 2

[dimensions.tier]
id = 1002
nulls = "reject"

[event_types.viewable]
id = 1000
plural = "viewables"
required = ["position"]
doc = "An ad was seen."

[event_types.conversion]
required = ["valueMicros"]

[[dedupe]]
event_types = ["click"]
key = ["impressionId", "clickOrdinal"]
content = ["campaignId"]

[[dedupe]]
sources = ["web", "server"]
event_types = ["viewable"]
group = "both"
key = ["impressionId"]
since = "2026-01-01T00:00:00Z"

[[dedupe]]
event_types = ["impression"]
sources = ["firehose"]
off = true

[[dedupe]]
event_types = ["conversion"]
key = ["adId", "userId"]
time_bucket_seconds = 3600
content = ["campaignId", "valueMicros"]

[campaign_defaults]
currency = "USD"
unknown = "reject"

[campaigns.camp_1]

[campaigns.clicks]
billable = "cpc"
currency = "EUR"
ads = ["ad_7", "ad_8"]

[campaigns.sales]
billable = "cpa"
currency = "JPY"
"#;

/// An impression of `camp_1` in the sender's words.
fn sent(id: &str) -> Event {
    Event::new(id)
        .without("eventId")
        .without("eventType")
        .without("occurredAt")
        .with("id", id)
        .with("kind", "view")
        .with_json("ts", "1795168812345")
        .with("tier", "gold")
}

fn place() -> Place {
    let place = Place::new();
    place.write("all.toml", EVERYTHING);
    assert_eq!(place.run(&["config", "check", "--config", "all.toml"]).ok(), "all.toml: ok\n");
    place
}

fn import(place: &Place, source: &str, events: &[Event]) -> Figures {
    place.write("events.ndjson", text(events));
    place.import(&["--config", "all.toml", "--source", source, "events.ndjson"]).figures
}

fn report(place: &Place, by: &str, names: &[&str]) -> Vec<String> {
    lines(&place.report(&["--config", "all.toml", "--granularity", "bucket", "--by", by]), names)
}

#[test]
fn names_values_times_and_dimensions() {
    let place = place();
    let events = [
        sent("1").with("section", "home").with("geo", "UK").with_json("attributes", r#"{"brand":"acme"}"#),
        sent("2").with("section", "home").with("country", "GB").with_json("attributes", r#"{"brand":null}"#),
        // Times may be quoted; a minute has six buckets.
        sent("3").with("ts", "1795168819999").with("geo", "US").with_json("attributes", r#"{"brand":"b2"}"#),
        sent("4").with_json("ts", "1795168820000").with_json("attributes", r#"{"brand":"b3"}"#),
        sent("5").without("tier"),
        sent("6").with("kind", "viewable"),
        sent("7").with("kind", "viewable").with_json("position", "1"),
        sent("8").with_json("ts", "\"soon\""),
    ];
    let figures = import(&place, "app", &events);
    assert_eq!(figures, Figures { received: 8, rejected: 3, counted: 5, ..Figures::default() });
    let at = |second: u32| format!("2026-11-20T10:00:{second:02}Z");
    // 1795168812.345 is 2026-11-20T10:00:12.345Z.
    let sections = report(&place, "siteSection,tier", &["siteSection", "tier", "impressions", "viewables"]);
    let want =
        [format!("{} null gold 1 1", at(10)), format!("{} home gold 2 0", at(10)), format!("{} null gold 1 0", at(20))];
    assert_eq!(sections, want);
    let brands = report(&place, "brand,country", &["brand", "country", "impressions"]);
    // The third value of a dimension with a limit of two counts as other; what stands for a missing one is a value.
    let want = [
        format!("{} acme GB 1", at(10)),
        format!("{} other US 1", at(10)),
        format!("{} none null 0", at(10)),
        format!("{} none GB 1", at(10)),
        format!("{} other null 1", at(20)),
    ];
    let sorted = |lines: &[String]| {
        let mut lines = lines.to_vec();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&brands), sorted(&want));
    let listed = place.run(&["quarantine", "list", "--config", "all.toml", "--format", "ndjson"]).ok();
    for (code, param) in [("missing_field", "tier"), ("missing_field", "position"), ("invalid_time", "occurredAt")] {
        let found = listed.lines().any(|l| l.contains(&format!("\"code\":\"{code}\"")) && l.contains(param));
        assert!(found, "no {code} of {param} in {listed}");
    }
}

#[test]
fn rules_that_say_which_events_are_the_same() {
    let place = place();
    let click = |id: &str, imp: &str, ordinal: &str| {
        sent(id).with("kind", "click").with("impressionId", imp).with_json("clickOrdinal", ordinal)
    };
    let clicks = [
        click("1", "imp_1", "1"),
        click("2", "imp_1", "1"),
        click("3", "imp_1", "2"),
        click("1", "imp_2", "1"),
        click("4", "imp_2", "1").with("campaignId", "clicks"),
        click("5", "imp_3", "1").without("clickOrdinal"),
    ];
    let want = Figures { received: 6, rejected: 1, counted: 3, duplicates: 1, conflicts: 1, quarantined: 1 };
    assert_eq!(import(&place, "app", &clicks), want);

    // Two sources of one group share their keys; a third one has its own rule.
    let seen = |id: &str| sent(id).with("kind", "viewable").with_json("position", "1").with("impressionId", "imp_1");
    assert_eq!(import(&place, "web", &[seen("a")]).counted, 1);
    assert_eq!(import(&place, "server", &[seen("b")]).duplicates, 1);
    assert_eq!(import(&place, "app", &[seen("b")]).counted, 1);
    assert_eq!(import(&place, "server", &[seen("c").with("adId", "ad_9")]).conflicts, 1);
    // Before the rule began the event id decided.
    let before = |id: &str| seen(id).with_json("ts", "1700000000000");
    assert_eq!(import(&place, "server", &[before("d"), before("e"), before("e")]).counted, 2);

    assert_eq!(import(&place, "firehose", &[sent("x"), sent("x"), sent("x")]).counted, 3);
    assert_eq!(import(&place, "app", &[sent("x"), sent("x"), sent("x")]).duplicates, 2);

    let sale = |id: &str, ts: &str, value: &str| {
        let sale = sent(id).with("kind", "buy").with("adId", "ad_1").with("userId", "u_1");
        sale.with_json("ts", ts).with_json("valueMicros", value)
    };
    let sales = [
        sale("s1", "1795168800000", "5"),
        sale("s2", "1795172399999", "5"),
        sale("s3", "1795172399999", "6"),
        sale("s4", "1795172400000", "7"),
        sale("s5", "1795172400000", "7").without("userId"),
    ];
    let want = Figures { received: 5, rejected: 1, counted: 2, duplicates: 1, conflicts: 1, quarantined: 1 };
    assert_eq!(import(&place, "app", &sales), want);
}

#[test]
fn campaigns_currencies_and_what_they_pay_for() {
    let place = place();
    let priced = |id: &str, kind: &str, price: &str| sent(id).with("kind", kind).with_json("priceMicros", price);
    let sale = priced("9", "buy", "1000000").with_json("valueMicros", "70").with("campaignId", "sales");
    let events = [
        priced("1", "view", "3"),
        sent("2"),
        priced("3", "view", "5").with("currency", "USD"),
        priced("4", "view", "5").with("currency", "EUR"),
        // Of a campaign that pays for clicks; the campaign is found from the ad.
        priced("5", "view", "100").without("campaignId").with("adId", "ad_7"),
        priced("6", "click", "11")
            .without("campaignId")
            .with("adId", "ad_8")
            .with("impressionId", "i")
            .with_json("clickOrdinal", "1"),
        priced("7", "view", "3").with("campaignId", "nobody"),
        priced("8", "view", "3").without("campaignId"),
        sale.clone().with("adId", "ad_1").with("userId", "u_1"),
    ];
    let want = Figures { received: 9, rejected: 2, counted: 6, duplicates: 0, conflicts: 0, quarantined: 1 };
    assert_eq!(import(&place, "app", &events), want);
    let rows = place.report(&["--config", "all.toml", "--granularity", "day", "--by", "campaignId"]);
    let names =
        ["campaignId", "currency", "impressions", "clicks", "conversions", "spendMicros", "valueMicros", "unpriced"];
    assert_eq!(
        lines(&rows, &names),
        [
            "2026-11-20T00:00:00Z camp_1 USD 3 0 0 8 0 1",
            "2026-11-20T00:00:00Z clicks EUR 1 1 0 11 0 0",
            "2026-11-20T00:00:00Z sales JPY 0 0 1 1000000 70 0",
        ]
    );
    let doctor = place.doctor(&["--config", "all.toml"]);
    assert_eq!(doctor["ledger"]["app"]["foreignCurrency"], 1);
}

#[test]
fn a_campaign_changes_from_a_moment_on_and_keeps_what_a_change_does_not_name() {
    let place = Place::new();
    let config = r#"
        [campaigns.camp_1]
        billable = "cpc"
        start = "2026-11-20T06:00:00Z"
        [[campaigns.camp_1.history]]
        from = "2026-11-20T08:00:00Z"
        billable = "cpm"
        [[campaigns.camp_1.history]]
        from = "2026-11-20T10:00:00Z"
        status = "paused"
        [[campaigns.camp_1.history]]
        from = "2026-11-20T12:00:00Z"
        status = "active"
        end = "2026-11-20T13:00:00Z"
    "#;
    place.write("history.toml", config);
    let hours = ["05", "06", "07", "08", "09", "10", "11", "12", "13"];
    let events = hours.iter().flat_map(|hour| {
        ["impression", "click"].map(|kind| {
            let event = Event::new(&format!("{hour}{kind}")).with("eventType", kind);
            let event = event.with("occurredAt", &format!("2026-11-20T{hour}:30:00Z"));
            event.with_json("priceMicros", if kind == "click" { "100" } else { "3" })
        })
    });
    place.write("events.ndjson", text(&events.collect::<Vec<_>>()));
    place.import(&["--config", "history.toml", "events.ndjson"]);
    let rows = place.report(&["--config", "history.toml", "--granularity", "hour"]);
    // Clicks at 100 before 8, impressions at 3 from then on; flagged: before the start, paused, behind the end.
    let want: Vec<String> = [(100, 2), (100, 0), (100, 0), (3, 0), (3, 0), (3, 2), (3, 2), (3, 0), (3, 2)]
        .iter()
        .zip(hours)
        .map(|((spend, flagged), hour)| format!("2026-11-20T{hour}:00:00Z {spend} {flagged}"))
        .collect();
    assert_eq!(lines(&rows, &["spendMicros", "outOfFlight"]), want);
}

#[test]
fn small_steps_end_where_great_ones_do() {
    let place = place();
    let events: Vec<Event> = (0..500)
        .map(|i| sent(&format!("e{i}")).with_json("ts", &(1_795_168_800_000_u64 + i * 977).to_string()))
        .collect();
    assert_eq!(import(&place, "app", &events).counted, 500);
    let small = place.report(&["--config", "all.toml", "--granularity", "minute", "--by", "campaignId"]);
    let segments = std::fs::read_dir(place.path("data/log")).unwrap().count();
    assert!(segments > 1, "a new segment begins when one is full");
    assert_eq!(sum(&small, "impressions"), 500);
}

/// Wrong configurations, and what must stand in the message.
const WRONG: &[(&str, &[&str])] = &[
    ("bucket_seconds = 7", &["bucket_seconds", "7", "60"]),
    ("bucket_seconds = 0", &["bucket_seconds"]),
    ("bucket_seconds = \"60\"", &["bucket_seconds"]),
    ("bucket_second = 60", &["bucket_second"]),
    ("required = [\"eventId\", \"mood\", \"eventType\", \"occurredAt\"]", &["required", "mood"]),
    ("required = [\"eventId\"]", &["required", "eventType"]),
    ("required = [\"eventType\", \"occurredAt\", \"$raw\"]", &["required", "$raw"]),
    ("rollups = []", &["rollups"]),
    ("rollups = [[]]", &["rollups.0"]),
    ("rollups = [[\"campaignId\"], [\"mood\"]]", &["rollups.1", "mood"]),
    ("rollups = [[\"country\", \"country\"]]", &["rollups.0", "country", "twice"]),
    ("workers = -1", &["workers"]),
    ("memory_limit = \"lots\"", &["memory_limit", "lots"]),
    ("memory_limit = \"100 MiB\"", &["memory_limit", "the least that works is 184 MiB"]),
    ("memory_limit = \"256 MiB\"\n[checkpoint]\ncells = 1000000", &["memory_limit", "checkpoint", "1480 MiB"]),
    ("[time]\nfuture_seconds = -5", &["future_seconds"]),
    ("[time]\nfuture = 5", &["future"]),
    ("[log]\nsegment_bytes = \"many\"", &["segment_bytes"]),
    ("[checkpoint]\nminutes = 5", &["minutes"]),
    ("[import]\nchunk_bytes = 1.5", &["chunk_bytes"]),
    ("[import]\nframe_bytes = 1000000000", &["import.frame_bytes", "1000000000"]),
    ("[fields]\nx = \"mood\"", &["fields.x", "mood"]),
    ("[fields]\nx = \"country\"\ny = \"country\"", &["fields.y"]),
    ("[fields]\nx = { to = \"country\", time = \"epoch_ms\" }", &["fields.x", "country", "time"]),
    ("[fields]\nx = { to = \"position\", values = { a = \"b\" } }", &["fields.x", "position"]),
    ("[fields]\nx = { to = \"occurredAt\", time = \"dog_years\" }", &["x"]),
    ("[fields]\nx = { time = \"epoch_ms\" }", &["x"]),
    ("[fields]\nx = \"$raw\"", &["fields.x", "$raw"]),
    ("[dimensions.a]\nid = 7", &["dimensions.a.id", "1000"]),
    ("[dimensions.a]\nfield = \"a\"", &["id"]),
    ("[dimensions.a]\nid = 1000\n[dimensions.b]\nid = 1000", &["dimensions.b.id", "1000"]),
    ("[dimensions.a]\nid = 1000\nlimit = 0", &["dimensions.a.limit"]),
    ("[dimensions.country]\nlimit = 0", &["dimensions.country.limit"]),
    ("[dimensions.country]\nlimit = 7\nnulls = \"reject\"", &["dimensions.country", "only `limit`"]),
    ("[dimensions.a]\nid = 1000\nfield = \"x\"\nattribute = \"x\"", &["dimensions.a"]),
    ("[dimensions.a]\nid = 1000\nfield = \"priceMicros\"", &["dimensions.a.field", "priceMicros"]),
    ("[dimensions.a]\nid = 1000\nfield = \"country\"", &["dimensions.a.field"]),
    ("[dimensions.a]\nid = 1000\nnulls = \"drop\"", &["nulls"]),
    ("[dimensions.\"a b\"]\nid = 1000", &["dimensions.a b"]),
    ("[dimensions.country]\nid = 1000\nfield = \"land\"", &["dimensions.country"]),
    ("[event_types.seen]", &["event_types.seen.id"]),
    ("[event_types.seen]\nid = 5", &["event_types.seen.id", "1000"]),
    ("[event_types.a]\nid = 1000\n[event_types.b]\nid = 1000", &["event_types.b.id"]),
    ("[event_types.seen]\nid = 1000\nplural = \"clicks\"", &["event_types.seen"]),
    ("[event_types.seen]\nid = 1000\nplural = \"spendMicros\"", &["event_types.seen.plural"]),
    ("[event_types.seen]\nid = 1000\nrequired = [\"mood\"]", &["event_types.seen.required", "mood"]),
    ("[event_types.click]\nid = 1000", &["event_types.click"]),
    ("[[dedupe]]\nsources = [\"a\"]", &["dedupe.0"]),
    ("[[dedupe]]\nkey = [\"eventId\"]\noff = true", &["dedupe.0"]),
    ("[[dedupe]]\nkey = [\"mood\"]\ncontent = [\"adId\"]", &["dedupe.0.key", "mood"]),
    ("[[dedupe]]\nkey = [\"userAgent\"]\ncontent = [\"adId\"]", &["dedupe.0.key", "userAgent"]),
    ("[[dedupe]]\nkey = [\"impressionId\"]", &["dedupe.0.content"]),
    ("[[dedupe]]\noff = true\ngroup = \"g\"", &["dedupe.0.group"]),
    ("[[dedupe]]\nkey = [\"eventId\"]\nevent_types = [\"mood\"]", &["dedupe.0.event_types", "mood"]),
    ("[[dedupe]]\nkey = [\"eventId\"]\nsince = \"monday\"", &["dedupe.0.since", "monday"]),
    (
        "[[dedupe]]\nkey = [\"eventId\"]\ngroup = \"g\"\n[[dedupe]]\nkey = [\"clickId\"]\ngroup = \"g\"",
        &["dedupe.1.group"],
    ),
    ("[campaign_defaults]\ncurrency = \"dollars\"", &["campaign_defaults.currency", "dollars"]),
    ("[campaign_defaults]\nunknown = \"drop\"", &["unknown", "drop"]),
    ("[campaigns.c]\nbillable = \"cpx\"", &["campaigns.c.billable", "cpx"]),
    ("[campaigns.c]\ncurrency = \"eur\"", &["campaigns.c.currency", "eur"]),
    ("[campaigns.c]\nads = [\"x\"]\n[campaigns.d]\nads = [\"x\"]", &["campaigns", "\"x\""]),
    ("[campaigns.c]\nbudget = 5", &["budget"]),
    ("[campaigns.c]\nstatus = \"on\"", &["campaigns.c.status", "on", "paused"]),
    ("[campaigns.c]\nstart = \"monday\"", &["campaigns.c.start", "monday"]),
    (
        "[campaigns.c]\nstart = \"2026-11-21T00:00:00Z\"\nend = \"2026-11-21T01:00:00+01:00\"",
        &["campaigns.c.end", "behind the start"],
    ),
    ("[[campaigns.c.history]]\nbillable = \"cpc\"", &["from"]),
    ("[[campaigns.c.history]]\nfrom = \"noon\"", &["campaigns.c.history.0.from", "noon"]),
    (
        "[[campaigns.c.history]]\nfrom = \"2026-11-21T00:00:00Z\"\nbillable = \"cpx\"",
        &["campaigns.c.history.0.billable", "cpx"],
    ),
    (
        "[[campaigns.c.history]]\nfrom = \"2026-11-21T00:00:00Z\"\n[[campaigns.c.history]]\nfrom = \"2026-11-20T00:00:00Z\"",
        &["campaigns.c.history.1.from", "order"],
    ),
    ("[[campaigns.c.history]]\nfrom = \"2026-11-21T00:00:00Z\"\ncurrency = \"EUR\"", &["currency"]),
    ("this is no toml", &["wrong.toml"]),
];

#[test]
fn a_wrong_configuration_is_refused_by_the_name_of_its_key() {
    let place = Place::new();
    place.write("events.ndjson", text(&[Event::new("a")]));
    for (toml, words) in WRONG {
        place.write("wrong.toml", toml);
        place.run(&["config", "check", "--config", "wrong.toml"]).fails(1, words);
    }
    // What is wrong is found before anything is made.
    place.run(&["import", "--config", "wrong.toml", "events.ndjson"]).fails(1, &["wrong.toml"]);
    assert!(!place.path("data").exists());
    place.write("wrong.toml", WRONG[0].0);
    place.run(&["import", "--config", "wrong.toml", "events.ndjson"]).fails(1, WRONG[0].1);
    assert!(!place.path("data").exists());
    assert_eq!(place.run(&["config", "check"]).ok(), "the defaults: ok\n");
}
