//! Bad input, line by line: which code and which field answer it, and that no line changes its neighbours.
//!
//! Invariant: each case names the whole answer. Not here: bodies and encodings, which are the collector's.

use adsum_model::campaigns::UnknownCampaign;
use adsum_model::catalog::BillableType;
use adsum_model::record::RecordKind;
use proptest::prelude::*;

use crate::door::{Config, GOOD, SOURCE, campaign, line};

const GOOD_OUTCOME: &str = "event click 2026-11-21T08:05:16Z cpm USD campaignId=camp_1";

/// A member of the good event and its value, and what becomes of the line.
fn bad_members() -> Vec<(&'static str, String, &'static str)> {
    let id = |n: usize| format!("\"{}\"", "i".repeat(n));
    let wide = |n: usize| format!("\"{}\"", "é".repeat(n));
    let nested = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
    let many = |n: usize| {
        let members: Vec<String> = (0..n).map(|i| format!("\"k{i}\":1")).collect();
        format!("{{{}}}", members.join(","))
    };
    let fixed: &[(&str, &str, &str)] = &[
        // Money: an integer from 0 to the cap, and no other writing.
        ("priceMicros", "1.0", "reject invalid_type priceMicros"),
        ("priceMicros", "1e3", "reject invalid_type priceMicros"),
        ("priceMicros", "1E3", "reject invalid_type priceMicros"),
        ("priceMicros", "0.0", "reject invalid_type priceMicros"),
        ("priceMicros", "1e-400", "reject invalid_type priceMicros"),
        ("priceMicros", "-1", "reject invalid_type priceMicros"),
        ("priceMicros", "-0", "reject invalid_type priceMicros"),
        ("priceMicros", "+1", "reject invalid_json"),
        ("priceMicros", "01", "reject invalid_json"),
        ("priceMicros", ".5", "reject invalid_json"),
        ("priceMicros", "1.", "reject invalid_json"),
        ("priceMicros", "0x10", "reject invalid_json"),
        ("priceMicros", "NaN", "reject invalid_json"),
        ("priceMicros", "\"1\"", "reject invalid_type priceMicros"),
        ("priceMicros", "\"\"", "reject invalid_type priceMicros"),
        ("priceMicros", "true", "reject invalid_type priceMicros"),
        ("priceMicros", "[1]", "reject invalid_type priceMicros"),
        ("priceMicros", "{}", "reject invalid_type priceMicros"),
        ("priceMicros", "18446744073709551615", "reject out_of_range priceMicros"),
        ("priceMicros", "18446744073709551616", "reject out_of_range priceMicros"),
        ("priceMicros", "340282366920938463463374607431768211457", "reject out_of_range priceMicros"),
        ("priceMicros", "1000000000001", "reject out_of_range priceMicros"),
        (
            "priceMicros",
            "1000000000000",
            "event click 2026-11-21T08:05:16Z cpm USD campaignId=camp_1 price=1000000000000",
        ),
        ("priceMicros", "0", "event click 2026-11-21T08:05:16Z cpm USD campaignId=camp_1 price=0"),
        ("priceMicros", "null", GOOD_OUTCOME),
        ("priceMicros", "1000000000001null", "reject out_of_range priceMicros"),
        ("priceMicros", "7null", "reject invalid_json"),
        ("schemaVersion", "2null", "reject unknown_schema_version schemaVersion"),
        ("valueMicros", "1000000000001", "reject out_of_range valueMicros"),
        ("valueMicros", "2.5", "reject invalid_type valueMicros"),
        ("currency", "\"usd\"", "reject invalid_currency currency"),
        ("currency", "\"US\"", "reject invalid_currency currency"),
        ("currency", "\"USDT\"", "reject invalid_currency currency"),
        ("currency", "\"U\\u0053\"", "reject invalid_currency currency"),
        ("currency", "\"\"", "reject invalid_currency currency"),
        ("currency", "840", "reject invalid_type currency"),
        ("currency", "\"U\\u0053D\"", GOOD_OUTCOME),
        // Ids and other text.
        ("eventId", "\"\"", "reject empty eventId"),
        ("eventId", "7", "reject invalid_type eventId"),
        ("eventId", "[\"evt_1\"]", "reject invalid_type eventId"),
        ("eventId", "{\"id\":\"evt_1\"}", "reject invalid_type eventId"),
        ("eventId", "false", "reject invalid_type eventId"),
        ("eventId", "null", "reject missing_field eventId"),
        ("eventId", "", "reject missing_field eventId"),
        ("eventId", "\"evt\\u0000\"", "reject forbidden_character eventId"),
        ("eventId", "\"evt\\u001f\"", "reject forbidden_character eventId"),
        ("eventId", "\"evt\\n\"", "reject forbidden_character eventId"),
        ("eventId", "\"evt\\t1\"", "reject forbidden_character eventId"),
        ("eventId", "\"evt\u{7f}\"", "reject forbidden_character eventId"),
        ("eventId", "\"evt\\u007F\"", "reject forbidden_character eventId"),
        ("eventId", "\"evt\u{85}\"", "reject forbidden_character eventId"),
        ("eventId", "\"evt\\u0085\"", "reject forbidden_character eventId"),
        ("eventId", "\"evt\u{202e}1\"", "reject forbidden_character eventId"),
        ("eventId", "\"evt\\u202e1\"", "reject forbidden_character eventId"),
        ("eventId", "\"evt\\u2066\\u2069\"", "reject forbidden_character eventId"),
        ("eventId", "\"evt\u{0}\"", "reject invalid_json"),
        ("eventId", "\"evt\u{1}\"", "reject invalid_json"),
        ("eventId", "\"evt\t1\"", "reject invalid_json"),
        ("eventId", "\"evt\\x\"", "reject invalid_json"),
        ("eventId", "\"evt\\u12\"", "reject invalid_json"),
        ("eventId", "\"evt\\u12g4\"", "reject invalid_json"),
        ("eventId", "\"\\ud800\"", "reject invalid_json"),
        ("eventId", "\"\\udc00\"", "reject invalid_json"),
        ("eventId", "\"\\ud83d\\u0041\"", "reject invalid_json"),
        ("eventId", "\"\\ud83dx\"", "reject invalid_json"),
        ("eventId", "\"\\ud83d\\ude00\"", GOOD_OUTCOME),
        ("eventId", "\"\u{1F600} \u{200d}\"", GOOD_OUTCOME),
        ("eventId", "'evt_1'", "reject invalid_json"),
        ("country", "\"\"", "reject empty country"),
        ("country", "\"D\\u0000E\"", "reject forbidden_character country"),
        ("country", "\"\u{200f}DE\"", "reject forbidden_character country"),
        ("country", "\"\\u0044\\u0045\"", "event click 2026-11-21T08:05:16Z cpm USD campaignId=camp_1 country=DE"),
        ("country", "49", "reject invalid_type country"),
        ("userAgent", "\"a\\u0007\"", "reject forbidden_character userAgent"),
        ("ip", "\"\"", "reject empty ip"),
        ("campaignId", "null", "reject missing_field campaignId"),
        ("campaignId", "", "reject missing_field campaignId"),
        ("campaignId", "\"\"", "reject empty campaignId"),
        // Time.
        ("occurredAt", "", "reject missing_field occurredAt"),
        ("occurredAt", "null", "reject missing_field occurredAt"),
        ("occurredAt", "\"2026-11-21T08:05:16\"", "reject invalid_time occurredAt"),
        ("occurredAt", "\"2026-11-21T24:00:00Z\"", "reject invalid_time occurredAt"),
        ("occurredAt", "\"2026-02-29T00:00:00Z\"", "reject invalid_time occurredAt"),
        ("occurredAt", "\"1900-02-29T00:00:00Z\"", "reject invalid_time occurredAt"),
        ("occurredAt", "\"2026-04-31T00:00:00Z\"", "reject invalid_time occurredAt"),
        ("occurredAt", "\"2026-11-21T08:05:60Z\"", "reject invalid_time occurredAt"),
        ("occurredAt", "\"2016-12-31T23:59:60Z\"", "reject invalid_time occurredAt"),
        ("occurredAt", "\"2026-11-21T08:60:00Z\"", "reject invalid_time occurredAt"),
        ("occurredAt", "\"0000-01-01T00:00:00Z\"", "reject invalid_time occurredAt"),
        // Beyond the calendars of zones.
        ("occurredAt", "\"9999-12-30T22:00:00Z\"", "reject invalid_time occurredAt"),
        ("occurredAt", "\"2026-13-01T00:00:00Z\"", "reject invalid_time occurredAt"),
        ("occurredAt", "\"2026-00-01T00:00:00Z\"", "reject invalid_time occurredAt"),
        ("occurredAt", "\"2026-11-00T00:00:00Z\"", "reject invalid_time occurredAt"),
        ("occurredAt", "\"2026-11-21T08:05:16+24:00\"", "reject invalid_time occurredAt"),
        ("occurredAt", "\"2026-11-21 08:05:16Z\"", "reject invalid_time occurredAt"),
        ("occurredAt", "\" 2026-11-21T08:05:16Z\"", "reject invalid_time occurredAt"),
        ("occurredAt", "\"2026-11-21T08:05:16.Z\"", "reject invalid_time occurredAt"),
        ("occurredAt", "\"+2026-11-21T08:05:16Z\"", "reject invalid_time occurredAt"),
        ("occurredAt", "\"2026-11-21T08:05:1６Z\"", "reject invalid_time occurredAt"),
        ("occurredAt", "\"\"", "reject invalid_time occurredAt"),
        ("occurredAt", "\"1795248316\"", "reject invalid_time occurredAt"),
        ("occurredAt", "1795248316", "reject invalid_type occurredAt"),
        ("occurredAt", "\"2026-11-21T08:05:1\\u0036Z\"", GOOD_OUTCOME),
        ("receivedAt", "\"2026-11-21T08:05:16\"", "reject invalid_time receivedAt"),
        ("edgeReceivedAt", "\"yesterday\"", "reject invalid_time edgeReceivedAt"),
        // Type and schema version.
        ("eventType", "\"view\"", "reject unknown_event_type eventType"),
        ("eventType", "\"Click\"", "reject unknown_event_type eventType"),
        ("eventType", "\"\"", "reject unknown_event_type eventType"),
        ("eventType", "\"click\\u0000\"", "reject unknown_event_type eventType"),
        ("eventType", "\"clic\\u006B\"", GOOD_OUTCOME),
        ("eventType", "2", "reject invalid_type eventType"),
        ("eventType", "null", "reject missing_field eventType"),
        ("eventType", "", "reject missing_field eventType"),
        ("schemaVersion", "2", "reject unknown_schema_version schemaVersion"),
        ("schemaVersion", "0", "reject unknown_schema_version schemaVersion"),
        ("schemaVersion", "-1", "reject unknown_schema_version schemaVersion"),
        ("schemaVersion", "1.0", "reject unknown_schema_version schemaVersion"),
        ("schemaVersion", "1e0", "reject unknown_schema_version schemaVersion"),
        ("schemaVersion", "\"1\"", "reject invalid_type schemaVersion"),
        ("schemaVersion", "true", "reject invalid_type schemaVersion"),
        ("schemaVersion", "1", GOOD_OUTCOME),
        ("schemaVersion", "null", GOOD_OUTCOME),
        // The other kinds of field.
        ("clickOrdinal", "4294967296", "reject out_of_range clickOrdinal"),
        ("clickOrdinal", "-1", "reject invalid_type clickOrdinal"),
        ("clickOrdinal", "4294967295", GOOD_OUTCOME),
        ("position", "9223372036854775808", "reject out_of_range position"),
        ("position", "-9223372036854775809", "reject out_of_range position"),
        ("position", "-9223372036854775808", GOOD_OUTCOME),
        ("position", "1.5", "reject invalid_type position"),
        ("position", "\"1\"", "reject invalid_type position"),
        ("propensity", "0.25", GOOD_OUTCOME),
        ("propensity", "\"0.25\"", "reject invalid_type propensity"),
        ("propensity", "-", "reject invalid_json"),
        ("attributes", "[]", "reject invalid_type attributes"),
        ("attributes", "[[\"k\",1]]", "reject invalid_type attributes"),
        ("attributes", "\"{}\"", "reject invalid_type attributes"),
        ("attributes", "{\"k\":1,\"k\":2}", "reject duplicate_field attributes"),
        ("attributes", "{\"k\":1,\"\\u006b\":2}", "reject duplicate_field attributes"),
        ("attributes", "{\"k\":[{\"a\":1,\"a\":1}]}", "reject duplicate_field attributes"),
        ("attributes", "{\"k\":1,}", "reject invalid_json"),
        ("attributes", "{\"k\":\"\\ud800\"}", "reject invalid_json"),
        ("attributes", "{\"\\ud800\":1}", "reject invalid_json"),
        ("attributes", "{\"k\"}", "reject invalid_json"),
        ("attributes", "{\"k\":\"\\u0000\u{202e}\"}", GOOD_OUTCOME),
        ("attributes", "{}", GOOD_OUTCOME),
        ("consent", "[1,{\"a\":null}]", GOOD_OUTCOME),
        ("consent", "{\"a\":1,\"a\":1}", "reject duplicate_field consent"),
        ("foreign", "{\"a\":1,\"a\":1}", "reject duplicate_field foreign"),
        ("foreign", "tru", "reject invalid_json"),
        ("foreign", "[1 2]", "reject invalid_json"),
        ("$extra", "{\"campaignId\":\"camp_2\"}", GOOD_OUTCOME),
        ("$target", "7", GOOD_OUTCOME),
    ];
    let mut cases: Vec<(&str, String, &str)> =
        fixed.iter().map(|(name, value, want)| (*name, (*value).to_owned(), *want)).collect();
    cases.extend([
        ("eventId", id(257), "reject too_long eventId"),
        ("eventId", id(256), GOOD_OUTCOME),
        ("eventId", wide(129), "reject too_long eventId"),
        ("eventId", wide(128), GOOD_OUTCOME),
        ("country", id(257), "reject too_long country"),
        ("ip", id(65), "reject too_long ip"),
        ("userAgent", id(2049), "reject too_long userAgent"),
        ("userAgent", id(2048), GOOD_OUTCOME),
        ("attributes", nested(31), GOOD_OUTCOME),
        ("attributes", nested(32), "reject too_large attributes"),
        ("attributes", nested(5_000), "reject too_large attributes"),
        ("foreign", nested(31), GOOD_OUTCOME),
        ("foreign", nested(32), "reject too_large foreign"),
        ("attributes", many(512), GOOD_OUTCOME),
        ("attributes", many(513), "reject too_large attributes"),
    ]);
    cases
}

