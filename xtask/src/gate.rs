//! `cargo xtask gate`: the instructions that each hot path takes, beside those of the last time they were written down.
//!
//! Counted by callgrind, which gives the same figure however busy the machine is. Only instructions of our own program
//! count, not those of the C library, which chooses by processor and version; and callgrind's processor is always one
//! with AVX2 and without AVX-512, whatever the machine's has beyond. Invariant: a path that takes over 5 % more or less
//! than the file says is found, and so is a slowdown that is planted in every run. Not here: the paths (bench/gate).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use toml::Table;

const FILE: &str = "bench/gate/instructions.toml";
const PROGRAM: &str = "adsum-gate";
/// What a path may differ from the file, either way.
const TOLERANCE_PERMILLE: u64 = 50;
/// The path that does more than it says.
const PLANTED: &str = "planted";
/// What the planted path is beside.
const PLANTED_IN: &str = "decode";

/// Instructions for a thousand events, by path.
type Counts = BTreeMap<String, u64>;

/// What the figures depend on beside the code.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Conditions {
    rustc: String,
    valgrind: String,
}

/// Counts, and compares with the file or writes it; false where something is amiss.
pub fn run(root: &Path, write: bool) -> bool {
    if let Some(why) = out_of_place() {
        println!("not checked: the figures are of x86-64 Linux with AVX2, and {why}");
        return !write;
    }
    match counted(root) {
        Ok((counts, conditions)) if write => written(root, &counts, &conditions),
        Ok((counts, conditions)) => compared(root, &counts, &conditions),
        Err(why) => {
            println!("{why}");
            false
        }
    }
}

/// Why the figures say nothing on this machine.
pub fn out_of_place() -> Option<&'static str> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Some("this is another system");
    }
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    (!cpus.split_whitespace().any(|flag| flag == "avx2")).then_some("this processor has none")
}

/// Builds the program and counts all its paths side by side.
fn counted(root: &Path) -> Result<(Counts, Conditions), String> {
    let arguments = ["build", "--locked", "--profile", "gate", "--package", "adsum-bench-gate"];
    println!("$ cargo {}", arguments.join(" "));
    let built = Command::new("cargo").args(arguments).current_dir(root).status();
    if !built.is_ok_and(|status| status.success()) {
        return Err("the paths could not be built".to_owned());
    }
    // This program lies in target/debug, whatever `target` is called.
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let folder = own.ancestors().nth(2).ok_or("this program lies nowhere")?.join("gate");
    let program = folder.join(PROGRAM);
    let paths = said(Command::new(&program))?;
    println!("$ valgrind --tool=callgrind {PROGRAM} {}", paths.lines().collect::<Vec<_>>().join(" | "));
    let begun: Vec<_> = paths
        .lines()
        .map(|path| {
            let profile: PathBuf = folder.join(format!("callgrind.{path}"));
            let child = Command::new("valgrind")
                .args(["--tool=callgrind", "--toggle-collect=adsum_gate::counted"])
                .arg(format!("--callgrind-out-file={}", profile.display()))
                .arg(&program)
                .arg(path)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn();
            (path, profile, child)
        })
        .collect();
    let mut counts = Counts::new();
    for (path, profile, child) in begun {
        let output = child.and_then(std::process::Child::wait_with_output);
        let output = output.map_err(|e| format!("missing: valgrind ({e}); {INSTALL}"))?;
        let failed = || format!("{path} failed under valgrind:\n{}", String::from_utf8_lossy(&output.stderr));
        let events: u64 = String::from_utf8_lossy(&output.stdout).trim().parse().map_err(|_| failed())?;
        let text = std::fs::read_to_string(&profile).map_err(|e| format!("{}: {e}", profile.display()))?;
        let instructions = instructions_of(&text, PROGRAM);
        if !output.status.success() || events == 0 || instructions == 0 {
            return Err(failed());
        }
        counts.insert(path.to_owned(), instructions * 1000 / events);
    }
    let [rustc, valgrind] = ["rustc", "valgrind"].map(|tool| {
        let mut command = Command::new(tool);
        command.arg("--version");
        said(command).map(|text| text.trim().to_owned())
    });
    let conditions = Conditions { rustc: rustc?, valgrind: valgrind? };
    planted_is_found(&mut counts)?;
    Ok((counts, conditions))
}

