//! What one line says: whether it is valid, and the event that it is with what the collector resolves.
//!
//! Invariant: it reads the line's JSON and the declared catalog and campaigns, nothing of the shipped code but the
//! reading of a moment. Not here: what becomes of the event.

use std::collections::BTreeMap;

use adsum_model::campaigns::{CampaignSpec, CampaignStatus, CampaignVersion, UnknownCampaign};
use adsum_model::catalog::{
    BillableType, CatalogSpec, DIMENSIONS, DedupeSpec, DimensionSource, EVENT_TYPES, MICROS_MAX_PER_EVENT, NullPolicy,
};
use adsum_model::time::parse_rfc3339;
use serde_json::{Map, Value};

use crate::setup::{Metadata, Setup};

/// What belongs to no content.
const NOT_CONTENT: [&str; 5] = ["receivedAt", "edgeReceivedAt", "ip", "userAgent", "schemaVersion"];

/// An event that passed validation, with what the collector resolves.
pub(super) struct Event {
    pub source: String,
    pub import: bool,
    pub received_at: i64,
    pub occurred_at: i64,
    pub event_type: String,
    /// Source or group, names and values of the key's parts; none: dedupe is off.
    pub key: Option<String>,
    pub content: String,
    /// By dimension.
    pub dimensions: BTreeMap<String, Option<String>>,
    pub billable: BillableType,
    pub currency: String,
    pub foreign: bool,
    pub in_flight: bool,
    pub price: Option<i64>,
    pub value: i64,
}

fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    fields.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn moment(fields: &Map<String, Value>, name: &str) -> Option<i64> {
    parse_rfc3339(fields.get(name)?.as_str()?.as_bytes()).ok()
}

/// Whether a field's value is one that it may have; of fields not named here anything is.
fn field_is_valid(name: &str, value: &Value) -> bool {
    let up_to = |max: u64| value.as_u64().is_some_and(|v| v <= max);
    let known_text = DIMENSIONS.iter().any(|d| d.source == DimensionSource::Field(name));
    match name {
        "occurredAt" | "receivedAt" | "edgeReceivedAt" => {
            value.as_str().is_some_and(|t| parse_rfc3339(t.as_bytes()).is_ok())
        }
        "priceMicros" | "valueMicros" => up_to(MICROS_MAX_PER_EVENT),
        "clickOrdinal" => up_to(u64::from(u32::MAX)),
        "position" => value.as_i64().is_some(),
        "schemaVersion" => value.as_u64() == Some(1),
        "attributes" => value.is_object(),
        "currency" => value.as_str().is_some_and(|t| t.len() == 3 && t.bytes().all(|b| b.is_ascii_uppercase())),
        "eventId" | "impressionId" | "clickId" | "userId" | "sessionId" | "auctionId" => {
            value.as_str().is_some_and(|t| (1..=256).contains(&t.len()))
        }
        _ if known_text => value.as_str().is_some_and(|t| (1..=256).contains(&t.len())),
        _ => true,
    }
}

/// The event of a line; none where it is rejected.
pub(super) fn read(
    setup: &Setup,
    metadata: &Metadata,
    source: &str,
    import: bool,
    received_at: i64,
    line: &str,
) -> Option<Event> {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(line) else { return None };
    // A null field is missing.
    fields.retain(|_, value| !value.is_null());
    let declared_text =
        |name: &str| setup.catalog.dimensions.iter().any(|d| d.source == DimensionSource::Field(name.to_owned()));
    let valid = |(name, value): (&String, &Value)| {
        field_is_valid(name, value) && (!declared_text(name) || value.as_str().is_some_and(|t| !t.is_empty()))
    };
    if !fields.iter().all(valid) {
        return None;
    }
    let event_type = text(&fields, "eventType")?;
    let declared = setup.catalog.event_types.iter().any(|t| t.name == event_type);
    if !declared && !EVENT_TYPES.iter().any(|t| t.name == event_type) {
        return None;
    }
    let occurred_at = moment(&fields, "occurredAt")?;
    let sent = text(&fields, "campaignId");
    let found = text(&fields, "adId").and_then(|ad| campaign_of_ad(metadata, &ad));
    let campaign = sent.or(found);
    let by_type = setup.catalog.required_by_type.iter().filter(|(t, _)| *t == event_type).flat_map(|(_, names)| names);
    for name in setup.catalog.required.iter().chain(by_type) {
        let there = fields.contains_key(name) || (name == "campaignId" && campaign.is_some());
        if !there {
            return None;
        }
    }
    let rule = rule(&setup.catalog, source, &event_type, occurred_at);
    let key = if rule.key.is_empty() { None } else { Some(key(&rule, source, &fields, occurred_at)?) };
    let dimensions = dimensions(&setup.catalog, &fields, campaign.as_ref())?;
    let spec = metadata.campaigns.iter().find(|c| Some(&c.id) == campaign.as_ref());
    if spec.is_none() && metadata.unknown == UnknownCampaign::Reject {
        return None;
    }
    let currency = spec.map_or(&metadata.default_currency, |c| &c.currency).clone();
    let version = spec.and_then(|c| version(c, occurred_at));
    Some(Event {
        source: source.to_owned(),
        import,
        received_at,
        occurred_at,
        key,
        content: content(&rule, &fields, occurred_at),
        dimensions,
        billable: version.map_or(BillableType::Cpm, |v| v.billable),
        in_flight: version.is_none_or(|v| runs(v, occurred_at)),
        foreign: fields.get("currency").is_some_and(|c| c != currency.as_str()),
        currency,
        price: fields.get("priceMicros").and_then(Value::as_i64),
        value: fields.get("valueMicros").and_then(Value::as_i64).unwrap_or(0),
        event_type,
    })
}

