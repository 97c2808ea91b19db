//! Metadata: advertisers, campaigns, ads, publishers, placements, tokens, site keys and click destinations.
//!
//! A change is appended to the log first; the store follows it, and the directory is made anew. Invariant: what the
//! store holds is a function of the log's metadata records, so a lost store is made again from them; one change is made
//! at a time, each checked against the state that it follows on.

mod admin;
mod api;
mod bulk;
mod change;
mod counted;
mod follow;
mod forms;
mod keys;
mod members;
mod nouns;
mod page;
mod read;
mod sqlite;
mod state;
mod table;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use adsum_log::LogView;
use adsum_model::catalog::Catalog;
use adsum_model::id::FrameSeq;
use adsum_model::rows::Projector;
use adsum_model::wire::Decoded;
use anyhow::{Context, Result};
use tokio::sync::Mutex;
use tokio::task::block_in_place;

pub use admin::AdminToken;
pub use api::router;
pub use state::State;
pub use table::campaigns;

use crate::config::Config;
use crate::directory::Directory;
use crate::http::Problem;
use crate::service::Service;
use crate::writer::Receipt;
use api::Actor;
use change::{Change, Numbered, Recorded};
use read::Known;
use sqlite::Sqlite;
use table::{Declared, Resolved};

/// How many changes become one frame of the log.
const CHANGES_PER_FRAME_MAX: usize = 5_000;
/// How often the store is told how far the log has come without a change, in seconds: a start reads no more of it.
const FORWARD_SECONDS: u64 = 60;

/// The metadata of a running service.
pub struct Metadata {
    state: RwLock<State>,
    declared: Declared,
    /// Whoever changes something has it: one at a time.
    turn: Mutex<Follower>,
    /// For reading what is not in memory.
    audit: Mutex<Sqlite>,
}

/// The store, which follows the log.
struct Follower {
    sqlite: Sqlite,
    /// A change is in the log and not in the store: it is read from there before anything else is stored.
    behind: bool,
}

/// The state of a data directory whose log has `revision` changes, for whoever resolves events. Where there is nothing
/// to keep, no store is made.
pub fn read(data_dir: &Path, log: &dyn LogView, catalog: &Catalog, revision: u64) -> Result<State> {
    if revision == 0 && !data_dir.join(sqlite::FILE).exists() {
        return Ok(State::default());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let mut sqlite = Sqlite::open(data_dir).await?;
        follow::catch_up(&mut sqlite, log, catalog, revision).await?;
        let state = sqlite.load().await?;
        sqlite.close().await?;
        Ok(state)
    })
}

impl Metadata {
    /// Opens the store for a service that begins with `state`.
    pub async fn open(data_dir: &Path, state: State, config: &Config) -> Result<Self> {
        let follower = Follower { sqlite: Sqlite::open(data_dir).await?, behind: false };
        Ok(Self {
            state: RwLock::new(state),
            declared: Declared::of(config)?,
            turn: Mutex::new(follower),
            audit: Mutex::new(Sqlite::open(data_dir).await?),
        })
    }

