//! The Open Bandit Dataset, whose numbers others have counted: they come out exactly, however many workers fold,
//! whatever the order of the lines, and however often the import is killed.
//!
//! The data lies beside the repository; where it does not, the tests say that they were skipped.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::kills::{A_FEW, Trials, killed_imports};
use crate::place::{Figures, Imported, Place, Row, repository};

/// Where the data is: `ADSUM_SHARED`, or `shared` beside the repository.
fn shared() -> Option<PathBuf> {
    let beside = || repository().join("../shared");
    let dir = std::env::var_os("ADSUM_SHARED").map_or_else(beside, PathBuf::from).join("data");
    let there = dir.join("obd/ground_truth.json").is_file() && dir.join("to_events.py").is_file();
    if !there {
        println!("SKIPPED: no Open Bandit Dataset in {}", dir.display());
    }
    there.then_some(dir)
}

/// Converts the data set into a file of events.
fn convert(data: &Path, args: &[&str], to: &Path) {
    let out = std::fs::File::create(to).unwrap();
    let status = Command::new("python3").arg(data.join("to_events.py")).arg("obd").args(args).stdout(out).status();
    assert!(status.unwrap().success());
}

/// The lines `campaign|hourEpoch|eventType|count` of a report by hour and campaign, sorted as (text, number, text).
fn cells(rows: &[Row]) -> Vec<(String, i64, &'static str, i64)> {
    let mut cells = Vec::new();
    for row in rows {
        let hour = row.text("bucketStart").parse::<jiff::Timestamp>().unwrap().as_second();
        for (event_type, metric) in [("impression", "impressions"), ("click", "clicks"), ("conversion", "conversions")]
        {
            if row.number(metric) > 0 {
                cells.push((row.text("campaignId").to_owned(), hour, event_type, row.number(metric)));
            }
        }
    }
    cells.sort();
    cells
}

/// Compares the numbers in a place with those that others counted; `args` are the commands' further arguments.
pub fn check_numbers(place: &Place, args: &[&str], truth: &Value) {
    let cells = cells(&place.report(&[args, &["--granularity", "hour", "--by", "campaignId"]].concat()));
    let of_type = |event_type: &str| -> i64 { cells.iter().filter(|c| c.2 == event_type).map(|c| c.3).sum() };
    let mut hash = Sha256::new();
    for (campaign, hour, event_type, count) in &cells {
        hash.update(format!("{campaign}|{hour}|{event_type}|{count}\n"));
    }
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(of_type("impression"), truth["byType"]["impression"]);
    assert_eq!(of_type("click"), truth["byType"]["click"]);
    assert_eq!(cells.len(), truth["campaignHourTypeCells"]);
    assert_eq!(hex, truth["hourlySha256"]);
}

/// The same, and that each line was imported once.
fn check(place: &Place, truth: &Value) {
    check_numbers(place, &[], truth);
    let ledger = &place.doctor(&[])["ledger"]["import"];
    for (column, want) in [("received", 60_287), ("counted", 60_287), ("duplicates", 0), ("quarantined", 0)] {
        assert_eq!(ledger[column], want, "{column}");
    }
}

/// How many kills each order must stand: `ADSUM_KILLS`, or 10.
fn kills() -> usize {
    std::env::var("ADSUM_KILLS").ok().map_or(10, |text| text.parse().unwrap())
}

/// The data set as a file of events in one of its orders, and what others counted in it.
pub struct Dataset {
    files: Place,
    /// What others counted.
    pub truth: Value,
}

/// The figures of an import of all of it.
const ALL: Figures =
    Figures { received: 60_287, rejected: 0, counted: 60_287, duplicates: 0, conflicts: 0, quarantined: 0 };

impl Dataset {
    /// In this order; none where the data is not there.
    pub fn in_order(order: &[&str]) -> Option<Self> {
        let data = shared()?;
        let truth = std::fs::read_to_string(data.join("obd/ground_truth.json")).unwrap();
        let truth: Value = serde_json::from_str::<Value>(&truth).unwrap()["obd"]["events"].take();
        assert_eq!((&truth["byType"]["impression"], &truth["byType"]["click"]), (&60_000.into(), &287.into()));
        let files = Place::new();
        convert(&data, order, &files.path("obd.ndjson"));
        Some(Self { files, truth })
    }

    /// The path of the file.
    pub fn file(&self) -> String {
        self.files.path("obd.ndjson").to_str().unwrap().to_owned()
    }
}

fn counted(order: &[&str]) {
    let Some(dataset) = Dataset::in_order(order) else { return };
    for workers in ["1", "2", "5"] {
        let place = Place::new();
        let Imported { figures, resumed, .. } = place.import(&["--workers", workers, &dataset.file()]);
        assert_eq!((figures, resumed), (ALL, false), "{workers} workers");
        check(&place, &dataset.truth);
    }
}

fn killed(name: &str, order: &[&str], in_a_row: std::ops::RangeInclusive<u64>, seed: u64) {
    let Some(dataset) = Dataset::in_order(order) else { return };
    let file = dataset.file();
    let trials = Trials { files: &[&file], want: ALL, frame_bytes: 64 << 10, kills: kills(), in_a_row, seed };
    let (kills, in_a_row) = killed_imports(&trials, &|place| check(place, &dataset.truth));
    println!("proved: {kills} kills of imports in {name}, up to {in_a_row} of one, every number as without them");
}

#[test]
fn counted_exactly_in_file_order() {
    counted(&[]);
}

#[test]
fn counted_exactly_in_time_order() {
    counted(&["--sort"]);
}

#[test]
fn killed_in_file_order() {
    killed("file order", &[], A_FEW, 1);
}

#[test]
fn killed_in_time_order() {
    killed("time order", &["--sort"], A_FEW, 2);
}

#[test]
fn one_import_killed_again_and_again() {
    let kills = kills() as u64;
    killed("file order", &[], kills..=kills, 4);
}
