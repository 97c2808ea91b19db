//! System calls that fail: the real process under strace, which kills it at a call or makes the call fail.
//!
//! Invariant: whatever call it was, the process went on rightly, or ended with a word on the error, or refused what was
//! sent; a run without faults then comes to the numbers that a naive count has, and nothing acknowledged is lost. Not
//! here: lost power, which no living kernel can show (the simulator's).
//!
//! `ADSUM_FAULTS` is how many calls of each kind are hit (default 20).

mod calls;
mod space;
mod strace;
mod syncs;

use crate::events::Random;

/// How many calls of each kind are hit: `ADSUM_FAULTS`, or 20.
fn calls_max() -> usize {
    std::env::var("ADSUM_FAULTS").ok().map_or(20, |text| text.parse().unwrap())
}

/// Cases side by side: most of a case is waiting.
const SIDE_BY_SIDE: usize = 3;

/// Runs every case, some side by side, and fails with the first that failed. The order is mixed, so that long ones do
/// not come together.
fn each_case<C: Sync>(cases: &[C], check: impl Fn(&C) + Sync) {
    let mut order: Vec<usize> = (0..cases.len()).collect();
    let mut random = Random::new(7);
    for i in (1..order.len()).rev() {
        order.swap(i, random.below(i as u64 + 1) as usize);
    }
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(case) = order.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    check(&cases[*case]);
                }
            });
        }
    });
}
