//! `adsum catalog`: what the catalog has, and whether a new one may follow an old one.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use adsum_model::catalog::{Catalog, DimensionSource, FieldKind, MetricKind, NullPolicy};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::Global;
use crate::config::Config;
use crate::report::Format;

/// The commands of `catalog`.
#[derive(clap::Subcommand)]
pub enum Args {
    /// Show dimensions, event types, metrics, rollups and fields.
    Show,
    /// Refuse a catalog that breaks numbers kept under another: an id reused, a type changed, something dropped.
    Check {
        /// The catalog in force: a configuration (.toml), or what `catalog show --json` printed.
        old: PathBuf,
        /// The one to follow it.
        new: PathBuf,
    },
}

/// A catalog as it is shown and compared: version 1 of this form.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CatalogDoc {
    schema_versions: Vec<u32>,
    bucket_seconds: i64,
    dimensions: Vec<DimensionDoc>,
    event_types: Vec<EventTypeDoc>,
    metrics: Vec<MetricDoc>,
    rollups: Vec<Vec<String>>,
    distinct_users: Vec<DistinctDoc>,
    fields: Vec<FieldDoc>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DimensionDoc {
    id: u16,
    name: String,
    from: String,
    nulls: String,
    limit: u32,
    doc: String,
    example: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventTypeDoc {
    id: u16,
    name: String,
    plural: String,
    required: Vec<String>,
    doc: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct MetricDoc {
    id: u16,
    name: String,
    kind: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DistinctDoc {
    by: Vec<String>,
    window_seconds: i64,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FieldDoc {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    content: bool,
    doc: String,
}

/// The schema versions that the decoder takes.
const SCHEMA_VERSIONS: [u32; 1] = [1];

impl CatalogDoc {
    fn of(catalog: &Catalog) -> Self {
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

    fn read(path: &Path) -> Result<Self> {
        if path.extension().is_some_and(|e| e == "toml") {
            return Ok(Self::of(&Config::load(Some(path))?.catalog()?));
        }
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no catalog", path.display()))
    }

    /// What `new` breaks of `self`.
    fn broken_by(&self, new: &Self) -> Vec<String> {
        let mut broken = Vec::new();
        for version in &self.schema_versions {
            if !new.schema_versions.contains(version) {
                broken.push(format!("schema version {version} is dropped"));
            }
        }
        if self.bucket_seconds != new.bucket_seconds {
            let (old, new) = (self.bucket_seconds, new.bucket_seconds);
            broken.push(format!("bucket_seconds changes from {old} to {new}"));
        }
        let dimensions = |doc: &Self| -> Vec<(u16, String, String)> {
            doc.dimensions.iter().map(|d| (d.id, d.name.clone(), d.from.clone())).collect()
        };
        ids("dimension", &dimensions(self), &dimensions(new), &mut broken);
        let types = |doc: &Self| -> Vec<(u16, String, String)> {
            doc.event_types.iter().map(|t| (t.id, t.name.clone(), t.plural.clone())).collect()
        };
        ids("event type", &types(self), &types(new), &mut broken);
        let metrics = |doc: &Self| -> Vec<(u16, String, String)> {
            doc.metrics.iter().map(|m| (m.id, m.name.clone(), m.kind.clone())).collect()
        };
        ids("metric", &metrics(self), &metrics(new), &mut broken);
        for field in &self.fields {
            match new.fields.iter().find(|f| f.name == field.name) {
                Some(same) if same.kind != field.kind => {
                    broken.push(format!("field {} changes from {} to {}", field.name, field.kind, same.kind));
                }
                Some(same) if same.content != field.content => {
                    broken.push(format!(
                        "field {} changes whether it is content: retries would be conflicts",
                        field.name
                    ));
                }
                _ => {}
            }
        }
        broken
    }
}

fn ids(what: &str, old: &[(u16, String, String)], new: &[(u16, String, String)], broken: &mut Vec<String>) {
    for (id, name, detail) in old {
        match new.iter().find(|(n, _, _)| n == id) {
            None => broken.push(format!("{what} {name} (id {id}) is dropped")),
            Some((_, other, _)) if other != name => {
                broken.push(format!("{what} id {id} is reused: it was {name}, now it is {other}"));
            }
            Some((_, _, other)) if other != detail => {
                broken.push(format!("{what} {name} (id {id}) changes from {detail} to {other}"));
            }
            Some(_) => {}
        }
    }
}

/// Runs `adsum catalog`.
pub fn run(global: &Global, args: &Args) -> Result<()> {
    match args {
        Args::Show => show(global),
        Args::Check { old, new } => {
            let broken = CatalogDoc::read(old)?.broken_by(&CatalogDoc::read(new)?);
            if broken.is_empty() {
                writeln!(io::stdout(), "compatible")?;
                return Ok(());
            }
            bail!("{} may not follow {}: {}", new.display(), old.display(), broken.join("; "))
        }
    }
}

fn show(global: &Global) -> Result<()> {
    let doc = CatalogDoc::of(&global.config()?.catalog()?);
    let mut out = io::stdout().lock();
    if global.format(Format::Table) != Format::Table {
        writeln!(out, "{}", serde_json::to_string_pretty(&doc)?)?;
        return Ok(());
    }
    let mut print = |header: &[&str], rows: Vec<Vec<String>>| -> Result<()> {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(header.iter().copied());
        table.add_rows(rows);
        writeln!(out, "{table}")?;
        Ok(())
    };
    let dimensions = doc.dimensions.iter();
    print(
        &["dimension", "id", "from", "nulls", "limit", "what it is"],
        dimensions
            .map(|d| {
                vec![
                    d.name.clone(),
                    d.id.to_string(),
                    d.from.clone(),
                    d.nulls.clone(),
                    d.limit.to_string(),
                    d.doc.clone(),
                ]
            })
            .collect(),
    )?;
    let types = doc.event_types.iter();
    print(
        &["event type", "id", "count", "required", "what it is"],
        types
            .map(|t| vec![t.name.clone(), t.id.to_string(), t.plural.clone(), t.required.join(" "), t.doc.clone()])
            .collect(),
    )?;
    let metrics = doc.metrics.iter();
    print(
        &["metric", "id", "kind"],
        metrics.map(|m| vec![m.name.clone(), m.id.to_string(), m.kind.clone()]).collect(),
    )?;
    let sets = doc.distinct_users.iter();
    print(
        &["distinct users by", "window, s"],
        sets.map(|d| vec![d.by.join(" x "), d.window_seconds.to_string()]).collect(),
    )?;
    print(&["rollup"], doc.rollups.iter().map(|r| vec![r.join(" x ")]).collect())?;
    let fields = doc.fields.iter();
    print(
        &["field", "type", "what it is"],
        fields.map(|f| vec![f.name.clone(), f.kind.clone(), f.doc.clone()]).collect(),
    )
}
