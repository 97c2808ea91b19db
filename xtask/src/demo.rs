//! `cargo xtask demo`: the first command of the README. Builds adsum and becomes `adsum demo`.
//!
//! Invariant: it uses nothing that a user has not. Not here: what the demo does; adsum has it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds, then runs `adsum demo` with these arguments in place of this process, so that Ctrl-C is the demo's. Comes
/// back, with false, only where that failed.
pub fn run(root: &Path, arguments: &[&str]) -> bool {
    let Some(program) = build(root) else { return false };
    // As short as it can be typed here: the demo names itself in the commands that it shows.
    let here = std::env::current_dir().unwrap_or_default();
    let program = program.strip_prefix(here).unwrap_or(&program);
    let error = Command::new(program).arg("demo").args(arguments).exec();
    eprintln!("{}: {error}", program.display());
    false
}

/// Builds adsum as the README says and tells where it is.
pub fn build(root: &Path) -> Option<PathBuf> {
    let arguments = ["build", "--locked", "--profile", "fast", "--package", "adsum"];
    println!("$ cargo {}", arguments.join(" "));
    let built = Command::new("cargo").args(arguments).current_dir(root).status();
    if !built.is_ok_and(|status| status.success()) {
        eprintln!("adsum could not be built");
        return None;
    }
    // This program lies in target/debug, whatever `target` is called.
    let own = std::env::current_exe().ok()?;
    Some(own.parent()?.parent()?.join("fast/adsum"))
}
