//! Imports into a running server: the client reads the files, the server decodes, appends and folds.
//!
//! The state of a run is folded from the log, and nothing of it is kept here. Invariant: a chunk is taken only if it
//! begins where its file stands, and its lines, its progress record and nothing else are one frame; so a chunk that is
//! sent again is refused with the true position, and nothing enters twice or is left out, whoever is killed when.

use std::sync::Arc;

use adsum_model::ledger::{LedgerColumn, LedgerCounts};
use adsum_model::record::Stream;
use adsum_model::state::ImportFile;
use adsum_model::wire::{Decoded, Decoder, Intake};
use axum::body::Body;
use axum::extract::{Json, Path, Query, State};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use super::read::{LINE_BYTES_MAX, Source};
use super::records::{Reached, RunRecords, Standing};
use crate::act::{Act, Action, Actor};
use crate::http::{Problem, Routes, owned, read_body};
use crate::live::Want;
use crate::service::Service;

/// The most bytes of text in a chunk: what the longest line may have.
pub const CHUNK_BYTES_MAX: usize = LINE_BYTES_MAX;
/// The most files of a run.
const FILES_MAX: usize = 1000;
/// The longest path of a file, in bytes.
const PATH_BYTES_MAX: usize = 4096;
/// The longest name of a source, in characters.
const SOURCE_CHARS_MAX: usize = 64;

/// The import's endpoints.
pub fn router(_service: &Arc<Service>) -> Routes {
    // One after the other: between the look at a file's position and the fold of its chunk nothing else may come.
    let turn = Arc::new(Mutex::new(()));
    let (begins, chunks, ends) = (turn.clone(), turn.clone(), turn);
    Routes::new()
        .post("/v1/imports", move |State(service), actor: Actor, Json(body)| owned(begin(service, actor, begins, body)))
        .post("/v1/imports/{source}/chunks", move |State(service), Path(source), Query(place), headers, body| {
            owned(chunk(service, chunks, source, place, headers, body))
        })
        .post("/v1/imports/{source}/end", move |State(service), actor: Actor, Path(source), Query(query)| {
            owned(end(service, actor, ends, source, query))
        })
}

/// What a run begins with.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Begin {
    /// The source's name.
    source: String,
    files: Vec<FileTold>,
    /// Whether it may be the name of a source that sends live events: exact, but each key is looked up in the raw
    /// events.
    #[serde(default)]
    may_be_live: bool,
}

/// A file as the client tells of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileTold {
    path: String,
    size: u64,
    /// XXH3-64 of its first MiB, 16 hexadecimal digits: numbers of JSON are not exact so far up.
    head: String,
    /// Whether it can be read once only.
    #[serde(default)]
    stream: bool,
}

/// Where a chunk belongs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Place {
    run: String,
    /// The path of the file.
    path: String,
    /// Where in the file's text it begins, in bytes.
    position: u64,
    /// Where it ends: more than its length where a mark at the file's head or the rest of a line was passed over.
    next: u64,
    /// Whether the file ends there.
    #[serde(default)]
    last: bool,
}

/// Which run ends, and how.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct End {
    /// The run; an abort may leave it out and means whatever run there is.
    run: Option<String>,
    #[serde(default)]
    abort: bool,
}

fn conflict(code: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::CONFLICT, code, detail)
}

fn check_source(source: &str) -> Result<(), Problem> {
    if source.is_empty() || source.chars().count() > SOURCE_CHARS_MAX || source.chars().any(char::is_control) {
        let detail = format!("a source's name has 1 to {SOURCE_CHARS_MAX} characters and no control characters");
        return Err(Problem::bad_request("invalid_source", detail).about("source"));
    }
    Ok(())
}

fn check_files(told: Vec<FileTold>) -> Result<Vec<Source>, Problem> {
    if told.is_empty() || told.len() > FILES_MAX {
        let detail = format!("a run has 1 to {FILES_MAX} files");
        return Err(Problem::bad_request("invalid_files", detail).about("files"));
    }
    let mut files: Vec<Source> = Vec::with_capacity(told.len());
    for (i, file) in told.into_iter().enumerate() {
        let wrong = |name: &str, detail: &str| {
            Err(Problem::bad_request("invalid_files", detail).about(format!("files[{i}].{name}")))
        };
        if file.path.is_empty() || file.path.len() > PATH_BYTES_MAX {
            return wrong("path", "a path has 1 to 4096 bytes");
        }
        if files.iter().any(|f| f.path == file.path) {
            return wrong("path", "a file is given twice");
        }
        match u64::from_str_radix(&file.head, 16) {
            Ok(head) if file.head.len() == 16 => {
                files.push(Source::told(file.path, file.size, head, file.stream));
            }
            _ => return wrong("head", "a head is written as 16 hexadecimal digits"),
        }
    }
    Ok(files)
}

