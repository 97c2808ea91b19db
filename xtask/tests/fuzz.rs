//! The fuzz targets of `fuzz/`: each runs over its corpus and then over inputs of its own making, and finds nothing.
//!
//! `ADSUM_FUZZ_SECONDS` sets how long each goes on, from another beginning every time, and what it met that was new
//! is kept in `target/fuzz`; without it each goes through the same inputs every time. Invariant: an input on which a
//! target fails is kept beside it and named. Not here: the targets, and what they hold to be right.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "all of it is a test, which reads plain files and says what was proved"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What became of a run: whether it ended well, the inputs that it went through, and all that it said.
struct Run {
    clean: bool,
    inputs: u64,
    said: String,
}

impl Run {
    /// Builds the target where that is needed, and runs it. `corpora`: the first one takes what is new.
    fn of(target: &str, corpora: &[&Path], artifacts: &Path, options: &[String]) -> Self {
        let folder = root().join("fuzz");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(&folder).args(["run", "--locked", "--quiet", "--bin", target, "--"]);
        command.args(corpora).args(options).arg("-print_final_stats=1");
        command.arg(format!("-artifact_prefix={}/", artifacts.display()));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let inputs = said.lines().find_map(|l| l.strip_prefix("stat::number_of_executed_units:")?.trim().parse().ok());
        Self { clean: output.status.success(), inputs: inputs.unwrap_or_default(), said }
    }

    /// The edges of the code that were reached, by the last line that says so.
    fn edges(&self) -> &str {
        let line = self.said.lines().rev().find_map(|line| line.split_once(" cov: "));
        line.and_then(|(_, rest)| rest.split(' ').next()).unwrap_or("no")
    }
}

/// Runs a target for the seconds asked for, or else over so many inputs.
fn check(target: &str, inputs: u64) {
    let kept = root().join("target/fuzz").join(target);
    let found = kept.join("found");
    std::fs::create_dir_all(&found).unwrap();
    let corpus = root().join("fuzz/corpus").join(target);
    assert!(corpus.read_dir().unwrap().next().is_some(), "{target} has a corpus");
    let nowhere = tempfile::tempdir().unwrap();
    let mut options = vec![format!("-dict=dictionaries/{target}.dict")];
    let new = match std::env::var("ADSUM_FUZZ_SECONDS") {
        Ok(seconds) => {
            options.push(format!("-max_total_time={seconds}"));
            &found
        }
        Err(_) => {
            options.extend([format!("-runs={inputs}"), "-seed=1".to_owned()]);
            nowhere.path()
        }
    };
    let run = Run::of(target, &[new, &corpus], &kept, &options);
    assert!(run.clean, "{target} failed; the input is kept in {}:\n{}", kept.display(), run.said);
    assert!(run.inputs >= inputs.min(1000), "{target} went through {} inputs:\n{}", run.inputs, run.said);
    println!("proved: {target}: {} inputs, {} edges, no failure", run.inputs, run.edges());
}

#[test]
fn request() {
    check("request", 5_000);
}

#[test]
fn segment() {
    check("segment", 20_000);
}

#[test]
fn store() {
    check("store", 10_000);
}

#[test]
fn report() {
    check("report", 20_000);
}

/// A failure that only what is compared leads to is found: the targets are compiled for it.
#[test]
fn planted() {
    let (nowhere, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = ["-runs=1000000", "-seed=1"].map(str::to_owned);
    let run = Run::of("planted", &[nowhere.path()], kept.path(), &options);
    assert!(!run.clean && run.said.contains("a planted failure"), "{}", run.said);
    let input = kept.path().read_dir().unwrap().next().unwrap().unwrap();
    assert!(std::fs::read(input.path()).unwrap().starts_with(b"adsum id"));
}
