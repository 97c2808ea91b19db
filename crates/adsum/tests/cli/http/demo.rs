//! The demo from outside: what it says, what its traffic comes to, and that nothing stays of it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::place::{ADSUM, Place};

/// A demo in `place`, whose directory is the system's temporary directory for it.
fn command(place: &Place, args: &[&str]) -> Command {
    let mut command = Command::new(ADSUM);
    for name in ["DATA_DIR", "CONFIG", "WORKERS", "FORMAT", "LISTEN", "TOKEN_FILE", "URL", "TOKEN", "CA_FILE"] {
        command.env_remove(format!("ADSUM_{name}"));
    }
    std::fs::create_dir_all(place.path("tmp")).unwrap();
    command.current_dir(place.path("")).env("TMPDIR", place.path("tmp")).stdin(Stdio::null());
    command.args(["demo", "--listen", "127.0.0.1:0"]).args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a demo printed to its good end, on standard output and on standard error.
fn end(place: &Place, args: &[&str]) -> (String, String) {
    let output = command(place, args).output().unwrap();
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
    (stdout, stderr)
}

/// The objects that a demo printed.
fn objects(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// The ledger of the traffic in the last of the objects; it must balance.
fn ledger(stdout: &str) -> Value {
    let last = objects(stdout).pop().unwrap();
    assert_eq!(last["problems"], serde_json::json!([]), "{last}");
    last["ledger"]["demo"].clone()
}

fn number(ledger: &Value, column: &str) -> i64 {
    ledger[column].as_i64().unwrap_or_else(|| panic!("no {column} in {ledger}"))
}

/// How many files and directories stay where the demo makes its own.
fn left(place: &Place) -> usize {
    std::fs::read_dir(place.path("tmp")).unwrap().count()
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn it_counts_what_it_made_up_and_leaves_nothing() {
    let place = Place::new();
    let (stdout, stderr) = end(&place, &["--json", "--seconds", "3", "--rate", "3000"]);
    assert!(objects(&stdout)[0]["url"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{stdout}");
    let ledger = ledger(&stdout);
    for column in ["received", "counted", "duplicates", "rejected", "foreignCurrency", "tooOld"] {
        assert!(number(&ledger, column) > 0, "{column}: {ledger}");
    }
    assert!(number(&ledger, "counted") * 10 > number(&ledger, "received") * 9, "{ledger}");
    // The last numbers that were shown are the ledger's.
    let objects = objects(&stdout);
    let shown = &objects[objects.len() - 2];
    for column in ["received", "rejected", "counted", "duplicates", "quarantined"] {
        assert_eq!(shown[column], ledger[column], "{column}: {stdout}");
    }
    assert_eq!(shown["campaigns"].as_array().unwrap().len(), 4, "{shown}");
    assert!(stderr.contains("is removed"), "{stderr}");
    assert_eq!(left(&place), 0);
}

#[test]
fn a_named_directory_stays_and_a_second_run_is_new_events() {
    let place = Place::new();
    let run = || {
        let (stdout, stderr) = end(&place, &["--json", "--seconds", "2", "--data-dir", "data"]);
        assert!(stderr.contains("the data is in data"), "{stderr}");
        ledger(&stdout)
    };
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
fn lines_are_for_pipes_and_quiet_is_quiet() {
    let place = Place::new();
    for (args, lines) in [(&["--seconds", "6"][..], 2), (&["--seconds", "2", "--quiet"], 0)] {
        let (stdout, _) = end(&place, args);
        for word in ["http://127.0.0.1:", "adsum_", "curl -s", "report --url", "tail --url", "the ledger balances"] {
            assert!(stdout.contains(word), "no {word:?} in {stdout}");
        }
        assert!(!stdout.contains('\x1b'), "{stdout}");
        assert_eq!(stdout.lines().filter(|line| line.contains("received ") && line.contains(" USD")).count(), lines);
    }
}

/// What is to be pasted is run as it stands: an event, the same again, the report.
#[test]
fn the_commands_that_it_shows_are_true() {
    let place = Place::new();
    let mut child = command(&place, &["--quiet"]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    while !said.contains("tail --url") {
        assert!(stdout.read_line(&mut said).unwrap() > 0, "the demo ended too early: {said}");
    }
    let shell = |command: &str| {
        let output = Command::new("sh").args(["-c", command]).current_dir(place.path("")).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let from = |word: &str| said[said.find(word).unwrap()..].split("\n\n").next().unwrap();
    let has_curl = Command::new("curl").arg("--version").output().is_ok();
    if has_curl {
        for _ in 0..2 {
            assert!(shell(from("curl -s")).contains("\"accepted\":1"));
        }
    } else {
        println!("SKIPPED: there is no curl");
    }
    let report = said.lines().find(|line| line.contains(" report --url")).unwrap();
    assert!(shell(&format!("{report} --format csv")).contains("camp_boots"));
    signal(&child, "-INT");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");
    let admin = rest.lines().find(|line| line.contains(" admin ")).map(|line| line.split_whitespace().collect());
    assert_eq!(admin, has_curl.then(|| vec!["admin", "2", "0", "1", "1", "0"]), "{rest}");
    assert_eq!(left(&place), 0);
}

#[test]
fn told_before_it_has_begun_it_ends_too() {
    let place = Place::new();
    let mut child = command(&place, &[]).spawn().unwrap();
    // Its directory is the first thing that there is of it.
    while left(&place) == 0 {
        assert_eq!(child.try_wait().unwrap(), None, "the demo ended too early");
    }
    signal(&child, "-TERM");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(left(&place), 0);
}

/// On a terminal it draws in place, and Ctrl-C ends it as a `kill` does.
#[test]
fn a_terminal_gets_a_screen_and_a_signal_ends_it() {
    for name in ["-INT", "-TERM", "-HUP"] {
        let place = Place::new();
        let ours = rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY).unwrap();
        rustix::pty::grantpt(&ours).unwrap();
        rustix::pty::unlockpt(&ours).unwrap();
        let path = rustix::pty::ptsname(&ours, Vec::new()).unwrap();
        let theirs = std::fs::File::options().read(true).write(true).open(path.to_str().unwrap()).unwrap();
        let mut command = command(&place, &[]);
        let mut child = command.env_remove("NO_COLOR").stdout(theirs).stderr(Stdio::null()).spawn().unwrap();
        drop(command);
        let mut terminal = std::fs::File::from(ours);
        let (mut drawn, mut some, mut told) = (String::new(), [0; 4096], false);
        while let Ok(count @ 1..) = terminal.read(&mut some) {
            drawn.push_str(&String::from_utf8_lossy(&some[..count]));
            if !told && drawn.matches("running, 200 events a second").count() > 1 {
                signal(&child, name);
                told = true;
            }
        }
        assert_eq!(child.wait().unwrap().code(), Some(0), "{name}: {drawn}");
        for word in ["\x1b[J", "\x1b[32mthe ledger balances", "camp_spring", "quarantined: the ledger balances"] {
            assert!(drawn.contains(word), "{name}: no {word:?} in {drawn}");
        }
        assert_eq!(left(&place), 0, "{name}");
    }
}

#[test]
fn its_server_ends_with_it_when_it_is_killed() {
    let place = Place::new();
    let mut child = command(&place, &["--data-dir", "data"]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("tail --url") {
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
