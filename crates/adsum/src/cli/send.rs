//! `adsum send`: files of events to a running service.
//!
//! Invariant: a batch is sent again, byte for byte and under the same key, until it is answered; so its figures are of
//! one answer, and its events count once. Not here: what is wrong with an event; the answers say it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::json;

use super::client::{Answer, Client};
use super::{Global, bytes_bar};
use crate::clock;
use crate::import::Source;
use crate::report::Format;

/// Bytes of text that are read of a file at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// A batch ends when it has so many bytes of text; a longer line is one by itself.
const BATCH_BYTES: usize = 4 << 20;
/// How often a batch is tried.
const ATTEMPTS_MAX: u32 = 12;
/// The first pause between two attempts; each next one is twice as long, up to the longest.
const PAUSE_MILLIS_MIN: u64 = 100;
const PAUSE_MILLIS_MAX: u64 = 30_000;

/// The arguments of `send`.
#[derive(clap::Args)]
pub struct Args {
    /// Files of events, one JSON object a line; .gz and .zst are decompressed, - is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Events a request.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
    batch: u32,
    /// Compress requests.
    #[arg(long)]
    gzip: bool,
}

/// What the service says of a batch.
#[derive(Deserialize)]
struct Taken {
    accepted: u64,
    rejected: u64,
    quarantined: u64,
    errors: Vec<TakenError>,
}

#[derive(Deserialize)]
struct TakenError {
    code: String,
}

/// The sums over all batches.
#[derive(Default)]
struct Sums {
    requests: u64,
    retries: u64,
    accepted: u64,
    rejected: u64,
    quarantined: u64,
    codes: BTreeMap<String, u64>,
}

/// Runs `adsum send`.
pub fn run(global: &Global, args: &Args) -> Result<()> {
    let client = global.needs_server("send")?;
    let files = args.files.iter().map(|f| Source::open(f)).collect::<Result<Vec<_>, _>>()?;
    let plain = files.iter().all(|f| f.path != "-" && !f.path.ends_with(".gz") && !f.path.ends_with(".zst"));
    let bar = bytes_bar(plain.then(|| files.iter().map(|f| f.size).sum()));
    let mut sender = Sender { client, gzip: args.gzip, sums: Sums::default() };
    let mut batch = Batch { lines_max: args.batch as usize, lines: 0, text: Vec::new() };
    for file in files {
        let mut chunks = file.chunks(0, CHUNK_BYTES)?;
        let mut position = 0;
        while let Some(chunk) = chunks.next(Vec::new())? {
            for line in chunk.text.split(|b| *b == b'\n') {
                if batch.is_full(line) {
                    sender.send(&batch.take())?;
                }
                batch.push(line);
            }
            bar.inc(chunk.position - position);
            position = chunk.position;
        }
    }
    if batch.lines > 0 {
        sender.send(&batch.take())?;
    }
    bar.finish_and_clear();
    show(global, &sender.sums)
}

/// Lines on their way.
struct Batch {
    lines_max: usize,
    lines: usize,
    text: Vec<u8>,
}

impl Batch {
    /// Whether it is to be sent before this line.
    fn is_full(&self, line: &[u8]) -> bool {
        self.lines > 0 && (self.lines == self.lines_max || self.text.len() + line.len() >= BATCH_BYTES)
    }

    fn push(&mut self, line: &[u8]) {
        if !line.trim_ascii().is_empty() {
            self.text.extend_from_slice(line);
            self.text.push(b'\n');
            self.lines += 1;
        }
    }

    fn take(&mut self) -> Vec<u8> {
        self.lines = 0;
        std::mem::take(&mut self.text)
    }
}

struct Sender {
    client: Client,
    gzip: bool,
    sums: Sums,
}

impl Sender {
    fn send(&mut self, text: &[u8]) -> Result<()> {
        let key = format!("send-{}", clock::ulid(clock::now())?);
        let mut headers = vec![("idempotency-key", key.as_str())];
        let compressed;
        let body = if self.gzip {
            headers.push(("content-encoding", "gzip"));
            compressed = gzip(text)?;
            &compressed
        } else {
            text
        };
        let answer = self.until_answered(&headers, body)?;
        let taken: Taken = serde_json::from_slice(&answer.body).context("the answer is not adsum's")?;
        self.sums.requests += 1;
        self.sums.accepted += taken.accepted;
        self.sums.rejected += taken.rejected;
        self.sums.quarantined += taken.quarantined;
        for error in taken.errors {
            *self.sums.codes.entry(error.code).or_default() += 1;
        }
        Ok(())
    }

    /// The 202 of a batch, however often it takes.
    fn until_answered(&mut self, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        let mut pause = PAUSE_MILLIS_MIN;
        for attempt in 1.. {
            let answer = self.client.post("/v1/events/collect", "application/x-ndjson", headers, body);
            let asked = match &answer {
                Ok(Answer { status: 202, .. }) => return answer,
                Ok(Answer { status: 429 | 503, headers, .. }) => {
                    let seconds = headers.get(http::header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
                    seconds.map_or(0, |seconds: u64| seconds.saturating_mul(1000))
                }
                // Our own attempt before, whose answer was lost, is still under way.
                Ok(Answer { status: 409, .. }) | Err(_) => 0,
                Ok(answer) => bail!("the service refused a batch: {}", said(answer)),
            };
            if attempt == ATTEMPTS_MAX {
                let answer = answer.context("given up")?;
                bail!("given up after {ATTEMPTS_MAX} attempts: {}", said(&answer));
            }
            std::thread::sleep(Duration::from_millis(pause.max(asked).min(PAUSE_MILLIS_MAX)));
            pause = (pause * 2).min(PAUSE_MILLIS_MAX);
            self.sums.retries += 1;
        }
        unreachable!("the last attempt returns")
    }
}

/// An answer that is no 202, for people.
fn said(answer: &Answer) -> String {
    let document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
    format!("{} {} {}", answer.status, text("code"), text("detail")).trim_end().to_owned()
}

fn gzip(text: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text)?;
    Ok(encoder.finish()?)
}

fn show(global: &Global, sums: &Sums) -> Result<()> {
    let mut out = io::stdout().lock();
    let figures = [
        ("requests", sums.requests),
        ("retries", sums.retries),
        ("accepted", sums.accepted),
        ("rejected", sums.rejected),
        ("quarantined", sums.quarantined),
    ];
    if global.format(Format::Table) == Format::Table {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(figures.map(|(name, _)| name));
        table.add_row(figures.map(|(_, figure)| figure.to_string()));
        writeln!(out, "{table}")?;
        for (code, count) in &sums.codes {
            writeln!(out, "rejected for {code}: {count}")?;
        }
        return Ok(());
    }
    let mut object: serde_json::Map<_, _> =
        figures.map(|(name, figure)| (name.to_owned(), json!(figure))).into_iter().collect();
    object.insert("rejectedFor".to_owned(), json!(sums.codes));
    writeln!(out, "{}", serde_json::Value::Object(object))?;
    Ok(())
}
