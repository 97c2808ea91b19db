//! The clocks and the randomness of the process: the only place where they are read.
//!
//! [`IntakeClock`] stamps receivedAt. Invariant: a wall clock that jumps moves nothing by itself: the jump begins a
//! doubt, and until it ends time goes on by the monotonic clock.

#![allow(clippy::disallowed_methods, reason = "this is the place that the lint points to")]
#![allow(clippy::float_arithmetic, reason = "seconds of a measurement, never of an event")]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use adsum_model::time::{EventTime, MICROS_PER_SECOND, ReceivedAt};
use ulid::Ulid;

/// The wall clock.
pub fn now() -> ReceivedAt {
    let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_micros() as i64,
        Err(before) => -(before.duration().as_micros() as i64),
    };
    ReceivedAt::from_micros(micros)
}

/// Random bytes of the operating system.
pub fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("the operating system gives no random bytes: {e}"))?;
    Ok(bytes)
}

/// The last id given out.
static LAST_ULID: Mutex<Option<Ulid>> = Mutex::new(None);

/// An id that sorts by its time, as text: 48 bits of milliseconds and 80 random ones, of which those of one millisecond
/// are counted up from the first, so that not every id asks the operating system (the ULID specification, both).
pub fn ulid(at: ReceivedAt) -> anyhow::Result<String> {
    let milliseconds = u64::try_from(at.micros() / 1000).unwrap_or_default();
    let mut last = LAST_ULID.lock().unwrap_or_else(PoisonError::into_inner);
    let counted = last.filter(|last| last.timestamp_ms() == milliseconds).and_then(|last| last.increment().ok());
    let id = match counted {
        Some(id) => id,
        None => Ulid::from_parts(milliseconds, u128::from_le_bytes(random()?)),
    };
    *last = Some(id);
    Ok(id.to_string())
}

/// Microseconds as seconds, for a measurement.
pub fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

/// A moment of the monotonic clock, to measure from.
#[derive(Clone, Copy, Debug)]
pub struct Moment(Instant);

impl Moment {
    /// Now.
    pub fn now() -> Self {
        Self(Instant::now())
    }

    /// Microseconds since.
    pub fn elapsed_micros(self) -> u64 {
        self.0.elapsed().as_micros() as u64
    }

    /// Microseconds from an earlier moment to this one.
    pub fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_duration_since(earlier.0).as_micros() as u64
    }

    /// Seconds since, for a measurement.
    pub fn elapsed_seconds(self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// Wall and monotonic clock may part by so much.
const DRIFT_MICROS_MAX: i64 = 5 * 60 * MICROS_PER_SECOND;
/// A start may find the wall so far from the last record.
const START_MICROS_MAX: i64 = 86_400 * MICROS_PER_SECOND;
/// So many events are asked whether they agree with a clock.
const SENDERS_ASKED: usize = 20;

/// What became of a doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoubtChange {
    /// It began: a clock jumped, or a start found another day.
    Begun,
    /// The senders' times agree again.
    Ended,
    /// An operator confirmed the wall clock.
    Confirmed,
}

/// The clock that stamps receivedAt.
pub struct IntakeClock {
    began: Instant,
    doubt: Mutex<Doubt>,
}

/// The state of the clock, with readings as arguments. All in microseconds.
#[derive(Debug)]
struct Doubt {
    /// What is added to the wall clock; not 0 after a doubt that the senders ended in favour of the other clock.
    offset: i64,
    /// The last stamp, and the monotonic clock then.
    last: (i64, i64),
    /// A stamp by the wall and the monotonic clock then, when both were last known to agree: they part from here, in one
    /// jump or in many.
    agreed: (i64, i64),
    in_doubt: bool,
    /// Of the last events: how far the sender's time was from the stamp.
    senders: Vec<i64>,
    /// What the log has not been told yet.
    change: Option<DoubtChange>,
}

impl Doubt {
    fn start(wall: i64, mono: i64, last_record: Option<i64>, in_doubt: bool) -> Self {
        let far = last_record.is_some_and(|last| (wall - last).abs() > START_MICROS_MAX);
        let begins = far && !in_doubt;
        Self {
            offset: 0,
            last: (wall, mono),
            agreed: (wall, mono),
            in_doubt: in_doubt || far,
            senders: Vec::new(),
            change: begins.then_some(DoubtChange::Begun),
        }
    }

