//! `adsum quarantine`: what was taken in but does not count.

use std::io::{self, Write};

use adsum_log::{EventLog, Frame, FrameDraft, LogView};
use adsum_model::catalog::Catalog;
use adsum_model::id::{MetadataRevision, Offset};
use adsum_model::record::{RecordBatch, RecordHead, RecordKind};
use adsum_model::replay::push_replay;
use adsum_model::rows::{Projector, Rows};
use adsum_model::state::{QuarantineEntry, QuarantineReason};
use adsum_model::wire::record_json;
use adsum_pipeline::FrameMeta;
use adsum_store::AggregateStore;
use anyhow::{Result, anyhow, bail};
use serde_json::{Value, json};

use super::Global;
use crate::clock;
use crate::report::Format;
use crate::wire::{Home, Make};

/// The commands of `quarantine`.
#[derive(clap::Subcommand)]
pub enum Args {
    /// List entries by their place in the log.
    List {
        /// Only entries behind this one.
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: usize,
        /// Only entries of this reason: future, too_old, conflict, foreign_currency, rejected.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Show one entry with everything that was sent.
    Show {
        /// Its id: qr_17.
        id: String,
    },
    /// Take entries up again: age is waived, the rest is checked anew.
    Replay {
        /// Their ids.
        #[arg(value_name = "ID", required_unless_present = "all")]
        ids: Vec<String>,
        /// Every entry that is an event.
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
}

fn parse_id(id: &str) -> Result<Offset> {
    let number = id.strip_prefix("qr_").and_then(|n| n.parse::<u64>().ok());
    number.map(Offset::new).ok_or_else(|| anyhow!("{id:?} is no quarantine id; they look like qr_17"))
}

/// How many entries one look-up or one frame of replays takes.
const BATCH: usize = 1000;

/// Runs `adsum quarantine`.
pub fn run(global: &Global, args: &Args) -> Result<()> {
    let config = global.config()?;
    let mut home = global.open(&config, Make::Never)?;
    // Entries of frames that were only just folded are listed like all others.
    home.pipeline.checkpoint()?;
    match args {
        Args::List { after, limit, reason } => list(global, &home, after.as_deref(), *limit, reason.as_deref())?,
        Args::Show { id } => show(&home, parse_id(id)?)?,
        Args::Replay { ids, all } => replay(global, &mut home, ids, *all)?,
    }
    home.close()
}

fn list(global: &Global, home: &Home, after: Option<&str>, limit: usize, reason: Option<&str>) -> Result<()> {
    let reason = match reason {
        None => None,
        Some(name) => Some(QuarantineReason::ALL.into_iter().find(|r| r.name() == name).ok_or_else(|| {
            anyhow!("--reason: {name:?} is none of future, too_old, conflict, foreign_currency, rejected")
        })?),
    };
    let mut at = after.map(parse_id).transpose()?;
    let mut found = Vec::new();
    while found.len() < limit {
        let entries = home.pipeline.store().quarantine_list(at, BATCH)?;
        let Some(last) = entries.last() else { break };
        at = Some(last.offset);
        found.extend(entries.into_iter().filter(|e| reason.is_none_or(|r| e.reason == r)));
    }
    found.truncate(limit);
    let mut out = io::stdout().lock();
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["id", "reason", "receivedAt", "source", "code", "param", "eventId", "occurredAt"]);
    let format = global.format(Format::Table);
    let mut frame: Option<Frame> = None;
    let mut objects = Vec::new();
    for entry in &found {
        let frame = frame_of(home, &mut frame, entry.offset)?;
        let object = summary(home.pipeline.catalog(), frame, entry);
        let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
        match format {
            Format::Table | Format::Csv => {
                let cells =
                    ["id", "reason", "receivedAt", "source", "code", "param", "eventId", "occurredAt"].map(text);
                table.add_row(cells);
            }
            Format::Ndjson => writeln!(out, "{object}")?,
            Format::Json => objects.push(object),
        }
    }
    match format {
        Format::Table | Format::Csv => writeln!(out, "{table}")?,
        Format::Json => writeln!(out, "{}", json!({ "entries": objects }))?,
        Format::Ndjson => {}
    }
    Ok(())
}

/// The frame of an offset; entries come in order, so the last one often serves again.
fn frame_of<'a>(home: &Home, last: &'a mut Option<Frame>, offset: Offset) -> Result<&'a Frame> {
    let holds = |f: &Frame| f.base <= offset && offset < f.base.plus(f.records.len() as u64);
    if !last.as_ref().is_some_and(holds) {
        *last = Some(home.log.frame_of(offset)?);
    }
    last.as_ref().ok_or_else(|| anyhow!("no frame holds offset {}", offset.get()))
}

fn record(frame: &Frame, offset: Offset) -> (&RecordBatch, &RecordHead) {
    (&frame.records, &frame.records.heads[(offset.get() - frame.base.get()) as usize])
}

