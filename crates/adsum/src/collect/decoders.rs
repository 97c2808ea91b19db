//! The decoders that wait for requests, all bound to one table of campaigns.
//!
//! Invariant: a decoder is lent out for the campaigns that the request was given, or made for them; those of an older
//! table are dropped. Not here: decoding (adsum-model).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adsum_model::campaigns::Campaigns;
use adsum_model::catalog::Catalog;
use adsum_model::hash::Secret;
use adsum_model::rows::Projector;
use adsum_model::wire::Decoder;

/// How many decoders wait at most; more than so many requests at once make their own.
const IDLE_MAX: usize = 16;

/// A decoder, and what makes rows anew of records that were changed.
pub struct Worker {
    /// The decoder.
    pub decoder: Decoder,
    /// The projector.
    pub projector: Projector,
}

/// The pool.
pub struct Decoders {
    catalog: Arc<Catalog>,
    secret: Secret,
    idle: Mutex<Idle>,
}

struct Idle {
    campaigns: Arc<Campaigns>,
    workers: Vec<Worker>,
}

impl Decoders {
    /// An empty pool.
    pub fn new(catalog: Arc<Catalog>, secret: Secret, campaigns: Arc<Campaigns>) -> Self {
        Self { catalog, secret, idle: Mutex::new(Idle { campaigns, workers: Vec::new() }) }
    }

    /// Does `work` with a decoder for these campaigns.
    pub fn with<R>(&self, campaigns: &Arc<Campaigns>, work: impl FnOnce(&mut Worker) -> R) -> R {
        let mut worker = self.take(campaigns);
        let result = work(&mut worker);
        let mut idle = self.idle();
        if Arc::ptr_eq(&idle.campaigns, campaigns) && idle.workers.len() < IDLE_MAX {
            idle.workers.push(worker);
        }
        result
    }

    fn take(&self, campaigns: &Arc<Campaigns>) -> Worker {
        let mut idle = self.idle();
        if !Arc::ptr_eq(&idle.campaigns, campaigns) {
            idle.campaigns = campaigns.clone();
            idle.workers.clear();
        }
        let waiting = idle.workers.pop();
        drop(idle);
        waiting.unwrap_or_else(|| Worker {
            decoder: Decoder::new(self.catalog.clone(), campaigns.clone(), self.secret),
            projector: Projector::new(self.catalog.clone(), self.secret),
        })
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
