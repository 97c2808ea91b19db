//! The Open Bandit Dataset over HTTP: shuffled, in batches of 1 to 5,000, every batch sent twice, by senders that try
//! again until they are answered, while the process is killed (SIGKILL) with requests in flight and started again.
//!
//! Invariant: what comes out are the numbers that others counted, and the ledger balances.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::Duration;

use crate::events::Random;
use crate::http::server::{Server, Target};
use crate::kills::log_bytes;
use crate::open_bandit::{Dataset, check_numbers};
use crate::place::Place;

/// Live events of 2019 are within the horizon; small segments and frequent checkpoints, so that a kill finds many
/// states.
const CONFIG: &str = "[time]\nhorizon_seconds = 600000000\n[checkpoint]\nframes = 7\n[log]\nsegment_bytes = 1000000\n";
const SENDERS: usize = 4;
const BATCH_EVENTS_MAX: u64 = 5_000;

/// How many kills: `ADSUM_HTTP_KILLS`, or 20.
fn kills() -> u64 {
    std::env::var("ADSUM_HTTP_KILLS").ok().map_or(20, |text| text.parse().unwrap())
}

/// How often every batch is sent: twice, or so often that there is enough to send for all kills.
fn copies() -> u64 {
    (kills() / 10).max(2)
}

/// A request body: content type, encoding, bytes, and how many events are in it.
struct Batch {
    content_type: &'static str,
    encoding: Option<&'static str>,
    body: Vec<u8>,
    events: u64,
}

impl Batch {
    /// Some lines as one of the forms that a sender may choose.
    fn new(lines: &[&str], random: &mut Random) -> Self {
        let (content_type, text) = match random.below(2) {
            0 => ("application/x-ndjson", lines.join("\n")),
            _ => ("application/json", format!("{{\"events\":[{}]}}", lines.join(","))),
        };
        let (encoding, body) = match random.below(3) {
            0 => (None, text.into_bytes()),
            1 => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(text.as_bytes()).unwrap();
                (Some("gzip"), encoder.finish().unwrap())
            }
            _ => (Some("zstd"), zstd::encode_all(text.as_bytes(), 1).unwrap()),
        };
        Self { content_type, encoding, body, events: lines.len() as u64 }
    }
}

/// The events shuffled and cut; sizes are spread over all orders of magnitude. Every batch stands [`copies`] times.
fn batches(text: &str, random: &mut Random) -> VecDeque<Batch> {
    let mut lines: Vec<&str> = text.lines().collect();
    for i in (1..lines.len()).rev() {
        lines.swap(i, random.below(i as u64 + 1) as usize);
    }
    let mut order: Vec<(u64, Batch)> = Vec::new();
    let mut rest = lines.as_slice();
    while !rest.is_empty() {
        let most = [1, 20, 300, BATCH_EVENTS_MAX][random.below(4) as usize];
        let (now, later) = rest.split_at((1 + random.below(most)).min(rest.len() as u64) as usize);
        rest = later;
        for _ in 0..copies() {
            order.push((random.below(1 << 40), Batch::new(now, random)));
        }
    }
    order.sort_by_key(|(at, _)| *at);
    order.into_iter().map(|(_, batch)| batch).collect()
}

/// What the senders and the killer share.
struct Field {
    queue: Mutex<VecDeque<Batch>>,
    target: RwLock<Target>,
    in_flight: AtomicUsize,
    acknowledged: AtomicU64,
    failed: AtomicU64,
    done: AtomicBool,
}

impl Field {
    /// Sends what is queued, each until it is acknowledged.
    fn send(&self) {
        loop {
            let Some(batch) = self.queue.lock().unwrap().pop_front() else { return };
            loop {
                let target = self.target.read().unwrap().clone();
                let encoding: Vec<(&str, &str)> = batch.encoding.iter().map(|e| ("content-encoding", *e)).collect();
                self.in_flight.fetch_add(1, Ordering::SeqCst);
                let body = Some((batch.content_type, batch.body.as_slice()));
                let answer = target.try_request(Some(&target.token), "POST", "/v1/events/collect", &encoding, body);
                self.in_flight.fetch_sub(1, Ordering::SeqCst);
                match answer {
                    Ok(answer) if answer.status == 202 => {
                        let counts = answer.json();
                        let of = |name: &str| counts[name].as_u64().unwrap();
                        assert_eq!((of("accepted"), of("rejected")), (batch.events, 0), "{counts}");
                        self.acknowledged.fetch_add(batch.events, Ordering::SeqCst);
                        break;
                    }
                    Ok(answer) => assert!([429, 503].contains(&answer.status), "{}", answer.text()),
                    Err(_) => {
                        self.failed.fetch_add(1, Ordering::SeqCst);
                    }
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

#[test]
fn sent_twice_in_shuffled_batches_under_kills() {
    let Some(dataset) = Dataset::in_order(&[]) else { return };
    let text = std::fs::read_to_string(dataset.file()).unwrap();
    let mut random = Random::new(20);
    let place = Place::new();
    place.write("obd.toml", CONFIG);
    let args = ["--config", "obd.toml"];
    let first = Server::start(&place, &args);
    let queue = batches(&text, &mut random);
    let (batches, sent) = (queue.len() as u64, copies() * text.lines().count() as u64);
    let field = Field {
        queue: Mutex::new(queue),
        target: RwLock::new(first.target()),
        in_flight: AtomicUsize::new(0),
        acknowledged: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        done: AtomicBool::new(false),
    };
    let mut killed = 0;
    let server = std::thread::scope(|scope| {
        let mut server = first;
        let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(|| field.send())).collect();
        scope.spawn(|| {
            let ended: Vec<_> = senders.into_iter().map(|s| s.join()).collect();
            field.done.store(true, Ordering::SeqCst);
            ended.into_iter().for_each(|e| e.unwrap());
        });
        // The kills are spread over what there is to send: each falls when so many more batches are gone, the log has
        // grown by some bytes, and requests are in flight, whatever the machine's speed.
        for n in 1..=kills() {
            let left = batches - batches * n / (kills() + 1);
            let grown = log_bytes(&place) + random.below(400);
            loop {
                let behind = field.queue.lock().unwrap().len() as u64 <= left && log_bytes(&place) >= grown;
                let flying = field.in_flight.load(Ordering::SeqCst);
                if field.done.load(Ordering::SeqCst) || (behind && flying > 0) {
                    break;
                }
                std::thread::sleep(Duration::from_micros(200));
            }
            if field.done.load(Ordering::SeqCst) {
                break;
            }
            server.kill();
            killed += 1;
            server = Server::start(&place, &args);
            *field.target.write().unwrap() = server.target();
        }
        server
    });
    assert_eq!(server.stop(), Some(0));
    assert_eq!(field.acknowledged.load(Ordering::SeqCst), sent);
    assert_eq!(killed, kills(), "everything was sent before the last kill");
    check_numbers(&place, &args, &dataset.truth);
    let ledger = &place.doctor(&args)["ledger"]["admin"];
    let of = |column: &str| ledger[column].as_u64().unwrap();
    assert_eq!((of("counted"), of("quarantined"), of("rejected")), (sent / copies(), 0, 0));
    assert_eq!(of("received"), of("counted") + of("duplicates"));
    // What was not acknowledged may have been counted before it was sent again.
    assert!(of("received") >= sent, "{ledger}");
    println!(
        "proved: {killed} kills while {batches} batches of 1 to {BATCH_EVENTS_MAX} events were sent over HTTP, each {} times \
         ({sent} events, {} requests cut off): every number as counted by others",
        copies(),
        field.failed.load(Ordering::SeqCst)
    );
}
