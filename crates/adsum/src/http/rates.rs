//! Rates: how many requests and events a token may send a second, and how often an address may fail.
//!
//! Invariant: the maps are bounded; one that is full is emptied, which gives everybody a fresh second and nobody
//! more. A refused event or request used up nothing. Not here: who the caller is (auth).

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use hashbrown::HashMap;
use http::StatusCode;

use super::Problem;

/// Tokens and site keys whose rates are kept.
const CALLERS_MAX: usize = 65_536;
/// Addresses whose failures are kept.
const ADDRESSES_MAX: usize = 65_536;
/// A batch of the default size fits into every quota of events: the rest has to wait for it.
const EVENT_BURST_MIN: u32 = 5_000;

/// A rate: so many a second, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate {
    per_second: NonZeroU32,
    burst: NonZeroU32,
}

impl Rate {
    /// A rate of 0 would shut a token out; that is what revoking is for, so the least is 1.
    fn new(per_second: u32, burst: u32) -> Self {
        let least = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        Self { per_second: least(per_second), burst: least(burst.max(per_second)) }
    }

    fn limiter(self) -> DefaultDirectRateLimiter {
        RateLimiter::direct(Quota::per_second(self.per_second).allow_burst(self.burst))
    }
}

/// The limiters of one kind, by who they limit.
struct Limiters<K> {
    most: usize,
    by_key: Mutex<HashMap<K, (Rate, Arc<DefaultDirectRateLimiter>)>>,
}

impl<K: Hash + Eq> Limiters<K> {
    fn new(most: usize) -> Self {
        Self { most, by_key: Mutex::new(HashMap::new()) }
    }

    /// The limiter of `key`; a new one where its rate has changed.
    fn of(&self, key: K, rate: Rate) -> Arc<DefaultDirectRateLimiter> {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, limiter)) = by_key.get(&key).filter(|(r, _)| *r == rate) {
            return limiter.clone();
        }
        if by_key.len() >= self.most {
            by_key.clear();
        }
        let limiter = Arc::new(rate.limiter());
        by_key.insert(key, (rate, limiter.clone()));
        limiter
    }
}

/// Every rate that is kept.
pub struct Rates {
    requests: Limiters<Arc<str>>,
    events: Limiters<Arc<str>>,
    failures: Limiters<IpAddr>,
    failure_rate: Rate,
}

/// How many events its holder may still send: of a token or a site key.
#[derive(Clone)]
pub struct EventQuota(Option<Arc<DefaultDirectRateLimiter>>, u32);

impl Rates {
    /// No rate used up; an address may fail so many times a second.
    pub fn new(failures_per_second: u32) -> Self {
        Self {
            requests: Limiters::new(CALLERS_MAX),
            events: Limiters::new(CALLERS_MAX),
            failures: Limiters::new(ADDRESSES_MAX),
            failure_rate: Rate::new(failures_per_second, failures_per_second),
        }
    }

    /// One request of a token. 429 where it had its share of this second.
    pub fn request(&self, token_id: &Arc<str>, per_second: Option<u32>) -> Result<(), Problem> {
        let Some(per_second) = per_second else { return Ok(()) };
        take(&self.requests.of(token_id.clone(), Rate::new(per_second, per_second)), NonZeroU32::MIN)
    }

    /// The events that a token or a site key, named by its id, may send. `None`: as many as it likes.
    pub fn events(&self, id: &Arc<str>, per_second: Option<u32>) -> EventQuota {
        let Some(per_second) = per_second else { return EventQuota(None, u32::MAX) };
        let rate = Rate::new(per_second, EVENT_BURST_MIN);
        EventQuota(Some(self.events.of(id.clone(), rate)), rate.burst.get())
    }

    /// One refused token of an address. 429 for an address that fails too often; who has a token is not asked here.
    pub fn failed(&self, address: IpAddr) -> Result<(), Problem> {
        take(&self.failures.of(network(address), self.failure_rate), NonZeroU32::MIN)
    }
}

impl EventQuota {
    /// Takes `events` from the quota. 429 with the time to wait where there are not so many left; nothing was taken
    /// then. More than fit at once cost as many as fit.
    pub fn take(&self, events: u32) -> Result<(), Problem> {
        match (&self.0, NonZeroU32::new(events.min(self.1))) {
            (Some(limiter), Some(events)) => take(limiter, events),
            _ => Ok(()),
        }
    }
}

fn take(limiter: &DefaultDirectRateLimiter, cost: NonZeroU32) -> Result<(), Problem> {
    match limiter.check_n(cost) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(not_until)) => Err(limited(not_until.wait_time_from(DefaultClock::default().now()))),
        // No more is asked for than fits at once.
        Err(_) => Err(limited(std::time::Duration::from_secs(1))),
    }
}

fn limited(wait: std::time::Duration) -> Problem {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "more than the quota allows; send it again later")
        .retry_after(u32::try_from(seconds).unwrap_or(u32::MAX).max(1))
}

/// The network that an address is counted as: of IPv6 one has a /64 to itself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_kept() {
        let rates = Rates::new(2);
        let token: Arc<str> = "tk_1".into();
        let refused = |result: Result<(), Problem>| result.err().map(|p| (p.status.as_u16(), p.retry_after_seconds));
        for (per_second, asked, outcome) in [
            (None, vec![1_000_000, 1_000_000], vec![None, None]),
            (Some(10), vec![5_000, 600], vec![None, Some((429, Some(60)))]),
            (Some(6_000), vec![6_000, 12_000], vec![None, Some((429, Some(1)))]),
            (Some(0), vec![1_000_000, 0, 1], vec![None, None, Some((429, Some(1)))]),
        ] {
            let id: Arc<str> = format!("{per_second:?}").into();
            let got: Vec<_> = asked.into_iter().map(|n| refused(rates.events(&id, per_second).take(n))).collect();
            assert_eq!(got, outcome, "{per_second:?}");
        }
        let asked = |per_second| refused(rates.request(&token, per_second));
        assert_eq!((asked(Some(1)), asked(Some(1)), asked(None)), (None, Some((429, Some(1))), None));
        assert_eq!((asked(Some(2)), asked(Some(2))), (None, None), "another rate begins anew");
        let failed = |address: &str| refused(rates.failed(address.parse().unwrap()));
        let limited = Some((429, Some(1)));
        assert_eq!(["::1", "::2", "::3", "1:0:0:1::"].map(failed), [None, None, limited, None]);
        assert_eq!(["10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"].map(failed), [None, None, limited, None]);
    }

    #[test]
    fn a_full_map_is_emptied() {
        let limiters = Limiters::new(2);
        let rate = Rate::new(1, 1);
        let outcomes = [1, 2, 1, 3, 1].map(|key| limiters.of(key, rate).check().is_ok());
        assert_eq!(outcomes, [true, true, false, true, true]);
        assert_eq!(limiters.by_key.lock().unwrap().len(), 2);
    }
}
