//! Reports: rows of a rollup, added up by bucket and dimensions.
//!
//! Invariant: every answer comes from one rollup that covers what is asked and is complete for it, or is refused.

pub mod distinct;
mod query;
mod render;
mod window;

pub use query::{Query, plan};
pub(crate) use render::csv_text;
pub use render::{Format, render};
pub use window::{Granularity, TimeZone};

use std::sync::Arc;

use axum::Router;

use crate::service::Service;

/// The reports' endpoints.
pub fn router(_service: &Arc<Service>) -> Router<Arc<Service>> {
    Router::new()
}
