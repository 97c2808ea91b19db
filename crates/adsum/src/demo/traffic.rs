//! Events in the order in which they are sent: impressions, the clicks and conversions that follow from them, and what
//! goes wrong in the field: resends, late and far too late ones, robots, broken lines, a foreign currency.
//!
//! Invariant: what is sent is a function of the seed, the run's name and the times it was asked at; nothing here reads
//! a clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use adsum_model::time::{EventTime, MICROS_PER_SECOND};
use serde_json::{Map, Value, json};

use super::business::{CAMPAIGNS, Campaign, PUBLISHERS};
use super::random::Random;

/// Of a thousand events: sent again as they were.
const RESENT: u64 = 20;
/// Minutes late.
const LATE: u64 = 10;
/// Clicks of robots.
const ROBOTS: u64 = 30;
/// One event in so many is beyond the horizon, so that it is quarantined. What is seldom comes by count and not by
/// chance, so that a short demo shows it too; the first ones come behind the first batch, when there is a watermark.
const TOO_LATE_EVERY: u64 = 600;
/// One event in so many is in a currency that is not the campaign's.
const FOREIGN_EVERY: u64 = 500;
/// One line in so many is no event.
const BROKEN_EVERY: u64 = 330;
/// Of a thousand impressions, those that are clicked; of clicks, those that convert.
const CLICKED: u64 = 60;
const CONVERTED: u64 = 150;
/// How many clicks and conversions may be about to come.
const COMING_MAX: usize = 10_000;
/// How many of the last lines may be sent again.
const SENT_KEPT: usize = 512;
/// How many people there are.
const USERS: u64 = 20_000;
/// How far back the far too late ones lie, in seconds.
const BEYOND_SECONDS: i64 = 9 * 86_400;

/// An event that follows from another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Coming {
    due_micros: i64,
    number: u64,
    event_type: &'static str,
    campaign: usize,
    /// What it has in common with the event that it follows from.
    shared: Vec<(&'static str, String)>,
}

/// The events of a run.
pub struct Traffic {
    random: Random,
    run: String,
    number: u64,
    /// Lines and events made up so far.
    lines: u64,
    events: u64,
    coming: BinaryHeap<Reverse<Coming>>,
    sent: VecDeque<String>,
}

impl Traffic {
    /// Of a seed; `run` begins every id, so that a later run's events are new.
    pub fn new(seed: u64, run: impl Into<String>) -> Self {
        let (coming, sent) = (BinaryHeap::new(), VecDeque::new());
        Self { random: Random::new(seed), run: run.into(), number: 0, lines: 0, events: 0, coming, sent }
    }

