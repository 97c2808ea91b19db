//! The sample in `fixtures/sample` and the commands that the documentation shows over it.
//!
//! Invariant: what a page shows as a program's output is what the program prints. A page says with the line
//! `<!-- transcript -->` that the `console` block behind it is to be taken at its word.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::place::{ADSUM, Figures, Place, Run, repository};

/// A command of a transcript and the output that follows it.
fn steps(page: &str) -> Vec<(String, String)> {
    let Some((_, behind)) = page.split_once("<!-- transcript -->\n") else { return Vec::new() };
    let block = behind.split_once("```console\n").and_then(|(_, block)| block.split_once("```")).unwrap().0;
    let mut steps: Vec<(String, String)> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push((command.to_owned(), String::new())),
            (None, Some((command, _))) if command.ends_with('\\') => {
                command.push('\n');
                command.push_str(line.strip_prefix("> ").unwrap_or(line));
            }
            (None, Some((_, output))) => {
                output.push_str(line.trim_end());
                output.push('\n');
            }
            (None, None) => panic!("a transcript begins with a command, not with {line:?}"),
        }
    }
    steps
}

/// Runs a page's transcript in an empty directory that sees the fixtures; says how many commands it had.
fn check(page: &Path) -> usize {
    let Ok(text) = std::fs::read_to_string(page) else {
        println!("SKIPPED: there is no {}", page.display());
        return 0;
    };
    let steps = steps(&text);
    if steps.is_empty() {
        println!("SKIPPED: {} has no transcript", page.display());
    }
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(repository().join("fixtures"), dir.path().join("fixtures")).unwrap();
    let program = Path::new(ADSUM).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    for (command, want) in &steps {
        let mut shell = Command::new("sh");
        shell.current_dir(dir.path()).args(["-c", command]).env("PATH", &path);
        for name in ["DATA_DIR", "CONFIG", "WORKERS", "FORMAT"] {
            shell.env_remove(format!("ADSUM_{name}"));
        }
        let printed = Run::of(&[command], shell.output().unwrap()).ok();
        let printed: String = printed.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        assert_eq!(&printed, want, "{}: {command}", page.display());
    }
    steps.len()
}

#[test]
fn the_sample_page_is_true() {
    assert!(check(&repository().join("fixtures/sample/README.md")) > 1);
}

#[test]
fn the_first_page_is_true() {
    check(&repository().join("README.md"));
}

/// Impressions, clicks, conversions, spend and value by campaign.
type Totals = BTreeMap<String, [i64; 5]>;

/// The sample's numbers, counted in the plainest way from its lines.
fn truth(text: &str) -> (Figures, Totals) {
    let mut figures = Figures::default();
    let mut totals = Totals::new();
    let mut first: HashMap<String, Value> = HashMap::new();
    for line in text.lines() {
        figures.received += 1;
        let event: Option<Value> = serde_json::from_str(line).ok();
        let good = event.filter(|e| {
            let time = e["occurredAt"].as_str().unwrap();
            time.contains('T') && time.ends_with('Z') && (e["priceMicros"].is_null() || e["priceMicros"].is_i64())
        });
        let Some(event) = good else {
            figures.rejected += 1;
            continue;
        };
        let id = event["eventId"].as_str().unwrap().to_owned();
        match first.get(&id) {
            Some(same) if *same == event => figures.duplicates += 1,
            Some(_) => {
                figures.conflicts += 1;
                figures.quarantined += 1;
            }
            None => {
                figures.counted += 1;
                let campaign = event["campaignId"].as_str().unwrap();
                let per_click = ["job-board", "used-cars"].contains(&campaign);
                let kind = ["impression", "click", "conversion"].iter().position(|k| event["eventType"] == *k).unwrap();
                let sums = totals.entry(campaign.to_owned()).or_default();
                sums[kind] += 1;
                if kind == usize::from(per_click) {
                    sums[3] += event["priceMicros"].as_i64().unwrap_or(0);
                }
                sums[4] += event["valueMicros"].as_i64().unwrap_or(0);
                first.insert(id, event);
            }
        }
    }
    (figures, totals)
}

#[test]
fn the_sample_counts_as_it_does_by_hand() {
    let dir = repository().join("fixtures/sample");
    let (config, file) = (dir.join("adsum.toml"), dir.join("events.ndjson.gz"));
    let (config, file) = (config.to_str().unwrap(), file.to_str().unwrap());
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap()).read_to_string(&mut text).unwrap();
    let (figures, totals) = truth(&text);
    assert!(figures.rejected > 5 && figures.duplicates > 50 && figures.conflicts > 3, "{figures:?}");
    let place = Place::new();
    assert_eq!(place.import(&["--config", config, file]).figures, figures);
    let mut got = Totals::new();
    for row in place.report(&["--config", config, "--granularity", "day"]) {
        let names = ["impressions", "clicks", "conversions", "spendMicros", "valueMicros"];
        got.insert(row.text("campaignId").to_owned(), names.map(|name| row.number(name)));
    }
    assert_eq!(got, totals);
}
