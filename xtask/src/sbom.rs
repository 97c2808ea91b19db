//! `cargo xtask sbom`: the software bill of materials of the binary that ships, as CycloneDX 1.6 in JSON.
//!
//! Cargo says what is built (`cargo tree`: for one target, with the features that are on), `Cargo.lock` gives the
//! checksums; both without a network. What is linked is `required`, what only takes part in building it (build scripts
//! and macros, and what those need) `excluded`, the standard's word for not there when it runs. Invariant: the same
//! commit gives the same bytes, so that anybody can make it again; a package whose checksum is unknown is no bill. Not
//! here: C sources that packages bring along, which belong to those, and the standard library.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

const BINARY: &str = "adsum";
const FOLDER: &str = "target/sbom";

/// Writes the bill for a target, the one that cargo builds for if none is named; false where it could not be made.
pub fn run(root: &Path, target: Option<&str>) -> bool {
    let target = match target.map(str::to_owned).map_or_else(host, Ok) {
        Ok(target) => target,
        Err(why) => {
            eprintln!("{why}");
            return false;
        }
    };
    let path = root.join(FOLDER).join(format!("{BINARY}-{target}.cdx.json"));
    let written = bill(root, &target).and_then(|bill| {
        std::fs::create_dir_all(root.join(FOLDER)).map_err(|e| e.to_string())?;
        std::fs::write(&path, format!("{bill:#}\n")).map_err(|e| e.to_string())?;
        Ok(bill["components"].as_array().map_or(0, Vec::len))
    });
    match &written {
        Ok(components) => println!("{}: {components} components", path.display()),
        Err(why) => eprintln!("{why}"),
    }
    written.is_ok()
}

/// A package by name and version.
type Id = (String, String);

/// What cargo says is built.
#[derive(Default)]
struct Built {
    /// The licence of each.
    licences: BTreeMap<Id, String>,
    /// What each needs.
    needs: BTreeMap<Id, BTreeSet<Id>>,
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| format!("{}: {e}", command.get_program().display()))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    String::from_utf8(output.stdout).map_err(|e| e.to_string())
}

fn host() -> Result<String, String> {
    let said = output(Command::new("rustc").arg("-vV"))?;
    said.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .ok_or_else(|| "rustc names no host".into())
}

/// What is built for the binary along these kinds of edges.
fn built(root: &Path, target: &str, edges: &str) -> Result<Built, String> {
    let tree = ["tree", "--locked", "--package", BINARY, "--no-dedupe", "--prefix", "depth", "--format", ";{p};{l}"];
    let said = output(Command::new("cargo").current_dir(root).args(tree).args(["--target", target, "--edges", edges]))?;
    let mut built = Built::default();
    let mut above: Vec<Id> = Vec::new();
    for line in said.lines().filter(|line| !line.is_empty()) {
        let unread = || format!("cargo tree says {line:?}, which was not expected");
        let mut parts = line.splitn(3, ';');
        let depth: usize = parts.next().and_then(|depth| depth.parse().ok()).ok_or_else(unread)?;
        let mut package = parts.next().ok_or_else(unread)?.split(' ');
        let (Some(name), Some(version)) = (package.next(), package.next().and_then(|v| v.strip_prefix('v'))) else {
            return Err(unread());
        };
        let licence = parts.next().filter(|licence| !licence.is_empty()).ok_or_else(unread)?;
        let id = (name.to_owned(), version.to_owned());
        above.truncate(depth);
        if let Some(needing) = above.last() {
            built.needs.entry(needing.clone()).or_default().insert(id.clone());
        }
        // The slash is how older packages write it.
        built.licences.insert(id.clone(), licence.replace('/', " OR ").replace("  OR  ", " OR "));
        built.needs.entry(id.clone()).or_default();
        above.push(id);
    }
    Ok(built)
}

/// The checksums of `Cargo.lock`; none for packages of this repository.
fn checksums(root: &Path) -> Result<BTreeMap<Id, Option<String>>, String> {
    let text = std::fs::read_to_string(root.join("Cargo.lock")).map_err(|e| e.to_string())?;
    let lock: toml::Table = text.parse().map_err(|e| format!("Cargo.lock: {e}"))?;
    let packages = lock.get("package").and_then(toml::Value::as_array).ok_or("Cargo.lock names no packages")?;
    let text = |package: &toml::Value, key: &str| package.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    let entry = |package| Some(((text(package, "name")?, text(package, "version")?), text(package, "checksum")));
    packages.iter().map(|package| entry(package).ok_or_else(|| "a package without a name".to_owned())).collect()
}

fn purl((name, version): &Id) -> String {
    // The versions of SemVer's builds have a plus.
    format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"))
}

