//! Completeness: of what was received in the last hour, the share that counts, or did so before.
//!
//! The rest was rejected or is in quarantine, and may be there for a reason that somebody should know. Invariant: an
//! hour without events has no share, and says so instead of 0 or 1. Not here: the ledger, which is exact and durable.

#![allow(clippy::float_arithmetic, reason = "a ratio to look at; nothing is counted or billed by it")]

use adsum_model::ledger::LedgerColumn;
use tokio::sync::broadcast::error::RecvError;

use crate::live::{Live, Update};

const MINUTE_MICROS: i64 = 60_000_000;
const MINUTES: usize = 60;

/// The last hour, minute by minute.
struct Hour {
    /// Of each minute: which one it is since 1970, received, and of those counted or duplicates.
    minutes: [(i64, i64, i64); MINUTES],
    /// The latest minute seen.
    latest: i64,
}

impl Hour {
    fn new() -> Self {
        Self { minutes: [(i64::MIN, 0, 0); MINUTES], latest: i64::MIN }
    }

    fn add(&mut self, micros: i64, received: i64, whole: i64) {
        let minute = micros.div_euclid(MINUTE_MICROS);
        self.latest = self.latest.max(minute);
        let slot = &mut self.minutes[minute.rem_euclid(MINUTES as i64) as usize];
        if slot.0 != minute {
            *slot = (minute, 0, 0);
        }
        slot.1 += received;
        slot.2 += whole;
    }

    /// Not a number where nothing was received.
    fn ratio(&self) -> f64 {
        let recent = self.minutes.iter().filter(|m| m.0 > self.latest.saturating_sub(MINUTES as i64));
        let (received, whole) = recent.fold((0, 0), |(r, w), m| (r + m.1, w + m.2));
        if received == 0 { f64::NAN } else { whole as f64 / received as f64 }
    }

    fn take(&mut self, update: &Update) {
        let sum = |column| update.counts.iter().map(|(_, c)| c.get(column)).sum::<i64>();
        let whole = sum(LedgerColumn::Counted) + sum(LedgerColumn::Duplicates);
        self.add(update.appended_at.micros(), sum(LedgerColumn::Received), whole);
    }
}

/// Keeps `adsum_completeness_ratio` until the fold ends. Updates that it misses are missing in the share.
pub fn watch(live: &Live) -> impl Future<Output = ()> + use<> {
    let mut updates = live.updates();
    let mut hour = Hour::new();
    let ratio = metrics::gauge!("adsum_completeness_ratio");
    ratio.set(hour.ratio());
    async move {
        loop {
            match updates.recv().await {
                Ok(update) => hour.take(&update),
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            }
            ratio.set(hour.ratio());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_remembered() {
        // minute, received, whole, ratio then in percent
        let mut hour = Hour::new();
        assert!(hour.ratio().is_nan());
        for (minute, received, whole, percent) in [
            (0, 10, 10, Some(100)),
            (0, 10, 0, Some(50)),
            (59, 20, 20, Some(75)),
            (60, 0, 0, Some(100)),
            (119, 0, 0, None),
        ] {
            hour.add(minute * MINUTE_MICROS + 1, received, whole);
            let ratio = hour.ratio();
            assert_eq!((!ratio.is_nan()).then_some((ratio * 100.0) as i64), percent, "{minute}");
        }
    }
}
