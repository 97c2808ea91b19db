//! The desk that every question goes over: how many are answered at a time, how many wait, and of what moment.
//!
//! Answers are made on threads of their own, so that a heavy one holds up neither sockets nor the fold. Invariant: at
//! most so many run and so many wait; one more is told to come again.

use std::sync::Arc;

use adsum_model::id::Revision;
use adsum_model::table::TableIx;
use adsum_model::time::{MICROS_PER_SECOND, ReceivedAt};
use adsum_pipeline::CAMPAIGN_CURRENCIES;
use adsum_store::{BucketRange, KeyFilter};
use anyhow::Result;
use serde_json::{Map, Value, json};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use super::query::{Budget, Complete, each_row};
use super::refused::problem;
use super::request::Scope;
use super::window::TimeZone;
use crate::clock;
use crate::http::{Principal, Problem};
use crate::live::{Snapshot, Want};
use crate::service::Service;

/// Pages that are made at a time.
const PAGES_MAX: usize = 4;
/// Streams of all rows that run at a time. A slow reader holds one.
const STREAMS_MAX: usize = 4;
/// Questions that wait for either.
const WAITING_MAX: usize = 64;
/// Clients that watch what happens.
pub const WATCHERS_MAX: usize = 64;

/// What a page may cost.
pub const PAGE_BUDGET: Budget = Budget { rows_max: 5_000_000, groups_max: 200_000 };
/// What a stream may cost: it holds one bucket's groups, whatever the number of rows.
pub const STREAM_BUDGET: Budget = Budget { rows_max: 200_000_000, groups_max: 200_000 };

/// Leave to work, or to wait for it.
struct Permits {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
}

/// Leave to work, given back when dropped.
pub struct Permit {
    _running: OwnedSemaphorePermit,
    _admitted: OwnedSemaphorePermit,
}

impl Permits {
    fn new(running: usize) -> Self {
        let admitted = Arc::new(Semaphore::new(running + WAITING_MAX));
        Self { running: Arc::new(Semaphore::new(running)), admitted }
    }

    async fn take(&self) -> Result<Permit, Problem> {
        let overloaded = || Problem::unavailable("overloaded", "too many reports wait; ask again in a moment");
        let admitted = self.admitted.clone().try_acquire_owned().map_err(|_| overloaded())?;
        let running = self.running.clone().acquire_owned().await.map_err(|_| overloaded())?;
        Ok(Permit { _running: running, _admitted: admitted })
    }
}

/// The desk.
pub struct Desk {
    /// The service that answers.
    pub service: Arc<Service>,
    complete: OnceCell<Complete>,
    pages: Permits,
    streams: Permits,
    /// Places for clients that watch.
    pub watchers: Arc<Semaphore>,
}

impl Desk {
    /// Over a service.
    pub fn new(service: Arc<Service>) -> Self {
        Self {
            service,
            complete: OnceCell::new(),
            pages: Permits::new(PAGES_MAX),
            streams: Permits::new(STREAMS_MAX),
            watchers: Arc::new(Semaphore::new(WATCHERS_MAX)),
        }
    }

    /// Leave to make a page; 503 where too many wait.
    pub async fn page_permit(&self) -> Result<Permit, Problem> {
        self.pages.take().await
    }

    /// Leave to stream; 503 where too many wait.
    pub async fn stream_permit(&self) -> Result<Permit, Problem> {
        self.streams.take().await
    }

    /// Which tables are complete.
    pub async fn complete(&self) -> Result<&Complete, Problem> {
        let ask = || async {
            let snapshot = self.snapshot(Vec::new(), BucketRange::ALL).await?;
            Ok(Complete::of(&*snapshot.view))
        };
        self.complete.get_or_try_init(ask).await
    }

    /// The state of some tables and buckets at one moment.
    pub async fn snapshot(&self, tables: Vec<TableIx>, range: BucketRange) -> Result<Snapshot, Problem> {
        self.service.live.snapshot(Want { tables, range, quarantine: false }).await
    }

    /// What a token may see of reports over campaigns.
    pub fn scope(&self, principal: &Principal) -> Scope {
        match self.service.directory.load().campaigns_seen(principal) {
            None => Scope::All,
            Some(campaigns) => Scope::Campaigns(campaigns),
        }
    }

