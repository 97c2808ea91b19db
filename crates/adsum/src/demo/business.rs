//! Who advertises in the demo, and where: advertisers, campaigns, ads, publishers, placements.

use serde_json::{Value, json};

/// A campaign of the demo.
pub(super) struct Campaign {
    pub id: &'static str,
    pub name: &'static str,
    pub advertiser: &'static str,
    pub billable: &'static str,
    pub currency: &'static str,
    /// What one billable event costs at least, and how much more at most, in micros of the currency.
    pub price_micros: (u64, u64),
    pub ads: &'static [&'static str],
}

impl Campaign {
    /// Whether events of this type are what it pays for.
    pub(super) fn pays_for(&self, event_type: &str) -> bool {
        matches!((self.billable, event_type), ("cpm", "impression") | ("cpc", "click") | ("cpa", "conversion"))
    }
}

const ADVERTISERS: [(&str, &str, &str); 3] = [
    ("adv_acme", "Acme Outdoor", "America/New_York"),
    ("adv_nordlicht", "Nordlicht Reisen", "Europe/Berlin"),
    ("adv_chiya", "Chiya Tea House", "Asia/Kathmandu"),
];

pub(super) const CAMPAIGNS: [Campaign; 4] = [
    Campaign {
        id: "camp_spring",
        name: "Spring jackets",
        advertiser: "adv_acme",
        billable: "cpm",
        currency: "USD",
        price_micros: (1_500, 3_500),
        ads: &["ad_jacket_wide", "ad_jacket_square", "ad_jacket_story"],
    },
    Campaign {
        id: "camp_boots",
        name: "Walking boots",
        advertiser: "adv_acme",
        billable: "cpc",
        currency: "USD",
        price_micros: (180_000, 240_000),
        ads: &["ad_boots_wide", "ad_boots_square"],
    },
    Campaign {
        id: "camp_fjords",
        name: "Seven fjords in seven days",
        advertiser: "adv_nordlicht",
        billable: "cpa",
        currency: "EUR",
        price_micros: (9_000_000, 6_000_000),
        ads: &["ad_fjord_film", "ad_fjord_photo"],
    },
    Campaign {
        id: "camp_first_flush",
        name: "First flush",
        advertiser: "adv_chiya",
        billable: "cpm",
        currency: "GBP",
        price_micros: (1_000, 2_000),
        ads: &["ad_tea_cup", "ad_tea_garden"],
    },
];

/// Publishers, each with its placements.
pub(super) const PUBLISHERS: [(&str, &str, [&str; 2]); 5] = [
    ("pub_daily", "The Daily Post", ["pl_daily_top", "pl_daily_side"]),
    ("pub_trails", "Trails and Peaks", ["pl_trails_feed", "pl_trails_map"]),
    ("pub_weather", "Weather Now", ["pl_weather_top", "pl_weather_hourly"]),
    ("pub_recipes", "A Thousand Recipes", ["pl_recipes_list", "pl_recipes_step"]),
    ("pub_chess", "Chess Online", ["pl_chess_lobby", "pl_chess_after"]),
];

/// Everything as lines for a bulk load, what others refer to first.
pub fn metadata() -> String {
    let mut lines: Vec<Value> = Vec::new();
    for (id, name, time_zone) in ADVERTISERS {
        lines.push(json!({ "kind": "advertiser", "id": id, "name": name, "timeZone": time_zone }));
    }
    for c in &CAMPAIGNS {
        lines.push(json!({
            "kind": "campaign", "id": c.id, "name": c.name, "advertiser": c.advertiser,
            "billable": c.billable, "currency": c.currency, "status": "active",
        }));
        lines.extend(c.ads.iter().map(|ad| json!({ "kind": "ad", "id": ad, "campaignId": c.id })));
    }
    for (id, name, placements) in PUBLISHERS {
        lines.push(json!({ "kind": "publisher", "id": id, "name": name }));
        lines.extend(placements.iter().map(|pl| json!({ "kind": "placement", "id": pl, "publisherId": id })));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}
