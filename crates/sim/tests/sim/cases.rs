//! The cases of the repository: `cases/*.case`. `UPDATE_CASES=1` writes what came of them into them; then read it.
#![allow(clippy::disallowed_methods, reason = "a test reads and writes the files of the repository")]

use std::path::{Path, PathBuf};

use adsum_sim::cases::{Case, run};

fn files() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases");
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .expect("there is a folder of cases")
        .map(|entry| entry.expect("the folder of cases is read").path())
        .filter(|path| path.extension().is_some_and(|e| e == "case"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_case_gives_what_it_says() {
    let update = std::env::var_os("UPDATE_CASES").is_some();
    let mut wrong = Vec::new();
    let files = files();
    assert!(!files.is_empty(), "there are no cases");
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let case = match Case::parse(&text) {
            Ok(case) => case,
            Err(error) => {
                wrong.push(format!("{name}, {error}"));
                continue;
            }
        };
        match run(&case) {
            Err(error) => wrong.push(format!("{name}: {error}")),
            Ok(got) if got == case.expected() => {}
            Ok(got) if update => std::fs::write(&path, case.with_expected(&got)).unwrap(),
            Ok(got) => wrong.push(format!("{name}: it gives\n{got}\nand not\n{}", case.expected())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_line_that_means_nothing_is_named() {
    for (text, want) in [
        ("times futur", "line 1: "),
        ("live web at noon", "line 1: noon is no time: Form"),
        ("tick 2026-11-21T10:00:00Z\nrollup country", "line 2: \"rollup country\" is nothing that happens"),
        ("replay one at 2026-11-21T10:00:00Z", "line 1: one is no offset"),
        ("campaign c1 cpx USD", "line 1: cpx is no billable type"),
        ("campaign c1 cpc USD status=on", "line 1: on is no status"),
        ("campaign c1 cpc USD noon", "line 1: [\"noon\"] says no time"),
        ("version c1 cpc", "line 1: no campaign c1"),
        ("doubt felt at 2026-11-21T10:00:00Z", "line 1: [\"doubt\", \"felt\", \"at\""),
    ] {
        let error = Case::parse(text).unwrap_err();
        assert!(error.starts_with(want), "{text}: {error}");
    }
}
