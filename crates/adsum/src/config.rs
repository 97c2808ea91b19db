//! The configuration: one TOML file, every key optional, nothing unknown accepted.
//!
//! Invariant: what it says is checked before anything is opened, and what is wrong is named by its key.
//! Not here: flags and ADSUM_* variables, which go over it (cli).

use std::collections::BTreeMap;
use std::path::Path;

use adsum_engine::Rules;
use adsum_model::campaigns::{CampaignSpec, CampaignStatus, CampaignVersion, Campaigns, UnknownCampaign};
use adsum_model::catalog::{
    BillableType, Catalog, CatalogSpec, DIMENSIONS, DedupeSpec, DimensionSource, DimensionSpec, DistinctSpec,
    EventTypeSpec, MappingSpec, NullPolicy, TimeFormat,
};
use adsum_model::time::{EventTime, parse_rfc3339};
use adsum_pipeline::CheckpointRules;
use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use crate::http::settings::ServerConfig;
use crate::memory::ByteSize;
use crate::writer::QueueBounds;

/// The most text that may become one frame: with the chunk or the long line that goes over it, it stays below the
/// 64 MiB that a frame of the log may have.
const FRAME_BYTES_MAX: usize = 24 << 20;
/// The longest name of a source, in bytes.
const SOURCE_BYTES_MAX: usize = 64;
/// The most events that a request may be configured to have.
const REQUEST_EVENTS_MAX: usize = 100_000;

/// The file as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Length of a bucket in seconds, a divisor of 60; 60 if not given.
    pub bucket_seconds: Option<u32>,
    /// Fields that every event must have; eventId, eventType, occurredAt, campaignId if not given.
    pub required: Option<Vec<String>>,
    /// The sets of dimensions that aggregates are kept by.
    pub rollups: Option<Vec<Vec<String>>>,
    /// The sets of dimensions that distinct users are counted by; none turns it off.
    pub distinct_users: Option<Vec<DistinctConfig>>,
    /// Threads that fold; the machine's cores if not given.
    pub workers: Option<usize>,
    /// What the process may take; its parts then get a share each.
    pub memory_limit: Option<ByteSize>,
    /// How much waits between threads.
    #[serde(skip)]
    pub queues: QueueBounds,
    /// Limits of time.
    pub time: TimeConfig,
    /// The embedded log.
    pub log: LogConfig,
    /// When state is committed.
    pub checkpoint: CheckpointConfig,
    /// Sockets, requests, TLS.
    pub server: ServerConfig,
    /// How files are read.
    pub import: ImportConfig,
    /// What a request of events may hold, and what browsers may use.
    pub collect: CollectConfig,
    /// Personal data.
    pub privacy: PrivacyConfig,
    /// A sender's field names.
    pub fields: BTreeMap<String, FieldMapping>,
    /// Dimensions beside the built-in ones.
    pub dimensions: BTreeMap<String, DimensionConfig>,
    /// Event types beside the built-in ones, and what a built-in one requires.
    pub event_types: BTreeMap<String, EventTypeConfig>,
    /// Which events are the same.
    pub dedupe: Vec<DedupeConfig>,
    /// What holds for campaigns that are not listed.
    pub campaign_defaults: CampaignDefaults,
    /// Campaigns by id.
    pub campaigns: BTreeMap<String, CampaignConfig>,
}

/// A set of dimensions that distinct users are counted by.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistinctConfig {
    by: Vec<String>,
    window_seconds: u32,
}

/// Limits of time, in seconds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeConfig {
    future_seconds: Option<u32>,
    horizon_seconds: Option<u32>,
    disorder_seconds: Option<u32>,
    idle_seconds: Option<u32>,
}

/// The embedded log.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// A segment is closed at this size.
    pub segment_bytes: Option<u64>,
    /// How much of the log's end is checked whole at every start.
    pub verify_bytes: Option<u64>,
}

/// When state is committed: at whichever is reached first.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// Dedupe records waiting.
    pub records: Option<usize>,
    /// Cells waiting.
    pub cells: Option<usize>,
    /// Frames waiting.
    pub frames: Option<u64>,
}

