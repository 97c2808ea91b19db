//! The requests: heads and bodies made before the first is sent.
//!
//! Invariant: no event id is sent twice but where the lines say so themselves: with each turn through the lines, the
//! first digits of every event id change, the same way for equal ids. Not here: sending (connection).

use std::io::Write;
use std::path::Path;

use anyhow::{Context, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;

/// What stands before an event id.
const ID: &[u8] = b"\"eventId\":\"";
/// Digits of an event id that change from turn to turn.
const DIGITS: usize = 4;

/// Every body, and what stands before it.
pub struct Bodies {
    text: Vec<u8>,
    batches: Vec<Batch>,
    is_gzip: bool,
    head: String,
    next: usize,
    turn: u16,
    left: u64,
}

struct Batch {
    /// In the text.
    start: usize,
    end: usize,
    events: u64,
    /// Where in the text the event ids of its lines are.
    ids: Vec<usize>,
}

/// One request to send.
pub struct Request<'b> {
    /// Its head.
    pub head: String,
    /// Its body.
    pub body: &'b [u8],
    /// Events in it.
    pub events: u64,
}

impl Bodies {
    /// Of the lines of a file, for `events` events.
    pub fn read(path: &Path, batch: usize, gzip: bool, events: u64, token: Option<&str>) -> anyhow::Result<Self> {
        ensure!(batch > 0, "a batch has at least one event");
        let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut batches = Vec::new();
        let fresh = || Batch { start: 0, end: 0, events: 0, ids: Vec::with_capacity(batch) };
        let (mut now, mut start, mut left) = (fresh(), 0, events);
        for newline in memchr::memchr_iter(b'\n', &text) {
            let line = &text[start..newline];
            if let Some(at) = memchr::memmem::find(&line[..line.len().min(64)], ID) {
                // A line that was cut short may end in its id.
                if line.len() >= at + ID.len() + DIGITS {
                    now.ids.push(start + at + ID.len());
                }
            }
            (now.end, now.events, start) = (newline + 1, now.events + 1, newline + 1);
            left -= 1;
            if now.events == batch as u64 || left == 0 {
                let full = std::mem::replace(&mut now, fresh());
                batches.push(full);
                now.start = start;
            }
            if left == 0 {
                break;
            }
        }
        ensure!(!batches.is_empty(), "{} has fewer than {batch} lines", path.display());
        let authorization = token.map(|t| format!("authorization: Bearer {t}\r\n")).unwrap_or_default();
        let encoding = if gzip { "content-encoding: gzip\r\n" } else { "" };
        let head = format!(
            "POST /v1/events/collect HTTP/1.1\r\nhost: adsum\r\n{authorization}{encoding}content-type: application/x-ndjson\r\ncontent-length: "
        );
        let mut bodies = Self { text, batches, is_gzip: gzip, head, next: 0, turn: 0, left: events };
        if gzip {
            let sent: u64 = bodies.batches.iter().map(|b| b.events).sum();
            ensure!(sent == events, "there are {sent} lines; compressed ones are not sent twice");
            bodies.compress()?;
        }
        Ok(bodies)
    }

    fn compress(&mut self) -> anyhow::Result<()> {
        let mut all = Vec::new();
        for batch in &mut self.batches {
            let start = all.len();
            let mut encoder = GzEncoder::new(&mut all, Compression::new(6));
            encoder.write_all(&self.text[batch.start..batch.end])?;
            encoder.finish()?;
            (batch.start, batch.end) = (start, all.len());
        }
        self.text = all;
        Ok(())
    }

    /// The next request, while there are events left to send.
    pub fn next(&mut self) -> Option<Request<'_>> {
        if self.left == 0 {
            return None;
        }
        if self.next == self.batches.len() {
            (self.next, self.turn) = (0, self.turn + 1);
        }
        let batch = &self.batches[self.next];
        self.next += 1;
        if !self.is_gzip && self.turn > 0 {
            // What the turn before this one wrote is taken back by the same exclusive or.
            let change = self.turn ^ (self.turn - 1);
            for &at in &batch.ids {
                for (i, digit) in self.text[at..at + DIGITS].iter_mut().enumerate() {
                    *digit = changed(*digit, (change >> (4 * i)) & 15);
                }
            }
        }
        self.left = self.left.saturating_sub(batch.events);
        let body = &self.text[batch.start..batch.end];
        Some(Request { head: format!("{}{}\r\n\r\n", self.head, body.len()), body, events: batch.events })
    }
}

/// A hexadecimal digit under an exclusive or; anything else as it is.
fn changed(digit: u8, by: u16) -> u8 {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let value = DIGITS.iter().position(|d| *d == digit);
    value.map_or(digit, |value| DIGITS[value ^ usize::from(by)])
}