/// What the log says of a source's unfinished run.
async fn known(service: &Service, source: &str) -> Result<Vec<ImportFile>, Problem> {
    let snapshot = service.live.snapshot(Want::nothing()).await?;
    Ok(snapshot.imports.of_source(source).cloned().collect())
}

/// Appends a frame of a run with the act that it is, and comes back when it is folded.
async fn append(service: &Service, actor: &Actor, act: Act, parts: Vec<Decoded>) -> Result<(), Problem> {
    let receipt = service.metadata.turn().await.act(service, actor, act, parts).await?;
    service.live.folded(receipt.seq).await
}

fn records(service: &Service, source: &str, run: &str) -> RunRecords {
    let symbol = service.catalog.symbols().intern(source.as_bytes());
    RunRecords::new(service.catalog.clone(), service.secret, symbol, run.to_owned())
}

async fn begin(
    service: Arc<Service>,
    actor: Actor,
    turn: Arc<Mutex<()>>,
    begin: Begin,
) -> Result<Json<Value>, Problem> {
    let Begin { source, files, may_be_live } = begin;
    check_source(&source)?;
    let files = check_files(files)?;
    let is_live = service.directory.load().tokens.values().any(|t| *t.principal.source == *source);
    if is_live && !may_be_live {
        let detail = format!(
            "a token sends live events as {source:?}: an import under that name is exact but slow, for each key is \
             looked up in the raw events; choose another source, or say mayBeLive"
        );
        return Err(conflict("live_source", detail).about("source"));
    }
    let _turn = turn.lock().await;
    let before = known(&service, &source).await?;
    let standing = Standing::of(&files, &before.iter().collect::<Vec<_>>()).map_err(|error| {
        tracing::error!(error = %format!("{error:#}"), "an import cannot begin");
        Problem::internal()
    })?;
    if !before.is_empty() && !standing.resumed {
        let names: Vec<&str> = before.iter().take(3).map(|f| f.path.as_str()).collect();
        let detail = format!(
            "source {source:?} has an unfinished run of other files ({}); finish it with the same files, or abort it",
            names.join(", ")
        );
        return Err(conflict("import_running", detail).about("source"));
    }
    let at = service.clock.now();
    let mut records = records(&service, &source, &standing.run);
    let mut parts = Vec::new();
    if !standing.resumed {
        parts.push(records.begin(at));
    }
    // Every file has a position from the beginning, so that the run is known after a restart too.
    let starts = files.iter().zip(&standing.starts);
    for (file, start) in starts.filter(|(f, _)| !before.iter().any(|b| b.path == f.path)) {
        let (position, line) = start.unwrap_or_default();
        parts.push(records.progress(file.identity(), Reached { position, line, finished: false }, at));
    }
    if !parts.is_empty() {
        let detail = json!({ "run": standing.run, "files": files.len(), "resumed": standing.resumed });
        append(&service, &actor, Act::new(Action::ImportBegin, source.as_str(), detail), parts).await?;
    }
    let now = known(&service, &source).await?;
    let states: Vec<Value> = files.iter().filter_map(|f| now.iter().find(|k| k.path == f.path)).map(state).collect();
    Ok(Json(json!({
        "run": standing.run,
        "source": source,
        "resumed": standing.resumed,
        "liveSource": is_live,
        "files": states,
    })))
}

fn state(file: &ImportFile) -> Value {
    json!({ "path": file.path, "position": file.position, "line": file.line, "finished": file.finished })
}

fn unknown(source: &str) -> Problem {
    Problem::not_found(format!("source {source:?} has no such unfinished run, or no such file in it")).about("run")
}

/// What is said of a chunk that is too long.
fn chunk_too_large() -> Problem {
    let detail = format!("a chunk has at most {CHUNK_BYTES_MAX} bytes of text; send more of them");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "chunk_too_large", detail)
}

