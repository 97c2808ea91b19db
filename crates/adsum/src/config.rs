//! The configuration: one TOML file, every key optional, nothing unknown accepted.
//!
//! Invariant: what it says is checked before anything is opened, and what is wrong is named by its key.
//! Not here: flags and ADSUM_* variables, which go over it (cli).

use std::collections::BTreeMap;
use std::path::Path;

use adsum_engine::Rules;
use adsum_model::campaigns::{CampaignSpec, Campaigns, UnknownCampaign};
use adsum_model::catalog::{
    BillableType, Catalog, CatalogSpec, DedupeSpec, DimensionSource, DimensionSpec, DistinctSpec, EventTypeSpec,
    MappingSpec, NullPolicy, TimeFormat,
};
use adsum_model::time::parse_rfc3339;
use adsum_pipeline::CheckpointRules;
use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

/// The most text that may become one frame: with the chunk or the long line that goes over it, it stays below the
/// 64 MiB that a frame of the log may have.
const FRAME_BYTES_MAX: usize = 24 << 20;

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
    /// Limits of time.
    pub time: TimeConfig,
    /// The embedded log.
    pub log: LogConfig,
    /// When state is committed.
    pub checkpoint: CheckpointConfig,
    /// How files are read.
    pub import: ImportConfig,
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
    id: u16,
    field: Option<String>,
    attribute: Option<String>,
    #[serde(default)]
    nulls: NullsConfig,
    #[serde(default = "default_limit")]
    limit: u32,
    #[serde(default)]
    doc: String,
}

fn default_limit() -> u32 {
    100_000
}

/// What a missing value means.
#[derive(Clone, Debug, Default, Deserialize)]
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
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CampaignConfig {
    #[serde(default)]
    billable: Option<String>,
    #[serde(default)]
    currency: Option<String>,
    #[serde(default)]
    ads: Vec<String>,
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
        let spec = CatalogSpec {
            dimensions: self.dimensions.iter().map(|(name, d)| d.spec(name)).collect::<Result<_>>()?,
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
            let name = c.billable.as_deref().unwrap_or("cpm");
            let billable = BillableType::from_name(name)
                .ok_or_else(|| anyhow!("campaigns.{id}.billable: {name:?} is none of cpm, cpc, cpa"))?;
            let currency = c.currency.clone().unwrap_or_else(|| currency.clone());
            check_currency(&format!("campaigns.{id}.currency"), &currency)?;
            specs.push(CampaignSpec { id: id.clone(), billable, currency, ads: c.ads.clone() });
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
    fn spec(&self, name: &str) -> Result<DimensionSpec> {
        let source = match (&self.field, &self.attribute) {
            (Some(f), None) => DimensionSource::Field(f.clone()),
            (None, Some(a)) => DimensionSource::Attribute(a.clone()),
            (None, None) => DimensionSource::Field(name.to_owned()),
            (Some(_), Some(_)) => bail!("dimensions.{name}: field and attribute exclude each other"),
        };
        Ok(DimensionSpec {
            id: self.id,
            name: name.to_owned(),
            source,
            nulls: match &self.nulls {
                NullsConfig::Keep => NullPolicy::Keep,
                NullsConfig::Reject => NullPolicy::Reject,
                NullsConfig::Replace(text) => NullPolicy::Replace(text.clone()),
            },
            limit: self.limit,
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
            Some(text) => parse_rfc3339(text.as_bytes())
                .map_err(|_| anyhow!("dedupe.{index}.since: {text:?} is no RFC 3339 moment"))?,
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
