//! The order of arrival: events come late, and some are sent again.
//!
//! A ring of 10 ms slots holds what has occurred and not yet arrived, by its index alone. Invariant: memory is that of
//! the ring and of what is under way (some 600,000 entries at 10,000 events a second), however many events there are;
//! a retry comes at least a second after what it repeats. Not here: what an event holds.

use crate::draw::{Draw, purpose};

const SLOT_MS: u64 = 10;
const SLOTS: usize = 1 << 20;
const NONE: u32 = u32::MAX;
/// A line is sent again with a probability of one in so many, so is that retry, up to [`RETRIES_MAX`] times.
const RETRY_ONE_IN: u64 = 100;
const RETRIES_MAX: usize = 2;
const RETRY_MS_MAX: u64 = 600_000;
const SOON_MS_MAX: u64 = 5_000;
const LATE_MS_MAX: u64 = 60_000;
const VERY_LATE_MS_MAX: u64 = 7_200_000;
const _: () =
    assert!(VERY_LATE_MS_MAX + RETRIES_MAX as u64 * RETRY_MS_MAX + SLOT_MS < SLOT_MS * SLOTS as u64, "ring too short");

#[derive(Clone, Copy, Debug)]
struct Node {
    index: u64,
    next: u32,
}

/// Events under way.
#[derive(Debug)]
pub struct Arrivals {
    delays: u64,
    slots: Vec<(u32, u32)>,
    nodes: Vec<Node>,
    free: u32,
    slot: u64,
    under_way: u64,
}

/// How late an event is: 79.5 % up to 5 s (the product of two draws, so most within 1.5 s), 20 % up to 60 s, 0.5 % up to
/// two hours.
fn delay_ms(draw: &mut Draw) -> u64 {
    match draw.below(1_000) {
        0..795 => {
            let bound_ms = 1 + draw.below(SOON_MS_MAX);
            draw.below(bound_ms)
        }
        795..995 => draw.below(LATE_MS_MAX),
        _ => draw.below(VERY_LATE_MS_MAX),
    }
}

impl Arrivals {
    /// Nothing under way, at time 0.
    pub fn new(seed: u64) -> Self {
        Self {
            delays: purpose(seed, 5),
            slots: vec![(NONE, NONE); SLOTS],
            nodes: Vec::new(),
            free: NONE,
            slot: 0,
            under_way: 0,
        }
    }

    /// Event `index` occurs at `at_ms` since the start: it is under way, with retries if `retried`, and not with more
    /// than `lines_max` lines. Returns how many lines will arrive.
    pub fn occur(&mut self, index: u64, at_ms: u64, retried: bool, lines_max: u64) -> u64 {
        let mut draw = Draw::at(self.delays, index);
        let mut arrives_ms = at_ms + delay_ms(&mut draw);
        self.push(index, arrives_ms);
        let mut lines = 1;
        for _ in 0..RETRIES_MAX {
            if !retried || lines >= lines_max || draw.below(RETRY_ONE_IN) != 0 {
                break;
            }
            arrives_ms += 1_000 + draw.below(RETRY_MS_MAX - 1_000);
            self.push(index, arrives_ms);
            lines += 1;
        }
        lines
    }

    fn push(&mut self, index: u64, arrives_ms: u64) {
        let node = Node { index, next: NONE };
        let at = self.free;
        let at = if at == NONE {
            self.nodes.push(node);
            u32::try_from(self.nodes.len() - 1).expect("the ring's span bounds the events under way below 2^32")
        } else {
            self.free = self.nodes[at as usize].next;
            self.nodes[at as usize] = node;
            at
        };
        let (first, last) = &mut self.slots[(arrives_ms / SLOT_MS) as usize % SLOTS];
        if *first == NONE {
            *first = at;
        } else {
            self.nodes[*last as usize].next = at;
        }
        *last = at;
        self.under_way += 1;
    }

    /// Hands out, in order, everything that has arrived when the clock stands at `now_ms`.
    pub fn arrived(&mut self, now_ms: u64, mut take: impl FnMut(u64)) {
        while self.slot < now_ms / SLOT_MS {
            self.pop_slot(&mut take);
        }
    }

    /// Hands out the rest.
    pub fn rest(&mut self, mut take: impl FnMut(u64)) {
        while self.under_way > 0 {
            self.pop_slot(&mut take);
        }
    }

    fn pop_slot(&mut self, take: &mut impl FnMut(u64)) {
        let ring_slot = &mut self.slots[self.slot as usize % SLOTS];
        let (mut at, _) = std::mem::replace(ring_slot, (NONE, NONE));
        while at != NONE {
            let node = &mut self.nodes[at as usize];
            take(node.index);
            let next = std::mem::replace(&mut node.next, self.free);
            self.free = at;
            at = next;
            self.under_way -= 1;
        }
        self.slot += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_and_retries_are_as_described() {
        let mut arrivals = Arrivals::new(3);
        let (mut lines, mut soon, mut hour) = (0_u64, 0_u64, 0_u64);
        let mut seen = vec![0_u32; 200_000];
        for index in 0..200_000_u64 {
            let at_ms = index / 10;
            lines += arrivals.occur(index, at_ms, true, u64::MAX);
            arrivals.arrived(at_ms, |i| {
                soon += u64::from(at_ms - i / 10 <= 5_010);
                seen[i as usize] += 1;
            });
        }
        assert!(soon > 100_000, "{soon}");
        let mut arrived = 0_u64;
        let before: u64 = seen.iter().map(|n| u64::from(*n)).sum();
        arrivals.rest(|i| {
            arrived += 1;
            hour += u64::from(seen[i as usize] == 0);
            seen[i as usize] += 1;
        });
        assert_eq!(before + arrived, lines);
        assert!(seen.iter().all(|n| (1..=3).contains(n)));
        let retries = lines - 200_000;
        assert!((1_700..2_400).contains(&retries), "{retries}");
        assert!(hour > 800, "{hour}");
    }
}
