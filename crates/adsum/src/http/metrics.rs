//! Metrics: which there are, and how they are counted and shown.
//!
//! Invariant: [`METRICS`] names every metric of the process, each is shown from the start, and no label holds what a
//! client chose: no campaign, token or source. Not here: the numbers that are billed on; these are of one process and
//! begin at 0 with it.

use std::sync::{LazyLock, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result};
use hashbrown::HashMap;
use http::{Method, StatusCode};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::layers::method_label;
use crate::clock::{self, Moment};
use crate::memory::{self, ByteSize};
use crate::service::Service;

/// What kind of number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Spread over the bounds of [`BOUNDS_SECONDS`].
    Histogram,
    /// As [`Self::Counter`], by route, method and status: shown from the first request on.
    CounterByRoute,
    /// As [`Self::Histogram`], by route, method and status.
    HistogramByRoute,
}

use Kind::{Counter, CounterByRoute, Gauge, Histogram, HistogramByRoute};

/// Every metric: kind, name, and what it is.
pub const METRICS: &[(Kind, &str, &str)] = &[
    (CounterByRoute, "adsum_http_requests_total", "Requests answered"),
    (HistogramByRoute, "adsum_http_request_seconds", "From the head of a request to the head of its answer"),
    (Gauge, "adsum_http_requests_in_flight", "Requests that are being answered"),
    (Gauge, "adsum_http_connections_open", "Open connections"),
    (Gauge, "adsum_http_body_memory_bytes", "Memory that request bodies take"),
    (Counter, "adsum_http_auth_failures_total", "Requests refused for their token"),
    (Counter, "adsum_tls_handshakes_failed_total", "TLS handshakes that failed or took too long"),
    (Gauge, "adsum_writer_queue_depth", "Pieces of work that wait to be appended"),
    (Gauge, "adsum_writer_queue_bytes", "Bytes of records that wait to be appended"),
    (Gauge, "adsum_writer_oldest_seconds", "How long the oldest piece of work has waited for its acknowledgement"),
    (Histogram, "adsum_log_append_seconds", "Appending and syncing one frame"),
    (Counter, "adsum_log_append_refused_total", "Frames that the disk refused"),
    (Counter, "adsum_log_bytes_total", "Bytes appended to the log"),
    (Counter, "adsum_pixel_unconfirmed_total", "Pixels answered before their event was seen to be durable"),
    (Counter, "adsum_click_unconfirmed_total", "Clicks answered before their event was seen to be durable"),
    (Counter, "adsum_metadata_store_failed_total", "Times that the metadata's store could not follow the log"),
    (Counter, "adsum_report_failures_total", "Reports that failed through no fault of the asker"),
    (Gauge, "adsum_fold_queue_depth", "Durable frames that wait to be folded"),
    (Gauge, "adsum_fold_oldest_seconds", "At most so long a durable frame has waited to be folded"),
    (Gauge, "adsum_questions_queue_depth", "Questions to the live state that wait"),
    (Histogram, "adsum_fold_seconds", "Folding one frame"),
    (Histogram, "adsum_receipt_to_visible_seconds", "From receipt to the answer of a report"),
    (Histogram, "adsum_checkpoint_seconds", "Committing the state"),
    (Histogram, "adsum_merge_seconds", "Merging the store's runs"),
    (Counter, "adsum_events_received_total", "Events and lines taken in"),
    (Counter, "adsum_events_accepted_total", "Events that passed validation"),
    (Counter, "adsum_events_rejected_total", "Events and lines that failed validation"),
    (Counter, "adsum_events_counted_total", "Events counted"),
    (Counter, "adsum_events_duplicate_total", "Events that were counted before"),
    (Counter, "adsum_events_quarantined_total", "Events that went into quarantine"),
    (Counter, "adsum_events_released_total", "Events that left quarantine"),
    (Counter, "adsum_dimension_values_folded_total", "Values over their dimension's limit, counted as `other`"),
    (Gauge, "adsum_symbols", "Texts that the process keeps: values of dimensions, sources, currencies"),
    (Gauge, "adsum_memory_limit_bytes", "The memory limit configured; 0 without one"),
    (Gauge, "adsum_memory_resident_bytes", "Memory that the process takes, as the system counts it"),
    (Gauge, "adsum_completeness_ratio", "Share of the events received in the last hour that count or did before"),
];

/// The bounds of histograms. The promise is 2 s from receipt to visible, so they are dense around it.
const BOUNDS_SECONDS: [f64; 18] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0];
/// How often samples are put into their buckets, so that they do not pile up between two scrapes.
pub const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Shows the metrics; cheap to clone.
#[derive(Clone)]
pub struct Exporter(PrometheusHandle);

