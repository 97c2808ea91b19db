//! Runs histories until one fails: `cargo run --profile fast -p adsum-sim --example seeds -- <first seed> <count>`.
//!
//! All cores take part. Invariant: it ends with 0 and `passed`, or with 1 and the least seed that fails, as `seed N: `
//! and what was wrong. Not here: a short history of it, which the tests make.
#![allow(clippy::print_stdout, reason = "a program for developers talks to a terminal")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use adsum_sim::history::History;
use adsum_sim::run::run;

fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let [first, count] = numbers[..] else {
        println!("usage: seeds <first seed> <count>");
        return ExitCode::from(2);
    };
    // What fails says so as an error; the backtrace of a panic tells nothing more.
    std::panic::set_hook(Box::new(|_| {}));
    let (next, end) = (AtomicU64::new(first), AtomicU64::new(first + count));
    let failed: Mutex<Option<(u64, String)>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end.load(Ordering::Relaxed) {
                        return;
                    }
                    let Err(what) = run(&History::draw(seed)) else { continue };
                    end.fetch_min(seed, Ordering::Relaxed);
                    if let Ok(mut failed) = failed.lock()
                        && failed.as_ref().is_none_or(|(least, _)| seed < *least)
                    {
                        *failed = Some((seed, what));
                    }
                }
            });
        }
    });
    match failed.into_inner() {
        Ok(Some((seed, what))) => {
            println!("seed {seed}: {what}");
            ExitCode::FAILURE
        }
        _ => {
            println!("passed: {count} histories from seed {first}");
            ExitCode::SUCCESS
        }
    }
}
