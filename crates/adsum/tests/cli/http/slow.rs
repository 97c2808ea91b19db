//! Clients that are slow on purpose, under the limits as they are by default: many at once, of every kind. All are cut,
//! and meanwhile who asks properly is answered.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::collect::event;
use super::server::Server;
use crate::place::Place;

/// Clients of each kind.
const CLIENTS: usize = 10;

/// What a kind sends at once, and then again and again.
fn kinds(token: &str) -> Vec<(String, &'static str)> {
    let head = "POST /v1/events/collect HTTP/1.1\r\nhost: a\r\n";
    let full = format!("{head}authorization: Bearer {token}\r\ncontent-type: application/x-ndjson\r\n");
    vec![
        (String::new(), ""),
        (String::new(), "\r\n"),
        (head.to_owned(), ""),
        (head.to_owned(), "x: y\r\n"),
        (head.to_owned(), "x"),
        (format!("{full}content-length: 60000\r\n\r\n"), ""),
        (format!("{full}content-length: 60000\r\n\r\n{{\"eventId\":\""), "x"),
        (format!("{full}transfer-encoding: chunked\r\n\r\n"), "1\r\nx\r\n"),
        (format!("{full}transfer-encoding: chunked\r\n\r\n1"), ""),
        ("GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), ""),
    ]
}

/// Drips until the server closes; what never comes fails the test.
fn drip(address: &str, at_once: &str, again: &str) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(at_once.as_bytes()).unwrap();
    let mut part = [0; 4096];
    for _ in 0..300 {
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        match socket.read(&mut part) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                if socket.write_all(again.as_bytes()).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
    panic!("not closed after a minute: {at_once:?}, then {again:?}");
}

#[test]
fn many_slow_clients_are_cut_and_hold_up_nobody() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let kinds = kinds(&server.token);
    std::thread::scope(|scope| {
        let clients: Vec<_> = kinds
            .iter()
            .flat_map(|kind| std::iter::repeat_n(kind, CLIENTS))
            .map(|(at_once, again)| scope.spawn(|| drip(server.address(), at_once, again)))
            .collect();
        let mut sent = 0;
        while !clients.iter().all(|client| client.is_finished()) {
            sent += 1;
            assert_eq!(server.collect(&event(format!("e_{sent}")).line()).status, 202);
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let ledger = server.get("/v1/conservation").expect(200);
    assert_eq!((&ledger["balances"], &ledger["sums"]["rejected"]), (&true.into(), &0.into()), "{ledger}");
    assert_eq!(server.stop(), Some(0));
}
