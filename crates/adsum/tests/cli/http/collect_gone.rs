//! Clients that send everything and are gone before the answer.

use std::io::Write;
use std::net::{Shutdown, TcpStream};

use super::collect::{CONFIG, event, ledger, start};
use crate::events::{Event, text};
use crate::place::Place;

const CLIENTS: usize = 100;
const EVENTS: usize = 5;

#[test]
fn an_append_outlives_its_client() {
    let place = Place::new();
    let server = start(&place, CONFIG);
    let bodies: Vec<String> = (0..CLIENTS)
        .map(|i| text(&(0..EVENTS).map(|k| event(format!("gone_{i}_{k}"))).collect::<Vec<Event>>()))
        .collect();
    for body in &bodies {
        let head = format!(
            "POST /v1/events/collect HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\
             content-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
            server.token,
            body.len()
        );
        let mut socket = TcpStream::connect(server.address()).unwrap();
        socket.write_all(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
        socket.shutdown(Shutdown::Both).unwrap();
    }
    assert_eq!(server.stop(), Some(0));
    let taken = ledger(&place, "admin");
    let counted = taken["counted"].as_u64().unwrap();
    assert!(counted > 0 && counted.is_multiple_of(EVENTS as u64), "requests count whole, and some do: {taken}");
    assert_eq!((&taken["received"], &taken["duplicates"]), (&taken["counted"], &0.into()), "{taken}");

    // Nobody knows which: all of it again.
    let server = start(&place, CONFIG);
    for body in &bodies {
        assert_eq!(server.collect(body).status, 202);
    }
    assert_eq!(server.stop(), Some(0));
    let all = ledger(&place, "admin");
    assert_eq!(all["counted"], CLIENTS * EVENTS, "{all}");
    assert_eq!(all["duplicates"], counted, "{all}");
}