async fn chunk(
    service: Arc<Service>,
    turn: Arc<Mutex<()>>,
    source: String,
    place: Place,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    check_source(&source)?;
    // The text, and then the records that it becomes, take memory up to the end of the turn.
    let (text, _memory) =
        read_body(body, &headers, CHUNK_BYTES_MAX, chunk_too_large, &service.guard.bodies, Vec::with_capacity).await?;
    if place.next < place.position.saturating_add(text.len() as u64) {
        let detail = "next is the position behind the chunk: position and the length of the body, at least";
        return Err(Problem::bad_request("invalid_parameter", detail).about("next"));
    }
    if !place.last && text.is_empty() {
        let detail = "only the last chunk of a file may be empty";
        return Err(Problem::bad_request("invalid_parameter", detail).about("last"));
    }
    let _turn = turn.lock().await;
    let before = known(&service, &source).await?;
    let file = before.iter().find(|f| f.run == place.run && f.path == place.path).ok_or_else(|| unknown(&source))?;
    if file.position != place.position || file.finished {
        let stands = if file.finished { "is finished" } else { "stands" };
        let detail = format!("{} {stands} at byte {}: go on from there", file.path, file.position);
        return Err(conflict("out_of_place", detail).about("position"));
    }
    // One directory for the whole chunk: its campaigns resolve it, its revision is written with it, and no change of
    // what is fixed once counted comes in between.
    let _gate = service.gate.read().await;
    let directory = service.directory.load_full();
    let at = service.clock.now();
    let mut records = records(&service, &source, &place.run);
    let intake =
        Intake { source: service.catalog.symbols().intern(source.as_bytes()), stream: Stream::Import, received_at: at };
    let mut decoder = Decoder::new(service.catalog.clone(), directory.campaigns.clone(), service.secret);
    let decoding = tokio::task::spawn_blocking(move || {
        let mut decoded = Decoded::default();
        decoder.decode_lines(text, &intake, &mut decoded);
        decoded
    });
    let decoded = decoding.await.map_err(|_| Problem::internal())?;
    let line = file.line + decoded.batch.len() as u64 + decoded.blank;
    let reached = Reached { position: place.next, line, finished: place.last };
    let progress = records.progress((&file.path, file.size, file.head), reached, at);
    let receipt = service.writer.append_alone(vec![decoded, progress], directory.revision).await?;
    service.live.folded(receipt.seq).await?;
    Ok(Json(json!({ "path": file.path, "position": place.next, "line": line, "finished": place.last })))
}

async fn end(
    service: Arc<Service>,
    actor: Actor,
    turn: Arc<Mutex<()>>,
    source: String,
    end: End,
) -> Result<Json<Value>, Problem> {
    check_source(&source)?;
    let _turn = turn.lock().await;
    let before = known(&service, &source).await?;
    let run = match (before.first(), &end.run) {
        (Some(file), None) if end.abort => file.run.clone(),
        (Some(file), Some(run)) if file.run == *run => run.clone(),
        _ => return Err(unknown(&source)),
    };
    if let Some(open) = before.iter().find(|f| !f.finished).filter(|_| !end.abort) {
        let detail = format!("{} was read up to byte {} only; finish it, or say abort", open.path, open.position);
        return Err(conflict("import_unfinished", detail).about("run"));
    }
    let mut sum = LedgerCounts::default();
    before.iter().for_each(|file| sum.merge(&LedgerCounts::from_values(&file.figures)));
    let mut records = records(&service, &source, &run);
    let (received, counted) = (sum.get(LedgerColumn::Received), sum.get(LedgerColumn::Counted));
    let action = if end.abort { Action::ImportAbort } else { Action::ImportEnd };
    let act = Act::new(action, source.as_str(), json!({ "run": run, "received": received, "counted": counted }));
    append(&service, &actor, act, vec![records.end(service.clock.now())]).await?;
    let mut answer: Map<String, Value> =
        LedgerColumn::ALL.iter().map(|column| (column.name().to_owned(), json!(sum.get(*column)))).collect();
    answer.insert("run".to_owned(), json!(run));
    answer.insert("source".to_owned(), json!(source));
    answer.insert("aborted".to_owned(), json!(end.abort));
    let revision = service.live.snapshot(Want::nothing()).await?.revision;
    answer.insert("revision".to_owned(), json!(revision.to_string()));
    Ok(Json(Value::Object(answer)))
}
