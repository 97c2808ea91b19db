//! Dedupe keys: which events are the same under which rule, and the key itself against a second writing of it.
//!
//! Invariant: `key_of` is made from the documentation alone and calls nothing of the crate.

use std::hash::Hasher;

use adsum_model::catalog::{DedupeSpec, NullPolicy, TimeFormat};
use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128, SipHasher13 as SipHasher13_128};

use crate::content_hash::{content_of, uuid_of};
use crate::door::{Config, Facts, SECRET, SOURCE, dimension, line, mapped, names, rule};

/// A part's value, as the documentation has it.
enum Part<'a> {
    Text(&'a str),
    Uint(u64),
    Int(i64),
    Time(i64),
    Json(&'a str),
}

/// The key of a scope, names and values.
fn key_of(scope: &str, parts: &[(&str, Part<'_>)]) -> u128 {
    let mut hasher = SipHasher13::new_with_key(&SECRET);
    hasher.write(scope.as_bytes());
    for (name, _) in parts {
        hasher.write(&[&[0], name.as_bytes()].concat());
    }
    let mut bytes = hasher.finish().to_le_bytes().to_vec();
    for (_, part) in parts {
        let (letter, value) = match part {
            Part::Text(text) => match uuid_of(text) {
                Some(uuid) => (b'U', uuid.to_vec()),
                None => (b'T', [text.as_bytes(), &(text.len() as u32).to_le_bytes()].concat()),
            },
            Part::Json(text) => (b'J', [text.as_bytes(), &(text.len() as u32).to_le_bytes()].concat()),
            Part::Uint(n) => (b'P', n.to_le_bytes().to_vec()),
            Part::Int(n) => (b'M', n.to_le_bytes().to_vec()),
            Part::Time(n) => (b'I', n.to_le_bytes().to_vec()),
        };
        bytes.extend(value);
        bytes.push(letter);
    }
    let mut hasher = SipHasher13_128::new_with_key(&SECRET);
    hasher.write(&bytes);
    let hash = hasher.finish128();
    u128::from(hash.h1) | u128::from(hash.h2) << 64
}

fn under(rules: &[DedupeSpec]) -> Config {
    Config::with(|c| c.spec.dedupe = rules.to_vec())
}

fn grouped(sources: &[&str], group: &str, key: &[&str]) -> DedupeSpec {
    DedupeSpec { sources: names(sources), group: Some(group.to_owned()), ..rule(key, None) }
}

#[test]
fn table_of_keys() {
    let own = || DedupeSpec { sources: names(&[SOURCE]), ..rule(&["impressionId", "clickOrdinal"], Some(&["adId"])) };
    let user_minute = || DedupeSpec { time_bucket_seconds: 60, ..rule(&["adId", "userId"], Some(&[])) };
    let impression = ("impressionId", "\"0f8fad5b-d9cb-469f-a165-70867728950e\"");
    let uuid = || Part::Text("0f8fad5b-d9cb-469f-a165-70867728950e");
    let check = |name: &str, rules: &[DedupeSpec], members: &[(&str, &str)], want: u128, hex: &str| {
        let got = under(rules).event(SOURCE, &line(members)).key;
        assert_eq!((format!("{got:032x}"), format!("{want:032x}")), (hex.to_owned(), hex.to_owned()), "{name}");
    };
    check(
        "default",
        &[],
        &[],
        key_of("sssp_7", &[("eventId", Part::Text("evt_1"))]),
        "a805424896d2751fa9c62d595b8f8a35",
    );
    check(
        "uuid",
        &[],
        &[("eventId", impression.1)],
        key_of("sssp_7", &[("eventId", uuid())]),
        "f4672a6d827bb1b5f29afaa8401fa84e",
    );
    let want = key_of("sssp_7", &[("impressionId", uuid()), ("clickOrdinal", Part::Uint(2))]);
    check("parts", &[own()], &[impression, ("clickOrdinal", "2")], want, "cf4feb3f24712474fbb3709301e758c8");
    let want = key_of("gbeacons", &[("impressionId", uuid()), ("clickOrdinal", Part::Uint(2))]);
    let beacons = grouped(&[SOURCE], "beacons", &["impressionId", "clickOrdinal"]);
    check("group", &[beacons], &[impression, ("clickOrdinal", "2")], want, "a6727d33b43267eaff1cd191c23c2376");
    let minute = 1_795_248_316_i64.div_euclid(60);
    let want = key_of(
        "sssp_7",
        &[("adId", Part::Text("ad_1")), ("userId", Part::Text("u 1")), ("occurredAt/60", Part::Time(minute))],
    );
    check(
        "time bucket",
        &[user_minute()],
        &[("adId", "\"ad_1\""), ("userId", "\"u 1\"")],
        want,
        "745a3a83b1f49816cdd3b8f51245c6f5",
    );
    let every = rule(&["eventType", "occurredAt", "position", "attributes", "propensity"], Some(&[]));
    let want = key_of(
        "sssp_7",
        &[
            ("eventType", Part::Text("click")),
            ("occurredAt", Part::Time(1_795_248_316_000_000)),
            ("position", Part::Int(-3)),
            ("attributes", Part::Json("{\"a\":[1.0,\"A\"],\"b\":null}")),
            ("propensity", Part::Json("0.50")),
        ],
    );
    let members =
        [("position", "-3"), ("attributes", "{ \"b\":null, \"a\":[1.0,\"\\u0041\"] }"), ("propensity", "0.50")];
    check("every letter", &[every], &members, want, "a3b4d88e1483a84869bad88dd2d8a998");
}

/// Two events, each with its source, and whether they are the same.
#[test]
fn table_of_same_and_other_keys() {
    let check =
        |name: &str, rules: &[DedupeSpec], a: (&str, &[(&str, &str)]), b: (&str, &[(&str, &str)]), same: bool| {
            let config = under(rules);
            let key = |(source, members): (&str, &[(&str, &str)])| config.event(source, &line(members)).key;
            assert_eq!(key(a) == key(b), same, "{name}");
        };
    let price = &[("priceMicros", "5")][..];
    check("content is no part of a key", &[], ("a", &[]), ("a", price), true);
    check("nor is the type", &[], ("a", &[]), ("a", &[("eventType", "\"impression\"")]), true);
    check("a source has its own keys", &[], ("a", &[]), ("b", &[]), false);
    check("ids are told apart", &[], ("a", &[]), ("a", &[("eventId", "\"evt_2\"")]), false);
    check("escapes are not", &[], ("a", &[]), ("a", &[("eventId", "\"\\u0065vt_1\"")]), true);

    let click = |ordinal: &'static str, id: &'static str| {
        [("impressionId", "\"imp_1\""), ("clickOrdinal", ordinal), ("eventId", id)]
    };
    let (one, two, again) = (click("1", "\"x\""), click("2", "\"x\""), click("1", "\"y\""));
    let key = ["impressionId", "clickOrdinal"];
    let own = [rule(&key, Some(&["campaignId"]))];
    check("the parts decide", &own, ("a", &one), ("a", &again), true);
    check("each of them", &own, ("a", &one), ("a", &two), false);
    check("within a source", &own, ("a", &one), ("b", &again), false);

    let shared = [grouped(&["a", "b"], "g", &key)];
    check("a group shares", &shared, ("a", &one), ("b", &again), true);
    check("not with those outside", &shared, ("a", &one), ("c", &again), false);
    let two_rules = [grouped(&["a"], "g", &key), grouped(&["b"], "g", &key)];
    check("rules of one group meet", &two_rules, ("a", &one), ("b", &again), true);
    let two_groups = [grouped(&["a"], "g", &key), grouped(&["b"], "h", &key)];
    check("groups do not", &two_groups, ("a", &one), ("b", &again), false);
    let a_source_of_that_name = [grouped(&["a"], "b", &key), DedupeSpec { sources: names(&["b"]), ..own[0].clone() }];
    check("a group is no source", &a_source_of_that_name, ("a", &one), ("b", &again), false);

    let typed = |name: &str, key: &[&str]| DedupeSpec { event_types: names(&[name]), ..grouped(&[], "g", key) };
    let by_type = [typed("click", &["impressionId"]), typed("impression", &["eventId"])];
    let (as_click, as_impression) =
        (&[("impressionId", "\"i\"")][..], &[("eventId", "\"i\""), ("eventType", "\"impression\"")][..]);
    check("equal values of parts with other names", &by_type, ("a", as_click), ("a", as_impression), false);
    let swapped = [typed("click", &["impressionId", "userId"]), typed("impression", &["userId", "impressionId"])];
    let both = [("impressionId", "\"i\""), ("userId", "\"i\""), ("eventType", "\"impression\"")];
    check("names are in an order", &swapped, ("a", &both[..2]), ("a", &both), false);

    let bucket = [DedupeSpec { time_bucket_seconds: 10, ..rule(&["userId"], Some(&[])) }];
    let at = |time: &'static str| [("userId", "\"u\""), ("occurredAt", time)];
    let (start, end, next) =
        (at("\"2026-11-21T08:05:10Z\""), at("\"2026-11-21T08:05:19.999999Z\""), at("\"2026-11-21T08:05:20Z\""));
    check("one time bucket", &bucket, ("a", &start), ("a", &end), true);
    check("the next one", &bucket, ("a", &end), ("a", &next), false);
    let (before, after) = (at("\"1969-12-31T23:59:59Z\""), at("\"1970-01-01T00:00:01Z\""));
    check("buckets do not mirror at 1970", &bucket, ("a", &before), ("a", &after), false);
    let lengths = [
        DedupeSpec { sources: names(&["a"]), time_bucket_seconds: 10, ..grouped(&[], "g", &["userId"]) },
        DedupeSpec {
            sources: names(&["b"]),
            event_types: names(&["click"]),
            time_bucket_seconds: 20,
            ..grouped(&[], "g", &["userId"])
        },
    ];
    let zero = at("\"1970-01-01T00:00:01Z\"");
    check("buckets of other lengths do not meet", &lengths, ("a", &zero), ("b", &zero), false);
    let numbers = [rule(&["position"], Some(&[]))];
    check("a number is not its opposite", &numbers, ("a", &[("position", "1")]), ("a", &[("position", "-1")]), false);
    let json = [rule(&["attributes"], Some(&[]))];
    let (close, wide) =
        (&[("attributes", "{\"a\":1,\"b\":2}")][..], &[("attributes", "{ \"b\": 2, \"\\u0061\": 1 }")][..]);
    check("order and white space are no part of a key", &json, ("a", close), ("a", wide), true);
}

#[test]
fn a_key_is_the_same_by_whichever_way_its_parts_come() {
    let key = ["impressionId", "adId"];
    let rules = vec![grouped(&[], "g", &key)];
    let plain = under(&rules);
    let by_mapping = Config::with(|c| {
        c.spec.dedupe.clone_from(&rules);
        c.spec.mapping = vec![
            mapped("imp", "impressionId", &[], TimeFormat::Rfc3339),
            mapped("creative", "adId", &[("A", "ad_1")], TimeFormat::Rfc3339),
        ];
    });
    let as_dimension = Config::with(|c| {
        c.spec.dedupe.clone_from(&rules);
        c.spec.dimensions = vec![dimension(1000, "impression_id", "impressionId", NullPolicy::Keep)];
    });
    let uuid = "\"0f8fad5b-d9cb-469f-a165-70867728950e\"";
    let line_of = |imp: &str, ad: &str, value: &str| line(&[(imp, uuid), (ad, value)]);
    let want = plain.event("a", &line_of("impressionId", "adId", "\"ad_1\""));
    let check = |config: &Config, line: &str| {
        let got = config.event("b", line);
        assert_eq!((got.key, got.content), (want.key, want.content), "{line}");
    };
    check(&plain, &line_of("impressionId", "adId", "\"ad_1\"").replace("0f8f", "\\u0030f8f"));
    check(&by_mapping, &line_of("imp", "creative", "\"A\""));
    check(&by_mapping, &line_of("impressionId", "adId", "\"ad_1\""));
    check(&as_dimension, &line_of("impressionId", "adId", "\"ad_1\""));
}

#[test]
fn a_rule_starts_at_an_occurred_at() {
    let since = 1_795_248_316_000_000;
    let old = rule(&["eventId"], None);
    let new = DedupeSpec { since_micros: since, ..rule(&["impressionId"], Some(&["adId"])) };
    // In whichever order they are declared.
    for rules in [[old.clone(), new.clone()], [new, old]] {
        let config = under(&rules);
        let check = |at: &str, want: u128| {
            let line = line(&[("occurredAt", at), ("impressionId", "\"imp_1\"")]);
            assert_eq!(config.event(SOURCE, &line).key, want, "{at}");
        };
        let by_event = key_of("sssp_7", &[("eventId", Part::Text("evt_1"))]);
        let by_impression = key_of("sssp_7", &[("impressionId", Part::Text("imp_1"))]);
        check("\"2026-11-21T08:05:15.999999Z\"", by_event);
        check("\"2026-11-21T08:05:16Z\"", by_impression);
        check("\"2027-01-01T00:00:00Z\"", by_impression);
        // Its part is asked for from there on, and not before.
        let without = |at| config.line(line(&[("occurredAt", at)]));
        assert_eq!(without("\"2026-11-21T08:05:16Z\""), "reject missing_field impressionId");
        assert!(without("\"2026-11-21T08:05:15Z\"").starts_with("event"));
    }
}

#[test]
fn a_missing_part_of_a_key_is_rejected() {
    let check = |key: &[&str], members: &[(&str, &str)], want: &str| {
        let config = under(&[rule(key, Some(&[]))]);
        let got = config.line(line(members));
        assert_eq!(got.split(" 2026").next().unwrap(), want, "{key:?} {members:?}");
    };
    check(&["impressionId"], &[], "reject missing_field impressionId");
    check(&["impressionId"], &[("impressionId", "null")], "reject missing_field impressionId");
    check(&["impressionId"], &[("impressionId", "\"\"")], "reject empty impressionId");
    check(&["impressionId", "clickOrdinal"], &[("impressionId", "\"i\"")], "reject missing_field clickOrdinal");
    check(&["impressionId", "clickOrdinal"], &[("impressionId", "\"i\""), ("clickOrdinal", "1")], "event click");
    // The sender's own id stays required, whatever the key, until the configuration lets it go.
    check(&["impressionId"], &[("impressionId", "\"i\""), ("eventId", "")], "reject missing_field eventId");
    let free = Config::with(|c| {
        c.spec.required = names(&["eventType", "occurredAt"]);
        c.spec.dedupe = vec![DedupeSpec { sources: names(&[SOURCE]), ..rule(&["impressionId"], Some(&[])) }];
    });
    assert!(free.line(line(&[("eventId", ""), ("impressionId", "\"i\"")])).starts_with("event"));
    let elsewhere = Config { stream: free.stream, ..free };
    let mut door = elsewhere.door();
    let decoded = door.decode("another", line(&[("eventId", ""), ("impressionId", "\"i\"")]));
    assert_eq!(door.outcomes(&decoded), ["reject missing_field eventId"]);
}

/// What tells a duplicate from a conflict under each rule.
#[test]
fn table_of_declared_content() {
    let facts = |rules: &[DedupeSpec], members: &[(&str, &str)]| -> Facts {
        let all: Vec<(&str, &str)> = [("impressionId", "\"i\""), ("adId", "\"ad_1\"")]
            .into_iter()
            .filter(|(name, _)| members.iter().all(|(other, _)| other != name))
            .chain(members.iter().copied())
            .collect();
        under(rules).event(SOURCE, &line(&all))
    };
    let check = |name: &str, rules: &[DedupeSpec], members: &[(&str, &str)], same: bool| {
        let (a, b) = (facts(rules, &[]), facts(rules, members));
        assert_eq!(a.content == b.content, same, "{name}");
    };
    let group = [grouped(&[], "g", &["impressionId"])];
    check("a group's content is campaign, ad and type", &group, &[("priceMicros", "7"), ("x", "1")], true);
    check("a group's campaign", &group, &[("campaignId", "\"camp_2\"")], false);
    check("a group's ad", &group, &[("adId", "\"ad_2\"")], false);
    check("a group's missing ad", &group, &[("adId", "null")], false);
    check("the type always", &group, &[("eventType", "\"impression\"")], false);
    let price = [rule(&["impressionId"], Some(&["priceMicros"]))];
    check("declared", &price, &[("priceMicros", "7")], false);
    check("not declared", &price, &[("adId", "\"ad_2\""), ("eventId", "\"x\""), ("attributes", "{}")], true);
    let nothing = [rule(&["impressionId"], Some(&[]))];
    check("the type, where nothing is declared", &nothing, &[("eventType", "\"conversion\"")], false);
    check("and nothing else", &nothing, &[("priceMicros", "7"), ("campaignId", "\"camp_2\"")], true);
    check("by eventId everything is content", &[], &[("x", "1")], false);

    // The hash is that of an event of those fields alone.
    let declared = [rule(&["impressionId"], Some(&["adId", "priceMicros", "occurredAt"]))];
    let got = facts(&declared, &[("priceMicros", "7"), ("x", "1")]).content;
    let alone = r#"{"eventType":"click","adId":"ad_1","priceMicros":7,"occurredAt":"2026-11-21T08:05:16Z"}"#;
    assert_eq!(got, content_of(alone));
}

#[test]
fn without_a_key_dedupe_is_off() {
    let off = DedupeSpec { sources: names(&["bench"]), ..rule(&[], None) };
    let config = under(&[off]);
    let check = |source: &str, want: bool| {
        let facts = config.event(source, &line(&[]));
        assert_eq!(facts.flags.contains(&"no_dedupe"), want, "{source}");
        assert_eq!(facts.content, content_of(&line(&[])), "{source}");
    };
    check("bench", true);
    check(SOURCE, false);
    // It asks for no id, once the configuration does not.
    let free = Config::with(|c| {
        c.spec.required = names(&["eventType", "occurredAt"]);
        c.spec.dedupe = vec![rule(&[], None)];
    });
    assert_eq!(
        free.line(r#"{"eventType":"click","occurredAt":"2026-11-21T08:05:16Z"}"#),
        "event click 2026-11-21T08:05:16Z cpm USD no_dedupe"
    );
}
