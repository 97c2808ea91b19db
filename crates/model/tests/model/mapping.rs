//! What a configuration makes of lines: foreign names, campaigns and their terms, dimensions, required fields.
//!
//! Invariant: each case names the whole outcome of one line.

use adsum_model::catalog::{BillableType, EventTypeSpec, NullPolicy, TimeFormat};
use adsum_model::record::Stream;

use crate::door::{Config, SOURCE, campaign, dimension, line, mapped, names};

#[test]
fn table_of_mappings() {
    let text = TimeFormat::Rfc3339;
    let check = |format: TimeFormat, members: &[(&str, &str)], want: &str| {
        let config = Config::with(|c| {
            c.spec.mapping = vec![
                mapped("event_type", "eventType", &[("view", "impression"), ("clk", "click")], text),
                mapped("ts", "occurredAt", &[], format),
                mapped("ad", "adId", &[("", "none"), ("drop", "")], text),
                mapped("cost", "priceMicros", &[], text),
                mapped("cur", "currency", &[], text),
                mapped("extra", "attributes", &[], text),
                mapped("imp", "impressionId", &[], text),
            ];
        });
        assert_eq!(config.line(line(members)), want, "{format:?} {members:?}");
    };
    let of = |kind: &'static str| move |value: &'static str| [("eventType", ""), (kind, value)];
    let kind = of("event_type");
    let good = "event click 2026-11-21T08:05:16Z cpm USD campaignId=camp_1";
    check(text, &kind("\"click\""), good);
    check(text, &kind("\"clk\""), good);
    check(text, &kind("\"c\\u006ck\""), good);
    check(text, &kind("\"view\""), &good.replace("click", "impression"));
    check(text, &kind("\"purchase\""), "reject unknown_event_type eventType");
    check(text, &kind("null"), "reject missing_field eventType");
    check(text, &[("event_type", "\"clk\"")], "reject duplicate_field eventType");
    check(text, &[("event_type", "null")], "reject duplicate_field eventType");
    check(text, &[("ad", "\"ad_1\"")], &format!("{good} adId=ad_1"));
    check(text, &[("ad", "\"\"")], &format!("{good} adId=none"));
    check(text, &[("ad", "\"drop\"")], "reject empty adId");
    check(text, &[("ad", "\"a\u{202e}\"")], "reject forbidden_character adId");
    check(text, &[("ad", "7")], "reject invalid_type adId");
    check(text, &[("cost", "7"), ("cur", "\"EUR\"")], &format!("{good} price=7 foreign"));
    check(text, &[("cost", "\"7\"")], "reject invalid_type priceMicros");
    check(text, &[("extra", "{}"), ("imp", "\"0f8fad5b-d9cb-469f-a165-70867728950e\"")], good);

    let at = of("ts");
    let at = |value| at(value).map(|(name, v)| if name == "eventType" { ("occurredAt", "") } else { (name, v) });
    use TimeFormat::{EpochMicros, EpochMillis, EpochSeconds};
    check(text, &at("\"2026-11-21T09:05:16+01:00\""), good);
    check(text, &at("1795248316"), "reject invalid_type occurredAt");
    check(text, &at("\"1795248316\""), "reject invalid_time occurredAt");
    check(EpochSeconds, &at("1795248316"), good);
    check(EpochSeconds, &at("\"1795248316\""), good);
    check(EpochSeconds, &at("\"179524831\\u0036\""), good);
    check(EpochMillis, &at("1795248316000"), good);
    check(EpochMillis, &at("\"1795248316000\""), good);
    check(EpochMillis, &at("1795248316001"), &good.replace("16Z", "16.001000Z"));
    check(EpochMicros, &at("1795248316000000"), good);
    check(EpochMicros, &at("\"1795248316000001\""), &good.replace("16Z", "16.000001Z"));
    check(EpochMillis, &at("-1"), &good.replace("2026-11-21T08:05:16Z", "1969-12-31T23:59:59.999000Z"));
    check(EpochMillis, &at("\"-1\""), &good.replace("2026-11-21T08:05:16Z", "1969-12-31T23:59:59.999000Z"));
    check(EpochSeconds, &at("1795248316.5"), "reject invalid_type occurredAt");
    check(EpochSeconds, &at("\"1795248316.5\""), "reject invalid_time occurredAt");
    check(EpochSeconds, &at("\"+1795248316\""), "reject invalid_time occurredAt");
    check(EpochSeconds, &at("\"\""), "reject invalid_time occurredAt");
    check(EpochSeconds, &at("\"2026-11-21T08:05:16Z\""), "reject invalid_time occurredAt");
    check(EpochSeconds, &at("1795248316000000"), "reject invalid_time occurredAt");
    check(EpochSeconds, &at("18446744073709551616"), "reject invalid_time occurredAt");
    check(EpochSeconds, &at("null"), "reject missing_field occurredAt");
    check(EpochSeconds, &at("[1795248316]"), "reject invalid_type occurredAt");
    check(EpochSeconds, &at("true"), "reject invalid_type occurredAt");
    // Under its own name the field keeps its own form.
    check(EpochSeconds, &[], good);
    check(EpochSeconds, &[("occurredAt", "1795248316")], "reject invalid_type occurredAt");
}

