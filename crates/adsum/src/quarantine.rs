//! The quarantine as people see it: entries by their place in the log, with what was sent, and replays of them.
//!
//! Shared by the command line over a data directory and the service. Invariant: an entry that came or left since the
//! last commit is listed, or not, like all others. Not here: where the answer goes (cli, operate).

use std::collections::{BTreeMap, BTreeSet};

use adsum_log::{Frame, LogView};
use adsum_model::campaigns::Campaigns;
use adsum_model::catalog::Catalog;
use adsum_model::id::Offset;
use adsum_model::record::{Form, RecordBatch, RecordHead, RecordKind};
use adsum_model::replay::push_replay;
use adsum_model::state::{QuarantineEntry, QuarantineReason};
use adsum_model::wire::record_json;
use adsum_store::StoreView;
use anyhow::{Result, anyhow};
use serde_json::{Value, json};

/// How many entries one look-up takes.
const BATCH: usize = 1000;
/// How many entries a page with a filter goes through at most.
pub const SCANNED_MAX: usize = 100_000;
/// How many replays one frame takes.
pub const REPLAYS_MAX: usize = 1000;

/// The id of an entry.
pub fn id(offset: Offset) -> String {
    format!("qr_{}", offset.get())
}

/// The entry that an id means.
pub fn parse_id(id: &str) -> Result<Offset> {
    let number = id.strip_prefix("qr_").and_then(|n| n.parse::<u64>().ok());
    number.map(Offset::new).ok_or_else(|| anyhow!("{id:?} is no quarantine id; they look like qr_17"))
}

/// The reason with this name.
pub fn parse_reason(name: &str) -> Result<QuarantineReason> {
    let found = QuarantineReason::ALL.into_iter().find(|r| r.name() == name);
    found.ok_or_else(|| anyhow!("{name:?} is none of future, too_old, conflict, foreign_currency, rejected"))
}

/// The entries of one moment.
pub struct Entries<'a> {
    view: &'a dyn StoreView,
    /// Entries that came since the commit, or came back for another reason.
    came: BTreeMap<Offset, QuarantineEntry>,
    /// Those that left.
    left: BTreeSet<Offset>,
}

/// Some entries in order.
pub struct Page {
    /// The entries.
    pub entries: Vec<QuarantineEntry>,
    /// Where the next page goes on; none at the end.
    pub next: Option<Offset>,
}

impl<'a> Entries<'a> {
    /// What was committed, and what came and left since.
    pub fn new(view: &'a dyn StoreView, came: &[QuarantineEntry], left: &[Offset]) -> Self {
        let left: BTreeSet<Offset> = left.iter().copied().collect();
        let came = came.iter().filter(|e| !left.contains(&e.offset)).map(|e| (e.offset, *e)).collect();
        Self { view, came, left }
    }

    /// The entries at these places.
    pub fn at(&self, offsets: &[Offset]) -> Result<Vec<Option<QuarantineEntry>>> {
        let mut found = self.view.quarantined(offsets)?;
        for (entry, offset) in found.iter_mut().zip(offsets) {
            match self.came.get(offset) {
                Some(came) => *entry = Some(*came),
                None if self.left.contains(offset) => *entry = None,
                None => {}
            }
        }
        Ok(found)
    }

    /// At most `limit` entries of a reason behind `after`. A page may hold fewer and still not be the last, for it
    /// goes through [`SCANNED_MAX`] entries at most.
    pub fn page(&self, after: Option<Offset>, limit: usize, reason: Option<QuarantineReason>) -> Result<Page> {
        let mut page = Page { entries: Vec::new(), next: None };
        let mut at = after;
        let mut scanned = 0;
        loop {
            let committed = self.view.quarantine_list(at, BATCH)?;
            let last = committed.last().map(|e| e.offset).filter(|_| committed.len() == BATCH);
            let from = at.map_or(Offset::ZERO, |o| o.plus(1));
            let came = self.came.range(from..).map(|(_, e)| *e).take_while(|e| last.is_none_or(|l| e.offset <= l));
            let stay = |e: &QuarantineEntry| !self.left.contains(&e.offset) && !self.came.contains_key(&e.offset);
            let mut some: Vec<QuarantineEntry> = committed.iter().copied().filter(stay).chain(came).collect();
            some.sort_by_key(|e| e.offset);
            scanned += some.len();
            for entry in some.into_iter().filter(|e| reason.is_none_or(|r| e.reason == r)) {
                if page.entries.len() == limit {
                    page.next = page.entries.last().map(|e| e.offset);
                    return Ok(page);
                }
                page.entries.push(entry);
            }
            at = last;
            if last.is_none() {
                return Ok(page);
            }
            if scanned >= SCANNED_MAX {
                page.next = last;
                return Ok(page);
            }
        }
    }
}

