//! Watermarks and the acceptance line.
//!
//! Invariant: both only grow, whatever a clock does. An import has a watermark of its own and moves no other.

use std::collections::BTreeMap;

use adsum_model::state::ClockState;
use adsum_model::symbol::Symbol;
use adsum_model::time::{EventTime, MICROS_PER_SECOND, ReceivedAt};

/// The limits of time that judge events. All in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Further in the future than this is quarantined.
    pub future_micros: i64,
    /// How far below the watermark the acceptance line lies.
    pub horizon_micros: i64,
    /// The allowed disorder: how far below the latest event the watermark lies.
    pub disorder_micros: i64,
    /// How far below a tick an idle partition's watermark lies.
    pub idle_micros: i64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            future_micros: 5 * 60 * MICROS_PER_SECOND,
            horizon_micros: 7 * 86_400 * MICROS_PER_SECOND,
            disorder_micros: 60 * MICROS_PER_SECOND,
            idle_micros: 120 * MICROS_PER_SECOND,
        }
    }
}

/// The least moment: before it nothing is too old.
pub(crate) const NEVER: EventTime = EventTime::from_micros(i64::MIN);

/// The latest moments that a frame's events tell of: by stream, the greatest min(occurredAt, receivedAt).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    live: Option<EventTime>,
    imports: Vec<(Symbol, EventTime)>,
}

impl Seen {
    /// Takes in an event that was not quarantined and is no replay.
    #[inline]
    pub fn event(&mut self, import: bool, source: Symbol, occurred_at: EventTime, received_at: ReceivedAt) {
        let at = EventTime::from_micros(occurred_at.micros().min(received_at.micros()));
        if !import {
            self.live = self.live.max(Some(at));
            return;
        }
        match self.imports.iter_mut().find(|(s, _)| *s == source) {
            Some((_, latest)) => *latest = (*latest).max(at),
            None => self.imports.push((source, at)),
        }
    }

    /// Takes in what another shard saw.
    pub fn merge(&mut self, other: &Self) {
        self.live = self.live.max(other.live);
        for (source, at) in &other.imports {
            match self.imports.iter_mut().find(|(s, _)| s == source) {
                Some((_, latest)) => *latest = (*latest).max(*at),
                None => self.imports.push((*source, *at)),
            }
        }
    }
}

/// The clocks of the live partition and of imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clocks {
    rules: Rules,
    watermark: EventTime,
    line: EventTime,
    imports: BTreeMap<String, EventTime>,
    /// The collector's clock is in doubt: watermark and line stand still.
    in_doubt: bool,
}

impl Clocks {
    /// The clocks as a checkpoint left them.
    pub fn restore(rules: Rules, states: &[ClockState], in_doubt: bool) -> Self {
        let mut clocks = Self { rules, watermark: NEVER, line: NEVER, imports: BTreeMap::new(), in_doubt };
        for state in states {
            match &state.import {
                None => (clocks.watermark, clocks.line) = (state.watermark, state.line),
                Some(source) => {
                    clocks.imports.insert(source.clone(), state.watermark);
                }
            }
        }
        clocks
    }

    /// The clocks for a checkpoint.
    pub fn states(&self) -> Vec<ClockState> {
        let live = ClockState { import: None, watermark: self.watermark, line: self.line };
        let imports = self.imports.iter().map(|(source, watermark)| ClockState {
            import: Some(source.clone()),
            watermark: *watermark,
            line: NEVER,
        });
        std::iter::once(live).chain(imports).collect()
    }

    /// The rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The watermark of the live partition.
    pub fn watermark(&self) -> EventTime {
        self.watermark
    }

    /// The acceptance line: live events below it are too old.
    pub fn line(&self) -> EventTime {
        self.line
    }

    /// Whether there is an acceptance line yet: before it nothing is too old, and no key has ended.
    pub fn line_is_drawn(&self) -> bool {
        self.line > NEVER
    }

    /// An import run begins: its clock stands at the beginning.
    pub fn import_begins(&mut self, source: &str) {
        self.imports.entry(source.to_owned()).or_insert(NEVER);
    }

    /// An import run has ended: its clock stands for nothing any more.
    pub fn import_ended(&mut self, source: &str) {
        self.imports.remove(source);
    }

    /// The collector's clock is in doubt, or no more.
    pub fn doubt(&mut self, begun: bool) {
        self.in_doubt = begun;
    }

    /// Whether the collector's clock is in doubt.
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// A tick: time passes while a partition is idle.
    pub fn tick(&mut self, at: ReceivedAt) {
        if self.in_doubt {
            return;
        }
        let idle = EventTime::from_micros(at.micros().saturating_sub(self.rules.idle_micros));
        self.watermark = self.watermark.max(idle);
    }