#[test]
fn a_mapped_event_has_the_content_of_the_event_that_it_means() {
    let config = Config::with(|c| {
        c.spec.mapping = vec![
            mapped("event_type", "eventType", &[("clk", "click")], TimeFormat::Rfc3339),
            mapped("ts", "occurredAt", &[], TimeFormat::EpochMillis),
            mapped("id", "eventId", &[], TimeFormat::Rfc3339),
        ];
    });
    let foreign = r#"{"id":"evt_1","event_type":"clk","ts":1795248316000,"campaignId":"camp_1"}"#;
    let (ours, theirs) = (Config::default().event(SOURCE, &line(&[])), config.event(SOURCE, foreign));
    assert_eq!(ours, theirs);
}

#[test]
fn table_of_terms() {
    let config = |required: &[&str], stream| {
        Config::with(|c| {
            c.spec.required = names(required);
            c.campaigns = vec![
                campaign("camp_1", BillableType::Cpc, "EUR", &["ad_1"]),
                campaign("camp_2", BillableType::Cpa, "JPY", &["ad_2", "ad_3"]),
            ];
            c.stream = stream;
        })
    };
    let all = ["eventId", "eventType", "occurredAt", "campaignId"];
    let check = |members: &[(&str, &str)], want: &str| {
        let got = config(&all, Stream::Live).line(line(members));
        assert_eq!(got.replacen("event click 2026-11-21T08:05:16Z ", "", 1), want, "{members:?}");
    };
    check(&[], "cpc EUR campaignId=camp_1");
    check(&[("campaignId", "\"camp_2\"")], "cpa JPY campaignId=camp_2");
    check(&[("campaignId", "\"camp_9\"")], "cpm USD campaignId=camp_9");
    // A campaign is found from its ad; one that was sent wins.
    check(&[("campaignId", ""), ("adId", "\"ad_3\"")], "cpa JPY campaignId=camp_2 adId=ad_3");
    check(&[("campaignId", "null"), ("adId", "\"ad_1\"")], "cpc EUR campaignId=camp_1 adId=ad_1");
    check(&[("adId", "\"ad_2\"")], "cpc EUR campaignId=camp_1 adId=ad_2");
    check(&[("campaignId", ""), ("adId", "\"ad_9\"")], "reject missing_field campaignId");
    // Another currency than the campaign's; none takes the campaign's.
    check(&[("currency", "\"EUR\"")], "cpc EUR campaignId=camp_1");
    check(&[("currency", "\"USD\"")], "cpc EUR campaignId=camp_1 foreign");
    check(&[("currency", "null")], "cpc EUR campaignId=camp_1");
    // A price of 0 is a price; without one the event is unpriced.
    check(&[("priceMicros", "0")], "cpc EUR campaignId=camp_1 price=0");
    check(&[("priceMicros", "7"), ("valueMicros", "9")], "cpc EUR campaignId=camp_1 price=7 value=9");

    let bare = line(&[("campaignId", "")]);
    assert_eq!(config(&all[..3], Stream::Import).line(&bare), "event click 2026-11-21T08:05:16Z cpm USD import");
    // What was found is no content: a retry that names the campaign is told from one that does not.
    let found = config(&all, Stream::Live).event(SOURCE, &line(&[("campaignId", ""), ("adId", "\"ad_1\"")]));
    let later = Config::with(|c| c.spec.required = names(&all[..3]));
    assert_eq!(later.event(SOURCE, &line(&[("campaignId", ""), ("adId", "\"ad_1\"")])).content, found.content);
}

