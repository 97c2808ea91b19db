//! What a run came to.
//!
//! Invariant: percentiles are of all requests, none sampled. Not here: what is done with the figures (bench/http).

use std::time::Duration;

use serde_json::{Value, json};

use crate::probe::Probed;

/// Events by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events sent.
    pub received: u64,
    /// Those that passed validation.
    pub accepted: u64,
    /// Those that did not.
    pub rejected: u64,
}

impl Counts {
    /// These and those.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            received: self.received + other.received,
            accepted: self.accepted + other.accepted,
            rejected: self.rejected + other.rejected,
        }
    }
}

/// What was sent and answered.
#[derive(Debug, Default)]
pub struct Sent {
    /// Events.
    pub counts: Counts,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Of each request, from when it was due to the end of its answer.
    latencies: Vec<Duration>,
}

impl Sent {
    /// A request was answered.
    pub fn answered(&mut self, latency: Duration, counts: &Counts) {
        self.latencies.push(latency);
        self.counts = self.counts.plus(counts);
    }
}

/// The figures: rates a second, microseconds.
pub fn json(sent: &mut Sent, cpu: Duration, peak_mb: u64, probed: Option<Probed>) -> Value {
    let requests = sent.latencies.len() as u64;
    let micros = sent.elapsed.as_micros().max(1) as u64;
    let mut figures = json!({
        "requests": requests,
        "events": sent.counts.received,
        "rejected": sent.counts.rejected,
        "elapsedMicros": micros,
        "requestsPerSecond": requests * 1_000_000 / micros,
        "eventsPerSecond": sent.counts.received * 1_000_000 / micros,
        "latencyMicros": percentiles(&mut sent.latencies),
        "serverCpuMicros": cpu.as_micros() as u64,
        "serverPeakMb": peak_mb,
        "serverCpuNanosPerEvent": cpu.as_nanos() as u64 / sent.counts.received.max(1),
    });
    if let Some(mut probed) = probed {
        figures["visibleMicros"] = percentiles(&mut probed.latencies);
        figures["probes"] = json!(probed.latencies.len());
    }
    figures
}

fn percentiles(latencies: &mut [Duration]) -> Value {
    latencies.sort_unstable();
    let at = |thousandths: usize| {
        let index = (latencies.len() * thousandths / 1000).min(latencies.len().saturating_sub(1));
        latencies.get(index).map_or(0, |latency| latency.as_micros() as u64)
    };
    json!({ "p50": at(500), "p99": at(990), "p999": at(999), "max": at(1000) })
}
