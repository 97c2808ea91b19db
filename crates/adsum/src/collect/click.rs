//! `GET /v1/click`: registers a click and sends the browser on.
//!
//! Invariant: never an open redirect: the destination is registered or signed, or the answer is 400. What becomes of
//! the event changes nothing for the browser.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::destination;
use super::intake::Collector;
use super::pixel::{Browser, register, site};
use super::query::Query;
use crate::http::{Peer, Problem};

/// Registers a click and answers 302.
pub async fn click(
    State(collector): State<Arc<Collector>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    peer: Option<Extension<Peer>>,
) -> Result<Response, Problem> {
    let mut query = Query::parse(query.as_deref())?;
    let (target, signature) = (query.take("u"), query.take("sig"));
    let service = &collector.service;
    let directory = service.directory.load_full();
    let declared = service.config.collect.click_destinations.iter();
    let registered = directory.destinations.values().chain(declared).map(String::as_str);
    let allowed =
        target.and_then(|target| destination::allowed(&target, signature.as_deref(), registered, &service.secret));
    let location = allowed.and_then(|url| HeaderValue::from_str(&url).ok()).ok_or_else(|| {
        let detail = "u is neither below a registered destination nor signed; this is no open redirect";
        Problem::bad_request("destination_not_allowed", detail).about("u")
    })?;
    let site = site(&collector, &mut query)?;
    query.default("eventType", b"click");
    let browser = Browser { headers: &headers, peer: peer.map(|Extension(peer)| peer) };
    register(&collector, query, browser, site, "adsum_click_unconfirmed_total").await;
    let headers = [
        (header::LOCATION, location),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    Ok((StatusCode::FOUND, headers).into_response())
}