#[test]
fn table_of_dimensions() {
    let check = |from: &str, nulls: NullPolicy, members: &[(&str, &str)], want: &str| {
        let config = Config::with(|c| c.spec.dimensions = vec![dimension(1000, "made", from, nulls)]);
        let got = config.line(line(members));
        let got = got.replacen("event click 2026-11-21T08:05:16Z cpm USD campaignId=camp_1", "event", 1);
        assert_eq!(got, want, "{from} {members:?}");
    };
    use NullPolicy::{Keep, Reject};
    let none = || NullPolicy::Replace("none".to_owned());
    let site = |value| [("site", value)];
    check("site", Keep, &site("\"a\""), "event made=a");
    check("site", Keep, &site("null"), "event");
    check("site", Keep, &[], "event");
    check("site", Keep, &site("\"\""), "reject empty site");
    check("site", Keep, &site("7"), "reject invalid_type site");
    check("site", Reject, &site("\"a\""), "event made=a");
    check("site", Reject, &site("null"), "reject missing_field site");
    check("site", Reject, &[], "reject missing_field site");
    check("site", none(), &site("\"a\""), "event made=a");
    check("site", none(), &site("null"), "event made=none");
    check("site", none(), &[], "event made=none");
    check("sessionId", Keep, &[("sessionId", "\"s\"")], "event made=s");
    check("ip", Keep, &[("ip", "\"192.0.2.7\"")], "event made=192.0.2.7");

    let kind = |value| [("attributes", value)];
    let from = "attributes.kind";
    let long = [format!(r#"{{"kind":"{}"}}"#, "x".repeat(257)), format!(r#"{{"kind":{}}}"#, "9".repeat(257))];
    check(from, Keep, &kind(r#"{"kind":"a"}"#), "event made=a");
    check(from, Keep, &kind(r#"{"k\u0069nd":"\u0061"}"#), "event made=a");
    check(from, Keep, &kind(r#"{"kind":-1.50}"#), "event made=-1.50");
    check(from, Keep, &kind(r#"{"kind":true}"#), "event made=true");
    check(from, Keep, &kind(r#"{"kind":null}"#), "event");
    check(from, Keep, &kind(r#"{"kind":{"a":1}}"#), "event");
    check(from, Keep, &kind(r#"{"kind":["a"]}"#), "event");
    check(from, Keep, &kind(r#"{"other":{"kind":"a"}}"#), "event");
    check(from, Keep, &kind("null"), "event");
    check(from, Keep, &kind(r#"{"kind":"a\u0000"}"#), "reject forbidden_character attributes.kind");
    check(from, Keep, &kind("{\"kind\":\"a\u{2066}\"}"), "reject forbidden_character attributes.kind");
    check(from, Keep, &[("attributes", long[0].as_str())], "reject too_long attributes.kind");
    check(from, Keep, &[("attributes", long[1].as_str())], "reject too_long attributes.kind");
    check(from, Reject, &kind(r#"{"kind":"a"}"#), "event made=a");
    check(from, Reject, &kind(r#"{"kind":null}"#), "reject missing_field attributes.kind");
    check(from, Reject, &kind(r#"{"kind":[]}"#), "reject missing_field attributes.kind");
    check(from, Reject, &[], "reject missing_field attributes.kind");
    check(from, none(), &kind(r#"{"kind":false}"#), "event made=false");
    check(from, none(), &kind(r#"{"kind":{}}"#), "event made=none");
    check(from, none(), &[], "event made=none");
}

#[test]
fn table_of_declared_types_and_required_fields() {
    let config = Config::with(|c| {
        c.spec.event_types = vec![EventTypeSpec {
            id: 1000,
            name: "videoStart".to_owned(),
            plural: "videoStarts".to_owned(),
            doc: String::new(),
        }];
        c.spec.dimensions = vec![dimension(1000, "site", "site", NullPolicy::Keep)];
        c.spec.required_by_type = vec![
            ("click".to_owned(), names(&["impressionId"])),
            ("videoStart".to_owned(), names(&["site", "receivedAt", "attributes"])),
        ];
    });
    let check = |members: &[(&str, &str)], want: &str| {
        let got = config.line(line(members));
        assert_eq!(got.split(" 2026").next().unwrap(), want, "{members:?}");
    };
    check(&[], "reject missing_field impressionId");
    check(&[("impressionId", "null")], "reject missing_field impressionId");
    check(&[("impressionId", "\"i\"")], "event click");
    check(&[("eventType", "\"impression\"")], "event impression");
    let video = ("eventType", "\"videoStart\"");
    let (site, at) = (("site", "\"s\""), ("receivedAt", "\"2026-11-21T08:05:17Z\""));
    check(&[video], "reject missing_field attributes");
    check(&[video, ("attributes", "{}")], "reject missing_field receivedAt");
    check(&[video, ("attributes", "{}"), at], "reject missing_field site");
    check(&[video, ("attributes", "{}"), at, site], "event videoStart");
    check(&[("eventType", "\"videoStarts\"")], "reject unknown_event_type eventType");
}
