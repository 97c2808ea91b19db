//! All rows of a report as one stream, CSV or Arrow, in bounded memory.
//!
//! A thread of its own writes chunks into a short queue; a reader that is slow holds the thread up, one that stands
//! still loses it. Invariant: what goes wrong before the first chunk is a problem document; later it ends the body
//! without its end, so that nobody takes a part for the whole.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::arrow::ArrowWriter;
use super::desk::{Desk, STREAM_BUDGET, Standing};
use super::query::Planned;
use super::refused::problem;
use super::render::RowText;
use crate::http::Problem;
use crate::live::Snapshot;

/// How a report is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Pages of JSON.
    Json,
    /// All rows as CSV.
    Csv,
    /// All rows as a stream of Arrow IPC.
    Arrow,
}

const JSON: &str = "application/json";
const CSV: &str = "text/csv";
const ARROW: &str = "application/vnd.apache.arrow.stream";

impl Encoding {
    /// The first media type of an `Accept` header that is known; JSON without a header.
    pub fn accepted(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(accept) = headers.get(header::ACCEPT) else { return Ok(Self::Json) };
        let text = accept.to_str().unwrap_or_default();
        let named = text.split(',').map(|part| part.split(';').next().unwrap_or_default().trim());
        let known = named.filter_map(|name| match name {
            CSV => Some(Self::Csv),
            ARROW => Some(Self::Arrow),
            JSON | "application/*" | "*/*" => Some(Self::Json),
            _ => None,
        });
        let wrong = || {
            let detail = format!("reports come as {JSON}, {CSV} or {ARROW}");
            Problem::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", detail).about("Accept")
        };
        known.into_iter().next().ok_or_else(wrong)
    }
}

/// Chunks that wait for the reader.
const CHUNKS_WAITING_MAX: usize = 8;
/// A chunk is sent when it is so large.
const CHUNK_BYTES: usize = 64 << 10;
/// A reader that takes nothing for so long is given up.
const STANDSTILL: Duration = Duration::from_secs(30);

type Chunk = Result<Bytes, Problem>;

/// Answers with all rows.
pub async fn stream(desk: &Desk, planned: Planned, encoding: Encoding) -> Result<Response, Problem> {
    let permit = desk.stream_permit().await?;
    let snapshot = desk.snapshot(vec![planned.table()], planned.query().range()).await?;
    let standing = Standing::now(&snapshot);
    let headers = headers(&standing, encoding);
    let (chunks_out, mut chunks) = mpsc::channel::<Chunk>(CHUNKS_WAITING_MAX);
    let runtime = Handle::current();
    let whole = Arc::new(AtomicBool::new(false));
    let written_whole = whole.clone();
    tokio::task::spawn_blocking(move || {
        let mut out = ChunkWriter { chunks: chunks_out, runtime, buffer: Vec::new(), is_left: false };
        let written = write(&planned, &snapshot, &standing, encoding, &mut out).and_then(|()| Ok(out.flush()?));
        match written {
            Ok(()) => written_whole.store(true, Ordering::Release),
            // Nobody is there to be told.
            Err(_) if out.is_left => {}
            // Who reads it may have gone by now.
            Err(error) => drop(out.runtime.block_on(out.chunks.send_timeout(Err(problem(error)), STANDSTILL))),
        }
        drop(permit);
    });
    let first = match chunks.recv().await {
        Some(chunk) => chunk?,
        None => Bytes::new(),
    };
    Ok((headers, body(first, chunks, whole)).into_response())
}

/// The chunks as a body. One that was not written to its end, whatever the reason, ends in an error.
fn body(first: Bytes, rest: mpsc::Receiver<Chunk>, whole: Arc<AtomicBool>) -> Body {
    let rest = ReceiverStream::new(rest).map(|chunk| chunk.map_err(|p| io::Error::other(p.detail)));
    let end = futures_util::stream::once(async move {
        let broken = || Err(io::Error::other("the answer was not written to its end"));
        if whole.load(Ordering::Acquire) { None } else { Some(broken()) }
    });
    let end = end.filter_map(std::future::ready);
    Body::from_stream(futures_util::stream::iter([Ok(first)]).chain(rest).chain(end))
}

