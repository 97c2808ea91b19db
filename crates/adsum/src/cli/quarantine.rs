//! `adsum quarantine`: what was taken in but does not count, in a data directory or a running server.

use std::io::{self, Write};

use adsum_log::{EventLog, FrameDraft};
use adsum_model::id::{MetadataRevision, Offset};
use adsum_model::record::RecordBatch;
use adsum_model::rows::{Projector, Rows};
use adsum_model::state::QuarantineReason;
use adsum_pipeline::FrameMeta;
use adsum_store::{AggregateStore, StoreView};
use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use super::client::Client;
use super::{Global, listing};
use crate::clock;
use crate::quarantine::{Entries, REPLAYS_MAX, Records, Replays, id, outcome, parse_id, parse_reason};
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

/// What a list shows.
const COLUMNS: [&str; 8] = ["id", "reason", "receivedAt", "source", "code", "param", "eventId", "occurredAt"];
/// How many entries one page takes.
const PAGE: usize = 1000;

/// Where the entries are.
enum Place {
    Directory(Box<Home>),
    Server(Client),
}

/// Runs `adsum quarantine`.
pub fn run(global: &Global, args: &Args) -> Result<()> {
    let mut place = match global.client()? {
        Some(client) => Place::Server(client),
        None => {
            let mut home = global.open(&global.config()?, Make::Never)?;
            // Entries of frames that were only just folded are listed like all others.
            home.pipeline.checkpoint()?;
            Place::Directory(Box::new(home))
        }
    };
    match args {
        Args::List { after, limit, reason } => {
            let entries = place.list(after.clone(), *limit, reason.as_deref())?;
            listing::list(global, &COLUMNS, "entries", &entries)?;
        }
        Args::Show { id } => writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&place.show(parse_id(id)?)?)?)?,
        Args::Replay { ids, all } => {
            let offsets = match all {
                true => place.every_event()?,
                false => ids.iter().map(|id| parse_id(id)).collect::<Result<Vec<_>>>()?,
            };
            replay(global, &mut place, &offsets)?;
        }
    }
    match place {
        Place::Directory(home) => home.close(),
        Place::Server(_) => Ok(()),
    }
}

impl Place {
    /// At most `limit` entries, page by page.
    fn list(&self, mut after: Option<String>, limit: usize, reason: Option<&str>) -> Result<Vec<Value>> {
        let wanted = reason.map(parse_reason).transpose().context("--reason")?;
        let mut found = Vec::new();
        while found.len() < limit {
            let some = (limit - found.len()).min(PAGE);
            let (mut entries, next) = match self {
                Self::Directory(home) => {
                    let view = home.pipeline.store().view();
                    let at = after.as_deref().map(parse_id).transpose()?;
                    let page = Entries::new(&*view, &[], &[]).page(at, some, wanted)?;
                    let mut records = Records::new(&home.log, home.pipeline.catalog());
                    let shown = page.entries.iter().map(|e| records.summary(e)).collect::<Result<Vec<_>>>()?;
                    (shown, page.next.map(id))
                }
                Self::Server(client) => {
                    let mut query = form_urlencoded::Serializer::new(String::new());
                    query.append_pair("limit", &some.to_string());
                    query.extend_pairs(after.iter().map(|id| ("after", id)));
                    query.extend_pairs(reason.iter().map(|name| ("reason", name)));
                    let mut page = client.get_json(&format!("/v1/quarantine?{}", query.finish()))?;
                    let next = page["nextCursor"].as_str().map(str::to_owned);
                    let Value::Array(entries) = page["entries"].take() else { bail!("the server names no entries") };
                    (entries, next)
                }
            };
            found.append(&mut entries);
            after = next;
            if after.is_none() {
                break;
            }
        }
        Ok(found)
    }

    fn show(&self, offset: Offset) -> Result<Value> {
        match self {
            Self::Directory(home) => {
                let view = home.pipeline.store().view();
                let entry = Entries::new(&*view, &[], &[]).at(&[offset])?.into_iter().flatten().next();
                let entry = entry.ok_or_else(|| anyhow!("{} is not in quarantine", id(offset)))?;
                Records::new(&home.log, home.pipeline.catalog()).whole(&entry)
            }
            Self::Server(client) => client.get_json(&format!("/v1/quarantine/{}", id(offset))),
        }
    }

    /// All entries that are events, in log order: of several the first one counts.
    fn every_event(&self) -> Result<Vec<Offset>> {
        let mut offsets = Vec::new();
        for reason in QuarantineReason::ALL.into_iter().filter(|r| *r != QuarantineReason::Rejected) {
            for entry in self.list(None, usize::MAX, Some(reason.name()))? {
                offsets.push(parse_id(entry["id"].as_str().unwrap_or_default())?);
            }
        }
        offsets.sort();
        Ok(offsets)
    }

    /// Replays at most [`REPLAYS_MAX`] entries.
    fn replay(&mut self, offsets: &[Offset]) -> Result<Value> {
        match self {
            Self::Directory(home) => {
                let before: std::sync::Arc<dyn StoreView> = home.pipeline.store().view();
                let mut records = Records::new(&home.log, home.pipeline.catalog());
                let entries = Entries::new(&*before, &[], &[]);
                let replays = Replays::of(offsets, &entries, &mut records, &home.campaigns)?;
                if !replays.batch.is_empty() {
                    append(home, &replays.batch)?;
                }
                let after = home.pipeline.store().view();
                outcome(&replays, &Entries::new(&*after, &[], &[]))
            }
            Self::Server(client) => {
                let ids: Vec<String> = offsets.iter().map(|o| id(*o)).collect();
                client.send_json("POST", "/v1/quarantine/replay", &json!({ "ids": ids }))
            }
        }
    }
}

fn replay(global: &Global, place: &mut Place, offsets: &[Offset]) -> Result<()> {
    let (mut replayed, mut released) = (0, 0);
    let mut refused = Vec::new();
    for some in offsets.chunks(REPLAYS_MAX) {
        let mut answer = place.replay(some)?;
        replayed += answer["replayed"].as_u64().unwrap_or_default();
        released += answer["released"].as_u64().unwrap_or_default();
        if let Value::Array(some) = answer["refused"].take() {
            refused.extend(some);
        }
    }
    let answer = json!({ "replayed": replayed, "released": released, "held": replayed - released, "refused": refused });
    let mut out = io::stdout().lock();
    if global.format(Format::Table) == Format::Table {
        writeln!(out, "{replayed} replayed: {released} left the quarantine, {} stay", replayed - released)?;
        for entry in &refused {
            let text = |name: &str| entry[name].as_str().unwrap_or_default();
            writeln!(out, "{} {}", text("id"), text("why"))?;
        }
    } else {
        writeln!(out, "{answer}")?;
    }
    if replayed == 0 && !refused.is_empty() {
        bail!("nothing was replayed");
    }
    Ok(())
}

fn append(home: &mut Home, batch: &RecordBatch) -> Result<()> {
    let appended_at = clock::now();
    let draft =
        FrameDraft { appended_at, metadata_revision: MetadataRevision::new(home.metadata.revision), batches: &[batch] };
    let appended = home.log.append(&draft)?;
    let mut rows = Rows::default();
    Projector::new(home.pipeline.catalog().clone(), home.secret).project_batch(batch, &mut rows);
    let meta = FrameMeta { seq: appended.seq, appended_at, base: appended.base };
    home.pipeline.step(&meta, &[&rows])?;
    home.pipeline.checkpoint()?;
    Ok(())
}
