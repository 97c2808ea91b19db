//! `cargo xtask`: the tasks of the repository. `demo` and `test` are the two commands of the README, `tidy` the rules of STYLE.md
//! that can be checked by reading.
//!
//! Invariant: a task that finds anything wrong ends with exit code 1; wrong usage ends with 2. Not here: what ships.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program for developers talks to a terminal, reads plain files and times its steps"
)]

mod demo;
mod gate;
#[cfg(test)]
mod mutations;
mod picture;
mod prove;
mod sbom;
mod test;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask <task>

tasks:
  demo     builds adsum and runs `adsum demo`; what stands behind `--` goes to it
  test     every gate, then every test; ends with `N passed, M failed`
  prove    the proofs at full figure, all or by name; writes the table of docs/guarantees.md
  gate     counts the instructions of the hot paths; with --write it writes them down
  picture  docs/terminal.svg, from what `adsum demo` draws
  sbom     the bill of materials of the binary, for this machine's target or the one named; writes target/sbom
  tidy     the rules of STYLE.md that can be checked by reading";

fn main() -> ExitCode {
    let task: Vec<String> = std::env::args().skip(1).collect();
    let Some(root) = root() else {
        eprintln!("xtask does not know where the repository is: run it as `cargo xtask`");
        return ExitCode::from(2);
    };
    let task: Vec<&str> = task.iter().map(String::as_str).collect();
    let clean = match task.as_slice() {
        ["demo"] => demo::run(&root, &[]),
        ["demo", "--", arguments @ ..] => demo::run(&root, arguments),
        ["gate"] => gate::run(&root, false),
        ["gate", "--write"] => gate::run(&root, true),
        ["picture"] => picture::run(&root),
        ["test"] => test::run(&root),
        ["prove", names @ ..] => prove::run(&root, names),
        ["sbom"] => sbom::run(&root, None),
        ["sbom", target] => sbom::run(&root, Some(target)),
        ["tidy"] => tidy::run(&root),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The root of the repository: the folder above this package's, which cargo names to what it runs.
fn root() -> Option<PathBuf> {
    let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?);
    package.parent().map(PathBuf::from)
}
