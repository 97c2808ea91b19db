//! Builds a catalog of the built-ins and a user's spec, or says which entry is wrong.

use std::sync::Arc;

use super::{
    Catalog, CatalogSpec, ColumnDef, DIMENSIONS, DIMENSIONS_MAX, DimensionDef, DimensionIx, DimensionSource,
    DistinctDef, EVENT_TYPES, EVENT_TYPES_MAX, EventTypeDef, EventTypeIx, FIELDS, FieldDef, FieldIx, FieldKind,
    FullDays, METRICS, MetricKind, ROLLUP_DIMENSIONS_MAX, RollupDef, WellKnown,
};
use crate::hash::DedupeRules;
use crate::symbol::Symbols;

/// What is wrong with a declared catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogError {
    /// The entry, as a path into the configuration: `dimensions.siteSection.id`.
    pub param: String,
    /// What to do about it.
    pub message: String,
}

impl std::fmt::Display for CatalogError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.param, self.message)
    }
}

impl std::error::Error for CatalogError {}

pub(crate) fn error<T>(param: impl Into<String>, message: impl Into<String>) -> Result<T, CatalogError> {
    Err(CatalogError { param: param.into(), message: message.into() })
}

fn check_name(param: &str, name: &str) -> Result<(), CatalogError> {
    let ok = !name.is_empty()
        && name.len() <= 64
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if ok { Ok(()) } else { error(param, format!("{name:?} is not a name: letters, digits and _, a letter first")) }
}

/// Names of a report's row that are neither dimensions nor metrics.
const ROW_NAMES: [&str; 8] =
    ["bucketStart", "currency", "ctr", "cvr", "isFinalized", "adjusted", "revision", "freshnessSeconds"];

pub(super) fn build(spec: &CatalogSpec) -> Result<Catalog, CatalogError> {
    if spec.bucket_seconds == 0 || 60 % spec.bucket_seconds != 0 {
        return error("bucket_seconds", format!("{} does not divide 60", spec.bucket_seconds));
    }
    let mut dimensions = dimensions(spec)?;
    let fields = fields(&dimensions);
    let by_name: hashbrown::HashMap<String, FieldIx> =
        fields.iter().enumerate().map(|(i, f)| (f.name.clone(), FieldIx::new(i))).collect();
    for dimension in &mut dimensions {
        if let DimensionSource::Field(name) = &dimension.source {
            dimension.field = by_name.get(name).copied();
        }
    }
    let event_types = event_types(spec, &by_name)?;
    let columns = columns(&event_types);
    for d in &dimensions {
        let metric = columns.iter().any(|c| c.name == d.name) || METRICS.iter().any(|m| m.name == d.name);
        if metric || ROW_NAMES.contains(&d.name.as_str()) {
            return error(format!("dimensions.{}", d.name), "a column of reports has this name");
        }
    }
    let rollups = rollups(spec, &dimensions)?;
    let distinct_users = distinct_users(spec, &dimensions)?;
    mapping(spec, &by_name, &fields)?;
    let dedupe = DedupeRules::build(&spec.dedupe, &by_name, &fields, &event_types)?;
    Ok(Catalog {
        full_days: FullDays::new(dimensions.len()),
        well_known: well_known(&by_name),
        fields,
        by_name,
        dimensions,
        event_types,
        rollups,
        distinct_users,
        columns,
        mapping: spec.mapping.clone(),
        dedupe,
        bucket_seconds: i64::from(spec.bucket_seconds),
        symbols: Arc::new(Symbols::default()),
    })
}

fn dimensions(spec: &CatalogSpec) -> Result<Vec<DimensionDef>, CatalogError> {
    let mut all: Vec<DimensionDef> = DIMENSIONS
        .iter()
        .map(|b| DimensionDef {
            id: b.id,
            name: b.name.to_owned(),
            source: match b.source {
                DimensionSource::Field(f) => DimensionSource::Field(f.to_owned()),
                DimensionSource::Attribute(a) => DimensionSource::Attribute(a.to_owned()),
            },
            field: None,
            nulls: b.nulls.clone(),
            limit: b.limit,
            doc: b.doc.to_owned(),
            example: b.example.to_owned(),
        })
        .collect();
    for (name, limit) in &spec.limits {
        let Some(builtin) = all.iter_mut().find(|d| d.name == *name) else {
            return error(format!("dimensions.{name}"), "no built-in dimension has this name");
        };
        builtin.limit = *limit;
    }
    if let Some(d) = all.iter().find(|d| d.limit == 0) {
        return error(format!("dimensions.{}.limit", d.name), "a limit of 0 would fold every value");
    }
    for d in &spec.dimensions {
        let param = format!("dimensions.{}", d.name);
        check_name(&param, &d.name)?;
        if d.id < 1000 {
            return error(format!("{param}.id"), "ids below 1000 are for built-in dimensions");
        }
        if d.limit == 0 {
            return error(format!("{param}.limit"), "a limit of 0 would fold every value");
        }
        if let DimensionSource::Field(f) = &d.source {
            check_name(&format!("{param}.field"), f)?;
            if FIELDS.iter().any(|known| known.name == f && !matches!(known.kind, FieldKind::Text { .. })) {
                return error(format!("{param}.field"), format!("{f} does not hold text"));
            }
        }
        if all.iter().any(|other| other.source == d.source) {
            return error(format!("{param}.field"), "another dimension is taken from there");
        }
        all.push(DimensionDef {
            id: d.id,
            name: d.name.clone(),
            source: d.source.clone(),
            field: None,
            nulls: d.nulls.clone(),
            limit: d.limit,
            doc: d.doc.clone(),
            example: String::new(),
        });
    }
    all.sort_by_key(|d| d.id);
    for (i, d) in all.iter().enumerate() {
        if all[..i].iter().any(|o| o.id == d.id) {
            return error(format!("dimensions.{}.id", d.name), format!("id {} is taken", d.id));
        }
        if all[..i].iter().any(|o| o.name == d.name) {
            return error(format!("dimensions.{}", d.name), "the name is taken");
        }
    }
    if all.len() > DIMENSIONS_MAX {
        return error("dimensions", format!("more than {DIMENSIONS_MAX}"));
    }
    Ok(all)
}

