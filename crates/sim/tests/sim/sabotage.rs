//! The tests of the tests: a defect made on purpose is found. `SABOTAGE=all` tries every one.

use adsum_sim::run::find;
use adsum_sim::sabotage::Sabotage;

/// Each must be found within so many seeds.
const SEEDS: u64 = 200;

#[test]
fn defects_are_found() {
    let all = std::env::var("SABOTAGE").is_ok_and(|v| v == "all");
    let some = [Sabotage::LyingSync, Sabotage::DropDedupe];
    for sabotage in if all { &Sabotage::ALL[..] } else { &some[..] } {
        match find(*sabotage, SEEDS) {
            Some((seed, what)) => println!("{sabotage:?} is found by seed {seed}: {:.200}", what),
            None => panic!("{sabotage:?} is not found within {SEEDS} seeds"),
        }
    }
}
