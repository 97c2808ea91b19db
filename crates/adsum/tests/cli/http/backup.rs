//! Backups of a service that goes on taking events in, and restored directories that prove themselves or are refused.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use super::imports::start;
use super::server::Server;
use crate::events::{Event, many};
use crate::place::{Place, lines};

const SMALL: &str = "[import]\nframe_bytes = 4096\n[checkpoint]\nframes = 5\n[log]\nsegment_bytes = 30000\n";

fn place() -> Place {
    let place = Place::new();
    place.write("small.toml", SMALL);
    place.write("first.ndjson", many("a", 1000));
    let conflict = Event::new("a_0").with("campaignId", "camp_9").line();
    place.write("second.ndjson", format!("{}{conflict}\nno event\n", many("b", 3000)));
    place
}

fn serve(place: &Place) -> Server {
    start(place, &["--config", "small.toml"])
}

fn at_server<'a>(server: &'a Server, args: &[&'a str]) -> Vec<&'a str> {
    [args, &["--config", "small.toml", "--url", &server.url, "--token-file", "token"]].concat()
}

/// The program's answer as JSON, with another data directory.
fn with_data(place: &Place, data: &str, args: &[&str]) -> crate::place::Run {
    let mut command = std::process::Command::new(crate::place::ADSUM);
    let args = [&["--data-dir", data, "--config", "small.toml"], args].concat();
    command.current_dir(place.path("")).args(&args);
    crate::place::Run::of(&args, command.output().unwrap())
}

fn json_of(run: crate::place::Run) -> Value {
    serde_json::from_str(&run.ok()).unwrap()
}

fn hours(place: &Place, data: &str) -> Vec<String> {
    let text = with_data(place, data, &["report", "--granularity", "hour", "--format", "ndjson"]).ok();
    let rows: Vec<_> = text.lines().map(|line| crate::place::Row(serde_json::from_str(line).unwrap())).collect();
    lines(&rows, &["campaignId", "impressions"])
}

#[test]
fn a_restored_directory_is_the_state_of_the_backup_and_goes_on() {
    let place = place();
    let server = serve(&place);
    place.run(&at_server(&server, &["import", "--json", "first.ndjson"])).ok();
    let backed_up = json_of(place.run(&at_server(&server, &["backup", "copy", "--json"])));
    // What comes after is not in it.
    place.run(&at_server(&server, &["import", "--json", "second.ndjson"])).ok();
    assert_eq!(server.stop(), Some(0));
    assert_eq!(backed_up["ledger"]["import"]["counted"], 1000);
    let left = std::fs::read_dir(place.path("data/backups")).unwrap().count();
    assert_eq!(left, 0, "what was copied away takes no room here");

    let restored = json_of(with_data(&place, "new", &["restore", "copy", "--json"]));
    assert_eq!(restored["stateHash"], backed_up["stateHash"]);
    let checked = json_of(with_data(&place, "new", &["doctor", "--json"]));
    assert_eq!((&checked["stateHash"], &checked["ledger"]), (&backed_up["stateHash"], &backed_up["ledger"]));
    let only_first = Place::new();
    only_first.write("first.ndjson", many("a", 1000));
    only_first.import(&["first.ndjson"]);
    let rows = only_first.report(&["--granularity", "hour"]);
    assert_eq!(hours(&place, "new"), lines(&rows, &["campaignId", "impressions"]));
    // With the secret the same events are known again, and the rest leads to the same numbers.
    let again = json_of(with_data(&place, "new", &["import", "--json", "first.ndjson", "second.ndjson"]));
    assert_eq!((&again["duplicates"], &again["counted"], &again["conflicts"]), (&json!(1000), &json!(3000), &json!(1)));
    assert_eq!(hours(&place, "new"), hours(&place, "data"));
    // Where there is something already, nothing is restored.
    with_data(&place, "new", &["restore", "copy"]).fails(1, &["new", "not empty"]);
}

#[test]
fn backups_in_the_midst_of_an_import_are_each_one_moment() {
    let place = place();
    let server = serve(&place);
    let files = ["first.ndjson", "second.ndjson"];
    let args = at_server(&server, &[&["import"], &files[..]].concat());
    let mut import = place.command(&args).stdout(Stdio::null()).spawn().unwrap();
    let mut backups: Vec<String> = Vec::new();
    while import.try_wait().unwrap().is_none() || backups.is_empty() {
        let name = format!("copy{}", backups.len());
        place.run(&at_server(&server, &["backup", &name])).ok();
        backups.push(name);
    }
    assert!(import.wait().unwrap().success());
    assert_eq!(server.stop(), Some(0));
    let want = hours(&place, "data");
    let mut midst = 0;
    for backup in &backups {
        let data = format!("of-{backup}");
        let restored = json_of(with_data(&place, &data, &["restore", backup, "--json"]));
        let received = restored["ledger"]["import"]["received"].as_i64().unwrap_or_default();
        // The run that was under way goes on exactly there.
        let end = json_of(with_data(&place, &data, &[&["import", "--json"], &files[..]].concat()));
        if end["resumed"] == true {
            midst += 1;
            assert_eq!((&end["received"], &end["counted"]), (&json!(4002), &json!(4000)), "{backup}");
        } else {
            assert!([0, 4002].contains(&received), "{backup}: {received}");
        }
        assert_eq!(hours(&place, &data), want, "{backup}");
    }
    assert!(midst > 0, "no backup of {} fell into the import", backups.len());
}

/// Damage to a set, and what the refusal names.
type Damage<'a> = (&'a str, Box<dyn Fn(&Path)>, &'a [&'a str]);

