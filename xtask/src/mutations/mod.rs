//! The tests of the tests: promises removed from the shipped code, each of which the simulator must notice within 200
//! seeds.
//!
//! The sources are copied to a folder of their own under `target`, one mutation is made there, `crates/sim`'s example
//! `seeds` is built from it and run until a history fails. `ADSUM_MUTATIONS` says which: `all`, a part of a name, or,
//! without it, the two of the test command. Invariant: a mutation counts as caught only where a comparison of the
//! simulator failed, never by a build that failed, a panic or a time-out; and the sources without a mutation pass the
//! same seeds. Not here: what is mutated (table).

mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use table::{MUTATIONS, Mutation, SMALL};

/// Within so many seeds a mutation must be caught.
const SEEDS: u64 = 200;
/// A run that takes longer hangs.
const RUN_SECONDS_MAX: u64 = 600;
/// What is copied: the workspace without what is built.
const SOURCES: [&str; 6] = ["Cargo.toml", "Cargo.lock", "clippy.toml", "crates", "bench", "xtask"];

/// What a run of the histories came to.
enum Ran {
    /// All passed.
    Passed,
    /// The first seed that failed and what was wrong.
    Failed(u64, String),
}

struct Scratch {
    source: PathBuf,
    target: PathBuf,
}

impl Scratch {
    fn new(root: &Path) -> Self {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let target = target.join("mutations");
        Self { source: target.join("source"), target }
    }

