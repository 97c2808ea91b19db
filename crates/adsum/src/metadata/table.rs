//! From the metadata to what requests are judged by: the one place that turns the state into campaigns and a directory.
//!
//! Invariant: a campaign or an ad is declared either in the configuration or in the metadata; one that is in both is an
//! error that names it. Not here: what resolving means (`adsum_model::campaigns`).

use std::collections::BTreeMap;
use std::sync::Arc;

use adsum_model::campaigns::{CampaignSpec, CampaignStatus, CampaignVersion, Campaigns};
use adsum_model::catalog::Catalog;
use adsum_model::id::MetadataRevision;
use adsum_model::time::EventTime;
use anyhow::{Result, bail};
use hashbrown::{HashMap, HashSet};

use super::change::{Campaign, Status};
use super::state::{Entry, State, Versions};
use crate::config::Config;
use crate::directory::{Directory, SiteKey, Token};
use crate::http::Principal;

/// What the configuration declares.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// Campaigns by id.
    pub campaigns: BTreeMap<String, CampaignSpec>,
    /// The campaign of each ad.
    pub ads: BTreeMap<String, String>,
}

impl Declared {
    /// Of a configuration.
    pub fn of(config: &Config) -> Result<Self> {
        let mut declared = Self::default();
        for spec in config.campaign_specs()? {
            declared.ads.extend(spec.ads.iter().map(|ad| (ad.clone(), spec.id.clone())));
            declared.campaigns.insert(spec.id.clone(), spec);
        }
        Ok(declared)
    }

    /// Nothing stands in both.
    fn check(&self, state: &State) -> Result<()> {
        if let Some(id) = self.campaigns.keys().find(|id| state.campaigns.contains_key(*id)) {
            bail!(
                "campaign {id:?} is declared both in the configuration and in the metadata; take it out of the \
                 configuration"
            );
        }
        if let Some(id) = self.ads.keys().find(|id| state.ads.contains_key(*id)) {
            bail!(
                "ad {id:?} is declared both in the configuration and in the metadata; take it out of the configuration"
            );
        }
        Ok(())
    }
}

/// The campaigns of configuration and metadata, with their history.
pub fn campaigns(state: &State, config: &Config, catalog: &Catalog) -> Result<Campaigns> {
    let declared = Declared::of(config)?;
    declared.check(state)?;
    let mut specs = declared.campaigns;
    specs.extend(state.campaigns.iter().map(|(id, versions)| (id.clone(), spec(id, versions))));
    for (id, ad) in &state.ads {
        if let Some(spec) = specs.get_mut(&ad.it.campaign_id) {
            spec.ads.push(id.clone());
        }
    }
    config.campaign_table(&specs.into_values().collect::<Vec<_>>(), catalog)
}

/// A campaign with every version, in the order in which they were declared.
fn spec(id: &str, versions: &Versions) -> CampaignSpec {
    let version = |entry: &Entry<Campaign>| CampaignVersion {
        valid_from: entry.it.effective_from,
        billable: entry.it.billable,
        status: match entry.it.status {
            Status::Active => CampaignStatus::Active,
            Status::Paused => CampaignStatus::Paused,
        },
        start: entry.it.start,
        end: entry.it.end,
    };
    CampaignSpec {
        id: id.to_owned(),
        currency: versions.last().it.currency.clone(),
        versions: versions.declared().iter().map(version).collect(),
        ads: Vec::new(),
    }
}

/// The part of a directory that only campaigns and ads change.
#[derive(Clone)]
pub struct Resolved {
    campaigns: Arc<Campaigns>,
    advertiser_of: Arc<HashMap<String, Arc<str>>>,
    declared: Arc<HashSet<String>>,
}

impl Resolved {
    /// Of a state, and the campaigns made of it.
    pub fn new(state: &State, declared: &Declared, campaigns: Arc<Campaigns>) -> Self {
        let names: HashMap<&str, Arc<str>> =
            state.advertisers.keys().map(|id| (id.as_str(), Arc::from(id.as_str()))).collect();
        let of = |versions: &Versions| names.get(versions.last().it.advertiser.as_str()).cloned();
        Self {
            campaigns,
            advertiser_of: Arc::new(state.campaigns.iter().filter_map(|(id, v)| Some((id.clone(), of(v)?))).collect()),
            declared: Arc::new(declared.campaigns.keys().chain(state.campaigns.keys()).cloned().collect()),
        }
    }

    /// As in a directory, for the next one.
    pub fn of(directory: &Directory) -> Self {
        Self {
            campaigns: directory.campaigns.clone(),
            advertiser_of: directory.advertiser_of.clone(),
            declared: directory.declared.clone(),
        }
    }
}

/// The directory of a state.
pub fn directory(state: &State, resolved: Resolved) -> Directory {
    let tokens = state.tokens.values().filter(|t| t.revoked_at.is_none()).map(|t| {
        let it = &t.made.it;
        let token = Token {
            principal: Principal {
                token_id: Arc::from(it.id.as_str()),
                role: it.role,
                source: Arc::from(it.source.as_str()),
                advertiser: it.advertiser.as_deref().map(Arc::from),
            },
            expires_at_micros: it.expires_at.map(EventTime::micros),
            requests_per_second: it.requests_per_second,
            events_per_second: it.events_per_second,
        };
        (it.sha256, token)
    });
    let site_keys = state.site_keys.values().filter(|k| k.revoked_at.is_none()).map(|k| {
        let it = &k.made.it;
        let key = SiteKey { source: Arc::from(it.source.as_str()), events_per_second: it.events_per_second };
        (it.id.clone(), key)
    });
    Directory {
        revision: MetadataRevision::new(state.revision),
        campaigns: resolved.campaigns,
        advertiser_of: resolved.advertiser_of,
        declared: resolved.declared,
        tokens: tokens.collect(),
        site_keys: site_keys.collect(),
        destinations: state.destinations.iter().map(|(id, d)| (id.clone(), d.it.url.clone())).collect(),
    }
}
