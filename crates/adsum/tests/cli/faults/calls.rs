//! Every call by which something comes to the disk, spoiled in each way: of an import, and of a server that is sent to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::strace::{self, Fault, Spoiled, TO_DISK, under};
use super::{calls_max, each_case};
use crate::events::many;
use crate::http::server::{Answer, Server, Target};
use crate::place::{Figures, Imported, Place, Row, Run, lines};

/// Small frames and segments and frequent checkpoints, so that every kind of call comes early; old events count.
const CONFIG: &str = "workers = 2\n[time]\nhorizon_seconds = 600000000\n[import]\nchunk_bytes = 1024\nframe_bytes = 4096\n\
                      [checkpoint]\nframes = 2\n[log]\nsegment_bytes = 6000\n";
const IMPORT: [&str; 5] = ["import", "--json", "--config", "adsum.toml", "events.ndjson"];
const WITH_CONFIG: [&str; 2] = ["--config", "adsum.toml"];

/// A place with the configuration, a token and a file of so many events that a thread makes every call often enough:
/// duplicates, conflicts and a bad line are among them. What must come of them goes with it.
fn place() -> (Place, Figures) {
    let place = Place::new();
    place.write("adsum.toml", CONFIG);
    place.write("token", format!("adsum_{}", "0123456789abcdef".repeat(4)));
    let counted = 45 * calls_max();
    let conflicts = many("e", 30).replace("\"campaignId\":\"camp_1\"", "\"campaignId\":\"camp_9\"");
    place.write("events.ndjson", format!("{}{conflicts}no event\n{}", many("e", counted), many("e", 60)));
    let figures = Figures {
        received: counted as i64 + 91,
        rejected: 1,
        counted: counted as i64,
        duplicates: 80,
        conflicts: 10,
        quarantined: 10,
    };
    (place, figures)
}

/// What the events of [`many`] come to, by hand: so many of each of three campaigns in turn, all in hours of one day.
fn by_hand(events: usize) -> Vec<String> {
    let mut hours: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for i in 0..events {
        *hours.entry((i / 3600, i % 3)).or_default() += 1;
    }
    let row =
        |((hour, campaign), n): (&(usize, usize), &usize)| format!("2026-11-20T{hour:02}:00:00Z camp_{campaign} {n}");
    hours.iter().map(row).collect()
}

fn reported(place: &Place) -> Vec<String> {
    let rows = place.report(&["--config", "adsum.toml", "--granularity", "hour", "--by", "campaignId"]);
    let mut rows = lines(&rows, &["campaignId", "impressions"]);
    rows.sort_unstable();
    rows
}

/// How many cases ended in which way.
#[derive(Default)]
struct Ends {
    killed: AtomicUsize,
    failed: AtomicUsize,
    went_on: AtomicUsize,
}

impl Ends {
    /// An exit code that a spoiled run may have; what it said on the error must be words and no panic.
    fn note(&self, spoiled: &Spoiled, code: Option<i32>, said: &str) {
        assert!(!said.contains("panicked"), "{spoiled:?}: {said}");
        match code {
            None => {
                assert_eq!(spoiled.fault, Fault::Kill, "{spoiled:?}: {said}");
                &self.killed
            }
            Some(0) => &self.went_on,
            Some(code) => {
                assert_eq!(code, 1, "{spoiled:?}: {said}");
                let named = ["os error", "disk I/O error", "is full"].iter().any(|word| said.contains(word));
                assert!(named, "{spoiled:?}: {said}");
                &self.failed
            }
        }
        .fetch_add(1, Ordering::Relaxed);
    }

    /// The figures of so many cases; most faults must have hit something, or nothing was shown.
    fn told(&self, cases: usize) -> String {
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let kills = cases / Fault::ALL.len();
        assert!(of(&self.killed) > kills / 2 && of(&self.failed) > kills, "most faults hit nothing");
        format!("{} killed, {} ended with an error, {} went on", of(&self.killed), of(&self.failed), of(&self.went_on))
    }
}

