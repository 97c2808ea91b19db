//! Backups of a running service: a consistent set beside its data, while events go on coming in.
//!
//! Invariant: a job takes no path from the network, and only one runs at a time. The fold waits only while the store's
//! files get their second names.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::anyhow;
use axum::extract::{Json, State};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, TryAcquireError};

use crate::act::{Act, Action, Actor};
use crate::backup::Draft;
use crate::http::{Problem, Routes, owned};
use crate::service::Service;

pub(super) fn router() -> Routes {
    let running = Arc::new(Semaphore::new(1));
    Routes::new().post("/v1/backups", move |State(service), actor: Actor| start(service, actor, running))
}

/// Makes a backup and answers when it is whole. It goes on if the client leaves.
async fn start(
    service: Arc<Service>,
    actor: Actor,
    running: Arc<Semaphore>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let permit = running.try_acquire_owned().map_err(|refused| match refused {
        TryAcquireError::NoPermits => {
            Problem::new(StatusCode::CONFLICT, "backup_running", "a backup is being made; ask again when it is done")
        }
        TryAcquireError::Closed => Problem::internal(),
    })?;
    let made = owned(async move {
        let _permit = permit;
        make(service, &actor).await
    });
    Ok((StatusCode::CREATED, Json(made.await?)))
}

fn failed(error: &anyhow::Error) -> Problem {
    tracing::error!(error = %format!("{error:#}"), "a backup failed");
    Problem::internal()
}

async fn make(service: Arc<Service>, actor: &Actor) -> Result<Value, Problem> {
    let data_dir = service.data_dir.clone();
    let draft = blocking(move || Draft::begin(&data_dir)).await?;
    let draft = Arc::new(draft);
    let linked = Arc::new(Mutex::new(Err(anyhow!("the store named no files"))));
    let (linking, result) = (draft.clone(), linked.clone());
    let with_files = Box::new(move |names: &[String]| {
        *result.lock().unwrap_or_else(PoisonError::into_inner) = linking.link_store(names);
    });
    let snapshot = service.live.committed(with_files).await?;
    let linked = std::mem::replace(&mut *linked.lock().unwrap_or_else(PoisonError::into_inner), Ok(()));
    linked.map_err(|error| failed(&error))?;
    let log = service.log.clone();
    let (path, manifest) = blocking(move || draft.finish(&*snapshot.view, &*log)).await?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let detail = json!({ "bytes": manifest.bytes(), "revision": manifest.revision, "stateHash": manifest.state_hash });
    let act = Act::new(Action::BackupCreate, name.as_str(), detail);
    service.metadata.turn().await.act(&service, actor, act, Vec::new()).await?;
    Ok(json!({
        "name": name,
        "path": path,
        "bytes": manifest.bytes(),
        "revision": manifest.revision,
        "stateHash": manifest.state_hash,
        "ledger": manifest.ledger,
    }))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Problem::internal())?.map_err(|error| failed(&error))
}
