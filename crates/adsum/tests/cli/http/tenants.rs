//! Tenants: a token of one advertiser sees its own campaigns, and nothing tells it that there are others.
//!
//! Invariant: what is somebody else's answers byte for byte like what does not exist. Not here: who may call what
//! ([`super::access`]).

use std::fmt::Write;

use arrow_array::cast::AsArray;
use arrow_ipc::reader::StreamReader;
use serde_json::{Value, json};

use super::collect::start;
use super::server::{Answer, Server};
use super::visible::await_counted;
use crate::events::{Event, text};
use crate::place::Place;

const JSON: &str = "application/json";
const CSV: &str = "text/csv";
const ARROW: &str = "application/vnd.apache.arrow.stream";

/// What is somebody else's, as campaign and ad: another advertiser's, the configuration's, declared by nobody.
const THEIRS: [(&str, &str); 4] =
    [("camp_rival", "ad_rival"), ("camp_rival", "ad_both"), ("camp_conf", "ad_conf"), ("camp_loose", "ad_loose")];
/// Words that stand in somebody else's data alone.
const SECRETS: [&str; 7] = ["rival", "conf", "loose", "GBP", "JPY", "pub_theirs", "NP"];

/// A service with the data of several tenants.
struct Tenants {
    _place: Place,
    server: Server,
    /// Of `adv_own`.
    scoped: String,
    /// Of an advertiser without campaigns.
    idle: String,
    /// The day of the events and the next one, as parameters.
    range: String,
}

/// Impressions and clicks of campaign and ad, by users `first` to `last`; one click a user.
fn seen(campaign: &str, ad: &str, at: &str, (first, last): (u32, u32)) -> Vec<Event> {
    let (publisher, country) = if campaign.starts_with("camp_own") { ("pub_own", "DE") } else { ("pub_theirs", "NP") };
    let event = |user: u32, kind: &str| {
        Event::new(&format!("{campaign}_{ad}_{user}_{kind}"))
            .with("eventType", kind)
            .with("campaignId", campaign)
            .with("adId", ad)
            .with("publisherId", publisher)
            .with("country", country)
            .with("userId", &format!("user_{user}"))
            .with_json("priceMicros", "1000")
            .at(at)
    };
    (first..=last).flat_map(|user| ["impression", "click"].map(|kind| event(user, kind))).collect()
}

fn tenants() -> Tenants {
    let place = Place::new();
    let server = start(&place, "[campaigns.camp_conf]\ncurrency = \"JPY\"\nads = [\"ad_conf\"]\n");
    for advertiser in ["adv_own", "adv_rival", "adv_idle"] {
        server.put(&format!("/v1/advertisers/{advertiser}"), &json!({"timeZone": "UTC"})).expect(200);
    }
    for (campaign, advertiser, currency) in
        [("camp_own_1", "adv_own", "EUR"), ("camp_own_2", "adv_own", "USD"), ("camp_rival", "adv_rival", "GBP")]
    {
        let body = json!({"advertiser": advertiser, "currency": currency});
        server.put(&format!("/v1/campaigns/{campaign}"), &body).expect(200);
    }
    for (ad, campaign) in [("ad_own", "camp_own_1"), ("ad_both", "camp_own_2"), ("ad_rival", "camp_rival")] {
        server.put(&format!("/v1/ads/{ad}"), &json!({"campaignId": campaign})).expect(200);
    }
    let now = server.put("/v1/publishers/pub_own", &json!({})).expect(200)["changedAt"].as_str().unwrap().to_owned();
    let day: jiff::civil::Date = now[..10].parse().unwrap();
    let events = [
        seen("camp_own_1", "ad_own", &now, (1, 3)),
        seen("camp_own_2", "ad_both", &now, (1, 2)),
        // An ad that rivals name too.
        seen("camp_rival", "ad_both", &now, (3, 9)),
        seen("camp_rival", "ad_rival", &now, (1, 20)),
        seen("camp_conf", "ad_conf", &now, (1, 4)),
        seen("camp_loose", "ad_loose", &now, (1, 4)),
    ]
    .concat();
    assert_eq!(server.collect(&text(&events)).expect(202)["accepted"], events.len());
    await_counted(&server, "admin", events.len() as i64);
    let (scoped, idle) =
        (server.new_token("reporter", Some("adv_own")), server.new_token("reporter", Some("adv_idle")));
    let range = format!("from={day}&to={}", day.tomorrow().unwrap().tomorrow().unwrap());
    Tenants { _place: place, server, scoped, idle, range }
}

