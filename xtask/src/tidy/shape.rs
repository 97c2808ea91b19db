//! Rules about files as such: how they open, how long they are, what they are called, what must not stand in them.
//!
//! Not here: what depends on what (`direction`), what code may call (`code`).

use super::Finding;
use super::tree::{File, Tree, first_word, words};

const LINES_MAX: usize = 600;

/// Names that say nothing about what is inside.
const VAGUE: [&str; 6] = ["util", "utils", "common", "helper", "helpers", "misc"];

const MARKERS: [&str; 2] = ["FIXME", "XXX"];

/// Folders at the root of a file system in which one machine differs from the next.
const MACHINE_FOLDERS: [&str; 3] = ["work", "home", "root"];

pub fn opens_with_doc(tree: &Tree) -> Vec<Finding> {
    let opens = |file: &File| file.text.starts_with("//! ");
    tree.rust().filter(|file| !opens(file)).map(|file| file.at(0, "does not open with `//!`")).collect()
}

pub fn file_length(tree: &Tree) -> Vec<Finding> {
    let lengths = tree.rust().map(|file| (file, file.text.lines().count()));
    let over = lengths.filter(|(_, lines)| *lines > LINES_MAX);
    over.map(|(file, lines)| file.whole(format!("{lines} lines: split it along the way of the data"))).collect()
}

pub fn noun_names(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let vague_part =
            file.path.split('/').map(|part| part.strip_suffix(".rs").unwrap_or(part)).find(|p| is_vague(p));
        findings.extend(vague_part.map(|part| file.whole(format!("`{part}` names no noun"))));
        for at in words(&file.code, "mod") {
            let name = first_word(file.code[at + "mod".len()..].trim_start());
            if is_vague(name) {
                findings.push(file.at(at, format!("`mod {name}` names no noun")));
            }
        }
    }
    findings
}

fn is_vague(name: &str) -> bool {
    let versioned = name
        .rsplit_once("_v")
        .is_some_and(|(_, digits)| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
    versioned || VAGUE.contains(&name)
}

/// `#[ignore]`, with a reason or without, also behind `cfg_attr`.
pub fn no_ignored_tests(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        for at in words(&file.code, "ignore") {
            let attribute = file.code[..at].rfind("#[").map(|opens| &file.code[opens..at]);
            if attribute.is_some_and(|inside| !inside.contains(']')) {
                findings.push(file.at(at, "an ignored test"));
            }
        }
    }
    findings
}

/// In the comments of Rust, and anywhere in what else is code or configuration. Prose may speak about the words.
pub fn no_markers(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| !file.path.ends_with(".md")) {
        let searched = if file.path.ends_with(".rs") { &file.comments } else { &file.text };
        for marker in MARKERS {
            findings.extend(words(searched, marker).map(|at| file.at(at, format!("`{marker}`"))));
        }
    }
    findings
}

pub fn no_machine_paths(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        for folder in MACHINE_FOLDERS {
            let path = format!("/{folder}/");
            for (at, _) in file.text.match_indices(&path) {
                // Behind one of these it is the middle of a longer, perhaps relative, path.
                let middle = |c: char| c.is_alphanumeric() || "_-.~*})".contains(c);
                if !file.text[..at].ends_with(middle) {
                    findings.push(file.at(at, format!("a path of one machine: `{path}`")));
                }
            }
        }
    }
    findings
}

/// Not in fixtures: there each byte is data.
pub fn no_trailing_space(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| !file.path.starts_with("fixtures/")) {
        let spaced = file.lines().filter(|(_, line)| line.ends_with([' ', '\t', '\r']));
        findings.extend(spaced.map(|(begins, line)| file.at(begins, format!("`{}`", line.escape_debug()))));
    }
    findings
}

/// Relative links `[text](target)` and `[text]: target` of Markdown, outside code.
pub fn links_resolve(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        let mut fenced = false;
        for (begins, line) in file.lines() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            if fenced {
                continue;
            }
            for target in targets(line) {
                let path = target.split(['#', '?']).next().unwrap_or_default();
                let elsewhere = path.is_empty() || path.contains(':');
                if !elsewhere && !resolve(&file.path, path).is_some_and(|path| tree.names.contains(&path)) {
                    findings.push(file.at(begins, format!("`{path}` is not there")));
                }
            }
        }
    }
    findings
}

/// Where the links of one line lead.
fn targets(line: &str) -> Vec<&str> {
    // What stands between backticks (every second piece) is code.
    let prose = line.split('`').enumerate().filter(|(nth, _)| nth % 2 == 0).map(|(_, piece)| piece);
    let mut found: Vec<&str> = prose
        .flat_map(|piece| piece.split("](").skip(1))
        .map(|target| target.split([')', ' ']).next().unwrap_or_default())
        .collect();
    // A link whose text is code, [`like this`](target), begins in the piece behind the code: `](target)`.
    if let Some((name, target)) = line.split_once("]: ")
        && name.starts_with('[')
    {
        found.push(target.split_whitespace().next().unwrap_or_default());
    }
    found.into_iter().map(|target| target.trim_start_matches('<').trim_end_matches('>')).collect()
}

/// The path from the root that `target` means in the file `from`; None when it leaves the repository.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = if target.starts_with('/') { Vec::new() } else { from.split('/').collect() };
    parts.pop();
    for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match part {
            ".." => _ = parts.pop()?,
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
