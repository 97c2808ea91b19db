//! Drawn histories of a wall clock that jumps by minutes, hours and years, both ways, while the process runs and while
//! it does not, with senders of whom some lie, and an operator who confirms.
//!
//! Invariant: the shipped clock and the engine's watermark, told by records as the writer tells it, never let
//! `completeThrough` run ahead of the true time by more than [`AHEAD_MAX`]; the same histories without the rules of the
//! clock doubt do. Not here: a start that finds the wall wrong by less than a day, which nothing notices.

#![allow(clippy::print_stdout, reason = "a proof prints what it proved")]

use adsum_engine::{Clocks, Rules, Seen};
use adsum_model::symbol::Symbol;

use super::*;

const SECOND: i64 = MICROS_PER_SECOND;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;
const STEPS: usize = 80;
/// Senders that agree with a clock may be this far from it, and it may part so far again before anyone notices.
const AHEAD_MAX: i64 = 2 * DRIFT_MICROS_MAX;

struct Random(u64);

impl Random {
    /// A number below `bound` (splitmix64).
    fn below(&mut self, bound: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as i64
    }

    fn pick(&mut self, of: &[i64]) -> i64 {
        of[self.below(of.len() as i64) as usize]
    }
}

/// One process on one machine. All in microseconds.
struct Machine {
    random: Random,
    /// The true time, the true time when the monotonic clock began, and how far the wall is off.
    now: i64,
    booted: i64,
    error: i64,
    clock: Doubt,
    /// Whether the rules of the clock doubt hold; without them stamps are the wall's.
    rules_hold: bool,
    clocks: Clocks,
    last_record: i64,
    doubts: u64,
}

impl Machine {
    fn new(seed: u64, rules_hold: bool) -> Self {
        let now = 100 * YEAR;
        Self {
            random: Random(seed),
            now,
            booted: now,
            error: 0,
            clock: Doubt::start(now, 0, None, false),
            rules_hold,
            clocks: Clocks::restore(Rules::default(), &[], false),
            last_record: now,
            doubts: 0,
        }
    }

    fn wall(&self) -> i64 {
        self.now + self.error
    }

    fn mono(&self) -> i64 {
        self.now - self.booted
    }

    fn stamp(&mut self) -> i64 {
        if self.rules_hold { self.clock.now(self.wall(), self.mono()) } else { self.wall() }
    }

    fn step(&mut self) {
        self.now += self.random.below(5 * MINUTE);
        match self.random.below(100) {
            0..=9 => self.error += self.random.pick(&[HOUR, -HOUR, YEAR, -YEAR, 4 * MINUTE, -4 * MINUTE]),
            10..=14 => self.error = 0,
            15..=19 => self.restart(),
            20..=23 if self.error == 0 => {
                self.clock.confirm(self.wall(), self.mono());
            }
            24..=39 => self.frame(0),
            _ => {
                let events = 1 + self.random.below(8);
                self.frame(events);
            }
        }
    }

    fn restart(&mut self) {
        self.now += self.random.pick(&[0, MINUTE, 2 * HOUR, 3 * DAY]);
        // A doubt that the log knows of holds whatever the wall says.
        if !self.clocks.is_in_doubt() {
            self.error = self.random.pick(&[0, 0, 2 * DAY, -2 * DAY, YEAR, -YEAR]);
        }
        self.booted = self.now;
        self.clock = Doubt::start(self.wall(), 0, Some(self.last_record), self.clocks.is_in_doubt());
    }

    /// Events, or a tick where there are none.
    fn frame(&mut self, events: i64) {
        let mut taken = Vec::new();
        for _ in 0..events {
            let received_at = self.stamp();
            let lies = self.random.below(10) == 0;
            let off = if lies { self.random.pick(&[HOUR, -HOUR, YEAR, -YEAR, 4 * MINUTE]) } else { 0 };
            let occurred_at = self.now - self.random.below(30 * SECOND) + off;
            self.clock.sender(occurred_at, received_at, self.wall(), self.mono());
            taken.push((EventTime::from_micros(occurred_at), ReceivedAt::from_micros(received_at)));
        }
        let at = ReceivedAt::from_micros(self.stamp());
        if let Some(change) = self.clock.change.take().filter(|_| self.rules_hold) {
            self.clocks.doubt(change == DoubtChange::Begun);
            self.doubts += u64::from(change == DoubtChange::Begun);
        }
        if events == 0 && !(self.rules_hold && self.clock.in_doubt) {
            self.clocks.tick(at);
        }
        let mut seen = Seen::default();
        let (rules, line) = (*self.clocks.rules(), self.clocks.line());
        for (occurred_at, received_at) in taken {
            let future = occurred_at.micros() > received_at.micros() + rules.future_micros;
            if !future && occurred_at >= line {
                seen.event(false, Symbol::OTHER, occurred_at, received_at);
            }
        }
        self.clocks.advance(&seen, at, |_| String::new());
        self.last_record = at.micros();
    }

    /// What is early or moved back, and how often the clock came into doubt.
    fn run(mut self) -> (Option<String>, u64) {
        let mut before = (self.clocks.watermark(), self.clocks.line());
        for step in 0..STEPS {
            self.step();
            let after = (self.clocks.watermark(), self.clocks.line());
            if after.0.micros() > self.now + AHEAD_MAX {
                let early = (after.0.micros() - self.now) / SECOND;
                return (Some(format!("after step {step} it is complete through {early} s from now")), self.doubts);
            }
            if after.0 < before.0 || after.1 < before.1 {
                return (Some(format!("at step {step} watermark or line moved back")), self.doubts);
            }
            before = after;
        }
        (None, self.doubts)
    }
}

#[test]
fn clock_jumps_complete_nothing_early() {
    let count = std::env::var("ADSUM_CLOCK_HISTORIES").ok().and_then(|v| v.parse().ok()).unwrap_or(500u64);
    let (mut doubts, mut early) = (0, 0);
    for seed in 0..count {
        let (wrong, begun) = Machine::new(seed, true).run();
        assert_eq!(wrong, None, "seed {seed}");
        doubts += begun;
        early += u64::from(Machine::new(seed, false).run().0.is_some());
    }
    assert!(early > 0, "without the rules nothing is early either: these histories prove nothing");
    println!("proved: {count} histories, {doubts} clock doubts, nothing early; without the rules {early} are early");
}
