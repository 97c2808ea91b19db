//! The oracle: a naive recount of everything sent, by the words of the contract.
//!
//! It takes what was sent in log order, and frame boundaries; it shares no decoder, hash, row or table with the shipped
//! code, only the declared catalog. Invariant: it is short enough to be checked by reading. Not here: speed.

use std::collections::{BTreeMap, BTreeSet};

use adsum_model::campaigns::{CampaignSpec, CampaignStatus, CampaignVersion, UnknownCampaign};
use adsum_model::catalog::{
    BillableType, CatalogSpec, DIMENSIONS, DedupeSpec, DimensionSource, EVENT_TYPES, MICROS_MAX_PER_EVENT, NullPolicy,
};
use adsum_model::time::parse_rfc3339;
use serde_json::{Map, Value};

use crate::picture::{Held, Picture, Sums};
use crate::sent::{Entry, ImportMark, SentFrame};
use crate::setup::{Metadata, Setup};

/// Before anything was seen.
const NEVER: i64 = i64::MIN;
/// What belongs to no content.
const NOT_CONTENT: [&str; 5] = ["receivedAt", "edgeReceivedAt", "ip", "userAgent", "schemaVersion"];

/// An event that passed validation, with what the collector resolves.
#[derive(Clone)]
struct Event {
    source: String,
    import: bool,
    received_at: i64,
    occurred_at: i64,
    event_type: String,
    /// Source or group, names and values of the key's parts; none: dedupe is off.
    key: Option<String>,
    content: String,
    /// By dimension.
    dimensions: BTreeMap<String, Option<String>>,
    billable: BillableType,
    currency: String,
    foreign: bool,
    in_flight: bool,
    price: Option<i64>,
    value: i64,
}

/// An event that was counted.
struct Counted {
    content: String,
    occurred_at: i64,
    import: bool,
}

enum Outcome {
    Counted,
    Duplicate,
    Quarantined(&'static str),
}

/// Counts everything that was sent.
pub fn recount(setup: &Setup, frames: &[SentFrame]) -> Picture {
    let mut oracle = Oracle {
        setup,
        sent: Vec::new(),
        folded: BTreeMap::new(),
        values: BTreeMap::new(),
        counted: BTreeMap::new(),
        frame_ledger: BTreeMap::new(),
        seen: NEVER,
        closed: NEVER,
        revision: 0,
        picture: Picture {
            rollups: setup.catalog.rollups.iter().map(|_| BTreeMap::new()).collect(),
            watermark: NEVER,
            line: NEVER,
            ..Picture::default()
        },
    };
    for (i, frame) in frames.iter().enumerate() {
        oracle.frame(i as u64 + 1, frame);
    }
    oracle.picture
}

struct Oracle<'a> {
    setup: &'a Setup,
    /// Every entry so far, by offset.
    sent: Vec<Entry>,
    /// By offset: the dimensions that count as `other`.
    folded: BTreeMap<u64, BTreeSet<String>>,
    /// By UTC day of receivedAt and dimension: the values that stand for themselves.
    values: BTreeMap<(i64, String), BTreeSet<String>>,
    counted: BTreeMap<String, Vec<Counted>>,
    frame_ledger: BTreeMap<String, Sums>,
    /// The largest min(occurredAt, receivedAt) of the frame.
    seen: i64,
    /// Buckets that end up to here were closed before the frame.
    closed: i64,
    revision: u64,
    picture: Picture,
}

