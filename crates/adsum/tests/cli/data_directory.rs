//! A data directory that is damaged, in use, or not whole: it is refused with words that say what and where.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::events::many;
use crate::place::{Place, Run, sum};

const SMALL_SEGMENTS: &str = "[log]\nsegment_bytes = 4000\n[import]\nchunk_bytes = 20000\nframe_bytes = 40000\n";

/// With a log of several segments and a store of several files.
fn place() -> Place {
    let place = Place::new();
    place.write("small.toml", SMALL_SEGMENTS);
    place.write("events.ndjson", many("e", 3000));
    assert_eq!(place.import(&["--config", "small.toml", "events.ndjson"]).figures.counted, 3000);
    place.doctor(&["--config", "small.toml"]);
    place
}

/// The files of a folder of the data directory whose names end so, in order.
fn files(place: &Place, folder: &str, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(place.path("data").join(folder)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.to_string_lossy().ends_with(end));
    files.sort();
    files
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 0x40;
    std::fs::write(file, bytes).unwrap();
}

fn name(file: &Path) -> &str {
    file.file_name().unwrap().to_str().unwrap()
}

#[test]
fn a_byte_flipped_in_a_sealed_segment() {
    for part in 1..6 {
        let place = place();
        let segments = files(&place, "log", ".log");
        assert!(segments.len() > 3, "{segments:?}");
        let segment = &segments[1];
        flip(segment, std::fs::metadata(segment).unwrap().len() as usize * part / 6);
        place.run(&["doctor", "--config", "small.toml"]).fails(1, &[name(segment), "byte"]);
        // By default all of a log this small is checked at every start.
        place.run(&["report", "--config", "small.toml"]).fails(1, &[name(segment), "byte"]);
        place.run(&["import", "--config", "small.toml", "events.ndjson"]).fails(1, &[name(segment)]);
    }
}

#[test]
fn a_byte_flipped_in_old_segments_that_no_start_looks_at() {
    let place = place();
    place.write("small.toml", SMALL_SEGMENTS.replace("[import]", "verify_bytes = 1\n[import]"));
    let segment = &files(&place, "log", ".log")[1];
    flip(segment, std::fs::metadata(segment).unwrap().len() as usize / 2);
    place.run(&["report", "--config", "small.toml"]).ok();
    place.run(&["doctor", "--config", "small.toml"]).fails(1, &[name(segment), "byte"]);
}

#[test]
fn a_byte_flipped_in_the_store() {
    for kind in ["rows-", "keys-"] {
        for part in 0..6 {
            let place = place();
            let runs: Vec<PathBuf> =
                files(&place, "store", ".run").into_iter().filter(|f| name(f).starts_with(kind)).collect();
            let run = &runs[0];
            let len = std::fs::metadata(run).unwrap().len() as usize;
            flip(run, (len * part / 6 + 1).min(len - 1));
            place.run(&["doctor", "--config", "small.toml"]).fails(1, &[name(run)]);
        }
    }
    let place = place();
    let manifest = place.path("data/store/manifest");
    flip(&manifest, std::fs::metadata(&manifest).unwrap().len() as usize / 2);
    place.run(&["doctor", "--config", "small.toml"]).fails(1, &["store"]);
}

#[test]
fn what_is_missing_is_named() {
    let place_of = |missing: &str| {
        let place = place();
        let path = place.path("data").join(missing);
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
        place
    };
    let cases: [(&str, &[&str]); 3] =
        [("secret", &["secret", "duplicate"]), ("log", &["log"]), ("store/manifest", &["store"])];
    for (missing, words) in cases {
        let place = place_of(missing);
        place.run(&["doctor", "--config", "small.toml"]).fails(1, words);
        place.run(&["import", "--config", "small.toml", "events.ndjson"]).fails(1, words);
    }
    let place = place();
    let (second, third) = (&files(&place, "log", ".log")[1], &files(&place, "log", ".log")[2]);
    std::fs::remove_file(second).unwrap();
    place.run(&["doctor", "--config", "small.toml"]).fails(1, &[name(second), name(third), "missing"]);
    let place = self::place();
    place.write("data/secret", "short");
    place.run(&["doctor"]).fails(1, &["secret", "16 bytes"]);
}

