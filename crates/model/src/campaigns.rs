//! Campaigns and their ads, as the collector resolves them before the append.
//!
//! Invariant: what is resolved is written into the record, so a later change of this table changes no old number.
//! Not here: where the table comes from (the configuration; later the metadata store).

use hashbrown::HashMap;

use crate::catalog::BillableType;
use crate::symbol::{Symbol, Symbols};

/// What a campaign pays for, and in which currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What it pays for.
    pub billable: BillableType,
    /// ISO 4217 code.
    pub currency: Symbol,
}

/// What becomes of an event of a campaign that the table does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownCampaign {
    /// It counts under the default terms.
    #[default]
    LetThrough,
    /// It is rejected.
    Reject,
}

/// A campaign as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignSpec {
    /// Its id.
    pub id: String,
    /// What it pays for.
    pub billable: BillableType,
    /// ISO 4217 code.
    pub currency: String,
    /// Its ads.
    pub ads: Vec<String>,
}

/// The table of campaigns.
pub struct Campaigns {
    campaigns: HashMap<Symbol, Terms>,
    ads: HashMap<Symbol, Symbol>,
    default: Terms,
    unknown: UnknownCampaign,
}

impl Campaigns {
    /// Builds the table. An ad of two campaigns is an error: its id.
    pub fn build(
        specs: &[CampaignSpec],
        default_currency: &str,
        unknown: UnknownCampaign,
        symbols: &Symbols,
    ) -> Result<Self, String> {
        let default = Terms { billable: BillableType::Cpm, currency: symbols.intern(default_currency.as_bytes()) };
        let mut table = Self { campaigns: HashMap::new(), ads: HashMap::new(), default, unknown };
        for spec in specs {
            let campaign = symbols.intern(spec.id.as_bytes());
            let terms = Terms { billable: spec.billable, currency: symbols.intern(spec.currency.as_bytes()) };
            if table.campaigns.insert(campaign, terms).is_some() {
                return Err(spec.id.clone());
            }
            for ad in &spec.ads {
                if table.ads.insert(symbols.intern(ad.as_bytes()), campaign).is_some() {
                    return Err(ad.clone());
                }
            }
        }
        Ok(table)
    }

    /// The campaign of an ad.
    pub fn of_ad(&self, ad: Symbol) -> Option<Symbol> {
        if self.ads.is_empty() { None } else { self.ads.get(&ad).copied() }
    }

    /// The terms of a campaign; `None` where an unknown one is to be rejected.
    pub fn terms(&self, campaign: Symbol) -> Option<Terms> {
        if self.campaigns.is_empty() && self.unknown == UnknownCampaign::LetThrough {
            return Some(self.default);
        }
        match self.campaigns.get(&campaign) {
            Some(terms) => Some(*terms),
            None if self.unknown == UnknownCampaign::LetThrough => Some(self.default),
            None => None,
        }
    }
}
