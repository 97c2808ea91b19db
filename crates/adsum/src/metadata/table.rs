//! From the metadata to what requests are judged by: the one place that turns the state into campaigns and a directory.
//!
//! Invariant: a campaign or an ad is declared either in the configuration or in the metadata; one that is in both is an
//! error that names it. Not here: what resolving means (`adsum_model::campaigns`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use adsum_model::campaigns::{CampaignSpec, CampaignVersion, Campaigns};
use adsum_model::catalog::Catalog;
use adsum_model::id::MetadataRevision;
use adsum_model::time::EventTime;
use anyhow::{Result, bail};
use hashbrown::{HashMap, HashSet};

use super::change::{Campaign, Change, Numbered};
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
        status: entry.it.status,
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

    /// As in a directory, and after changes that the state holds already. It costs what they are, not what there is.
    pub fn after(present: &Directory, changes: &[Numbered], state: &State, catalog: &Catalog) -> Self {
        let mut next = Self {
            campaigns: present.campaigns.clone(),
            advertiser_of: present.advertiser_of.clone(),
            declared: present.declared.clone(),
        };
        let mut campaigns = BTreeSet::new();
        for change in changes {
            match &change.recorded.change {
                Change::Campaign(it) => _ = campaigns.insert(it.id.as_str()),
                Change::Ad(it) => {
                    Arc::make_mut(&mut next.campaigns).put_ad(&it.id, &it.campaign_id, catalog.symbols());
                }
                _ => {}
            }
        }
        for (id, versions) in campaigns.into_iter().filter_map(|id| Some((id, state.campaigns.get(id)?))) {
            Arc::make_mut(&mut next.campaigns).put(&spec(id, versions), catalog.symbols());
            let advertiser = &versions.last().it.advertiser;
            if next.advertiser_of.get(id).is_none_or(|known| **known != **advertiser) {
                Arc::make_mut(&mut next.advertiser_of).insert(id.to_owned(), Arc::from(advertiser.as_str()));
            }
            if !next.declared.contains(id) {
                Arc::make_mut(&mut next.declared).insert(id.to_owned());
            }
        }
        next
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

#[cfg(test)]
mod tests {
    use adsum_model::campaigns::CampaignStatus;
    use adsum_model::catalog::BillableType::{self, Cpa, Cpc, Cpm};
    use adsum_model::catalog::CatalogSpec;
    use adsum_model::time::ReceivedAt;

    use super::*;
    use crate::metadata::change::{Ad, Advertiser, Recorded};

    /// Moments of the tests are seconds since 1970.
    fn at(seconds: i64) -> EventTime {
        EventTime::from_micros(seconds * 1_000_000)
    }

    fn version(id: &str, advertiser: &str, from: i64, billable: BillableType) -> Change {
        Change::Campaign(Campaign {
            id: id.to_owned(),
            name: None,
            advertiser: advertiser.to_owned(),
            currency: "EUR".to_owned(),
            billable,
            status: CampaignStatus::Active,
            start: None,
            end: None,
            effective_from: at(from),
        })
    }

    fn ad(id: &str, campaign: &str) -> Change {
        Change::Ad(Ad { id: id.to_owned(), name: None, campaign_id: campaign.to_owned() })
    }

    fn advertiser(id: &str) -> Change {
        Change::Advertiser(Advertiser { id: id.to_owned(), name: None, time_zone: "UTC".to_owned() })
    }

    fn apply(state: &mut State, change: Change) -> Numbered {
        let numbered = Numbered {
            revision: state.revision + 1,
            at: ReceivedAt::from_micros(0),
            source: String::new(),
            recorded: Recorded::new("tk_1", None, change),
        };
        state.apply(&numbered);
        numbered
    }

    fn made(state: &State, config: &Config, catalog: &Catalog) -> Directory {
        let table = Arc::new(campaigns(state, config, catalog).unwrap());
        directory(state, Resolved::new(state, &Declared::of(config).unwrap(), table))
    }

    /// What a directory says of some campaigns and ads at some moments.
    fn said(directory: &Directory, catalog: &Catalog) -> Vec<String> {
        let symbol = |text: &str| catalog.symbols().intern(text.as_bytes());
        let mut said = vec![format!("revision {}", directory.revision.get())];
        for id in ["fixed", "c0", "c1", "c2", "none"] {
            let terms = [0, 5, 10, 15, 20, 25].map(|t| directory.campaigns.terms(symbol(id), at(t)));
            let (of, known) = (directory.advertiser_of.get(id), directory.declared.contains(id));
            said.push(format!("{id} {of:?} {known} {terms:?}"));
        }
        for id in ["ad_fixed", "a0", "a1", "a2", "none"] {
            said.push(format!("{id} {:?}", directory.campaigns.of_ad(symbol(id)).map(|c| catalog.symbols().text(c))));
        }
        said
    }

    #[test]
    fn an_event_is_resolved_by_the_version_of_its_time() {
        let config = Config::default();
        let catalog = Catalog::build(&CatalogSpec::default()).unwrap();
        // versions as they were declared (from when, what for); at a moment: what for
        type Moments = [(i64, BillableType)];
        let cases: [(&Moments, &Moments); 5] = [
            (&[(10, Cpm)], &[(0, Cpm), (9, Cpm), (10, Cpm), (99, Cpm)]),
            (&[(10, Cpm), (20, Cpc)], &[(9, Cpm), (19, Cpm), (20, Cpc)]),
            // Dated back, between two and before the first.
            (&[(10, Cpm), (30, Cpc), (20, Cpa)], &[(19, Cpm), (20, Cpa), (29, Cpa), (30, Cpc)]),
            (&[(10, Cpm), (5, Cpa)], &[(4, Cpa), (5, Cpa), (9, Cpa), (10, Cpm)]),
            // Of the same moment the one declared last stands.
            (&[(10, Cpm), (20, Cpc), (20, Cpa), (10, Cpc)], &[(0, Cpc), (19, Cpc), (20, Cpa)]),
        ];
        for (declared, want) in cases {
            let mut state = State::default();
            for (from, billable) in declared {
                apply(&mut state, version("c", "adv", *from, *billable));
            }
            let table = campaigns(&state, &config, &catalog).unwrap();
            let campaign = catalog.symbols().intern(b"c");
            for (seconds, billable) in want {
                let terms = table.terms(campaign, at(*seconds)).unwrap();
                assert_eq!(terms.billable, *billable, "{declared:?} at {seconds}");
                let shown = state.campaigns["c"].standing(at(*seconds));
                assert_eq!(shown.it.billable, *billable, "as the API shows it: {declared:?} at {seconds}");
            }
        }
    }

    #[test]
    fn a_directory_after_changes_is_the_one_made_of_the_state() {
        let config: Config = toml::from_str("[campaigns.fixed]\ncurrency = \"USD\"\nads = [\"ad_fixed\"]\n").unwrap();
        let catalog = Catalog::build(&CatalogSpec::default()).unwrap();
        let mut state = State::default();
        let mut directory = made(&state, &config, &catalog);
        let steps = [
            vec![advertiser("x"), advertiser("y")],
            vec![version("c0", "x", 10, Cpm)],
            vec![version("c1", "y", 10, Cpc), ad("a0", "c0"), ad("a1", "fixed"), version("c1", "y", 20, Cpa)],
            vec![version("c0", "y", 10, Cpa)],
            vec![version("c0", "x", 5, Cpc), version("c2", "x", 0, Cpm), ad("a0", "c2"), ad("a2", "c1")],
            vec![ad("a0", "c1"), ad("a0", "c0"), ad("a1", "c2")],
            vec![advertiser("z")],
        ];
        for changes in steps {
            let changes: Vec<Numbered> = changes.into_iter().map(|change| apply(&mut state, change)).collect();
            let before = said(&directory, &catalog);
            let next = super::directory(&state, Resolved::after(&directory, &changes, &state, &catalog));
            assert_eq!(said(&directory, &catalog), before, "the old one does not change");
            assert_eq!(said(&next, &catalog), said(&made(&state, &config, &catalog), &catalog), "{changes:?}");
            directory = next;
        }
    }
}
