//! Makes a failing history short.
//!
//! It leaves out chunks of halving size, wherever they lie, so that two distant steps that fail together stay and
//! everything between them goes; then single lines and replays within steps. Invariant: what comes back still fails.
//! Not here: why it fails.

use adsum_model::time::format_utc;

use crate::history::{Client, History, Step};
use crate::sent::Entry;

/// How many runs one shrinking may take.
const RUNS_MAX: usize = 1500;

/// The shortest failing history found, and what it says. `fails` says what is wrong with a history, if anything.
pub fn shrink(history: &History, fails: &dyn Fn(&History) -> Option<String>) -> (History, String) {
    let mut best = history.clone();
    let mut what = fails(history).unwrap_or_else(|| "it passed when it was run again".to_owned());
    let mut runs = 0;
    loop {
        let before = size(&best);
        let steps = best.steps.len();
        reduce(steps, &mut runs, &mut |kept| {
            let steps = kept.iter().map(|i| best.steps[*i].clone()).collect();
            keep_if_failing(&mut best, &mut what, fails, |h| h.steps = steps)
        });
        for i in 0..best.steps.len() {
            let Step::Send { entries, .. } = &best.steps[i] else { continue };
            reduce(entries.len(), &mut runs, &mut |kept| {
                keep_if_failing(&mut best, &mut what, fails, |h| {
                    if let Step::Send { entries, .. } = &mut h.steps[i] {
                        *entries = kept.iter().map(|k| entries[*k].clone()).collect();
                    }
                })
            });
        }
        for i in 0..best.steps.len() {
            keep_if_failing(&mut best, &mut what, fails, |h| {
                if let Step::Send { client, .. } = &mut h.steps[i] {
                    *client = Client::Waits;
                }
            });
            simpler_replay(i, &mut best, &mut what, fails);
        }
        for i in 0..best.returns.len() {
            keep_if_failing(&mut best, &mut what, fails, |h| h.returns[i].again = None);
        }
        keep_if_failing(&mut best, &mut what, fails, |h| h.looks_always = false);
        keep_if_failing(&mut best, &mut what, fails, |h| {
            h.first.workers = 1;
            h.returns.iter_mut().for_each(|r| r.start.workers = 1);
        });
        if size(&best) >= before || runs >= RUNS_MAX {
            return (best, what);
        }
    }
}

/// Replays one entry, an early one, instead of several by far places that shift with every step left out.
fn simpler_replay(i: usize, best: &mut History, what: &mut String, fails: &dyn Fn(&History) -> Option<String>) {
    let Step::Replay { at, held, any } = best.steps[i].clone() else { return };
    if held.len() + any.len() == 1 && held.iter().chain(&any).all(|n| *n < 8) {
        return;
    }
    for n in 0..8 {
        for (held, any) in [(vec![n], Vec::new()), (Vec::new(), vec![n])] {
            if keep_if_failing(best, what, fails, |h| h.steps[i] = Step::Replay { at, held, any }) {
                return;
            }
        }
    }
}

fn size(history: &History) -> usize {
    let of = |step: &Step| match step {
        Step::Send { entries, .. } => 1 + entries.len(),
        _ => 1,
    };
    history.steps.iter().map(of).sum()
}

fn keep_if_failing(
    best: &mut History,
    what: &mut String,
    fails: &dyn Fn(&History) -> Option<String>,
    change: impl FnOnce(&mut History),
) -> bool {
    let mut changed = best.clone();
    change(&mut changed);
    match fails(&changed) {
        Some(text) => {
            (*best, *what) = (changed, text);
            true
        }
        None => false,
    }
}

/// Leaves out chunks of halving size of `count` things while `still_fails` says so for the rest, which it names by
/// their places among those that are left.
fn reduce(count: usize, runs: &mut usize, still_fails: &mut dyn FnMut(&[usize]) -> bool) {
    let mut left = count;
    let mut chunk = count.div_ceil(2);
    while chunk > 0 {
        let mut at = 0;
        while at < left && *runs < RUNS_MAX {
            *runs += 1;
            let end = (at + chunk).min(left);
            let kept: Vec<usize> = (0..at).chain(end..left).collect();
            if still_fails(&kept) {
                left = kept.len();
            } else {
                at = end;
            }
        }
        chunk /= 2;
    }
}

/// A history as text, near to a `.case`.
pub fn text(history: &History) -> String {
    let mut out = format!(
        "times {:?}\nkeeping {:?}\nfirst {:?}\ndedupe {:?}\nrollups {:?} bucket {}\n",
        history.setup.times,
        history.keeping,
        history.first,
        history.setup.catalog.dedupe,
        history.setup.catalog.rollups,
        history.setup.catalog.bucket_seconds,
    );
    for (i, r) in history.returns.iter().enumerate() {
        out += &format!("return {i} {r:?}\n");
    }
    for step in &history.steps {
        match step {
            Step::Send { at, client, entries } => {
                out += &format!("\nframe at {}, the client {client:?}\n", format_utc(*at));
                for entry in entries {
                    out += &match entry {
                        Entry::Line { source, import, received_at, text } => {
                            let kind = if *import { "import" } else { "live" };
                            format!("  {kind} {source} at {}: {text}\n", format_utc(*received_at))
                        }
                        Entry::Tick { at } => format!("  tick {}\n", format_utc(*at)),
                        other => format!("  {other:?}\n"),
                    };
                }
            }
            other => out += &format!("\n{other:?}\n"),
        }
    }
    out
}
