//! Turns: whoever changes the metadata, or records an act, has one; there is one at a time.
//!
//! Invariant: in a turn the changes get the numbers that they have in the log, and the store has followed before the
//! next turn begins. A turn is taken before the gate, never while it is held.

use adsum_model::id::FrameSeq;
use adsum_model::rows::Projector;
use adsum_model::time::ReceivedAt;
use adsum_model::wire::Decoded;
use anyhow::Result;
use tokio::sync::MutexGuard;
use tokio::task::block_in_place;

use super::change::{Change, Numbered, Recorded};
use super::{Metadata, follow};
use crate::act::{Act, Actor};
use crate::http::Problem;
use crate::service::Service;
use crate::writer::Receipt;

use super::sqlite::Sqlite;

/// The store, which follows the log.
pub(super) struct Follower {
    pub(super) sqlite: Sqlite,
    /// A change is in the log and not in the store: it is read from there before anything else is stored.
    pub(super) behind: bool,
}

/// A turn. It belongs into a task that runs to its end: what is in the log must be followed.
pub struct Turn<'a> {
    metadata: &'a Metadata,
    follower: MutexGuard<'a, Follower>,
}

impl Metadata {
    /// Takes the turn when it is free.
    pub async fn turn(&self) -> Turn<'_> {
        Turn { metadata: self, follower: self.turn.lock().await }
    }
}

impl Turn<'_> {
    /// Records an act, in one frame with the records that it consists of: both are in the log, or neither.
    pub async fn act(
        &mut self,
        service: &Service,
        actor: &Actor,
        act: Act,
        mut parts: Vec<Decoded>,
    ) -> Result<Receipt, Problem> {
        let act = self.number(actor, service.clock.now(), vec![Change::Act(act)]);
        parts.push(records(service, &act)?);
        let receipt = service.writer.append_alone(parts, service.directory.load().revision).await?;
        self.take(service, &act, receipt).await;
        Ok(receipt)
    }

    /// Appends changes as one frame, and takes them in.
    pub(super) async fn append(&mut self, service: &Service, changes: &[Numbered]) -> Result<(), Problem> {
        let records = records(service, changes)?;
        let receipt = service.writer.append(vec![records], service.directory.load().revision).await?;
        self.take(service, changes, receipt).await;
        Ok(())
    }

    /// The numbers that changes will have in the log.
    pub(super) fn number(&self, actor: &Actor, at: ReceivedAt, changes: Vec<Change>) -> Vec<Numbered> {
        let before = self.metadata.state().revision;
        let numbered = (before + 1..).zip(changes).map(|(revision, change)| Numbered {
            revision,
            at,
            source: actor.source.to_string(),
            recorded: Recorded::new(&actor.token_id, actor.request_id.as_deref(), change),
        });
        numbered.collect()
    }

    async fn take(&mut self, service: &Service, changes: &[Numbered], receipt: Receipt) {
        self.metadata.apply(changes);
        self.follower.follow(service, changes, receipt.seq.plus(1)).await;
    }

    /// Tells the store how far the log has come. Nothing is in flight while it has the turn, so every change before
    /// the log's durable end is in the store.
    pub(super) async fn forward(&mut self, service: &Service) {
        self.follower.follow(service, &[], service.log.durable().seq).await;
    }

    /// Makes the store one file.
    pub(super) async fn settle(&mut self) -> Result<()> {
        self.follower.sqlite.settle().await
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

/// The records of changes.
fn records(service: &Service, changes: &[Numbered]) -> Result<Decoded, Problem> {
    let mut decoded = Decoded::default();
    for change in changes {
        change.push(&service.catalog, &mut decoded.batch).map_err(|error| {
            tracing::error!(%error, "a change of the metadata cannot be written");
            Problem::internal()
        })?;
    }
    Projector::new(service.catalog.clone(), service.secret).project_batch(&decoded.batch, &mut decoded.rows);
    Ok(decoded)
}