impl Tenants {
    fn ask(&self, token: &str, path: &str, accept: &str) -> Answer {
        self.server.request_as(Some(token), "GET", path, &[("accept", accept)], None)
    }

    fn rows(&self, token: &str, path: &str) -> Vec<Value> {
        self.ask(token, path, JSON).expect(200)["rows"].as_array().unwrap().clone()
    }
}

/// An answer as bytes, but for the ids of the request and the answer's date.
fn shown(answer: &Answer) -> String {
    let mut shown = format!("{}\n", answer.status);
    for (name, value) in &answer.headers {
        if name != "date" && name != "x-request-id" {
            writeln!(shown, "{name}: {value}").unwrap();
        }
    }
    let body = String::from_utf8_lossy(&answer.body);
    shown + &answer.header("x-request-id").map_or_else(|| body.to_string(), |id| body.replace(id, "REQUEST"))
}

#[test]
fn what_is_somebody_else_s_is_nowhere() {
    let tenants = tenants();
    let range = &tenants.range;
    let rows = [
        format!("/v1/reports/campaigns/CAMPAIGN?{range}"),
        format!("/v1/reports/campaigns/CAMPAIGN?{range}&granularity=day&dimensions=country,adId"),
        format!("/v1/reports/campaigns/CAMPAIGN?{range}&filter.adId=AD"),
        format!("/v1/reports/campaigns/CAMPAIGN?{range}&dimensions=mood"),
        format!("/v1/reports/campaigns/CAMPAIGN?{range}&limit=1&orderBy=-clicks"),
        "/v1/reports/campaigns/CAMPAIGN?from=x&to=y".to_owned(),
        format!("/v1/reports?{range}&filter.campaignId=CAMPAIGN"),
        format!("/v1/reports?{range}&filter.campaignId=CAMPAIGN&filter.campaignId=camp_own_1"),
        format!("/v1/reports?{range}&filter.campaignId=CAMPAIGN&limit=1&orderBy=clicks"),
    ];
    let of_ad = [
        format!("/v1/reports?{range}&dimensions=adId&filter.adId=AD"),
        format!("/v1/ads/AD/aggregated_count?{range}"),
        format!("/v1/ads/AD/distinct_users?{range}"),
        "/v1/ads/popular_ads?window=24h&filter.adId=AD".to_owned(),
        "/v1/ads/AD".to_owned(),
    ];
    let of_both = [
        format!("/v1/reports?{range}&filter.campaignId=CAMPAIGN&filter.adId=AD"),
        format!("/v1/ads/AD/aggregated_count?{range}&filter.campaignId=CAMPAIGN"),
        format!("/v1/ads/AD/distinct_users?{range}&filter.campaignId=CAMPAIGN"),
        "/v1/ads/popular_ads?window=24h&filter.campaignId=CAMPAIGN".to_owned(),
        "/v1/campaigns/CAMPAIGN".to_owned(),
        "/v1/campaigns/CAMPAIGN/history".to_owned(),
    ];
    let mut compared = 0;
    for (campaign, ad) in THEIRS {
        // Nobody's names are as long, so that lengths are the same.
        let nobody = |id: &str| id.chars().map(|c| if c == '_' { c } else { 'x' }).collect::<String>();
        let (no_campaign, no_ad) = (nobody(campaign), nobody(ad));
        // The ad that both tenants show has numbers of its own.
        let own_too = ad == "ad_both";
        for path in rows.iter().chain(&of_both).chain(of_ad.iter().filter(|_| !own_too)) {
            let accepts = if path.starts_with("/v1/reports") { &[JSON, CSV, ARROW][..] } else { &[JSON] };
            for accept in accepts {
                let ask = |campaign: &str, ad: &str| {
                    tenants.ask(&tenants.scoped, &path.replace("CAMPAIGN", campaign).replace("AD", ad), accept)
                };
                // The revision grows with every second: both must be of one.
                let same = (0..20).any(|_| {
                    let theirs = shown(&ask(campaign, ad)).replace(campaign, &no_campaign).replace(ad, &no_ad);
                    theirs == shown(&ask(&no_campaign, &no_ad))
                });
                let (theirs, nobodys) = (shown(&ask(campaign, ad)), shown(&ask(&no_campaign, &no_ad)));
                assert!(same, "{path} as {accept}\n{theirs}\n{nobodys}");
                compared += 1;
            }
        }
    }
    println!("{compared} questions compared");
    // The same questions about one's own have an answer: the comparison can fail.
    for path in rows.iter().take(3).chain(&of_ad).chain(&of_both) {
        let ask = |campaign: &str, ad: &str| {
            let mut answer =
                tenants.ask(&tenants.scoped, &path.replace("CAMPAIGN", campaign).replace("AD", ad), JSON).json();
            for name in ["meta", "adId", "requestId"] {
                answer.as_object_mut().unwrap().remove(name);
            }
            answer
        };
        assert_ne!(ask("camp_own_1", "ad_own"), ask("camp_xxx_x", "ad_xxx"), "{path}");
    }
}