/// How files are read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImportConfig {
    /// Bytes of text that one thread decodes at a time.
    pub chunk_bytes: Option<usize>,
    /// Bytes of text that become one frame of the log, synced as one.
    pub frame_bytes: Option<usize>,
}

impl ImportConfig {
    /// Bytes of text that one thread decodes at a time.
    pub fn chunk_bytes(&self) -> usize {
        self.chunk_bytes.unwrap_or(512 << 10).clamp(1, self.frame_bytes())
    }

    /// Bytes of text that become one frame of the log.
    pub fn frame_bytes(&self) -> usize {
        self.frame_bytes.unwrap_or(16 << 20).max(1)
    }
}

/// The collector.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollectConfig {
    body_bytes_max: Option<usize>,
    events_max: Option<usize>,
    /// The source of each site key, beside those of the metadata.
    pub site_keys: BTreeMap<String, String>,
    /// Addresses below which a click may lead, beside those of the metadata.
    pub click_destinations: Vec<String>,
}

impl CollectConfig {
    /// The most bytes of a body, as sent and decompressed.
    pub fn body_bytes_max(&self) -> usize {
        self.body_bytes_max.unwrap_or(8 << 20)
    }

    /// The most events of a request.
    pub fn events_max(&self) -> usize {
        self.events_max.unwrap_or(5000)
    }

    fn check(&self) -> Result<()> {
        let (bytes, events) = (self.body_bytes_max(), self.events_max());
        if !(1..=FRAME_BYTES_MAX).contains(&bytes) {
            bail!("collect.body_bytes_max: {bytes} is not from 1 to {FRAME_BYTES_MAX}");
        }
        if !(1..=REQUEST_EVENTS_MAX).contains(&events) {
            bail!("collect.events_max: {events} is not from 1 to {REQUEST_EVENTS_MAX}");
        }
        for (key, source) in &self.site_keys {
            if source.is_empty() || source.len() > SOURCE_BYTES_MAX || source.chars().any(char::is_control) {
                bail!(
                    "collect.site_keys.{key}: a source has 1 to {SOURCE_BYTES_MAX} characters and no control characters"
                );
            }
        }
        for prefix in &self.click_destinations {
            if !crate::collect::is_registrable(prefix) {
                bail!(
                    "collect.click_destinations: {prefix:?} is no http or https address without credentials and query"
                );
            }
        }
        Ok(())
    }
}

/// Personal data.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrivacyConfig {
    /// What becomes of the viewer's address.
    pub ip: IpPolicy,
}

/// What becomes of the viewer's address before it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IpPolicy {
    /// It is written as it is.
    Keep,
    /// Its network is: /24 of IPv4, /48 of IPv6.
    #[default]
    Truncate,
    /// Nothing of it is.
    Drop,
}

/// What a sender's field becomes: a name, or a name and how its values are written.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum FieldMapping {
    /// Our name.
    Name(String),
    /// Our name, and how values are written.
    Full(FullMapping),
}

/// See [`FieldMapping::Full`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FullMapping {
    to: String,
    #[serde(default)]
    values: BTreeMap<String, String>,
    #[serde(default)]
    time: TimeFormatName,
}

/// How a sender writes time.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeFormatName {
    /// `2026-11-21T08:05:16Z`.
    #[default]
    Rfc3339,
    /// Seconds since 1970.
    EpochSeconds,
    /// Milliseconds since 1970.
    EpochMs,
    /// Microseconds since 1970.
    EpochMicros,
}

/// A dimension.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DimensionConfig {
    id: Option<u16>,
    field: Option<String>,
    attribute: Option<String>,
    #[serde(default)]
    nulls: NullsConfig,
    limit: Option<u32>,
    #[serde(default)]
    doc: String,
}

/// Values a UTC day, if not configured.
const DIMENSION_LIMIT: u32 = 100_000;

/// What a missing value means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NullsConfig {
    /// A value of its own.
    #[default]
    Keep,
    /// The event is rejected.
    Reject,
    /// It counts as this text.
    Replace(String),
}

