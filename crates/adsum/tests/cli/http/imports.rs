//! Files into a running server: the protocol's answers, and kills of either side at any moment.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use super::server::Server;
use crate::events::{Event, Random, many, text};
use crate::place::{Figures, Imported, Place, Run, lines, sum};

/// Small frames and frequent checkpoints, so that a kill finds many states.
const SMALL_STEPS: &str = "[import]\nframe_bytes = 8192\n[checkpoint]\nframes = 7\n[log]\nsegment_bytes = 200000\n";

/// Starts a service whose admin token the place already holds.
pub fn start(place: &Place, args: &[&str]) -> Server {
    place.write("token", format!("adsum_{}", "0123456789abcdef".repeat(4)));
    Server::start(place, args)
}

fn import(place: &Place, server: &Server, args: &[&str]) -> Run {
    let args = [&["import", "--json", "--url", &server.url, "--token-file", "token"], args].concat();
    place.run(&args)
}

/// Files with duplicates, conflicts and bad lines among them, so that every figure has something to lose.
fn two_files(place: &Place) -> Figures {
    let mut second = many("a", 500).replace("\"campaignId\":\"camp_1\"", "\"campaignId\":\"camp_9\"");
    second.push_str("no event at all\n\n");
    second.push_str(&many("b", 1500));
    place.write("first.ndjson", many("a", 1500));
    place.write("second.ndjson", second);
    Figures { received: 3501, rejected: 1, counted: 3000, duplicates: 333, conflicts: 167, quarantined: 167 }
}

fn hours(place: &Place) -> Vec<String> {
    lines(&place.report(&["--granularity", "hour"]), &["campaignId", "impressions"])
}

fn log_bytes(place: &Place) -> u64 {
    let Ok(entries) = std::fs::read_dir(place.path("data/log")) else { return 0 };
    entries.filter_map(|entry| entry.ok()?.metadata().ok()).map(|file| file.len()).sum()
}

#[test]
fn the_same_as_into_a_data_directory() {
    let whole = Place::new();
    let figures = two_files(&whole);
    let files = ["first.ndjson", "second.ndjson"];
    assert_eq!(whole.import(&files).figures, figures);
    let place = Place::new();
    two_files(&place);
    // A mark at the head of a file is no part of its first line; blank lines are not received; a stream is imported too.
    place.write("mark.ndjson", [b"\xEF\xBB\xBF", many("m", 3).as_bytes()].concat());
    place.write("empty.ndjson", "");
    let long = format!("{{\"eventId\":\"{}\"}}\n{}", "x".repeat(17 << 20), many("l", 2));
    place.write("long.ndjson.zst", zstd::stream::encode_all(long.as_bytes(), 1).unwrap());
    let server = start(&place, &[]);
    let imported = Imported::of(&import(&place, &server, &files).ok());
    assert_eq!((imported.figures, imported.resumed), (figures, false));
    let again = Imported::of(&import(&place, &server, &files).ok());
    assert_eq!((again.figures.counted, again.figures.duplicates), (0, figures.counted + figures.duplicates));
    for (file, received, counted) in [("mark.ndjson", 3, 3), ("empty.ndjson", 0, 0), ("long.ndjson.zst", 3, 2)] {
        let got = Imported::of(&import(&place, &server, &[file, "--source", "other"]).ok()).figures;
        assert_eq!((got.received, got.counted), (received, counted), "{file}");
    }
    let args = ["import", "--json", "--url", &server.url, "--token-file", "token", "-", "--source", "third one/ü"];
    let mut child = place.command(&args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), many("s", 5).as_bytes()).unwrap();
    let run = Run::of(&args, child.wait_with_output().unwrap());
    assert_eq!(Imported::of(&run.stdout).figures.counted, 5);
    assert_eq!(server.stop(), Some(0));
    let rows = place.report(&["--granularity", "day"]);
    assert_eq!(sum(&rows, "impressions"), figures.counted + 3 + 2 + 5);
    place.doctor(&[]);
}

