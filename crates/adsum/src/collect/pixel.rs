//! `GET /v1/pixel.gif`: one event by an image's address.
//!
//! Invariant: the image comes within [`WAIT_MICROS_MAX`] of the event's submission, whatever the log does; the append
//! goes on behind it. An event that is wrong is a rejected record, and the image is sent all the same.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::RawQuery;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};

use super::body::Format;
use super::intake::Collector;
use super::query::Query;
use crate::http::Problem;

/// So long a browser waits for the log.
const WAIT_MICROS_MAX: u64 = 50_000;

/// A transparent pixel, GIF 89a.
const GIF: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\0\0\0\x21\xF9\x04\x01\0\0\0\0\x2C\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0\x3B";

/// Takes an event in and answers with an image.
pub async fn pixel(
    Extension(collector): Extension<Arc<Collector>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut query = Query::parse(query.as_deref())?;
    let source = site(&collector, &mut query)?;
    register(&collector, query, &headers, &source, "adsum_pixel_unconfirmed_total").await;
    let headers = [(header::CONTENT_TYPE, "image/gif"), (header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::OK, headers, GIF).into_response())
}

/// The source that the site key names: of the metadata, or of the configuration.
pub(super) fn site(collector: &Collector, query: &mut Query) -> Result<Arc<str>, Problem> {
    let key = query.take("key").unwrap_or_default();
    let declared = || collector.service.config.collect.site_keys.get(&key).map(|source| Arc::from(source.as_str()));
    let known = collector.service.directory.load().site_keys.get(&key).map(|site| site.source.clone());
    known.or_else(declared).ok_or_else(|| {
        Problem::new(StatusCode::UNAUTHORIZED, "unknown_site_key", "no such site key, or it was revoked").about("key")
    })
}

/// Takes the event of a query in, in a task of its own, and waits for the log as long as a browser may. `unconfirmed`
/// counts what was not seen to be durable by then.
pub(super) async fn register(
    collector: &Arc<Collector>,
    mut query: Query,
    headers: &HeaderMap,
    source: &Arc<str>,
    unconfirmed: &'static str,
) {
    if let Some(agent) = headers.get(header::USER_AGENT) {
        query.default("userAgent", agent.as_bytes());
    }
    let service = &collector.service;
    let event = query.event(&service.catalog, service.clock.now());
    let (own, source) = (collector.clone(), source.clone());
    let taken = tokio::spawn(async move {
        let submitted = own.submit(Format::Lines, event, &source, &source).await?;
        submitted.appending.await.map_err(|_| Problem::from(crate::writer::Refusal::Failed))??;
        Ok::<(), Problem>(())
    });
    let wait = Duration::from_micros(WAIT_MICROS_MAX);
    if !matches!(tokio::time::timeout(wait, taken).await, Ok(Ok(Ok(())))) {
        metrics::counter!(unconfirmed).increment(1);
    }
}
