//! `cargo xtask test`: every gate in a fixed order, then every test.
//!
//! Invariant: the last line is `N passed, M failed` and nothing else; M is 0 exactly when the exit code is 0. So a gate
//! that fails counts as one failure, and so does a run of the tests that ends without a failing test to blame (it did
//! not compile, or a test binary died). All steps run whatever the former ones found, so that one run tells everything.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{gate, tidy};

const DENY_VERSION: &str = "0.20.2";
const DENY_TOOLS: &str = "target/tools";

/// What a step found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
}

impl Tally {
    fn gate(ok: bool) -> Self {
        Self { passed: 0, failed: u64::from(!ok) }
    }
}

struct Step {
    name: &'static str,
    run: fn(&Path) -> Tally,
}

const STEPS: &[Step] = &[
    Step { name: "tools", run: tools },
    Step { name: "fmt", run: |root| Tally::gate(formatted(root) && formatted(&root.join("fuzz"))) },
    Step { name: "clippy", run: |root| Tally::gate(runs(cargo(root).args(CLIPPY))) },
    Step { name: "tidy", run: |root| Tally::gate(tidy::run(root)) },
    Step { name: "deny", run: |root| Tally::gate(deny(root)) },
    Step { name: "gate", run: |root| Tally::gate(gate::run(root, false)) },
    Step { name: "tests", run: tests },
];

const CLIPPY: [&str; 6] = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];

/// Runs all steps. True when nothing failed.
pub fn run(root: &Path) -> bool {
    let mut done: Vec<(&str, Tally, Duration)> = Vec::new();
    for step in STEPS {
        println!("\n==> {}", step.name);
        let started = Instant::now();
        let tally = (step.run)(root);
        let took = started.elapsed();
        println!("<== {}: {}, {took:.1?}", step.name, verdict(tally));
        done.push((step.name, tally, took));
    }
    println!();
    for (name, tally, took) in &done {
        println!("{name:<8} {:<8} {took:.1?}", verdict(*tally));
    }
    let all: Duration = done.iter().map(|(_, _, took)| *took).sum();
    println!("in all: {all:.1?}");
    let (passed, failed) = done.iter().fold((0, 0), |sum, (_, t, _)| (sum.0 + t.passed, sum.1 + t.failed));
    println!("{passed} passed, {failed} failed");
    failed == 0
}

fn verdict(tally: Tally) -> &'static str {
    if tally.failed == 0 { "ok" } else { "FAILED" }
}

fn cargo(root: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.current_dir(root);
    command
}

/// Whether a workspace is as rustfmt has it.
fn formatted(workspace: &Path) -> bool {
    runs(cargo(workspace).args(["fmt", "--all", "--check"]))
}

/// Says what runs, runs it, and says so when it could not be started.
fn runs(command: &mut Command) -> bool {
    say(command);
    match command.status() {
        Ok(status) => status.success(),
        Err(e) => {
            println!("could not start {}: {e}", command.get_program().display());
            false
        }
    }
}

fn say(command: &Command) {
    let name = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let args: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
    println!("$ {} {}", name.display(), args.join(" "));
}

/// Whether a program starts and says its version.
fn there(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// What the other steps need: rustfmt and clippy are added by rustup where they are missing, valgrind, strace and a
/// C++ compiler by apt-get; python3 is asked for.
fn tools(root: &Path) -> Tally {
    let mut failed = 0;
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        let present = || there(cargo(root).args([subcommand, "--version"]));
        let added = present() || (runs(Command::new("rustup").args(["component", "add", component])) && present());
        if !added {
            println!("missing: {component}. Install it with `rustup component add {component}`");
            failed += 1;
        }
    }
    if !there(Command::new("python3").arg("--version")) {
        println!("missing: python3 (3.8 or later), with which the tests read the log in another language");
        println!("install it with `apt-get install python3`, `brew install python` or what your system has");
        failed += 1;
    }
    let compiler = || there(Command::new("c++").arg("--version"));
    if !(compiler() || (runs(Command::new("apt-get").args(["install", "--yes", "g++"])) && compiler())) {
        println!("missing: c++ (gcc or clang), with which libFuzzer is compiled");
        println!("install it with `apt-get install g++`, `xcode-select --install` or what your system has");
        failed += 1;
    }
    let valgrind = || gate::out_of_place().is_some() || there(Command::new("valgrind").arg("--version"));
    let install = ["install", "--yes", "valgrind"];
    let installed = valgrind() || (runs(Command::new("apt-get").args(install)) && valgrind());
    if !installed {
        println!("missing: valgrind, with which the instructions of the hot paths are counted; {}", gate::INSTALL);
        failed += 1;
    }
    // On other systems than Linux the tests that need it are not there.
    let strace = || !cfg!(target_os = "linux") || there(Command::new("strace").arg("-V"));
    let install = ["install", "--yes", "strace"];
    let installed = strace() || (runs(Command::new("apt-get").args(install)) && strace());
    if !installed {
        println!("missing: strace, with which system calls are made to fail; install it with `apt-get install strace`");
        failed += 1;
    }
    Tally { passed: 0, failed }
}