    /// Makes the copy what the repository is, with a mutation or without; files that are so already stay untouched, so
    /// that only what depends on a change is built again.
    fn fill(&self, root: &Path, mutation: Option<&Mutation>) -> Result<(), String> {
        let mutated = mutation.map_or(Ok(Vec::new()), |m| mutated(root, m))?;
        let mut wanted = Vec::new();
        for name in SOURCES {
            files(&root.join(name), &mut wanted)?;
        }
        let mut there = Vec::new();
        for name in SOURCES {
            files(&self.source.join(name), &mut there)?;
        }
        let relative = |path: &Path, base: &Path| path.strip_prefix(base).map(Path::to_path_buf).unwrap_or_default();
        let names: std::collections::BTreeSet<PathBuf> = wanted.iter().map(|p| relative(p, root)).collect();
        for path in there.iter().filter(|p| !names.contains(&relative(p, &self.source))) {
            std::fs::remove_file(path).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        for name in names {
            let changed = mutated.iter().find(|(file, _)| Path::new(file) == name).map(|(_, text)| text.clone());
            let read = || std::fs::read(root.join(&name)).map_err(|e| format!("{}: {e}", name.display()));
            let bytes = changed.map_or_else(read, |text| Ok(text.into_bytes()))?;
            let to = self.source.join(&name);
            if std::fs::read(&to).is_ok_and(|present| present == bytes) {
                continue;
            }
            let made = to.parent().map_or(Ok(()), std::fs::create_dir_all);
            made.and_then(|()| std::fs::write(&to, bytes)).map_err(|e| format!("{}: {e}", to.display()))?;
        }
        Ok(())
    }

    fn build(&self) -> Result<(), String> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["build", "--locked", "--quiet", "--package", "adsum-sim", "--example", "seeds"])
            .current_dir(&self.source)
            .env("CARGO_TARGET_DIR", &self.target)
            .output()
            .map_err(|e| format!("cargo does not start: {e}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("it does not compile:\n{}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Runs histories from seed 0 on until one fails.
    fn run(&self, seeds: u64) -> Result<Ran, String> {
        let mut child = Command::new(self.target.join("debug/examples/seeds"))
            .args(["0", &seeds.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("the example does not start: {e}"))?;
        let begun = Instant::now();
        while child.try_wait().map_err(|e| e.to_string())?.is_none() {
            if begun.elapsed().as_secs() >= RUN_SECONDS_MAX {
                let _ = child.kill();
                return Err("it hangs".to_owned());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let output = child.wait_with_output().map_err(|e| e.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout);
        let failed = text.strip_prefix("seed ").and_then(|rest| rest.split_once(": "));
        let failed = failed.and_then(|(seed, what)| Some((seed.parse().ok()?, what.trim().to_owned())));
        match failed {
            Some((seed, what)) => Ok(Ran::Failed(seed, what)),
            None if output.status.success() && text.starts_with("passed") => Ok(Ran::Passed),
            None => Err(format!("the example ended with {}: {text}", output.status)),
        }
    }
}

/// The files of a mutation as it makes them.
fn mutated(root: &Path, mutation: &Mutation) -> Result<Vec<(&'static str, String)>, String> {
    let mut files: Vec<(&'static str, String)> = Vec::new();
    for edit in mutation.edits {
        let at = match files.iter().position(|(file, _)| *file == edit.file) {
            Some(at) => at,
            None => {
                let text = std::fs::read_to_string(root.join(edit.file)).map_err(|e| format!("{}: {e}", edit.file))?;
                files.push((edit.file, text));
                files.len() - 1
            }
        };
        let text = &mut files[at].1;
        let count = text.matches(edit.text).count();
        if count != 1 {
            return Err(format!("{} has {count} times and not once: {}", edit.file, edit.text));
        }
        *text = text.replacen(edit.text, edit.instead, 1);
    }
    Ok(files)
}

/// The files under a path, sorted.
fn files(path: &Path, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let broken = |e: std::io::Error| format!("{}: {e}", path.display());
    if path.is_file() {
        found.push(path.to_path_buf());
    } else if path.is_dir() && path.file_name().is_none_or(|name| name != "target" && name != "node_modules") {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path).map_err(broken)? {
            entries.push(entry.map_err(broken)?.path());
        }
        entries.sort();
        for entry in entries {
            files(&entry, found)?;
        }
    }
    Ok(())
}

/// Says at which seed a mutation was caught and in how many seconds, building included.
fn catch(root: &Path, scratch: &Scratch, mutation: &Mutation) -> Result<String, String> {
    let begun = Instant::now();
    scratch.fill(root, Some(mutation))?;
    scratch.build()?;
    let (seed, what) = match scratch.run(SEEDS)? {
        Ran::Passed => return Err(format!("{SEEDS} histories pass without it")),
        Ran::Failed(_, what) if what.starts_with("panic: ") => return Err(what),
        Ran::Failed(seed, what) => (seed, what),
    };
    println!("{}: seed {seed}: {:.300}", mutation.name, what);
    Ok(format!("{} (seed {seed}, {} s)", mutation.name, begun.elapsed().as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
    }

    #[test]
    fn every_mutation_changes_what_is_there() {
        let wrong: Vec<String> = MUTATIONS.iter().filter_map(|m| mutated(&root(), m).err()).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(SMALL.iter().all(|name| MUTATIONS.iter().any(|m| m.name == *name)));
    }

    #[test]
    fn mutations_are_caught() {
        let asked = std::env::var("ADSUM_MUTATIONS").ok();
        let chosen = |m: &&Mutation| match asked.as_deref() {
            None => SMALL.contains(&m.name),
            Some("all") => true,
            Some(part) => m.name.contains(part),
        };
        let chosen: Vec<&Mutation> = MUTATIONS.iter().filter(chosen).collect();
        assert!(!chosen.is_empty(), "no mutation {asked:?}");
        let scratch = Scratch::new(&root());
        scratch.fill(&root(), None).unwrap();
        scratch.build().unwrap();
        let sound = scratch.run(if asked.is_some() { SEEDS } else { 20 });
        assert!(matches!(sound, Ok(Ran::Passed)), "without a mutation the histories must pass");
        let (mut caught, mut missed) = (Vec::new(), Vec::new());
        for mutation in chosen {
            match catch(&root(), &scratch, mutation) {
                Ok(line) => caught.push(line),
                Err(why) => missed.push(format!("{}: {why}", mutation.name)),
            }
        }
        println!("proved: {} removed in turn, each noticed by the simulator: {}", caught.len(), caught.join(", "));
        assert!(missed.is_empty(), "not caught:\n{}", missed.join("\n"));
    }
}
