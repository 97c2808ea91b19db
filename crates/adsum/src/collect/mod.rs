//! Collect: events over HTTP, decoded, resolved, appended, answered.
//!
//! Invariant: a 202 is sent only when everything in the request is durable in the log; what is not acknowledged may be
//! sent again and counts once.

use std::sync::Arc;

use crate::http::Routes;
use crate::service::Service;

/// The collector's endpoints.
pub fn router(_service: &Arc<Service>) -> Routes {
    Routes::new()
}
