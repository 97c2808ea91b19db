//! The catalog as a document: what `GET /v1/catalog` and `adsum catalog show` show, and what `catalog check` compares.
//!
//! Invariant: version 1 of this form only gains members.

use adsum_model::catalog::{Catalog, DimensionSource, FieldKind, MetricKind, NullPolicy};
use serde::{Deserialize, Serialize};

/// A catalog as it is shown and compared: version 1 of this form.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogDoc {
    pub(crate) schema_versions: Vec<u32>,
    pub(crate) bucket_seconds: i64,
    pub(crate) dimensions: Vec<DimensionDoc>,
    pub(crate) event_types: Vec<EventTypeDoc>,
    pub(crate) metrics: Vec<MetricDoc>,
    pub(crate) rollups: Vec<Vec<String>>,
    pub(crate) distinct_users: Vec<DistinctDoc>,
    pub(crate) fields: Vec<FieldDoc>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DimensionDoc {
    pub(crate) id: u16,
    pub(crate) name: String,
    pub(crate) from: String,
    pub(crate) nulls: String,
    pub(crate) limit: u32,
    pub(crate) doc: String,
    pub(crate) example: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventTypeDoc {
    pub(crate) id: u16,
    pub(crate) name: String,
    pub(crate) plural: String,
    pub(crate) required: Vec<String>,
    pub(crate) doc: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MetricDoc {
    pub(crate) id: u16,
    pub(crate) name: String,
    pub(crate) kind: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DistinctDoc {
    pub(crate) by: Vec<String>,
    pub(crate) window_seconds: i64,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FieldDoc {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) content: bool,
    pub(crate) doc: String,
}

/// The schema versions that the decoder takes.
const SCHEMA_VERSIONS: [u32; 1] = [1];

impl CatalogDoc {
    /// Of a catalog.
    pub fn of(catalog: &Catalog) -> Self {
        let dimensions = catalog.dimensions().iter().map(|d| DimensionDoc {
            id: d.id,
            name: d.name.clone(),
            from: match &d.source {
                DimensionSource::Field(f) => f.clone(),
                DimensionSource::Attribute(a) => format!("attributes.{a}"),
            },
            nulls: match &d.nulls {
                NullPolicy::Keep => "keep".to_owned(),
                NullPolicy::Reject => "reject".to_owned(),
                NullPolicy::Replace(text) => format!("replace: {text}"),
            },
            limit: d.limit,
            doc: d.doc.clone(),
            example: d.example.clone(),
        });
        let event_types = catalog.event_types().iter().map(|t| EventTypeDoc {
            id: t.id,
            name: t.name.clone(),
            plural: t.plural.clone(),
            required: t.required.iter().map(|f| catalog.field(*f).name.clone()).collect(),
            doc: t.doc.clone(),
        });
        let kind = |kind| match kind {
            MetricKind::Count(_) | MetricKind::OutOfFlight | MetricKind::Late => "count",
            MetricKind::Spend | MetricKind::Value => "micros",
            MetricKind::Unpriced => "count of events without a price",
            MetricKind::DistinctUsers => "estimate",
        };
        let stored = catalog.columns().iter().map(|c| (c.id, c.name.clone(), c.kind));
        let estimated = (adsum_model::catalog::METRICS.iter())
            .filter(|m| m.kind == MetricKind::DistinctUsers)
            .map(|m| (m.id, m.name.to_owned(), m.kind));
        let metrics = (stored.chain(estimated)).map(|(id, name, k)| MetricDoc { id, name, kind: kind(k).to_owned() });
        let fields = catalog.fields().iter().filter(|f| f.kind != FieldKind::Internal).map(|f| FieldDoc {
            name: f.name.clone(),
            kind: match f.kind {
                FieldKind::Text { .. } => "text",
                FieldKind::EventType => "event type",
                FieldKind::Time => "time",
                FieldKind::Uint { .. } => "unsigned integer",
                FieldKind::Int => "integer",
                FieldKind::Number => "number",
                FieldKind::Currency => "currency",
                FieldKind::Object => "object",
                FieldKind::Any => "any",
                FieldKind::SchemaVersion => "schema version",
                FieldKind::Internal => "internal",
            }
            .to_owned(),
            content: f.content,
            doc: f.doc.clone(),
        });
        Self {
            schema_versions: SCHEMA_VERSIONS.to_vec(),
            bucket_seconds: catalog.bucket_seconds(),
            dimensions: dimensions.collect(),
            event_types: event_types.collect(),
            metrics: metrics.collect(),
            rollups: (catalog.rollups().iter())
                .map(|r| catalog.names(&r.dimensions).into_iter().map(str::to_owned).collect())
                .collect(),
            distinct_users: (catalog.distinct_users().iter())
                .map(|d| DistinctDoc {
                    by: catalog.names(&d.dimensions).into_iter().map(str::to_owned).collect(),
                    window_seconds: d.window_seconds,
                })
                .collect(),
            fields: fields.collect(),
        }
    }
}
