//! In which currency each campaign's events were counted: fixed from the first one on.
//!
//! Invariant: the pairs are a function of the frames folded. Not here: who refuses a change (the binary's wiring).

use std::collections::BTreeSet;

use adsum_model::id::Revision;
use adsum_model::symbol::{Symbol, Symbols};
use adsum_model::table::TableRows;
use adsum_model::time::BucketStart;

/// Campaigns and the currencies that they have counted events in.
#[derive(Default)]
pub(crate) struct Currencies {
    known: BTreeSet<(Symbol, Symbol)>,
    /// Pairs met since the last checkpoint.
    fresh: Vec<(Symbol, Symbol)>,
}

impl Currencies {
    /// Takes back a pair that a checkpoint kept.
    pub fn restore(&mut self, symbols: &Symbols, campaign: &str, currency: &str) {
        self.known.insert((symbols.intern(campaign.as_bytes()), symbols.intern(currency.as_bytes())));
    }

    /// Takes in pairs that shards met.
    pub fn observe(&mut self, pairs: &[(Symbol, Symbol)]) {
        for pair in pairs {
            if self.known.insert(*pair) {
                self.fresh.push(*pair);
            }
        }
    }

    /// The rows of [`crate::CAMPAIGN_CURRENCIES`] since the last checkpoint.
    pub fn rows(&self, revision: Revision) -> TableRows {
        let mut rows = TableRows::new(2, 1);
        for (campaign, currency) in &self.fresh {
            rows.push(BucketStart::from_seconds(0), &[*campaign, *currency], &[1], revision);
        }
        rows
    }

    /// From now on the store knows them.
    pub fn committed(&mut self) {
        self.fresh.clear();
    }

    /// Every pair.
    pub fn pairs(&self) -> impl Iterator<Item = (Symbol, Symbol)> + '_ {
        self.known.iter().copied()
    }
}
