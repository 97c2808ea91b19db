//! The terms of campaigns over live traffic: what an event is billed by is what held when it occurred, as far as it was
//! known when the event came.
//!
//! Invariant: the sums of every test are made by hand. Not here: what may be put ([`super::metadata`]).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::collect::{CONFIG, event, ledger, start};
use super::server::{Server, Target};
use super::visible::await_counted;
use crate::events::Event;
use crate::place::{Place, Row};

const RANGE: &str = "from=2020-01-01&to=2020-01-02";

/// Events of one day: type, time of day and price.
struct Sender<'a> {
    server: &'a Server,
    sent: u64,
}

impl Sender<'_> {
    fn send(&mut self, event_type: &str, campaign: &str, time: &str, price: Option<u64>) {
        self.sent += 1;
        let event = event(format!("e_{}", self.sent)).with("eventType", event_type).with("campaignId", campaign);
        let event = event.at(&format!("2020-01-01T{time}Z"));
        let event = match price {
            Some(price) => event.with_json("priceMicros", &price.to_string()),
            None => event,
        };
        self.take(&event);
    }

    fn take(&self, event: &Event) {
        assert_eq!(self.server.collect(&event.line()).expect(202)["accepted"], 1);
    }
}

/// A metric of a campaign by hour of the day; hours without are left out.
fn by_hour(server: &Server, campaign: &str, metric: &str) -> BTreeMap<String, i64> {
    let rows = server.get(&format!("/v1/reports/campaigns/{campaign}?{RANGE}")).expect(200)["rows"].clone();
    let hours = rows.as_array().unwrap().iter().map(|row| {
        let row = Row(row.as_object().unwrap().clone());
        (row.text("bucketStart")[11..13].to_owned(), row.number(metric))
    });
    hours.filter(|(_, value)| *value != 0).collect()
}

fn hours(list: &[(&str, i64)]) -> BTreeMap<String, i64> {
    list.iter().map(|(hour, value)| ((*hour).to_owned(), *value)).collect()
}

