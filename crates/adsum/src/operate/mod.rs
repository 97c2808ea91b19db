//! What an operator does to a running service: look into the quarantine and take events up again, confirm the clock,
//! make a backup.
//!
//! Invariant: nothing here changes a number but by records of the log. Not here: what an entry looks like (quarantine)
//! and what a backup holds (backup), which the command line shares.

mod backups;
mod clock;
mod quarantine;

use std::sync::Arc;

use crate::http::Routes;
use crate::service::Service;

/// The operator's endpoints.
pub fn router(_service: &Arc<Service>) -> Routes {
    Routes::new().merge(backups::router()).merge(clock::router()).merge(quarantine::router())
}
