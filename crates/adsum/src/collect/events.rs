//! `POST /v1/events/collect`.
//!
//! Invariant: a request that was read whole is taken whole or not at all, also where its client goes away. With an
//! idempotency key the work belongs to a task of its own, so that a retry meets what it did.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::answer::Answer;
use super::body::{self, Encoding, Format};
use super::idempotency::{self, Begin};
use super::intake::Collector;
use crate::clock;
use crate::http::{BodyPermit, EventQuota, Principal, Problem, owned, read_body};
use crate::service::Service;

/// What a compressed byte weighs against a plain one, when it is asked whether work is done aside.
const COMPRESSED_WEIGHT: usize = 16;

/// A request that was read whole.
struct Request {
    format: Format,
    encoding: Encoding,
    key: Option<Arc<str>>,
    body: Vec<u8>,
    /// The body's share of the memory for all of them.
    memory: BodyPermit,
    principal: Principal,
    quota: EventQuota,
}

/// Takes events in.
pub async fn collect(
    State(collector): State<Arc<Collector>>,
    Extension(principal): Extension<Principal>,
    Extension(quota): Extension<EventQuota>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (format, encoding, key) = (Format::of(&headers)?, Encoding::of(&headers)?, idempotency::key(&headers)?);
    let bytes_max = collector.service.config.collect.body_bytes_max();
    let Service { guard, writer, .. } = &*collector.service;
    let room = |bytes| writer.spares().text(bytes);
    let (body, memory) =
        read_body(body, &headers, bytes_max, || body::too_large(bytes_max), &guard.bodies, room).await?;
    let request = Request { format, encoding, key, body, memory, principal, quota };
    let answer = match request.key {
        None => take(collector, request).await,
        Some(_) => owned(take(collector, request)).await,
    };
    Ok(answer?.into_response())
}

async fn take(collector: Arc<Collector>, request: Request) -> Result<Answer, Problem> {
    let Request { format, encoding, key, body, memory, principal, quota } = request;
    let weight = body.len() * COMPRESSED_WEIGHT;
    let own = collector.clone();
    let (budget, bytes_max) = (&collector.service.guard.bodies, collector.service.config.collect.body_bytes_max());
    let (text, memory) = match encoding {
        Encoding::Identity => (own.decompressor.text(encoding, body)?, memory),
        // How much comes out is known only then; until then it has room for the most.
        Encoding::Gzip | Encoding::Zstd => {
            let room = budget.acquire(bytes_max as u64)?;
            let text = collector.aside(weight, move || own.decompressor.text(encoding, body)).await??;
            drop((room, memory));
            let memory = budget.acquire(text.len() as u64)?;
            (text, memory)
        }
    };
    let underway = match key {
        None => None,
        Some(key) => {
            let hash = xxh3_128_with_seed(&text, u64::from(format == Format::Lines));
            match collector.keys.begin(&principal.token_id, key, hash)? {
                Begin::New(underway) => Some(underway),
                Begin::Done(answer) => return Ok(answer),
            }
        }
    };
    let submitted = collector.submit(format, text, &principal.source, &quota).await?;
    drop(memory);
    let receipt = submitted.appending.await.map_err(|_| Problem::from(crate::writer::Refusal::Failed))??;
    let id = clock::ulid(receipt.appended_at).map_err(|error| {
        tracing::error!(%error, "no id for a batch");
        Problem::internal()
    })?;
    let answer = submitted.outcome.answer(&format!("ib_{id}"), receipt.base);
    if let Some(underway) = underway {
        underway.done(&answer);
    }
    Ok(answer)
}
