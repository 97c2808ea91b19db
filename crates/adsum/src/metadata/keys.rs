//! The endpoints of tokens, site keys and click destinations.
//!
//! Invariant: a token's secret is in the answer that made it and nowhere else: not in the log, not in the store, not in
//! what is logged. A revocation holds when it is answered.

use std::sync::Arc;

use adsum_model::time::ReceivedAt;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use ulid::Ulid;

use super::api::{members_of, shown_change};
use super::forms::hex;
use super::page::Page;
use super::state::{State as Metadata, ids_after, shown, shown_revocable};
use super::{make, read};
use crate::act::Actor;
use crate::clock;
use crate::http::Problem;
use crate::service::Service;

/// What a token's secret begins with, so that it is recognised where it must not be.
const TOKEN_PREFIX: &str = "adsum_";

/// A new secret: 256 random bits.
pub fn new_secret() -> anyhow::Result<String> {
    Ok(format!("{TOKEN_PREFIX}{}", hex(&clock::random::<32>()?)))
}

/// How many characters an operator's own token has: fewer could be guessed.
pub const SECRET_CHARS: std::ops::RangeInclusive<usize> = 32..=256;

/// The SHA-256 of a secret, one of ours or of the operator's own choice; none of text that cannot be one.
pub fn digest(secret: &str) -> Option<[u8; 32]> {
    let sane = SECRET_CHARS.contains(&secret.len()) && secret.bytes().all(|b| b.is_ascii_graphic());
    sane.then(|| Sha256::digest(secret).into())
}

/// A new id: `prefix`, and a ULID of `now`.
pub fn new_id(prefix: &str, now: ReceivedAt) -> anyhow::Result<String> {
    let random = u128::from_be_bytes(clock::random::<16>()?);
    Ok(format!("{prefix}_{}", Ulid::from_parts(now.micros().max(0) as u64 / 1000, random).to_string().to_lowercase()))
}

fn no_random(error: anyhow::Error) -> Problem {
    tracing::error!(%error, "no random bytes");
    Problem::internal()
}

/// A page of what `find` finds behind an id.
fn listed(
    service: &Service,
    query: Option<&str>,
    find: impl FnOnce(&Metadata, &str, usize) -> Vec<(String, Value)>,
) -> Result<Json<Value>, Problem> {
    let page = Page::of(query)?;
    let found = find(&service.metadata.state(), &page.after, page.probe());
    Ok(Json(page.answer(found)))
}

/// GET /v1/tokens.
pub async fn tokens(State(service): State<Arc<Service>>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    listed(&service, query.as_deref(), |state, after, count| {
        let ids = ids_after(&state.tokens, after, count, |_| true);
        ids.into_iter().map(|id| (id.to_owned(), shown_revocable(&state.tokens[id]))).collect()
    })
}

/// GET /v1/site-keys.
pub async fn site_keys(State(service): State<Arc<Service>>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    listed(&service, query.as_deref(), |state, after, count| {
        let ids = ids_after(&state.site_keys, after, count, |_| true);
        ids.into_iter().map(|id| (id.to_owned(), shown_revocable(&state.site_keys[id]))).collect()
    })
}

/// GET /v1/click-destinations.
pub async fn destinations(
    State(service): State<Arc<Service>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    listed(&service, query.as_deref(), |state, after, count| {
        let ids = ids_after(&state.destinations, after, count, |_| true);
        ids.into_iter().map(|id| (id.to_owned(), shown(&state.destinations[id]))).collect()
    })
}

/// POST /v1/tokens: the only answer with the secret.
pub async fn token_create(
    State(service): State<Arc<Service>>,
    actor: Actor,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let body = members_of(&headers, body).await?;
    let secret = new_secret().map_err(no_random)?;
    let sha256 = Sha256::digest(&secret).into();
    let plan = move |known: read::Known<'_>| {
        let id = new_id("tk", known.now).map_err(no_random)?;
        Ok(vec![read::token(known, id, sha256, body)?])
    };
    let changes = make(&service, actor, plan).await?;
    let mut object = changes.first().map(shown_change).unwrap_or_default();
    object["token"] = json!(secret);
    Ok((StatusCode::CREATED, Json(object)))
}

/// DELETE /v1/tokens/{id}.
pub async fn token_revoke(
    State(service): State<Arc<Service>>,
    actor: Actor,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let target = id.clone();
    make(&service, actor, move |known| Ok(Vec::from_iter(read::token_revoke(known, &target)?))).await?;
    service.metadata.state().tokens.get(&id).map(shown_revocable).map(Json).ok_or_else(read::not_found)
}

/// POST /v1/site-keys.
pub async fn site_key_create(
    State(service): State<Arc<Service>>,
    actor: Actor,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let body = members_of(&headers, body).await?;
    let plan = move |known: read::Known<'_>| {
        let id = new_id("sk", known.now).map_err(no_random)?;
        Ok(vec![read::site_key(known, id, body)?])
    };
    let changes = make(&service, actor, plan).await?;
    Ok((StatusCode::CREATED, Json(changes.first().map(shown_change).unwrap_or_default())))
}

/// DELETE /v1/site-keys/{id}.
pub async fn site_key_revoke(
    State(service): State<Arc<Service>>,
    actor: Actor,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let target = id.clone();
    make(&service, actor, move |known| Ok(Vec::from_iter(read::site_key_revoke(known, &target)?))).await?;
    service.metadata.state().site_keys.get(&id).map(shown_revocable).map(Json).ok_or_else(read::not_found)
}

/// POST /v1/click-destinations.
pub async fn destination_create(
    State(service): State<Arc<Service>>,
    actor: Actor,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let body = members_of(&headers, body).await?;
    let plan = move |known: read::Known<'_>| {
        let id = new_id("cd", known.now).map_err(no_random)?;
        Ok(vec![read::destination(known, id, body)?])
    };
    let changes = make(&service, actor, plan).await?;
    Ok((StatusCode::CREATED, Json(changes.first().map(shown_change).unwrap_or_default())))
}

/// DELETE /v1/click-destinations/{id}.
pub async fn destination_delete(
    State(service): State<Arc<Service>>,
    actor: Actor,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    make(&service, actor, move |known| Ok(vec![read::destination_delete(known, &id)?])).await?;
    Ok(StatusCode::NO_CONTENT)
}
