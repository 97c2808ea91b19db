//! Every form in which a file of events comes, and every way in which it can be broken.

use std::io::Write;
use std::process::Stdio;

use crate::events::{Event, many, text};
use crate::place::{Figures, Imported, Place, Run, lines, sum};

fn gz(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Half-compressible text would hide a cut inside one block: ids as random as they come in the field.
fn scattered(count: usize) -> String {
    let mut random = crate::events::Random::new(7);
    let events: Vec<Event> = (0..count).map(|i| Event::new(&format!("{:016x}{i:x}", random.below(u64::MAX)))).collect();
    text(&events)
}

/// A file's name, its bytes, and what must become of it: received, rejected, counted.
type Case<'a> = (&'a str, Vec<u8>, (i64, i64, i64));

#[test]
fn every_form_of_a_file() {
    let three = many("e", 3);
    let bytes = three.as_bytes();
    let zst = zstd::stream::encode_all(bytes, 3).unwrap();
    let two_members = [gz(bytes), gz(many("f", 2).as_bytes())].concat();
    let mut lines = three.lines();
    let (first, rest) = (lines.next().unwrap(), lines.collect::<Vec<_>>().join("\n"));
    let around = |line: &str| format!("{first}\n{line}\n{rest}\n").into_bytes();
    let cases: Vec<Case<'_>> = vec![
        ("plain.ndjson", bytes.to_vec(), (3, 0, 3)),
        ("gzip.ndjson.gz", gz(bytes), (3, 0, 3)),
        ("zstd.ndjson.zst", zst, (3, 0, 3)),
        ("members.ndjson.gz", two_members, (5, 0, 5)),
        ("name with a blank", bytes.to_vec(), (3, 0, 3)),
        ("crlf.ndjson", three.replace('\n', "\r\n").into_bytes(), (3, 0, 3)),
        ("no-newline.ndjson", three.trim_end().as_bytes().to_vec(), (3, 0, 3)),
        ("blank.ndjson", format!("\n\n{}\r\n \t\n\n", three.replace('\n', "\n\n")).into_bytes(), (3, 0, 3)),
        ("mark.ndjson", [b"\xEF\xBB\xBF", bytes].concat(), (3, 0, 3)),
        ("mark.ndjson.gz", gz(&[b"\xEF\xBB\xBF", bytes].concat()), (3, 0, 3)),
        ("empty.ndjson", Vec::new(), (0, 0, 0)),
        ("empty.ndjson.gz", gz(b""), (0, 0, 0)),
        ("only-blank.ndjson", b"\n\n\n".to_vec(), (0, 0, 0)),
        ("bad.ndjson", around("{\"eventId\":"), (4, 1, 3)),
        ("not-utf8.ndjson", [bytes, b"{\"eventId\":\"\xFF\"}\n"].concat(), (4, 1, 3)),
        ("nul.ndjson", [bytes, b"\0\n"].concat(), (4, 1, 3)),
    ];
    for (name, bytes, (received, rejected, counted)) in cases {
        let place = Place::new();
        place.write(name, bytes);
        let got = place.import(&[name]).figures;
        assert_eq!((got.received, got.rejected, got.counted), (received, rejected, counted), "{name}");
        assert_eq!(sum(&place.report(&["--granularity", "day"]), "impressions"), counted, "{name}");
        // Whatever it was, the same once more is all duplicates.
        let again = place.import(&[name]);
        let want = Figures { received, rejected, duplicates: counted, ..Figures::default() };
        assert_eq!((again.figures, again.resumed), (want, false), "{name}");
        assert_eq!(sum(&place.report(&["--granularity", "day"]), "impressions"), counted, "{name}");
    }
}

