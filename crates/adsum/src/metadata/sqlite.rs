//! The metadata in SQLite: `metadata.sqlite` in the data directory, which follows the log.
//!
//! Changes go in as a JSON array, one statement for each table. Invariant: the rows and the position of the log that
//! they come of are written in one transaction, so the file is always the state after some change; without the file
//! everything in it, the audit included, is made again from the log. Not here: what is in memory ([`super::state`]).

use std::path::Path;
use std::time::Duration;

use adsum_model::id::FrameSeq;
use adsum_model::time::{ReceivedAt, parse_rfc3339};
use anyhow::{Context, Result, anyhow, bail};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

use super::change::{Campaign, Numbered};
use super::state::{Entry, Revocable, State};

/// The file's name in the data directory.
pub const FILE: &str = "metadata.sqlite";
/// How long one connection waits for another, in seconds.
const BUSY_SECONDS_MAX: u64 = 10;

/// Each step brings the schema one version further; a file is brought to the last one when it is opened.
const MIGRATIONS: &[&str] = &[include_str!("schema-1.sql")];

/// What brings the tables up to changes of a kind (the nameless one: of any but acts), `?1` being the array of all of them;
/// advertisers come before what refers to them.
const FOLLOW: &[(&str, &str)] = &[
    (
        "advertiser.put",
        "INSERT INTO advertisers SELECT value->>'$.change.id', value->>'$.change.name', value->>'$.change.timeZone', \
     value->>'$.revision', value->>'$.at', value->>'$.by' \
     FROM json_each(?1) WHERE value->>'$.change.kind' = 'advertiser.put' \
     ON CONFLICT (id) DO UPDATE SET name = excluded.name, time_zone = excluded.time_zone, \
     revision = excluded.revision, changed_at = excluded.changed_at, changed_by = excluded.changed_by",
    ),
    (
        "campaign.put",
        "INSERT INTO campaigns SELECT value->>'$.change.id', value->>'$.change.name', value->>'$.change.advertiser', \
     value->>'$.change.currency' \
     FROM json_each(?1) WHERE value->>'$.change.kind' = 'campaign.put' \
     ON CONFLICT (id) DO UPDATE SET name = excluded.name, advertiser = excluded.advertiser, \
     currency = excluded.currency",
    ),
    (
        "campaign.put",
        "INSERT INTO campaign_versions SELECT value->>'$.revision', value->>'$.change.id', \
     value->>'$.change.effectiveFrom', value->>'$.change.name', value->>'$.change.advertiser', \
     value->>'$.change.currency', value->>'$.change.billable', value->>'$.change.status', value->>'$.change.start', \
     value->>'$.change.end', value->>'$.at', value->>'$.by' \
     FROM json_each(?1) WHERE value->>'$.change.kind' = 'campaign.put'",
    ),
    (
        "ad.put",
        "INSERT INTO ads SELECT value->>'$.change.id', value->>'$.change.name', value->>'$.change.campaignId', \
     value->>'$.revision', value->>'$.at', value->>'$.by' \
     FROM json_each(?1) WHERE value->>'$.change.kind' = 'ad.put' \
     ON CONFLICT (id) DO UPDATE SET name = excluded.name, campaign = excluded.campaign, \
     revision = excluded.revision, changed_at = excluded.changed_at, changed_by = excluded.changed_by",
    ),
    (
        "publisher.put",
        "INSERT INTO publishers SELECT value->>'$.change.id', value->>'$.change.name', \
     value->>'$.revision', value->>'$.at', value->>'$.by' \
     FROM json_each(?1) WHERE value->>'$.change.kind' = 'publisher.put' \
     ON CONFLICT (id) DO UPDATE SET name = excluded.name, \
     revision = excluded.revision, changed_at = excluded.changed_at, changed_by = excluded.changed_by",
    ),
    (
        "placement.put",
        "INSERT INTO placements SELECT value->>'$.change.id', value->>'$.change.name', value->>'$.change.publisherId', \
     value->>'$.revision', value->>'$.at', value->>'$.by' \
     FROM json_each(?1) WHERE value->>'$.change.kind' = 'placement.put' \
     ON CONFLICT (id) DO UPDATE SET name = excluded.name, publisher = excluded.publisher, \
     revision = excluded.revision, changed_at = excluded.changed_at, changed_by = excluded.changed_by",
    ),
    (
        "token.create",
        "INSERT INTO tokens SELECT value->>'$.change.id', value->>'$.change.name', value->>'$.change.role', \
     value->>'$.change.source', value->>'$.change.advertiser', value->>'$.change.expiresAt', \
     value->>'$.change.requestsPerSecond', value->>'$.change.eventsPerSecond', value->>'$.change.sha256', \
     value->>'$.revision', value->>'$.at', value->>'$.by', NULL \
     FROM json_each(?1) WHERE value->>'$.change.kind' = 'token.create'",
    ),
    (
        "token.revoke",
        "UPDATE tokens SET revoked_at = gone.at FROM (SELECT value->>'$.change.id' AS id, value->>'$.at' AS at \
     FROM json_each(?1) WHERE value->>'$.change.kind' = 'token.revoke') AS gone \
     WHERE tokens.id = gone.id AND revoked_at IS NULL",
    ),
    (
        "siteKey.create",
        "INSERT INTO site_keys SELECT value->>'$.change.id', value->>'$.change.name', value->>'$.change.source', \
     value->>'$.change.eventsPerSecond', value->>'$.revision', value->>'$.at', value->>'$.by', NULL \
     FROM json_each(?1) WHERE value->>'$.change.kind' = 'siteKey.create'",
    ),
    (
        "siteKey.revoke",
        "UPDATE site_keys SET revoked_at = gone.at FROM (SELECT value->>'$.change.id' AS id, value->>'$.at' AS at \
     FROM json_each(?1) WHERE value->>'$.change.kind' = 'siteKey.revoke') AS gone \
     WHERE site_keys.id = gone.id AND revoked_at IS NULL",
    ),
    (
        "clickDestination.create",
        "INSERT INTO click_destinations SELECT value->>'$.change.id', value->>'$.change.url', \
     value->>'$.revision', value->>'$.at', value->>'$.by' \
     FROM json_each(?1) WHERE value->>'$.change.kind' = 'clickDestination.create'",
    ),
    (
        "clickDestination.delete",
        "DELETE FROM click_destinations WHERE id IN (SELECT value->>'$.change.id' \
     FROM json_each(?1) WHERE value->>'$.change.kind' = 'clickDestination.delete')",
    ),
    (
        "",
        "INSERT INTO audit SELECT value->>'$.revision', value->>'$.at', value->>'$.by', value->>'$.source', \
     value->>'$.change.kind', value->>'$.change.id', value->>'$.requestId', \
     json_remove(value->'$.change', '$.kind', '$.id', '$.sha256') \
     FROM json_each(?1) WHERE value->>'$.change.kind' <> 'act'",
    ),
    (
        "act",
        "INSERT INTO audit SELECT value->>'$.revision', value->>'$.at', value->>'$.by', value->>'$.source', \
     value->>'$.change.action', value->>'$.change.target', value->>'$.requestId', value->'$.change.detail' \
     FROM json_each(?1) WHERE value->>'$.change.kind' = 'act'",
    ),
];