/// How valgrind is had.
pub const INSTALL: &str = "install it with `apt-get install valgrind` or what your system has";

fn said(mut command: Command) -> Result<String, String> {
    let output = command.output().map_err(|e| format!("{}: {e}", command.get_program().display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A gate that does not see the slowdown that is planted in it is broken.
fn planted_is_found(counts: &mut Counts) -> Result<(), String> {
    let planted = counts.remove(PLANTED).unwrap_or(0);
    let usual = counts.get(PLANTED_IN).copied().unwrap_or(0);
    match difference(usual, planted) {
        Some(Difference::More) => Ok(()),
        _ => Err(format!(
            "a slowdown of {PLANTED_IN} by a tenth was not found: {planted} instructions beside {usual} of 1,000 events"
        )),
    }
}

/// The instructions that a profile of callgrind has of one program, its libraries left out.
///
/// The form is that of valgrind's manual: `ob=` names the file that the costs behind it are of, by a number that is
/// explained where it comes first; the line behind `calls=` is what a call cost, which is told where it went.
fn instructions_of(profile: &str, program: &str) -> u64 {
    let mut names: BTreeMap<&str, bool> = BTreeMap::new();
    let (mut ours, mut of_call, mut sum) = (false, false, 0);
    for line in profile.lines() {
        if let Some(object) = line.strip_prefix("ob=").or_else(|| line.strip_prefix("cob=")) {
            let (number, name) = object.split_once(' ').unwrap_or((object, ""));
            if !name.is_empty() {
                names.insert(number, name.rsplit('/').next() == Some(program));
            }
            if line.starts_with("ob=") {
                ours = names.get(number).copied().unwrap_or(false);
            }
        } else if line.starts_with("calls=") {
            of_call = true;
        } else if line.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '*')) {
            let cost = line.split(' ').nth(1).and_then(|cost| cost.parse::<u64>().ok()).unwrap_or(0);
            if ours && !of_call {
                sum += cost;
            }
            of_call = false;
        }
    }
    sum
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Difference {
    More,
    Less,
}

/// How `now` differs from `before` beyond the tolerance.
fn difference(before: u64, now: u64) -> Option<Difference> {
    let off = now.abs_diff(before) * 1000 > before * TOLERANCE_PERMILLE;
    off.then_some(if now > before { Difference::More } else { Difference::Less })
}

/// What is amiss with counts beside those of the file, a line each.
fn findings(file: &Counts, now: &Counts) -> Vec<String> {
    let mut found = Vec::new();
    for (path, now) in now {
        let Some(before) = file.get(path) else {
            found.push(format!("{path}: not in the file"));
            continue;
        };
        match difference(*before, *now) {
            None => {}
            Some(Difference::More) => found.push(format!("{path}: slower")),
            Some(Difference::Less) => found.push(format!("{path}: faster; if that is meant, write it down")),
        }
    }
    found.extend(file.keys().filter(|path| !now.contains_key(*path)).map(|path| format!("{path}: no such path")));
    found
}

fn compared(root: &Path, now: &Counts, conditions: &Conditions) -> bool {
    let text = match std::fs::read_to_string(root.join(FILE)) {
        Ok(text) => text,
        Err(error) => {
            println!("{FILE}: {error}; `cargo xtask gate --write` writes it");
            return false;
        }
    };
    let Some((file, before)) = read(&text) else {
        println!("{FILE} is not what `cargo xtask gate --write` writes");
        return false;
    };
    println!("instructions for 1,000 events:");
    for (path, count) in now {
        let was = file.get(path).copied().unwrap_or(0);
        let change = (i128::from(*count) - i128::from(was)) * 1000 / i128::from(was.max(1));
        println!("  {path:<12} {count:>12}, written down {was:>12}: {change:>5} permille");
    }
    let found = findings(&file, now);
    if found.is_empty() {
        return true;
    }
    found.iter().for_each(|line| println!("{line}"));
    println!("more than {TOLERANCE_PERMILLE} permille off. `cargo xtask gate --write` writes down what is meant");
    if before != *conditions {
        println!(
            "the file was written by {}, {}; here are {}, {}",
            before.rustc, before.valgrind, conditions.rustc, conditions.valgrind
        );
    }
    false
}

fn written(root: &Path, counts: &Counts, conditions: &Conditions) -> bool {
    let path = root.join(FILE);
    match std::fs::write(&path, shown(counts, conditions)) {
        Ok(()) => {
            println!("{FILE} is written");
            true
        }
        Err(error) => {
            println!("{FILE}: {error}");
            false
        }
    }
}

fn shown(counts: &Counts, conditions: &Conditions) -> String {
    let mut text = "# Instructions for 1,000 events of each hot path (bench/gate); of `query`, for 1,000 rows.\n\
         # Written by `cargo xtask gate --write`, compared by `cargo xtask test`.\n"
        .to_owned();
    let Conditions { rustc, valgrind } = conditions;
    let _ = write!(text, "\n[conditions]\nrustc = \"{rustc}\"\nvalgrind = \"{valgrind}\"\n\n[instructions]\n");
    for (path, count) in counts {
        let _ = writeln!(text, "{path} = {count}");
    }
    text
}

fn read(text: &str) -> Option<(Counts, Conditions)> {
    let table: Table = text.parse().ok()?;
    let told = |name| Some(table.get("conditions")?.get(name)?.as_str()?.to_owned());
    let conditions = Conditions { rustc: told("rustc")?, valgrind: told("valgrind")? };
    let counts = table.get("instructions")?.as_table()?.iter();
    let counts = counts.map(|(path, count)| Some((path.clone(), u64::try_from(count.as_integer()?).ok()?)));
    Some((counts.collect::<Option<_>>()?, conditions))
}

#[cfg(test)]
mod tests {
    use super::{Conditions, Counts, findings, instructions_of, planted_is_found, read, shown};

    fn counts(list: &[(&str, u64)]) -> Counts {
        list.iter().map(|(path, count)| ((*path).to_owned(), *count)).collect()
    }

    #[test]
    fn what_is_slower_or_faster_is_found() {
        let file = counts(&[("append", 1000), ("decode", 2000)]);
        for (now, found) in [
            (&[("append", 1050), ("decode", 1900)][..], &[][..]),
            (&[("append", 1051), ("decode", 2000)], &["append: slower"]),
            (&[("append", 1000), ("decode", 1899)], &["decode: faster; if that is meant, write it down"]),
            (&[("append", 1000)], &["decode: no such path"]),
            (&[("append", 1000), ("decode", 2000), ("query", 1)], &["query: not in the file"]),
        ] {
            assert_eq!(findings(&file, &counts(now)), found);
        }
    }

    #[test]
    fn a_slowdown_that_is_not_seen_fails() {
        for (decode, planted, seen) in [(1000, 1100, true), (1000, 1040, false), (1000, 900, false), (0, 0, false)] {
            let mut counts = counts(&[("decode", decode), ("planted", planted)]);
            assert_eq!(planted_is_found(&mut counts).is_ok(), seen, "{decode} {planted}");
        }
    }

    #[test]
    fn only_the_programs_own_instructions_count() {
        let profile = "events: Ir\nsummary: 999\n\nob=(2) /a/adsum-gate\nfl=(1) ???\nfn=(1) x\n0 10\n+3 5\ncob=(3) /lib/libc.so.6\n\
                       cfn=(9) memcpy\ncalls=2 264\n0 700\n* 1\nob=(3)\nfn=(9)\n264 700\nob=(2)\nfn=(4) y\n-2 4\n";
        assert_eq!(instructions_of(profile, "adsum-gate"), 20);
        assert_eq!(instructions_of(profile, "libc.so.6"), 700);
        assert_eq!(instructions_of(profile, "gate"), 0);
    }

    #[test]
    fn what_is_written_is_read() {
        let (counts, conditions) = (
            counts(&[("append", 7), ("decode", 9)]),
            Conditions { rustc: "rustc 1.95.0".to_owned(), valgrind: "valgrind-3.19.0".to_owned() },
        );
        assert_eq!(read(&shown(&counts, &conditions)), Some((counts, conditions)));
        assert_eq!(read("[instructions]\nappend = 7\n"), None);
    }
}
