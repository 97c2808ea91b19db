//! Requests of events as a whole: types, encodings, sizes, keys, and clients that go away.
//!
//! Invariant: after each table the ledger holds what the answers said, and nothing more. Not here: what is wrong with
//! one event (`collect_events.rs`).

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::Value;

use super::server::{Answer, Server};
use crate::events::{Event, text};
use crate::place::Place;

/// Old events count, whenever the tests run.
pub const CONFIG: &str = "[time]\nhorizon_seconds = 4000000000\n[collect]\nevents_max = 20\nbody_bytes_max = 65536\n";
const PATH: &str = "/v1/events/collect";
const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

/// A service with this configuration.
pub fn start(place: &Place, config: &str) -> Server {
    place.write("adsum.toml", config);
    Server::start(place, &["--config", "adsum.toml"])
}

/// An event in the past of every run.
pub fn event(id: impl AsRef<str>) -> Event {
    Event::new(id.as_ref()).at("2020-01-01T00:00:00Z")
}

/// Events of one request, with ids that no other request has.
fn events(prefix: &str, count: usize) -> Vec<Event> {
    (0..count).map(|i| event(format!("{prefix}_{i}"))).collect()
}

/// The ledger of a source after the end.
pub fn ledger(place: &Place, source: &str) -> Value {
    place.doctor(&["--config", "adsum.toml"])["ledger"][source].clone()
}

/// What the answers said.
#[derive(Default)]
pub struct Sums {
    accepted: i64,
    rejected: i64,
}

impl Sums {
    /// Adds a 202 up.
    #[track_caller]
    pub fn add(&mut self, answer: &Answer) -> Value {
        let body = answer.expect(202);
        self.accepted += body["accepted"].as_i64().unwrap();
        self.rejected += body["rejected"].as_i64().unwrap();
        body
    }