/// An event type; of a built-in one only `required` may be given.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventTypeConfig {
    id: Option<u16>,
    plural: Option<String>,
    required: Vec<String>,
    doc: String,
}

/// A dedupe rule.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DedupeConfig {
    sources: Vec<String>,
    event_types: Vec<String>,
    group: Option<String>,
    key: Vec<String>,
    off: bool,
    time_bucket_seconds: u32,
    content: Option<Vec<String>>,
    since: Option<String>,
}

/// What holds for campaigns that are not listed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CampaignDefaults {
    currency: Option<String>,
    unknown: UnknownConfig,
}

/// What becomes of events of campaigns that are not listed.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownConfig {
    /// They count.
    #[default]
    LetThrough,
    /// They are rejected.
    Reject,
}

/// A campaign.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CampaignConfig {
    billable: Option<String>,
    currency: Option<String>,
    status: Option<String>,
    start: Option<String>,
    end: Option<String>,
    ads: Vec<String>,
    /// What it changed to, from a moment on.
    history: Vec<ChangeConfig>,
}

/// A change of a campaign; what it does not give stays.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeConfig {
    from: String,
    billable: Option<String>,
    status: Option<String>,
    start: Option<String>,
    end: Option<String>,
}

impl Config {
    /// Reads a file; without one everything has its default.
    pub fn load(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is no configuration", path.display()))
    }

    /// Reads TOML text.
    pub fn parse(text: &str) -> Result<Self> {
        let config: Self = toml::from_str(text)?;
        if let Some(bytes) = config.import.frame_bytes.filter(|bytes| *bytes > FRAME_BYTES_MAX) {
            bail!("import.frame_bytes: {bytes} is more than {FRAME_BYTES_MAX}");
        }
        config.server.check()?;
        config.collect.check()?;
        Ok(config)
    }

    /// The catalog that it declares.
    pub fn catalog(&self) -> Result<Catalog> {
        let defaults = CatalogSpec::default();
        let builtin = |name: &str| adsum_model::catalog::EVENT_TYPES.iter().any(|t| t.name == name);
        let mut event_types = Vec::new();
        let mut required_by_type = Vec::new();
        for (name, t) in &self.event_types {
            required_by_type.push((name.clone(), t.required.clone()));
            if builtin(name) {
                if t.id.is_some() || t.plural.is_some() {
                    bail!("event_types.{name}: a built-in event type; only `required` may be given");
                }
                continue;
            }
            event_types.push(EventTypeSpec {
                id: t.id.ok_or_else(|| anyhow!("event_types.{name}.id: missing; take one from 1000 up and keep it"))?,
                name: name.clone(),
                plural: t.plural.clone().unwrap_or_else(|| format!("{name}s")),
                doc: t.doc.clone(),
            });
        }
        let (builtins, own): (Vec<_>, Vec<_>) =
            self.dimensions.iter().partition(|(name, _)| DIMENSIONS.iter().any(|d| d.name == name.as_str()));
        let spec = CatalogSpec {
            dimensions: own.into_iter().map(|(name, d)| d.spec(name)).collect::<Result<_>>()?,
            limits: builtins.into_iter().map(|(name, d)| d.limit_of_builtin(name)).collect::<Result<_>>()?,
            event_types,
            required: self.required.clone().unwrap_or(defaults.required),
            required_by_type,
            rollups: self.rollups.clone().unwrap_or(defaults.rollups),
            distinct_users: match &self.distinct_users {
                None => defaults.distinct_users,
                Some(sets) => {
                    (sets.iter()).map(|d| DistinctSpec { by: d.by.clone(), window_seconds: d.window_seconds }).collect()
                }
            },
            mapping: self.fields.iter().map(|(from, m)| m.spec(from)).collect(),
            dedupe: self.dedupe.iter().enumerate().map(|(i, d)| d.spec(i)).collect::<Result<_>>()?,
            bucket_seconds: self.bucket_seconds.unwrap_or(defaults.bucket_seconds),
        };
        Ok(Catalog::build(&spec)?)
    }

