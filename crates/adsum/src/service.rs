//! What every interface of a running service is given: the handles, and nothing that only one of them needs.
//!
//! Invariant: whoever holds a service can ask, append and resolve; nobody but the writer's thread appends, and nobody
//! but the fold's thread touches the pipeline.

use std::path::PathBuf;
use std::sync::Arc;

use adsum_log::LogView;
use adsum_model::catalog::Catalog;
use adsum_model::hash::Secret;
use tokio::sync::RwLock;

use crate::clock::IntakeClock;
use crate::config::Config;
use crate::directory::Present;
use crate::http::Guard;
use crate::live::Live;
use crate::metadata::Metadata;
use crate::writer::Writer;

/// The handles.
pub struct Service {
    /// What the numbers are of.
    pub catalog: Arc<Catalog>,
    /// The configuration as it was at the start.
    pub config: Arc<Config>,
    /// The secret that dedupe keys are made under; signatures of click destinations too.
    pub secret: Secret,
    /// The clock that stamps receivedAt.
    pub clock: Arc<IntakeClock>,
    /// Appends to the log.
    pub writer: Writer,
    /// Answers from the live state.
    pub live: Live,
    /// Campaigns, tokens and who else there is.
    pub directory: Present,
    /// Keeps and changes what the directory is made of.
    pub metadata: Arc<Metadata>,
    /// Held for reading from taking the directory until what was resolved by it is queued; a change of what is fixed
    /// once a campaign has events holds it for writing.
    pub gate: RwLock<()>,
    /// Reads the log: to show what was sent.
    pub log: Arc<dyn LogView>,
    /// Rates, memory and the word to stop.
    pub guard: Guard,
    /// The data directory.
    pub data_dir: PathBuf,
}
