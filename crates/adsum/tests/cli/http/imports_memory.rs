//! Imports and the memory for request bodies: too little of it, and others who have it.

use std::io::Write;
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use super::imports::start;
use crate::events::many;
use crate::place::{Imported, Place, Run};

const EVENTS: usize = 200;

#[test]
fn a_chunk_without_room_is_refused_and_nothing_is_lost() {
    let place = Place::new();
    place.write("server.toml", "[server]\nbody_memory_bytes = 8192\n");
    place.write("client.toml", "[import]\nframe_bytes = 4096\n");
    place.write("events.ndjson", many("e", EVENTS));
    let server = start(&place, &["--config", "server.toml"]);
    let import = ["import", "--json", "--url", &server.url, "--token-file", "token", "events.ndjson"];
    // More at once than the memory for all: no waiting helps.
    place.run(&import).fails(1, &["413", "body_too_large", "server.body_memory_bytes"]);

    // A request that never ends takes most of it.
    let mut other = TcpStream::connect(server.address()).unwrap();
    let head = format!(
        "POST /v1/events/collect HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\
         content-type: application/x-ndjson\r\ncontent-length: 6144\r\n\r\n{{",
        server.token
    );
    other.write_all(head.as_bytes()).unwrap();
    let chunk = "x".repeat(4096);
    let path = format!("/v1/imports/import/chunks?run=r&path=p&position=0&next={}", chunk.len());
    let refused = loop {
        let answer = server.request("POST", &path, Some(("application/x-ndjson", chunk.as_bytes())));
        if answer.status != 404 {
            break answer;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(refused.expect_problem(), (503, "overloaded".to_owned(), String::new()));
    assert_eq!(refused.header("retry-after"), Some("1"));

    // Who waits gets through when the memory is there again, and goes on where the first run broke off.
    let args = [&import[..], &["--config", "client.toml"]].concat();
    let child = place.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    drop(other);
    let imported = Imported::of(&Run::of(&args, child.wait_with_output().unwrap()).ok());
    assert!(imported.resumed);
    assert_eq!((imported.figures.received, imported.figures.counted), (EVENTS as i64, EVENTS as i64));
    assert_eq!(server.stop(), Some(0));
    place.doctor(&[]);
}
