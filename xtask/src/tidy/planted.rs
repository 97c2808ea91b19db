//! The tests of the rules: a planted violation of each must be found, its harmless twin must not, and the repository
//! itself must be clean.
//!
//! Invariant: every rule has a planted violation (`every_rule_has_a_planted_violation` fails otherwise).

use std::fs;
use std::path::Path;

use super::allow::Allowed;
use super::tree::Tree;
use super::{RULES, check};

/// A folder of files, and what is to be found in it.
struct Planted {
    files: &'static [(&'static str, &'static str)],
    /// Rule, path and line.
    found: &'static [(&'static str, &'static str, usize)],
}

const CASES: &[Planted] = &[
    Planted {
        files: &[
            ("crates/model/src/a.rs", "// not a doc\n"),
            ("bench/gen/src/empty.rs", ""),
            ("xtask/src/b.rs", "//! A doc.\n"),
            ("web/other.rs", "fn not_ours() {}\n"),
        ],
        found: &[("opens-with-doc", "bench/gen/src/empty.rs", 1), ("opens-with-doc", "crates/model/src/a.rs", 1)],
    },
    Planted {
        files: &[
            ("crates/model/src/util.rs", "//! A doc.\n"),
            ("crates/model/src/helpers/mod.rs", "//! A doc.\n"),
            ("crates/model/src/wire_v2.rs", "//! A doc.\n"),
            (
                "crates/model/src/lib.rs",
                "//! A doc.\nmod tests {\n    pub mod  common {}\n}\nmod commons;\n// mod misc;\n",
            ),
            ("crates/model/src/wire_values.rs", "//! A doc.\n"),
        ],
        found: &[
            ("noun-names", "crates/model/src/helpers/mod.rs", 0),
            ("noun-names", "crates/model/src/lib.rs", 3),
            ("noun-names", "crates/model/src/util.rs", 0),
            ("noun-names", "crates/model/src/wire_v2.rs", 0),
        ],
    },
    Planted {
        files: &[(
            "crates/model/tests/a.rs",
            "//! A doc.\n#[test]\n#[ignore]\nfn a() {}\n#[ignore = \"slow\"]\nfn b() {}\n#[cfg_attr(miri, ignore)]\nfn c() {}\n\
             #[test]\nfn d(ignore: u8) {}\n// #[ignore]\n",
        )],
        found: &[
            ("no-ignored-tests", "crates/model/tests/a.rs", 3),
            ("no-ignored-tests", "crates/model/tests/a.rs", 5),
            ("no-ignored-tests", "crates/model/tests/a.rs", 7),
        ],
    },
    Planted {
        files: &[
            ("crates/model/src/a.rs", "//! A doc.\n// FIXME later\nconst M: &str = \"FIXME\";\n/* XXX */\n"),
            ("bench/run.sh", "echo # XXX\nmktemp -d a.XXXXXX\n"),
            ("STYLE.md", "no FIXME\n"),
        ],
        found: &[
            ("no-markers", "bench/run.sh", 1),
            ("no-markers", "crates/model/src/a.rs", 2),
            ("no-markers", "crates/model/src/a.rs", 4),
        ],
    },
    Planted {
        files: &[
            ("crates/model/src/a.rs", "//! A doc. \nfn a() {}\n"),
            ("README.md", "a\nb\t\n\nc  \n"),
            ("bench/a.sh", "a\r\nb\n"),
            ("fixtures/format/v1/a.json", "a \n"),
        ],
        found: &[
            ("no-trailing-space", "README.md", 2),
            ("no-trailing-space", "README.md", 4),
            ("no-trailing-space", "bench/a.sh", 1),
            ("no-trailing-space", "crates/model/src/a.rs", 1),
        ],
    },
    Planted {
        files: &[
            (
                "README.md",
                "[a](STYLE.md) [b](docs/gone.md)\n![c](docs/c.png \"a title\") [d](https://example.com/x) [e](#here)\n",
            ),
            ("STYLE.md", "```\n[a](gone)\n```\n`[b](gone)` [`c`](gone#part)\n\n[d]: docs/adr\n[e]: gone.md\n"),
            ("docs/adr/0001-one.md", "[up](../../README.md#top) [out](../../../README.md) [rooted](/STYLE.md)\n"),
            ("docs/c.png", "not really\n"),
        ],
        found: &[
            ("links-resolve", "README.md", 1),
            ("links-resolve", "STYLE.md", 4),
            ("links-resolve", "STYLE.md", 7),
            ("links-resolve", "docs/adr/0001-one.md", 1),
        ],
    },
    Planted {
        files: &[
            (
                "crates/log/Cargo.toml",
                "[dependencies]\nadsum-model.workspace = true\nadsum-store.workspace = true\nserde = \"1\"\n[lints]\nworkspace = true\n",
            ),
            ("crates/model/Cargo.toml", "[dev-dependencies]\nadsum-disk = { path = \"../disk\" }\n"),
            (
                "crates/engine/Cargo.toml",
                "[target.'cfg(unix)'.dependencies]\nfiles = { package = \"adsum-disk\", version = \"1\" }\n",
            ),
            ("crates/store/Cargo.toml", "[build-dependencies]\nadsum = \"1\"\n"),
            (
                "crates/pipeline/Cargo.toml",
                "[dependencies]\nadsum-log = \"1\"\n[dev-dependencies]\nadsum-disk = \"1\"\n",
            ),
            ("crates/sim/Cargo.toml", "[dependencies]\nadsum-lake = \"1\"\nadsum-pipeline = \"1\"\n"),
            ("crates/novel/Cargo.toml", "[dependencies]\n"),
        ],
        found: &[
            ("crate-direction", "crates/engine/Cargo.toml", 2),
            ("crate-direction", "crates/log/Cargo.toml", 3),
            ("crate-direction", "crates/model/Cargo.toml", 2),
            ("crate-direction", "crates/novel/Cargo.toml", 0),
            ("crate-direction", "crates/sim/Cargo.toml", 2),
            ("crate-direction", "crates/store/Cargo.toml", 2),
        ],
    },
    Planted {
        files: &[
            ("Cargo.toml", "[workspace]\nmembers = []\n"),
            ("bench/a/Cargo.toml", "[package]\nname = \"a\"\n[lints]\nworkspace = true\n"),
            ("bench/b/Cargo.toml", "[package]\nname = \"b\"\n[lints.rust]\nmissing_docs = \"warn\"\n"),
        ],
        found: &[("lints-inherited", "bench/b/Cargo.toml", 0)],
    },
    Planted {
        files: &[
            (
                "crates/adsum/src/import/run.rs",
                "//! A doc.\nuse crate::clock;\nuse crate::report::Format;\nuse super::super::process;\nuse super::report::X;\n",
            ),
            (
                "crates/adsum/src/report/mod.rs",
                "//! A doc.\nuse crate::{\n    clock::{self, import},\n    import::Y,\n    report::Z,\n};\nuse super::collect;\n",
            ),
            ("crates/adsum/src/report/import.rs", "//! A doc.\nuse super::import::W;\n"),
            ("crates/adsum/src/archive.rs", "//! A doc.\nfn a() { crate :: reconcile :: go(); }\n// crate::import\n"),
            ("crates/adsum/src/metadata/api.rs", "//! A doc.\nuse crate::http;\nuse crate::operate::clock;\n"),
            ("crates/adsum/src/operate/clock.rs", "//! A doc.\nuse super::backups;\nuse crate::metadata::State;\n"),
            ("crates/adsum/src/cli/mod.rs", "//! A doc.\nuse crate::import;\n"),
        ],
        found: &[
            ("roles-apart", "crates/adsum/src/archive.rs", 2),
            ("roles-apart", "crates/adsum/src/import/run.rs", 3),
            ("roles-apart", "crates/adsum/src/import/run.rs", 4),
            ("roles-apart", "crates/adsum/src/import/run.rs", 5),
            ("roles-apart", "crates/adsum/src/metadata/api.rs", 3),
            ("roles-apart", "crates/adsum/src/operate/clock.rs", 3),
            ("roles-apart", "crates/adsum/src/report/mod.rs", 4),
            ("roles-apart", "crates/adsum/src/report/mod.rs", 7),
        ],
    },
    Planted {
        files: &[
            ("crates/adsum/src/wire.rs", "//! A doc.\nuse adsum_log::EmbeddedLog;\n"),
            ("crates/adsum/src/cli/a.rs", "//! EmbeddedLog.\nfn a(log: &EmbeddedLog, disk: RealDisk) {}\n"),
            ("crates/adsum/tests/a.rs", "//! A doc.\nuse adsum_store::MemoryStore;\n"),
        ],
        found: &[("wire-names", "crates/adsum/src/cli/a.rs", 2), ("wire-names", "crates/adsum/src/cli/a.rs", 2)],
    },
    Planted {
        files: &[
            ("crates/store/src/a.rs", "//! A doc.\nuse std::fs;\n"),
            ("crates/log/src/a.rs", "//! std::fs.\nuse std::{fs::File, io};\nfn a() { OpenOptions::new(); }\n"),
            ("crates/log/tests/a.rs", "//! A doc.\nuse std::fs;\n"),
            ("crates/disk/src/a.rs", "//! A doc.\nuse std::fs;\n"),
        ],
        found: &[
            ("disk-through-trait", "crates/log/src/a.rs", 2),
            ("disk-through-trait", "crates/log/src/a.rs", 3),
            ("disk-through-trait", "crates/store/src/a.rs", 2),
        ],
    },
    Planted {
        files: &[
            (
                "crates/log/src/a.rs",
                "//! A doc.\npub struct A(pub u64);\nstruct B<T>(\n    pub T,\n);\nimpl std::ops::Deref for A {}\n",
            ),
            (
                "crates/log/src/b.rs",
                "//! A doc.\npub struct C(u64);\nstruct D(pub(crate) u64);\nstruct E { pub f: F }\nfn g(pub_h: u8) {}\n",
            ),
            ("crates/log/tests/a.rs", "//! A doc.\nstruct A(pub u64);\n"),
        ],
        found: &[
            ("private-newtypes", "crates/log/src/a.rs", 2),
            ("private-newtypes", "crates/log/src/a.rs", 3),
            ("private-newtypes", "crates/log/src/a.rs", 6),
        ],
    },
    Planted {
        files: &[
            ("crates/model/src/a.rs", "//! A doc.\n#[derive(Clone, Serialize)]\nstruct A;\n"),
            ("crates/adsum/src/a.rs", "//! A doc.\n#[derive(Clone, Serialize)]\nstruct A;\n"),
        ],
        found: &[("nouns-unserialized", "crates/model/src/a.rs", 2)],
    },
    Planted {
        files: &[(
            "crates/adsum/src/a.rs",
            "//! A doc.\nfn a() { mpsc::channel::<Vec<u8>>(); }\nfn b() { channel(); }\nfn c() { tokio::mpsc::unbounded_channel(); }\n\
             fn d() { crossbeam::unbounded(); }\nfn e() { sync_channel::<u8>(1); mpsc::channel(8); oneshot::channel(); }\nfn channel() {}\n",
        )],
        found: &[
            ("bounded-channels", "crates/adsum/src/a.rs", 2),
            ("bounded-channels", "crates/adsum/src/a.rs", 3),
            ("bounded-channels", "crates/adsum/src/a.rs", 4),
            ("bounded-channels", "crates/adsum/src/a.rs", 5),
        ],
    },
    Planted {
        files: &[
            ("crates/adsum/src/clock.rs", "//! A doc.\nfn a() { Instant::now(); }\n"),
            (
                "crates/engine/src/a.rs",
                "//! A doc.\nfn a() { std::time::SystemTime::now(); }\n// Instant::now\nfn b(e: ClockInstant) { e.now() }\n",
            ),
            ("crates/log/tests/a.rs", "//! A doc.\nfn a() { Instant::now(); }\n"),
            ("bench/gen/src/a.rs", "//! A doc.\nfn a() { Instant::now(); }\n"),
        ],
        found: &[("clocks-in-clock", "crates/engine/src/a.rs", 2), ("clocks-in-clock", "crates/log/tests/a.rs", 2)],
    },
    Planted {
        files: &[
            (
                "crates/model/src/a.rs",
                "//! f64.\nfn a(x: f64) {}\nconst B: u8 = 1.0f32 as u8;\nfn c() { v.as_f64() }\nconst BUF64: u8 = 0;\n",
            ),
            ("crates/store/src/a.rs", "//! A doc.\nfn buf64(f640: u8) { \"f32\"; }\n"),
            ("crates/adsum/src/a.rs", "//! A doc.\nfn a(x: f64) {}\n"),
        ],
        found: &[
            ("no-floats", "crates/model/src/a.rs", 2),
            ("no-floats", "crates/model/src/a.rs", 3),
            ("no-floats", "crates/model/src/a.rs", 4),
        ],
    },
    Planted {
        files: &[(
            "crates/model/src/a.rs",
            "//! unsafe.\n// SAFETY: it is near.\n//\n//\n//\n//\nunsafe { a() }\nunsafe { b() }\n\
             \n\n\n/// # Safety\n/// Owed.\npub unsafe fn c() {}\nfn d() { unsafe { e() } }\n",
        )],
        found: &[("safety-comment", "crates/model/src/a.rs", 8), ("safety-comment", "crates/model/src/a.rs", 15)],
    },
];

