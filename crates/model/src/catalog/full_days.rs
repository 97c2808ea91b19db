//! Which dimensions have as many values on a UTC day of receivedAt as they may.
//!
//! A decoder asks it before it makes a symbol of a value: on such a day a value that the process does not know counts
//! as `other`, and making a symbol of it would only cost memory, for good. Invariant: a day is full here only once the
//! records that filled it are durable, and a full day stays full, so that who decodes early and who appends decide the
//! same. Not here: which values a day has (`adsum_pipeline::Limits`).

use std::sync::atomic::{AtomicI64, Ordering};

use super::DimensionIx;
use crate::time::ReceivedAt;

const DAY_SECONDS: i64 = 86_400;

/// By dimension, the day that is known to be full last, as days since 1970.
pub struct FullDays(Vec<AtomicI64>);

impl FullDays {
    /// None is full.
    pub(super) fn new(dimensions: usize) -> Self {
        Self((0..dimensions).map(|_| AtomicI64::new(i64::MIN)).collect())
    }

    /// A dimension's day is full; `at` is within the day.
    pub fn set(&self, dimension: DimensionIx, at: ReceivedAt) {
        self.0[dimension.index()].store(day_of(at), Ordering::Release);
    }

    /// The dimensions that are full on the day of that moment, a bit each.
    pub fn at(&self, at: ReceivedAt) -> u64 {
        let day = day_of(at);
        let full = self.0.iter().enumerate().filter(|(_, full)| full.load(Ordering::Acquire) == day);
        full.fold(0, |bits, (dimension, _)| bits | 1 << dimension)
    }
}

fn day_of(at: ReceivedAt) -> i64 {
    at.seconds().div_euclid(DAY_SECONDS)
}
