//! `GET /v1/pipeline`: how far everything is, and what waits.
//!
//! Invariant: it reads what the threads publish and stops none of them; sizes on disk are those of files, added up.

#![allow(clippy::disallowed_methods, reason = "sizes of files, which no trait of log or store tells")]

use std::path::Path;
use std::sync::Arc;

use adsum_store::BucketRange;
use anyhow::Result;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::desk::{Desk, Standing, blocking};
use super::params::Params;
use super::refused::problem;
use super::window::TimeZone;
use crate::http::Problem;

/// Files that are looked at.
const FILES_MAX: u64 = 100_000;
/// Folders below a data directory that are looked into.
const DEPTH_MAX: usize = 4;

/// Watermark, acceptance line, positions, queues and the data directory's size.
pub async fn pipeline(State(desk): State<Arc<Desk>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    Params::parse(query.as_deref()).and_then(|params| params.finish("none")).map_err(problem)?;
    let permit = desk.page_permit().await?;
    let snapshot = desk.snapshot(Vec::new(), BucketRange::ALL).await?;
    let service = desk.service.clone();
    let answer = blocking(permit, move || {
        let clocks = &snapshot.clocks;
        let durable = service.log.durable();
        let imports: Vec<Value> = (clocks.states().into_iter())
            .filter_map(|c| c.import.map(|source| (source, c.watermark)))
            .map(|(source, at)| json!({ "source": source, "watermark": known(at.micros(), &at) }))
            .collect();
        let meta = Standing::now(&snapshot).meta(&TimeZone::named("timeZone", "UTC")?);
        Ok(json!({
            "watermark": known(clocks.watermark().micros(), &clocks.watermark()),
            "acceptanceLine": known(clocks.line().micros(), &clocks.line()),
            "clockInDoubt": clocks.is_in_doubt(),
            "through": { "frame": snapshot.through.seq.get(), "offset": snapshot.through.offset.get() },
            "committedThrough": {
                "frame": snapshot.view.committed().through.seq.get(),
                "offset": snapshot.view.committed().through.offset.get(),
            },
            "log": {
                "durableFrame": durable.seq.get(),
                "durableOffset": durable.offset.get(),
                "framesBehind": durable.seq.get().saturating_sub(snapshot.through.seq.get()),
                "recordsBehind": durable.offset.get().saturating_sub(snapshot.through.offset.get()),
            },
            "writer": { "queueDepth": service.writer.depth(), "queueBytes": service.writer.waiting_bytes() },
            "imports": imports,
            "disk": disk(&service.data_dir)?,
            "meta": meta,
        }))
    });
    Ok(super::json(answer.await?.to_string()))
}

/// A moment, but for the one before all time.
fn known(micros: i64, at: &impl ToString) -> Option<String> {
    (micros > i64::MIN).then(|| at.to_string())
}

#[derive(Default)]
struct Usage {
    files: u64,
    bytes: u64,
}

/// What the data directory takes, and each folder in it: `log` has a file a segment, `store` one a run.
fn disk(dir: &Path) -> Result<Value> {
    let mut all = Usage::default();
    let mut folders = Map::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let mut usage = Usage::default();
        measure(&entry, DEPTH_MAX, &mut usage);
        all.files += usage.files;
        all.bytes += usage.bytes;
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            let name = entry.file_name().to_string_lossy().into_owned();
            folders.insert(name, json!({ "files": usage.files, "bytes": usage.bytes }));
        }
    }
    Ok(json!({ "files": all.files, "bytes": all.bytes, "folders": folders }))
}

/// Adds up a file, or what is in a folder. What goes while it is looked at counts nothing.
fn measure(entry: &std::fs::DirEntry, depth: usize, usage: &mut Usage) {
    let Ok(metadata) = entry.metadata() else { return };
    if !metadata.is_dir() {
        usage.files += 1;
        usage.bytes += metadata.len();
        return;
    }
    let Ok(entries) = std::fs::read_dir(entry.path()) else { return };
    for entry in entries.flatten() {
        if depth > 0 && usage.files < FILES_MAX {
            measure(&entry, depth - 1, usage);
        }
    }
}