/// The rows of each table as the JSON of what was put, who and when: what [`State`] is loaded from.
const ADVERTISERS: &str = "SELECT json_object('id', id, 'name', name, 'timeZone', time_zone), \
     revision, changed_at, changed_by, NULL FROM advertisers";
const VERSIONS: &str = "SELECT json_object('id', campaign, 'name', name, 'advertiser', advertiser, \
     'currency', currency, 'billable', billable, 'status', status, 'start', starts_at, 'end', ends_at, \
     'effectiveFrom', valid_from), revision, changed_at, changed_by, NULL FROM campaign_versions ORDER BY revision";
const ADS: &str = "SELECT json_object('id', id, 'name', name, 'campaignId', campaign), \
     revision, changed_at, changed_by, NULL FROM ads";
const PUBLISHERS: &str = "SELECT json_object('id', id, 'name', name), \
     revision, changed_at, changed_by, NULL FROM publishers";
const PLACEMENTS: &str = "SELECT json_object('id', id, 'name', name, 'publisherId', publisher), \
     revision, changed_at, changed_by, NULL FROM placements";
const TOKENS: &str = "SELECT json_object('id', id, 'name', name, 'role', role, 'source', source, \
     'advertiser', advertiser, 'expiresAt', expires_at, 'requestsPerSecond', requests_per_second, \
     'eventsPerSecond', events_per_second, 'sha256', sha256), revision, created_at, created_by, revoked_at FROM tokens";