#[test]
fn a_store_that_is_gone_is_made_again_from_the_log() {
    let place = place();
    let report = || place.report(&["--config", "small.toml", "--granularity", "minute"]);
    let (before, hash) = (report(), place.doctor(&["--config", "small.toml"])["stateHash"].take());
    std::fs::remove_dir_all(place.path("data/store")).unwrap();
    assert_eq!(report(), before);
    assert_eq!(place.doctor(&["--config", "small.toml"])["stateHash"], hash);
    assert_eq!(place.import(&["--config", "small.toml", "events.ndjson"]).figures.duplicates, 3000);
}

#[test]
fn a_data_directory_has_one_owner() {
    let place = place();
    let args = ["import", "--json", "--config", "small.toml", "-"];
    let mut owner =
        (place.command(&args)).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = owner.stdin.take().unwrap();
    // More than a pipe holds: once this is written, the owner reads, and so has its lock.
    input.write_all(many("new", 5000).as_bytes()).unwrap();
    for command in [&["doctor"][..], &["report"], &["import", "events.ndjson"], &["quarantine", "list"]] {
        let run = place.run(&[command, &["--config", "small.toml"]].concat());
        run.fails(1, &["data", "in use by another adsum process"]);
    }
    drop(input);
    let run = Run::of(&args, owner.wait_with_output().unwrap()).ok();
    assert_eq!(crate::place::Imported::of(&run).figures.counted, 5000);
    assert_eq!(sum(&place.report(&["--config", "small.toml"]), "impressions"), 8000);
}

#[test]
fn no_data_directory() {
    let place = Place::new();
    for command in [&["doctor"][..], &["report"], &["quarantine", "list"]] {
        place.run(command).fails(1, &["data", "adsum import"]);
    }
    place.write("data", "a file");
    place.write("events.ndjson", many("e", 1));
    place.run(&["import", "events.ndjson"]).fails(1, &["data"]);
}

#[test]
fn the_oldest_segment_is_gone() {
    let place = place();
    std::fs::remove_file(&files(&place, "log", ".log")[0]).unwrap();
    for command in ["doctor", "report"] {
        place.run(&[command, "--config", "small.toml"]).fails(1, &["the log begins at frame"]);
    }
}

#[test]
fn a_campaign_with_events_keeps_its_currency() {
    let place = Place::new();
    let line = |id: &str, campaign: &str| {
        format!(
            "{{\"eventId\":\"{id}\",\"eventType\":\"impression\",\"occurredAt\":\"2026-11-01T10:00:00Z\",\
             \"campaignId\":\"{campaign}\",\"priceMicros\":5}}\n"
        )
    };
    place.write("events.ndjson", line("1", "in_euros") + &line("2", "unlisted"));
    place.write("old.toml", "[campaigns.in_euros]\ncurrency = \"EUR\"\n");
    place.write("changed.toml", "[campaigns.in_euros]\ncurrency = \"GBP\"\n");
    place.write("default.toml", "[campaign_defaults]\ncurrency = \"GBP\"\n[campaigns.in_euros]\ncurrency = \"EUR\"\n");
    place.write("added.toml", "[campaigns.in_euros]\ncurrency = \"EUR\"\n[campaigns.new]\ncurrency = \"GBP\"\n");
    assert_eq!(place.import(&["--config", "old.toml", "events.ndjson"]).figures.counted, 2);
    place
        .run(&["report", "--config", "changed.toml"])
        .fails(1, &["campaigns.in_euros.currency", "GBP", "EUR", "fixed"]);
    place.run(&["report", "--config", "default.toml"]).fails(1, &["campaigns.unlisted.currency", "fixed"]);
    place.run(&["report", "--config", "added.toml"]).ok();
    place.run(&["report", "--config", "old.toml"]).ok();
}