    /// The next `count` lines, sent at `now`.
    pub fn lines(&mut self, count: usize, now: EventTime) -> String {
        let mut text = String::new();
        for _ in 0..count {
            let line = self.line(now.micros());
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    fn line(&mut self, now: i64) -> String {
        self.lines += 1;
        if self.lines.is_multiple_of(BROKEN_EVERY) {
            return self.broken(now);
        }
        if self.random.in_thousand(RESENT) && !self.sent.is_empty() {
            let i = self.random.below(self.sent.len() as u64) as usize;
            return self.sent[i].clone();
        }
        let event = if self.random.in_thousand(ROBOTS) {
            self.robot(now)
        } else if self.coming.peek().is_some_and(|c| c.0.due_micros <= now) {
            self.follow(now)
        } else {
            self.impression(now)
        };
        let line = Value::Object(event).to_string();
        if self.sent.len() == SENT_KEPT {
            self.sent.pop_front();
        }
        self.sent.push_back(line.clone());
        line
    }

    fn id(&mut self, what: &str) -> String {
        self.number += 1;
        format!("{what}_{}_{}", self.run, self.number)
    }

    /// An event of a campaign with what every event has; now and then late, or in a foreign currency.
    fn event(&mut self, event_type: &'static str, campaign: &Campaign, now: i64) -> Map<String, Value> {
        self.events += 1;
        let foreign = self.events.is_multiple_of(FOREIGN_EVERY);
        let random = &mut self.random;
        let mut at = now - random.below(400_000) as i64;
        if self.events.is_multiple_of(TOO_LATE_EVERY) {
            at -= BEYOND_SECONDS * MICROS_PER_SECOND;
        } else if random.in_thousand(LATE) {
            at -= (120 + random.below(1_700) as i64) * MICROS_PER_SECOND;
        }
        let (least, more) = campaign.price_micros;
        let price = least + random.below(more);
        let id = self.id("evt");
        // To the millisecond, as browsers tell it.
        let at = EventTime::from_micros(at.div_euclid(1000) * 1000).to_string();
        let mut event = Map::new();
        event.insert("eventId".to_owned(), json!(id));
        event.insert("eventType".to_owned(), json!(event_type));
        event.insert("occurredAt".to_owned(), json!(at));
        if foreign {
            event.insert("currency".to_owned(), json!("JPY"));
        }
        if campaign.pays_for(event_type) {
            event.insert("priceMicros".to_owned(), json!(price));
        }
        event
    }

    fn impression(&mut self, now: i64) -> Map<String, Value> {
        // The first campaigns run more than the last ones.
        let campaign = self.random.below(CAMPAIGNS.len() as u64).min(self.random.below(6)) as usize;
        let terms = &CAMPAIGNS[campaign];
        let (publisher, _, placements) = self.random.of(&PUBLISHERS);
        let (placement, ad) = (*self.random.of(placements), *self.random.of(terms.ads));
        let country = *self.random.of(&["US", "US", "US", "DE", "DE", "GB", "NP", "FR", "JP"]);
        let device = *self.random.of(&["mobile", "mobile", "desktop", "tablet"]);
        // A few come often, most seldom.
        let user = self.random.below(USERS).min(self.random.below(USERS));
        let shared = vec![
            ("campaignId", terms.id.to_owned()),
            ("adId", ad.to_owned()),
            ("publisherId", (*publisher).to_owned()),
            ("placementId", placement.to_owned()),
            ("country", country.to_owned()),
            ("deviceType", device.to_owned()),
            ("userId", format!("user_{user}")),
            ("impressionId", self.id("imp")),
        ];
        let event = with(self.event("impression", terms, now), &shared);
        if self.random.in_thousand(CLICKED) {
            self.announce("click", campaign, shared, now);
        }
        event
    }

    /// A click some seconds later, or a conversion after a click.
    fn announce(&mut self, event_type: &'static str, campaign: usize, shared: Vec<(&'static str, String)>, now: i64) {
        if self.coming.len() < COMING_MAX {
            let due_micros = now + (1 + self.random.below(15)) as i64 * MICROS_PER_SECOND;
            self.number += 1;
            self.coming.push(Reverse(Coming { due_micros, number: self.number, event_type, campaign, shared }));
        }
    }

    fn follow(&mut self, now: i64) -> Map<String, Value> {
        let Some(Reverse(coming)) = self.coming.pop() else { return self.impression(now) };
        let mut event = with(self.event(coming.event_type, &CAMPAIGNS[coming.campaign], now), &coming.shared);
        if coming.event_type == "click" {
            let click = self.id("clk");
            event.insert("clickId".to_owned(), json!(click));
            event.insert("clickOrdinal".to_owned(), json!(1));
            if self.random.in_thousand(CONVERTED) {
                let shared = [&coming.shared[..], &[("clickId", click)]].concat();
                self.announce("conversion", coming.campaign, shared, now);
            }
        } else {
            event.insert("valueMicros".to_owned(), json!((20 + self.random.below(180)) * 1_000_000));
        }
        event
    }

    /// One of a few users that click without an end, from one address.
    fn robot(&mut self, now: i64) -> Map<String, Value> {
        let terms = &CAMPAIGNS[1];
        let shared = [
            ("campaignId", terms.id.to_owned()),
            ("adId", terms.ads[0].to_owned()),
            ("publisherId", PUBLISHERS[4].0.to_owned()),
            ("placementId", PUBLISHERS[4].2[0].to_owned()),
            ("country", "US".to_owned()),
            ("deviceType", "desktop".to_owned()),
            ("userId", format!("user_robot_{}", self.random.below(3))),
            ("ip", "203.0.113.7".to_owned()),
            ("clickId", self.id("clk")),
        ];
        with(self.event("click", terms, now), &shared)
    }

    /// What senders get wrong.
    fn broken(&mut self, now: i64) -> String {
        let event = self.event("click", &CAMPAIGNS[0], now);
        let mut event = with(event, &[("campaignId", CAMPAIGNS[0].id.to_owned())]);
        match self.random.below(5) {
            0 => {
                let text = Value::Object(event).to_string();
                return text[..text.len() / 2].to_owned();
            }
            1 => event.insert("priceMicros".to_owned(), json!("12")),
            2 => event.insert("priceMicros".to_owned(), json!(-5)),
            3 => event.insert("occurredAt".to_owned(), json!("yesterday")),
            _ => event.remove("eventId"),
        };
        Value::Object(event).to_string()
    }
}

fn with(mut event: Map<String, Value>, fields: &[(&'static str, String)]) -> Map<String, Value> {
    for (name, value) in fields {
        event.insert((*name).to_owned(), json!(value));
    }
    event
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const START: i64 = 1_790_000_000 * MICROS_PER_SECOND;

    /// Two minutes of traffic, 400 events a second.
    fn two_minutes(seed: u64) -> Vec<String> {
        let mut traffic = Traffic::new(seed, "r");
        let second = |s: i64| EventTime::from_micros(START + s * MICROS_PER_SECOND);
        (0..120).flat_map(|s| traffic.lines(400, second(s)).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn a_seed_says_what_is_sent() {
        assert_eq!(two_minutes(7), two_minutes(7));
        assert_ne!(two_minutes(7), two_minutes(8));
    }

    #[test]
    fn everything_that_goes_wrong_in_the_field_is_there_in_its_share() {
        let lines = two_minutes(1);
        let events: Vec<Value> = lines.iter().filter_map(|l| serde_json::from_str(l).ok()).collect();
        let mut seen = BTreeSet::new();
        let mut shares: BTreeMap<&str, usize> = BTreeMap::new();
        let mut add = |what: &'static str, is: bool| *shares.entry(what).or_default() += usize::from(is);
        for (line, event) in lines.iter().zip(lines.iter().map(|l| serde_json::from_str::<Value>(l).ok())) {
            let again = !seen.insert(line.clone());
            add("resent", again);
            let Some(event) = event.filter(|_| !again) else { continue };
            add("impression", event["eventType"] == "impression");
            add("click", event["eventType"] == "click");
            add("conversion", event["eventType"] == "conversion");
            add("robot", event["ip"] == "203.0.113.7");
            add("foreign", event["currency"] == "JPY");
            add("priced", event["priceMicros"].as_u64().is_some());
            add("without an id", event.get("eventId").is_none());
            let at = event["occurredAt"].as_str().unwrap_or_default();
            add("far too late", at < "2026-09-15");
        }
        add("cut", events.len() < lines.len());
        let of = 48_000;
        for (what, least, most) in [
            ("resent", of * 18 / 1000, of * 22 / 1000),
            ("impression", of * 7 / 10, of * 95 / 100),
            ("click", of * 5 / 100, of * 12 / 100),
            ("conversion", of / 1000, of * 2 / 100),
            ("robot", of * 25 / 1000, of * 33 / 1000),
            ("foreign", of / 1000, of * 3 / 1000),
            ("priced", of / 3, of),
            ("without an id", 10, 60),
            ("far too late", of / 2000, of * 3 / 1000),
        ] {
            assert!((least..=most).contains(&shares[what]), "{what}: {} of {of}", shares[what]);
        }
        assert_eq!(shares["cut"], 1);
    }
}
