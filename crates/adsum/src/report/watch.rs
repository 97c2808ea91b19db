//! `GET /v1/events/stream`: what happens, as server-sent events.
//!
//! Invariant: a client is told of everything at most four times a second, and one that falls behind is told how much it
//! missed; it never holds anybody up. The stream ends when the service stops.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use adsum_model::ledger::{LedgerColumn, LedgerCounts};
use adsum_model::time::ReceivedAt;
use axum::extract::{RawQuery, State};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::Stream;
use serde_json::{Map, Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::desk::{Desk, WATCHERS_MAX};
use super::params::Params;
use super::refused::problem;
use crate::http::{Problem, Stopping};
use crate::live::Update;

/// Between two tellings.
const PAUSE: Duration = Duration::from_millis(250);
/// A word so often where nothing happens, so that nobody in between closes the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The columns of the ledger that are told.
const TOLD: [LedgerColumn; 6] = [
    LedgerColumn::Received,
    LedgerColumn::Accepted,
    LedgerColumn::Rejected,
    LedgerColumn::Counted,
    LedgerColumn::Duplicates,
    LedgerColumn::Quarantined,
];

/// Tells what is folded from now on.
pub async fn events(
    State(desk): State<Arc<Desk>>,
    RawQuery(query): RawQuery,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    Params::parse(query.as_deref()).and_then(|params| params.finish("none")).map_err(problem)?;
    let place = desk.watchers.clone().try_acquire_owned().map_err(|_| {
        let detail = format!("{WATCHERS_MAX} clients watch already; ask again when one has left");
        Problem::unavailable("too_many_watchers", detail).retry_after(5)
    })?;
    let watcher = Watcher {
        updates: desk.service.live.updates(),
        stopping: desk.service.guard.stopping.clone(),
        told: VecDeque::new(),
        begun: false,
        complete_through: None,
        _place: place,
    };
    let stream = futures_util::stream::unfold(watcher, |mut watcher| async move {
        let event = watcher.next().await?;
        Some((Ok(event), watcher))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// One client.
struct Watcher {
    updates: Receiver<Arc<Update>>,
    stopping: Stopping,
    /// What is to be told next.
    told: VecDeque<Event>,
    begun: bool,
    /// The watermark that it was told last.
    complete_through: Option<String>,
    _place: OwnedSemaphorePermit,
}

/// What happened since the last telling.
#[derive(Default)]
struct Happened {
    counts: BTreeMap<String, LedgerCounts>,
    last: Option<Arc<Update>>,
    missed: u64,
}

impl Happened {
    fn take(&mut self, update: Arc<Update>) {
        for (source, counts) in &update.counts {
            self.counts.entry(source.clone()).or_default().merge(counts);
        }
        self.last = Some(update);
    }
}

impl Watcher {
    /// The next event; none when the service stops.
    async fn next(&mut self) -> Option<Event> {
        while self.told.is_empty() {
            let stopping = self.stopping.clone();
            tokio::select! {
                _ = stopping.begun() => return None,
                happened = self.happened() => self.told = self.tell(happened?),
            }
        }
        self.told.pop_front()
    }

    /// Waits for the pause to be over and something to happen, and takes all that has.
    async fn happened(&mut self) -> Option<Happened> {
        if self.begun {
            tokio::time::sleep(PAUSE).await;
        }
        self.begun = true;
        let mut happened = Happened::default();
        match self.updates.recv().await {
            Ok(update) => happened.take(update),
            Err(RecvError::Lagged(missed)) => happened.missed += missed,
            Err(RecvError::Closed) => return None,
        }
        loop {
            match self.updates.try_recv() {
                Ok(update) => happened.take(update),
                Err(TryRecvError::Lagged(missed)) => happened.missed += missed,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return Some(happened),
            }
        }
    }

    fn tell(&mut self, happened: Happened) -> VecDeque<Event> {
        let mut told = Vec::new();
        if happened.missed > 0 {
            told.push(("missed", json!({ "updates": happened.missed })));
        }
        let at = happened.last.as_ref().map(|u| u.appended_at);
        told.extend(ingest(&happened.counts, at).map(|data| ("ingest", data)));
        if let Some(last) = happened.last {
            let revision = last.revision.to_string();
            told.push(("revision", json!({ "dataRevision": revision, "appendedAt": last.appended_at.to_string() })));
            if last.complete_through != self.complete_through {
                self.complete_through.clone_from(&last.complete_through);
                told.push(("watermark", json!({ "completeThrough": last.complete_through })));
            }
        }
        told.into_iter().map(|(name, data)| Event::default().event(name).data(data.to_string())).collect()
    }
}

/// What became of events, by source; none where nothing came.
fn ingest(counts: &BTreeMap<String, LedgerCounts>, at: Option<ReceivedAt>) -> Option<Value> {
    let came = |counts: &&LedgerCounts| TOLD.iter().any(|c| counts.get(*c) != 0);
    let sources = counts.iter().filter(|(_, counts)| came(counts)).map(|(source, counts)| {
        let columns = TOLD.iter().map(|c| (c.name().to_owned(), json!(counts.get(*c))));
        let mut object: Map<String, Value> = columns.collect();
        object.insert("source".to_owned(), json!(source));
        Value::Object(object)
    });
    let sources: Vec<Value> = sources.collect();
    (!sources.is_empty()).then(|| json!({ "sources": sources, "appendedAt": at.map(|at| at.to_string()) }))
}

#[cfg(test)]
mod tests {
    use adsum_model::id::Revision;
    use tokio::sync::{Semaphore, broadcast};

    use super::*;

    fn update(revision: u64, counted: i64) -> Arc<Update> {
        let mut counts = LedgerCounts::default();
        counts.add(LedgerColumn::Received, counted);
        counts.add(LedgerColumn::Accepted, counted);
        counts.add(LedgerColumn::Counted, counted);
        let counts = if counted > 0 { vec![("web".to_owned(), counts)] } else { Vec::new() };
        let (revision, appended_at) = (Revision::new(revision), ReceivedAt::from_micros(0));
        Arc::new(Update { revision, appended_at, counts, complete_through: Some("2026-11-21T08:00:00Z".to_owned()) })
    }

    async fn watcher(updates: &broadcast::Sender<Arc<Update>>, stopping: Stopping) -> Watcher {
        Watcher {
            updates: updates.subscribe(),
            stopping,
            told: VecDeque::new(),
            begun: false,
            complete_through: None,
            _place: Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap(),
        }
    }

    /// The events of one telling, as Debug shows their text.
    async fn telling(watcher: &mut Watcher) -> Vec<String> {
        let mut events = vec![watcher.next().await.unwrap()];
        events.extend(std::mem::take(&mut watcher.told));
        events.iter().map(|e| format!("{e:?}")).collect()
    }

    #[tokio::test]
    async fn what_happens_between_two_tellings_is_told_as_one() {
        let (updates, _) = broadcast::channel(4);
        let (_stop, stopping) = Stopping::new();
        let mut watcher = watcher(&updates, stopping).await;
        for (revision, counted) in [(1, 2), (2, 3), (3, 0)] {
            updates.send(update(revision, counted)).unwrap();
        }
        let first = telling(&mut watcher).await;
        assert_eq!(first.len(), 3, "{first:?}");
        assert!(first[0].contains("counted\\\":5"), "{first:?}");
        assert!(first[1].contains("rev_3") && first[2].contains("completeThrough"), "{first:?}");
        // Nothing came and the watermark stands still: a revision alone.
        updates.send(update(4, 0)).unwrap();
        let second = telling(&mut watcher).await;
        assert!(second.len() == 1 && second[0].contains("rev_4"), "{second:?}");
        // More than are kept.
        for revision in 5..=10 {
            updates.send(update(revision, 1)).unwrap();
        }
        let third = telling(&mut watcher).await;
        assert!(third[0].contains("missed") && third[0].contains("updates\\\":2"), "{third:?}");
        assert!(third[1].contains("counted\\\":4"), "{third:?}");
    }

    #[tokio::test]
    async fn it_ends_when_the_service_stops() {
        let (updates, _) = broadcast::channel(4);
        let (stop, stopping) = Stopping::new();
        let mut watcher = watcher(&updates, stopping).await;
        let ended = tokio::spawn(async move { watcher.next().await.is_none() });
        stop.send(true).unwrap();
        assert!(ended.await.unwrap());
        drop(updates);
    }
}
