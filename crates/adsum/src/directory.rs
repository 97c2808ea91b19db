//! The directory: who is who, as of one metadata revision. What the metadata store holds, in memory and immutable.
//!
//! Invariant: a directory never changes; a change makes a new one, after its record is durable in the log. Whoever
//! resolves events takes one directory for a whole request and hands its revision to the writer. Not here: how it is
//! kept and changed (metadata).

use std::collections::BTreeMap;
use std::sync::Arc;

use adsum_model::campaigns::Campaigns;
use adsum_model::id::MetadataRevision;
use arc_swap::ArcSwap;
use hashbrown::{HashMap, HashSet};

use crate::http::Principal;

/// What the API tells of a token, and what admits it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What its requests may do.
    pub principal: Principal,
    /// From then on it is refused, in microseconds since 1970; `None`: never.
    pub expires_at_micros: Option<i64>,
    /// Requests a second; `None`: no quota.
    pub requests_per_second: Option<u32>,
    /// Events a second; `None`: no quota.
    pub events_per_second: Option<u32>,
}

/// A public key of a site: it names the source and the quota of pixel and click.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteKey {
    /// The source of its events.
    pub source: Arc<str>,
    /// Events a second; `None`: no quota.
    pub events_per_second: Option<u32>,
}

/// Everything that requests are judged by.
pub struct Directory {
    /// Which state of the metadata it is.
    pub revision: MetadataRevision,
    /// Campaigns and ads, to resolve events by.
    pub campaigns: Arc<Campaigns>,
    /// The advertiser of each campaign that has one, by campaign id.
    pub advertiser_of: Arc<HashMap<String, Arc<str>>>,
    /// Whether a campaign is declared, by configuration or metadata: then it exists before its first event.
    pub declared: Arc<HashSet<String>>,
    /// Tokens that are not revoked, by the SHA-256 of their secret.
    pub tokens: HashMap<[u8; 32], Token>,
    /// Site keys that are not revoked.
    pub site_keys: HashMap<String, SiteKey>,
    /// Registered click destinations: prefixes of URLs up to a path boundary, by id.
    pub destinations: BTreeMap<String, String>,
}

impl Directory {
    /// Of campaigns alone.
    #[cfg(test)]
    pub fn of_campaigns(campaigns: Arc<Campaigns>) -> Self {
        Self {
            revision: MetadataRevision::ZERO,
            campaigns,
            advertiser_of: Arc::default(),
            declared: Arc::default(),
            tokens: HashMap::new(),
            site_keys: HashMap::new(),
            destinations: BTreeMap::new(),
        }
    }

    /// Whether a principal may see a campaign.
    pub fn sees(&self, principal: &Principal, campaign: &str) -> bool {
        match &principal.advertiser {
            None => true,
            Some(advertiser) => self.advertiser_of.get(campaign).is_some_and(|a| a == advertiser),
        }
    }

    /// The campaigns that a principal is restricted to, in order; `None`: it sees all.
    pub fn campaigns_seen(&self, principal: &Principal) -> Option<Vec<String>> {
        let advertiser = principal.advertiser.as_ref()?;
        let mut seen: Vec<String> =
            self.advertiser_of.iter().filter(|(_, a)| *a == advertiser).map(|(c, _)| c.clone()).collect();
        seen.sort();
        Some(seen)
    }
}

/// The present directory, shared by everybody.
pub type Present = Arc<ArcSwap<Directory>>;
