//! Request bodies: how they are read, the time that they have, and the memory that all of them together may take.
//!
//! Invariant: a body that does not come in time ends in an error that the server answers with 408; what is read into
//! memory holds a permit for its bytes until it is given back. Not here: how large one body may be (its endpoint).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

use super::Problem;
use crate::clock::Moment;

/// The body did not come in time.
#[derive(Debug)]
struct TooSlow;

impl std::fmt::Display for TooSlow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the body did not come in time")
    }
}

impl std::error::Error for TooSlow {}

/// Says afterwards whether a body was too slow.
#[derive(Clone, Debug, Default)]
pub struct Slowness(Arc<AtomicBool>);

impl Slowness {
    /// Whether the body's time was up before it was whole.
    pub fn was_too_slow(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The answer to it.
    pub fn problem() -> Problem {
        Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            "the request did not come in time; nothing of it was taken, send it again",
        )
    }
}

/// A body that is to be whole within a time, all of it and not each read.
struct Timed {
    inner: Body,
    time: Duration,
    since: Moment,
    /// Set only where something has to be waited for: most bodies come with their heads.
    limit: Option<Pin<Box<Sleep>>>,
    slowness: Slowness,
}

/// Gives a body its time.
pub fn timed(inner: Body, time: Duration, slowness: Slowness) -> Body {
    if inner.is_end_stream() {
        return inner;
    }
    Body::new(Timed { inner, time, since: Moment::now(), limit: None, slowness })
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        let left = self.time.saturating_sub(Duration::from_micros(self.since.elapsed_micros()));
        let limit = self.limit.get_or_insert_with(|| Box::pin(sleep(left)));
        if limit.as_mut().poll(cx).is_ready() {
            self.slowness.0.store(true, Ordering::Relaxed);
            return Poll::Ready(Some(Err(axum::Error::new(TooSlow))));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A header that may stand once: `None` where it stands more often or is no text, `Some(None)` where it is missing.
pub fn only_header<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<Option<&'h str>> {
    let mut all = headers.get_all(name).iter();
    let first = all.next();
    if all.next().is_some() {
        return None;
    }
    first.map_or(Some(None), |value| value.to_str().ok().map(Some))
}

/// Reads a body of at most `bytes_max` bytes into memory of the budget, which `room` makes for so many bytes; what is
/// longer is answered `too_large`. How long that may take is the server's to limit.
pub async fn read_body(
    mut body: Body,
    headers: &HeaderMap,
    bytes_max: usize,
    too_large: impl Fn() -> Problem,
    budget: &BodyBudget,
    room: impl FnOnce(usize) -> Vec<u8>,
) -> Result<(Vec<u8>, BodyPermit), Problem> {
    let declared = only_header(headers, &header::CONTENT_LENGTH).flatten().and_then(|text| text.parse::<usize>().ok());
    if declared.is_some_and(|bytes| bytes > bytes_max) {
        return Err(too_large());
    }
    let permit = budget.acquire(declared.unwrap_or(bytes_max) as u64)?;
    let mut read = room(declared.unwrap_or_default());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            Problem::bad_request("invalid_body", "the body broke off or is framed wrongly; nothing of it was taken")
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > bytes_max {
            return Err(too_large());
        }
        read.extend_from_slice(&data);
    }
    Ok((read, permit))
}

/// Bytes of one permit of the budget.
const UNIT_BYTES: u64 = 1 << 10;

/// The memory that request bodies may take, all requests together; cheap to clone.
#[derive(Clone, Debug)]
pub struct BodyBudget {
    units: Arc<Semaphore>,
    units_max: u32,
}

/// Memory that is taken; given back when dropped.
#[derive(Debug)]
#[must_use = "the memory is given back when the permit is dropped"]
pub struct BodyPermit {
    _units: OwnedSemaphorePermit,
}

impl BodyBudget {
    /// A budget of so many bytes.
    pub fn new(bytes: u64) -> Self {
        let most = Semaphore::MAX_PERMITS.min(u32::MAX as usize) as u64;
        let units_max = (bytes / UNIT_BYTES).clamp(1, most) as u32;
        Self { units: Arc::new(Semaphore::new(units_max as usize)), units_max }
    }

    /// Takes memory for a body, rounded up to KiB. 503 where others have it at the moment; 413 for more than there is
    /// in all.
    pub fn acquire(&self, bytes: u64) -> Result<BodyPermit, Problem> {
        let units = bytes.div_ceil(UNIT_BYTES);
        let Some(units) = u32::try_from(units).ok().filter(|units| *units <= self.units_max) else {
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "the body is larger than the memory for all of them (server.body_memory_bytes); send less at a time",
            ));
        };
        match self.units.clone().try_acquire_many_owned(units) {
            Ok(units) => Ok(BodyPermit { _units: units }),
            Err(_) => Err(Problem::unavailable(
                "overloaded",
                "other requests take the memory for bodies at the moment; nothing of this was taken, send it again",
            )),
        }
    }

    /// Bytes that are taken.
    pub fn taken_bytes(&self) -> u64 {
        (u64::from(self.units_max) - self.units.available_permits() as u64) * UNIT_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_kept() {
        // bytes held, bytes asked for, status of the refusal
        let cases = [
            (0, 0, None),
            (0, 10 << 10, None),
            (0, (10 << 10) + 1, Some(413)),
            (1, 9 << 10, None),
            (1, (9 << 10) + 1, Some(503)),
            (10 << 10, 1, Some(503)),
            (0, u64::MAX, Some(413)),
        ];
        for (held, asked, refused) in cases {
            let budget = BodyBudget::new(10 << 10);
            let permit = budget.acquire(held).unwrap();
            let answer = budget.acquire(asked).map_err(|p| (p.status.as_u16(), p.retry_after_seconds));
            let expected = refused.map(|status| (status, (status == 503).then_some(1)));
            assert_eq!(answer.as_ref().err().copied(), expected, "{held} {asked}");
            drop((permit, answer));
            assert_eq!(budget.taken_bytes(), 0);
        }
    }
}