/// Reads records to show them. Entries come in order, so the last frame often serves again.
pub struct Records<'a> {
    log: &'a dyn LogView,
    catalog: &'a Catalog,
    frame: Option<Frame>,
}

impl<'a> Records<'a> {
    /// From a log.
    pub fn new(log: &'a dyn LogView, catalog: &'a Catalog) -> Self {
        Self { log, catalog, frame: None }
    }

    fn record(&mut self, offset: Offset) -> Result<(&RecordBatch, &RecordHead)> {
        let holds = |f: &Frame| f.base <= offset && offset < f.base.plus(f.records.len() as u64);
        if !self.frame.as_ref().is_some_and(holds) {
            self.frame = Some(self.log.frame_of(offset)?);
        }
        let frame = self.frame.as_ref().ok_or_else(|| anyhow!("no frame holds {}", id(offset)))?;
        Ok((&frame.records, &frame.records.heads[(offset.get() - frame.base.get()) as usize]))
    }

    /// What a list shows of an entry.
    pub fn summary(&mut self, entry: &QuarantineEntry) -> Result<Value> {
        let catalog = self.catalog;
        let (batch, head) = self.record(entry.offset)?;
        let fields: Value = serde_json::from_slice(&record_json(batch, head, catalog)).unwrap_or(Value::Null);
        Ok(json!({
            "id": id(entry.offset),
            "reason": entry.reason.name(),
            "receivedAt": entry.received_at.to_string(),
            "source": catalog.symbols().text(head.source),
            "code": internal_text(catalog, batch, head, "$code"),
            "param": internal_text(catalog, batch, head, "$param"),
            "eventId": fields.get("eventId"),
            "occurredAt": fields.get("occurredAt"),
        }))
    }

    /// The same with everything that was sent.
    pub fn whole(&mut self, entry: &QuarantineEntry) -> Result<Value> {
        let mut object = self.summary(entry)?;
        let catalog = self.catalog;
        let (batch, head) = self.record(entry.offset)?;
        if head.kind == RecordKind::Reject {
            object["raw"] = json!(internal_text(catalog, batch, head, "$raw"));
        } else {
            object["event"] = serde_json::from_slice(&record_json(batch, head, catalog))?;
        }
        Ok(object)
    }
}

fn internal_text(catalog: &Catalog, batch: &RecordBatch, head: &RecordHead, name: &str) -> Option<String> {
    let span = batch.field(head, catalog.field_named(name)?)?;
    match span.form {
        Form::Symbol => catalog.symbols().text(span.as_symbol()),
        Form::Text | Form::Bytes | Form::Json => Some(String::from_utf8_lossy(&batch.arena[span.range()]).into_owned()),
        Form::Uuid | Form::Uint | Form::Int | Form::Time => None,
    }
}

/// Replays that were asked for.
#[derive(Default)]
pub struct Replays {
    /// Their records, for one frame.
    pub batch: RecordBatch,
    /// Whose they are.
    pub asked: Vec<Offset>,
    /// Ids that cannot be replayed, and why.
    pub refused: Vec<Value>,
}

impl Replays {
    /// Of at most [`REPLAYS_MAX`] entries, resolved by `campaigns`.
    pub fn of(
        offsets: &[Offset],
        entries: &Entries<'_>,
        records: &mut Records<'_>,
        campaigns: &Campaigns,
    ) -> Result<Self> {
        let mut replays = Self::default();
        let catalog = records.catalog;
        let mut named = BTreeSet::new();
        for (offset, entry) in offsets.iter().zip(entries.at(offsets)?) {
            let why = match entry {
                _ if !named.insert(*offset) => Some("is named twice"),
                None => Some("is not in quarantine"),
                Some(e) if e.reason == QuarantineReason::Rejected => {
                    Some("was rejected: a rejected line is never replayed")
                }
                Some(_) => {
                    let (batch, head) = records.record(*offset)?;
                    let pushed = push_replay(batch, head, *offset, catalog, campaigns, &mut replays.batch);
                    (!pushed).then_some("names an unknown campaign")
                }
            };
            match why {
                Some(why) => replays.refused.push(json!({ "id": id(*offset), "why": why })),
                None => replays.asked.push(*offset),
            }
        }
        Ok(replays)
    }
}

/// What came of replays: `after` are the entries once they were folded.
pub fn outcome(replays: &Replays, after: &Entries<'_>) -> Result<Value> {
    let replayed = replays.asked.len();
    let held = after.at(&replays.asked)?.iter().flatten().count();
    Ok(json!({ "replayed": replayed, "released": replayed - held, "held": held, "refused": replays.refused }))
}