/// The fields of the table, and one for each field that a dimension is taken from, in byte order of their names.
fn fields(dimensions: &[DimensionDef]) -> Vec<FieldDef> {
    let mut fields: Vec<FieldDef> = FIELDS
        .iter()
        .map(|f| FieldDef {
            name: f.name.to_owned(),
            kind: f.kind,
            content: f.content,
            dimension: None,
            doc: f.doc.to_owned(),
        })
        .collect();
    for (i, d) in dimensions.iter().enumerate() {
        let DimensionSource::Field(name) = &d.source else { continue };
        let dimension = Some(DimensionIx::new(i));
        match fields.iter_mut().find(|f| f.name == *name) {
            Some(known) => known.dimension = dimension,
            None => fields.push(FieldDef {
                name: name.clone(),
                kind: FieldKind::Text { max_bytes: super::ID_BYTES_MAX },
                content: true,
                dimension,
                doc: d.doc.clone(),
            }),
        }
    }
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    fields
}

fn event_types(
    spec: &CatalogSpec,
    by_name: &hashbrown::HashMap<String, FieldIx>,
) -> Result<Vec<EventTypeDef>, CatalogError> {
    let mut all: Vec<EventTypeDef> = EVENT_TYPES
        .iter()
        .map(|t| EventTypeDef {
            id: t.id,
            name: t.name.to_owned(),
            plural: t.plural.to_owned(),
            billed_by: t.billed_by,
            required: Vec::new(),
            doc: t.doc.to_owned(),
        })
        .collect();
    for t in &spec.event_types {
        let param = format!("event_types.{}", t.name);
        check_name(&param, &t.name)?;
        check_name(&format!("{param}.plural"), &t.plural)?;
        if t.id < 1000 {
            return error(format!("{param}.id"), "ids below 1000 are for built-in event types");
        }
        all.push(EventTypeDef {
            id: t.id,
            name: t.name.clone(),
            plural: t.plural.clone(),
            billed_by: None,
            required: Vec::new(),
            doc: t.doc.clone(),
        });
    }
    all.sort_by_key(|t| t.id);
    for (i, t) in all.iter().enumerate() {
        let param = format!("event_types.{}", t.name);
        if all[..i].iter().any(|o| o.id == t.id) {
            return error(format!("{param}.id"), format!("id {} is taken", t.id));
        }
        if all[..i].iter().any(|o| o.name == t.name || o.plural == t.plural) {
            return error(param, "the name or its plural is taken");
        }
        if METRICS.iter().any(|m| m.name == t.plural) {
            return error(format!("{param}.plural"), "a metric has this name");
        }
    }
    if all.len() > EVENT_TYPES_MAX {
        return error("event_types", format!("more than {EVENT_TYPES_MAX}"));
    }
    let resolve = |param: &str, names: &[String]| -> Result<Vec<FieldIx>, CatalogError> {
        names
            .iter()
            .map(|n| match by_name.get(n) {
                Some(f) if !n.starts_with('$') => Ok(*f),
                _ => error(param, format!("{n} is no field of the catalog")),
            })
            .collect()
    };
    let always = resolve("required", &spec.required)?;
    for name in ["eventType", "occurredAt"] {
        if !spec.required.iter().any(|r| r == name) {
            return error("required", format!("{name} places every event and cannot be optional"));
        }
    }
    for t in &mut all {
        t.required.clone_from(&always);
    }
    for (name, names) in &spec.required_by_type {
        let param = format!("event_types.{name}.required");
        let Some(t) = all.iter_mut().find(|t| t.name == *name) else {
            return error(param, "no such event type");
        };
        for field in resolve(&param, names)? {
            if !t.required.contains(&field) {
                t.required.push(field);
            }
        }
    }
    Ok(all)
}

