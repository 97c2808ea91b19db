//! Rules about what code may call, and where.
//!
//! Invariant: only code is searched, never comments or strings. Not here: what clippy's `disallowed-methods` sees by
//! type; these rules hold where a lint was allowed too, and see what a list of methods forgets.

use super::Finding;
use super::tree::{File, Tree, words};

/// Where clocks may be read: the one place of the binary, and programs that measure.
const CLOCKS_LIVE_IN: [&str; 3] = ["crates/adsum/src/clock.rs", "xtask/", "bench/"];

const CLOCKS: [&str; 6] =
    ["SystemTime::now", "Instant::now", "Timestamp::now", "Zoned::now", "getrandom::fill", "rand::random"];

/// The crates through which counts and money go.
const EXACT: [&str; 5] = ["crates/model/", "crates/engine/", "crates/log/", "crates/store/", "crates/pipeline/"];

/// The crates that reach the disk through the trait.
const DISK_USERS: [&str; 2] = ["crates/log/src/", "crates/store/src/"];

const LINES_ABOVE: usize = 5;

/// Those of `files` that begin with one of `folders`.
fn under<'t>(tree: &'t Tree, folders: &'t [&'t str]) -> impl Iterator<Item = &'t File> {
    tree.rust().filter(|file| folders.iter().any(|folder| file.path.starts_with(folder)))
}

pub fn disk_through_trait(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in under(tree, &DISK_USERS) {
        for direct in ["std::fs", "fs::File", "OpenOptions"] {
            findings.extend(words(&file.code, direct).map(|at| file.at(at, format!("`{direct}`"))));
        }
    }
    findings
}

/// `pub struct Id(pub u64)` and `impl Deref for`: both give away what the type is there to keep.
pub fn private_newtypes(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust().filter(|file| file.path.starts_with("crates/") && file.path.contains("/src/")) {
        for at in words(&file.code, "struct") {
            let head = file.code[at..].split([';', '{']).next().unwrap_or_default();
            let fields = head.split_once('(').map_or("", |(_, fields)| fields);
            if words(fields, "pub").next().is_some_and(|public| !fields[public..].starts_with("pub(")) {
                findings.push(file.at(at, "a newtype with a public field"));
            }
        }
        for name in ["Deref for", "DerefMut for"] {
            findings.extend(words(&file.code, name).map(|at| file.at(at, format!("`{name}`"))));
        }
    }
    findings
}

pub fn nouns_unserialized(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in under(tree, &["crates/model/src/"]) {
        for name in ["Serialize", "Deserialize"] {
            findings.extend(words(&file.code, name).map(|at| file.at(at, format!("`{name}`"))));
        }
    }
    findings
}

/// `unbounded()`, `unbounded_channel()` and a `channel()` without a limit; a oneshot holds one message.
pub fn bounded_channels(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        for name in ["unbounded", "unbounded_channel"] {
            findings.extend(words(&file.code, name).map(|at| file.at(at, format!("`{name}`"))));
        }
        for at in words(&file.code, "channel") {
            let called = without_turbofish(&file.code[at + "channel".len()..]).starts_with("()");
            let declared = file.code[..at].trim_end().ends_with("fn");
            if called && !declared && !file.code[..at].ends_with("oneshot::") {
                findings.push(file.at(at, "`channel()` has no limit"));
            }
        }
    }
    findings
}

/// What follows `::<...>`, if there is one.
fn without_turbofish(code: &str) -> &str {
    let Some(generics) = code.strip_prefix("::<") else { return code };
    let mut depth = 1;
    for (at, c) in generics.char_indices() {
        match c {
            '<' => depth += 1,
            '>' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &generics[at + 1..];
        }
    }
    code
}

pub fn clocks_in_clock(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let elsewhere = |file: &&File| !CLOCKS_LIVE_IN.iter().any(|place| file.path.starts_with(place));
    for file in tree.rust().filter(elsewhere) {
        for clock in CLOCKS {
            findings.extend(words(&file.code, clock).map(|at| file.at(at, format!("`{clock}`"))));
        }
    }
    findings
}

/// `f32` and `f64` as types, as suffixes of numbers (`1f64`) and in names (`as_f64`).
pub fn no_floats(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in under(tree, &EXACT) {
        for float in ["f32", "f64"] {
            for (at, _) in file.code.match_indices(float) {
                let (before, after) = (&file.code[..at], &file.code[at + float.len()..]);
                let longer = after.starts_with(|c: char| c == '_' || c.is_alphanumeric());
                if !before.ends_with(char::is_alphabetic) && !longer {
                    findings.push(file.at(at, format!("`{float}`")));
                }
            }
        }
    }
    findings
}

pub fn safety_comment(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        for at in words(&file.code, "unsafe") {
            // An unsafe function says in its docs, under `# Safety`, what its caller owes.
            let declared = file.code[at + "unsafe".len()..].trim_start();
            let owed = ["fn", "extern", "trait"].iter().any(|item| declared.starts_with(item));
            let above = last_lines(&file.comments[..at], LINES_ABOVE + 1);
            let explained = above.contains("SAFETY") || (owed && above.contains("# Safety"));
            if !explained {
                findings.push(file.at(at, "`unsafe` without a SAFETY comment above it"));
            }
        }
    }
    findings
}

/// The last `count` lines of a text.
fn last_lines(text: &str, count: usize) -> &str {
    let begins = text.rmatch_indices('\n').nth(count - 1).map_or(0, |(at, _)| at + 1);
    &text[begins..]
}