#[test]
fn a_report_of_all_is_of_one_s_own() {
    let tenants = tenants();
    let (range, all, own) = (&tenants.range, &tenants.server.token, &tenants.scoped);
    let figure = |rows: &[Value], name: &str| rows.iter().map(|r| r[name].as_i64().unwrap()).sum::<i64>();
    for by in ["campaignId", "campaignId,adId", "adId", "country", "publisherId,country", ""] {
        let path = format!("/v1/reports?{range}&dimensions={by}");
        let (everything, mine, none) =
            (tenants.rows(all, &path), tenants.rows(own, &path), tenants.rows(&tenants.idle, &path));
        assert_eq!((figure(&everything, "impressions"), figure(&mine, "impressions"), none.len()), (40, 5, 0), "{by}");
        assert_eq!((figure(&mine, "clicks"), figure(&mine, "spendMicros")), (5, 5000), "{by}");
        // One row at a time, by time and by a column, shows the same rows.
        for order in ["", "&orderBy=-impressions"] {
            let (mut paged, mut cursor) = (Vec::new(), String::new());
            loop {
                let answer = tenants.ask(own, &format!("{path}{order}&limit=1{cursor}"), JSON);
                let page = answer.expect(200);
                paged.extend(page["rows"].as_array().unwrap().clone());
                match page["nextCursor"].as_str() {
                    None => break,
                    Some(next) => cursor = format!("&cursor={next}"),
                }
            }
            assert_eq!((paged.len(), figure(&paged, "impressions")), (mine.len(), 5), "{by} {order}");
        }
        // A cursor of somebody who sees all is none of theirs.
        let foreign = tenants.ask(all, &format!("{path}&limit=1"), JSON).expect(200)["nextCursor"].clone();
        let refused = tenants.ask(own, &format!("{path}&limit=1&cursor={}", foreign.as_str().unwrap()), JSON);
        assert_eq!(refused.expect(400)["code"], "invalid_cursor", "{by}");
        // Streams.
        let csv = tenants.ask(own, &path, CSV).expect_text(200);
        assert_eq!(csv.trim_end().split("\r\n").count(), mine.len() + 1, "{csv}");
        let arrow = tenants.ask(own, &path, ARROW).body;
        let batches = StreamReader::try_new(arrow.as_slice(), None).unwrap().map(Result::unwrap);
        let mut impressions = 0;
        for batch in batches {
            let column = batch.column_by_name("impressions").unwrap();
            impressions += column.as_primitive::<arrow_array::types::Int64Type>().values().iter().sum::<i64>();
        }
        assert_eq!(impressions, 5, "{by}");
    }
}

