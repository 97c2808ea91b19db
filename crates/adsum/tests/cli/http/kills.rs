//! Several servers under SIGKILL at random moments: while they start, while they are sent to, while they end.
//!
//! Invariant: after each kill the next start has counted every acknowledged event exactly once, and of a request that
//! nobody answered all or nothing. `ADSUM_SERVER_KILLS` is how many kills there are (default 40).

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::events::{Event, Random};
use crate::http::server::{Server, Target};
use crate::place::Place;

/// Every few frames a checkpoint, every few checkpoints a merge, and small segments: a kill finds all of it at work.
const CONFIG: &str =
    "workers = 2\n[time]\nhorizon_seconds = 600000000\n[checkpoint]\nframes = 3\n[log]\nsegment_bytes = 20000\n";
const ARGS: [&str; 2] = ["--config", "adsum.toml"];
/// Servers that are killed beside each other.
const SERVERS: usize = 3;
/// Senders to one server.
const SENDERS: usize = 2;
/// Kills of one data directory.
const IN_A_ROW: usize = 25;
const EVENTS_MAX: u64 = 20;

fn kills() -> usize {
    std::env::var("ADSUM_SERVER_KILLS").ok().map_or(40, |text| text.parse().unwrap())
}

/// An event by its number: its campaign, hour, type and price follow from it.
fn event(number: u64) -> Event {
    let kind = if number.is_multiple_of(7) { "click" } else { "impression" };
    Event::new(&format!("e_{number}"))
        .at(&format!("2026-11-20T{:02}:{:02}:00Z", number % 24, number % 60))
        .with("campaignId", &format!("camp_{}", number % 3))
        .with("eventType", kind)
        .with_json("priceMicros", &(number % 1000).to_string())
}

/// A request: fresh events, and some that were sent before.
#[derive(Clone)]
struct Batch {
    numbers: Vec<u64>,
}

impl Batch {
    fn body(&self) -> String {
        self.numbers.iter().map(|number| event(*number).line() + "\n").collect()
    }
}

/// A sender's numbers do not meet another one's.
struct Sender {
    random: Random,
    /// The next fresh number, and the step to the one after it.
    next: u64,
    step: u64,
    /// What was acknowledged, each once.
    counted: Vec<u64>,
    /// The request that nobody has answered yet.
    open: Option<Batch>,
    requests: u64,
    sent: u64,
}

impl Sender {
    fn new(index: usize, random: Random) -> Self {
        let (next, step) = (index as u64, SENDERS as u64);
        Self { random, next, step, counted: Vec::new(), open: None, requests: 0, sent: 0 }
    }

    fn draw(&mut self) -> Batch {
        let mut numbers = Vec::new();
        for _ in 0..=self.random.below(EVENTS_MAX) {
            let old = self.random.below(10) < 3 && !self.counted.is_empty();
            numbers.push(if old {
                self.counted[self.random.below(self.counted.len() as u64) as usize]
            } else {
                self.next += self.step;
                self.next
            });
        }
        Batch { numbers }
    }

    /// Sends the open request, or a new one; false where it was not answered.
    fn send(&mut self, target: &Target) -> bool {
        let batch = self.open.take().unwrap_or_else(|| self.draw());
        let body = batch.body();
        let body = Some(("application/x-ndjson", body.as_bytes()));
        self.requests += 1;
        match target.try_request(Some(&target.token), "POST", "/v1/events/collect", &[], body) {
            Ok(answer) if answer.status == 202 => {
                let told = answer.json();
                assert_eq!(told["accepted"].as_u64(), Some(batch.numbers.len() as u64), "{told}");
                self.sent += batch.numbers.len() as u64;
                self.count(batch);
                true
            }
            other => {
                if let Ok(answer) = other {
                    assert!([429, 503].contains(&answer.status), "{}", answer.text());
                }
                self.open = Some(batch);
                false
            }
        }
    }

    fn count(&mut self, batch: Batch) {
        self.counted.extend(batch.numbers);
        self.counted.sort_unstable();
        self.counted.dedup();
    }