    /// The table of the campaigns that it declares.
    pub fn campaigns(&self, catalog: &Catalog) -> Result<Campaigns> {
        self.campaign_table(&self.campaign_specs()?, catalog)
    }

    /// The campaigns that it declares, by id.
    pub fn campaign_specs(&self) -> Result<Vec<CampaignSpec>> {
        let currency = self.default_currency()?;
        let mut specs = Vec::new();
        for (id, c) in &self.campaigns {
            let currency = c.currency.clone().unwrap_or_else(|| currency.clone());
            check_currency(&format!("campaigns.{id}.currency"), &currency)?;
            let versions = c.versions(&format!("campaigns.{id}"))?;
            specs.push(CampaignSpec { id: id.clone(), currency, versions, ads: c.ads.clone() });
        }
        Ok(specs)
    }

    /// A table of campaigns; what is not in it gets the defaults.
    pub fn campaign_table(&self, specs: &[CampaignSpec], catalog: &Catalog) -> Result<Campaigns> {
        let unknown = match self.campaign_defaults.unknown {
            UnknownConfig::LetThrough => UnknownCampaign::LetThrough,
            UnknownConfig::Reject => UnknownCampaign::Reject,
        };
        Campaigns::build(specs, &self.default_currency()?, unknown, catalog.symbols())
            .map_err(|ad| anyhow!("campaigns: ad {ad:?} belongs to two campaigns"))
    }

    fn default_currency(&self) -> Result<String> {
        let currency = self.campaign_defaults.currency.clone().unwrap_or_else(|| "USD".to_owned());
        check_currency("campaign_defaults.currency", &currency)?;
        Ok(currency)
    }

    /// The limits of time.
    pub fn rules(&self) -> Rules {
        let defaults = Rules::default();
        let micros = |seconds: Option<u32>, default: i64| seconds.map_or(default, |s| i64::from(s) * 1_000_000);
        Rules {
            future_micros: micros(self.time.future_seconds, defaults.future_micros),
            horizon_micros: micros(self.time.horizon_seconds, defaults.horizon_micros),
            disorder_micros: micros(self.time.disorder_seconds, defaults.disorder_micros),
            idle_micros: micros(self.time.idle_seconds, defaults.idle_micros),
        }
    }

    /// When state is committed.
    pub fn checkpoints(&self) -> CheckpointRules {
        let defaults = CheckpointRules::default();
        CheckpointRules {
            records_max: self.checkpoint.records.unwrap_or(defaults.records_max),
            cells_max: self.checkpoint.cells.unwrap_or(defaults.cells_max),
            frames_max: self.checkpoint.frames.unwrap_or(defaults.frames_max),
            merges: defaults.merges,
        }
    }
}

impl CampaignConfig {
    /// Its history; `param` is its key in the file.
    fn versions(&self, param: &str) -> Result<Vec<CampaignVersion>> {
        let own = [&self.billable, &self.status, &self.start, &self.end];
        let mut versions = vec![changed(CampaignVersion::always(BillableType::Cpm), param, own)?];
        for (i, change) in self.history.iter().enumerate() {
            let (param, before) = (format!("{param}.history.{i}"), versions[i]);
            let given = [&change.billable, &change.status, &change.start, &change.end];
            let valid_from = moment(&format!("{param}.from"), &change.from)?;
            if valid_from < before.valid_from {
                bail!("{param}.from: lies before the change above it; write changes in their order");
            }
            versions.push(CampaignVersion { valid_from, ..changed(before, &param, given)? });
        }
        Ok(versions)
    }
}

