//! The answer to a request of events: what was taken, what was not, and why.
//!
//! Invariant: accepted and rejected add up to the events of the request. Not here: refusals of whole requests, which
//! are problem documents.

use adsum_model::catalog::Catalog;
use adsum_model::id::Offset;
use adsum_model::record::RecordKind;
use adsum_model::time::EventTime;
use adsum_model::wire::{Decoded, readable_member};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{StatusCode, header};
use serde::Serialize;

/// How many errors are listed; the answer says how many more there are.
const ERRORS_MAX: usize = 1000;

/// What became of the events of a request, before they have a place in the log.
#[derive(Default)]
pub struct Outcome {
    accepted: usize,
    rejected: usize,
    quarantined: usize,
    errors: Vec<EventError>,
}

/// One rejected event.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct EventError {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<String>,
    quarantine_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    ingest_batch_id: &'a str,
    accepted: usize,
    rejected: usize,
    quarantined: usize,
    errors: &'a [EventError],
    #[serde(skip_serializing_if = "is_zero")]
    errors_omitted: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Outcome {
    /// Of decoded events. `line` is the acceptance line, and further ahead of receipt than `future_micros` is too far.
    pub fn of(decoded: &Decoded, catalog: &Catalog, line: EventTime, future_micros: i64) -> Self {
        let batch = &decoded.batch;
        let known = catalog.well_known();
        let mut outcome = Self { accepted: decoded.rows.events.len(), rejected: 0, quarantined: 0, errors: Vec::new() };
        for row in &decoded.rows.events {
            let future = row.occurred_at.micros() > row.received_at.micros().saturating_add(future_micros);
            outcome.quarantined += usize::from(future || row.occurred_at < line);
        }
        if outcome.accepted == batch.len() {
            return outcome;
        }
        let id_names = names_of(catalog, "eventId");
        for (index, head) in batch.heads.iter().enumerate().filter(|(_, head)| head.kind == RecordKind::Reject) {
            outcome.rejected += 1;
            if outcome.errors.len() == ERRORS_MAX {
                continue;
            }
            let bytes = |field| batch.field(head, field).map(|span| &batch.arena[span.range()]);
            let code = batch.field(head, known.code).map(|span| span.as_symbol());
            outcome.errors.push(EventError {
                index,
                event_id: bytes(known.raw).and_then(|raw| readable_member(raw, &id_names)),
                code: code.and_then(|code| catalog.symbols().text(code)).unwrap_or_default(),
                param: bytes(known.param).map(|param| String::from_utf8_lossy(param).into_owned()),
                quarantine_id: String::new(),
            });
        }
        outcome
    }

    /// How many events there were.
    pub fn events(&self) -> usize {
        self.accepted + self.rejected
    }

    /// The answer once they are in the log, the first of them at `base`.
    pub fn answer(mut self, batch_id: &str, base: Offset) -> Answer {
        for error in &mut self.errors {
            error.quarantine_id = format!("qr_{}", base.plus(error.index as u64).get());
        }
        let body = Body {
            ingest_batch_id: batch_id,
            accepted: self.accepted,
            rejected: self.rejected,
            quarantined: self.quarantined,
            errors: &self.errors,
            errors_omitted: self.rejected - self.errors.len(),
        };
        let text = serde_json::to_vec(&body).expect("strings and numbers are always JSON");
        Answer { body: text.into() }
    }
}

/// The names that senders have for a field: ours and those that are mapped to it.
fn names_of<'c>(catalog: &'c Catalog, field: &'c str) -> Vec<&'c str> {
    let mapped = catalog.mapping().iter().filter(|m| m.to == field).map(|m| m.from.as_str());
    std::iter::once(field).chain(mapped).collect()
}

/// A 202, as it is sent and as a repeated request gets it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    body: Bytes,
}

impl Answer {
    /// Its size in bytes.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        (StatusCode::ACCEPTED, [(header::CONTENT_TYPE, "application/json")], self.body).into_response()
    }
}