impl Oracle<'_> {
    fn frame(&mut self, revision: u64, frame: &SentFrame) {
        self.revision = revision;
        self.seen = NEVER;
        self.closed = self.picture.watermark;
        self.frame_ledger.clear();
        for entry in &frame.entries {
            let offset = self.sent.len() as u64;
            self.sent.push(entry.clone());
            match entry {
                Entry::Line { source, import, received_at, text } => {
                    let metadata = &self.setup.metadata[frame.metadata];
                    match read(self.setup, metadata, source, *import, *received_at, text) {
                        Some(event) => self.event(offset, event),
                        None => self.reject(offset, source, *received_at),
                    }
                }
                Entry::Tick { at } => {
                    let idle = at.saturating_sub(self.setup.times.idle);
                    if !self.picture.in_doubt {
                        self.picture.watermark = self.picture.watermark.max(idle);
                    }
                    self.ledger("", *at, "ticks", 1);
                }
                Entry::ClockDoubt { begun, at } => {
                    self.picture.in_doubt = *begun;
                    self.ledger("", *at, "ticks", 1);
                }
                Entry::Metadata { source, at } => self.ledger(source, *at, "metadata", 1),
                Entry::Replay { target } => self.replay(*target, frame),
                Entry::Import { source, mark: ImportMark::Progress { .. }, .. } => {
                    let frame_sums = self.frame_ledger.get(source).cloned().unwrap_or_default();
                    let file = self.picture.imports.entry(source.clone()).or_default();
                    for (metric, amount) in frame_sums.metrics {
                        file.add(&metric, amount, 0);
                    }
                }
                Entry::Import { source, mark: ImportMark::End, .. } => {
                    self.picture.imports.remove(source);
                }
                Entry::Import { mark: ImportMark::Begin, .. } => {}
            }
        }
        if self.picture.in_doubt {
            return;
        }
        // The line judges the frames that follow; neither moves back.
        let times = &self.setup.times;
        self.picture.watermark = self.picture.watermark.max(self.seen.saturating_sub(times.disorder));
        let line = self.picture.watermark.min(frame.appended_at).saturating_sub(times.horizon);
        self.picture.line = self.picture.line.max(line);
    }

    fn ledger(&mut self, source: &str, received_at: i64, column: &str, amount: i64) {
        let hour = received_at.div_euclid(3_600_000_000) * 3600;
        let row = self.picture.ledger.entry((hour, source.to_owned())).or_default();
        row.add(column, amount, self.revision);
        self.frame_ledger.entry(source.to_owned()).or_default().add(column, amount, self.revision);
    }

    fn quarantine_column(reason: &str) -> &'static str {
        match reason {
            "future" => "future",
            "too_old" => "tooOld",
            "conflict" => "conflicts",
            _ => "foreignCurrency",
        }
    }

    fn move_quarantined(&mut self, event: &Event, reason: &str, amount: i64) {
        self.ledger(&event.source, event.received_at, "quarantined", amount);
        self.ledger(&event.source, event.received_at, Self::quarantine_column(reason), amount);
    }

    fn hold(&mut self, offset: u64, reason: &str, received_at: i64) {
        self.picture.quarantine.insert(offset, Held { reason: reason.to_owned(), received_at });
    }

    fn reject(&mut self, offset: u64, source: &str, received_at: i64) {
        self.ledger(source, received_at, "received", 1);
        self.ledger(source, received_at, "rejected", 1);
        self.hold(offset, "rejected", received_at);
    }

    fn event(&mut self, offset: u64, mut event: Event) {
        self.fold_values(offset, &event);
        self.apply_folds(offset, &mut event);
        self.ledger(&event.source, event.received_at, "received", 1);
        self.ledger(&event.source, event.received_at, "accepted", 1);
        let live = !event.import;
        let outcome = if live && event.occurred_at > event.received_at + self.setup.times.future {
            Outcome::Quarantined("future")
        } else if live && event.occurred_at < self.picture.line {
            Outcome::Quarantined("too_old")
        } else {
            self.currency_and_dedupe(&event, live)
        };
        match outcome {
            Outcome::Quarantined(reason) => {
                self.move_quarantined(&event, reason, 1);
                self.hold(offset, reason, event.received_at);
                return;
            }
            Outcome::Duplicate => self.ledger(&event.source, event.received_at, "duplicates", 1),
            Outcome::Counted => self.count(&event),
        }
        if live {
            self.seen = self.seen.max(event.occurred_at.min(event.received_at));
        }
    }

    fn replay(&mut self, target: u64, frame: &SentFrame) {
        let Some(Entry::Line { source, import, received_at, text }) = self.sent.get(target as usize).cloned() else {
            return;
        };
        // What the collector resolves today; the marks of the event stay.
        let metadata = &self.setup.metadata[frame.metadata];
        let Some(mut event) = read(self.setup, metadata, &source, import, received_at, &text) else { return };
        self.apply_folds(target, &mut event);
        self.ledger(&source, received_at, "replays", 1);
        let Some(held) = self.picture.quarantine.get(&target).filter(|h| h.reason != "rejected").cloned() else {
            self.ledger(&source, received_at, "replaysRefused", 1);
            return;
        };
        let outcome = if held.reason == "conflict" {
            Outcome::Quarantined("conflict")
        } else if !import && event.occurred_at > frame.appended_at + self.setup.times.future {
            Outcome::Quarantined("future")
        } else {
            self.currency_and_dedupe(&event, false)
        };
        self.move_quarantined(&event, &held.reason, -1);
        match outcome {
            Outcome::Quarantined(reason) => {
                self.move_quarantined(&event, reason, 1);
                self.hold(target, reason, received_at);
                return;
            }
            Outcome::Duplicate => self.ledger(&source, received_at, "duplicates", 1),
            Outcome::Counted => self.count(&event),
        }
        self.picture.quarantine.remove(&target);
    }

    /// `keys_end`: whether keys of live events below the line have ended for this event.
    fn currency_and_dedupe(&self, event: &Event, keys_end: bool) -> Outcome {
        if event.foreign {
            return Outcome::Quarantined("foreign_currency");
        }
        let Some(key) = &event.key else { return Outcome::Counted };
        let stands = |c: &&Counted| !keys_end || c.import || c.occurred_at >= self.picture.line;
        let firsts: Vec<&Counted> = self.counted.get(key).into_iter().flatten().filter(stands).collect();
        if firsts.is_empty() {
            Outcome::Counted
        } else if firsts.iter().any(|c| c.content == event.content) {
            Outcome::Duplicate
        } else {
            Outcome::Quarantined("conflict")
        }
    }

    fn count(&mut self, event: &Event) {
        self.ledger(&event.source, event.received_at, "counted", 1);
        // Off per source: the ledger then says so.
        self.ledger(&event.source, event.received_at, "withoutDedupe", i64::from(event.key.is_none()));
        if let Some(key) = &event.key {
            self.counted.entry(key.clone()).or_default().push(Counted {
                content: event.content.clone(),
                occurred_at: event.occurred_at,
                import: event.import,
            });
        }
        let seconds = event.occurred_at.div_euclid(1_000_000);
        let bucket = seconds - seconds.rem_euclid(i64::from(self.setup.catalog.bucket_seconds));
        // Live events only: an import's clock closes no bucket.
        let end = (bucket + i64::from(self.setup.catalog.bucket_seconds)) * 1_000_000;
        let late = !event.import && end <= self.closed;
        let billed_by = EVENT_TYPES.iter().find(|t| t.name == event.event_type).and_then(|t| t.billed_by);
        let plural = plural(&self.setup.catalog, &event.event_type);
        for (rollup, names) in self.picture.rollups.iter_mut().zip(&self.setup.catalog.rollups) {
            let values = names.iter().map(|n| event.dimensions.get(n).cloned().flatten()).collect();
            let cell = rollup.entry((bucket, values, event.currency.clone())).or_default();
            cell.add(&plural, 1, self.revision);
            cell.add("valueMicros", event.value, self.revision);
            cell.add("outOfFlight", i64::from(!event.in_flight), self.revision);
            cell.add("lateEvents", i64::from(late), self.revision);
            if billed_by == Some(event.billable) {
                cell.add("spendMicros", event.price.unwrap_or(0), self.revision);
                cell.add("unpriced", i64::from(event.price.is_none()), self.revision);
            }
        }
    }

    /// Values over a dimension's limit for the day count as `other`, in append order.
    fn fold_values(&mut self, offset: u64, event: &Event) {
        let day = event.received_at.div_euclid(86_400_000_000);
        for (name, limit) in limits(&self.setup.catalog) {
            let Some(Some(value)) = event.dimensions.get(&name) else { continue };
            if value == "other" {
                continue;
            }
            let known = self.values.entry((day, name.clone())).or_default();
            if !known.contains(value) && known.len() as u64 >= u64::from(limit) {
                self.folded.entry(offset).or_default().insert(name);
            } else {
                known.insert(value.clone());
            }
        }
    }

    fn apply_folds(&self, offset: u64, event: &mut Event) {
        for name in self.folded.get(&offset).into_iter().flatten() {
            event.dimensions.insert(name.clone(), Some("other".to_owned()));
        }
    }
}

/// Names and limits of all dimensions.
fn limits(catalog: &CatalogSpec) -> Vec<(String, u32)> {
    let builtin = DIMENSIONS.iter().map(|d| (d.name.to_owned(), d.limit));
    builtin.chain(catalog.dimensions.iter().map(|d| (d.name.clone(), d.limit))).collect()
}

fn plural(catalog: &CatalogSpec, event_type: &str) -> String {
    let builtin = EVENT_TYPES.iter().find(|t| t.name == event_type).map(|t| t.plural.to_owned());
    let declared = || catalog.event_types.iter().find(|t| t.name == event_type).map(|t| t.plural.clone());
    builtin.or_else(declared).unwrap_or_default()
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
fn read(setup: &Setup, metadata: &Metadata, source: &str, import: bool, received_at: i64, line: &str) -> Option<Event> {
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

/// Whether a line passes validation.
pub fn passes(setup: &Setup, metadata: &Metadata, entry: &Entry) -> bool {
    match entry {
        Entry::Line { source, import, received_at, text } => {
            read(setup, metadata, source, *import, *received_at, text).is_some()
        }
        _ => false,
    }
}
