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
mod turn;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use adsum_log::LogView;
use adsum_model::catalog::Catalog;
use anyhow::{Context, Result};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::task::block_in_place;

pub use admin::AdminToken;
pub use api::router;
pub use state::State;
pub use table::campaigns;

use crate::act::{Act, Action, Actor};
use crate::config::Config;
use crate::directory::Directory;
use crate::http::{Problem, owned};
use crate::service::Service;
use change::{Change, Numbered};
use read::Known;
use sqlite::Sqlite;
use table::{Declared, Resolved};
use turn::Follower;

/// How many changes become one frame of the log.
const CHANGES_PER_FRAME_MAX: usize = 5_000;
/// Who starts and stops.
const SERVER: &str = "server";
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
        let mut turn = self.turn().await;
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
        let numbered = turn.number(actor, now, changes);
        let mut taken = Ok(());
        for changes in numbered.chunks(CHANGES_PER_FRAME_MAX) {
            taken = turn.append(service, changes).await;
            if taken.is_err() {
                break;
            }
        }
        // What is in the log holds, also where the log refused the rest of a bulk load.
        let done = (self.state().revision - before) as usize;
        if done > 0 {
            block_in_place(|| self.publish(service, &numbered[..done]));
        }
        drop(gate);
        taken.map(|()| numbered)
    }

    /// Swaps in the directory of the state, in which these changes are new.
    fn publish(&self, service: &Service, changes: &[Numbered]) {
        let state = self.state();
        let present = service.directory.load();
        let resolved = Resolved::after(&present, changes, &state, &service.catalog);
        service.directory.store(Arc::new(table::directory(&state, resolved)));
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
    owned(async move { service.metadata.run(&service, &actor, plan).await }).await
}

/// Begins to serve at an address: the admin token is good, and the store goes along with the log.
pub async fn begin(service: &Arc<Service>, admin: &AdminToken, address: &str) -> Result<()> {
    admin.admit(service).await?;
    note(service, Action::ServerStart, address).await;
    let service = Arc::downgrade(service);
    tokio::spawn(async move {
        let mut due = tokio::time::interval(Duration::from_secs(FORWARD_SECONDS));
        loop {
            due.tick().await;
            let Some(service) = service.upgrade() else { break };
            service.metadata.turn().await.forward(&service).await;
        }
    });
    Ok(())
}

/// Ends: the next start has nothing to read, and the store is one file.
pub async fn end(service: &Service, address: &str) -> Result<()> {
    note(service, Action::ServerStop, address).await;
    let mut turn = service.metadata.turn().await;
    turn.forward(service).await;
    turn.settle().await
}

/// Records what the service itself did. A log that refuses it holds up neither a start nor an end.
async fn note(service: &Service, action: Action, address: &str) {
    let act = Act::new(action, address, json!({ "version": env!("CARGO_PKG_VERSION") }));
    let noted = service.metadata.turn().await.act(service, &Actor::named(SERVER), act, Vec::new()).await;
    if let Err(problem) = noted {
        tracing::warn!(?action, detail = problem.detail, "the log does not record it");
    }
}