/// A version with what is given put in its place: billable, status, start, end.
fn changed(mut version: CampaignVersion, param: &str, given: [&Option<String>; 4]) -> Result<CampaignVersion> {
    let [billable, status, start, end] = given;
    if let Some(name) = billable {
        version.billable = BillableType::from_name(name)
            .ok_or_else(|| anyhow!("{param}.billable: {name:?} is none of cpm, cpc, cpa"))?;
    }
    if let Some(name) = status {
        version.status = CampaignStatus::from_name(name)
            .ok_or_else(|| anyhow!("{param}.status: {name:?} is none of active, paused"))?;
    }
    if let Some(text) = start {
        version.start = Some(moment(&format!("{param}.start"), text)?);
    }
    if let Some(text) = end {
        version.end = Some(moment(&format!("{param}.end"), text)?);
    }
    if version.start.zip(version.end).is_some_and(|(start, end)| start >= end) {
        bail!("{param}.end: must lie behind the start");
    }
    Ok(version)
}

fn moment(param: &str, text: &str) -> Result<EventTime> {
    match parse_rfc3339(text.as_bytes()) {
        Ok(micros) => Ok(EventTime::from_micros(micros)),
        Err(_) => bail!("{param}: {text:?} is no RFC 3339 moment"),
    }
}

fn check_currency(param: &str, code: &str) -> Result<()> {
    if code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase()) {
        Ok(())
    } else {
        bail!("{param}: {code:?} is no ISO 4217 code (three upper-case letters)")
    }
}

impl FieldMapping {
    fn spec(&self, from: &str) -> MappingSpec {
        let (to, values, time) = match self {
            Self::Name(to) => (to.clone(), Vec::new(), TimeFormat::Rfc3339),
            Self::Full(m) => {
                let time = match m.time {
                    TimeFormatName::Rfc3339 => TimeFormat::Rfc3339,
                    TimeFormatName::EpochSeconds => TimeFormat::EpochSeconds,
                    TimeFormatName::EpochMs => TimeFormat::EpochMillis,
                    TimeFormatName::EpochMicros => TimeFormat::EpochMicros,
                };
                (m.to.clone(), m.values.clone().into_iter().collect(), time)
            }
        };
        MappingSpec { from: from.to_owned(), to, values, time }
    }
}

impl DimensionConfig {
    /// Of a built-in dimension only the limit is the installation's to say.
    fn limit_of_builtin(&self, name: &str) -> Result<(String, u32)> {
        let others = self.id.is_some() || self.field.is_some() || self.attribute.is_some() || !self.doc.is_empty();
        match self.limit {
            Some(limit) if !others && self.nulls == NullsConfig::Keep => Ok((name.to_owned(), limit)),
            _ => bail!("dimensions.{name}: a built-in dimension; only `limit` may be given"),
        }
    }

    fn spec(&self, name: &str) -> Result<DimensionSpec> {
        let source = match (&self.field, &self.attribute) {
            (Some(f), None) => DimensionSource::Field(f.clone()),
            (None, Some(a)) => DimensionSource::Attribute(a.clone()),
            (None, None) => DimensionSource::Field(name.to_owned()),
            (Some(_), Some(_)) => bail!("dimensions.{name}: field and attribute exclude each other"),
        };
        let id = self.id.ok_or_else(|| anyhow!("dimensions.{name}.id: missing; take one from 1000 up and keep it"))?;
        Ok(DimensionSpec {
            id,
            name: name.to_owned(),
            source,
            nulls: match &self.nulls {
                NullsConfig::Keep => NullPolicy::Keep,
                NullsConfig::Reject => NullPolicy::Reject,
                NullsConfig::Replace(text) => NullPolicy::Replace(text.clone()),
            },
            limit: self.limit.unwrap_or(DIMENSION_LIMIT),
            doc: self.doc.clone(),
        })
    }
}

impl DedupeConfig {
    fn spec(&self, index: usize) -> Result<DedupeSpec> {
        if self.off != self.key.is_empty() {
            bail!("dedupe.{index}: give either a key, or off = true");
        }
        let since_micros = match &self.since {
            None => i64::MIN,
            Some(text) => moment(&format!("dedupe.{index}.since"), text)?.micros(),
        };
        Ok(DedupeSpec {
            sources: self.sources.clone(),
            event_types: self.event_types.clone(),
            group: self.group.clone(),
            key: self.key.clone(),
            time_bucket_seconds: self.time_bucket_seconds,
            content: self.content.clone(),
            since_micros,
        })
    }
}