    /// Fresh events of the open request.
    fn open_fresh(&self) -> u64 {
        let Some(batch) = &self.open else { return 0 };
        let mut fresh: Vec<u64> =
            batch.numbers.iter().copied().filter(|n| self.counted.binary_search(n).is_err()).collect();
        fresh.sort_unstable();
        fresh.dedup();
        fresh.len() as u64
    }
}

/// When a kill falls.
#[derive(Clone, Copy)]
enum Moment {
    /// So long after the process was begun, in microseconds.
    Starting(u64),
    /// After so many requests more.
    Sending(u64),
    /// So long after it was told to end, in microseconds.
    Ending(u64),
}

impl Moment {
    fn draw(random: &mut Random) -> Self {
        match random.below(10) {
            0 | 1 => Self::Starting(random.below(80_000)),
            2 => Self::Ending(random.below(30_000)),
            _ => Self::Sending(random.below(40)),
        }
    }
}

/// A data directory, who sends to it, and what it must say.
struct Field {
    place: Place,
    senders: Vec<Sender>,
    random: Random,
}

impl Field {
    fn new(seed: u64) -> Self {
        let place = Place::new();
        place.write("adsum.toml", CONFIG);
        place.write("token", format!("adsum_{}", "0123456789abcdef".repeat(4)));
        let senders = (0..SENDERS).map(|i| Sender::new(i, Random::new(seed * 100 + i as u64))).collect();
        Self { place, senders, random: Random::new(seed) }
    }

    fn command(&self) -> Command {
        Server::alone(&self.place, &ARGS)
    }

    fn counted(&self) -> u64 {
        self.senders.iter().map(|sender| sender.counted.len() as u64).sum()
    }

    /// Starts, and believes only a ledger that holds what was acknowledged: each event that is not of an open request
    /// once, and of each of those all or nothing.
    fn start(&mut self) -> Server {
        let server = Server::spawn(&self.place, self.command());
        let counted = conserved(&server);
        let mut possible = vec![self.counted()];
        for sender in &self.senders {
            let fresh = sender.open_fresh();
            possible.extend(possible.clone().into_iter().map(|sum| sum + fresh));
        }
        assert!(possible.contains(&counted), "{counted} counted, of {possible:?}");
        // Who vanishes does not try again; its events are sent by nobody else, so what counts of them is known here.
        let certain = possible.iter().filter(|sum| **sum == counted).count() == 1;
        if certain && self.random.below(2) == 0 {
            let open = self.senders.iter().filter(|sender| sender.open_fresh() > 0).count();
            if open == 1 {
                let all = counted > self.counted();
                let sender = self.senders.iter_mut().find(|sender| sender.open_fresh() > 0).unwrap();
                let batch = sender.open.take().unwrap();
                if all {
                    sender.count(batch);
                }
            }
        }
        server
    }

    /// One kill.
    fn kill(&mut self) {
        match Moment::draw(&mut self.random) {
            Moment::Starting(micros) => {
                let log = std::fs::File::create(self.place.path("killed.log")).unwrap();
                let mut child = self.command().stdout(Stdio::null()).stderr(log).spawn().unwrap();
                std::thread::sleep(Duration::from_micros(micros));
                child.kill().unwrap();
                child.wait().unwrap();
            }
            Moment::Sending(requests) => {
                let server = self.start();
                // The kill falls when so many requests are answered, and some are on their way.
                let answered = AtomicUsize::new(0);
                let over = AtomicBool::new(false);
                let target = server.target();
                std::thread::scope(|scope| {
                    let (answered, over, target) = (&answered, &over, &target);
                    let senders = self.senders.iter_mut().map(|sender| {
                        scope.spawn(move || {
                            while !over.load(Ordering::Relaxed) && sender.send(target) {
                                answered.fetch_add(1, Ordering::Relaxed);
                            }
                        })
                    });
                    let senders: Vec<_> = senders.collect();
                    while answered.load(Ordering::Relaxed) < requests as usize {
                        assert!(!senders.iter().any(|s| s.is_finished()), "a request was not answered before the kill");
                        std::thread::yield_now();
                    }
                    std::thread::sleep(Duration::from_micros(self.random.below(2000)));
                    server.kill();
                    over.store(true, Ordering::Relaxed);
                });
            }
            Moment::Ending(micros) => {
                let server = self.start();
                let target = server.target();
                for sender in &mut self.senders {
                    sender.send(&target);
                }
                assert!(Command::new("kill").arg(server.pid().to_string()).status().unwrap().success());
                std::thread::sleep(Duration::from_micros(micros));
                server.kill();
            }
        }
    }

