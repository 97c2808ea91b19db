//! The simulated world of workload A: which event has which columns.
//!
//! Invariant: [`World::event`] is a pure function of seed and index, so a click can take the columns of an impression
//! of ten minutes ago and a retry can be written again, and nothing has to be kept. Not here: the order of arrival, text.

use crate::draw::{Draw, Zipf, purpose};

/// Campaigns, numbered from 1 in the text.
pub const CAMPAIGNS: u64 = 10_000;
/// Ads of one campaign.
const ADS_PER_CAMPAIGN: u64 = 10;
/// Publishers in all; prime, so that any stride walks through distinct ones.
pub const PUBLISHERS: u64 = 499;
/// At least and at most; with these, 10 M lines have some 3.5 M groups.
const PUBLISHERS_PER_CAMPAIGN: (u64, u64) = (5, 24);
const COUNTRIES_PER_CAMPAIGN: (u64, u64) = (1, 4);
const PLACEMENTS_PER_PUBLISHER: u64 = 8;
const USERS: u64 = 2_000_000;
/// Users are numbered from here on, so that every name has seven digits.
const FIRST_USER: u64 = 1_000_000;
/// A click or conversion follows its impression by at most ten minutes.
const FOLLOWS_SECONDS_MAX: u64 = 600;
/// So many tries to find an impression for a click; without one the event is an impression itself.
const IMPRESSION_TRIES: usize = 64;
/// One event in so many is malformed.
const DEFECT_ONE_IN: u64 = 10_000;

/// Countries; a prime count, for the same reason as [`PUBLISHERS`].
pub const COUNTRIES: [&str; 41] = [
    "US", "GB", "DE", "FR", "IT", "ES", "NL", "SE", "NO", "DK", "FI", "PL", "CZ", "AT", "CH", "BE", "IE", "PT", "GR",
    "RO", "HU", "BG", "HR", "TR", "IL", "AE", "SA", "EG", "ZA", "NG", "KE", "IN", "JP", "KR", "SG", "AU", "NZ", "CA",
    "MX", "BR", "AR",
];
/// Devices.
pub const DEVICES: [&str; 4] = ["connected_tv", "desktop", "mobile", "tablet"];

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An ad was shown.
    Impression,
    /// It was clicked.
    Click,
    /// The click led to what the advertiser wants.
    Conversion,
}

impl Kind {
    /// Its eventType.
    pub fn name(self) -> &'static str {
        match self {
            Self::Impression => "impression",
            Self::Click => "click",
            Self::Conversion => "conversion",
        }
    }
}

/// What is wrong with a malformed line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// It ends too early.
    Truncated,
    /// One of the required fields is not there.
    MissingField,
    /// The price is below zero.
    NegativePrice,
    /// No such event type.
    UnknownType,
}

/// What an impression and its followers share; numbers as in the text.
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    /// 1 to 10,000.
    pub campaign: u64,
    /// 10 a campaign.
    pub ad: u64,
    /// 1 to 499.
    pub publisher: u64,
    /// 8 a publisher.
    pub placement: u64,
    /// Index into [`COUNTRIES`].
    pub country: usize,
    /// Index into [`DEVICES`].
    pub device: usize,
    /// 2,000,000 from 1,000,000 on.
    pub user: u64,
    /// UUID.
    pub auction_id: [u8; 16],
    /// UUID.
    pub impression_id: [u8; 16],
}

/// One event's columns.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Its place in the order of occurrence.
    pub index: u64,
    /// UUID.
    pub event_id: [u8; 16],
    /// What it is.
    pub kind: Kind,
    /// Milliseconds since 1970.
    pub occurred_at_ms: i64,
    /// What its line is broken by; such an event never counts.
    pub defect: Option<Defect>,
    /// The columns it has of its impression, or gives to its followers.
    pub shared: Shared,
    /// Micros of US dollars; every event has one, only those of impressions are spend.
    pub price_micros: u64,
}

#[derive(Debug)]
struct Campaign {
    publishers: Vec<u64>,
    countries: Vec<usize>,
}

/// The world under one seed.
#[derive(Debug)]
pub struct World {
    start_ms: i64,
    hot_ppm: u64,
    events_per_second: u64,
    events: u64,
    shared: u64,
    ranks: Zipf,
    number_offset: u64,
    campaigns: Vec<Campaign>,
}

