//! What a run is configured with, as plain data that both the shipped code and the oracle read.
//!
//! Invariant: nothing here decides anything. Not here: the built catalog, which belongs to the shipped code.

use adsum_engine::Rules;
use adsum_model::campaigns::{CampaignSpec, UnknownCampaign};
use adsum_model::catalog::CatalogSpec;

/// The limits of time, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Further in the future than this is quarantined.
    pub future: i64,
    /// How far the acceptance line lies below the watermark.
    pub horizon: i64,
    /// The allowed disorder.
    pub disorder: i64,
    /// How far below a tick the watermark lies.
    pub idle: i64,
}

impl Times {
    /// As the engine takes them.
    pub fn rules(&self) -> Rules {
        Rules {
            future_micros: self.future,
            horizon_micros: self.horizon,
            disorder_micros: self.disorder,
            idle_micros: self.idle,
        }
    }
}

/// A state of the metadata: the campaigns that the collector resolves.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// The campaigns.
    pub campaigns: Vec<CampaignSpec>,
    /// The currency of those that are not listed.
    pub default_currency: String,
    /// What becomes of those that are not listed.
    pub unknown: UnknownCampaign,
}

/// A configuration.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What the catalog declares.
    pub catalog: CatalogSpec,
    /// The limits of time.
    pub times: Times,
    /// The states of the metadata, one after the other; a frame names the one that it was resolved under.
    pub metadata: Vec<Metadata>,
}
