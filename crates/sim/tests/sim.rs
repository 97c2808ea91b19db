//! The simulator's own tests.
use adsum_sim::run::{find, run_range};
use adsum_sim::sabotage::Sabotage;

#[test]
fn histories() {
    let first: u64 = std::env::var("FIRST").ok().and_then(|v| v.parse().ok()).unwrap_or(0);
    let count: u64 = std::env::var("COUNT").ok().and_then(|v| v.parse().ok()).unwrap_or(300);
    match run_range(first, count, &mut |_| {}) {
        Ok(totals) => println!("{totals:?}"),
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn sabotage() {
    for s in Sabotage::ALL {
        let found = find(s, 200);
        println!("{s:?}: {:?}", found.map(|(seed, what)| (seed, what.chars().take(300).collect::<String>())));
    }
}
