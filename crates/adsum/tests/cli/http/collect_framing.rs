//! Requests of events whose framing is wrong or strange, byte by byte over a socket: an event is taken once or not at
//! all, and after each the ledger says which.
//!
//! Not here: framing where no body matters (shell), and what stands in a body (collect).

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::collect::{CONFIG, event, start};
use super::server::Server;
use crate::place::Place;

/// Sends bytes, ends sending, and reads the statuses and codes of all answers.
fn answers(server: &Server, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(server.address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // A server that has refused what came may have closed already.
    let _ = socket.write_all(bytes);
    let _ = socket.shutdown(Shutdown::Write);
    let (mut text, mut part) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = socket.read(&mut part) {
        text.extend_from_slice(&part[..count]);
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let is_status = |answer: &&str| answer.as_bytes().iter().take(3).all(u8::is_ascii_digit);
    let each = text.split("HTTP/1.1 ").skip(1).filter(is_status).map(|answer| {
        let code = answer.split("\"code\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        format!("{} {code}", &answer[..3]).trim_end().to_owned()
    });
    each.collect::<Vec<_>>().join(", ")
}

/// What the ledger has received, when it has received as much as is waited for.
fn received(server: &Server, wanted: u64) -> u64 {
    for _ in 0..1000 {
        let ledger = server.get("/v1/conservation").expect(200);
        assert_eq!(ledger["balances"], true, "{ledger}");
        let received = ledger["sums"]["received"].as_u64().unwrap();
        if received >= wanted {
            return received;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{wanted} events do not become visible");
}

#[test]
fn an_event_in_a_strange_frame_is_taken_once_or_not_at_all() {
    let place = Place::new();
    let server = start(&place, CONFIG);
    let line = event("evt_framed").line() + "\n";
    let (half, length) = (&line[..line.len() / 2], line.len());
    let head = |lines: &str| {
        format!(
            "POST /v1/events/collect HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\
             content-type: application/x-ndjson\r\n{lines}\r\n",
            server.token
        )
    };
    let sized = |length: usize| head(&format!("content-length: {length}\r\n"));
    let chunked = head("transfer-encoding: chunked\r\n");
    let chunk = format!("{length:x}\r\n{line}\r\n");
    let ended = format!("{chunk}0\r\n\r\n");
    let whole = sized(length) + &line;
    let many = (0..100).map(|i| format!("h{i}: v\r\n")).collect::<String>();
    // what is sent, the answers, how many events are received
    let cases: Vec<(String, &str, u64)> = vec![
        // Rightly.
        (whole.clone(), "202", 1),
        (chunked.clone() + &ended, "202", 1),
        (format!("{chunked}{:X};a=b\r\n{line}\r\n000\r\nx: y\r\n\r\n", length), "202", 1),
        (head(&format!("expect: 100-continue\r\ncontent-length: {length}\r\n")) + &line, "100, 202", 1),
        (whole.replace("POST /v1", "POST http://a/v1"), "202", 1),
        (format!("{whole}{whole}"), "202, 202", 2),
        (format!("\r\n{whole}"), "202", 1),
        // Two lengths.
        (head(&format!("content-length: {length}\r\ncontent-length: 0\r\n")) + &line, "400", 0),
        (head(&format!("content-length: 0\r\ncontent-length: {length}\r\n")) + &line, "400", 0),
        (head(&format!("content-length: {length}, {length}\r\n")) + &line, "400", 0),
        (head(&format!("content-length: +{length}\r\n")) + &line, "400", 0),
        (head(&format!("content-length: 0x{length:x}\r\n")) + &line, "400", 0),
        (
            head(&format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n")) + &ended,
            "400 length_ambiguous",
            0,
        ),
        (
            head(&format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n")) + &ended,
            "400 length_ambiguous",
            0,
        ),
        (head("transfer-encoding: chunked\r\ncontent-length: 0\r\n") + &ended, "400 length_ambiguous", 0),
        // Encodings of the transfer.
        (head("transfer-encoding: identity\r\n") + &line, "400", 0),
        (head("transfer-encoding: gzip\r\n") + &line, "400", 0),
        (head("transfer-encoding: chunked, gzip\r\n") + &ended, "400", 0),
        (head("transfer-encoding: xchunked\r\n") + &ended, "400", 0),
        // Without a length there is no body, and what follows is no request.
        (head("") + &line, "400 no_events, 400", 0),
        // Hosts and headers.
        (whole.replace("host: a\r\n", ""), "400 host_missing", 0),
        (whole.replace("host: a\r\n", "host: a\r\nhost: b\r\n"), "400 host_ambiguous", 0),
        (whole.replace("host: a\r\n", &format!("host: a\r\n{many}")), "431", 0),
        (whole.replace("host: a\r\n", &format!("host: a\r\nh: {}\r\n", "x".repeat(100 << 10))), "431", 0),
        (whole.replace("content-type", "content type"), "400", 0),
        (whole.replace("content-length:", "content-length :"), "400", 0),
        (whole.replace("HTTP/1.1", "HTTP/1.2"), "400", 0),
        (whole.replace("HTTP/1.1", "HTTP/2.0"), "400", 0),
        (whole.replace("POST /v1", "post /v1"), "405 method_not_allowed", 0),
        // Chunks.
        (format!("{chunked}zz\r\n{line}\r\n0\r\n\r\n"), "400 invalid_body", 0),
        (format!("{chunked}-1\r\n{line}\r\n0\r\n\r\n"), "400 invalid_body", 0),
        (format!("{chunked}fffffffffffffffff\r\n{line}\r\n0\r\n\r\n"), "400 invalid_body", 0),
        (format!("{chunked}{:x}\r\n{line}\r\n0\r\n\r\n", length - 1), "400 invalid_body", 0),
        // The sender ends before the body does.
        (format!("{chunked}{chunk}"), "400 invalid_body", 0),
        (format!("{chunked}{length:x}\r\n{half}"), "400 invalid_body", 0),
        (sized(length) + half, "400 invalid_body", 0),
        (sized(length + 1) + &line, "400 invalid_body", 0),
        // The sender's count is right: the rest is another request. A cut line is a line, and rejected.
        (sized(half.len()) + &line, "202 invalid_json, 400", 1),
    ];
    let (mut taken, mut wrong) = (0, Vec::new());
    let count = cases.len();
    for (request, want, events) in cases {
        let got = answers(&server, request.as_bytes());
        let shown = request.replace(&server.token, "...");
        taken += events;
        let is = (got.as_str(), received(&server, taken));
        if is != (want, taken) {
            wrong.push(format!("{}: {is:?} and not {:?}", &shown[..shown.len().min(400)], (want, taken)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(server.stop(), Some(0));
    let ledger = super::collect::ledger(&place, "admin");
    assert_eq!((&ledger["received"], &ledger["counted"], &ledger["rejected"]), (&taken.into(), &1.into(), &1.into()));
    println!("{count} frames");
}
