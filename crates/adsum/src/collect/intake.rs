//! The way from a body to a receipt, for every endpoint that takes events.
//!
//! Invariant: events are resolved by one directory and appended under its revision; what was submitted goes on whoever
//! waits for it. Not here: HTTP (events, pixel, click) and the log (writer).

use std::num::NonZeroUsize;
use std::sync::Arc;

use adsum_model::record::Stream;
use adsum_model::wire::{BodyCode, BodyError, Decoded, Intake};
use http::StatusCode;
use tokio::sync::Semaphore;

use super::answer::Outcome;
use super::body::{Decompressor, Format};
use super::decoders::Decoders;
use super::idempotency::Keys;
use super::privacy;
use crate::config::IpPolicy;
use crate::directory::Directory;
use crate::http::{EventQuota, Problem};
use crate::service::Service;
use crate::writer::Appending;

/// Work on more bytes than this, about a millisecond of it, leaves the threads that carry sockets.
const INLINE_BYTES_MAX: usize = 1 << 20;
/// So many events of a request tell the clock in a doubt what time it is.
const SENDERS_ASKED_MAX: usize = 32;

/// What the endpoints share.
pub struct Collector {
    /// The running service.
    pub service: Arc<Service>,
    /// Idempotency keys.
    pub keys: Arc<Keys>,
    /// Takes bodies out of their encodings.
    pub decompressor: Decompressor,
    decoders: Decoders,
    /// Work aside goes on for as many requests at once as there are cores: more would only take each other's caches.
    places: Arc<Semaphore>,
    future_micros: i64,
    events_max: usize,
    ip: IpPolicy,
}

/// Events on their way into the log.
pub struct Submitted {
    /// What became of them.
    pub outcome: Outcome,
    /// Comes back when they are durable.
    pub appending: Appending,
}

impl Collector {
    /// Of a service.
    pub fn new(service: Arc<Service>) -> Self {
        let campaigns = service.directory.load().campaigns.clone();
        Self {
            decoders: Decoders::new(service.catalog.clone(), service.secret, campaigns),
            keys: Arc::default(),
            places: Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(1, NonZeroUsize::get))),
            decompressor: Decompressor::new(service.config.collect.body_bytes_max()),
            future_micros: service.config.rules().future_micros,
            events_max: service.config.collect.events_max(),
            ip: service.config.privacy.ip,
            service,
        }
    }

    /// Decodes a text and hands its events to the writer. `quota` is the sender's.
    pub async fn submit(
        self: &Arc<Self>,
        format: Format,
        text: Vec<u8>,
        source: &str,
        quota: &EventQuota,
    ) -> Result<Submitted, Problem> {
        // From the directory to the writer's queue no change of what is fixed once counted may come in between.
        let _gate = self.service.gate.read().await;
        let directory = self.service.directory.load_full();
        let revision = directory.revision;
        let (collector, source) = (self.clone(), source.to_owned());
        let bytes = text.len();
        let decoded = self.aside(bytes, move || collector.decode(format, text, &source, &directory)).await??;
        let line = self.service.live.line();
        let outcome = Outcome::of(&decoded, &self.service.catalog, line, self.future_micros);
        quota.take(u32::try_from(outcome.events()).unwrap_or(u32::MAX))?;
        self.tell_clock(&decoded);
        let appending = self.service.writer.submit(vec![decoded], revision)?;
        Ok(Submitted { outcome, appending })
    }

    fn decode(&self, format: Format, text: Vec<u8>, source: &str, directory: &Directory) -> Result<Decoded, Problem> {
        let intake = Intake {
            source: self.service.catalog.symbols().intern(source.as_bytes()),
            stream: Stream::Live,
            received_at: self.service.clock.now(),
        };
        if format == Format::Lines {
            check_lines(&text, self.events_max)?;
        }
        let mut decoded = self.service.writer.spares().decoded(text.len());
        self.decoders.with(&directory.campaigns, |worker| {
            match format {
                Format::Array => worker
                    .decoder
                    .decode_array(text, self.events_max, &intake, &mut decoded)
                    .map_err(|error| refused(&error, self.events_max))?,
                Format::Lines => worker.decoder.decode_lines(text, &intake, &mut decoded),
            }
            privacy::apply(self.ip, &self.service.catalog, &mut worker.projector, &mut decoded);
            Ok(decoded)
        })
    }

    /// Does work on so many bytes: where it stands, or aside where it would hold up others.
    pub async fn aside<R: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, Problem> {
        if bytes <= INLINE_BYTES_MAX {
            return Ok(work());
        }
        // The semaphore is never closed.
        let place = self.places.clone().acquire_owned().await;
        let work = move || {
            let result = work();
            drop(place);
            result
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| {
            tracing::error!(%error, "decoding a request failed");
            Problem::internal()
        })
    }

    /// In a doubt the senders' times say which clock is right.
    fn tell_clock(&self, decoded: &Decoded) {
        if self.service.clock.is_in_doubt() {
            for row in decoded.rows.events.iter().take(SENDERS_ASKED_MAX) {
                self.service.clock.sender(row.occurred_at, row.received_at);
            }
        }
    }
}

/// Lines are counted before anything is made of them.
fn check_lines(text: &[u8], events_max: usize) -> Result<(), Problem> {
    let is_blank = |line: &[u8]| line.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r'));
    let (mut lines, mut start) = (0, 0);
    for end in memchr::memchr_iter(b'\n', text).chain([text.len()]) {
        lines += usize::from(!is_blank(&text[start..end]));
        start = end + 1;
        if lines > events_max {
            return Err(too_many(events_max));
        }
    }
    if lines == 0 { Err(no_events()) } else { Ok(()) }
}

fn refused(error: &BodyError, events_max: usize) -> Problem {
    let detail = match error.code {
        BodyCode::NoEvents => return no_events(),
        BodyCode::TooManyEvents => return too_many(events_max),
        BodyCode::InvalidJson => format!("no JSON from byte {} on; nothing of the request was taken", error.at),
        BodyCode::NotAnObject => "the body is an object with one member: {\"events\":[...]}".to_owned(),
        BodyCode::InvalidType => "events is an array".to_owned(),
        BodyCode::UnknownField => "the body has one member, events; what is said of an event stands in it".to_owned(),
        BodyCode::DuplicateField => "events stands twice".to_owned(),
    };
    let problem = Problem::bad_request(error.code.name(), detail);
    if error.param.is_empty() { problem } else { problem.about(error.param.clone()) }
}

fn no_events() -> Problem {
    Problem::bad_request(BodyCode::NoEvents.name(), "there are no events in the request").about("events")
}

fn too_many(events_max: usize) -> Problem {
    let detail = format!("a request has at most {events_max} events");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, BodyCode::TooManyEvents.name(), detail).about("events")
}
