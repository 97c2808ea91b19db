//! Lossless and order-free: order, white space and escapes change no answer, and every field comes back.
//!
//! Invariant: the other parser is serde_json, which shares no code with ours.

use adsum_model::campaigns::UnknownCampaign;
use adsum_model::catalog::{BillableType, NullPolicy};
use proptest::prelude::*;
use serde_json::Value;

use crate::content_hash::{content_of, word_of};
use crate::door::{Config, Facts, SOURCE, campaign, dimension, line};
use crate::events::{Members, Writing, any_event};

/// What must come back: null fields are missing, and receivedAt is kept under its other name where that is free.
fn expected(event: &Members) -> Value {
    let mut json: Value = serde_json::from_str(&Writing::new(0).line(event)).unwrap();
    let members = json.as_object_mut().unwrap();
    members.retain(|_, value| !value.is_null());
    if !members.contains_key("edgeReceivedAt")
        && let Some(at) = members.remove("receivedAt")
    {
        members.insert("edgeReceivedAt".to_owned(), at);
    }
    json
}

/// Campaigns with terms, and dimensions from an attribute and from built-in fields.
fn rich() -> Config {
    Config::with(|c| {
        c.campaigns = vec![
            campaign("camp_1", BillableType::Cpc, "EUR", &["ad_1"]),
            campaign("camp_2", BillableType::Cpa, "JPY", &["ad_2"]),
        ];
        c.unknown = UnknownCampaign::LetThrough;
        c.spec.dimensions = vec![dimension(1001, "session", "sessionId", NullPolicy::Replace("none".to_owned()))];
    })
}

fn check(config: &Config, event: &Members, seeds: &[u64]) -> Result<(), TestCaseError> {
    let writings: Vec<String> = seeds.iter().map(|seed| Writing::new(*seed).line(event)).collect();
    let mut door = config.door();
    let decoded = door.decode(SOURCE, writings.join("\n"));
    let facts = door.facts(&decoded.rows);
    prop_assert_eq!(facts.len(), seeds.len(), "{:?} {:?}", door.outcomes(&decoded), writings);
    for (i, found) in facts.iter().enumerate() {
        prop_assert_eq!(found, &Facts { ordinal: i as u32, ..facts[0].clone() }, "{:?}", &writings[i]);
        prop_assert_eq!(found.content, content_of(&writings[i]), "{:?}", &writings[i]);
    }
    let want = expected(event);
    let user = want["userId"].as_str().map_or(0, word_of);
    prop_assert_eq!(facts[0].user, user);
    for (json, writing) in door.json(&decoded.batch).iter().zip(&writings) {
        let got: Value = serde_json::from_str(json).unwrap();
        prop_assert_eq!(&got, &want, "{:?}", writing);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_writing_of_an_event_is_one_row_and_comes_back(
        event in any_event(),
        seeds in proptest::collection::vec(1_u64.., 4),
        with_dimensions in any::<bool>(),
    ) {
        let config = if with_dimensions { rich() } else { Config::default() };
        let seeds: Vec<u64> = std::iter::once(0).chain(seeds).collect();
        check(&config, &event, &seeds)?;
    }
}

#[test]
fn what_comes_back_is_written_in_one_form() {
    let check = |members: &[(&str, &str)], want: &str| {
        let mut door = Config::default().door();
        let decoded = door.decode(SOURCE, line(members));
        assert_eq!(door.json(&decoded.batch), [want], "{members:?}");
    };
    let with = |member: &str| {
        format!(
            r#"{{{member}"campaignId":"camp_1","eventId":"evt_1","eventType":"click","occurredAt":"2026-11-21T08:05:16Z"}}"#
        )
    };
    check(&[], &with(""));
    check(&[("country", "null"), ("x", "null"), ("attributes", "null")], &with(""));
    // Free JSON and numbers stay as the sender wrote them.
    check(&[("attributes", r#"{ "b": 1.50, "a": "\u0041" }"#)], &with(r#""attributes":{ "b": 1.50, "a": "\u0041" },"#));
    check(&[("zz", r#"[1, {"k": 1e3}]"#), ("aa", "-0")], &with(r#""aa":-0,"zz":[1, {"k": 1e3}],"#));
    check(&[("country", r#""\u0044E\u002f\"""#)], &{
        let bare = with("");
        bare.replace(r#","eventId""#, r#","country":"DE/\"","eventId""#)
    });
    // The sender's receivedAt has its other name; where both are sent, both stay.
    let edge = |at: &str| with("").replace(r#","eventId""#, &format!(r#","edgeReceivedAt":"{at}","eventId""#));
    let (five, six) = (r#""2026-11-21T09:05:16+01:00""#, r#""2026-11-21T08:06:16.1Z""#);
    check(&[("receivedAt", five)], &edge("2026-11-21T08:05:16Z"));
    check(&[("edgeReceivedAt", six)], &edge("2026-11-21T08:06:16.100000Z"));
    let both = |at: &str| edge("2026-11-21T08:06:16.100000Z").replacen('{', &format!("{{{at},"), 1);
    let received = r#""receivedAt":"2026-11-21T08:05:16Z""#;
    check(&[("receivedAt", five), ("edgeReceivedAt", six)], &both(received));
    let sorted = format!(r#""aa":1,{received},"zz":2"#);
    check(&[("zz", "2"), ("receivedAt", five), ("edgeReceivedAt", six), ("aa", "1")], &both(&sorted));
    check(&[("receivedAt", "null"), ("edgeReceivedAt", six)], &edge("2026-11-21T08:06:16.100000Z"));
}
