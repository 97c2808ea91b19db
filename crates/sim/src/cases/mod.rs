//! The case runner: readable text tables, each a small history with what must come of it.
//!
//! Invariant: a case passes only if every number of workers, in one go and killed after every frame, gives the same
//! state, and the oracle agrees with it, and it is what the case says. Not here: files (the tests read and write them).

mod parse;
mod render;

use adsum_disk::FaultyDisk;
use adsum_pipeline::CheckpointRules;
use adsum_store::StateHash;

pub use parse::Case;

use crate::oracle::recount;
use crate::picture::Picture;
use crate::sent::SentFrame;
use crate::world::{Keeping, Outcome, Process, Start};

/// What a case does, one after the other.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// A frame is appended.
    Frame(SentFrame),
    /// The process is asked to end and starts again.
    Restart,
}

/// Numbers of workers that every case is run at.
const WORKERS: [usize; 4] = [1, 2, 3, 5];

/// Runs a case; says what came of it, in the words of its expectation.
pub fn run(case: &Case) -> Result<String, String> {
    let mut first: Option<(StateHash, String)> = None;
    for workers in WORKERS {
        for killed in [false, true] {
            let what = format!("{workers} workers, {}", if killed { "killed after every frame" } else { "in one go" });
            let (hash, text) = run_once(case, workers, killed).map_err(|e| format!("{what}: {e}"))?;
            match &first {
                None => first = Some((hash, text)),
                Some((other, _)) if *other != hash => {
                    return Err(format!("{what}: state hash {hash}, with the first variant {other}"));
                }
                Some((_, other)) if *other != text => {
                    return Err(format!("{what}: another result than with the first variant:\n{text}"));
                }
                Some(_) => {}
            }
        }
    }
    Ok(first.map(|(_, text)| text).unwrap_or_default())
}

fn run_once(case: &Case, workers: usize, killed: bool) -> Result<(StateHash, String), String> {
    let disk = FaultyDisk::new(workers as u64);
    let keeping = Keeping { segment_bytes: 1_000, verify_bytes: 1 << 30, merge_fan_in: 2, merge_base_bytes: 500 };
    // Both kinds see state that is committed and state that is not.
    let frames_max = if workers % 2 == 1 { 4096 } else { 2 };
    let checkpoints =
        CheckpointRules { records_max: 1 << 20, cells_max: 1 << 20, frames_max, ..CheckpointRules::default() };
    let start = || {
        Process::start(
            &disk,
            &case.setup,
            &keeping,
            &Start { workers, checkpoints, commit_lag: u64::from(workers > 1) },
            &|inner| inner,
        )
    };
    let mut process = start()?;
    let mut frames: Vec<SentFrame> = Vec::new();
    for action in &case.actions {
        let end = match action {
            Action::Frame(frame) => {
                let mut frame = frame.clone();
                match process.append(&mut frame) {
                    Outcome::Folded => frames.push(frame),
                    other => return Err(format!("a frame was not taken: {other:?}")),
                }
                killed
            }
            Action::Restart => {
                process.checkpoint()?;
                true
            }
        };
        if end {
            drop(process);
            if frames.len().is_multiple_of(2) {
                disk.crash_power();
            } else {
                disk.crash_process();
            }
            process = start()?;
        }
    }
    let picture = process.picture()?;
    agrees(&picture, &recount(&case.setup, &frames))?;
    let detail = |offset| process.reject_detail(offset);
    Ok((process.state_hash()?, render::text(case, &picture, &detail)?))
}

fn agrees(picture: &Picture, oracle: &Picture) -> Result<(), String> {
    let differences = picture.differences(oracle);
    if differences.is_empty() {
        Ok(())
    } else {
        Err(format!("the oracle does not agree:\n  {}", differences.join("\n  ")))
    }
}