/// From `least` to `most` distinct numbers below `all`, a prime.
fn subset(draw: &mut Draw, (least, most): (u64, u64), all: u64) -> impl Iterator<Item = u64> {
    let count = least + draw.below(most - least + 1);
    let start = draw.below(all);
    let stride = 1 + draw.below(all - 1);
    (0..count).map(move |i| (start + i * stride) % all)
}

impl World {
    /// A world whose first event occurs at `start_ms` since 1970; `hot_ppm` millionths of the impressions belong to one
    /// campaign beside its share; `events_per_second` occur in a second of simulated time.
    pub fn new(seed: u64, start_ms: i64, hot_ppm: u64, events_per_second: u64) -> Self {
        let campaigns = (0..CAMPAIGNS)
            .map(|c| {
                let mut draw = Draw::at(purpose(seed, 1), c);
                let publishers = subset(&mut draw, PUBLISHERS_PER_CAMPAIGN, PUBLISHERS).map(|p| p + 1).collect();
                let countries =
                    subset(&mut draw, COUNTRIES_PER_CAMPAIGN, COUNTRIES.len() as u64).map(|c| c as usize).collect();
                Campaign { publishers, countries }
            })
            .collect();
        Self {
            start_ms,
            hot_ppm,
            events_per_second: events_per_second.max(1),
            events: purpose(seed, 2),
            shared: purpose(seed, 3),
            ranks: Zipf::new(CAMPAIGNS),
            number_offset: Draw::at(purpose(seed, 4), 0).below(CAMPAIGNS),
            campaigns,
        }
    }

    /// When event `index` occurs.
    pub fn occurred_at_ms(&self, index: u64) -> i64 {
        self.start_ms + (index * 1_000 / self.events_per_second) as i64
    }

    fn drawn_kind(draw: &mut Draw) -> Kind {
        match draw.below(1_000) {
            0 => Kind::Conversion,
            1..=30 => Kind::Click,
            _ => Kind::Impression,
        }
    }

    fn shared(&self, index: u64) -> Shared {
        let mut draw = Draw::at(self.shared, index);
        let hot = self.hot_ppm > 0 && draw.below(1_000_000) < self.hot_ppm;
        let rank = if hot { 0 } else { self.ranks.draw(&mut draw) };
        let campaign = &self.campaigns[rank];
        // Numbers are spread over the ranks (7,919 is coprime to 10,000): a campaign's name says nothing of its size.
        let number = 1 + (rank as u64 * 7_919 + self.number_offset) % CAMPAIGNS;
        let publisher = campaign.publishers[draw.below(campaign.publishers.len() as u64) as usize];
        let country = campaign.countries[draw.below(campaign.countries.len() as u64) as usize];
        Shared {
            campaign: number,
            ad: number * ADS_PER_CAMPAIGN + draw.below(ADS_PER_CAMPAIGN),
            publisher,
            placement: publisher * PLACEMENTS_PER_PUBLISHER + draw.below(PLACEMENTS_PER_PUBLISHER),
            country,
            device: draw.below(DEVICES.len() as u64) as usize,
            user: FIRST_USER + draw.below(USERS),
            auction_id: draw.uuid(),
            impression_id: draw.uuid(),
        }
    }

    /// Event `index`.
    pub fn event(&self, index: u64) -> Event {
        let mut draw = Draw::at(self.events, index);
        let mut kind = Self::drawn_kind(&mut draw);
        let event_id = draw.uuid();
        let defect = (draw.below(DEFECT_ONE_IN) == 0).then(|| match draw.below(4) {
            0 => Defect::Truncated,
            1 => Defect::MissingField,
            2 => Defect::NegativePrice,
            _ => Defect::UnknownType,
        });
        let mut shared_with = index;
        if kind != Kind::Impression {
            let reach = index.min(FOLLOWS_SECONDS_MAX * self.events_per_second);
            let earlier = (0..IMPRESSION_TRIES)
                .map(|_| index - draw.below(reach) - u64::from(reach > 0))
                .find(|at| *at < index && Self::drawn_kind(&mut Draw::at(self.events, *at)) == Kind::Impression);
            match earlier {
                Some(at) => shared_with = at,
                None => kind = Kind::Impression,
            }
        }
        let price_micros = match kind {
            Kind::Impression => 500 + draw.below(19_500),
            Kind::Click => 50_000 + draw.below(950_000),
            Kind::Conversion => 1_000_000 + draw.below(9_000_000),
        };
        let shared = self.shared(shared_with);
        Event { index, event_id, kind, occurred_at_ms: self.occurred_at_ms(index), defect, shared, price_micros }
    }
}
