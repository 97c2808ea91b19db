//! Bulk loads: NDJSON, one upsert a line, `{"kind":"ad","id":"ad_1","campaignId":"camp_1"}`.
//!
//! Invariant: every line is checked before the first is written, each against the state that the lines before it make;
//! one wrong line refuses all. They become frames of bounded size: a crash between two of them leaves the first lines
//! taken, without an answer; the same load sent again puts the rest and changes nothing twice.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::api::bytes_of;
use super::change::{Change, Numbered, Recorded};
use super::make;
use super::members::Members;
use super::nouns::Noun;
use super::read::{self, Known};
use crate::act::Actor;
use crate::http::Problem;
use crate::service::Service;

/// How large a load may be, in bytes.
const LOAD_BYTES_MAX: usize = 64 << 20;
/// How many lines a load may have.
const LINES_MAX: usize = 500_000;

/// POST /v1/metadata/bulk.
pub async fn load(
    State(service): State<Arc<Service>>,
    actor: Actor,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let types = ["application/x-ndjson", "application/ndjson"];
    let text = bytes_of(&headers, body, &types, LOAD_BYTES_MAX).await?;
    let received = lines(&text).count();
    if received > LINES_MAX {
        let detail = format!("at most {LINES_MAX} lines");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many_lines", detail));
    }
    let by = actor.token_id.clone();
    let changes = make(&service, actor, move |known| plan(known, &text, &by)).await?;
    Ok(Json(json!({
        "received": received,
        "changed": changes.len(),
        "unchanged": received - changes.len(),
        "metadataRevision": service.metadata.state().revision,
    })))
}

/// Lines that are not blank, with their numbers from 1.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    (1..).zip(text.split(|b| *b == b'\n')).filter(|(_, line)| !line.trim_ascii().is_empty())
}

fn plan(known: Known<'_>, text: &[u8], by: &str) -> Result<Vec<Change>, Problem> {
    let mut state = known.state.clone();
    let mut changes = Vec::new();
    for (number, line) in lines(text) {
        let change = upsert(Known { state: &state, ..known }, line)
            .map_err(|problem| Problem { detail: format!("line {number}: {}", problem.detail), ..problem })?;
        if let Some(change) = change {
            state.apply(&Numbered {
                revision: state.revision + 1,
                at: known.now,
                source: String::new(),
                recorded: Recorded::new(by, None, change.clone()),
            });
            changes.push(change);
        }
    }
    Ok(changes)
}

fn upsert(known: Known<'_>, line: &[u8]) -> Result<Option<Change>, Problem> {
    let mut body = Members::read(line)?;
    let kinds = Noun::ALL.map(Noun::name).join(", ");
    let missing = |name| Problem::bad_request("missing_field", "this member is required").about(name);
    let noun = body.word("kind", &kinds, Noun::from_name)?.ok_or_else(|| missing("kind"))?;
    let id = body.id("id")?;
    read::put(known, noun, &id, body)
}
