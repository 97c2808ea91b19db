//! `cargo xtask prove`: the proofs at full figure. It takes hours; the test command runs each of them small.
//!
//! A proof is a test that reads its figure from the environment and prints lines that begin with `proved:`. Its row in
//! the table of docs/guarantees.md is of its last run. Invariant: a proof that printed no such line has proved nothing and
//! counts as failed.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

struct Proof {
    name: &'static str,
    what: &'static str,
    variable: &'static str,
    figure: &'static str,
    test: &'static [&'static str],
}

const PROOFS: &[Proof] = &[
    Proof {
        name: "kills",
        what: "`adsum import` of the Open Bandit Dataset under SIGKILL, then run again until it ends",
        variable: "ADSUM_KILLS",
        figure: "400",
        test: &["--package", "adsum", "--test", "cli", "--", "--nocapture", "kill", "--skip", "http"],
    },
    Proof {
        name: "http",
        what: "the Open Bandit Dataset over HTTP, every batch sent twenty times, under SIGKILL with requests in flight",
        variable: "ADSUM_HTTP_KILLS",
        figure: "200",
        test: &["--package", "adsum", "--test", "cli", "--", "--nocapture", "http::open_bandit"],
    },
    Proof {
        name: "servers",
        what: "small servers under SIGKILL while they start, are sent to and end; every start is asked for its ledger",
        variable: "ADSUM_SERVER_KILLS",
        figure: "9000",
        test: &["--package", "adsum", "--test", "cli", "--", "--nocapture", "http::kills"],
    },
    Proof {
        name: "calls",
        what: "system calls under strace: call 1 to 200 of each kind of each thread killed, with EIO, with ENOSPC",
        variable: "ADSUM_FAULTS",
        figure: "200",
        test: &["--package", "adsum", "--test", "cli", "--", "--nocapture", "faults::calls"],
    },
    Proof {
        name: "syncs",
        what: "EIO at every fsync and fdatasync of a server's life",
        variable: "ADSUM_FAULTS",
        figure: "200",
        test: &["--package", "adsum", "--test", "cli", "--", "--nocapture", "faults::syncs"],
    },
    Proof {
        name: "space",
        what: "a full disk of 1 MiB, and one whose syncs take 500 ms under overload and a memory limit",
        variable: "ADSUM_FAULTS",
        figure: "200",
        test: &["--package", "adsum", "--test", "cli", "--", "--nocapture", "faults::space"],
    },
    Proof {
        name: "histories",
        what: "simulated histories: lost unsynced writes, torn blocks, flipped bits, kills, full disks, late and repeated \
               requests, clients that vanish, clock jumps, 1 to 16 workers",
        variable: "ADSUM_HISTORIES",
        figure: "50000",
        test: &["--package", "adsum-sim", "--test", "sim", "--", "--nocapture", "histories"],
    },
    Proof {
        name: "clocks",
        what: "a wall clock that jumps by minutes, hours and years: nothing is complete early",
        variable: "ADSUM_CLOCK_HISTORIES",
        figure: "5000",
        test: &["--package", "adsum", "--bin", "adsum", "--", "--nocapture", "clock::histories"],
    },
    Proof {
        name: "mutations",
        what: "each promise removed from the shipped code in turn: the simulator notices within 200 seeds",
        variable: "ADSUM_MUTATIONS",
        figure: "all",
        test: &["--package", "xtask", "--", "--nocapture", "mutations::"],
    },
    Proof {
        name: "damage",
        what: "every truncation and every bit flip of a segment of 64 KiB",
        variable: "ADSUM_DAMAGE_BYTES",
        figure: "65536",
        test: &["--package", "adsum-log", "--test", "log", "--", "--nocapture", "every_"],
    },
    Proof {
        name: "fuzz",
        what: "coverage-guided fuzzing of request decoder, segment reader, store and report query, each so many seconds",
        variable: "ADSUM_FUZZ_SECONDS",
        figure: "600",
        test: &["--package", "xtask", "--test", "fuzz", "--", "--nocapture"],
    },
    Proof {
        name: "checkpoints",
        what: "every truncation and every bit flip of the files of two checkpoints",
        variable: "ADSUM_CHECKPOINT_SIZE",
        figure: "64",
        test: &["--package", "adsum-store", "--test", "store", "--", "--nocapture", "damage::every_"],
    },
];

