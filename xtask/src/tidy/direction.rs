//! Rules about what depends on what: crates on crates, roles of the binary on roles, the binary on implementations.
//!
//! Invariant: the direction is the one of the tables here; a crate that is in none of them is a finding, so a new one
//! cannot come in without a place. Not here: cycles within a crate.

use toml::{Table, Value};

use super::Finding;
use super::tree::{File, Tree, first_word, words};

/// Each crate, and the crates of ours that it may depend on.
const BELOW: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("disk", &[]),
    ("engine", &["model"]),
    ("lake", &["model"]),
    ("log", &["model", "disk"]),
    ("store", &["model", "disk"]),
    ("pipeline", &["model", "engine", "log", "store"]),
    ("adsum", &["model", "disk", "engine", "log", "store", "pipeline", "lake"]),
    ("sim", &["model", "disk", "engine", "log", "store", "pipeline"]),
];

/// What the tests of a crate may use beyond that: the crate, and what for.
const BELOW_TESTS: &[(&str, &[&str])] = &[
    // Its tests open the embedded log and store, which want a disk, also the one that fails.
    ("pipeline", &["disk"]),
];

const BINARY: &str = "crates/adsum/src/";
const WIRE: &str = "crates/adsum/src/wire.rs";
const ROLES: [&str; 8] = ["collect", "process", "archive", "reconcile", "report", "import", "metadata", "operate"];
const CONCRETE: [&str; 5] = ["EmbeddedLog", "EmbeddedStore", "RealDisk", "MemoryLog", "MemoryStore"];

pub fn crates(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, manifest) in manifests(tree) {
        let Some(folder) = file.path.strip_prefix("crates/").and_then(|path| path.strip_suffix("/Cargo.toml")) else {
            continue;
        };
        let Some((_, below)) = BELOW.iter().find(|(name, _)| *name == folder) else {
            findings.push(file.whole(format!("`{folder}` has no place in the direction of the crates")));
            continue;
        };
        let below_tests = BELOW_TESTS.iter().find(|(name, _)| *name == folder).map_or(&[][..], |(_, below)| below);
        for (section, dependency) in dependencies(&manifest) {
            let Some(ours) = our_crate(&dependency) else { continue };
            let of_tests = section == "dev-dependencies" && below_tests.contains(&ours);
            if !below.contains(&ours) && !of_tests {
                let at = words(&file.text, &dependency).next().unwrap_or(0);
                findings.push(file.at(at, format!("`{folder}` must not depend on `{dependency}` ({section})")));
            }
        }
    }
    findings
}

/// The folder of a crate of ours, by the name of its package.
fn our_crate(package: &str) -> Option<&str> {
    if package == "adsum" { Some(package) } else { package.strip_prefix("adsum-") }
}

/// Sections and names of the packages that a manifest depends on, also for some targets only.
fn dependencies(manifest: &Table) -> Vec<(&'static str, String)> {
    let for_targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let scopes = std::iter::once(manifest).chain(for_targets.filter_map(Value::as_table));
    let mut found = Vec::new();
    for scope in scopes {
        for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
            let listed = scope.get(section).and_then(Value::as_table).into_iter().flatten();
            found.extend(listed.map(|(key, value)| {
                // Under another name in the code, the package's own is beside it.
                let package = value.get("package").and_then(Value::as_str).unwrap_or(key);
                (section, package.to_owned())
            }));
        }
    }
    found
}

pub fn lints_inherited(tree: &Tree) -> Vec<Finding> {
    let inherits = |manifest: &Table| {
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        lints.and_then(Value::as_bool) == Some(true)
    };
    let packages = manifests(tree).into_iter().filter(|(_, manifest)| manifest.contains_key("package"));
    let apart = packages.filter(|(_, manifest)| !inherits(manifest));
    apart.map(|(file, _)| file.whole("has no `[lints]` with `workspace = true`")).collect()
}

/// All manifests that can be parsed; cargo itself refuses the others.
fn manifests(tree: &Tree) -> Vec<(&File, Table)> {
    let named = tree.files.iter().filter(|file| file.path.ends_with("Cargo.toml"));
    named.filter_map(|file| Some((file, file.text.parse().ok()?))).collect()
}

pub fn roles_apart(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let Some(own) = role_of(&file.path) else { continue };
        for (at, name) in names_in_paths(&file.code, "crate") {
            if ROLES.contains(&name) && name != own {
                findings.push(file.at(at, format!("the role `{own}` imports the role `{name}`")));
            }
        }
        for (at, name) in names_in_paths(&file.code, "super") {
            // A role may have a module of its own that is called as another role is.
            let mine = |path: String| tree.names.contains(&path);
            let own_module = mine(format!("{BINARY}{own}/{name}")) || mine(format!("{BINARY}{own}/{name}.rs"));
            if ROLES.contains(&name) && name != own && !own_module {
                findings.push(file.at(at, format!("the role `{own}` imports the role `{name}`")));
            }
        }
    }
    findings
}

/// The role to which a file of the binary belongs.
fn role_of(path: &str) -> Option<&'static str> {
    let inside = path.strip_prefix(BINARY)?;
    let first = inside.split('/').next()?;
    let first = first.strip_suffix(".rs").unwrap_or(first);
    ROLES.into_iter().find(|role| *role == first)
}

/// The names right behind `root::`, also those in `root::{a, b::c}`, with the byte at which each stands.
fn names_in_paths<'c>(code: &'c str, root: &'c str) -> Vec<(usize, &'c str)> {
    let mut found = Vec::new();
    for at in words(code, root) {
        let behind = at + root.len();
        let Some(path) = code[behind..].trim_start().strip_prefix("::") else { continue };
        let path = path.trim_start();
        let begins = code.len() - path.len();
        match path.strip_prefix('{') {
            None => found.push((begins, first_word(path))),
            Some(group) => found.extend(names_in_group(group).into_iter().map(|(at, name)| (begins + 1 + at, name))),
        }
    }
    found
}

/// The first name of each element of a group, up to its closing brace.
fn names_in_group(group: &str) -> Vec<(usize, &str)> {
    let (mut depth, mut element_begins, mut found) = (0_usize, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                let element = &group[element_begins..at];
                let spaces = element.len() - element.trim_start().len();
                found.push((element_begins + spaces, first_word(element.trim_start())));
                element_begins = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    found
}

pub fn wire_names(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust().filter(|file| file.path.starts_with(BINARY) && file.path != WIRE) {
        for name in CONCRETE {
            findings.extend(words(&file.code, name).map(|at| file.at(at, format!("`{name}`: only wire.rs names it"))));
        }
    }
    findings
}
