//! Content hash v1 against vectors and against a second writing of it, made from the documentation alone.
//!
//! Invariant: `content_of` calls nothing of the crate: JSON by serde_json, time by hand, the hash by xxhash-rust.

use std::collections::BTreeMap;

use adsum_model::catalog::NullPolicy;
use proptest::prelude::*;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::door::{Config, SOURCE, dimension, line};
use crate::events::{Node, Writing, any_event};

/// Not content, as contract and catalog have it.
const NOT_CONTENT: [&str; 5] = ["receivedAt", "edgeReceivedAt", "ip", "userAgent", "schemaVersion"];

/// Content hash v1 of a line that is an event.
pub fn content_of(line: &str) -> u64 {
    let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(line).unwrap();
    let mut sum = 0_u64;
    for (name, raw) in &members {
        let raw = raw.get();
        if raw == "null" || NOT_CONTENT.contains(&name.as_str()) {
            continue;
        }
        let (letter, word) = match name.as_str() {
            "occurredAt" => ('I', micros(&serde_json::from_str::<String>(raw).unwrap()) as u64),
            "propensity" | "consent" | "attributes" => ('J', free_word(raw)),
            _ if raw.starts_with('"') => ('T', word_of(&serde_json::from_str::<String>(raw).unwrap())),
            _ => match raw.parse::<i128>() {
                Ok(n) if (0..=i128::from(u64::MAX)).contains(&n) => ('P', n as u64),
                Ok(n) if (i128::from(i64::MIN)..0).contains(&n) => ('M', n as i64 as u64),
                _ => ('J', free_word(raw)),
            },
        };
        sum = sum.wrapping_add(term(name, letter, word));
    }
    xxh3_64(&sum.to_le_bytes())
}

fn term(name: &str, letter: char, word: u64) -> u64 {
    let (one, other) = (word ^ xxh3_64(format!("{name}{letter}").as_bytes()), xxh3_64(name.as_bytes()) | 1);
    let product = u128::from(one) * u128::from(other);
    (product >> 64) as u64 ^ product as u64
}

fn free_word(raw: &str) -> u64 {
    xxh3_64(&free_term("", raw).to_le_bytes())
}

fn free_term(name: &str, raw: &str) -> u64 {
    let sum = |terms: Vec<u64>| xxh3_64(&terms.into_iter().fold(0, u64::wrapping_add).to_le_bytes());
    match raw.as_bytes()[0] {
        b'{' => {
            let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(raw).unwrap();
            term(name, 'O', sum(members.iter().map(|(name, v)| free_term(name, v.get())).collect()))
        }
        b'[' => {
            let values: Vec<Box<RawValue>> = serde_json::from_str(raw).unwrap();
            let terms = values.iter().enumerate().map(|(i, v)| free_term(&i.to_string(), v.get()));
            term(name, 'A', sum(terms.collect()))
        }
        b'"' => term(name, 'T', word_of(&serde_json::from_str::<String>(raw).unwrap())),
        _ => term(name, 'J', xxh3_64(raw.as_bytes())),
    }
}

/// The word of a text.
pub fn word_of(text: &str) -> u64 {
    match uuid_of(text) {
        Some(bytes) => xxh3_64_with_seed(&bytes, 1),
        None => xxh3_64(text.as_bytes()),
    }
}

/// The bytes of a UUID in its canonical lower-case form.
pub fn uuid_of(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.split('-').collect();
    let value = u128::from_str_radix(&digits, 16).ok()?.to_be_bytes();
    let hex: String = value.iter().map(|b| format!("{b:02x}")).collect();
    let back = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    (back == text).then_some(value)
}