    /// Everything open is sent again, and then every number is compared.
    fn finish(mut self) -> (u64, u64) {
        let server = self.start();
        let target = server.target();
        for sender in &mut self.senders {
            while sender.open.is_some() {
                sender.send(&target);
            }
        }
        assert_eq!(server.stop(), Some(0));
        let ledger = &self.place.doctor(&ARGS)["ledger"]["admin"];
        let of = |column: &str| ledger[column].as_u64().unwrap();
        let sent: u64 = self.senders.iter().map(|sender| sender.sent).sum();
        assert_eq!((of("counted"), of("quarantined"), of("rejected")), (self.counted(), 0, 0), "{ledger}");
        assert_eq!(of("received"), of("counted") + of("duplicates"), "{ledger}");
        assert!(of("received") >= sent, "{sent} acknowledged: {ledger}");
        let mut want: BTreeMap<(String, String), [i64; 3]> = BTreeMap::new();
        for number in self.senders.iter().flat_map(|sender| &sender.counted) {
            let key = (format!("2026-11-20T{:02}:00:00Z", number % 24), format!("camp_{}", number % 3));
            let sums = want.entry(key).or_default();
            let is_click = number.is_multiple_of(7);
            sums[usize::from(is_click)] += 1;
            sums[2] += if is_click { 0 } else { (number % 1000) as i64 };
        }
        let rows = self.place.report(&["--config", "adsum.toml", "--granularity", "hour", "--by", "campaignId"]);
        let got: BTreeMap<_, _> = rows
            .iter()
            .map(|row| {
                let numbers = ["impressions", "clicks", "spendMicros"].map(|name| row.number(name));
                ((row.text("bucketStart").to_owned(), row.text("campaignId").to_owned()), numbers)
            })
            .collect();
        assert_eq!(got, want);
        (self.counted(), self.senders.iter().map(|sender| sender.requests).sum())
    }
}

/// What the served ledger has counted; it must balance.
fn conserved(server: &Server) -> u64 {
    let ledger = server.get("/v1/conservation").expect(200);
    let of = |row: &Value, name: &str| row[name].as_u64().unwrap();
    assert_eq!(ledger["balances"], true, "{ledger}");
    let sums = &ledger["sums"];
    assert_eq!(of(sums, "received"), of(sums, "counted") + of(sums, "duplicates"), "{ledger}");
    of(sums, "counted")
}

#[test]
fn servers_killed_at_any_moment() {
    let directories = kills().div_ceil(IN_A_ROW).max(SERVERS);
    let next = AtomicUsize::new(0);
    let done = std::sync::Mutex::new((0, 0, 0));
    std::thread::scope(|scope| {
        for _ in 0..SERVERS {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= directories {
                        return;
                    }
                    let kills = kills() * (n + 1) / directories - kills() * n / directories;
                    let mut field = Field::new(n as u64 + 1);
                    for _ in 0..kills {
                        field.kill();
                    }
                    let (counted, requests) = field.finish();
                    let mut done = done.lock().unwrap();
                    *done = (done.0 + kills, done.1 + counted, done.2 + requests);
                }
            });
        }
    });
    let (kills, counted, requests) = done.into_inner().unwrap();
    assert_eq!(kills, self::kills());
    println!(
        "proved: {kills} kills of {directories} servers, {SERVERS} at a time, while they start, are sent to and end \
         ({requests} requests, {counted} events counted): after each every acknowledged event once, and every number \
         right in the end"
    );
}
