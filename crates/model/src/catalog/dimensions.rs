//! The built-in dimensions. To add one, add an entry here: this file is the only one that changes.
//!
//! Invariant: ids are never reused and never change their meaning; `adsum catalog check` refuses a catalog that does.

use super::{Builtin, DimensionSource, NullPolicy};

/// Every built-in dimension, by id.
pub const DIMENSIONS: &[Builtin] = &[
    Builtin {
        id: 1,
        name: "campaignId",
        source: DimensionSource::Field("campaignId"),
        nulls: NullPolicy::Keep,
        limit: 1_000_000,
        doc: "The campaign that pays: sent, or found from adId.",
        example: "camp_1",
    },
    Builtin {
        id: 2,
        name: "adId",
        source: DimensionSource::Field("adId"),
        nulls: NullPolicy::Keep,
        limit: 4_000_000,
        doc: "The ad that was shown.",
        example: "ad_17",
    },
    Builtin {
        id: 3,
        name: "publisherId",
        source: DimensionSource::Field("publisherId"),
        nulls: NullPolicy::Keep,
        limit: 1_000_000,
        doc: "Who showed it.",
        example: "pub_17",
    },
    Builtin {
        id: 4,
        name: "placementId",
        source: DimensionSource::Field("placementId"),
        nulls: NullPolicy::Keep,
        limit: 1_000_000,
        doc: "Where on the publisher's pages it was shown.",
        example: "home-top",
    },
    Builtin {
        id: 5,
        name: "country",
        source: DimensionSource::Field("country"),
        nulls: NullPolicy::Keep,
        limit: 1_000,
        doc: "The viewer's country, an ISO 3166 code by custom (not checked).",
        example: "US",
    },
    Builtin {
        id: 6,
        name: "deviceType",
        source: DimensionSource::Field("deviceType"),
        nulls: NullPolicy::Keep,
        limit: 1_000,
        doc: "The kind of device, a word of the sender's.",
        example: "mobile",
    },
    Builtin {
        id: 7,
        name: "creativeId",
        source: DimensionSource::Field("creativeId"),
        nulls: NullPolicy::Keep,
        limit: 1_000_000,
        doc: "The variant of the ad that was shown.",
        example: "cr_3",
    },
];