/// Microseconds since 1970 of an RFC 3339 text, by counting years and months.
fn micros(text: &str) -> i64 {
    let number = |from: usize, to: usize| text[from..to].parse::<i64>().unwrap();
    let leap = |y: i64| (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let before: i64 = (1..year).map(|y| if leap(y) { 366 } else { 365 }).sum();
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let days = before + lengths[..month as usize - 1].iter().sum::<i64>() + day - 1 - 719_162;
    let zone = text[19..].find(['Z', 'z', '+', '-']).unwrap() + 19;
    let offset = match &text[zone..zone + 1] {
        "+" => number(zone + 1, zone + 3) * 60 + number(zone + 4, zone + 6),
        "-" => -(number(zone + 1, zone + 3) * 60 + number(zone + 4, zone + 6)),
        _ => 0,
    };
    let fraction: String = text[19..zone].trim_start_matches('.').chars().chain("000000".chars()).take(6).collect();
    let seconds = days * 86_400 + number(11, 13) * 3600 + (number(14, 16) - offset) * 60 + number(17, 19);
    seconds * 1_000_000 + fraction.parse::<i64>().unwrap()
}

/// Members of the good event that differ from it, and the hash of what they make.
const VECTORS: &[(&[(&str, &str)], &str)] = &[
    (&[], "96d560e5844a2319"),
    (&[("eventId", "\"0f8fad5b-d9cb-469f-a165-70867728950e\"")], "127b4bfc8d539546"),
    (
        &[("country", "\"Z\u{fc}rich\""), ("adId", "\"ad_1\""), ("publisherId", "\"a-name-of-more-than-16-bytes\"")],
        "7945686b70d6179b",
    ),
    (&[("priceMicros", "18000"), ("currency", "\"USD\""), ("clickOrdinal", "2")], "43c0a6be4a531e6f"),
    (&[("priceMicros", "0")], "d6992ce504dcb076"),
    (&[("position", "-3")], "e6a87d85d31e56e6"),
    (&[("position", "3"), ("valueMicros", "1000000000000")], "4565069187d5b8c1"),
    (&[("propensity", "0.250")], "073d15ca2f103701"),
    (&[("occurredAt", "\"1969-12-31T23:59:59.999999Z\"")], "37eba9c83aa7853a"),
    (&[("attributes", "{\"b\":[1,null,{\"d\":1.0,\"c\":\"\\n\\u0041\\/\"}],\"a\":true}")], "fe164466485e490d"),
    (&[("attributes", "{}")], "159d8656c212298b"),
    (&[("consent", "\"CP\\u00fc\"")], "3f900501831379d9"),
    (&[("consent", "{\"tcf\":\"CPxyz\",\"gdpr\":1}")], "1807fc7f6674ea18"),
    (&[("siteSection", "\"sports\"")], "8ccdffe3cf2b6c6f"),
    (
        &[("$x", "7"), ("Zz", "-7"), ("eventIe", "true"), ("zz", "18446744073709551616"), ("\u{e4}", "[ 1 , 2 ]")],
        "0546aac49680bfb9",
    ),
];

#[test]
fn table_of_vectors() {
    let config = Config::default();
    for (members, hex) in VECTORS {
        let line = line(members);
        let here = format!("{:016x}", content_of(&line));
        let got = format!("{:016x}", config.event(SOURCE, &line).content);
        assert_eq!((here.as_str(), got.as_str()), (*hex, *hex), "{line}");
    }
}

#[test]
fn table_of_same_and_other_content() {
    let config = Config::default();
    let of = |members: &[(&str, &str)]| config.event(SOURCE, &line(members)).content;
    let good = of(&[]);
    let at = |text| [("occurredAt", text)];
    let same: &[&[(&str, &str)]] = &[
        &[("receivedAt", "\"2026-11-21T08:05:17Z\"")],
        &[("edgeReceivedAt", "\"2026-11-21T08:05:17Z\"")],
        &[("receivedAt", "\"2026-11-21T08:05:17Z\""), ("edgeReceivedAt", "\"2026-11-21T08:05:18Z\"")],
        &[("ip", "\"192.0.2.7\""), ("userAgent", "\"Mozilla/5.0\""), ("schemaVersion", "1")],
        &[("country", "null"), ("attributes", "null"), ("x", "null"), ("priceMicros", "null")],
        &at("\"2026-11-21T08:05:16.000Z\""),
        &at("\"2026-11-21T08:05:16.0000009Z\""),
        &at("\"2026-11-21T13:50:16+05:45\""),
        &at("\"2026-11-21T07:05:16-01:00\""),
        &at("\"2026-11-21t08:05:16z\""),
        &at("\"2026-11-21T08:05:16-00:00\""),
        &[("eventId", "\"evt\\u005f1\""), ("campaignId", "\"\\u0063amp_1\"")],
    ];
    for members in same {
        assert_eq!(of(members), good, "{members:?}");
        assert_eq!(content_of(&line(members)), good, "{members:?}");
    }
    // Each of these says something else than the good event and than any other of them.
    let others: &[&[(&str, &str)]] = &[
        &at("\"2026-11-21T08:05:16.000001Z\""),
        &[("eventId", "\"evt_2\"")],
        &[("eventType", "\"impression\"")],
        &[("campaignId", "\"camp_2\"")],
        &[("adId", "\"camp_1\"")],
        &[("country", "\"US\"")],
        &[("country", "\"us\"")],
        &[("deviceType", "\"US\"")],
        &[("priceMicros", "0")],
        &[("priceMicros", "1")],
        &[("valueMicros", "1")],
        &[("currency", "\"USD\"")],
        &[("position", "1")],
        &[("position", "-1")],
        &[("propensity", "1")],
        &[("propensity", "1.0")],
        &[("attributes", "{}")],
        &[("attributes", "{\"a\":null}")],
        &[("attributes", "{\"a\":1}")],
        &[("attributes", "{\"a\":\"1\"}")],
        &[("attributes", "{\"a\":[1,2]}")],
        &[("attributes", "{\"a\":[2,1]}")],
        &[("attributes", "{\"a\":[1,[2]]}")],
        &[("attributes", "{\"a\":[[1,2]]}")],
        &[("attributes", "{\"a\":{\"0\":1,\"1\":2}}")],
        &[("attributes", "{\"a\":[]}")],
        &[("attributes", "{\"a\":{}}")],
        &[("attributes", "{\"a\":\"\"}")],
        &[("attributes", "{\"a\":\"null\"}")],
        &[("attributes", "{\"a\":1.0}")],
        &[("attributes", "{\"b\":1}")],
        &[("consent", "1")],
        &[("consent", "\"1\"")],
        &[("x", "1")],
        &[("x", "\"1\"")],
        &[("x", "1.0")],
        &[("x", "-1")],
        &[("x", "true")],
        &[("x", "[]")],
        &[("X", "1")],
        &[("edgeReceivedBy", "1")],
    ];
    let mut seen = vec![good];
    for members in others {
        let content = of(members);
        assert!(!seen.contains(&content), "{members:?}");
        assert_eq!(content, content_of(&line(members)), "{members:?}");
        seen.push(content);
    }
}

#[test]
fn a_negative_zero_is_an_integer_from_zero() {
    let config = Config::default();
    for name in ["position", "x"] {
        let of = |value| config.event(SOURCE, &line(&[(name, value)])).content;
        assert_eq!(of("-0"), of("0"), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Adding a dimension must not turn retries into conflicts.
    #[test]
    fn a_dimension_made_of_an_unknown_field_changes_no_hash(
        event in any_event(),
        name in "[A-Za-z][A-Za-z0-9_]{0,8}",
        value in "[a-zA-Z0-9 ä\"\\\\]{1,24}",
        seed in any::<u64>(),
    ) {
        let mut event = event;
        event.retain(|(other, _)| *other != name);
        event.push((name.clone(), Node::Text(value)));
        let line = Writing::new(seed).line(&event);
        let config = Config::default();
        prop_assume!(config.door().catalog.field_named(&name).is_none());
        let before = config.event(SOURCE, &line);
        let after = Config::with(|c| {
            c.spec.dimensions = vec![dimension(1000, "made", &name, NullPolicy::Keep)];
        })
        .event(SOURCE, &line);
        prop_assert_eq!((after.key, after.content), (before.key, before.content));
        prop_assert_eq!(before.content, content_of(&line));
        prop_assert!(after.dimensions.iter().any(|(d, _)| d == "made"));
    }
}
