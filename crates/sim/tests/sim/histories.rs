//! Seeded histories against the oracle. `ADSUM_HISTORIES` says how many, `ADSUM_FIRST_SEED` from which on.

use adsum_sim::history::History;
use adsum_sim::run::{run, run_range};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// Two tests share the seeds, for two cores.
fn half(part: u64) {
    let (first, count) = (number("ADSUM_FIRST_SEED", 0), number("ADSUM_HISTORIES", 300));
    let (first, count) = (first + part * count.div_ceil(2), if part == 0 { count.div_ceil(2) } else { count / 2 });
    match run_range(first, count, &mut |_| {}) {
        Ok(t) => println!(
            "proved: seeds {first} to {}: {} histories, {} frames, {} records ({} counted, {} duplicates), {} ends \
             ({} power losses), {} frames not acknowledged at first ({} of them in the log), {} comparisons, \
             {} bits flipped in copies ({} refused)",
            first + count - 1,
            t.histories,
            t.frames,
            t.records,
            t.counted,
            t.duplicates,
            t.ends,
            t.power_losses,
            t.unacknowledged,
            t.unacknowledged_in_log,
            t.looks,
            t.flips,
            t.flips_refused,
        ),
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn first_half_of_the_histories() {
    half(0);
}

#[test]
fn second_half_of_the_histories() {
    half(1);
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in 0..6 {
        let (one, two) = (run(&History::draw(seed)), run(&History::draw(seed)));
        assert_eq!(one, two, "seed {seed}");
        assert_ne!(one.map(|t| t.trace), run(&History::draw(seed + 1)).map(|t| t.trace));
    }
}