    /// Moves the clocks by what a frame's events told, and the line behind the watermark. No event is received after
    /// its frame was appended: what says so was stamped in a clock doubt that has ended since.
    pub fn advance(&mut self, seen: &Seen, appended_at: ReceivedAt, name: impl Fn(Symbol) -> String) {
        let behind = |at: EventTime| EventTime::from_micros(at.micros().saturating_sub(self.rules.disorder_micros));
        if let Some(latest) = seen.live.filter(|_| !self.in_doubt) {
            let latest = latest.min(EventTime::from_micros(appended_at.micros()));
            self.watermark = self.watermark.max(behind(latest));
        }
        for (source, latest) in &seen.imports {
            let watermark = self.imports.entry(name(*source)).or_insert(NEVER);
            *watermark = (*watermark).max(behind(*latest));
        }
        if self.in_doubt {
            return;
        }
        let at = self.watermark.micros().min(appended_at.micros());
        self.line = self.line.max(EventTime::from_micros(at.saturating_sub(self.rules.horizon_micros)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn clocks_only_grow_and_imports_move_no_other() {
        let seconds = |s: i64| s * MICROS_PER_SECOND;
        let rules = Rules { horizon_micros: seconds(100), disorder_micros: seconds(10), ..Rules::default() };
        let mut clocks = Clocks::restore(rules, &[], false);
        let mut frame = |occurred: i64, received: i64, appended: i64, import: bool| {
            let mut seen = Seen::default();
            let at = |s| ReceivedAt::from_micros(seconds(s));
            seen.event(import, Symbol::OTHER, EventTime::from_micros(seconds(occurred)), at(received));
            clocks.advance(&seen, at(appended), |_| "i".to_owned());
            (clocks.watermark().seconds(), clocks.line().seconds())
        };
        // occurred, received, import -> watermark, line
        for (at, now, import, want) in [
            (1000, 1001, false, (990, 890)),
            (900, 1002, false, (990, 890)),
            // A sender's clock ahead does not drag the watermark past receipt.
            (5000, 1010, false, (1000, 900)),
            // A collector's clock that steps back moves neither back.
            (1000, 500, false, (1000, 900)),
            (9000, 1011, true, (1000, 900)),
        ] {
            assert_eq!(frame(at, now, now, import), want, "{at} {now} {import}");
        }
        // Stamped by a clock that was wrong, and known to be when the frame was appended.
        assert_eq!(frame(5000, 5000, 1012, false), (1002, 902));
        clocks.tick(ReceivedAt::from_micros(seconds(2000)));
        assert_eq!(clocks.watermark().seconds(), 1880);
        assert_eq!(Clocks::restore(rules, &clocks.states(), false), clocks);
        clocks.doubt(true);
        clocks.tick(ReceivedAt::from_micros(seconds(9000)));
        clocks.advance(
            &Seen { live: Some(EventTime::from_micros(seconds(9000))), imports: vec![] },
            ReceivedAt::from_micros(seconds(9000)),
            |_| "i".to_owned(),
        );
        assert_eq!((clocks.watermark().seconds(), clocks.line().seconds()), (1880, 902), "in doubt both stand still");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        /// What shards saw merges in any order and in any parts into what one of them would have seen.
        #[test]
        fn what_was_seen_merges_in_any_order(
            events in proptest::collection::vec((any::<bool>(), 0..3_u32, -100..100_i64, -100..100_i64, 0..3_usize), 0..30),
            order in Just([0, 1, 2]).prop_shuffle(),
        ) {
            let (mut parts, mut whole) = ([Seen::default(), Seen::default(), Seen::default()], Seen::default());
            for (import, source, occurred, received, part) in events {
                let (at, now) = (EventTime::from_micros(occurred), ReceivedAt::from_micros(received));
                parts[part].event(import, Symbol::new(source + 1), at, now);
                whole.event(import, Symbol::new(source + 1), at, now);
            }
            let clocks = |seen: &Seen| {
                let mut clocks = Clocks::restore(Rules::default(), &[], false);
                clocks.advance(seen, ReceivedAt::from_micros(50), |source| source.get().to_string());
                clocks
            };
            let [a, b, c] = order.map(|i: usize| &parts[i]);
            let merged = |a: &Seen, b: &Seen| {
                let mut sum = a.clone();
                sum.merge(b);
                sum
            };
            prop_assert_eq!(clocks(&merged(&merged(a, b), c)), clocks(&whole));
            prop_assert_eq!(clocks(&merged(a, &merged(b, c))), clocks(&whole));
            prop_assert_eq!(merged(a, &Seen::default()), a.clone());
            prop_assert_eq!(clocks(&merged(&Seen::default(), a)), clocks(a));
        }
    }
}
