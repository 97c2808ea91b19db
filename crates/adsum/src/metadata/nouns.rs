//! The nouns that are put by id, and what the API shows of them.
//!
//! Invariant: whoever may not see a thing is answered as if it did not exist. Campaigns and ads of the configuration
//! are shown beside the others, and say that they are declared there.

use adsum_model::time::{EventTime, ReceivedAt};
use serde_json::{Value, json};

use super::state::{State, ids_after, shown};
use super::table::Declared;
use crate::http::Principal;

/// What is put by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noun {
    Advertiser,
    Campaign,
    Ad,
    Publisher,
    Placement,
}

impl Noun {
    /// Every noun, what others refer to first.
    pub const ALL: [Self; 5] = [Self::Advertiser, Self::Campaign, Self::Ad, Self::Publisher, Self::Placement];

    /// Its name, as in the `kind` of a bulk load.
    pub fn name(self) -> &'static str {
        match self {
            Self::Advertiser => "advertiser",
            Self::Campaign => "campaign",
            Self::Ad => "ad",
            Self::Publisher => "publisher",
            Self::Placement => "placement",
        }
    }

    /// The noun of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|n| n.name() == name)
    }
}

/// What is shown, and to whom.
#[derive(Clone, Copy)]
pub struct Sight<'a> {
    /// The state.
    pub state: &'a State,
    /// What the configuration declares.
    pub declared: &'a Declared,
    /// Who asks.
    pub principal: &'a Principal,
    /// When.
    pub now: ReceivedAt,
}

impl Sight<'_> {
    /// Whether the principal may know of it, should there be such a thing.
    pub fn sees(&self, noun: Noun, id: &str) -> bool {
        let Some(own) = self.principal.advertiser.as_deref() else { return true };
        match noun {
            Noun::Advertiser => id == own,
            Noun::Campaign => self.state.advertiser_of(id) == Some(own),
            Noun::Ad => {
                let ad = self.state.ads.get(id);
                ad.and_then(|ad| self.state.advertiser_of(&ad.it.campaign_id)) == Some(own)
            }
            Noun::Publisher | Noun::Placement => false,
        }
    }

    /// One of them.
    pub fn one(&self, noun: Noun, id: &str) -> Option<Value> {
        if !self.sees(noun, id) {
            return None;
        }
        let state = self.state;
        match noun {
            Noun::Advertiser => state.advertisers.get(id).map(shown),
            Noun::Campaign => self.campaign(id),
            Noun::Ad => state.ads.get(id).map(shown).or_else(|| {
                let campaign = self.declared.ads.get(id)?;
                Some(json!({ "id": id, "campaignId": campaign, "declaredIn": "configuration" }))
            }),
            Noun::Publisher => state.publishers.get(id).map(shown),
            Noun::Placement => state.placements.get(id).map(shown),
        }
    }

    fn campaign(&self, id: &str) -> Option<Value> {
        if let Some(versions) = self.state.campaigns.get(id) {
            return Some(shown(&versions.standing(EventTime::from_micros(self.now.micros()))));
        }
        let spec = self.declared.campaigns.get(id)?;
        let in_force = spec.version_at(EventTime::from_micros(self.now.micros()));
        Some(json!({
            "id": id,
            "currency": spec.currency,
            "billable": in_force.billable.name(),
            "status": in_force.status.name(),
            "declaredIn": "configuration",
        }))
    }

    /// Every version of a campaign, by the moment from which it holds.
    pub fn history(&self, id: &str) -> Option<Vec<Value>> {
        if !self.sees(Noun::Campaign, id) {
            return None;
        }
        match self.state.campaigns.get(id) {
            Some(versions) => Some(versions.by_time().into_iter().map(shown).collect()),
            None => self.campaign(id).map(|only| vec![only]),
        }
    }

    /// Ids behind `after`, in order, at most `count`.
    pub fn ids(&self, noun: Noun, after: &str, count: usize) -> Vec<String> {
        let (state, declared) = (self.state, self.declared);
        let sees = |id: &str| self.sees(noun, id);
        let mut ids = match noun {
            Noun::Advertiser => ids_after(&state.advertisers, after, count, sees),
            Noun::Campaign => ids_after(&state.campaigns, after, count, sees),
            Noun::Ad => ids_after(&state.ads, after, count, sees),
            Noun::Publisher => ids_after(&state.publishers, after, count, sees),
            Noun::Placement => ids_after(&state.placements, after, count, sees),
        };
        match noun {
            Noun::Campaign => ids.extend(ids_after(&declared.campaigns, after, count, sees)),
            Noun::Ad => ids.extend(ids_after(&declared.ads, after, count, sees)),
            Noun::Advertiser | Noun::Publisher | Noun::Placement => {}
        }
        ids.sort_unstable();
        ids.truncate(count);
        ids.into_iter().map(str::to_owned).collect()
    }
}
