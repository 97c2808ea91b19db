//! Collect: events over HTTP, decoded, resolved, appended, answered.
//!
//! The way of a request: `events` (or `pixel`, `click`) -> `body` -> `intake` (decoders, privacy) -> writer -> `answer`.
//! Invariant: a 202 is sent only when everything in the request is durable in the log; what is not acknowledged may be
//! sent again and counts once.

mod answer;
mod body;
mod click;
mod decoders;
mod destination;
mod events;
mod idempotency;
mod intake;
mod pixel;
mod privacy;
mod query;
mod quota;

use std::sync::Arc;

use axum::routing::{get, post};
use axum::{Extension, Router};
use http::StatusCode;

pub use destination::{is_registrable, sign};

use crate::http::Problem;
use crate::service::Service;

/// The collector's endpoints.
pub fn router(service: &Arc<Service>) -> Router<Arc<Service>> {
    let collector = Arc::new(intake::Collector::new(service.clone()));
    Router::new()
        .route("/v1/events/collect", post(events::collect))
        .route("/v1/pixel.gif", get(pixel::pixel).head(get_only))
        .route("/v1/click", get(click::click).head(get_only))
        .layer(Extension(collector))
}

/// A look at the head of an address, as previews take it, is no impression and no click.
async fn get_only() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "only GET counts an event")
}