#[test]
fn a_line_of_twenty_megabytes_is_one_line() {
    let place = Place::new();
    // Behind the most that is kept of a line lies what would be an event, were it a line.
    let trap = Event::new("trap").line();
    let long = format!("{}{trap}{}", "x".repeat(16 << 20), "x".repeat(4 << 20));
    let neighbours = many("e", 3);
    let (first, rest) = neighbours.split_once('\n').unwrap();
    place.write("long.ndjson", format!("{first}\n{long}\n{rest}"));
    let want = Figures { received: 4, rejected: 1, counted: 3, ..Figures::default() };
    assert_eq!(place.import(&["long.ndjson"]).figures, want);
    let listed = place.run(&["quarantine", "list", "--format", "ndjson"]).ok();
    assert_eq!(listed.lines().count(), 1);
    assert!(listed.contains("\"code\":\"too_large\""), "{listed}");
    // At the very end of a file, without an end of its own.
    let place = Place::new();
    place.write("end.ndjson", format!("{neighbours}{}{trap}", "x".repeat(16 << 20)));
    assert_eq!(place.import(&["end.ndjson"]).figures, want);
}

/// Imports from standard input.
fn from_input(place: &Place, bytes: &[u8]) -> Imported {
    let args = ["import", "--json", "-"];
    let mut child =
        (place.command(&args)).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    Imported::of(&Run::of(&args, child.wait_with_output().unwrap()).ok())
}

#[test]
fn standard_input() {
    let place = Place::new();
    let text = many("e", 1000);
    assert_eq!(from_input(&place, text.as_bytes()).figures.counted, 1000);
    assert_eq!(from_input(&place, text.as_bytes()).figures.duplicates, 1000);
    assert_eq!(from_input(&place, b"").figures.received, 0);
}

#[test]
fn a_pipe_with_a_name() {
    let place = Place::new();
    assert!(std::process::Command::new("mkfifo").arg(place.path("pipe")).status().unwrap().success());
    let text = many("e", 20_000);
    for figures in [
        Figures { received: 20_000, counted: 20_000, ..Figures::default() },
        Figures { received: 20_000, duplicates: 20_000, ..Figures::default() },
    ] {
        let args = ["import", "--json", "pipe"];
        let child = place.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Opening waits until the program opens its end.
        std::fs::OpenOptions::new().write(true).open(place.path("pipe")).unwrap().write_all(text.as_bytes()).unwrap();
        assert_eq!(Imported::of(&Run::of(&args, child.wait_with_output().unwrap()).ok()).figures, figures);
    }
}

#[test]
fn several_files_at_once() {
    let place = Place::new();
    place.write("a.ndjson", many("a", 10));
    place.write("b.ndjson.gz", gz(many("b", 20).as_bytes()));
    place.write("same.ndjson", many("a", 10));
    place.write("empty.ndjson", "");
    let figures = place.import(&["a.ndjson", "empty.ndjson", "b.ndjson.gz", "same.ndjson"]).figures;
    assert_eq!(figures, Figures { received: 40, counted: 30, duplicates: 10, ..Figures::default() });
    place.run(&["import", "a.ndjson", "a.ndjson"]).fails(1, &["a.ndjson", "twice"]);
    // The same file by another path is read twice, and counts once.
    assert_eq!(place.import(&["a.ndjson", "./a.ndjson"]).figures.duplicates, 20);
}

#[test]
fn another_source_counts_anew() {
    let place = Place::new();
    place.write("a.ndjson", many("a", 10));
    assert_eq!(place.import(&["a.ndjson"]).figures.counted, 10);
    assert_eq!(place.import(&["--source", "ssp_7", "a.ndjson"]).figures.counted, 10);
    assert_eq!(place.import(&["--source", "ssp_7", "a.ndjson"]).figures.duplicates, 10);
    assert_eq!(sum(&place.report(&["--granularity", "day"]), "impressions"), 20);
    let ledger = place.doctor(&[])["ledger"].take();
    assert_eq!((&ledger["import"]["counted"], &ledger["ssp_7"]["counted"]), (&10.into(), &10.into()));
    place.run(&["import", "--source", "", "a.ndjson"]).fails(1, &["--source"]);
    place.run(&["import", "--source", &"x".repeat(65), "a.ndjson"]).fails(1, &["--source"]);
}