/// What the answer stands on: a stream has no room for it.
fn headers(standing: &Standing, encoding: Encoding) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let content_type = match encoding {
        Encoding::Csv => "text/csv; charset=utf-8",
        Encoding::Arrow => ARROW,
        Encoding::Json => JSON,
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    let values = [
        ("adsum-data-revision", Some(standing.revision.to_string())),
        ("adsum-freshness-seconds", Some(standing.freshness_seconds.to_string())),
        ("adsum-complete-through", standing.complete_through.clone()),
    ];
    for (name, value) in values {
        if let Some(value) = value.and_then(|v| HeaderValue::try_from(v).ok()) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    headers
}

fn write(
    planned: &Planned,
    snapshot: &Snapshot,
    standing: &Standing,
    encoding: Encoding,
    out: &mut ChunkWriter,
) -> Result<()> {
    let (view, pending) = (&*snapshot.view, &snapshot.pending);
    if encoding == Encoding::Arrow {
        let mut arrow =
            ArrowWriter::new(&planned.report, planned.query().zone.name(), standing.freshness_seconds, out)?;
        planned.run(view, pending, STREAM_BUDGET, &mut |row| {
            arrow.row(row)?;
            Ok(ControlFlow::Continue(()))
        })?;
        return arrow.finish();
    }
    RowText::csv_header(&planned.report, out)?;
    let mut text = RowText::new(standing.freshness_seconds);
    let mut line = Vec::new();
    planned.run(view, pending, STREAM_BUDGET, &mut |row| {
        line.clear();
        text.csv(&planned.report, row, &mut line)?;
        out.write_all(&line)?;
        Ok(ControlFlow::Continue(()))
    })
}

/// Makes chunks of what is written and waits where the reader is behind.
struct ChunkWriter {
    chunks: mpsc::Sender<Chunk>,
    runtime: Handle,
    buffer: Vec<u8>,
    /// Whether the reader has gone, or stands still.
    is_left: bool,
}

impl ChunkWriter {
    fn send(&mut self) -> io::Result<()> {
        let chunk = Bytes::from(std::mem::take(&mut self.buffer));
        self.runtime.block_on(self.chunks.send_timeout(Ok(chunk), STANDSTILL)).map_err(|_| {
            self.is_left = true;
            io::ErrorKind::BrokenPipe.into()
        })
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK_BYTES {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() { Ok(()) } else { self.send() }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_part_never_passes_for_the_whole() {
        let wrong = || Err(Problem::internal());
        for (chunks, is_whole, want) in [
            (vec![], true, Some("a")),
            (vec![Ok(Bytes::from_static(b"b"))], true, Some("ab")),
            // The reader stood still, or the thread is gone: nobody could say so.
            (vec![Ok(Bytes::from_static(b"b"))], false, None),
            (vec![], false, None),
            (vec![Ok(Bytes::from_static(b"b")), wrong()], false, None),
        ] {
            let (chunks_out, rest) = mpsc::channel(CHUNKS_WAITING_MAX);
            for chunk in chunks {
                chunks_out.try_send(chunk).unwrap();
            }
            drop(chunks_out);
            let body = body(Bytes::from_static(b"a"), rest, Arc::new(AtomicBool::new(is_whole)));
            let got = body.collect().await.ok().map(|c| c.to_bytes());
            assert_eq!(got.as_deref(), want.map(str::as_bytes), "whole: {is_whole}");
        }
    }

    #[test]
    fn the_first_known_media_type_is_taken() {
        for (accept, want) in [
            (None, Some(Encoding::Json)),
            (Some("*/*"), Some(Encoding::Json)),
            (Some("text/csv"), Some(Encoding::Csv)),
            (Some("text/html,text/csv;q=0.5"), Some(Encoding::Csv)),
            (Some(ARROW), Some(Encoding::Arrow)),
            (Some("text/html"), None),
            (Some(""), None),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(accept.map(|a| (header::ACCEPT, HeaderValue::from_static(a))));
            assert_eq!(Encoding::accepted(&headers).ok(), want, "{accept:?}");
        }
    }
}
