//! The demo from outside: what it says, what its traffic comes to, and that nothing stays of it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::place::{ADSUM, Place};

/// A demo in `place`, whose directory is the system's temporary directory for it.
fn demo(place: &Place, args: &[&str]) -> Child {
    let mut command = Command::new(ADSUM);
    for name in ["DATA_DIR", "CONFIG", "WORKERS", "FORMAT", "LISTEN", "TOKEN_FILE", "URL", "TOKEN", "CA_FILE"] {
        command.env_remove(format!("ADSUM_{name}"));
    }
    std::fs::create_dir_all(place.path("tmp")).unwrap();
    command.current_dir(place.path("")).env("TMPDIR", place.path("tmp")).stdin(Stdio::null());
    command.args(["demo", "--listen", "127.0.0.1:0", "--json"]).args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Everything that it said to its end, and the ledger.
fn end(child: Child) -> (String, Value) {
    let output = child.wait_with_output().unwrap();
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
    let answer: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(answer["problems"], serde_json::json!([]), "{answer}");
    (stdout, answer["ledger"]["demo"].clone())
}

fn number(ledger: &Value, column: &str) -> i64 {
    ledger[column].as_i64().unwrap()
}

#[test]
fn it_counts_what_it_made_up_and_leaves_nothing() {
    let place = Place::new();
    let (stdout, ledger) = end(demo(&place, &["--seconds", "3", "--rate", "1000"]));
    for word in ["adsum demo on http://127.0.0.1:", "token: adsum_", "curl -s", "adsum report --url", "adsum tail"] {
        assert!(stdout.contains(word), "no {word:?} in {stdout}");
    }
    for column in ["received", "counted", "duplicates", "rejected", "foreignCurrency", "tooOld"] {
        assert!(number(&ledger, column) > 0, "{column}: {ledger}");
    }
    assert!(number(&ledger, "counted") * 10 > number(&ledger, "received") * 9, "{ledger}");
    assert_eq!(std::fs::read_dir(place.path("tmp")).unwrap().count(), 0);
}

#[test]
fn a_named_directory_stays_and_a_second_run_is_new_events() {
    let place = Place::new();
    let run = || end(demo(&place, &["--seconds", "2", "--data-dir", "data"])).1;
    let (first, both) = (run(), run());
    assert!(number(&both, "counted") > number(&first, "counted"));
    assert_eq!(number(&both, "conflicts"), 0, "{both}");
    place.doctor(&[]);
    let rows = place.report(&["--granularity", "day", "--by", "campaignId"]);
    for campaign in ["camp_spring", "camp_boots", "camp_fjords", "camp_first_flush"] {
        assert!(rows.iter().any(|r| r.text("campaignId") == campaign), "{campaign}");
    }
}

#[test]
fn it_ends_when_it_is_told_to() {
    let place = Place::new();
    let mut child = demo(&place, &[]);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("adsum tail") {
        line.clear();
        assert!(stdout.read_line(&mut line).unwrap() > 0, "the demo ended too early");
    }
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(rest.contains("\"problems\":[]"), "{rest}");
    assert_eq!(std::fs::read_dir(place.path("tmp")).unwrap().count(), 0);
}

#[test]
fn its_server_ends_with_it_when_it_is_killed() {
    let place = Place::new();
    let mut child = demo(&place, &["--data-dir", "data"]);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("adsum tail") {
        line.clear();
        assert!(stdout.read_line(&mut line).unwrap() > 0, "the demo ended too early");
    }
    let lock = std::fs::File::open(place.path("data/lock")).unwrap();
    assert!(lock.try_lock().is_err(), "the server has the directory");
    child.kill().unwrap();
    child.wait().unwrap();
    // The lock is free when the server is gone, which finishes what it has first.
    for _ in 0..600 {
        if lock.try_lock().is_ok() {
            lock.unlock().unwrap();
            place.doctor(&[]);
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the server goes on without its demo");
}
