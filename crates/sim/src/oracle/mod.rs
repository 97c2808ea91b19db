//! The oracle: a naive count of everything sent, by the words of the counting contract.
//!
//! It takes what was sent in log order, and frame boundaries; it shares no decoder, hash, row or table with the shipped
//! code, only the declared catalog. Invariant: this file is every rule by which numbers come about, short enough to be
//! checked by reading. Not here: what one line says and whether it is valid (line), and the sums themselves (book).

mod book;
mod line;

use std::collections::{BTreeMap, BTreeSet};

use adsum_model::catalog::{CatalogSpec, DIMENSIONS, EVENT_TYPES};

use crate::picture::Picture;
use crate::sent::{Entry, ImportMark, SentFrame};
use crate::setup::Setup;
use book::Book;
use line::{Event, read};

/// Before anything was seen.
const NEVER: i64 = i64::MIN;

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
    let mut oracle = Oracle::new(setup);
    frames.iter().for_each(|frame| oracle.frame(frame));
    oracle.book.picture
}

/// What the frames so far come to.
pub struct Oracle<'a> {
    setup: &'a Setup,
    /// Every entry so far, by offset.
    sent: Vec<Entry>,
    /// By offset: the dimensions that count as `other`.
    folded: BTreeMap<u64, BTreeSet<String>>,
    /// By UTC day of receivedAt and dimension: the values that stand for themselves.
    values: BTreeMap<(i64, String), BTreeSet<String>>,
    counted: BTreeMap<String, Vec<Counted>>,
    /// The largest min(occurredAt, receivedAt) of the frame.
    seen: i64,
    /// Buckets that end up to here were closed before the frame.
    closed: i64,
    book: Book,
}

impl<'a> Oracle<'a> {
    /// Before the first frame.
    pub fn new(setup: &'a Setup) -> Self {
        Self {
            setup,
            sent: Vec::new(),
            folded: BTreeMap::new(),
            values: BTreeMap::new(),
            counted: BTreeMap::new(),
            seen: NEVER,
            closed: NEVER,
            book: Book::new(setup.catalog.rollups.len(), NEVER),
        }
    }

    /// Everything counted so far.
    pub fn picture(&self) -> &Picture {
        &self.book.picture
    }

    /// Every entry so far, by offset.
    pub fn sent(&self) -> &[Entry] {
        &self.sent
    }

