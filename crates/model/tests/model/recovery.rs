//! What crash recovery and replays rely on: rows made anew from records are the rows that were made at first.
//!
//! Invariant: all fields of a row are compared. Not here: the bytes of a log, which have their own round trips.

use adsum_model::campaigns::{CampaignStatus, Campaigns, UnknownCampaign};
use adsum_model::catalog::{BillableType, DedupeSpec, DimensionIx, NullPolicy};
use adsum_model::id::Offset;
use adsum_model::record::{RecordBatch, RecordKind, Stream};
use adsum_model::replay::push_replay;
use adsum_model::time::ReceivedAt;
use proptest::prelude::*;

use crate::door::{Config, Door, Facts, RECEIVED, SOURCE, campaign, dimension, line, names, rule};
use crate::events::{Members, Writing, any_event};

/// Configurations under which rows are compared: by number, so that a failure names one.
fn configs() -> Vec<Config> {
    let terms = vec![
        campaign("camp_1", BillableType::Cpc, "EUR", &["ad_1"]),
        campaign("camp_2", BillableType::Cpm, "USD", &["ad_2"]),
    ];
    let dimensions = vec![
        dimension(1000, "kind", "attributes.kind", NullPolicy::Replace("none".to_owned())),
        dimension(1001, "session", "sessionId", NullPolicy::Keep),
        dimension(1002, "address", "ip", NullPolicy::Keep),
    ];
    let grouped = DedupeSpec { group: Some("g".to_owned()), ..rule(&["eventId"], None) };
    vec![
        Config::default(),
        Config::with(|c| {
            c.campaigns.clone_from(&terms);
            c.unknown = UnknownCampaign::Reject;
            c.stream = Stream::Import;
        }),
        Config::with(|c| {
            c.campaigns = terms;
            c.spec.dimensions = dimensions;
            c.spec.required = names(&["eventType", "occurredAt"]);
            c.spec.dedupe = vec![grouped];
        }),
        Config::with(|c| c.spec.dedupe = vec![rule(&["eventId", "attributes", "consent"], Some(&["userId"]))]),
        Config::with(|c| c.spec.dedupe = vec![rule(&[], None)]),
    ]
}

fn replay_of(door: &Door, batch: &RecordBatch) -> RecordBatch {
    let mut out = RecordBatch::default();
    for (i, head) in batch.heads.iter().enumerate() {
        let target = Offset::new(1 << 40 | i as u64);
        let pushed = push_replay(batch, head, target, &door.catalog, &door.campaigns, &mut out);
        assert_eq!(pushed, head.kind == RecordKind::Event);
    }
    out
}

/// What a replay of a row is.
fn replayed(facts: &[Facts]) -> Vec<Facts> {
    let replay = |(i, f): (usize, &Facts)| {
        let mut flags = f.flags.clone();
        flags.push("replay");
        Facts { target: 1 << 40 | u64::from(f.ordinal), ordinal: i as u32, flags, ..f.clone() }
    };
    facts.iter().enumerate().map(replay).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_made_anew_are_the_rows(
        events in proptest::collection::vec((any_event(), any::<u64>(), 0..12_u8), 1..6),
        config in 0..5_usize,
        full in any::<u64>(),
    ) {
        let mut text = String::new();
        for (event, seed, spoil) in &events {
            let event: Members = event.clone();
            text.push_str(&Writing::new(*seed).line(&event));
            text.push_str(match spoil { 0 => "x\n", 1 => "\n\n", _ => "\n" });
        }
        let mut roomy = configs()[config].door();
        let wanted = roomy.decode(SOURCE, &text);
        let mut door = configs()[config].door();
        for i in (0..door.catalog.dimensions().len()).filter(|i| full >> i & 1 == 1) {
            door.catalog.full_days().set(DimensionIx::new(i), ReceivedAt::from_micros(RECEIVED));
        }
        let decoded = door.decode(SOURCE, &text);
        let facts = door.facts(&decoded.rows);
        // Full days change nothing but which values count as `other`.
        let wanted_facts = roomy.facts(&wanted.rows);
        prop_assert_eq!(facts.len(), wanted_facts.len());
        for (event, wanted) in facts.iter().zip(&wanted_facts) {
            for ((name, value), wanted) in event.dimensions.iter().zip(&wanted.dimensions) {
                prop_assert!(name == &wanted.0 && (value == &wanted.1 || value == "other"), "{name} {value} {wanted:?}");
            }
            prop_assert_eq!(event.dimensions.len(), wanted.dimensions.len());
            prop_assert_eq!(&Facts { dimensions: wanted.dimensions.clone(), ..event.clone() }, wanted);
        }
        prop_assert_eq!(door.json(&decoded.batch), roomy.json(&wanted.batch));
        let (anew, controls, records) = door.project(&decoded.batch);
        prop_assert_eq!(&anew, &facts);
        prop_assert_eq!(controls, decoded.rows.controls);
        prop_assert_eq!(records, decoded.rows.records);
        prop_assert_eq!(records as usize, decoded.batch.len());
        for head in &decoded.batch.heads {
            let spans = decoded.batch.fields(head);
            prop_assert!(spans.windows(2).all(|w| w[0].field < w[1].field));
        }

        let replays = replay_of(&door, &decoded.batch);
        prop_assert_eq!(door.project(&replays).0, replayed(&facts));
        let jsons = |batch: &RecordBatch, door: &Door| -> Vec<String> {
            let heads = batch.heads.iter().filter(|h| matches!(h.kind, RecordKind::Event | RecordKind::Replay));
            heads.map(|h| {
                String::from_utf8(adsum_model::wire::record_json(batch, h, &door.catalog)).unwrap()
            }).collect()
        };
        prop_assert_eq!(jsons(&replays, &door), jsons(&decoded.batch, &door));
    }
}