    /// 404 for a campaign that is not there, and the same for one that the token may not see. One is there if it is
    /// declared or has events.
    pub async fn check_campaign(&self, principal: &Principal, campaign: &str) -> Result<(), Problem> {
        let directory = self.service.directory.load_full();
        let seen = directory.sees(principal, campaign);
        let declared = directory.declared.contains(campaign) || self.service.config.campaigns.contains_key(campaign);
        if seen && (declared || self.has_events(campaign).await?) {
            return Ok(());
        }
        Err(no_campaign())
    }

    async fn has_events(&self, campaign: &str) -> Result<bool, Problem> {
        let filter = KeyFilter { column: 0, allowed: vec![Some(campaign.to_owned())] };
        let permit = self.page_permit().await?;
        let snapshot = self.snapshot(vec![CAMPAIGN_CURRENCIES], BucketRange::ALL).await?;
        blocking(permit, move || {
            let mut found = false;
            let Snapshot { view, pending, .. } = &snapshot;
            let all = BucketRange::ALL;
            each_row(&**view, pending, CAMPAIGN_CURRENCIES, all, &[filter], Budget::UNBOUNDED, &mut |_| {
                found = true;
                Ok(std::ops::ControlFlow::Break(()))
            })?;
            Ok(found)
        })
        .await
    }
}

/// The answer for a campaign that is not there or may not be seen.
pub fn no_campaign() -> Problem {
    Problem::not_found("there is no such campaign, or none that this token may see")
}

/// Works on a thread of its own, as long as it takes; a request that is dropped does not stop it.
pub async fn blocking<T: Send + 'static>(
    permit: Permit,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T, Problem> {
    let worked = tokio::task::spawn_blocking(move || {
        let result = work();
        drop(permit);
        result
    });
    match worked.await {
        Ok(result) => result.map_err(problem),
        Err(error) => Err(problem(error.into())),
    }
}

/// What an answer stands on.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The last revision that is in it.
    pub revision: Revision,
    /// How old it is: everything durable so long ago is in it.
    pub freshness_seconds: i64,
    /// Up to when events are complete; none before there is a watermark.
    pub complete_through: Option<String>,
}

impl Standing {
    /// Of a snapshot, now.
    pub fn of(snapshot: &Snapshot, now: ReceivedAt) -> Self {
        let watermark = snapshot.clocks.watermark();
        Self {
            revision: snapshot.revision,
            freshness_seconds: (now.micros() - snapshot.fresh_at.micros()).max(0) / MICROS_PER_SECOND,
            complete_through: (watermark.micros() > i64::MIN).then(|| watermark.to_string()),
        }
    }

    /// The same, read off the clock.
    pub fn now(snapshot: &Snapshot) -> Self {
        Self::of(snapshot, clock::now())
    }

    /// As the `meta` of an answer.
    pub fn meta(&self, zone: &TimeZone) -> Map<String, Value> {
        let mut meta = Map::new();
        meta.insert("dataRevision".to_owned(), json!(self.revision.to_string()));
        meta.insert("freshnessSeconds".to_owned(), json!(self.freshness_seconds));
        meta.insert("completeThrough".to_owned(), json!(self.complete_through));
        // Nothing is frozen before there is a lake to reconcile with.
        meta.insert("finalizedThrough".to_owned(), Value::Null);
        meta.insert("sources".to_owned(), json!(["hot"]));
        meta.insert("timeZone".to_owned(), json!(zone.name()));
        meta
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn so_many_work_and_so_many_wait() {
        let permits = Arc::new(Permits::new(1));
        let first = permits.take().await.unwrap();
        let mut waiting = Vec::new();
        for _ in 0..WAITING_MAX {
            let permits = permits.clone();
            waiting.push(tokio::spawn(async move { permits.take().await.map(drop) }));
        }
        while permits.admitted.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = permits.take().await.map(drop).unwrap_err();
        assert_eq!((refused.status.as_u16(), refused.code), (503, "overloaded"));
        assert!(refused.retry_after_seconds.is_some());
        drop(first);
        for one in waiting {
            one.await.unwrap().unwrap();
        }
        assert!(permits.take().await.is_ok());
    }
}