/// A request, and the status and code (or the value at a pointer) of its answer.
struct Case {
    path: String,
    body: Body,
    status: u16,
    want: (&'static str, Value),
}

enum Body {
    Json(Value),
    Text(String),
}

fn check(server: &Server, case: &Case) -> Value {
    let (content_type, bytes) = match &case.body {
        Body::Json(value) => ("application/json", value.to_string()),
        Body::Text(text) => ("application/x-ndjson", text.clone()),
    };
    let answer = server.request("POST", &case.path, Some((content_type, bytes.as_bytes())));
    assert_eq!(answer.status, case.status, "{}: {}", case.path, answer.text());
    let got = answer.json();
    let (pointer, value) = &case.want;
    assert_eq!(got.pointer(pointer), Some(value), "{}: {got}", case.path);
    got
}

fn file(path: &str) -> Value {
    json!({ "path": path, "size": 10, "head": "00000000000000ff" })
}

#[test]
fn every_chunk_enters_once_and_in_its_place() {
    let place = Place::new();
    let server = start(&place, &[]);
    let text = text(&[Event::new("a"), Event::new("b")]);
    let bytes = text.len();
    let begin = |files: Value, status: u16, want: (&'static str, Value)| {
        let body = Body::Json(json!({ "source": "s", "files": files }));
        check(&server, &Case { path: "/v1/imports".to_owned(), body, status, want })
    };
    begin(json!([]), 400, ("/param", json!("files")));
    begin(json!([file("x"), file("x")]), 400, ("/param", json!("files[1].path")));
    begin(json!([{ "path": "x", "size": 1, "head": "ff" }]), 400, ("/param", json!("files[0].head")));
    let begun = begin(json!([file("x"), file("y")]), 200, ("/files/0/position", json!(0)));
    let run = begun["run"].as_str().unwrap().to_owned();
    // To begin again changes nothing, and neither does another order; other files are refused.
    begin(json!([file("y"), file("x")]), 200, ("/run", json!(run)));
    begin(json!([file("x")]), 409, ("/code", json!("import_running")));
    begin(json!([file("z")]), 409, ("/code", json!("import_running")));
    let chunk = |run: &str, path: &str, position: usize, next: usize, last: bool, text: &str, status, want| {
        let path = format!(
            "/v1/imports/s/chunks?run={run}&path={path}&position={position}&next={next}{}",
            if last { "&last=true" } else { "" }
        );
        check(&server, &Case { path, body: Body::Text(text.to_owned()), status, want })
    };
    chunk(&run, "x", 1, 1 + bytes, false, &text, 409, ("/code", json!("out_of_place")));
    chunk("im_0", "x", 0, bytes, false, &text, 404, ("/param", json!("run")));
    chunk(&run, "z", 0, bytes, false, &text, 404, ("/param", json!("run")));
    chunk(&run, "x", 0, bytes - 1, false, &text, 400, ("/param", json!("next")));
    chunk(&run, "x", 0, 0, false, "", 400, ("/param", json!("last")));
    let large = "x".repeat((16 << 20) + 1);
    chunk(&run, "x", 0, large.len(), false, &large, 413, ("/code", json!("chunk_too_large")));
    chunk(&run, "x", 0, bytes, false, &text, 200, ("/line", json!(2)));
    chunk(&run, "x", 0, bytes, false, &text, 409, ("/code", json!("out_of_place")));
    let end = |run: &str, status, want| {
        let path = format!("/v1/imports/s/end{run}");
        check(&server, &Case { path, body: Body::Json(Value::Null), status, want })
    };
    let named = format!("?run={run}");
    end("?run=im_0", 404, ("/param", json!("run")));
    end("", 404, ("/param", json!("run")));
    end(&named, 409, ("/code", json!("import_unfinished")));
    chunk(&run, "x", bytes, bytes, true, "", 200, ("/finished", json!(true)));
    chunk(&run, "x", bytes, 2 * bytes, true, &text, 409, ("/code", json!("out_of_place")));
    // The mark at a file's head is passed over: the file stands behind it.
    chunk(&run, "y", 0, bytes + 3, true, &text, 200, ("/position", json!(bytes + 3)));
    begin(json!([file("x"), file("y")]), 200, ("/files/1/finished", json!(true)));
    let ended = end(&named, 200, ("/received", json!(4)));
    assert_eq!((&ended["counted"], &ended["duplicates"]), (&json!(2), &json!(2)));
    end(&named, 404, ("/param", json!("run")));
    // A run that is broken off leaves what it took in, and room for others.
    begin(json!([file("z")]), 200, ("/resumed", json!(false)));
    let abort = ["import", "--abort", "--source", "s", "--json", "--url", &server.url, "--token-file", "token"];
    let aborted = place.run(&abort).ok();
    assert!(aborted.contains("\"aborted\":true"), "{aborted}");
    place.run(&abort).fails(1, &["not_found", "404"]);
    place.run(&["import", "--abort"]).fails(1, &["--url"]);
    begin(json!([file("x")]), 200, ("/resumed", json!(false)));
    assert_eq!(server.stop(), Some(0));
    place.doctor(&[]);
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let place = Place::new();
    place.write("events.ndjson", many("e", 1));
    for (args, words) in [
        (&["--url", "http://127.0.0.1:1"][..], &["http://127.0.0.1:1"][..]),
        (&["--url", "127.0.0.1:1"], &["--url", "127.0.0.1:1"]),
        (&["--url", "http://127.0.0.1:1", "--token-file", "missing"], &["missing"]),
        (&["--url", "https://127.0.0.1:1", "--ca-file", "events.ndjson"], &["--ca-file", "certificate"]),
    ] {
        place.run(&[&["import", "events.ndjson"], args].concat()).fails(1, words);
    }
}

/// Who is killed.
#[derive(Clone, Copy, PartialEq)]
enum Victim {
    Client,
    Server,
}

#[test]
fn killed_on_either_side_every_line_enters_once() {
    let whole = Place::new();
    let figures = two_files(&whole);
    whole.write("small.toml", SMALL_STEPS);
    let files = ["first.ndjson", "second.ndjson"];
    assert_eq!(whole.import(&[&files[..], &["--config", "small.toml"]].concat()).figures, figures);
    let (want, whole_bytes) = (hours(&whole), log_bytes(&whole));
    let mut random = Random::new(11);
    let mut hits = [0, 0];
    for victims in [
        &[Victim::Client, Victim::Client, Victim::Client][..],
        &[Victim::Server, Victim::Server, Victim::Server],
        &[Victim::Server, Victim::Client, Victim::Server, Victim::Client],
    ] {
        let place = Place::new();
        two_files(&place);
        place.write("small.toml", SMALL_STEPS);
        let mut server = start(&place, &["--config", "small.toml"]);
        for victim in victims {
            let args = ["import", "--url", &server.url, "--token-file", "token", "--config", "small.toml"];
            let mut child = place.command(&[&args, &files[..]].concat());
            let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let at = log_bytes(&place) + 1 + random.below(whole_bytes / 4);
            while child.try_wait().unwrap().is_none() && log_bytes(&place) < at {
                std::thread::sleep(Duration::from_micros(200));
            }
            let running = child.try_wait().unwrap().is_none();
            hits[usize::from(*victim == Victim::Server)] += usize::from(running);
            if *victim == Victim::Server {
                server.kill();
                server = start(&place, &["--config", "small.toml"]);
            } else {
                child.kill().unwrap();
            }
            child.wait().unwrap();
        }
        let end = Imported::of(&import(&place, &server, &[&files[..], &["--config", "small.toml"]].concat()).ok());
        assert!(end.resumed, "the kills came too late");
        assert_eq!(end.figures, figures);
        assert_eq!(server.stop(), Some(0));
        assert_eq!(hours(&place), want);
        place.doctor(&[]);
    }
    assert!(hits[0] > 2 && hits[1] > 2, "kills came too late: {hits:?}");
}