#[test]
fn a_replay_takes_todays_terms_and_the_events_content() {
    let config = |terms: &[(&str, BillableType, &str)], unknown| {
        Config::with(|c| {
            c.campaigns =
                terms.iter().map(|(id, billable, currency)| campaign(id, *billable, currency, &["ad_1"])).collect();
            c.unknown = unknown;
            c.spec.required = names(&["eventId", "eventType", "occurredAt"]);
        })
    };
    let check = |members: &[(&str, &str)], then: Config, now: Config, want: &str| {
        let mut door = then.door();
        let decoded = door.decode(SOURCE, line(members));
        let first = door.facts(&decoded.rows).remove(0);
        // Today's table is built over the same strings, as in one process.
        door.campaigns = {
            let table = Campaigns::build(&now.campaigns, "USD", now.unknown, door.catalog.symbols());
            std::sync::Arc::new(table.unwrap())
        };
        let mut out = RecordBatch::default();
        let head = &decoded.batch.heads[0];
        if !push_replay(&decoded.batch, head, Offset::new(7), &door.catalog, &door.campaigns, &mut out) {
            assert!(out.is_empty());
            assert_eq!(want, "refused", "{members:?}");
            return;
        }
        let again = door.project(&out).0.remove(0);
        assert_eq!(again.to_string(), want, "{members:?}");
        assert_eq!((again.key, again.content, again.received_at), (first.key, first.content, first.received_at));
        assert_eq!(again.target, 7);
        // A replay of a replay is no replay of an event.
        assert!(!push_replay(
            &out,
            &out.heads[0].clone(),
            Offset::new(8),
            &door.catalog,
            &door.campaigns,
            &mut RecordBatch::default()
        ));
    };
    use BillableType::{Cpa, Cpc};
    use UnknownCampaign::{LetThrough, Reject};
    let found = [("campaignId", "null"), ("adId", "\"ad_1\""), ("currency", "\"EUR\"")];
    check(
        &found,
        config(&[("camp_1", Cpc, "USD")], LetThrough),
        config(&[("camp_2", Cpa, "EUR")], LetThrough),
        "event click 2026-11-21T08:05:16Z cpa EUR campaignId=camp_2 adId=ad_1 replay",
    );
    let sent = [("adId", "\"ad_1\""), ("currency", "\"EUR\"")];
    check(
        &sent,
        config(&[("camp_1", Cpc, "EUR")], LetThrough),
        config(&[("camp_2", Cpa, "EUR")], LetThrough),
        "event click 2026-11-21T08:05:16Z cpm USD campaignId=camp_1 adId=ad_1 foreign replay",
    );
    check(&sent, config(&[("camp_1", Cpc, "EUR")], LetThrough), config(&[("camp_2", Cpa, "EUR")], Reject), "refused");
}

#[test]
fn what_is_out_of_flight_is_marked_in_the_record_and_found_anew_by_a_replay() {
    let config = |status| {
        Config::with(|c| {
            c.campaigns = vec![campaign("camp_1", BillableType::Cpc, "USD", &[])];
            c.campaigns[0].versions[0].status = status;
        })
    };
    use CampaignStatus::{Active, Paused};
    for (then, now) in [(Active, Active), (Active, Paused), (Paused, Active), (Paused, Paused)] {
        let flags = |status| if status == Paused { &["out_of_flight"][..] } else { &[] };
        let mut door = config(then).door();
        // The flag of one line is not the next one's: a line of another campaign stands on either side.
        let other = line(&[("campaignId", "\"camp_2\"")]);
        let decoded = door.decode(SOURCE, [other.as_str(), &line(&[]), &other].join("\n"));
        let facts = door.facts(&decoded.rows);
        let of: Vec<_> = facts.iter().map(|f| f.flags.as_slice()).collect();
        assert_eq!(of, [&[], flags(then), &[]]);
        assert_eq!(door.project(&decoded.batch).0, facts);
        assert!(!door.json(&decoded.batch)[1].contains('$'), "a sender's event has no such field");
        let found = Config::default().event(SOURCE, &line(&[]));
        assert_eq!((facts[1].key, facts[1].content), (found.key, found.content), "it is no content");

        let today = Campaigns::build(&config(now).campaigns, "USD", UnknownCampaign::Reject, door.catalog.symbols());
        let mut out = RecordBatch::default();
        let head = &decoded.batch.heads[1];
        let target = Offset::new(1);
        assert!(push_replay(&decoded.batch, head, target, &door.catalog, &today.unwrap(), &mut out));
        let again = door.project(&out).0.remove(0);
        assert_eq!(again.flags, [&["replay"], flags(now)].concat(), "{then:?} {now:?}");
        assert!(out.spans.windows(2).all(|w| w[0].field < w[1].field));
    }
}

#[test]
fn a_folded_value_counts_as_other_and_stays_in_content_and_key() {
    let mut door = configs()[2].door();
    let text =
        line(&[("country", "\"US\""), ("adId", "\"ad_1\""), ("sessionId", "\"s\""), ("attributes", "{\"kind\":1}")]);
    let mut decoded = door.decode(SOURCE, text);
    let before = door.facts(&decoded.rows).remove(0);
    let fold = |name: &str| 1_u64 << door.catalog.dimension_named(name).unwrap().index();
    decoded.batch.heads[0].stamp.folded = fold("country") | fold("kind") | fold("deviceType");
    let after = door.project(&decoded.batch).0.remove(0);
    let values: Vec<String> = after.dimensions.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        values,
        ["campaignId=camp_1", "adId=ad_1", "country=other", "deviceType=other", "kind=other", "session=s"]
    );
    assert_eq!(after, Facts { dimensions: after.dimensions.clone(), ..before });
}