/// The version with the latest beginning that does not lie behind the event, of equal ones the one declared last;
/// before all beginnings the one that begins first.
fn version(campaign: &CampaignSpec, occurred_at: i64) -> Option<&CampaignVersion> {
    let mut best: Option<&CampaignVersion> = None;
    let mut first: Option<&CampaignVersion> = None;
    for version in &campaign.versions {
        let from = version.valid_from.micros();
        if from <= occurred_at && best.is_none_or(|b| from >= b.valid_from.micros()) {
            best = Some(version);
        }
        if first.is_none_or(|f| from <= f.valid_from.micros()) {
            first = Some(version);
        }
    }
    best.or(first)
}

fn runs(version: &CampaignVersion, occurred_at: i64) -> bool {
    version.status == CampaignStatus::Active
        && version.start.is_none_or(|start| start.micros() <= occurred_at)
        && version.end.is_none_or(|end| occurred_at < end.micros())
}

fn campaign_of_ad(metadata: &Metadata, ad: &str) -> Option<String> {
    let has = |c: &&CampaignSpec| c.ads.iter().any(|a| a == ad);
    metadata.campaigns.iter().find(has).map(|c| c.id.clone())
}

/// The rule with the latest start that holds; eventId within its source where none does.
fn rule(catalog: &CatalogSpec, source: &str, event_type: &str, occurred_at: i64) -> DedupeSpec {
    let holds = |r: &&DedupeSpec| {
        (r.sources.is_empty() || r.sources.iter().any(|s| s == source))
            && (r.event_types.is_empty() || r.event_types.iter().any(|t| t == event_type))
            && r.since_micros <= occurred_at
    };
    let mut best: Option<&DedupeSpec> = None;
    for rule in catalog.dedupe.iter().filter(holds) {
        if best.is_none_or(|b| rule.since_micros > b.since_micros) {
            best = Some(rule);
        }
    }
    best.cloned().unwrap_or_else(|| DedupeSpec { key: vec!["eventId".to_owned()], ..DedupeSpec::default() })
}

/// Scope, names and values of the key; none where a part is missing.
fn key(rule: &DedupeSpec, source: &str, fields: &Map<String, Value>, occurred_at: i64) -> Option<String> {
    let scope = rule.group.as_ref().map_or_else(|| format!("source {source:?}"), |g| format!("group {g:?}"));
    let mut key = scope;
    for name in &rule.key {
        key += &format!(" {name}={}", fields.get(name)?);
    }
    if rule.time_bucket_seconds > 0 {
        let length = i64::from(rule.time_bucket_seconds);
        key += &format!(" occurredAt/{length}={}", occurred_at.div_euclid(length * 1_000_000));
    }
    Some(key)
}

fn content(rule: &DedupeSpec, fields: &Map<String, Value>, occurred_at: i64) -> String {
    let declared = match (&rule.content, &rule.group) {
        (Some(names), _) => Some(names.clone()),
        (None, Some(_)) => Some(vec!["campaignId".to_owned(), "adId".to_owned()]),
        (None, None) => None,
    };
    let mut content = BTreeMap::new();
    for (name, value) in fields {
        let belongs = match &declared {
            Some(names) => name == "eventType" || names.contains(name),
            None => !NOT_CONTENT.contains(&name.as_str()),
        };
        if belongs {
            let value = if name == "occurredAt" { occurred_at.to_string() } else { value.to_string() };
            content.insert(name.clone(), value);
        }
    }
    format!("{content:?}")
}

/// The values of all dimensions; none where one is missing that must not be.
fn dimensions(
    catalog: &CatalogSpec,
    fields: &Map<String, Value>,
    campaign: Option<&String>,
) -> Option<BTreeMap<String, Option<String>>> {
    let mut all = BTreeMap::new();
    for d in DIMENSIONS {
        let value = match d.source {
            DimensionSource::Field(name) => text(fields, name),
            DimensionSource::Attribute(_) => None,
        };
        all.insert(d.name.to_owned(), value);
    }
    all.insert("campaignId".to_owned(), campaign.cloned());
    for d in &catalog.dimensions {
        let value = match &d.source {
            DimensionSource::Field(name) => text(fields, name),
            DimensionSource::Attribute(name) => match fields.get("attributes").and_then(|a| a.get(name)) {
                Some(Value::String(text)) => Some(text.clone()),
                Some(value @ (Value::Number(_) | Value::Bool(_))) => Some(value.to_string()),
                _ => None,
            },
        };
        let value = match (&d.nulls, value) {
            (NullPolicy::Reject, None) => return None,
            (NullPolicy::Replace(text), None) => Some(text.clone()),
            (_, value) => value,
        };
        all.insert(d.name.clone(), value);
    }
    Some(all)
}
