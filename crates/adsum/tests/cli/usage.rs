//! What people get wrong, what it says to them, and with which exit code.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::events::{Event, many, text};
use crate::place::Place;

#[test]
fn wrong_parameters_are_named() {
    let place = Place::new();
    place.write("events.ndjson", many("e", 10));
    place.import(&["events.ndjson"]);
    let cases: [(&[&str], i32, &[&str]); 19] = [
        (&["--tz", "Mars/Olympus"], 1, &["tz", "Mars/Olympus"]),
        (&["--by", "mood"], 1, &["by", "mood", "campaignId"]),
        (&["--by", "campaignId,campaignId"], 1, &["by", "campaignId", "twice"]),
        (&["--filter", "mood=good"], 1, &["filter", "mood"]),
        (&["--from", "2026-11-21", "--to", "2026-11-20"], 1, &["from", "to"]),
        (&["--from", "2026-11-21", "--to", "2026-11-21"], 1, &["from", "to"]),
        (&["--from", "yesterday"], 1, &["from", "yesterday"]),
        (&["--to", "2026-02-30"], 1, &["to", "2026-02-30"]),
        (&["--from", "2026-11-20T00:00:00.5Z"], 1, &["from", "second"]),
        (&["--granularity", "week"], 2, &["granularity", "week"]),
        (&["--format", "xml"], 2, &["format", "xml"]),
        (&["--json", "--format", "csv"], 2, &["--json", "--format"]),
        (&["--filter", "country"], 2, &["filter"]),
        (&["--mood"], 2, &["--mood"]),
        (&["extra"], 2, &["extra"]),
        (&["--workers", "many"], 2, &["workers"]),
        (&["--memory-limit", "512 MB"], 2, &["memory-limit", "512 MiB"]),
        (&["--config", "missing.toml"], 1, &["missing.toml"]),
        (&["--data-dir", "elsewhere"], 1, &["elsewhere", "adsum import"]),
    ];
    for (args, code, words) in cases {
        // The data directory may be given once, so the last case goes its own way.
        let run = if args[0] == "--data-dir" {
            let mut command = std::process::Command::new(crate::place::ADSUM);
            command.current_dir(place.path("")).arg("report").args(args);
            crate::place::Run::of(args, command.output().unwrap())
        } else {
            place.run(&[&["report"], args].concat())
        };
        run.fails(code, words);
    }
    for command in [&[][..], &["fly"], &["quarantine"], &["catalog", "check", "one.json"]] {
        place.run(command).fails(2, &["Usage"]);
    }
    assert!(!place.path("elsewhere").exists(), "a report makes no data directory");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let place = Place::new();
    let minutes = (0..4000).map(|i| {
        let (hour, minute) = (i / 60 % 24, i % 60);
        Event::new(&format!("e{i}")).at(&format!("2026-11-{:02}T{hour:02}:{minute:02}:00Z", 1 + i / 1440))
    });
    place.write("events.ndjson", text(&minutes.collect::<Vec<_>>()));
    place.import(&["events.ndjson"]);
    for format in ["csv", "json", "ndjson", "table"] {
        for lines in [0, 1] {
            let mut child = (place.command(&["report", "--granularity", "minute", "--format", format]))
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut out = BufReader::new(child.stdout.take().unwrap());
            for _ in 0..lines {
                out.read_line(&mut String::new()).unwrap();
            }
            drop(out);
            let output = child.wait_with_output().unwrap();
            assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{format} after {lines} lines");
            assert_eq!(output.status.code(), Some(0), "{format} after {lines} lines");
        }
    }
    for args in [&["completions", "bash"][..], &["catalog", "show"], &["doctor"], &["--help"], &["quarantine", "list"]]
    {
        let mut child = place.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            (String::from_utf8(output.stderr).unwrap(), output.status.code()),
            (String::new(), Some(0)),
            "{args:?}"
        );
    }
}

#[test]
fn every_format_says_the_same() {
    let place = Place::new();
    place.write("events.ndjson", many("e", 7000));
    place.import(&["events.ndjson"]);
    let of = |format: &str| place.run(&["report", "--granularity", "hour", "--format", format]).ok();
    let json: Value = serde_json::from_str(&of("json")).unwrap();
    let rows: Vec<Value> = of("ndjson").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json["rows"], Value::from(rows.clone()));
    assert_eq!(json["meta"]["timeZone"], "UTC");
    assert_eq!(
        json["meta"]["completeThrough"].as_str().map(|text| text.len() > 10),
        None,
        "an import moves no live clock"
    );
    let csv = of("csv");
    assert_eq!(csv.split_terminator("\r\n").count(), rows.len() + 1);
    for (line, row) in csv.split_terminator("\r\n").skip(1).zip(&rows) {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!((cells[0], cells[1]), (row["bucketStart"].as_str().unwrap(), row["campaignId"].as_str().unwrap()));
        assert_eq!(cells[3], row["impressions"].to_string());
    }
    assert!(of("table").contains("campaignId"));
    let json_flag: Value = serde_json::from_str(&place.run(&["report", "--json"]).ok()).unwrap();
    assert_eq!(json_flag["rows"], json["rows"], "an hour and the campaign are what is asked if nothing is said");
    let empty = place.run(&["report", "--from", "2030-01-01", "--json"]).ok();
    assert_eq!(serde_json::from_str::<Value>(&empty).unwrap()["rows"], Value::Array(Vec::new()));
}

#[test]
fn variables_stand_in_for_flags_and_flags_go_over_them() {
    let place = Place::new();
    place.write("events.ndjson", many("e", 10));
    let mut command = place.command(&["import", "--json", "events.ndjson"]);
    command.env("ADSUM_WORKERS", "3").env("ADSUM_DATA_DIR", "elsewhere");
    assert!(command.output().unwrap().status.success());
    assert!(place.path("data").exists() && !place.path("elsewhere").exists(), "the flag goes over the variable");
    let output = place.command(&["report"]).env("ADSUM_FORMAT", "csv").output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("bucketStart,"));
}
