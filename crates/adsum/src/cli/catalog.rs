//! `adsum catalog`: what the catalog has, and whether a new one may follow an old one.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Global;
use crate::catalog_doc::CatalogDoc;
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

/// Reads a catalog: of a configuration, or as it was shown.
fn read(path: &Path) -> Result<CatalogDoc> {
    if path.extension().is_some_and(|e| e == "toml") {
        return Ok(CatalogDoc::of(&Config::load(Some(path))?.catalog()?));
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no catalog", path.display()))
}

/// What `new` breaks of `old`.
fn broken_by(old: &CatalogDoc, new: &CatalogDoc) -> Vec<String> {
    let mut broken = Vec::new();
    for version in &old.schema_versions {
        if !new.schema_versions.contains(version) {
            broken.push(format!("schema version {version} is dropped"));
        }
    }
    if old.bucket_seconds != new.bucket_seconds {
        broken.push(format!("bucket_seconds changes from {} to {}", old.bucket_seconds, new.bucket_seconds));
    }
    let dimensions = |doc: &CatalogDoc| -> Vec<(u16, String, String)> {
        doc.dimensions.iter().map(|d| (d.id, d.name.clone(), d.from.clone())).collect()
    };
    ids("dimension", &dimensions(old), &dimensions(new), &mut broken);
    let types = |doc: &CatalogDoc| -> Vec<(u16, String, String)> {
        doc.event_types.iter().map(|t| (t.id, t.name.clone(), t.plural.clone())).collect()
    };
    ids("event type", &types(old), &types(new), &mut broken);
    let metrics = |doc: &CatalogDoc| -> Vec<(u16, String, String)> {
        doc.metrics.iter().map(|m| (m.id, m.name.clone(), m.kind.clone())).collect()
    };
    ids("metric", &metrics(old), &metrics(new), &mut broken);
    for field in &old.fields {
        match new.fields.iter().find(|f| f.name == field.name) {
            Some(same) if same.kind != field.kind => {
                broken.push(format!("field {} changes from {} to {}", field.name, field.kind, same.kind));
            }
            Some(same) if same.content != field.content => {
                broken.push(format!("field {} changes whether it is content: retries would be conflicts", field.name));
            }
            _ => {}
        }
    }
    broken
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
            let broken = broken_by(&read(old)?, &read(new)?);
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
