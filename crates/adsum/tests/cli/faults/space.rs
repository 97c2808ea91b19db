//! A disk of 1 MiB that is full, and one that is slow: a file system in memory in a mount namespace of its own, and
//! syncs that strace holds up.

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::strace::{self, under};
use crate::events::{Event, many};
use crate::http::server::{Answer, Server};
use crate::place::Place;

const WITH_CONFIG: [&str; 2] = ["--config", "adsum.toml"];

/// The arguments of `unshare` by which a file system can be mounted here; none where that is not allowed.
fn unshare() -> Option<&'static str> {
    ["-m", "-rm"].into_iter().find(|how| {
        let mut mount = Command::new("unshare");
        mount.args([how, "sh", "-c", "mount -t tmpfs -o size=1m none /mnt"]);
        mount.output().is_ok_and(|output| output.status.success())
    })
}

/// The command of a server whose data directory is on a file system of 1 MiB, which it alone sees.
fn on_a_small_disk(place: &Place, how: &str) -> Command {
    let plain = Server::alone(place, &WITH_CONFIG);
    let mut command = Command::new("unshare");
    command.args([how, "sh", "-c", "mount -t tmpfs -o size=1m none data && exec \"$0\" \"$@\""]);
    command.arg(plain.get_program()).args(plain.get_args()).current_dir(place.path(""));
    command
}

/// An event whose text cannot be made shorter.
fn bulky(number: u64) -> String {
    let pad: String =
        (0..500_u64).map(|n| format!("{:016x}", (n + 500 * number).wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect();
    Event::new(&format!("bulky_{number}")).with_json("attributes", &format!("{{\"pad\":\"{pad}\"}}")).line()
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

fn counted(server: &Server) -> u64 {
    let ledger = server.get("/v1/conservation").expect(200);
    assert_eq!(ledger["balances"], true, "{ledger}");
    ledger["sums"]["counted"].as_u64().unwrap()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..600 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("not so after a minute: {what}");
}

/// Bytes that the process has taken at most.
fn most_memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)
        } else {
            let _ = std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_full_disk_of_one_mebibyte() {
    let Some(how) = unshare() else {
        println!(
            "SKIPPED: no file system can be mounted here (unshare -m); a file size limit stands for it in collect"
        );
        return;
    };
    let place = Place::new();
    place.write("adsum.toml", "[time]\nhorizon_seconds = 600000000\n[checkpoint]\nframes = 10\n");
    place.write("token", format!("adsum_{}", "0123456789abcdef".repeat(4)));
    std::fs::create_dir(place.path("data")).unwrap();
    let server = Server::spawn(&place, on_a_small_disk(&place, how));
    // The disk as the server sees it.
    let data =
        PathBuf::from(format!("/proc/{}/root", server.pid())).join(place.path("data").strip_prefix("/").unwrap());
    std::fs::write(data.join("filler"), vec![b'x'; 300 << 10]).unwrap();
    let (mut taken, mut refused) = (0, 0);
    for number in 0..400 {
        let answer = server.collect(&bulky(number));
        match answer.status {
            202 => taken += 1,
            _ => {
                assert_eq!(code(&answer), (503, "log_unavailable".to_owned()));
                assert!(answer.header("retry-after").is_some());
                refused += 1;
            }
        }
    }
    assert!(taken > 20 && refused > 100, "{taken} taken, {refused} refused");
    // Nothing is ready (but for the moment after a tick, which is small enough), nobody gets a backup; what was taken is
    // told.
    until("it is not ready", || server.collect(&bulky(0)).status == 503 && server.get("/readyz").status == 503);
    assert_eq!(code(&server.post("/v1/backups", &serde_json::Value::Null)).0, 503);
    assert_eq!(server.get("/healthz").status, 200);
    until("what was taken is told", || counted(&server) == taken);
    let report = server.get("/v1/reports?from=2026-11-20&to=2026-11-21&granularity=day").expect(200);
    assert_eq!(report["rows"][0]["impressions"], taken);
    // With space again it goes on by itself, and what was refused counts when it is sent again.
    std::fs::remove_file(data.join("filler")).unwrap();
    until("it is ready again", || server.get("/readyz").status == 200);
    assert_eq!(server.collect(&many("small", 20)).expect(202)["accepted"], 20);
    until("what came then is told", || counted(&server) == taken + 20);
    // Full again, it can still be told to end; an open directory keeps the disk, from which a start elsewhere goes on.
    let held = std::fs::File::open(&data).unwrap();
    let filled = std::fs::write(data.join("filler"), vec![b'x'; 1 << 20]).unwrap_err();
    assert_eq!(filled.kind(), std::io::ErrorKind::StorageFull);
    let ended = server.stop();
    assert!(ended == Some(0) || ended == Some(1), "{ended:?}");
    let held = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
    std::fs::remove_file(held.join("filler")).unwrap();
    let other = Place::new();
    copy(&held, &other.path("data"));
    for name in ["adsum.toml", "token"] {
        std::fs::copy(place.path(name), other.path(name)).unwrap();
    }
    let server = Server::spawn(&other, Server::alone(&other, &WITH_CONFIG));
    assert_eq!(counted(&server), taken + 20);
    for number in 0..400 {
        assert_eq!(server.collect(&bulky(number)).status, 202);
    }
    until("everything counts once", || counted(&server) == 420);
    assert_eq!(server.stop(), Some(0));
    println!(
        "proved: a full disk of 1 MiB: {refused} requests refused by 503, {taken} taken, none of them lost, reads go on"
    );
}

#[test]
fn a_slow_disk_is_overload_and_memory_stays_bounded() {
    const LIMIT_MIB: u64 = 200;
    const SENDERS: u64 = 12;
    const REQUESTS: u64 = 8;
    const EVENTS: u64 = 125;
    strace::must_be_there();
    let place = Place::new();
    place.write("adsum.toml", format!("memory_limit = \"{LIMIT_MIB} MiB\"\n[time]\nhorizon_seconds = 600000000\n"));
    // Every sync takes half a second: a megabyte of each sender is more than may wait for it.
    let slow =
        under(&place, &Server::alone(&place, &WITH_CONFIG), "fdatasync", &[], &["inject=fdatasync:delay_exit=500000"]);
    let server = Server::spawn(&place, slow);
    let (taken, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (target, taken, refused) = (server.target(), &taken, &refused);
            scope.spawn(move || {
                for request in 0..REQUESTS {
                    let first = (sender * REQUESTS + request) * EVENTS;
                    let long = |number| Event::new(&format!("long_{number}")).with("pad", &"x".repeat(8000)).line();
                    let body: String = (first..first + EVENTS).map(|number| long(number) + "\n").collect();
                    let answer = target.collect(&body);
                    match answer.status {
                        202 => taken.fetch_add(EVENTS, Ordering::Relaxed),
                        status => {
                            assert!([429, 503].contains(&status), "{}", answer.text());
                            assert!(answer.header("retry-after").is_some(), "{}", answer.text());
                            refused.fetch_add(EVENTS, Ordering::Relaxed)
                        }
                    };
                }
            });
        }
    });
    let (taken, refused) = (taken.into_inner(), refused.into_inner());
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
    until("what was taken is told", || counted(&server) == taken);
    let most = most_memory(&server) >> 20;
    assert!(most < LIMIT_MIB, "{most} MiB");
    let ended = server.stop();
    assert_eq!(ended, Some(0), "{}", std::fs::read_to_string(place.path("server.log")).unwrap());
    println!(
        "proved: a slow disk: {refused} events refused by 503, {taken} taken, at most {most} MiB of {LIMIT_MIB} taken"
    );
}
