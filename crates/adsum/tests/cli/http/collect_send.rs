//! `adsum send`: files to a running service, through refusals and lost answers.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::{Value, json};

use super::collect::{Sums, event, ledger, start};
use super::server::Server;
use crate::events::text;
use crate::place::Place;

const CONFIG: &str = "[time]\nhorizon_seconds = 4000000000\n";

fn send(place: &Place, url: &str, args: &[&str]) -> Value {
    let args = [&["send", "--json", "--url", url, "--token-file", "token"], args].concat();
    serde_json::from_str(&place.run(&args).ok()).unwrap()
}

fn write_files(place: &Place) {
    let part = |from: usize, to: usize| text(&(from..to).map(|i| event(format!("evt_{i}"))).collect::<Vec<_>>());
    place.write("a.ndjson", format!("{}\n\n{{}}\nno json\n", part(0, 25)));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(part(25, 50).as_bytes()).unwrap();
    place.write("b.ndjson.gz", gzip.finish().unwrap());
    place.write("c.ndjson.zst", zstd::encode_all(part(50, 57).as_bytes(), 1).unwrap());
}

#[test]
fn files_are_sent_and_summed_up() {
    let place = Place::new();
    let server = start(&place, CONFIG);
    write_files(&place);
    let files = ["a.ndjson", "b.ndjson.gz", "c.ndjson.zst"];
    for args in [&["--batch", "10"][..], &["--gzip"]] {
        let sums = send(&place, &server.url, &[&files, args].concat());
        let requests = if args.contains(&"--batch") { 6 } else { 1 };
        let want = json!({
            "requests": requests, "retries": 0, "accepted": 57, "rejected": 2, "quarantined": 0,
            "rejectedFor": { "missing_field": 1, "invalid_json": 1 },
        });
        assert_eq!(sums, want);
    }
    let missing = place.run(&["send", "none.ndjson", "--url", &server.url, "--token-file", "token"]);
    missing.fails(1, &["none.ndjson"]);
    place.run(&["send", "a.ndjson", "--url", &server.url, "--token-file", "none"]).fails(1, &["none"]);
    assert_eq!(server.stop(), Some(0));
    let ledger = ledger(&place, "admin");
    assert_eq!((&ledger["counted"], &ledger["duplicates"], &ledger["rejected"]), (&57.into(), &57.into(), &4.into()));
}

/// Stands in front of a service and treats the first connections badly; says what bodies came.
fn bad_line(server: &Server) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let behind = server.address().to_owned();
    std::thread::spawn(move || {
        for (i, client) in listener.incoming().enumerate() {
            let mut client = client.unwrap();
            if i == 0 {
                continue;
            }
            let request = read_request(&mut client);
            let answer: Vec<u8> = match i {
                1 => b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec(),
                2 => b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec(),
                _ => {
                    let mut service = std::net::TcpStream::connect(&behind).unwrap();
                    service.write_all(&request).unwrap();
                    let mut answer = Vec::new();
                    service.read_to_end(&mut answer).unwrap();
                    // The third is taken in, and its answer lost.
                    if i == 3 { Vec::new() } else { answer }
                }
            };
            let _ = client.write_all(&answer);
        }
    });
    url
}

/// One request, changed so that the connection ends behind its answer.
fn read_request(client: &mut std::net::TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = client.read(&mut buffer).unwrap();
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        let Some(head) = text.find("\r\n\r\n") else { continue };
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if request.len() >= head + 4 + length.parse::<usize>().unwrap() {
            request.splice(head..head, b"\r\nconnection: close".iter().copied());
            return request;
        }
    }
}

#[test]
fn refusals_and_lost_answers_are_tried_again_with_the_same_body() {
    let place = Place::new();
    let server = start(&place, CONFIG);
    write_files(&place);
    let url = bad_line(&server);
    let sums = send(&place, &url, &["b.ndjson.gz"]);
    assert_eq!((&sums["requests"], &sums["retries"], &sums["accepted"]), (&1.into(), &4.into(), &25.into()), "{sums}");
    assert_eq!(server.stop(), Some(0));
    // The key made the retry the same request: nothing was appended twice.
    let ledger = ledger(&place, "admin");
    assert_eq!((&ledger["received"], &ledger["counted"]), (&25.into(), &25.into()), "{ledger}");
}

#[test]
fn what_the_service_refuses_is_said() {
    let place = Place::new();
    let server = start(&place, "[collect]\nevents_max = 5\n");
    write_files(&place);
    let args = ["send", "a.ndjson", "--url", &server.url, "--token-file", "token"];
    place.run(&args).fails(1, &["413", "too_many_events"]);
    assert_eq!(server.stop(), Some(0));
    Sums::default().check(&ledger(&place, "admin"));
}