/// Runs the proofs of these names, or all; false where one failed.
pub fn run(root: &Path, names: &[&str]) -> bool {
    if let Some(unknown) = names.iter().find(|n| PROOFS.iter().all(|p| p.name != **n)) {
        let known: Vec<_> = PROOFS.iter().map(|p| p.name).collect();
        eprintln!("no proof {unknown}; there are {}", known.join(", "));
        return false;
    }
    let mut clean = true;
    for proof in PROOFS.iter().filter(|p| names.is_empty() || names.contains(&p.name)) {
        let started = Instant::now();
        // What is proved is what stood here when it began.
        let commit = commit(root);
        let date = git(root, &["log", "-1", "--format=%cs"]).unwrap_or_default();
        println!("$ {}={} cargo test --profile fast {}", proof.variable, proof.figure, proof.test.join(" "));
        let (passed, lines) = prove(root, proof);
        let minutes = started.elapsed().as_secs().div_ceil(60);
        let result = if passed { "holds" } else { "FAILED" };
        println!("{}: {result}, {minutes} min: {}", proof.name, lines.join("; "));
        let said = if lines.is_empty() { "nothing".to_owned() } else { lines.join("; ") };
        clean &= passed;
        clean &= write_row(root, proof, &format!("{said} | {result} | {minutes} | {commit} | {date}"));
    }
    clean
}

fn prove(root: &Path, proof: &Proof) -> (bool, Vec<String>) {
    let output = Command::new("cargo")
        .args(["test", "--locked", "--profile", "fast"])
        .args(proof.test)
        .env(proof.variable, proof.figure)
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output();
    let Ok(output) = output else { return (false, Vec::new()) };
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<String> =
        text.lines().filter_map(|l| Some(l[l.find("proved: ")? + 8..].trim().to_owned())).collect();
    let passed = output.status.success() && !lines.is_empty();
    if !passed {
        println!("{text}");
    }
    (passed, lines)
}

/// The page that users read, and where in it the table stands.
const PAGE: &str = "docs/guarantees.md";
const HEAD: &str = "| proof | what is done | how much of it | result | minutes | commit | date |
| --- | --- | --- | --- | --- | --- | --- |
";

/// The commit that is checked out; with a `+` where the files differ from it.
fn commit(root: &Path) -> String {
    let changed = git(root, &["status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs"])
        .is_none_or(|s| !s.is_empty());
    let commit = git(root, &["rev-parse", "--short", "HEAD"]).unwrap_or_default();
    if changed { commit + "+" } else { commit }
}

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).current_dir(root).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Writes the row of one proof; those of the others stay as they were last shown.
fn write_row(root: &Path, proof: &Proof, shown: &str) -> bool {
    let path = root.join(PAGE);
    let Ok(page) = std::fs::read_to_string(&path) else { return false };
    let Some(start) = page.find(HEAD) else {
        println!("{PAGE} has no table of proofs");
        return false;
    };
    let rows = &page[start + HEAD.len()..];
    let end = rows.find("\n\n").map_or(rows.len(), |at| at + 1);
    let mut text = page[..start + HEAD.len()].to_owned();
    for other in PROOFS {
        let row = rows[..end].lines().find(|line| line.starts_with(&format!("| {} |", other.name)));
        if other.name == proof.name {
            let _ = writeln!(text, "| {} | {} | {shown} |", proof.name, proof.what);
        } else if let Some(row) = row {
            let _ = writeln!(text, "{row}");
        }
    }
    text.push_str(&rows[end..]);
    std::fs::write(path, text).is_ok()
}
