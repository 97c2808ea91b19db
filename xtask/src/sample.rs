//! `cargo xtask sample`: the first command of the README. Builds adsum, imports the committed sample, reports it.
//!
//! Invariant: it uses nothing that a user has not: the two commands that it runs are printed.

use std::path::Path;
use std::process::Command;

/// Runs the sample; false where a step failed.
pub fn run(root: &Path) -> bool {
    let data = root.join("target/sample-data");
    if data.exists() && std::fs::remove_dir_all(&data).is_err() {
        eprintln!("cannot remove {}", data.display());
        return false;
    }
    let built = step(root, "cargo", &["build", "--locked", "--profile", "fast", "--package", "adsum"]);
    let adsum = "target/fast/adsum";
    let config = ["--config", "fixtures/sample/adsum.toml", "--data-dir", "target/sample-data"];
    let import = [&["import"], &config[..], &["fixtures/sample/events.ndjson.gz"]].concat();
    let report = [&["report"], &config[..], &["--granularity", "day", "--by", "campaignId"]].concat();
    built && step(root, adsum, &import) && step(root, adsum, &report)
}

fn step(root: &Path, program: &str, arguments: &[&str]) -> bool {
    println!("$ {program} {}", arguments.join(" "));
    let path = if program.contains('/') { root.join(program) } else { program.into() };
    match Command::new(path).args(arguments).current_dir(root).status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("{program}: {error}");
            false
        }
    }
}