    /// The stamp for now. Jumps of the wall clock begin a doubt.
    fn now(&mut self, wall: i64, mono: i64) -> i64 {
        let going_on = self.last.0 + (mono - self.last.1);
        let by_wall = wall + self.offset;
        let parted = (by_wall - (self.agreed.0 + (mono - self.agreed.1))).abs() > DRIFT_MICROS_MAX;
        if parted && !self.in_doubt {
            self.in_doubt = true;
            self.senders.clear();
            self.change = Some(DoubtChange::Begun);
        }
        let now = if self.in_doubt { going_on } else { by_wall };
        self.last = (now, mono);
        now
    }

    /// Takes in how far a sender's time is from the stamp; enough that agree with one clock end the doubt.
    fn sender(&mut self, occurred_at: i64, received_at: i64, wall: i64, mono: i64) {
        if !self.in_doubt {
            return;
        }
        self.senders.push(occurred_at - received_at);
        if self.senders.len() < SENDERS_ASKED {
            return;
        }
        let going_on = self.last.0 + (mono - self.last.1);
        let agree = |with: i64| {
            let near = self.senders.iter().filter(|s| (**s - with).abs() <= DRIFT_MICROS_MAX).count();
            near * 2 > SENDERS_ASKED
        };
        // Where both clocks are near the senders the wall is right: no offset is kept for nothing.
        let ended = if agree(wall - going_on) {
            self.offset = 0;
            self.last = (wall, mono);
            true
        } else if agree(0) {
            self.offset = going_on - wall;
            true
        } else {
            false
        };
        self.senders.clear();
        if ended {
            self.agreed = (wall + self.offset, mono);
            self.in_doubt = false;
            self.change = Some(DoubtChange::Ended);
        }
    }

    /// The wall is right: says whether there was a doubt.
    fn confirm(&mut self, wall: i64, mono: i64) -> bool {
        let was = self.in_doubt || self.offset != 0;
        (self.offset, self.last, self.agreed, self.in_doubt) = (0, (wall, mono), (wall, mono), false);
        if was {
            self.change = Some(DoubtChange::Confirmed);
        }
        was
    }
}

impl IntakeClock {
    /// Goes by the wall clock. `last_record` is when the last record of the log was appended; `in_doubt` whether the
    /// log says that a doubt has not ended.
    pub fn start(last_record: Option<ReceivedAt>, in_doubt: bool) -> Self {
        let doubt = Doubt::start(now().micros(), 0, last_record.map(ReceivedAt::micros), in_doubt);
        Self { began: Instant::now(), doubt: Mutex::new(doubt) }
    }

    fn doubt(&self) -> MutexGuard<'_, Doubt> {
        self.doubt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mono(&self) -> i64 {
        self.began.elapsed().as_micros() as i64
    }

    /// The stamp for what is taken in now.
    pub fn now(&self) -> ReceivedAt {
        ReceivedAt::from_micros(self.doubt().now(now().micros(), self.mono()))
    }

    /// Takes in a live event's times: in a doubt the senders say which clock is right.
    pub fn sender(&self, occurred_at: EventTime, received_at: ReceivedAt) {
        self.doubt().sender(occurred_at.micros(), received_at.micros(), now().micros(), self.mono());
    }

    /// Whether the clock is in doubt.
    pub fn is_in_doubt(&self) -> bool {
        self.doubt().in_doubt
    }

    /// An operator's word that the wall clock is right; says whether there was a doubt.
    pub(crate) fn confirm(&self) -> bool {
        self.doubt().confirm(now().micros(), self.mono())
    }

    /// The stamp for a frame and what the log has to be told before its records: as of one moment, so that a frame that
    /// ends a doubt is not stamped by the clock that was wrong.
    pub(crate) fn frame(&self) -> (ReceivedAt, Option<DoubtChange>) {
        let (wall, mono) = (now().micros(), self.mono());
        let mut doubt = self.doubt();
        let at = ReceivedAt::from_micros(doubt.now(wall, mono));
        (at, doubt.change.take())
    }

