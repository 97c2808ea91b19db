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
mod gunzip;
mod idempotency;
mod intake;
mod pixel;
mod privacy;
mod query;

use std::sync::Arc;

pub use destination::{is_registrable, sign};

use crate::http::Routes;
use crate::service::Service;

/// The collector's endpoints.
pub fn router(service: &Arc<Service>) -> Routes {
    let collector = Arc::new(intake::Collector::new(service.clone()));
    Routes::new()
        .post("/v1/events/collect", events::collect)
        .get_only("/v1/pixel.gif", pixel::pixel)
        .get_only("/v1/click", click::click)
        .with_state(collector)
}