    /// The directory to begin with.
    pub fn directory(&self, campaigns: Arc<adsum_model::campaigns::Campaigns>) -> Directory {
        let state = self.state();
        let resolved = Resolved::new(&state, &self.declared, campaigns);
        table::directory(&state, resolved)
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, changes: &[Numbered]) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        changes.iter().for_each(|change| state.apply(change));
    }

    /// One turn: plan, check, append, follow, publish.
    async fn run(
        &self,
        service: &Service,
        actor: &Actor,
        plan: impl FnOnce(Known<'_>) -> Result<Vec<Change>, Problem>,
    ) -> Result<Vec<Numbered>, Problem> {
        let mut follower = self.turn.lock().await;
        let now = service.clock.now();
        let changes = block_in_place(|| plan(Known { state: &self.state(), declared: &self.declared, now }))?;
        let asked = counted::in_question(&self.state(), &changes);
        let gate = match asked.is_empty() {
            true => None,
            false => {
                let gate = service.gate.write().await;
                counted::check(service, &asked).await?;
                Some(gate)
            }
        };
        let before = self.state().revision;
        let numbered: Vec<Numbered> = (before + 1..)
            .zip(changes)
            .map(|(revision, change)| Numbered {
                revision,
                at: now,
                source: actor.source.to_string(),
                recorded: Recorded::new(&actor.token_id, actor.request_id.as_deref(), change),
            })
            .collect();
        let mut taken = Ok(());
        for changes in numbered.chunks(CHANGES_PER_FRAME_MAX) {
            match append(service, changes).await {
                Ok(receipt) => {
                    self.apply(changes);
                    follower.follow(service, changes, receipt.seq.plus(1)).await;
                }
                Err(problem) => {
                    taken = Err(problem);
                    break;
                }
            }
        }
        // What is in the log holds, also where the log refused the rest of a bulk load.
        let done = (self.state().revision - before) as usize;
        if done > 0 {
            block_in_place(|| self.publish(service, &numbered[..done]))?;
        }
        drop(gate);
        taken.map(|()| numbered)
    }

    /// Swaps in the directory of the state.
    fn publish(&self, service: &Service, changes: &[Numbered]) -> Result<(), Problem> {
        let state = self.state();
        let resolved = match changes.iter().any(|c| c.recorded.change.is_of_campaigns()) {
            false => Resolved::of(&service.directory.load()),
            true => {
                let made = campaigns(&state, &service.config, &service.catalog).map_err(|error| {
                    tracing::error!(error = %format!("{error:#}"), "no directory can be made of the metadata");
                    Problem::internal()
                })?;
                Resolved::new(&state, &self.declared, Arc::new(made))
            }
        };
        service.directory.store(Arc::new(table::directory(&state, resolved)));
        Ok(())
    }

    /// Tells the store how far the log has come. Nothing is in flight while it has the turn, so every change before
    /// the log's durable end is in the store.
    async fn forward(&self, service: &Service) {
        let mut follower = self.turn.lock().await;
        follower.follow(service, &[], service.log.durable().seq).await;
    }
}

impl Follower {
    /// Takes over what is in the log. What the store cannot take is told to people, and read from the log later: the
    /// log has decided.
    async fn follow(&mut self, service: &Service, changes: &[Numbered], next: FrameSeq) {
        let followed = match self.behind {
            false => self.sqlite.follow(changes, next).await,
            true => {
                let last = changes.last().map_or_else(|| service.metadata.state().revision, |c| c.revision);
                let catch_up = follow::catch_up(&mut self.sqlite, &*service.log, &service.catalog, last);
                block_in_place(|| tokio::runtime::Handle::current().block_on(catch_up))
            }
        };
        self.behind = followed.is_err();
        if let Err(error) = followed {
            metrics::counter!("adsum_metadata_store_failed_total").increment(1);
            tracing::error!(error = %format!("{error:#}"), "the metadata's store is behind the log");
        }
    }
}

/// Makes a change and comes back when it holds for every request. `plan` says what to change, by the state that it
/// follows on; none is a change that holds already.
async fn make(
    service: &Arc<Service>,
    actor: Actor,
    plan: impl FnOnce(Known<'_>) -> Result<Vec<Change>, Problem> + Send + 'static,
) -> Result<Vec<Numbered>, Problem> {
    let service = service.clone();
    // The task is its own: a client that goes away leaves nothing half done.
    let task = tokio::spawn(async move { service.metadata.run(&service, &actor, plan).await });
    task.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a change of the metadata failed");
        Err(Problem::internal())
    })
}

/// Appends changes as one frame.
async fn append(service: &Service, changes: &[Numbered]) -> Result<Receipt, Problem> {
    let mut decoded = Decoded::default();
    for change in changes {
        change.push(&service.catalog, &mut decoded.batch).map_err(|error| {
            tracing::error!(%error, "a change of the metadata cannot be written");
            Problem::internal()
        })?;
    }
    Projector::new(service.catalog.clone(), service.secret).project_batch(&decoded.batch, &mut decoded.rows);
    service.writer.append(vec![decoded], service.directory.load().revision).await
}

/// Begins to serve: the admin token is good, and the store goes along with the log.
pub async fn begin(service: &Arc<Service>, admin: &AdminToken) -> Result<()> {
    admin.admit(service).await?;
    let service = Arc::downgrade(service);
    tokio::spawn(async move {
        let mut due = tokio::time::interval(Duration::from_secs(FORWARD_SECONDS));
        loop {
            due.tick().await;
            let Some(service) = service.upgrade() else { break };
            service.metadata.forward(&service).await;
        }
    });
    Ok(())
}

/// Ends: the next start has nothing to read, and the store is one file.
pub async fn end(service: &Service) -> Result<()> {
    service.metadata.forward(service).await;
    service.metadata.turn.lock().await.sqlite.settle().await
}