const SITE_KEYS: &str = "SELECT json_object('id', id, 'name', name, 'source', source, \
     'eventsPerSecond', events_per_second), revision, created_at, created_by, revoked_at FROM site_keys";
const DESTINATIONS: &str = "SELECT json_object('id', id, 'url', url), \
     revision, created_at, created_by, NULL FROM click_destinations";

/// Up to where the log was followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The next frame to read.
    pub frame: FrameSeq,
    /// How many changes there were before it.
    pub revision: u64,
}

/// One connection.
pub struct Sqlite(SqliteConnection);

impl Sqlite {
    /// Opens the file of a data directory, made if it is not there, with the schema of this version.
    pub async fn open(data_dir: &Path) -> Result<Self> {
        let path = data_dir.join(FILE);
        let connection = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(BUSY_SECONDS_MAX))
            .disable_statement_logging()
            .connect()
            .await
            .with_context(|| format!("cannot open {}", path.display()))?;
        let mut sqlite = Self(connection);
        let damaged = || format!("cannot read {}; without it the next start makes it again", path.display());
        sqlite.migrate().await.with_context(damaged)?;
        Ok(sqlite)
    }

    async fn migrate(&mut self) -> Result<()> {
        let mut change = self.0.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL) STRICT")
            .execute(&mut *change)
            .await?;
        let found: Option<i64> =
            sqlx::query_scalar("SELECT max(version) FROM schema_version").fetch_one(&mut *change).await?;
        let found = usize::try_from(found.unwrap_or(0)).context("schema_version")?;
        if found > MIGRATIONS.len() {
            bail!("its schema is version {found}; this adsum knows up to {}", MIGRATIONS.len());
        }
        for (step, sql) in MIGRATIONS.iter().enumerate().skip(found) {
            sqlx::raw_sql(*sql).execute(&mut *change).await?;
            sqlx::query("INSERT INTO schema_version VALUES (?1)").bind(step as i64 + 1).execute(&mut *change).await?;
        }
        change.commit().await?;
        Ok(())
    }

    /// Up to where the log was followed.
    pub async fn applied(&mut self) -> Result<Applied> {
        let row: Option<(i64, i64)> =
            sqlx::query_as("SELECT frame, revision FROM applied").fetch_optional(&mut self.0).await?;
        let (frame, revision) = row.unwrap_or_default();
        Ok(Applied { frame: FrameSeq::new(frame as u64), revision: revision as u64 })
    }

    /// Takes changes in, in order, and the position behind them, all or nothing.
    pub async fn follow(&mut self, changes: &[Numbered], next: FrameSeq) -> Result<()> {
        let revision = changes.last().map(|c| c.revision);
        let rows: Vec<Value> = changes.iter().map(row).collect::<Result<_>>()?;
        let rows = Value::Array(rows).to_string();
        let mut change = self.0.begin_with("BEGIN IMMEDIATE").await?;
        let holds = |kind: &str| changes.iter().any(|c| kind.is_empty() || c.recorded.change.kind() == kind);
        for (_, statement) in FOLLOW.iter().filter(|(kind, _)| holds(kind)) {
            sqlx::query(*statement).bind(&rows).execute(&mut *change).await?;
        }
        sqlx::query(
            "INSERT INTO applied VALUES (1, ?1, coalesce(?2, 0)) \
             ON CONFLICT (one) DO UPDATE SET frame = ?1, revision = coalesce(?2, revision)",
        )
        .bind(next.get() as i64)
        .bind(revision.map(|r| r as i64))
        .execute(&mut *change)
        .await?;
        change.commit().await?;
        Ok(())
    }

    /// Everything.
    pub async fn load(&mut self) -> Result<State> {
        let mut state = State { revision: self.applied().await?.revision, ..State::default() };
        let by_id = |it: Value| it["id"].as_str().unwrap_or_default().to_owned();
        macro_rules! read {
            ($sql:expr, $into:ident, $make:expr) => {
                for row in self.rows($sql).await? {
                    let id = by_id(serde_json::from_str(&row.0)?);
                    state.$into.insert(id, $make(row)?);
                }
            };
        }
        read!(ADVERTISERS, advertisers, entry);
        read!(ADS, ads, entry);
        read!(PUBLISHERS, publishers, entry);
        read!(PLACEMENTS, placements, entry);
        read!(TOKENS, tokens, revocable);
        read!(SITE_KEYS, site_keys, revocable);
        read!(DESTINATIONS, destinations, entry);
        for row in self.rows(VERSIONS).await? {
            state.version(entry::<Campaign>(row)?);
        }
        Ok(state)
    }

    async fn rows(&mut self, sql: &'static str) -> Result<Vec<Row>> {
        Ok(sqlx::query_as(sql).fetch_all(&mut self.0).await?)
    }

    /// Acts of administration, the newest first, from the one before `before` on.
    pub async fn audit(&mut self, before: Option<u64>, limit: usize) -> Result<Vec<Value>> {
        type Act = (i64, String, String, String, String, String, Option<String>, String);
        let acts: Vec<Act> = sqlx::query_as(
            "SELECT revision, at, token, source, action, target, request_id, detail FROM audit \
             WHERE revision < ?1 ORDER BY revision DESC LIMIT ?2",
        )
        .bind(before.map_or(i64::MAX, |b| b as i64))
        .bind(limit as i64)
        .fetch_all(&mut self.0)
        .await?;
        let shown = |(revision, at, token, source, action, target, request, detail): Act| -> Result<Value> {
            Ok(json!({
                "metadataRevision": revision,
                "at": at,
                "tokenId": token,
                "source": source,
                "action": action,
                "target": target,
                "requestId": request,
                "detail": serde_json::from_str::<Value>(&detail)?,
            }))
        };
        acts.into_iter().map(shown).collect()
    }

    /// Writes what waits beside the file into it.
    pub async fn settle(&mut self) -> Result<()> {
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut self.0).await?;
        Ok(())
    }

    /// Writes what waits into the file itself and closes it.
    pub async fn close(self) -> Result<()> {
        Ok(self.0.close().await?)
    }
}

