//! Every sync of a server's life fails once: what it was to make durable is never acknowledged, and it is not tried
//! again.

use std::collections::BTreeMap;

use super::strace::{self, Call, Fault, Spoiled, under};
use super::{calls_max, each_case};
use crate::events::many;
use crate::http::server::Server;
use crate::place::Place;

/// Syncs, and the calls by which answers go out.
const SYNCS_AND_ANSWERS: &str = "fsync,fdatasync,sendto,sendmsg,write,writev";
const WITH_CONFIG: [&str; 2] = ["--config", "adsum.toml"];

/// How many events are sent, each in a request: each is a sync.
fn events() -> usize {
    calls_max() / 2
}

fn place() -> Place {
    let place = Place::new();
    place.write(
        "adsum.toml",
        "[time]\nhorizon_seconds = 600000000\n[checkpoint]\nframes = 2\n[log]\nsegment_bytes = 1500\n",
    );
    place.write("token", format!("adsum_{}", "0123456789abcdef".repeat(4)));
    place
}

fn is_sync(call: &Call) -> bool {
    call.name == "fsync" || call.name == "fdatasync"
}

/// Every name that a segment can have: strace counts a thread's calls, and of all threads' the log's are to be counted alone.
fn names_of_segments() -> Vec<String> {
    // Beside the events there are ticks and the notes of start and end.
    let segments = (0..3 * events()).map(|first| format!("data/log/{first:020}"));
    let files = segments.flat_map(|name| [format!("{name}.log"), format!("{name}.tmp")]);
    files.chain(["data/log".to_owned()]).collect()
}

/// One run under strace: which events were acknowledged, the exit code, and the calls on these paths, or all.
fn run(place: &Place, paths: &[String], more: &[&str]) -> (Vec<String>, Option<i32>, Vec<Call>) {
    let traced = under(place, &Server::alone(place, &WITH_CONFIG), SYNCS_AND_ANSWERS, paths, more);
    let mut taken = Vec::new();
    let code = match Server::try_spawn(place, traced) {
        Err(code) => code,
        Ok(server) => {
            for line in many("e", events()).lines() {
                let body = Some(("application/x-ndjson", line.as_bytes()));
                let sent = server.try_request(Some(&server.token), "POST", "/v1/events/collect", &[], body);
                if sent.is_ok_and(|answer| answer.status == 202) {
                    taken.push(line.to_owned());
                }
            }
            server.stop()
        }
    };
    (taken, code, strace::calls(place))
}