fn bill(root: &Path, target: &str) -> Result<Value, String> {
    let linked = built(root, target, "normal,no-proc-macro")?;
    let all = built(root, target, "normal,build")?;
    let checksums = checksums(root)?;
    let mut components = Vec::new();
    let mut whole = None;
    for (id, licence) in &all.licences {
        let checksum = checksums.get(id).ok_or_else(|| format!("{} is not in Cargo.lock", purl(id)))?;
        let mut component = json!({
            "type": if id.0 == BINARY { "application" } else { "library" },
            "bom-ref": purl(id),
            "name": id.0,
            "version": id.1,
            "scope": if linked.licences.contains_key(id) { "required" } else { "excluded" },
            "licenses": [{ "expression": licence }],
            "purl": purl(id),
        });
        match checksum {
            Some(sum) => component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]),
            None if id.0 == BINARY || id.0.starts_with("adsum-") => {}
            None => return Err(format!("{} has no checksum in Cargo.lock", purl(id))),
        }
        if id.0 == BINARY { whole = Some(component) } else { components.push(component) }
    }
    let needs = all
        .needs
        .iter()
        .map(|(id, needs)| json!({ "ref": purl(id), "dependsOn": needs.iter().map(purl).collect::<Vec<_>>() }));
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": whole.ok_or("cargo tree does not name the binary")?,
            "properties": [{ "name": "cargo:target", "value": target }],
        },
        "components": components,
        "dependencies": needs.collect::<Vec<_>>(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-apple-darwin"];

    fn root() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
    }

    /// The packages that the binary needs along normal dependencies, by `cargo metadata`: another way than the bill's.
    /// It knows no features but those of the whole workspace with its tests, so that it gives what must be there
    /// (without dependencies that are optional) and what may be there.
    fn needed(target: &str, optional: bool) -> BTreeSet<Id> {
        let arguments = ["metadata", "--locked", "--format-version", "1", "--filter-platform", target];
        let said = output(Command::new("cargo").current_dir(root()).args(arguments)).unwrap();
        let metadata: Value = serde_json::from_str(&said).unwrap();
        let list = |value: &Value| value.as_array().unwrap().clone();
        let packages: BTreeMap<String, Value> =
            list(&metadata["packages"]).into_iter().map(|p| (p["id"].as_str().unwrap().to_owned(), p)).collect();
        let nodes: BTreeMap<String, Value> = list(&metadata["resolve"]["nodes"])
            .into_iter()
            .map(|n| (n["id"].as_str().unwrap().to_owned(), n))
            .collect();
        let is_macro = |id: &str| list(&packages[id]["targets"]).iter().any(|t| t["kind"][0] == "proc-macro");
        let first = packages.iter().find(|(_, p)| p["name"] == BINARY).unwrap().0.clone();
        let (mut met, mut waiting) = (BTreeSet::new(), vec![first]);
        while let Some(id) = waiting.pop() {
            if is_macro(&id) || !met.insert(id.clone()) {
                continue;
            }
            let declared = list(&packages[&id]["dependencies"]);
            for needed in list(&nodes[&id]["deps"]) {
                let package = needed["pkg"].as_str().unwrap();
                let always = |d: &Value| d["name"] == packages[package]["name"] && d["optional"] == false;
                let normal = list(&needed["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
                if normal && (optional || declared.iter().any(|d| d["kind"].is_null() && always(d))) {
                    waiting.push(package.to_owned());
                }
            }
        }
        let id = |id: String| {
            let text = |key: &str| packages[&id][key].as_str().unwrap().to_owned();
            (text("name"), text("version"))
        };
        met.into_iter().map(id).collect()
    }

    #[test]
    fn everything_that_is_linked_is_in_the_bill() {
        for target in TARGETS {
            let bill = bill(&root(), target).unwrap();
            let whole = bill["metadata"]["component"].clone();
            let all: Vec<_> = bill["components"].as_array().unwrap().iter().cloned().chain([whole]).collect();
            let id = |c: &Value| (c["name"].as_str().unwrap().to_owned(), c["version"].as_str().unwrap().to_owned());
            let required: BTreeSet<Id> = all.iter().filter(|c| c["scope"] == "required").map(id).collect();
            let (must, may) = (needed(target, false), needed(target, true));
            assert!(must.len() > 100, "{}", must.len());
            let missing: Vec<_> = must.difference(&required).collect();
            let more: Vec<_> = required.difference(&may).collect();
            assert!(missing.is_empty() && more.is_empty(), "{target}: missing {missing:?}, more {more:?}");
            let refs: BTreeSet<_> = all.iter().map(|c| c["bom-ref"].as_str().unwrap()).collect();
            assert_eq!(refs.len(), all.len(), "each once");
            for edge in bill["dependencies"].as_array().unwrap() {
                let ends = edge["dependsOn"].as_array().unwrap().iter().chain([&edge["ref"]]);
                ends.for_each(|end| assert!(refs.contains(end.as_str().unwrap()), "{end}"));
            }
            for component in &all {
                let ours = component["name"].as_str().unwrap().starts_with("adsum");
                let hash = component["hashes"][0]["content"].as_str().map_or(0, str::len);
                assert_eq!(hash, if ours { 0 } else { 64 }, "{component}");
            }
            assert_eq!(bill, super::bill(&root(), target).unwrap(), "the same bytes again");
        }
    }
}