impl Exporter {
    /// Begins to count, once in a process: before that nothing is counted.
    pub fn install() -> Result<Self> {
        let handle = PrometheusBuilder::new()
            .set_buckets(&BOUNDS_SECONDS)
            .and_then(PrometheusBuilder::install_recorder)
            .context("cannot count metrics")?;
        for &(kind, name, what) in METRICS {
            match kind {
                Counter => counter!(name).increment(0),
                Gauge => gauge!(name).set(0),
                Histogram => drop(histogram!(name)),
                CounterByRoute | HistogramByRoute => {}
            }
            match kind {
                Counter | CounterByRoute => describe_counter!(name, what),
                Gauge => describe_gauge!(name, what),
                Histogram | HistogramByRoute => describe_histogram!(name, what),
            }
        }
        Ok(Self(handle))
    }

    /// For tests, of which many run in one process: counts nothing.
    #[cfg(test)]
    pub fn unseen() -> Self {
        Self(PrometheusBuilder::new().build_recorder().handle())
    }

    /// Puts samples into their buckets.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }

    /// The metrics as they are now, in the text format of Prometheus.
    pub fn render(&self, service: &Service) -> String {
        let writer = &service.writer;
        gauge!("adsum_writer_queue_depth").set(measured(writer.depth() as u64));
        gauge!("adsum_writer_queue_bytes").set(measured(writer.waiting_bytes() as u64));
        gauge!("adsum_writer_oldest_seconds").set(clock::seconds(writer.oldest_age_micros() as i64));
        gauge!("adsum_http_body_memory_bytes").set(measured(service.guard.bodies.taken_bytes()));
        gauge!("adsum_symbols").set(measured(service.catalog.symbols().len() as u64));
        gauge!("adsum_memory_limit_bytes").set(measured(service.config.memory_limit.map_or(0, ByteSize::get)));
        gauge!("adsum_memory_resident_bytes").set(measured(memory::resident_bytes()));
        self.0.render()
    }
}

/// A count as a metric.
fn measured(count: u64) -> f64 {
    count as f64
}

/// The numbers of one route, method and status.
struct Answered {
    method: &'static str,
    status: StatusCode,
    requests: metrics::Counter,
    seconds: metrics::Histogram,
}

/// By route. There are as many as routes, methods and statuses that were answered, none of which a client can make up.
static ANSWERED: LazyLock<RwLock<HashMap<String, Vec<Answered>>>> = LazyLock::new(RwLock::default);

/// A request was answered.
pub fn request(method: &Method, route: &str, status: StatusCode, begun: Moment) {
    let method = method_label(method);
    let count = |answered: &Answered| {
        answered.requests.increment(1);
        answered.seconds.record(begun.elapsed_seconds());
    };
    let known = ANSWERED.read().unwrap_or_else(PoisonError::into_inner);
    let found = known.get(route).and_then(|all| all.iter().find(|a| a.method == method && a.status == status));
    if let Some(answered) = found {
        return count(answered);
    }
    drop(known);
    let labels = [("method", method.to_owned()), ("path", route.to_owned()), ("status", status.as_str().to_owned())];
    let requests = counter!("adsum_http_requests_total", &labels);
    let seconds = histogram!("adsum_http_request_seconds", &labels);
    let answered = Answered { method, status, requests, seconds };
    count(&answered);
    // Two threads may both have made it; either's handle is of the same number.
    ANSWERED.write().unwrap_or_else(PoisonError::into_inner).entry(route.to_owned()).or_default().push(answered);
}

/// A token was refused.
pub fn auth_failed() {
    counter!("adsum_http_auth_failures_total").increment(1);
}

/// A TLS handshake failed.
pub fn handshake_failed(why: &str) {
    counter!("adsum_tls_handshakes_failed_total").increment(1);
    tracing::debug!(why, "a TLS handshake failed");
}

static IN_FLIGHT: LazyLock<metrics::Gauge> = LazyLock::new(|| gauge!("adsum_http_requests_in_flight"));

/// A request in flight, until it is dropped.
pub struct InFlight(());

impl InFlight {
    /// One more.
    pub fn begin() -> Self {
        IN_FLIGHT.increment(1);
        Self(())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        IN_FLIGHT.decrement(1);
    }
}

/// An open connection, until it is dropped.
pub struct Open(());

impl Open {
    /// One more.
    pub fn begin() -> Self {
        gauge!("adsum_http_connections_open").increment(1);
        Self(())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        gauge!("adsum_http_connections_open").decrement(1);
    }
}