/// What was put as JSON, the revision, when, by whom, and when it was revoked.
type Row = (String, i64, String, String, Option<String>);

fn entry<T: DeserializeOwned>((it, revision, at, by, _): Row) -> Result<Entry<T>> {
    // SQL has null where the JSON of a change has no member.
    let mut it: Value = serde_json::from_str(&it)?;
    if let Some(members) = it.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    Ok(Entry { it: serde_json::from_value(it)?, revision: revision as u64, at: moment(&at)?, by })
}

fn revocable<T: DeserializeOwned>(row: Row) -> Result<Revocable<T>> {
    let revoked_at = row.4.as_deref().map(moment).transpose()?;
    Ok(Revocable { made: entry(row)?, revoked_at })
}

fn moment(text: &str) -> Result<ReceivedAt> {
    let micros = parse_rfc3339(text.as_bytes()).map_err(|_| anyhow!("{text:?} is no moment"))?;
    Ok(ReceivedAt::from_micros(micros))
}

fn row(change: &Numbered) -> Result<Value> {
    Ok(json!({
        "revision": change.revision,
        "at": change.at.to_string(),
        "source": change.source,
        "by": change.recorded.by,
        "requestId": change.recorded.request_id,
        "change": serde_json::to_value(&change.recorded.change)?,
    }))
}