fn list(counts: &BTreeMap<String, usize>) -> String {
    let most = calls_max();
    counts.iter().map(|(call, count)| format!("{call} {}", most.min(*count))).collect::<Vec<_>>().join(", ")
}

#[test]
fn an_import_survives_every_call() {
    strace::must_be_there();
    let (first, want) = place();
    let run = under(&first, &first.command(&IMPORT), TO_DISK, &[], &[]).output().unwrap();
    assert_eq!(Imported::of(&Run::of(&IMPORT, run).ok()).figures, want);
    let oracle = by_hand(want.counted as usize);
    assert_eq!(reported(&first), oracle);
    let (counts, paths) = strace::counted(&strace::calls(&first));
    let cases = Spoiled::all(&counts, calls_max(), &Fault::ALL);
    let ends = Ends::default();
    each_case(&cases, |spoiled| {
        let (place, _) = place();
        let plain = place.command(&IMPORT);
        let run = under(&place, &plain, TO_DISK, &paths, &[&spoiled.inject()]).output().unwrap();
        let run = Run::of(&IMPORT, run);
        ends.note(spoiled, run.code, &run.stderr);
        if run.code == Some(0) {
            assert_eq!(Imported::of(&run.stdout).figures, want, "{spoiled:?}");
        }
        let again = place.run(&IMPORT);
        assert_eq!(again.code, Some(0), "{spoiled:?}: {}{}", run.stderr, again.stderr);
        let again = Imported::of(&again.stdout).figures;
        // Its last words may have been all that was lost of it: then everything is there.
        let all_again = Figures { counted: 0, duplicates: want.counted + want.duplicates, ..want };
        assert!(again == want || again == all_again, "{spoiled:?}: {again:?}, {}", run.stderr);
        assert_eq!(reported(&place), oracle, "{spoiled:?}");
        place.doctor(&["--config", "adsum.toml"]);
    });
    println!(
        "proved: {} faults at the calls of an import ({}; each killed, EIO, ENOSPC): {}; then every number right",
        cases.len(),
        list(&counts),
        ends.told(cases.len())
    );
}

/// Events of a request.
const BATCH: usize = 5;

/// The bodies that are sent: all events of [`many`], in order.
fn bodies() -> Vec<String> {
    let text = many("e", BATCH * (calls_max() + 10));
    let lines: Vec<&str> = text.lines().collect();
    lines.chunks(BATCH).map(|batch| batch.join("\n")).collect()
}

/// Sends every body, some of them again where they were refused; says which were acknowledged. Ends where nobody
/// answers any more.
fn send(target: &Target, bodies: &[String]) -> Vec<bool> {
    let mut acknowledged = vec![false; bodies.len()];
    for (body, taken) in bodies.iter().zip(&mut acknowledged) {
        for _ in 0..3 {
            let path = "/v1/events/collect";
            let body = Some(("application/x-ndjson", body.as_bytes()));
            let Ok(answer) = target.try_request(Some(&target.token), "POST", path, &[], body) else {
                break;
            };
            *taken = is_taken(&answer);
            if *taken {
                break;
            }
        }
    }
    acknowledged
}

/// The same as [`reported`], by the running server.
fn served(server: &Server) -> Vec<String> {
    let answer = server.get("/v1/reports?from=2026-11-20&to=2026-11-21&dimensions=campaignId").expect(200);
    let rows: Vec<Row> =
        answer["rows"].as_array().unwrap().iter().map(|row| Row(row.as_object().unwrap().clone())).collect();
    let mut rows = lines(&rows, &["campaignId", "impressions"]);
    rows.sort_unstable();
    rows
}

