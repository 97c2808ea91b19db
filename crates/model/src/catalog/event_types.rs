//! The built-in event types. Each gives a count metric of its plural name.
//!
//! Invariant: ids are never reused and never change their meaning.

use super::{BillableType, BuiltinEventType};

/// Every built-in event type, by id.
pub const EVENT_TYPES: &[BuiltinEventType] = &[
    BuiltinEventType {
        id: 1,
        name: "impression",
        plural: "impressions",
        billed_by: Some(BillableType::Cpm),
        doc: "An ad was shown.",
    },
    BuiltinEventType {
        id: 2,
        name: "click",
        plural: "clicks",
        billed_by: Some(BillableType::Cpc),
        doc: "An ad was clicked.",
    },
    BuiltinEventType {
        id: 3,
        name: "conversion",
        plural: "conversions",
        billed_by: Some(BillableType::Cpa),
        doc: "What the advertiser wanted happened: a sale, a sign-up.",
    },
];
