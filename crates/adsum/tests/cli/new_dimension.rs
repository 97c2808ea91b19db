//! The proof that a new dimension is one entry in one file: `creativeId` stands nowhere else, and yet it is decoded,
//! aggregated, filtered by, shown and checked.

use std::path::{Path, PathBuf};

use crate::events::{Event, text};
use crate::place::{Place, lines, repository};

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn one_file_names_it() {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(repository().join("crates")).unwrap() {
        sources(&entry.unwrap().path().join("src"), &mut files);
    }
    let naming: Vec<&PathBuf> =
        files.iter().filter(|f| String::from_utf8_lossy(&std::fs::read(f).unwrap()).contains("creativeId")).collect();
    assert_eq!(naming, [&repository().join("crates/model/src/catalog/dimensions.rs")]);
    assert!(files.len() > 50, "the sources were looked at");
}

#[test]
fn events_can_be_reported_by_it() {
    let place = Place::new();
    place.write("creatives.toml", "rollups = [[\"campaignId\", \"creativeId\"]]\n");
    let event = |id: &str, creative: &str| Event::new(id).with("creativeId", creative);
    let events = [event("1", "cr_1"), event("2", "cr_2"), event("3", "cr_2"), Event::new("4"), event("2", "cr_1")];
    place.write("events.ndjson", text(&events));
    let figures = place.import(&["--config", "creatives.toml", "events.ndjson"]).figures;
    assert_eq!((figures.counted, figures.conflicts), (4, 1), "it is content");
    let report = |args: &[&str]| {
        let args = [&["--config", "creatives.toml", "--granularity", "day", "--by", "creativeId"], args].concat();
        lines(&place.report(&args), &["creativeId", "impressions"])
    };
    let at = "2026-11-20T00:00:00Z";
    assert_eq!(report(&[]), [format!("{at} null 1"), format!("{at} cr_1 1"), format!("{at} cr_2 2")]);
    assert_eq!(report(&["--filter", "creativeId=cr_2"]), [format!("{at} cr_2 2")]);
    assert!(place.run(&["catalog", "show"]).ok().contains("creativeId"));
    // Kept as it came, where no rollup has it: a later one can be filled from the log.
    let place = Place::new();
    place.write("events.ndjson", text(&events));
    assert_eq!(place.import(&["events.ndjson"]).figures.conflicts, 1);
    place.run(&["report", "--by", "creativeId"]).fails(1, &["no rollup"]);
}
