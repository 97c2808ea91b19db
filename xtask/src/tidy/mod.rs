//! The source rules: what STYLE.md promises and can be checked by reading files.
//!
//! Invariant: each rule is one entry of [`RULES`], and `planted` holds a violation of each that must be found: a check
//! that cannot fail is a defect. What a rule does not apply to is listed with a reason in `allow`, and an entry there
//! that excuses nothing any more is itself a finding. Not here: what rustc, rustfmt and clippy check.

mod allow;
mod code;
mod direction;
mod lexer;
mod shape;
mod tree;

#[cfg(test)]
mod planted;

use std::path::Path;

use allow::{ALLOWED, Allowed};
use tree::Tree;

/// One rule.
struct Rule {
    /// As STYLE.md and the allow table call it.
    name: &'static str,
    /// What must hold.
    what: &'static str,
    check: fn(&Tree) -> Vec<Finding>,
}

/// A place where a rule does not hold.
#[derive(Debug)]
struct Finding {
    path: String,
    /// From 1; 0 when the file as a whole is meant.
    line: usize,
    what: String,
}

/// Every rule, in the order in which findings are shown.
const RULES: &[Rule] = &[
    Rule {
        name: "opens-with-doc",
        what: "a Rust file opens with `//!`: what it is, its invariant, what it is not",
        check: shape::opens_with_doc,
    },
    Rule { name: "file-length", what: "a Rust file has at most 600 lines", check: shape::file_length },
    Rule {
        name: "noun-names",
        what: "a module is named after its noun: no util, common, helper, misc, no version in the name",
        check: shape::noun_names,
    },
    Rule {
        name: "no-ignored-tests",
        what: "a test runs or is removed; none is switched off",
        check: shape::no_ignored_tests,
    },
    Rule { name: "no-markers", what: "no unfinished business left in comments", check: shape::no_markers },
    Rule {
        name: "no-machine-paths",
        what: "no path of one machine in a file of the repository",
        check: shape::no_machine_paths,
    },
    Rule { name: "no-trailing-space", what: "no white space at the end of a line", check: shape::no_trailing_space },
    Rule { name: "links-resolve", what: "what a Markdown file links to is there", check: shape::links_resolve },
    Rule {
        name: "crate-direction",
        what: "a crate depends only on those below it: model <- engine, lake; model, disk <- log, store; \
               engine, log, store <- pipeline <- adsum, sim",
        check: direction::crates,
    },
    Rule {
        name: "lints-inherited",
        what: "every package takes the lints of the workspace",
        check: direction::lints_inherited,
    },
    Rule {
        name: "roles-apart",
        what: "the role folders of the binary never import one another",
        check: direction::roles_apart,
    },
    Rule {
        name: "wire-names",
        what: "within the binary only wire.rs names concrete logs, stores and disks",
        check: direction::wire_names,
    },
    Rule {
        name: "disk-through-trait",
        what: "log and store reach the disk only through adsum_disk::Disk",
        check: code::disk_through_trait,
    },
    Rule {
        name: "private-newtypes",
        what: "the field of a newtype is private, and nothing derefs to it",
        check: code::private_newtypes,
    },
    Rule {
        name: "nouns-unserialized",
        what: "the nouns of the model have no serialized form; versioned wire and row types do",
        check: code::nouns_unserialized,
    },
    Rule { name: "bounded-channels", what: "every channel has a limit", check: code::bounded_channels },
    Rule {
        name: "clocks-in-clock",
        what: "clocks and randomness are read in crates/adsum/src/clock.rs only",
        check: code::clocks_in_clock,
    },
    Rule { name: "no-floats", what: "what counts events and money has no floats", check: code::no_floats },
    Rule {
        name: "safety-comment",
        what: "each `unsafe` has a comment with SAFETY at most five lines above it",
        check: code::safety_comment,
    },
];

/// Checks the repository at `root` and prints what is wrong with it. True when nothing is.
pub fn run(root: &Path) -> bool {
    let tree = match Tree::read(root) {
        Ok(tree) => tree,
        Err(e) => {
            println!("tidy could not read the repository: {e}");
            return false;
        }
    };
    let findings = check(&tree, ALLOWED);
    for (rule, finding) in &findings {
        println!("{}:{}: {}: {}", finding.path, finding.line, rule, finding.what);
    }
    for rule in RULES.iter().filter(|rule| findings.iter().any(|(name, _)| *name == rule.name)) {
        println!("{}: {}", rule.name, rule.what);
    }
    println!("tidy: {} rules, {} files, {} findings", RULES.len(), tree.files.len(), findings.len());
    findings.is_empty()
}

/// All findings, each with the name of its rule: those that are not excused, and the excuses that nothing needs.
fn check(tree: &Tree, allowed: &[Allowed]) -> Vec<(&'static str, Finding)> {
    let mut used = vec![false; allowed.len()];
    let mut left = Vec::new();
    for rule in RULES {
        for finding in (rule.check)(tree) {
            let excuse = allowed.iter().position(|a| a.rule == rule.name && finding.path.starts_with(a.under));
            match excuse {
                Some(at) => used[at] = true,
                None => left.push((rule.name, finding)),
            }
        }
    }
    for (excuse, _) in allowed.iter().zip(used).filter(|(_, used)| !used) {
        let Allowed { rule, under, reason } = excuse;
        let what = format!("the allow table excuses `{under}` from {rule} ({reason}), which needs no excuse");
        left.push(("allow", Finding { path: "xtask/src/tidy/allow.rs".into(), line: 0, what }));
    }
    left
}