/// Licences, bans and sources of all dependencies; advisories only where they are asked for.
fn deny(root: &Path) -> bool {
    let tool = root.join(DENY_TOOLS).join("bin/cargo-deny");
    if !tool.is_file() {
        println!("{DENY_TOOLS}/bin/cargo-deny is absent and is built now, once (one to three minutes)");
        let exact = format!("cargo-deny@{DENY_VERSION}");
        if !runs(cargo(root).args(["install", "--debug", "--locked", "--root", DENY_TOOLS, &exact])) {
            println!("missing: {exact}, which could not be installed by the command above");
            return false;
        }
    }
    let mut command = Command::new(tool);
    command.current_dir(root).args(["check", "bans", "licenses", "sources"]);
    if std::env::var_os("ADSUM_ADVISORIES").is_some_and(|asked| asked == "1") {
        command.arg("advisories");
    } else {
        println!(
            "advisories are not checked: their database cannot be reached everywhere. ADSUM_ADVISORIES=1 checks them"
        );
    }
    runs(&mut command)
}

/// All tests of the workspace, shown as they run and counted.
fn tests(root: &Path) -> Tally {
    let mut command = cargo(root);
    command.args(["test", "--workspace", "--no-fail-fast"]).stdout(Stdio::piped());
    say(&command);
    let outcome = command.spawn().and_then(|mut child| {
        let output = child.stdout.take().expect("stdout was asked to be a pipe");
        let tally = count(BufReader::new(output), &mut std::io::stdout())?;
        Ok((tally, child.wait()?.success()))
    });
    match outcome {
        Ok((tally, true)) => tally,
        Ok((tally, false)) => Tally { failed: tally.failed.max(1), ..tally },
        Err(e) => {
            println!("the tests could not be run: {e}");
            Tally::gate(false)
        }
    }
}

/// Passes the output of `cargo test` on and adds up the results of its test binaries.
fn count(mut output: impl BufRead, shown: &mut impl Write) -> std::io::Result<Tally> {
    let mut sum = Tally::default();
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        shown.write_all(&line)?;
        shown.flush()?;
        if let Some(tally) = result_of(&String::from_utf8_lossy(&line)) {
            sum = Tally { passed: sum.passed + tally.passed, failed: sum.failed + tally.failed };
        }
        line.clear();
    }
    Ok(sum)
}

/// The figures of one `test result:` line of the test harness.
fn result_of(line: &str) -> Option<Tally> {
    let (_, figures) = line.trim_end().strip_prefix("test result: ")?.split_once(". ")?;
    let figure = |unit: &str| figures.split("; ").find_map(|part| part.strip_suffix(unit)?.trim().parse().ok());
    Some(Tally { passed: figure("passed")?, failed: figure("failed")? })
}

#[cfg(test)]
mod tests {
    use super::{Tally, count, result_of};

    #[test]
    fn result_lines_are_read() {
        let cases = [
            (
                "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.02s\n",
                Some((12, 0)),
            ),
            ("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out", Some((1, 2))),
            ("test wire::tests::result: ok ... ok", None),
            ("  test result: ok. 1 passed; 0 failed", None),
            ("", None),
        ];
        for (line, wanted) in cases {
            let wanted = wanted.map(|(passed, failed)| Tally { passed, failed });
            assert_eq!(result_of(line), wanted, "{line:?}");
        }
    }

    #[test]
    fn results_of_all_binaries_are_added_up_and_all_output_is_passed_on() {
        let output =
            b"running 1 test\ntest result: ok. 1 passed; 0 failed; 0 ignored\n\xff\ntest result: FAILED. 2 passed; 3 failed; 0 ignored";
        let mut shown = Vec::new();
        let tally = count(output.as_slice(), &mut shown).expect("memory can be read");
        assert_eq!(tally, Tally { passed: 3, failed: 3 });
        assert_eq!(shown, output);
    }
}
