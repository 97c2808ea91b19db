//! The sums that the oracle adds up, as a picture.
//!
//! Invariant: it adds what it is told and decides nothing. Not here: when what is added (the oracle).

use std::collections::BTreeMap;

use crate::picture::{Held, Picture, Sums};

pub(super) struct Book {
    pub picture: Picture,
    /// The number of the frame, which is the revision of what it changes.
    pub revision: u64,
    /// Of this frame, by source.
    frame_ledger: BTreeMap<String, Sums>,
}

impl Book {
    pub fn new(rollups: usize, never: i64) -> Self {
        let picture =
            Picture { rollups: vec![BTreeMap::new(); rollups], watermark: never, line: never, ..Picture::default() };
        Self { picture, revision: 0, frame_ledger: BTreeMap::new() }
    }

    pub fn begin_frame(&mut self) {
        self.revision += 1;
        self.frame_ledger.clear();
    }

    /// Adds to the ledger's row of a source and hour of receivedAt.
    pub fn ledger(&mut self, source: &str, received_at: i64, column: &str, amount: i64) {
        let hour = received_at.div_euclid(3_600_000_000) * 3600;
        let row = self.picture.ledger.entry((hour, source.to_owned())).or_default();
        row.add(column, amount, self.revision);
        self.frame_ledger.entry(source.to_owned()).or_default().add(column, amount, self.revision);
    }

    /// Adds to what is quarantined, in all and for this reason.
    pub fn quarantine(&mut self, source: &str, received_at: i64, reason: &str, amount: i64) {
        let column = match reason {
            "future" => "future",
            "too_old" => "tooOld",
            "conflict" => "conflicts",
            _ => "foreignCurrency",
        };
        self.ledger(source, received_at, "quarantined", amount);
        self.ledger(source, received_at, column, amount);
    }

    /// Lists a record in quarantine.
    pub fn hold(&mut self, offset: u64, reason: &str, received_at: i64) {
        self.picture.quarantine.insert(offset, Held { reason: reason.to_owned(), received_at });
    }

    /// The lines of the frame so far are an import's file's.
    pub fn import_progress(&mut self, source: &str) {
        let frame_sums = self.frame_ledger.get(source).cloned().unwrap_or_default();
        let file = self.picture.imports.entry(source.to_owned()).or_default();
        for (metric, amount) in frame_sums.metrics {
            file.add(&metric, amount, 0);
        }
    }

    pub fn import_end(&mut self, source: &str) {
        self.picture.imports.remove(source);
    }
}