    /// The served ledger has the same, and balances, as soon as what was acknowledged is folded.
    #[track_caller]
    pub fn check_served(&self, server: &Server) {
        for _ in 0..1000 {
            let ledger = server.get("/v1/conservation").expect(200);
            assert_eq!(ledger["balances"], true, "{ledger}");
            let of = |name: &str| ledger["sums"][name].as_i64().unwrap();
            assert!(of("received") <= self.accepted + self.rejected, "{ledger}");
            if (of("accepted"), of("rejected")) == (self.accepted, self.rejected) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("{} accepted and {} rejected do not become visible", self.accepted, self.rejected);
    }

    /// The ledger has the same.
    #[track_caller]
    pub fn check(&self, ledger: &Value) {
        let figure = |name: &str| ledger[name].as_i64().unwrap_or_default();
        assert_eq!((figure("accepted"), figure("rejected")), (self.accepted, self.rejected), "{ledger}");
        assert_eq!(figure("received"), self.accepted + self.rejected, "{ledger}");
    }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn smallest(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// `status code param` of a refusal, `202 accepted rejected` of an answer.
fn said(answer: &Answer) -> String {
    let body = answer.json();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    match answer.status {
        202 => format!("202 {} {}", body["accepted"], body["rejected"]),
        status => {
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            assert_eq!(body["status"], status);
            assert_ne!(text("detail"), "");
            format!("{status} {} {}", text("code"), text("param")).trim_end().to_owned()
        }
    }
}

#[test]
fn table_of_requests() {
    let place = Place::new();
    let server = start(&place, CONFIG);
    let mut sums = Sums::default();
    let mut check = |headers: &[(&str, &str)], content_type: &str, body: &[u8], want: &str| {
        let answer = server.request_as(Some(&server.token), "POST", PATH, headers, Some((content_type, body)));
        let shown = String::from_utf8_lossy(&body[..body.len().min(200)]);
        assert_eq!(said(&answer), want, "{content_type} {headers:?} {shown}");
        if answer.status == 202 {
            sums.add(&answer);
        }
        sums.check_served(&server);
    };
    let array = |prefix: &str, count: usize| {
        let lines: Vec<String> = events(prefix, count).iter().map(Event::line).collect();
        format!("{{\"events\":[{}]}}", lines.join(",")).into_bytes()
    };
    let lines = |prefix: &str, count: usize| text(&events(prefix, count)).into_bytes();
    // Types.
    for (i, content_type) in
        [JSON, "application/json; charset=utf-8", "Application/JSON;charset=\"UTF-8\""].into_iter().enumerate()
    {
        check(&[], content_type, &array(&format!("json_{i}"), 2), "202 2 0");
    }
    for (i, content_type) in [LINES, "application/ndjson", "application/x-ndjson;charset=UTF-8"].into_iter().enumerate()
    {
        check(&[], content_type, &lines(&format!("lines_{i}"), 2), "202 2 0");
    }
    for content_type in
        ["text/plain", "", "application/json; charset=latin1", "application/x-www-form-urlencoded", "*/*"]
    {
        check(&[], content_type, &array("type", 1), "415 unsupported_media_type Content-Type");
    }
    // Bodies.
    let both: [(&[u8], &str, &str); 5] = [
        (b"", "400 no_events events", "400 no_events events"),
        (b" \n\r\n\t", "400 no_events events", "400 no_events events"),
        (b"[]", "400 no_events events", "202 0 1"),
        (b"{\"events\":[]}", "400 no_events events", "202 0 1"),
        (b"\xEF\xBB\xBF{}", "400 invalid_body", "400 invalid_body"),
    ];
    for (body, as_json, as_lines) in both {
        check(&[], JSON, body, as_json);
        check(&[], LINES, body, as_lines);
    }
    check(&[], JSON, &lines("as_json", 2), "400 invalid_json");
    check(&[], JSON, &lines("as_json", 1), "400 unknown_field eventId");
    check(&[], JSON, b"[{}]", "400 not_an_object");
    check(&[], JSON, &array("cut", 2)[..100], "400 invalid_json");
    check(&[], JSON, b"{\"events\":[{}],\"batch\":7}", "400 unknown_field batch");
    check(&[], JSON, b"{\"events\":[],\"events\":[]}", "400 duplicate_field events");
    check(&[], JSON, b"{\"events\":{}}", "400 invalid_type events");
    check(&[], LINES, format!("{}\n\n{{\n{}", event("a").line(), event("b").line()).as_bytes(), "202 2 1");
    // Counts.
    check(&[], JSON, &array("full", 20), "202 20 0");
    check(&[], JSON, &array("over", 21), "413 too_many_events events");
    check(&[], LINES, &[lines("full_lines", 20), b"\n\n \n".to_vec()].concat(), "202 20 0");
    check(&[], LINES, &lines("over_lines", 21), "413 too_many_events events");
    // Encodings.
    let (plain, packed, squeezed) = (lines("gzip", 3), gzip(&lines("gzip", 3)), zstd(&lines("gzip", 3)));
    let encoded = |name: &'static str| [("content-encoding", name)];
    check(&encoded("identity"), LINES, &plain, "202 3 0");
    check(&encoded("gzip"), LINES, &packed, "202 3 0");
    check(&encoded("X-GZIP"), LINES, &packed, "202 3 0");
    check(&encoded("gzip"), JSON, &gzip(&array("packed", 3)), "202 3 0");
    check(&encoded("gzip"), LINES, &[gzip(&lines("m", 2)), gzip(&lines("n", 2))].concat(), "202 4 0");
    check(&encoded("zstd"), LINES, &squeezed, "202 3 0");
    check(&encoded("zstd"), LINES, &[zstd(&lines("o", 2)), zstd(&lines("p", 2))].concat(), "202 4 0");
    check(&encoded("gzip"), LINES, b"", "400 no_events events");
    check(&encoded("zstd"), LINES, &zstd(b""), "400 no_events events");
    for name in ["br", "deflate", "compress", "gzip, gzip", "gzip,zstd", "identity, gzip", "", "none"] {
        check(&encoded(name), LINES, &packed, "415 unsupported_encoding Content-Encoding");
    }
    let twice = [("content-encoding", "gzip"), ("content-encoding", "gzip")];
    check(&twice, LINES, &packed, "415 unsupported_encoding Content-Encoding");
    let mut damaged: Vec<(&'static str, Vec<u8>)> = vec![
        ("gzip", plain.clone()),
        ("zstd", plain.clone()),
        ("gzip", squeezed.clone()),
        ("zstd", packed.clone()),
        ("gzip", [packed.clone(), b"x".to_vec()].concat()),
        ("gzip", [packed.clone(), vec![0; 64]].concat()),
        ("zstd", [squeezed.clone(), b"trailing".to_vec()].concat()),
        ("gzip", vec![0x1F, 0x8B]),
    ];
    for (name, whole) in [("gzip", &packed), ("zstd", &squeezed)] {
        // Cut short anywhere, and a wrong checksum.
        damaged.extend((1..whole.len()).step_by(7).chain([whole.len() - 1]).map(|n| (name, whole[..n].to_vec())));
        let mut wrong = whole.clone();
        let at = if name == "gzip" { whole.len() - 8 } else { whole.len() - 1 };
        wrong[at] ^= 1;
        damaged.push((name, wrong));
    }
    for (name, body) in &damaged {
        check(&encoded(name), LINES, body, "400 bad_encoding Content-Encoding");
    }
    check(&encoded("gzip"), LINES, &gzip(b"\xEF\xBB\xBF{}"), "400 invalid_body");
    // Sizes: the cap holds before and after decompression, and is reached exactly.
    let exactly = |bytes: usize| {
        let line = event("long").with("pad", "").line();
        format!("{}\n", event("long").with("pad", &"x".repeat(bytes - line.len() - 1)).line()).into_bytes()
    };
    check(&[], LINES, &exactly(65536), "202 1 0");
    check(&[], LINES, &exactly(65537), "413 body_too_large");
    check(&encoded("gzip"), LINES, &gzip(&exactly(65536)), "202 1 0");
    check(&encoded("gzip"), LINES, &gzip(&exactly(65537)), "413 body_too_large");
    check(&encoded("zstd"), LINES, &zstd(&exactly(65536)), "202 1 0");
    check(&encoded("zstd"), LINES, &zstd(&exactly(65537)), "413 body_too_large");
    // Keys.
    for key in ["", " ", "a b", "ä", &"k".repeat(256)] {
        check(&[("idempotency-key", key)], LINES, &plain, "400 invalid_idempotency_key Idempotency-Key");
    }
    let twice = [("idempotency-key", "a"), ("idempotency-key", "a")];
    check(&twice, LINES, &plain, "400 invalid_idempotency_key Idempotency-Key");
    check(&[("idempotency-key", &"k".repeat(255))], LINES, &plain, "202 3 0");
    assert_eq!(server.stop(), Some(0));
    sums.check(&ledger(&place, "admin"));
}

#[test]
fn the_same_key_gets_the_same_answer_and_appends_nothing() {
    let place = Place::new();
    let server = start(&place, CONFIG);
    let send = |key: &str, content_type: &str, body: &[u8]| {
        let key = [("idempotency-key", key)];
        server.request_as(Some(&server.token), "POST", PATH, &key, Some((content_type, body)))
    };
    let body = format!("{}{{}}\n", text(&events("a", 2)));
    let mut sums = Sums::default();
    let first = send("one", LINES, body.as_bytes());
    let id = sums.add(&first)["ingestBatchId"].as_str().unwrap().to_owned();
    assert!(id.len() == 29 && id.starts_with("ib_"), "{id}");
    let again = send("one", LINES, body.as_bytes());
    assert_eq!((again.status, &again.body), (202, &first.body));
    // Encodings do not count: it is the same body.
    let packed = [("idempotency-key", "one"), ("content-encoding", "gzip")];
    let packed = server.request_as(Some(&server.token), "POST", PATH, &packed, Some((LINES, &gzip(body.as_bytes()))));
    assert_eq!((packed.status, &packed.body), (202, &first.body));
    for (content_type, other) in [(LINES, format!("{body}\n")), (JSON, body.clone())] {
        let answer = send("one", content_type, other.as_bytes());
        assert_eq!(said(&answer), "422 idempotency_key_reused Idempotency-Key");
    }
    // Another key is another request, and a refused one leaves its key free.
    let other = sums.add(&send("two", LINES, body.as_bytes()));
    assert_ne!(other["ingestBatchId"].as_str(), Some(id.as_str()));
    assert_eq!(said(&send("three", JSON, b"{")), "400 invalid_json");
    sums.add(&send("three", LINES, body.as_bytes()));
    assert_eq!(server.stop(), Some(0));
    let ledger = ledger(&place, "admin");
    sums.check(&ledger);
    assert_eq!((&ledger["counted"], &ledger["duplicates"]), (&2.into(), &4.into()), "{ledger}");
}

/// Sends bytes, and reads to the end what comes back.
fn exchange(server: &Server, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(server.address()).unwrap();
    socket.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_body_over_the_cap_is_refused_before_it_is_read() {
    let place = Place::new();
    let server = start(&place, CONFIG);
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\ncontent-type: {LINES}\r\n",
        server.token
    );
    let declared = exchange(&server, format!("{head}content-length: 65537\r\nconnection: close\r\n\r\n").as_bytes());
    assert!(declared.starts_with("HTTP/1.1 413") && declared.contains("body_too_large"), "{declared}");
    // Without a length the cap is found on the way; the end of the body never comes.
    let mut chunked = format!("{head}transfer-encoding: chunked\r\nconnection: close\r\n\r\n").into_bytes();
    chunked.extend_from_slice(b"10001\r\n");
    chunked.resize(chunked.len() + 65537, b' ');
    let chunked = exchange(&server, &chunked);
    assert!(chunked.starts_with("HTTP/1.1 413") && chunked.contains("body_too_large"), "{chunked}");
    assert_eq!(server.stop(), Some(0));
    Sums::default().check(&ledger(&place, "admin"));
}

/// A figure of /proc, in bytes.
#[cfg(target_os = "linux")]
fn memory(server: &Server, name: &str) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<i64>().unwrap() * 1024
}

#[test]
#[cfg(target_os = "linux")]
fn bombs_take_no_memory() {
    let place = Place::new();
    let server = start(&place, "");
    let megabyte = vec![b' '; 1 << 20];
    // 200 MiB of white space: as one stream, and as many members.
    let mut one = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    for _ in 0..200 {
        one.write_all(&megabyte).unwrap();
    }
    let long = gzip(&megabyte.repeat(12));
    let bombs = [("zstd", one.finish().unwrap()), ("gzip", smallest(&megabyte).repeat(200)), ("gzip", long)];
    // What a process needs once is there before.
    assert_eq!(server.collect(&event("warm").line()).status, 202);
    let before = memory(&server, "VmRSS");
    for (encoding, bomb) in &bombs {
        assert!(bomb.len() < 300 << 10, "{encoding} {}", bomb.len());
        for _ in 0..3 {
            let header = [("content-encoding", *encoding)];
            let answer = server.request_as(Some(&server.token), "POST", PATH, &header, Some((LINES, bomb)));
            assert_eq!(said(&answer), "413 body_too_large");
        }
    }
    let grown = memory(&server, "VmHWM") - before;
    assert!(grown < 16 << 20, "{grown} bytes more");
    assert_eq!(server.stop(), Some(0));
}

#[test]
#[cfg(target_os = "linux")]
fn a_log_that_takes_no_more_is_503_and_the_pixel_comes_all_the_same() {
    let place = Place::new();
    place.write("adsum.toml", format!("{CONFIG}site_keys = {{ sk_web = \"web\" }}\n"));
    // No file of the process may be longer than 1 or 2 MiB, as on a full disk: only the log's becomes so long.
    let serve = ["serve", "--listen", "127.0.0.1:0", "--token-file", "token", "--config", "adsum.toml"];
    let plain = place.command(&serve);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\""]);
    limited.arg(plain.get_program()).args(plain.get_args()).current_dir(place.path(""));
    let server = Server::spawn(&place, limited);
    let mut sums = Sums::default();
    let refused = (0..200).find_map(|i| {
        // Nothing in it is worth compressing.
        let pad: String = (0..8000_u32).map(|n| format!("{:08x}", (n + i * 8000).wrapping_mul(0x9E37_79B1))).collect();
        let answer = server.collect(&event(format!("e_{i}")).with("pad", &pad).line());
        if answer.status == 202 {
            sums.add(&answer);
            return None;
        }
        Some(answer)
    });
    let refused = refused.expect("the limit is reached");
    assert_eq!(said(&refused), "503 log_unavailable");
    assert_eq!(refused.header("retry-after"), Some("5"));
    let pixel = "/v1/pixel.gif?key=sk_web&eventType=impression&campaignId=camp_1&eventId=p_";
    for i in 0..20 {
        let filler = "x".repeat(4000);
        let answer = server.get(&format!("{pixel}{i}&filler={filler}"));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/gif")));
    }
    drop(server);
    // What was answered is there, after a start without the limit.
    assert_eq!(start(&place, CONFIG).stop(), Some(0));
    sums.check(&ledger(&place, "admin"));
}