fn put(server: &Target, campaign: &str, more: Value) {
    let mut body = json!({"advertiser": "adv_1", "currency": "EUR"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.put(&format!("/v1/campaigns/{campaign}"), &body).expect(200);
}

fn begin(place: &Place, config: &str) -> Server {
    let server = start(place, config);
    server.put("/v1/advertisers/adv_1", &json!({"timeZone": "UTC"})).expect(200);
    server
}

#[test]
fn the_billable_type_changes_in_the_middle_of_the_day_and_back_in_time() {
    let place = Place::new();
    let server = begin(&place, CONFIG);
    let mut sender = Sender { server: &server, sent: 0 };
    put(&server, "camp_1", json!({"billable": "cpm", "effectiveFrom": "2020-01-01T00:00:00Z"}));
    server.put("/v1/ads/ad_1", &json!({"campaignId": "camp_1"})).expect(200);
    sender.send("impression", "camp_1", "08:00:00", Some(1_000));
    sender.send("click", "camp_1", "08:30:00", Some(50_000));
    sender.send("impression", "camp_1", "14:00:00", Some(2_000));
    // By the click from noon on. What was counted at 14:00 stays what it was.
    put(&server, "camp_1", json!({"billable": "cpc", "effectiveFrom": "2020-01-01T12:00:00Z"}));
    sender.send("impression", "camp_1", "11:59:59.999", Some(300));
    sender.send("click", "camp_1", "11:30:00", Some(50_000));
    sender.send("impression", "camp_1", "13:00:00", Some(700));
    sender.send("click", "camp_1", "12:00:00", Some(40_000));
    sender.send("click", "camp_1", "15:00:00", None);
    // Dated back: by the conversion from ten to noon.
    put(&server, "camp_1", json!({"billable": "cpa", "effectiveFrom": "2020-01-01T10:00:00Z"}));
    sender.send("conversion", "camp_1", "10:30:00", Some(900_000));
    sender.send("impression", "camp_1", "10:45:00", Some(111));
    sender.send("impression", "camp_1", "09:45:00", Some(222));
    sender.send("conversion", "camp_1", "13:45:00", Some(900_000));
    sender.send("click", "camp_1", "13:50:00", Some(60_000));
    // The campaign is found from the ad, and its terms with it.
    sender.take(
        &event("by_ad")
            .without("campaignId")
            .with("adId", "ad_1")
            .with_json("priceMicros", "5")
            .at("2020-01-01T07:00:00Z"),
    );
    await_counted(&server, "admin", 14);
    let spend = [
        ("07", 5),
        ("08", 1_000),
        ("09", 222),
        ("10", 900_000),
        ("11", 300),
        ("12", 40_000),
        ("13", 60_000),
        ("14", 2_000),
    ];
    assert_eq!(by_hour(&server, "camp_1", "spendMicros"), hours(&spend));
    assert_eq!(by_hour(&server, "camp_1", "unpriced"), hours(&[("15", 1)]));
    assert_eq!(by_hour(&server, "camp_1", "clicks"), hours(&[("08", 1), ("11", 1), ("12", 1), ("13", 1), ("15", 1)]));
    assert_eq!(server.stop(), Some(0));
    // The same of the data directory, and after a restart.
    let rows = place.report(&["--config", "adsum.toml", "--granularity", "day"]);
    assert_eq!((rows[0].number("spendMicros"), rows[0].text("currency")), (spend.iter().map(|(_, s)| s).sum(), "EUR"));
    let server = start(&place, CONFIG);
    assert_eq!(by_hour(&server, "camp_1", "spendMicros"), hours(&spend));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn paused_or_outside_its_flight_a_campaign_counts_and_is_flagged() {
    let place = Place::new();
    let server = begin(&place, CONFIG);
    let mut sender = Sender { server: &server, sent: 0 };
    let flight = |more: Value| {
        let mut body = json!({"start": "2020-01-01T10:00:00Z", "end": "2020-01-01T20:00:00Z"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        put(&server, "camp_1", body);
    };
    flight(json!({"effectiveFrom": "2020-01-01T00:00:00Z"}));
    flight(json!({"effectiveFrom": "2020-01-01T14:00:00Z", "status": "paused"}));
    flight(json!({"effectiveFrom": "2020-01-01T16:00:00Z"}));
    for time in ["09:59:59.999999", "10:00:00", "13:59:59", "14:00:00", "15:59:59", "16:00:00", "19:59:59", "20:00:00"]
    {
        sender.send("impression", "camp_1", time, Some(100));
    }
    await_counted(&server, "admin", 8);
    assert_eq!(by_hour(&server, "camp_1", "outOfFlight"), hours(&[("09", 1), ("14", 1), ("15", 1), ("20", 1)]));
    let all = ["09", "10", "13", "14", "15", "16", "19", "20"];
    assert_eq!(by_hour(&server, "camp_1", "impressions"), hours(&all.map(|hour| (hour, 1))));
    assert_eq!(by_hour(&server, "camp_1", "spendMicros"), hours(&all.map(|hour| (hour, 100))), "billed all the same");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn an_unknown_campaign_is_rejected_where_so_configured_until_it_is_put() {
    let place = Place::new();
    let server = begin(&place, &format!("{CONFIG}[campaign_defaults]\nunknown = \"reject\"\n"));
    let send = |id: &str, campaign: &str| {
        let answer = server.collect(&event(id).with("campaignId", campaign).line()).expect(202);
        let error = &answer["errors"][0];
        (answer["accepted"].as_i64().unwrap(), error["code"].as_str().map(str::to_owned), error["param"].clone())
    };
    let rejected = (0, Some("unknown_campaign".to_owned()), json!("campaignId"));
    assert_eq!(send("1", "camp_1"), rejected);
    put(&server, "camp_1", json!({}));
    // A rejected event holds no key: the same one counts now.
    assert_eq!(send("1", "camp_1").0, 1);
    assert_eq!(send("2", "camp_2"), rejected);
    await_counted(&server, "admin", 1);
    assert_eq!(by_hour(&server, "camp_1", "impressions"), hours(&[("00", 1)]));
    server.get(&format!("/v1/reports/campaigns/camp_2?{RANGE}")).expect(404);
    assert_eq!(server.stop(), Some(0));
    let ledger = ledger(&place, "admin");
    assert_eq!((&ledger["received"], &ledger["rejected"], &ledger["counted"]), (&json!(3), &json!(2), &json!(1)));
}

#[test]
fn a_currency_is_fixed_by_events_that_are_still_on_their_way() {
    const CAMPAIGNS: u64 = 20;
    const EVENTS: u64 = 2_000;
    let place = Place::new();
    let server = begin(&place, "[time]\nhorizon_seconds = 4000000000\n");
    let (mut changed, mut refused) = (0, 0);
    for n in 0..CAMPAIGNS {
        let campaign = format!("camp_{n}");
        put(&server, &campaign, json!({}));
        // Without events it may change.
        put(&server, &campaign, json!({"currency": "GBP"}));
        // A batch takes a while from when its campaign is looked up to when it lies in the log.
        let line = |i| event(format!("{campaign}_{i}")).with("campaignId", &campaign).with_json("priceMicros", "10");
        let batch: String = (0..EVENTS).map(|i| line(i).line() + "\n").collect();
        let acknowledged = AtomicBool::new(false);
        let target = server.target();
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| {
                assert_eq!(target.collect(&batch).expect(202)["accepted"], EVENTS);
                acknowledged.store(true, Ordering::SeqCst);
            });
            // Meanwhile the currency is to change, again and again, each time to a new one.
            for letters in 0_u8.. {
                let (over, before) = (sending.is_finished(), acknowledged.load(Ordering::SeqCst));
                let currency = format!("X{}{}", char::from(b'A' + letters / 26), char::from(b'A' + letters % 26));
                let body = json!({"advertiser": "adv_1", "currency": currency});
                let answer = server.put(&format!("/v1/campaigns/{campaign}"), &body);
                if answer.status == 200 {
                    assert!(!before, "{campaign} had events when its currency became {currency}");
                    changed += 1;
                } else {
                    assert_eq!(answer.expect_problem(), (409, "fixed_once_counted".into(), "currency".into()));
                    refused += 1;
                }
                if over {
                    break;
                }
            }
        });
    }
    await_counted(&server, "admin", (CAMPAIGNS * EVENTS) as i64);
    for n in 0..CAMPAIGNS {
        let path = format!("/v1/reports/campaigns/camp_{n}?{RANGE}&granularity=day");
        let rows = server.get(&path).expect(200)["rows"].clone();
        let declared = server.get(&format!("/v1/campaigns/camp_{n}")).expect(200)["currency"].clone();
        assert_eq!(rows.as_array().unwrap().len(), 1, "one campaign, one currency: {rows}");
        assert_eq!(
            (&rows[0]["currency"], &rows[0]["impressions"], &rows[0]["spendMicros"]),
            (&declared, &json!(EVENTS), &json!(EVENTS * 10)),
            "camp_{n}"
        );
    }
    println!("{changed} changes came before the first event, {refused} were refused");
    assert!(refused >= CAMPAIGNS, "{refused} refusals");
    assert_eq!(server.stop(), Some(0));
    let ledger = ledger(&place, "admin");
    assert_eq!((&ledger["quarantined"], &ledger["foreignCurrency"]), (&json!(0), &json!(0)), "{ledger}");
}