#[test]
fn what_cannot_be_opened_is_named_and_nothing_is_taken_in() {
    let place = Place::new();
    place.write("a.ndjson", many("a", 10));
    std::fs::create_dir(place.path("folder")).unwrap();
    for (bad, why) in [("missing.ndjson", "No such file"), ("folder", "is a directory")] {
        let run = place.run(&["import", "a.ndjson", bad]);
        assert!(!run.stderr.contains("taken in"), "{}", run.stderr);
        run.fails(1, &[bad, why]);
    }
    assert!(!place.path("data").exists());
    place.run(&["import"]).fails(2, &["FILE"]);
}

#[test]
fn a_compressed_file_that_breaks_off() {
    let text = scattered(20_000);
    let zst = zstd::stream::encode_all(text.as_bytes(), 3).unwrap();
    let gz = gz(text.as_bytes());
    for (name, whole) in [("cut.ndjson.gz", gz), ("cut.ndjson.zst", zst)] {
        let place = Place::new();
        place.write(name, &whole[..whole.len() / 2]);
        place.run(&["import", "--json", name]).fails(1, &[name, "lines before that were taken in"]);
        let before = sum(&place.report(&["--granularity", "day"]), "impressions");
        assert!((1000..20_000).contains(&before), "{name}: {before} lines were taken in");
        // The same file breaks at the same place.
        place.run(&["import", "--json", name]).fails(1, &[name]);
        assert_eq!(sum(&place.report(&["--granularity", "day"]), "impressions"), before, "{name}");
        // A repaired file is another one: it is read whole, and what was in is in.
        place.write(name, &whole);
        let end = place.import(&[name]);
        assert!(!end.resumed);
        let want = Figures { received: 20_000, counted: 20_000 - before, duplicates: before, ..Figures::default() };
        assert_eq!(end.figures, want, "{name}");
        assert_eq!(sum(&place.report(&["--granularity", "day"]), "impressions"), 20_000, "{name}");
        place.doctor(&[]);
    }
}

#[test]
fn a_file_that_is_no_archive() {
    for name in ["plain.gz", "plain.zst"] {
        let place = Place::new();
        place.write(name, many("a", 10));
        place.run(&["import", "--json", name]).fails(1, &[name]);
        assert_eq!(place.report(&["--granularity", "day"]), []);
    }
}

#[test]
fn a_file_behind_one_that_breaks_waits_for_the_repair() {
    let place = Place::new();
    place.write("a.ndjson", many("a", 10));
    place.write("b.gz", &gz(scattered(5000).as_bytes())[..20_000]);
    place.write("c.ndjson", many("c", 10));
    let args = ["import", "--json", "a.ndjson", "b.gz", "c.ndjson"];
    place.run(&args).fails(1, &["b.gz"]);
    place.write("b.gz", gz(many("b", 10).as_bytes()));
    let end = place.import(&["a.ndjson", "b.gz", "c.ndjson"]).figures;
    assert_eq!((end.received, end.counted, end.duplicates), (30, 20, 10));
    let rows = place.report(&["--granularity", "day", "--campaign", "camp_0"]);
    assert_eq!(lines(&rows, &["clicks"]), ["2026-11-20T00:00:00Z 0"]);
}

#[test]
fn where_lines_are_cut_changes_nothing() {
    let whole = Place::new();
    whole.write("e.ndjson", many("e", 2000));
    whole.import(&["e.ndjson"]);
    let want = whole.report(&["--granularity", "minute"]);
    let texts = |rows: &[crate::place::Row]| lines(rows, &["campaignId", "impressions"]);
    for (chunk_bytes, frame_bytes) in [(1, 1000), (97, 4096), (4096, 4096)] {
        let place = Place::new();
        place.write("e.ndjson", many("e", 2000));
        place.write("c.toml", format!("[import]\nchunk_bytes = {chunk_bytes}\nframe_bytes = {frame_bytes}\n"));
        assert_eq!(place.import(&["--config", "c.toml", "--workers", "3", "e.ndjson"]).figures.counted, 2000);
        assert_eq!(texts(&place.report(&["--granularity", "minute"])), texts(&want));
    }
    let place = Place::new();
    place.write("e.ndjson", many("e", 20));
    place.write("c.toml", "[import]\nchunk_bytes = 1000000\nframe_bytes = 1\n");
    assert_eq!(place.import(&["--config", "c.toml", "e.ndjson"]).figures.counted, 20, "each line is a frame");
}