/// Writes the files and compares what is found in them.
#[track_caller]
fn check_planted(files: &[(&str, &str)], allowed: &[Allowed], wanted: &[(&str, &str, usize)]) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("it lies in the folder")).expect("folders can be made");
        fs::write(path, text).expect("files can be written");
    }
    let tree = Tree::read(folder.path()).expect("it was just written");
    let mut findings = check(&tree, allowed);
    findings.sort_by(|(rule, a), (other, b)| (rule, &a.path, a.line).cmp(&(other, &b.path, b.line)));
    let found: Vec<_> = findings.iter().map(|(rule, finding)| (*rule, finding.path.as_str(), finding.line)).collect();
    assert_eq!(found, wanted, "in {files:?}: {findings:?}");
}

#[test]
fn planted_violations_are_found_and_their_twins_are_not() {
    for case in CASES {
        check_planted(case.files, &[], case.found);
    }
}

#[test]
fn long_files_are_found() {
    let (long, enough) = (format!("//! A doc.\n{}", "\n".repeat(600)), format!("//! A doc.\n{}", "\n".repeat(599)));
    let files = [("crates/model/src/a.rs", long.as_str()), ("crates/model/src/b.rs", enough.as_str())];
    check_planted(&files, &[], &[("file-length", "crates/model/src/a.rs", 0)]);
}

