//! What every HTTP interface of the binary shares: errors, roles, limits, the server itself.
//!
//! Invariant: every error answer is a problem document with a code, and every route stands in the table of
//! [`access::ENDPOINTS`]. Not here: what an interface does (collect, report, metadata).

pub mod access;
pub mod auth;
pub mod body;
pub mod completeness;
mod framing;
pub mod health;
pub mod layers;
pub mod metrics;
mod owned;
pub mod problem;
pub mod rates;
pub mod routes;
pub mod server;
pub mod settings;
mod socket;
#[cfg(test)]
mod tests;
pub mod tls;

pub use access::{Principal, Role};
pub use body::{BodyBudget, BodyPermit, only_header, read_body};
pub use layers::RequestId;
pub use owned::owned;
pub use problem::Problem;
pub use rates::{EventQuota, Rates};
pub use routes::Routes;
pub use server::{Peer, Stopping};

use settings::ServerConfig;

/// What the server keeps for every interface.
pub struct Guard {
    /// How much each token and site key may send.
    pub rates: Rates,
    /// The memory for request bodies.
    pub bodies: BodyBudget,
    /// Says when the service stops: streams end then.
    pub stopping: Stopping,
    /// Shows the metrics.
    pub exporter: metrics::Exporter,
    /// Names requests.
    pub ids: layers::RequestIds,
}

impl Guard {
    /// By the configuration; begins to count metrics.
    pub fn new(config: &ServerConfig, stopping: Stopping) -> anyhow::Result<Self> {
        Ok(Self {
            rates: Rates::new(config.auth_failures_per_second),
            bodies: BodyBudget::new(config.body_memory_bytes()),
            stopping,
            exporter: metrics::Exporter::install()?,
            ids: layers::RequestIds::new()?,
        })
    }
}
