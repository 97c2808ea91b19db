//! `GET /v1/pixel.gif`: one event by an image's address.
//!
//! Invariant: the image comes within [`WAIT_MICROS_MAX`] of the event's submission, whatever the log does; the append
//! goes on behind it. An event that is wrong is a rejected record, and the image is sent all the same.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};

use super::body::Format;
use super::intake::Collector;
use super::query::Query;
use crate::http::{EventQuota, Peer, Problem};

/// So long a browser waits for the log.
const WAIT_MICROS_MAX: u64 = 50_000;

/// A transparent pixel, GIF 89a.
const GIF: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\0\0\0\x21\xF9\x04\x01\0\0\0\0\x2C\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0\x3B";

/// Takes an event in and answers with an image.
pub async fn pixel(
    State(collector): State<Arc<Collector>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    peer: Option<Extension<Peer>>,
) -> Result<Response, Problem> {
    let mut query = Query::parse(query.as_deref())?;
    let site = site(&collector, &mut query)?;
    let browser = Browser { headers: &headers, peer: peer.map(|Extension(peer)| peer) };
    register(&collector, query, browser, site, "adsum_pixel_unconfirmed_total").await;
    let headers = [(header::CONTENT_TYPE, "image/gif"), (header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::OK, headers, GIF).into_response())
}

/// What a site key names.
pub(super) struct Site {
    source: Arc<str>,
    quota: EventQuota,
}

/// What is known of a browser beside the address that it asks for.
pub(super) struct Browser<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Where it is.
    pub peer: Option<Peer>,
}

/// The site of the query's key: of the metadata, or of the configuration.
pub(super) fn site(collector: &Collector, query: &mut Query) -> Result<Site, Problem> {
    let key = query.take("key").unwrap_or_default();
    let service = &collector.service;
    let declared = || service.config.collect.site_keys.get(&key).map(|source| (Arc::from(source.as_str()), None));
    let known = service.directory.load().site_keys.get(&key).map(|site| (site.source.clone(), site.events_per_second));
    let (source, per_second) = known.or_else(declared).ok_or_else(|| {
        Problem::new(StatusCode::UNAUTHORIZED, "unknown_site_key", "no such site key, or it was revoked").about("key")
    })?;
    Ok(Site { source, quota: service.guard.rates.events(&Arc::from(key), per_second) })
}

/// Takes the event of a query in, in a task of its own, and waits for the log as long as a browser may. `unconfirmed`
/// counts what was not seen to be durable by then.
pub(super) async fn register(
    collector: &Arc<Collector>,
    mut query: Query,
    browser: Browser<'_>,
    site: Site,
    unconfirmed: &'static str,
) {
    if let Some(agent) = browser.headers.get(header::USER_AGENT) {
        query.default("userAgent", agent.as_bytes());
    }
    if let Some(peer) = browser.peer {
        query.default("ip", peer.address().to_string().as_bytes());
    }
    let service = &collector.service;
    let event = query.event(&service.catalog, service.clock.now());
    let own = collector.clone();
    let taken = tokio::spawn(async move {
        let submitted = own.submit(Format::Lines, event, &site.source, &site.quota).await?;
        submitted.appending.await.map_err(|_| Problem::from(crate::writer::Refusal::Failed))??;
        Ok::<(), Problem>(())
    });
    let wait = Duration::from_micros(WAIT_MICROS_MAX);
    if !matches!(tokio::time::timeout(wait, taken).await, Ok(Ok(Ok(())))) {
        metrics::counter!(unconfirmed).increment(1);
    }
}