/// Put together here, so that this file has no such path itself.
#[test]
fn machine_paths_are_found() {
    for folder in ["work", "home", "root"] {
        let text = format!("a\n\"/{folder}/x\"\nfile:///{folder}/x\nsub/{folder}/x ../{folder}/x\n${{A}}/{folder}/x\n");
        let path = "bench/run.sh";
        check_planted(&[(path, &text)], &[], &[("no-machine-paths", path, 2), ("no-machine-paths", path, 3)]);
    }
}

#[test]
fn every_rule_has_a_planted_violation() {
    let apart = ["file-length", "no-machine-paths"];
    for rule in RULES {
        let planted = CASES.iter().flat_map(|case| case.found).any(|(name, ..)| *name == rule.name);
        assert!(planted || apart.contains(&rule.name), "no violation of {} is planted", rule.name);
    }
}

#[test]
fn an_excuse_hides_its_own_rule_and_must_be_needed() {
    let files = [("crates/log/examples/a.rs", "//! A doc.\nfn a(x: f64) { Instant::now(); }\n")];
    let excuse = |rule, under| Allowed { rule, under, reason: "a test" };
    let (floats, clocks) = (("no-floats", files[0].0, 2), ("clocks-in-clock", files[0].0, 2));
    let unneeded = ("allow", "xtask/src/tidy/allow.rs", 0);
    check_planted(&files, &[], &[clocks, floats]);
    check_planted(&files, &[excuse("no-floats", "crates/log/examples/")], &[clocks]);
    check_planted(&files, &[excuse("no-floats", "crates/store/")], &[unneeded, clocks, floats]);
    check_planted(&files, &[excuse("safety-comment", "crates/log/")], &[unneeded, clocks, floats]);
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository")
}

#[test]
fn the_repository_is_clean() {
    assert!(super::run(repository()), "see `cargo xtask tidy`");
}

/// STYLE.md names each rule as `tidy: name`, and no rule that there is not.
#[test]
fn style_names_every_rule() {
    let style = fs::read_to_string(repository().join("STYLE.md")).expect("STYLE.md can be read");
    let mut named: Vec<&str> = style.split("`tidy: ").skip(1).filter_map(|rest| rest.split('`').next()).collect();
    named.sort_unstable();
    named.dedup();
    let mut rules: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
    rules.sort_unstable();
    assert_eq!(named, rules);
}
