//! The built-in metrics beside the counts, which every event type brings of itself.
//!
//! Invariant: ids of stored columns are never reused; a column of a run is found by its id, so old runs stay readable.

use super::MetricKind;

/// A metric that reports show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltinMetric {
    /// Stable id.
    pub id: u16,
    /// Name in JSON.
    pub name: &'static str,
    /// How it comes about.
    pub kind: MetricKind,
    /// What it is.
    pub doc: &'static str,
}

const fn metric(id: u16, name: &'static str, kind: MetricKind, doc: &'static str) -> BuiltinMetric {
    BuiltinMetric { id, name, kind, doc }
}

/// Every built-in metric that is not the count of an event type.
pub const METRICS: &[BuiltinMetric] = &[
    metric(1, "spendMicros", MetricKind::Spend, "Sum of priceMicros over net events of the billable type."),
    metric(2, "valueMicros", MetricKind::Value, "Sum of valueMicros over net events."),
    metric(3, "unpriced", MetricKind::Unpriced, "Net events of the billable type without a price; billed as 0."),
    metric(
        6,
        "outOfFlight",
        MetricKind::OutOfFlight,
        "Events counted of a paused campaign, or outside its start and end.",
    ),
    metric(
        7,
        "lateEvents",
        MetricKind::Late,
        "Live events counted after their bucket had closed; imported ones never are.",
    ),
    metric(5, "distinctUsers", MetricKind::DistinctUsers, "Users seen, an estimate over gross events."),
];