/// Whole lines, and what becomes of each.
fn bad_lines() -> Vec<(Vec<u8>, &'static str)> {
    let good = line(&[]);
    let open = &good[..good.len() - 1];
    let of_length = |n: usize| {
        let bare = line(&[("note", "\"\"")]);
        line(&[("note", &format!("\"{}\"", "x".repeat(n - bare.len())))]).into_bytes()
    };
    let mut fields = open.to_owned();
    for i in 0..256 {
        fields.push_str(&format!(",\"f{i}\":{i}"));
    }
    let mut cases: Vec<(Vec<u8>, &str)> = vec![
        (of_length(64 * 1024), GOOD_OUTCOME),
        (of_length(64 * 1024 + 1), "reject too_large"),
        (of_length(200_000), "reject too_large"),
        (format!("{fields}}}").into_bytes(), GOOD_OUTCOME),
        (format!("{fields},\"f256\":1}}").into_bytes(), "reject too_large f256"),
        (b"{\"eventId\":\"\xff\"}".to_vec(), "reject invalid_utf8"),
        (b"{\"eventId\":\"\xc0\xaf\"}".to_vec(), "reject invalid_utf8"),
        (b"{\"eventId\":\"\xed\xa0\x80\"}".to_vec(), "reject invalid_utf8"),
        (b"{\"eventId\":\"\xe2\x82".to_vec(), "reject invalid_utf8"),
        (b"\xff\xfe{\x00}\x00".to_vec(), "reject invalid_utf8"),
        (b"\x00".to_vec(), "reject invalid_json"),
        (b"\x0c".to_vec(), "reject invalid_json"),
    ];
    let text = [
        (format!("\u{feff}{good}"), "reject invalid_json"),
        (format!("{good}{good}"), "reject invalid_json"),
        (format!("{good},"), "reject invalid_json"),
        (format!("{good} x"), "reject invalid_json"),
        (format!("{good}\u{0}"), "reject invalid_json"),
        (format!("[{good}]"), "reject not_an_object"),
        (format!("[{good}"), "reject invalid_json"),
        (r#"["evt_1","click","2026-11-21T08:05:16Z","camp_1"]"#.to_owned(), "reject not_an_object"),
        ("null".to_owned(), "reject not_an_object"),
        ("\"event\"".to_owned(), "reject not_an_object"),
        ("17".to_owned(), "reject not_an_object"),
        ("17 18".to_owned(), "reject invalid_json"),
        ("event".to_owned(), "reject invalid_json"),
        ("{}".to_owned(), "reject missing_field eventType"),
        (format!("{open},}}"), "reject invalid_json"),
        (format!("{{,{}", &good[1..]), "reject invalid_json"),
        (open.replace(',', " ,,") + "}", "reject invalid_json"),
        (good.replace(':', "="), "reject invalid_json"),
        (good.replace('"', "'"), "reject invalid_json"),
        (format!("// note\u{a0}{good}"), "reject invalid_json"),
        (format!("{open},\"eventId\":\"evt_2\"}}"), "reject duplicate_field eventId"),
        (format!("{open},\"eventId\":\"evt_1\"}}"), "reject duplicate_field eventId"),
        (format!("{open},\"event\\u0049d\":\"evt_2\"}}"), "reject duplicate_field eventId"),
        (format!("{open},\"country\":null,\"country\":\"US\"}}"), "reject duplicate_field country"),
        (format!("{open},\"a\":1,\"b\":2,\"\\u0061\":3}}"), "reject duplicate_field a"),
        (format!("{open},\"a\":null,\"a\":null}}"), "reject duplicate_field a"),
        (format!("{open},\"\\ud800\":1}}"), "reject invalid_json"),
        (format!("{open},\"a\u{1}\":1}}"), "reject invalid_json"),
        (format!("{open},7:1}}"), "reject invalid_json"),
        (
            line(&[
                ("eventId", "\"1f8fad5b-d9cb-469f-a165-70867728950e\""),
                ("userId", "\"\\u0061\""),
                ("x", "1"),
                ("priceMicros", "-1"),
            ]),
            "reject invalid_type priceMicros",
        ),
        (format!("{good}\r"), GOOD_OUTCOME),
        (format!(" \t{good} \r"), GOOD_OUTCOME),
    ];
    cases.extend(text.into_iter().map(|(text, want)| (text.into_bytes(), want)));
    // Every line that was cut short.
    cases.extend((1..good.len()).map(|n| (good.as_bytes()[..n].to_vec(), "reject invalid_json")));
    cases
}

fn cases() -> Vec<(Vec<u8>, &'static str)> {
    let members = bad_members().into_iter();
    let mut cases: Vec<_> = members.map(|(name, value, want)| (line(&[(name, &value)]).into_bytes(), want)).collect();
    cases.extend(bad_lines());
    cases
}

#[test]
fn each_bad_line_is_answered_with_code_and_field() {
    let config = Config::default();
    for (text, want) in cases() {
        let got = config.line(&text);
        let shown = String::from_utf8_lossy(&text);
        assert_eq!(got, want, "{}", shown.chars().take(300).collect::<String>());
    }
}

#[test]
fn a_bad_line_keeps_its_bytes_and_changes_no_neighbour() {
    let config = Config::default();
    let before = line(&[("eventId", "\"0f8fad5b-d9cb-469f-a165-70867728950e\""), ("priceMicros", "5"), ("x", "1")]);
    let after = line(&[("eventId", "\"evt_\\u0032\""), ("country", "\"Zürich\""), ("attributes", "{\"a\":[1]}")]);
    let alone = {
        let mut door = config.door();
        let decoded = door.decode(SOURCE, format!("{before}\n{after}"));
        (door.facts(&decoded.rows), door.json(&decoded.batch))
    };
    // One door for all: what a line leaves behind in the decoder must not matter either.
    let mut warm = config.door();
    for (bad, want) in cases() {
        let text = [before.as_bytes(), &bad, after.as_bytes(), b""].join(&b"\n"[..]);
        let decoded = warm.decode(SOURCE, &text);
        let outcomes = warm.outcomes(&decoded);
        assert_eq!(outcomes.len(), 3);
        assert_eq!(outcomes[1], want, "{}", String::from_utf8_lossy(&bad));
        let middle = &decoded.batch.heads[1];
        let (mut facts, mut json) = (warm.facts(&decoded.rows), warm.json(&decoded.batch));
        match middle.kind {
            RecordKind::Reject => {
                assert_eq!(warm.raw(&decoded.batch, middle), bad);
                // Beside its bytes and the field's name it leaves nothing behind.
                let param = want.splitn(3, ' ').nth(2).unwrap_or_default();
                let added = decoded.batch.arena.len() - text.len();
                assert_eq!(added, param.len() + "{\"x\":1}evt_2".len(), "{}", String::from_utf8_lossy(&bad));
                assert_eq!(decoded.batch.uuids.len(), 1, "{}", String::from_utf8_lossy(&bad));
            }
            _ => {
                facts.remove(1);
                json.remove(1);
            }
        }
        facts[1].ordinal -= 1;
        assert_eq!((facts, json), alone, "{}", String::from_utf8_lossy(&bad));
        assert_eq!(warm.project(&decoded.batch).0, warm.facts(&decoded.rows));
    }
}

#[test]
fn blank_lines_are_not_received() {
    let good = line(&[]);
    let check = |text: &str, events: usize, blank: u64| {
        let mut door = Config::default().door();
        let decoded = door.decode(SOURCE, text);
        assert_eq!(door.outcomes(&decoded), vec![GOOD_OUTCOME; events], "{text:?}");
        assert_eq!((decoded.blank, decoded.rows.records as usize), (blank, events), "{text:?}");
    };
    check("", 0, 0);
    check("\n", 0, 1);
    check("\r\n \t\r\n\n", 0, 3);
    check(&good, 1, 0);
    check(&format!("{good}\n"), 1, 0);
    check(&format!("{good}\r\n{good}\r\n"), 2, 0);
    check(&format!("\n{good}\n\n  \n{good}\n\n"), 2, 4);
}

#[test]
fn no_bidi_or_control_character_is_in_an_id() {
    // Unicode's property Bidi_Control, and its general category Cc.
    let bidi = [0x61c..=0x61c, 0x200e..=0x200f, 0x202a..=0x202e, 0x2066..=0x2069];
    let controls = [0..=0x1f, 0x7f..=0x9f];
    let mut door = Config::default().door();
    let mut check = |id: String, want: &str| {
        let decoded = door.decode(SOURCE, line(&[("eventId", &id)]));
        assert_eq!(door.outcomes(&decoded), [want], "{id}");
    };
    for code in 0..=0x2100 {
        let Some(c) = char::from_u32(code) else { continue };
        let is_control = controls.iter().any(|range| range.contains(&code));
        let forbidden = is_control || bidi.iter().any(|range| range.contains(&code));
        let want = if forbidden { "reject forbidden_character eventId" } else { GOOD_OUTCOME };
        check(format!("\"i\\u{code:04x}\""), want);
        if code >= 0x20 && c != '"' && c != '\\' {
            check(format!("\"i{c}\""), want);
        }
    }
}

#[test]
fn an_unknown_campaign_is_rejected_where_so_configured() {
    let config = |unknown, known: bool| {
        Config::with(|c| {
            c.unknown = unknown;
            if known {
                c.campaigns = vec![campaign("camp_2", BillableType::Cpc, "EUR", &["ad_2"])];
            }
        })
    };
    let check = |unknown, known, members: &[(&str, &str)], want: &str| {
        assert_eq!(config(unknown, known).line(line(members)), want, "{unknown:?} {known} {members:?}");
    };
    use UnknownCampaign::{LetThrough, Reject};
    check(Reject, true, &[], "reject unknown_campaign campaignId");
    check(Reject, false, &[], "reject unknown_campaign campaignId");
    check(LetThrough, true, &[], GOOD_OUTCOME);
    check(LetThrough, false, &[], GOOD_OUTCOME);
    let known = "event click 2026-11-21T08:05:16Z cpc EUR campaignId=camp_2";
    check(Reject, true, &[("campaignId", "\"camp_2\"")], known);
    check(Reject, true, &[("campaignId", "null"), ("adId", "\"ad_9\"")], "reject missing_field campaignId");
    check(Reject, true, &[("adId", "\"ad_2\"")], "reject unknown_campaign campaignId");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_become_one_record_and_change_no_neighbour(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 0..6),
        noise in prop::option::of(proptest::collection::vec(any::<u8>(), 1..60)),
    ) {
        let good = line(&[("priceMicros", "12"), ("attributes", "{\"a\":[1,null]}"), ("nöte", "\"\\u00e9\"")]);
        let mut bad = noise.unwrap_or_else(|| good.clone().into_bytes());
        for (at, byte, how) in edits {
            let i = at.index(bad.len());
            match how {
                0 => bad[i] = byte,
                1 => bad.insert(i, byte),
                _ if bad.len() > 1 => drop(bad.remove(i)),
                _ => {}
            }
        }
        bad.retain(|b| *b != b'\n');
        let mut door = Config::default().door();
        let alone = door.decode(SOURCE, &good);
        let alone = door.facts(&alone.rows).remove(0);
        let decoded = door.decode(SOURCE, [good.as_bytes(), &bad, good.as_bytes()].join(&b"\n"[..]));
        let facts = door.facts(&decoded.rows);
        prop_assert_eq!(decoded.batch.len() as u64 + decoded.blank, 3);
        prop_assert_eq!(decoded.rows.events.len() + decoded.rows.controls.len(), decoded.batch.len());
        let last = decoded.batch.len() as u32 - 1;
        prop_assert_eq!(&facts[0], &alone);
        prop_assert_eq!(facts.last().unwrap(), &crate::door::Facts { ordinal: last, ..alone });
        prop_assert_eq!(door.project(&decoded.batch).0, facts);
    }
}

#[test]
fn the_good_event_is_good() {
    assert_eq!(GOOD.len(), 4);
    assert_eq!(Config::default().line(line(&[])), GOOD_OUTCOME);
}