    /// The log was not told after all; what changed in the meantime is the later word.
    pub(crate) fn put_back(&self, change: DoubtChange) {
        self.doubt().change.get_or_insert(change);
    }
}

#[cfg(test)]
mod histories;

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60 * MICROS_PER_SECOND;
    const DAY: i64 = 1440 * MINUTE;

    #[test]
    fn a_jump_begins_a_doubt_and_time_goes_on() {
        // wall jumps by, in doubt then, stamp against the time that really passed
        for (jump, in_doubt, off) in
            [(0, false, 0), (4 * MINUTE, false, 4 * MINUTE), (60 * MINUTE, true, 0), (-365 * DAY, true, 0)]
        {
            let mut clock = Doubt::start(100 * DAY, 0, None, false);
            assert_eq!(clock.now(100 * DAY + MINUTE, MINUTE), 100 * DAY + MINUTE);
            assert_eq!(clock.now(100 * DAY + 2 * MINUTE + jump, 2 * MINUTE), 100 * DAY + 2 * MINUTE + off, "{jump}");
            assert_eq!((clock.in_doubt, clock.change.is_some()), (in_doubt, in_doubt), "{jump}");
        }
    }

    #[test]
    fn many_small_jumps_are_one_large_one() {
        // two jumps of so much, with minutes between them
        for (jump, in_doubt) in [(2 * MINUTE, false), (4 * MINUTE, true), (-4 * MINUTE, true)] {
            let mut clock = Doubt::start(100 * DAY, 0, None, false);
            assert_eq!(clock.now(100 * DAY + MINUTE + jump, MINUTE), 100 * DAY + MINUTE + jump);
            let next = clock.now(100 * DAY + 9 * MINUTE + 2 * jump, 9 * MINUTE);
            let off = if in_doubt { jump } else { 2 * jump };
            assert_eq!((next, clock.in_doubt), (100 * DAY + 9 * MINUTE + off, in_doubt), "{jump}");
        }
    }

    #[test]
    fn the_senders_end_a_doubt_in_favour_of_the_clock_that_they_agree_with() {
        // the senders' times against the time that really passed; whether the doubt ends, and the stamp then
        for (senders, ends, off) in [(0, true, 0), (60 * MINUTE, true, 60 * MINUTE), (30 * MINUTE, false, 0)] {
            let mut clock = Doubt::start(DAY, 0, None, false);
            let at = clock.now(DAY + 61 * MINUTE, MINUTE);
            assert_eq!((at, clock.change.take()), (DAY + MINUTE, Some(DoubtChange::Begun)));
            for _ in 0..SENDERS_ASKED {
                clock.sender(DAY + MINUTE + senders, at, DAY + 61 * MINUTE, MINUTE);
            }
            assert_eq!((clock.in_doubt, clock.change.take()), (!ends, ends.then_some(DoubtChange::Ended)), "{senders}");
            assert_eq!(clock.now(DAY + 62 * MINUTE, 2 * MINUTE), DAY + 2 * MINUTE + off, "{senders}");
            assert_eq!(clock.in_doubt, !ends);
        }
    }

    #[test]
    fn a_start_on_another_day_doubts_and_an_operator_confirms() {
        for (last, in_doubt, doubts, begun) in [
            (None, false, false, false),
            (Some(9 * DAY + MINUTE), false, false, false),
            (Some(9 * DAY - MINUTE), false, true, true),
            (Some(11 * DAY + MINUTE), false, true, true),
            (Some(10 * DAY), true, true, false),
        ] {
            let mut clock = Doubt::start(10 * DAY, 0, last, in_doubt);
            assert_eq!((clock.in_doubt, clock.change.take().is_some()), (doubts, begun), "{last:?}");
            // By the wall at a start.
            assert_eq!(clock.now(10 * DAY + MINUTE, MINUTE), 10 * DAY + MINUTE);
            assert_eq!(clock.confirm(10 * DAY + MINUTE, MINUTE), doubts);
            assert_eq!((clock.in_doubt, clock.change.is_some()), (false, doubts));
        }
    }
}
