//! The quarantine of a running service: pages of entries, one entry whole, replays.
//!
//! Invariant: an answer to a replay is given when it is folded, so what it says is what every later report shows.
//! Reading frames is slow work for a thread of its own, and few do it at once.

use std::sync::Arc;

use adsum_model::id::Offset;
use adsum_model::rows::Projector;
use adsum_model::wire::Decoded;
use axum::extract::{Json, Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::act::{Act, Action, Actor};
use crate::http::{Problem, Routes, owned};
use crate::live::{Snapshot, Want};
use crate::quarantine::{self, Entries, REPLAYS_MAX, Records, Replays};
use crate::service::Service;

/// How many requests read frames at once.
const READERS_MAX: usize = 2;
/// Entries of a page, if nothing is said, and at most.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1000;

pub(super) fn router() -> Routes {
    let readers = Arc::new(Semaphore::new(READERS_MAX));
    let (lists, shows, replays) = (readers.clone(), readers.clone(), readers);
    Routes::new()
        .get("/v1/quarantine", move |State(service), Query(query)| list(service, lists, query))
        .get("/v1/quarantine/{id}", move |State(service), Path(id)| show(service, shows, id))
        .post("/v1/quarantine/replay", move |State(service), actor: Actor, Json(body)| {
            owned(replay(service, actor, replays, body))
        })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct List {
    after: Option<String>,
    limit: Option<usize>,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Replay {
    ids: Vec<String>,
}

fn parse_id(id: &str, param: &str) -> Result<Offset, Problem> {
    quarantine::parse_id(id).map_err(|e| Problem::bad_request("invalid_parameter", e.to_string()).about(param))
}

/// Runs slow work on a thread of its own. What fails there is our fault.
async fn reading<T: Send + 'static>(
    readers: Arc<Semaphore>,
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    let permit = readers.acquire_owned().await.map_err(|_| Problem::internal())?;
    let done = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    match done.await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            tracing::error!(error = %format!("{error:#}"), "the quarantine cannot be read");
            Err(Problem::internal())
        }
        Err(_) => Err(Problem::internal()),
    }
}

fn entries(snapshot: &Snapshot) -> Entries<'_> {
    Entries::new(&*snapshot.view, &snapshot.quarantined, &snapshot.released)
}

async fn list(service: Arc<Service>, readers: Arc<Semaphore>, query: List) -> Result<Json<Value>, Problem> {
    let after = query.after.as_deref().map(|id| parse_id(id, "after")).transpose()?;
    let limit = query.limit.unwrap_or(LIMIT);
    if limit == 0 || limit > LIMIT_MAX {
        let detail = format!("limit is 1 to {LIMIT_MAX}");
        return Err(Problem::bad_request("invalid_parameter", detail).about("limit"));
    }
    let reason = query.reason.as_deref().map(quarantine::parse_reason).transpose();
    let reason = reason.map_err(|e| Problem::bad_request("invalid_parameter", e.to_string()).about("reason"))?;
    let snapshot = service.live.snapshot(Want::of_quarantine()).await?;
    let page = reading(readers, move || {
        let page = entries(&snapshot).page(after, limit, reason)?;
        let mut records = Records::new(&*service.log, &service.catalog);
        let shown = page.entries.iter().map(|e| records.summary(e)).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(json!({ "entries": shown, "nextCursor": page.next.map(quarantine::id) }))
    });
    Ok(Json(page.await?))
}

async fn show(service: Arc<Service>, readers: Arc<Semaphore>, id: String) -> Result<Json<Value>, Problem> {
    let offset = parse_id(&id, "id")?;
    let snapshot = service.live.snapshot(Want::of_quarantine()).await?;
    let entry = reading(readers, move || {
        let entry = entries(&snapshot).at(&[offset])?.into_iter().flatten().next();
        entry.map(|entry| Records::new(&*service.log, &service.catalog).whole(&entry)).transpose()
    });
    let entry = entry.await?;
    entry.map(Json).ok_or_else(|| Problem::not_found(format!("{} is not in quarantine", quarantine::id(offset))))
}

async fn replay(
    service: Arc<Service>,
    actor: Actor,
    readers: Arc<Semaphore>,
    body: Replay,
) -> Result<Json<Value>, Problem> {
    if body.ids.is_empty() || body.ids.len() > REPLAYS_MAX {
        let detail = format!("1 to {REPLAYS_MAX} ids are replayed at once");
        return Err(Problem::bad_request("invalid_ids", detail).about("ids"));
    }
    let offsets: Vec<Offset> =
        (body.ids.iter().enumerate()).map(|(i, id)| parse_id(id, &format!("ids[{i}]"))).collect::<Result<_, _>>()?;
    let snapshot = service.live.snapshot(Want::of_quarantine()).await?;
    let mut turn = service.metadata.turn().await;
    // No change of what is fixed once counted comes between the look and the append.
    let _gate = service.gate.read().await;
    let directory = service.directory.load_full();
    let (present, asking) = (directory.clone(), service.clone());
    let replays = reading(readers, move || {
        let mut records = Records::new(&*asking.log, &asking.catalog);
        Replays::of(&offsets, &entries(&snapshot), &mut records, &present.campaigns)
    });
    let mut replays = replays.await?;
    if !replays.batch.is_empty() {
        let mut decoded = Decoded { batch: std::mem::take(&mut replays.batch), ..Decoded::default() };
        Projector::new(service.catalog.clone(), service.secret).project_batch(&decoded.batch, &mut decoded.rows);
        let detail = json!({ "asked": body.ids.len(), "replayed": replays.asked.len() });
        let act = Act::new(Action::QuarantineReplay, "quarantine", detail);
        let receipt = turn.act(&service, &actor, act, vec![decoded]).await?;
        service.live.folded(receipt.seq).await?;
    }
    let after = service.live.snapshot(Want::of_quarantine()).await?;
    let outcome = quarantine::outcome(&replays, &entries(&after)).map_err(|error| {
        tracing::error!(error = %format!("{error:#}"), "the quarantine cannot be read");
        Problem::internal()
    })?;
    Ok(Json(outcome))
}
