//! Changes of the metadata, as the log keeps them: `$code` says which kind, `$raw` is a [`Recorded`] as JSON, version 1.
//!
//! Invariant: a record holds everything that its change needs, so that replaying the records in log order gives the
//! same state again; no secret stands in one, only its SHA-256. A reader refuses a version or a kind that it does not
//! know. Not here: what a change does ([`super::state`]), and who may ask for one ([`super::read`]).

use adsum_model::campaigns::CampaignStatus;
use adsum_model::catalog::{BillableType, Catalog};
use adsum_model::record::{Form, RecordBatch, RecordHead, RecordKind, Stamp};
use adsum_model::time::{EventTime, ReceivedAt};
use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use super::forms;
use crate::act::Act;
use crate::http::Role;

/// The version of the JSON.
const VERSION: u32 = 1;

/// What changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Change {
    /// An advertiser is made or replaced.
    #[serde(rename = "advertiser.put")]
    Advertiser(Advertiser),
    /// A campaign is made, or gets another version.
    #[serde(rename = "campaign.put")]
    Campaign(Campaign),
    /// An ad is made or replaced.
    #[serde(rename = "ad.put")]
    Ad(Ad),
    /// A publisher is made or replaced.
    #[serde(rename = "publisher.put")]
    Publisher(Publisher),
    /// A placement is made or replaced.
    #[serde(rename = "placement.put")]
    Placement(Placement),
    /// A token is made.
    #[serde(rename = "token.create")]
    TokenCreate(Token),
    /// A token is good for nothing any more.
    #[serde(rename = "token.revoke")]
    TokenRevoke(Gone),
    /// A site key is made.
    #[serde(rename = "siteKey.create")]
    SiteKeyCreate(SiteKey),
    /// A site key is good for nothing any more.
    #[serde(rename = "siteKey.revoke")]
    SiteKeyRevoke(Gone),
    /// Clicks may lead there.
    #[serde(rename = "clickDestination.create")]
    DestinationCreate(Destination),
    /// Clicks may lead there no more.
    #[serde(rename = "clickDestination.delete")]
    DestinationDelete(Gone),
    /// Nothing of this: something was done that the audit shows.
    #[serde(rename = "act")]
    Act(Act),
}

/// An advertiser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Advertiser {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The IANA zone of its statements' days.
    pub time_zone: String,
}

/// A version of a campaign: its terms from `effective_from` on. Name, advertiser and currency hold for all versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Campaign {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The advertiser's id.
    pub advertiser: String,
    /// ISO 4217 code.
    pub currency: String,
    #[serde(with = "forms::billable")]
    pub billable: BillableType,
    #[serde(with = "forms::status")]
    pub status: CampaignStatus,
    #[serde(default, with = "forms::moment_if", skip_serializing_if = "Option::is_none")]
    pub start: Option<EventTime>,
    /// Not included.
    #[serde(default, with = "forms::moment_if", skip_serializing_if = "Option::is_none")]
    pub end: Option<EventTime>,
    #[serde(with = "forms::moment")]
    pub effective_from: EventTime,
}

/// An ad.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ad {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub campaign_id: String,
}

/// A publisher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Publisher {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A placement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Placement {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub publisher_id: String,
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Token {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(with = "forms::role")]
    pub role: Role,
    pub source: String,
    /// The advertiser whose campaigns alone it sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertiser: Option<String>,
    #[serde(default, with = "forms::moment_if", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<EventTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<u32>,
    /// Of the secret.
    #[serde(with = "forms::digest")]
    pub sha256: [u8; 32],
}

/// A site key; its id is the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SiteKey {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<u32>,
}

/// Where clicks may lead: everything below a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Destination {
    pub id: String,
    pub url: String,
}

/// What is revoked or deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gone {
    pub id: String,
}

impl Change {
    /// Its kind, as in the JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Advertiser(_) => "advertiser.put",
            Self::Campaign(_) => "campaign.put",
            Self::Ad(_) => "ad.put",
            Self::Publisher(_) => "publisher.put",
            Self::Placement(_) => "placement.put",
            Self::TokenCreate(_) => "token.create",
            Self::TokenRevoke(_) => "token.revoke",
            Self::SiteKeyCreate(_) => "siteKey.create",
            Self::SiteKeyRevoke(_) => "siteKey.revoke",
            Self::DestinationCreate(_) => "clickDestination.create",
            Self::DestinationDelete(_) => "clickDestination.delete",
            Self::Act(_) => "act",
        }
    }
}

/// A change and who made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recorded {
    v: u32,
    /// The token's id.
    pub by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    pub change: Change,
}

impl Recorded {
    /// Of the present version.
    pub fn new(by: &str, request_id: Option<&str>, change: Change) -> Self {
        Self { v: VERSION, by: by.to_owned(), request_id: request_id.map(str::to_owned), change }
    }
}

/// A recorded change with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// The metadata revision that it makes: how many changes there are with it.
    pub revision: u64,
    /// When it was taken in.
    pub at: ReceivedAt,
    /// The source of who made it.
    pub source: String,
    /// What it is.
    pub recorded: Recorded,
}

impl Numbered {
    /// Adds its record to a batch.
    pub fn push(&self, catalog: &Catalog, batch: &mut RecordBatch) -> Result<()> {
        let raw = serde_json::to_vec(&self.recorded)?;
        let source = catalog.symbols().intern(self.source.as_bytes());
        batch.begin(RecordKind::Metadata, source, self.at, Stamp::default());
        let known = catalog.well_known();
        batch.push_bytes(known.code, Form::Text, self.recorded.change.kind().as_bytes());
        batch.push_bytes(known.raw, Form::Bytes, &raw);
        Ok(())
    }

    /// The change that a metadata record holds.
    pub fn read(revision: u64, batch: &RecordBatch, head: &RecordHead, catalog: &Catalog) -> Result<Self> {
        let raw = batch.field(head, catalog.well_known().raw).ok_or_else(|| anyhow!("a change without $raw"))?;
        let raw = &batch.arena[raw.range()];
        let recorded: Recorded = serde_json::from_slice(raw).with_context(|| {
            format!("change {revision} of the metadata is of a kind that this version of adsum does not know")
        })?;
        if recorded.v != VERSION {
            bail!("change {revision} of the metadata is of version {}; this adsum knows version 1", recorded.v);
        }
        let source = catalog.symbols().text(head.source).unwrap_or_default();
        Ok(Self { revision, at: head.received_at, source, recorded })
    }
}