fn edit(path: PathBuf, change: impl Fn(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
}

/// Changes a log segment's last frame, and what the description says of the file, so that only the log's own checks
/// find it.
fn forge(set: &Path, bytes: &[u8]) {
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(set.join("backup.json")).unwrap()).unwrap();
    let file =
        manifest["files"].as_array_mut().unwrap().iter_mut().find(|f| f["path"].as_str().unwrap().starts_with("log/"));
    let file = file.unwrap();
    std::fs::write(set.join(file["path"].as_str().unwrap()), bytes).unwrap();
    file["xxh3"] = json!(format!("{:016x}", xxhash_rust::xxh3::xxh3_64(bytes)));
    std::fs::write(set.join("backup.json"), manifest.to_string()).unwrap();
}

#[test]
fn a_damaged_backup_is_refused_and_leaves_nothing() {
    let place = place();
    place.import(&["--config", "small.toml", "first.ndjson"]);
    json_of(place.run(&["backup", "copy", "--json", "--config", "small.toml"]));
    let manifest: Value = serde_json::from_slice(&std::fs::read(place.path("copy/backup.json")).unwrap()).unwrap();
    let files: Vec<String> =
        manifest["files"].as_array().unwrap().iter().map(|f| f["path"].as_str().unwrap().to_owned()).collect();
    assert!(files.len() > 5 && files.contains(&"secret".to_owned()), "{files:?}");
    let mut damages: Vec<Damage<'_>> = Vec::new();
    for file in &files {
        let of = |change: fn(&mut Vec<u8>)| -> Box<dyn Fn(&Path)> {
            let file = file.clone();
            Box::new(move |set| edit(set.join(&file), change))
        };
        damages.push((file, of(|bytes| *bytes.last_mut().unwrap() ^= 1), &["damaged"]));
        damages.push((file, of(|bytes| bytes.truncate(bytes.len() - 1)), &["damaged"]));
        let gone = file.clone();
        damages.push((file, Box::new(move |set| std::fs::remove_file(set.join(&gone)).unwrap()), &["cannot copy"]));
    }
    let describe = |from: &'static str, to: &'static str| -> Box<dyn Fn(&Path)> {
        Box::new(move |set| {
            let text = std::fs::read_to_string(set.join("backup.json")).unwrap();
            assert!(text.contains(from), "{text}");
            std::fs::write(set.join("backup.json"), text.replacen(from, to, 1)).unwrap();
        })
    };
    damages.push(("hash", describe("\"stateHash\": \"", "\"stateHash\": \"0"), &["state hash"]));
    damages.push(("ledger", describe("\"counted\": 1000", "\"counted\": 1001"), &["ledger"]));
    damages.push(("format", describe("\"format\": 1", "\"format\": 2"), &["format 2"]));
    damages.push(("path", describe("\"secret\"", "\"../secret\""), &["../secret"]));
    damages.push(("cut", Box::new(|set| edit(set.join("backup.json"), |b| b.truncate(40))), &["damaged"]));
    damages.push(("none", Box::new(|set| std::fs::remove_file(set.join("backup.json")).unwrap()), &["no backup"]));
    let log = files.iter().find(|f| f.starts_with("log/")).unwrap();
    let mut flipped = std::fs::read(place.path("copy").join(log)).unwrap();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 4;
    damages.push(("forged", Box::new(move |set| forge(set, &flipped)), &["log"]));
    for (what, damage, words) in &damages {
        copy_dir(&place.path("copy"), &place.path("bad"));
        damage(&place.path("bad"));
        with_data(&place, "new", &["restore", "bad"]).fails(1, words);
        for left in ["new", "new.unfinished"] {
            assert!(!place.path(left).exists(), "{what}: {left}");
        }
        std::fs::remove_dir_all(place.path("bad")).unwrap();
    }
    json_of(with_data(&place, "new", &["restore", "copy", "--json"]));
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_dir(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn where_a_backup_goes() {
    let place = place();
    place.import(&["--config", "small.toml", "first.ndjson"]);
    std::fs::create_dir(place.path("full")).unwrap();
    place.write("full/file", "");
    place.run(&["backup", "full", "--config", "small.toml"]).fails(1, &["full", "not empty", "is whole in"]);
    // It stays in the data directory if nobody says where else; what broke off before is removed.
    std::fs::create_dir_all(place.path("data/backups/broken.unfinished/log")).unwrap();
    let server = serve(&place);
    place.run(&["backup", "--config", "small.toml"]).fails(1, &["--url", "in use by another adsum process"]);
    let made = json_of(place.run(&at_server(&server, &["backup", "--json"])));
    let path = PathBuf::from(made["path"].as_str().unwrap());
    assert!(path.is_absolute() && path.join("backup.json").exists(), "{made}");
    assert!(!place.path("data/backups/broken.unfinished").exists());
    #[cfg(unix)]
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions()) & 0o777,
        0o700
    );
    // A server goes on after it, and its own files are not the backup's.
    place.run(&at_server(&server, &["import", "second.ndjson"])).ok();
    assert_eq!(server.stop(), Some(0));
    json_of(with_data(&place, "new", &["restore", path.to_str().unwrap(), "--json"]));
    place.doctor(&["--config", "small.toml"]);
}
