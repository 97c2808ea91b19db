//! The endpoints of the nouns and of the audit; those of tokens, site keys and destinations are in [`super::keys`].
//!
//! Invariant: an answer to a change comes after the change is durable and holds for every request; what a token may not
//! see answers like what does not exist.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, RawQuery, State};
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::change::Numbered;
use super::members::Members;
use super::nouns::{Noun, Sight};
use super::page::Page;
use super::{bulk, keys, make, read};
use crate::act::Actor;
use crate::http::{Principal, Problem, Routes};
use crate::service::Service;

/// How large a body may be that holds one object, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;

/// The metadata's endpoints.
pub fn router(_service: &Arc<Service>) -> Routes {
    let noun = |noun: Noun| {
        let list = move |s: State<Arc<Service>>, p: Extension<Principal>, q: RawQuery| list(noun, s, p, q);
        let one = move |s: State<Arc<Service>>, p: Extension<Principal>, id: Path<String>| one(noun, s, p, id);
        let put = move |s: State<Arc<Service>>,
                        a: Actor,
                        p: Extension<Principal>,
                        id: Path<String>,
                        h: HeaderMap,
                        b: Body| { put(noun, s, a, p, id, h, b) };
        let name = format!("/v1/{}s", noun.name());
        let each = format!("{name}/{{id}}");
        Routes::new().get(&name, list).get(&each, one).put(&each, put)
    };
    Noun::ALL
        .into_iter()
        .fold(Routes::new(), |router, each| router.merge(noun(each)))
        .get("/v1/campaigns/{id}/history", history)
        .post("/v1/metadata/bulk", bulk::load)
        .get("/v1/tokens", keys::tokens)
        .post("/v1/tokens", keys::token_create)
        .delete("/v1/tokens/{id}", keys::token_revoke)
        .get("/v1/site-keys", keys::site_keys)
        .post("/v1/site-keys", keys::site_key_create)
        .delete("/v1/site-keys/{id}", keys::site_key_revoke)
        .get("/v1/click-destinations", keys::destinations)
        .post("/v1/click-destinations", keys::destination_create)
        .delete("/v1/click-destinations/{id}", keys::destination_delete)
        .get("/v1/audit", audit)
}

/// The bytes of a body of one of these types.
pub async fn bytes_of(headers: &HeaderMap, body: Body, types: &[&str], bytes_max: usize) -> Result<Vec<u8>, Problem> {
    let sent = headers.get(header::CONTENT_TYPE).map(|v| v.to_str().unwrap_or_default());
    let essence = |t: &str| t.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !sent.is_some_and(|sent| types.contains(&essence(sent).as_str())) {
        let detail = format!("the body must be {}", types.join(" or "));
        return Err(
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail).about("Content-Type")
        );
    }
    match to_bytes(body, bytes_max).await {
        Ok(bytes) => Ok(bytes.into()),
        Err(_) => {
            let detail = format!("the body broke off, or has more than {bytes_max} bytes");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail))
        }
    }
}

/// The object that a body holds.
pub async fn members_of(headers: &HeaderMap, body: Body) -> Result<Members, Problem> {
    Members::read(&bytes_of(headers, body, &["application/json"], BODY_BYTES_MAX).await?)
}

/// What the API shows of a change: what was put, by whom, and when. Never the hash of a secret.
pub fn shown_change(change: &Numbered) -> Value {
    let mut object = serde_json::to_value(&change.recorded.change).unwrap_or_default();
    if let Some(members) = object.as_object_mut() {
        members.retain(|name, _| name != "kind" && name != "sha256");
    }
    object["metadataRevision"] = json!(change.revision);
    object["changedAt"] = json!(change.at.to_string());
    object["changedBy"] = json!(change.recorded.by);
    object
}

/// Looks at the metadata as a principal may.
fn sight<T>(service: &Service, principal: &Principal, look: impl FnOnce(Sight<'_>) -> T) -> T {
    let (state, now) = (service.metadata.state(), service.clock.now());
    look(Sight { state: &state, declared: &service.metadata.declared, principal, now })
}

async fn list(
    noun: Noun,
    State(service): State<Arc<Service>>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let page = Page::of(query.as_deref())?;
    let found = sight(&service, &principal, |sight| {
        let ids = sight.ids(noun, &page.after, page.probe());
        ids.into_iter().filter_map(|id| sight.one(noun, &id).map(|it| (id, it))).collect()
    });
    Ok(Json(page.answer(found)))
}

async fn one(
    noun: Noun,
    State(service): State<Arc<Service>>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    sight(&service, &principal, |sight| sight.one(noun, &id)).map(Json).ok_or_else(read::not_found)
}

async fn history(
    State(service): State<Arc<Service>>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let versions = sight(&service, &principal, |sight| sight.history(&id)).ok_or_else(read::not_found)?;
    Ok(Json(json!({ "items": versions })))
}

async fn put(
    noun: Noun,
    State(service): State<Arc<Service>>,
    actor: Actor,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let body = members_of(&headers, body).await?;
    let target = id.clone();
    let plan = move |known: read::Known<'_>| Ok(Vec::from_iter(read::put(known, noun, &target, body)?));
    match make(&service, actor, plan).await?.first() {
        Some(change) => Ok(Json(shown_change(change))),
        None => sight(&service, &principal, |sight| sight.one(noun, &id)).map(Json).ok_or_else(read::not_found),
    }
}

async fn audit(State(service): State<Arc<Service>>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    let page = Page::of(query.as_deref())?;
    let bad = |_| Problem::bad_request("invalid_cursor", "no cursor of this list").about("cursor");
    let before = if page.after.is_empty() { None } else { Some(page.after.parse().map_err(bad)?) };
    let acts = service.metadata.audit.lock().await.audit(before, page.probe()).await.map_err(|error| {
        tracing::error!(%error, "the audit cannot be read");
        Problem::internal()
    })?;
    let keyed = acts.into_iter().map(|act| (act["metadataRevision"].to_string(), act)).collect();
    Ok(Json(page.answer(keyed)))
}