    /// Counts the next frame.
    pub fn frame(&mut self, frame: &SentFrame) {
        self.book.begin_frame();
        self.seen = NEVER;
        self.closed = self.book.picture.watermark;
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
                    self.tick(*at);
                    self.book.ledger("", *at, "ticks", 1);
                }
                Entry::ClockDoubt { begun, at } => {
                    self.book.picture.in_doubt = *begun;
                    self.book.ledger("", *at, "ticks", 1);
                }
                Entry::Metadata { source, at } => self.book.ledger(source, *at, "metadata", 1),
                Entry::Replay { target } => self.replay(*target, frame),
                Entry::Import { source, mark: ImportMark::Progress { .. }, .. } => self.book.import_progress(source),
                Entry::Import { source, mark: ImportMark::End, .. } => self.book.import_end(source),
                Entry::Import { mark: ImportMark::Begin, .. } => {}
            }
        }
        self.advance(frame.appended_at);
    }

    /// "An idle partition gets a tick a second, which moves its watermark to the tick less the idle limit"; in a clock
    /// doubt it stands still.
    fn tick(&mut self, at: i64) {
        let picture = &mut self.book.picture;
        if !picture.in_doubt {
            picture.watermark = picture.watermark.max(at.saturating_sub(self.setup.times.idle));
        }
    }

    /// "The largest min(occurredAt, receivedAt) seen, less the allowed disorder": what was stamped in a clock doubt that
    /// has ended was not received after the append. "The line is min(watermark, receivedAt) - horizon, and never moves
    /// back"; it judges the frames that follow. In a clock doubt both stand still.
    fn advance(&mut self, appended_at: i64) {
        let (times, picture) = (&self.setup.times, &mut self.book.picture);
        if picture.in_doubt {
            return;
        }
        let seen = self.seen.min(appended_at);
        picture.watermark = picture.watermark.max(seen.saturating_sub(times.disorder));
        picture.line = picture.line.max(picture.watermark.min(appended_at).saturating_sub(times.horizon));
    }

    /// `received = accepted + rejected`.
    fn reject(&mut self, offset: u64, source: &str, received_at: i64) {
        self.book.ledger(source, received_at, "received", 1);
        self.book.ledger(source, received_at, "rejected", 1);
        self.book.hold(offset, "rejected", received_at);
    }

    /// "Order of checks: future, age (by the line before the event's frame), currency, dedupe"; of an import neither
    /// future nor age. `accepted = counted + duplicates + quarantined`. "Quarantined events move nothing."
    fn event(&mut self, offset: u64, mut event: Event) {
        self.fold_values(offset, &event);
        self.apply_folds(offset, &mut event);
        self.book.ledger(&event.source, event.received_at, "received", 1);
        self.book.ledger(&event.source, event.received_at, "accepted", 1);
        let live = !event.import;
        let outcome = if live && event.occurred_at > event.received_at + self.setup.times.future {
            Outcome::Quarantined("future")
        } else if live && event.occurred_at < self.book.picture.line {
            Outcome::Quarantined("too_old")
        } else {
            self.currency_and_dedupe(&event, live)
        };
        match outcome {
            Outcome::Quarantined(reason) => {
                self.book.quarantine(&event.source, event.received_at, reason, 1);
                self.book.hold(offset, reason, event.received_at);
                return;
            }
            Outcome::Duplicate => self.book.ledger(&event.source, event.received_at, "duplicates", 1),
            Outcome::Counted => self.count(&event),
        }
        if live {
            self.seen = self.seen.max(event.occurred_at.min(event.received_at));
        }
    }

    /// "A replay moves one event from quarantined to what it then is: it waives age and checks the future again, takes
    /// the replay's place in log order and the event's hour in the ledger; a conflict stays one; a rejected line is
    /// never replayed; what is not in quarantine is refused."
    fn replay(&mut self, target: u64, frame: &SentFrame) {
        let Some(Entry::Line { source, import, received_at, text }) = self.sent.get(target as usize).cloned() else {
            return;
        };
        // What the collector resolves today; the marks of the event stay.
        let metadata = &self.setup.metadata[frame.metadata];
        let Some(mut event) = read(self.setup, metadata, &source, import, received_at, &text) else { return };
        self.apply_folds(target, &mut event);
        self.book.ledger(&source, received_at, "replays", 1);
        let Some(held) = self.book.picture.quarantine.get(&target).filter(|h| h.reason != "rejected").cloned() else {
            self.book.ledger(&source, received_at, "replaysRefused", 1);
            return;
        };
        let outcome = if held.reason == "conflict" {
            Outcome::Quarantined("conflict")
        } else if !import && event.occurred_at > frame.appended_at + self.setup.times.future {
            Outcome::Quarantined("future")
        } else {
            self.currency_and_dedupe(&event, false)
        };
        self.book.quarantine(&event.source, received_at, &held.reason, -1);
        match outcome {
            Outcome::Quarantined(reason) => {
                self.book.quarantine(&event.source, event.received_at, reason, 1);
                self.book.hold(target, reason, received_at);
                return;
            }
            Outcome::Duplicate => self.book.ledger(&source, received_at, "duplicates", 1),
            Outcome::Counted => self.count(&event),
        }
        self.book.picture.quarantine.remove(&target);
    }

    /// "Same key and same content as a counted event: duplicate; other content: conflict." "A key ends when its event
    /// lies below the acceptance line that judges the newcomer; keys of imports do not expire"; replays and imports,
    /// for whom no key ends (`keys_end`), look in all raw events.
    fn currency_and_dedupe(&self, event: &Event, keys_end: bool) -> Outcome {
        if event.foreign {
            return Outcome::Quarantined("foreign_currency");
        }
        let Some(key) = &event.key else { return Outcome::Counted };
        let stands = |c: &&Counted| !keys_end || c.import || c.occurred_at >= self.book.picture.line;
        let firsts: Vec<&Counted> = self.counted.get(key).into_iter().flatten().filter(stands).collect();
        if firsts.is_empty() {
            Outcome::Counted
        } else if firsts.iter().any(|c| c.content == event.content) {
            Outcome::Duplicate
        } else {
            Outcome::Quarantined("conflict")
        }
    }

    /// "Spend: the sum of priceMicros of the campaign's billable type; a missing price is 0 and counted as unpriced.
    /// Paused or outside start and end: counted, billed, flagged."
    fn count(&mut self, event: &Event) {
        self.book.ledger(&event.source, event.received_at, "counted", 1);
        // Off per source: the ledger then says so.
        self.book.ledger(&event.source, event.received_at, "withoutDedupe", i64::from(event.key.is_none()));
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
        for (rollup, names) in self.book.picture.rollups.iter_mut().zip(&self.setup.catalog.rollups) {
            let values = names.iter().map(|n| event.dimensions.get(n).cloned().flatten()).collect();
            let cell = rollup.entry((bucket, values, event.currency.clone())).or_default();
            cell.add(&plural, 1, self.book.revision);
            cell.add("valueMicros", event.value, self.book.revision);
            cell.add("outOfFlight", i64::from(!event.in_flight), self.book.revision);
            cell.add("lateEvents", i64::from(late), self.book.revision);
            if billed_by == Some(event.billable) {
                cell.add("spendMicros", event.price.unwrap_or(0), self.book.revision);
                cell.add("unpriced", i64::from(event.price.is_none()), self.book.revision);
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