fn internal_text(catalog: &Catalog, batch: &RecordBatch, head: &RecordHead, name: &str) -> Option<String> {
    use adsum_model::record::Form;
    let span = batch.field(head, catalog.field_named(name)?)?;
    match span.form {
        Form::Symbol => catalog.symbols().text(span.as_symbol()),
        Form::Text | Form::Bytes | Form::Json => Some(String::from_utf8_lossy(&batch.arena[span.range()]).into_owned()),
        Form::Uuid | Form::Uint | Form::Int | Form::Time => None,
    }
}

fn summary(catalog: &Catalog, frame: &Frame, entry: &QuarantineEntry) -> Value {
    let (batch, head) = record(frame, entry.offset);
    let fields: Value = serde_json::from_slice(&record_json(batch, head, catalog)).unwrap_or(Value::Null);
    json!({
        "id": format!("qr_{}", entry.offset.get()),
        "reason": entry.reason.name(),
        "receivedAt": entry.received_at.to_string(),
        "source": catalog.symbols().text(head.source),
        "code": internal_text(catalog, batch, head, "$code"),
        "param": internal_text(catalog, batch, head, "$param"),
        "eventId": fields.get("eventId"),
        "occurredAt": fields.get("occurredAt"),
    })
}

fn show(home: &Home, offset: Offset) -> Result<()> {
    let Some(entry) = home.pipeline.store().quarantined(&[offset])?.into_iter().next().flatten() else {
        bail!("qr_{} is not in quarantine", offset.get());
    };
    let mut frame = None;
    let frame = frame_of(home, &mut frame, offset)?;
    let catalog = home.pipeline.catalog();
    let (batch, head) = record(frame, offset);
    let mut object = summary(catalog, frame, &entry);
    if head.kind == RecordKind::Reject {
        object["raw"] = json!(internal_text(catalog, batch, head, "$raw"));
    } else {
        object["event"] = serde_json::from_slice(&record_json(batch, head, catalog))?;
    }
    writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&object)?)?;
    Ok(())
}

fn replay(global: &Global, home: &mut Home, ids: &[String], all: bool) -> Result<()> {
    let offsets =
        if all { every_event(home)? } else { ids.iter().map(|id| parse_id(id)).collect::<Result<Vec<_>>>()? };
    let mut refused = Vec::new();
    let (mut replayed, mut released) = (0_usize, 0_usize);
    for chunk in offsets.chunks(BATCH) {
        let entries = home.pipeline.store().quarantined(chunk)?;
        let mut batch = RecordBatch::default();
        let mut frame = None;
        let mut asked = Vec::new();
        for (offset, entry) in chunk.iter().zip(entries) {
            let why = match entry {
                None => Some("is not in quarantine"),
                Some(e) if e.reason == QuarantineReason::Rejected => {
                    Some("was rejected: a rejected line is never replayed")
                }
                Some(_) => {
                    let frame = frame_of(home, &mut frame, *offset)?;
                    let (records, head) = record(frame, *offset);
                    let pushed =
                        push_replay(records, head, *offset, home.pipeline.catalog(), &home.campaigns, &mut batch);
                    (!pushed).then_some("names an unknown campaign")
                }
            };
            match why {
                Some(why) => refused.push(json!({ "id": format!("qr_{}", offset.get()), "why": why })),
                None => asked.push(*offset),
            }
        }
        if batch.is_empty() {
            continue;
        }
        append(home, &batch)?;
        replayed += asked.len();
        let after = home.pipeline.store().quarantined(&asked)?;
        released += after.iter().filter(|e| e.is_none()).count();
    }
    let answer = json!({ "replayed": replayed, "released": released, "held": replayed - released, "refused": refused });
    let mut out = io::stdout().lock();
    if global.format(Format::Table) == Format::Table {
        writeln!(out, "{replayed} replayed: {released} left the quarantine, {} stay", replayed - released)?;
        for entry in &refused {
            writeln!(
                out,
                "{} {}",
                entry["id"].as_str().unwrap_or_default(),
                entry["why"].as_str().unwrap_or_default()
            )?;
        }
    } else {
        writeln!(out, "{answer}")?;
    }
    if replayed == 0 && !refused.is_empty() {
        bail!("nothing was replayed");
    }
    Ok(())
}

fn every_event(home: &Home) -> Result<Vec<Offset>> {
    let mut offsets = Vec::new();
    let mut after = None;
    loop {
        let entries = home.pipeline.store().quarantine_list(after, BATCH)?;
        let Some(last) = entries.last() else { return Ok(offsets) };
        after = Some(last.offset);
        offsets.extend(entries.iter().filter(|e| e.reason != QuarantineReason::Rejected).map(|e| e.offset));
    }
}

fn append(home: &mut Home, batch: &RecordBatch) -> Result<()> {
    let appended_at = clock::now();
    let draft = FrameDraft { appended_at, metadata_revision: MetadataRevision::ZERO, batches: &[batch] };
    let appended = home.log.append(&draft)?;
    let mut rows = Rows::default();
    Projector::new(home.pipeline.catalog().clone(), home.secret).project_batch(batch, &mut rows);
    let meta = FrameMeta { seq: appended.seq, appended_at, base: appended.base };
    home.pipeline.step(&meta, &[&rows])?;
    home.pipeline.checkpoint()?;
    Ok(())
}
