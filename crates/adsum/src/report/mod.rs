//! Reports: rows of a rollup, added up by bucket and dimensions; over HTTP and for the command line.
//!
//! The way of a question: params -> request (what it may ask) -> query (which rollup answers) -> desk (when) -> page or
//! stream. Invariant: every answer comes from one rollup that covers what is asked and is complete for it, or is
//! refused.

mod ads;
mod arrow;
mod columns;
mod conservation;
mod cursor;
mod desk;
pub mod distinct;
mod page;
mod params;
mod people;
mod pipeline;
mod query;
mod refused;
mod render;
mod reports;
mod request;
mod since;
mod stream;
mod watch;
mod window;

pub use people::PeopleTable;
pub use query::{Budget, Complete, Query, plan};
pub(crate) use render::csv_text;
pub use render::{Format, render, write_meta};
pub use since::add_metrics_since;
pub use window::{Granularity, TimeZone};

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;

use self::desk::Desk;
use crate::catalog_doc::CatalogDoc;
use crate::http::{Problem, Routes};
use crate::service::Service;

/// The reports' endpoints.
pub fn router(service: &Arc<Service>) -> Routes {
    Routes::new()
        .get("/v1/reports", reports::all)
        .get("/v1/reports/campaigns/{campaignId}", reports::campaign)
        .get("/v1/ads/popular_ads", ads::popular)
        .get("/v1/ads/{adId}/aggregated_count", ads::aggregated_count)
        .get("/v1/ads/{adId}/distinct_users", ads::distinct_users)
        .get("/v1/catalog", catalog)
        .get("/v1/conservation", conservation::conservation)
        .get("/v1/pipeline", pipeline::pipeline)
        .get("/v1/events/stream", watch::events)
        .with_state(Arc::new(Desk::new(service.clone())))
}

/// `GET /v1/catalog`: what there is to ask for.
async fn catalog(State(desk): State<Arc<Desk>>) -> Result<Response, Problem> {
    let text = serde_json::to_vec(&CatalogDoc::of(&desk.service.catalog)).map_err(|e| refused::problem(e.into()))?;
    Ok(json(text))
}

/// A body of JSON.
fn json(body: impl Into<axum::body::Body>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}