#[test]
fn a_client_that_goes_away_undoes_nothing_and_its_retry_counts_once() {
    const CLIENTS: usize = 20;
    let place = Place::new();
    let server = start(&place, CONFIG);
    for i in 0..CLIENTS {
        let body = text(&events(&format!("gone_{i}"), 5));
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\ncontent-type: {LINES}\r\ncontent-length: {}\r\n\r\n",
            server.token,
            body.len()
        );
        // Half of them go in the middle of the body, the others right behind it.
        let sent = if i % 2 == 0 { body.len() / 2 } else { body.len() };
        let mut socket = TcpStream::connect(server.address()).unwrap();
        socket.write_all(&[head.as_bytes(), &body.as_bytes()[..sent]].concat()).unwrap();
        socket.shutdown(Shutdown::Both).unwrap();
        drop(socket);
        assert_eq!(said(&server.collect(&body)), "202 5 0");
    }
    assert_eq!(server.stop(), Some(0));
    let ledger = ledger(&place, "admin");
    assert_eq!(ledger["counted"], 5 * CLIENTS, "{ledger}");
    // A cut body is nothing; a whole one may have been taken in, as a whole.
    let duplicates = ledger["duplicates"].as_u64().unwrap();
    assert!(duplicates <= 5 * CLIENTS as u64 / 2 && duplicates.is_multiple_of(5), "{ledger}");
    assert_eq!(ledger["rejected"], 0, "{ledger}");
}