#[test]
fn a_failed_sync_ends_acknowledging_and_is_not_repeated() {
    strace::must_be_there();
    let (taken, code, calls) = run(&place(), &[], &[]);
    assert_eq!((taken.len(), code), (events(), Some(0)));
    let answers = calls.iter().filter(|call| call.text.contains("HTTP/1.1 202")).count();
    assert_eq!(answers, events(), "every answer is a call");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut by_thread: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for call in calls.iter().filter(|call| is_sync(call)) {
        let count = by_thread.entry((&call.name, &call.thread)).or_default();
        *count += 1;
        let most = counts.entry(call.name.clone()).or_default();
        *most = (*most).max(*count);
    }
    let log = names_of_segments();
    let syncs_of_the_log =
        calls.iter().filter(|c| c.name == "fdatasync" && c.paths().iter().any(|path| log.contains(path))).count();
    let all = Spoiled::all(&counts, usize::MAX, &[Fault::Eio]).into_iter().map(|spoiled| (spoiled, &[][..]));
    let counts = BTreeMap::from([("fdatasync".to_owned(), syncs_of_the_log)]);
    let of_log = Spoiled::all(&counts, usize::MAX, &[Fault::Eio]).into_iter().map(|spoiled| (spoiled, &log[..]));
    let cases: Vec<(Spoiled, &[String])> = all.chain(of_log).collect();
    let of_the_log = std::sync::atomic::AtomicUsize::new(0);
    each_case(&cases, |(spoiled, paths)| {
        let place = place();
        let (taken, code, calls) = run(&place, paths, &[&spoiled.inject()]);
        assert_eq!(many("e", taken.len()).lines().collect::<Vec<_>>(), taken, "{spoiled:?}: taken after one was not");
        let said = std::fs::read_to_string(place.path("server.log")).unwrap_or_default();
        let Some(failed) = calls.iter().position(Call::is_injected) else { return };
        let paths = calls[failed].paths();
        // The metadata's store is no source of truth: it reads the log later.
        let is_truth = !paths.iter().any(|path| path.contains("metadata.sqlite"));
        assert!(!is_truth || code == Some(1), "{spoiled:?}, {paths:?}: {code:?}, {said}");
        if paths.iter().any(|path| path.starts_with("data/log")) {
            of_the_log.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let after = &calls[failed + 1..];
            let told = after.iter().find(|call| call.text.contains("HTTP/1.1 202"));
            assert!(told.is_none(), "{spoiled:?}: acknowledged after it: {told:?}");
            let again = after.iter().find(|call| is_sync(call) && call.paths() == paths);
            assert!(again.is_none(), "{spoiled:?}: tried again: {again:?}");
        }
        // What was acknowledged before is there, and the rest counts when it is sent again.
        let server = Server::spawn(&place, Server::alone(&place, &WITH_CONFIG));
        for line in &taken {
            assert_eq!(server.collect(line).expect(202)["accepted"], 1);
        }
        assert_eq!(server.collect(&many("e", events())).expect(202)["accepted"], events());
        assert_eq!(server.stop(), Some(0), "{spoiled:?}");
        let ledger = &place.doctor(&WITH_CONFIG)["ledger"]["admin"];
        let of = |column: &str| ledger[column].as_u64().unwrap() as usize;
        assert_eq!(of("counted"), events(), "{spoiled:?}: {ledger}");
        assert!(of("duplicates") >= 2 * taken.len(), "{spoiled:?}: {ledger}");
    });
    let of_the_log = of_the_log.into_inner();
    assert!(of_the_log >= events(), "only {of_the_log} syncs of the log failed");
    println!(
        "proved: EIO at one sync after the other of a server's life, {} times, {of_the_log} of them at the log's: no \
         acknowledgement after it, no second try, exit with an error, and the next start right",
        cases.len()
    );
}

/// Names that an import gave below its place and never synced: those of new directories, of renamed files and of files
/// made under their own name.
fn unsynced_names(calls: &[Call]) -> Vec<String> {
    let mut open: Vec<(String, String)> = Vec::new();
    for call in calls.iter().filter(|call| !call.text.contains("= -1 ")) {
        let named = call.text.split('"').skip(1).step_by(2).last().filter(|path| path.starts_with("data"));
        if is_sync(call) {
            let synced = call.text.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
            open.retain(|(_, parent)| {
                !(synced.ends_with(&format!("/{parent}")) || parent.is_empty() && !synced.contains("/data"))
            });
        } else if let Some(path) = named.filter(|_| call.name != "openat" || call.text.contains("O_CREAT")) {
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            // What is renamed later, and a lock, need not outlive anything.
            if !path.ends_with(".tmp") && path != "data/lock" {
                open.push((path.to_owned(), parent.to_owned()));
            }
        }
    }
    open.into_iter().map(|(path, _)| path).collect()
}

#[test]
fn every_name_is_synced_into_its_directory() {
    strace::must_be_there();
    let place = place();
    place.write("events.ndjson", many("e", 100));
    let plain = place.command(&["import", "--config", "adsum.toml", "events.ndjson"]);
    let calls = "mkdir,mkdirat,rename,renameat,renameat2,openat,fsync,fdatasync";
    assert!(under(&place, &plain, calls, &[], &[]).output().unwrap().status.success());
    let calls = strace::calls(&place);
    assert_eq!(unsynced_names(&calls), [""; 0]);
    // It would be noticed.
    let without: Vec<Call> = calls.into_iter().filter(|call| call.name != "fsync").collect();
    let missing = unsynced_names(&without);
    for name in ["data", "data/log", "data/store", "data/secret", "data/store/manifest"] {
        assert!(missing.iter().any(|path| path == name), "{name}: {missing:?}");
    }
}
