//! Metadata: advertisers, campaigns, ads, publishers, placements, tokens, site keys and click destinations.
//!
//! A change is appended to the log first; the store follows it, and the directory is made anew. Invariant: what the
//! store holds is a function of the log's metadata records, so a lost store is made again from them.

use std::sync::Arc;

use crate::http::Routes;
use crate::service::Service;

/// The metadata's endpoints.
pub fn router(_service: &Arc<Service>) -> Routes {
    Routes::new()
}