#[test]
fn of_an_ad_that_others_show_too_one_sees_one_s_own() {
    let tenants = tenants();
    let (range, all, own) = (&tenants.range, &tenants.server.token, &tenants.scoped);
    let counts = |token: &str, ad: &str| {
        let answer = tenants.ask(token, &format!("/v1/ads/{ad}/aggregated_count?{range}"), JSON).expect(200);
        let currencies = answer["currencies"].as_array().unwrap();
        let money: Vec<_> = currencies.iter().map(|c| c["currency"].as_str().unwrap().to_owned()).collect();
        (answer["impressions"].as_i64().unwrap(), answer["clicks"].as_i64().unwrap(), money.join(" "))
    };
    let users = |token: &str, ad: &str| -> i64 {
        let answer = tenants.ask(token, &format!("/v1/ads/{ad}/distinct_users?{range}"), JSON).expect(200);
        answer["windows"].as_array().unwrap().iter().map(|w| w["distinctUsers"].as_i64().unwrap()).sum()
    };
    let popular = |token: &str| -> Vec<(String, i64)> {
        let answer = tenants.ask(token, "/v1/ads/popular_ads?window=24h", JSON).expect(200);
        let ads = answer["ads"].as_array().unwrap().iter();
        ads.map(|ad| (ad["adId"].as_str().unwrap().to_owned(), ad["clicks"].as_i64().unwrap())).collect()
    };
    for (token, ad, want, distinct) in [
        (all, "ad_both", (9, 9, "GBP USD".to_owned()), 9),
        (own, "ad_both", (2, 2, "USD".to_owned()), 2),
        (own, "ad_own", (3, 3, "EUR".to_owned()), 3),
        (own, "ad_rival", (0, 0, String::new()), 0),
        (&tenants.idle, "ad_both", (0, 0, String::new()), 0),
    ] {
        assert_eq!((counts(token, ad), users(token, ad)), (want, distinct), "{ad}");
    }
    let ads = |list: &[(&str, i64)]| list.iter().map(|(ad, n)| ((*ad).to_owned(), *n)).collect::<Vec<_>>();
    assert_eq!(popular(all), ads(&[("ad_rival", 20), ("ad_both", 9), ("ad_conf", 4), ("ad_loose", 4), ("ad_own", 3)]));
    assert_eq!(popular(own), ads(&[("ad_own", 3), ("ad_both", 2)]));
    assert_eq!(popular(&tenants.idle), []);
}

#[test]
fn no_answer_names_what_is_somebody_else_s() {
    let tenants = tenants();
    let range = &tenants.range;
    let paths = [
        format!("/v1/reports?{range}&dimensions=campaignId,adId,country"),
        format!("/v1/reports?{range}&granularity=bucket&dimensions=publisherId,country"),
        format!("/v1/reports/campaigns/camp_own_2?{range}&dimensions=adId"),
        format!("/v1/ads/ad_both/aggregated_count?{range}"),
        format!("/v1/ads/ad_both/distinct_users?{range}"),
        "/v1/ads/popular_ads?window=24h".to_owned(),
        "/v1/advertisers".to_owned(),
        "/v1/campaigns".to_owned(),
        "/v1/campaigns/camp_own_1/history".to_owned(),
        "/v1/ads".to_owned(),
        "/v1/ads/ad_both".to_owned(),
        "/v1/catalog".to_owned(),
    ];
    for path in &paths {
        let accepts = if path.starts_with("/v1/reports") { &[JSON, CSV, ARROW][..] } else { &[JSON] };
        for accept in accepts {
            let answer = tenants.ask(&tenants.scoped, path, accept);
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            assert_eq!(answer.status, 200, "{path}: {body}");
            for secret in SECRETS {
                assert!(!body.contains(secret), "{secret} in {path} as {accept}: {body}");
            }
            assert!(path == "/v1/catalog" || body.contains("own") || body.contains("ad_both"), "{path}: {body}");
        }
    }
    // A campaign is seen from when it is the advertiser's, before it has events.
    let new = format!("/v1/reports/campaigns/camp_own_3?{range}");
    tenants.ask(&tenants.scoped, &new, JSON).expect(404);
    tenants.server.put("/v1/campaigns/camp_own_3", &json!({"advertiser": "adv_own", "currency": "EUR"})).expect(200);
    assert_eq!(tenants.rows(&tenants.scoped, &new), Vec::<Value>::new());
}