fn columns(event_types: &[EventTypeDef]) -> Vec<ColumnDef> {
    let counts = event_types.iter().enumerate().map(|(i, t)| ColumnDef {
        id: 1000 + t.id,
        name: t.plural.clone(),
        kind: MetricKind::Count(EventTypeIx::new(i)),
    });
    let others = METRICS.iter().filter(|m| m.kind != MetricKind::DistinctUsers).map(|m| ColumnDef {
        id: m.id,
        name: m.name.to_owned(),
        kind: m.kind,
    });
    counts.chain(others).collect()
}

/// The most rollups, and the most sets of distinct users.
const SETS_MAX: usize = 16;

fn rollups(spec: &CatalogSpec, dimensions: &[DimensionDef]) -> Result<Vec<RollupDef>, CatalogError> {
    if spec.rollups.is_empty() {
        return error("rollups", "without a rollup nothing can be asked");
    }
    if spec.rollups.len() > SETS_MAX {
        return error("rollups", format!("more than {SETS_MAX}"));
    }
    let sets = spec.rollups.iter().enumerate();
    sets.map(|(i, names)| Ok(RollupDef { dimensions: set(&format!("rollups.{i}"), names, dimensions)? })).collect()
}

fn distinct_users(spec: &CatalogSpec, dimensions: &[DimensionDef]) -> Result<Vec<DistinctDef>, CatalogError> {
    if spec.distinct_users.len() > SETS_MAX {
        return error("distinct_users", format!("more than {SETS_MAX}"));
    }
    let sets = spec.distinct_users.iter().enumerate();
    sets.map(|(i, d)| {
        let param = format!("distinct_users.{i}");
        if d.window_seconds == 0 || !d.window_seconds.is_multiple_of(60) || 86_400 % d.window_seconds != 0 {
            return error(format!("{param}.window_seconds"), "a window is whole minutes and divides a day");
        }
        let dimensions = set(&param, &d.by, dimensions)?;
        Ok(DistinctDef { dimensions, window_seconds: i64::from(d.window_seconds) })
    })
    .collect()
}

fn set(param: &str, names: &[String], dimensions: &[DimensionDef]) -> Result<Vec<DimensionIx>, CatalogError> {
    if names.is_empty() || names.len() > ROLLUP_DIMENSIONS_MAX {
        return error(param, format!("1 to {ROLLUP_DIMENSIONS_MAX} dimensions make a set"));
    }
    let mut ids = Vec::new();
    for name in names {
        let Some(ix) = dimensions.iter().position(|d| d.name == *name).map(DimensionIx::new) else {
            return error(param, format!("{name} is no dimension of the catalog"));
        };
        if ids.contains(&ix) {
            return error(param, format!("{name} stands twice"));
        }
        ids.push(ix);
    }
    Ok(ids)
}

fn mapping(
    spec: &CatalogSpec,
    by_name: &hashbrown::HashMap<String, FieldIx>,
    fields: &[FieldDef],
) -> Result<(), CatalogError> {
    for (i, m) in spec.mapping.iter().enumerate() {
        let param = format!("fields.{}", m.from);
        let Some(to) = by_name.get(&m.to).filter(|_| !m.to.starts_with('$')) else {
            return error(param, format!("{} is no field of the catalog", m.to));
        };
        if spec.mapping[..i].iter().any(|o| o.from == m.from || o.to == m.to) {
            return error(param, "a field is mapped once");
        }
        let kind = fields[to.index()].kind;
        if m.time != super::TimeFormat::Rfc3339 && kind != FieldKind::Time {
            return error(param, format!("{} holds no time", m.to));
        }
        if !m.values.is_empty() && !matches!(kind, FieldKind::Text { .. } | FieldKind::EventType) {
            return error(param, format!("{} holds no text whose values could be replaced", m.to));
        }
    }
    Ok(())
}

fn well_known(by_name: &hashbrown::HashMap<String, FieldIx>) -> WellKnown {
    let of = |name: &str| *by_name.get(name).expect("the field stands in the catalog's tables");
    WellKnown {
        event_id: of("eventId"),
        event_type: of("eventType"),
        occurred_at: of("occurredAt"),
        received_at: of("receivedAt"),
        edge_received_at: of("edgeReceivedAt"),
        campaign_id: of("campaignId"),
        ad_id: of("adId"),
        user_id: of("userId"),
        price_micros: of("priceMicros"),
        value_micros: of("valueMicros"),
        currency: of("currency"),
        schema_version: of("schemaVersion"),
        attributes: of("attributes"),
        extra: of("$extra"),
        flags: of("$flags"),
        code: of("$code"),
        param: of("$param"),
        raw: of("$raw"),
        target: of("$target"),
        run: of("$run"),
        path: of("$path"),
        size: of("$size"),
        head: of("$head"),
        position: of("$position"),
        line: of("$line"),
    }
}