fn is_taken(answer: &Answer) -> bool {
    match answer.status {
        202 => {
            let body = answer.json();
            assert_eq!((body["accepted"].as_u64(), body["rejected"].as_u64()), (Some(BATCH as u64), Some(0)), "{body}");
            true
        }
        status => {
            assert_eq!(status, 503, "{}", answer.text());
            assert!(answer.header("retry-after").is_some(), "{}", answer.text());
            false
        }
    }
}

/// Received, counted and duplicates of the sender by the served ledger, which must balance. What was acknowledged is
/// folded a moment later: with `received` it is asked until so much is.
fn conserved(server: &Server, received: Option<u64>) -> [u64; 3] {
    for _ in 0..1000 {
        let ledger = server.get("/v1/conservation").expect(200);
        assert_eq!(ledger["balances"], true, "{ledger}");
        let of = |name: &str| ledger["sums"][name].as_u64().unwrap();
        assert_eq!((of("quarantined"), of("rejected")), (0, 0), "{ledger}");
        if received.is_none_or(|wanted| of("received") >= wanted) {
            return ["received", "counted", "duplicates"].map(of);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{received:?} events do not become visible: {}", server.get("/v1/conservation").text());
}

#[test]
fn a_server_survives_every_call() {
    strace::must_be_there();
    let bodies = bodies();
    let all = (bodies.len() * BATCH) as u64;
    let (first, _) = place();
    let serve = Server::alone(&first, &WITH_CONFIG);
    let server = Server::spawn(&first, under(&first, &serve, TO_DISK, &[], &[]));
    assert_eq!(send(&server, &bodies), vec![true; bodies.len()]);
    assert_eq!(server.stop(), Some(0));
    let oracle = by_hand(all as usize);
    assert_eq!(reported(&first), oracle);
    let (counts, paths) = strace::counted(&strace::calls(&first));
    let cases = Spoiled::all(&counts, calls_max(), &Fault::ALL);
    let ends = Ends::default();
    each_case(&cases, |spoiled| {
        let (place, _) = place();
        let traced = under(&place, &Server::alone(&place, &WITH_CONFIG), TO_DISK, &paths, &[&spoiled.inject()]);
        let (acknowledged, code) = match Server::try_spawn(&place, traced) {
            Ok(server) => (send(&server, &bodies), server.stop()),
            Err(code) => (vec![false; bodies.len()], code),
        };
        let said = std::fs::read_to_string(place.path("server.log")).unwrap_or_default();
        ends.note(spoiled, code, &said);
        assert!(code != Some(0) || acknowledged.iter().all(|taken| *taken), "{spoiled:?}: {said}");
        // What was acknowledged is there: sent again, all of it is a duplicate, and nothing of it counts.
        let server = Server::spawn(&place, Server::alone(&place, &WITH_CONFIG));
        let [received, counted, duplicates] = conserved(&server, None);
        assert_eq!((received, duplicates), (counted, 0), "{spoiled:?}");
        let taken: Vec<&str> = bodies.iter().zip(&acknowledged).filter(|(_, t)| **t).map(|(b, _)| &b[..]).collect();
        let events = (taken.len() * BATCH) as u64;
        if events > 0 {
            assert_eq!(server.collect(&taken.join("\n")).expect(202)["accepted"], events, "{spoiled:?}");
        }
        let after = conserved(&server, Some(received + events));
        assert_eq!(after, [received + events, counted, events], "{spoiled:?}: {said}");
        // And the rest counts once.
        assert_eq!(server.collect(&bodies.join("\n")).expect(202)["accepted"], all, "{spoiled:?}");
        assert_eq!(conserved(&server, Some(received + events + all))[1], all, "{spoiled:?}");
        assert_eq!(served(&server), oracle, "{spoiled:?}");
        assert_eq!(server.stop(), Some(0), "{spoiled:?}");
    });
    println!(
        "proved: {} faults at the calls of a server that is sent to ({}; each killed, EIO, ENOSPC): {}; nothing \
         acknowledged was lost, and every number right in the end",
        cases.len(),
        list(&counts),
        ends.told(cases.len())
    );
}
