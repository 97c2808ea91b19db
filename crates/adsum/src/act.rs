//! Acts of administration that change no noun of the metadata: who did what to what.
//!
//! Invariant: an act is recorded in the log, and holds no secret. What an interface does and records goes through the
//! service's metadata, which numbers it among its changes. Not here: how it is kept and shown (metadata).

use std::sync::Arc;

use axum::Extension;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::http::{Principal, RequestId};

/// Who changes or does something.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The token's id.
    pub token_id: Arc<str>,
    /// The token's source.
    pub source: Arc<str>,
    /// The request's id, where it has one.
    pub request_id: Option<String>,
}

impl Actor {
    /// Somebody without a token: the service itself, or whoever holds its files.
    pub fn named(name: &str) -> Self {
        Self { token_id: name.into(), source: name.into(), request_id: None }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let Extension(principal) =
            Extension::<Principal>::from_request_parts(parts, state).await.map_err(IntoResponse::into_response)?;
        let request_id = parts.extensions.get().map(|id: &RequestId| id.as_str().to_owned());
        Ok(Self { token_id: principal.token_id, source: principal.source, request_id })
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// The service began to take requests; the target is its address.
    #[serde(rename = "server.start")]
    ServerStart,
    /// It was told to stop and has answered its last request.
    #[serde(rename = "server.stop")]
    ServerStop,
    /// An operator's word that the wall clock is right.
    #[serde(rename = "clock.confirm")]
    ClockConfirm,
    /// Entries of the quarantine were taken up again.
    #[serde(rename = "quarantine.replay")]
    QuarantineReplay,
    /// A backup is whole; the target is its name.
    #[serde(rename = "backup.create")]
    BackupCreate,
    /// A run of an import began, or goes on with more files; the target is its source.
    #[serde(rename = "import.begin")]
    ImportBegin,
    /// It is finished.
    #[serde(rename = "import.end")]
    ImportEnd,
    /// It was broken off.
    #[serde(rename = "import.abort")]
    ImportAbort,
}

/// An act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// What was done.
    pub action: Action,
    /// To what.
    pub target: String,
    /// An object with what else there is to say.
    pub detail: Value,
}

impl Act {
    /// An act on `target`.
    pub fn new(action: Action, target: impl Into<String>, detail: Value) -> Self {
        Self { action, target: target.into(), detail }
    }
}
