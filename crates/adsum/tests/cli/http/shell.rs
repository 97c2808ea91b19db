//! The server's sockets: requests as nobody should send them, clients that never finish, and how the process ends.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use super::server::Server;
use crate::place::Place;

/// A connection; what never comes fails the test and does not hang it.
fn open(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// What came until the server closed the connection; a reset is a close.
fn rest(stream: &mut TcpStream) -> String {
    let (mut text, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(n) => text.extend_from_slice(&part[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}, after {}", String::from_utf8_lossy(&text)),
        }
    }
    String::from_utf8(text).unwrap()
}

/// The status; 0 where no answer came.
fn status(answer: &str) -> u16 {
    answer.get(9..12).map_or(0, |status| status.parse().unwrap())
}

/// The code of the problem that an answer is; empty where it is none.
fn code(answer: &str) -> String {
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let problem: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    problem["code"].as_str().unwrap_or_default().to_owned()
}

/// A place whose configuration has these lines under `[server]`, and a server there.
fn start(settings: &str, args: &[&str]) -> (Place, Server) {
    let place = Place::new();
    place.write("adsum.toml", format!("[server]\n{settings}\n"));
    let server = Server::start(&place, &[&["--config", "adsum.toml"], args].concat());
    (place, server)
}

#[test]
fn what_is_no_proper_request_is_answered_and_closed() {
    let (_place, server) = start("", &[]);
    let headers = |count: usize| (0..count).map(|i| format!("h{i}: v\r\n")).collect::<String>();
    let get = |rest: &str| format!("GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{rest}\r\n");
    let post = |rest: &str| format!("POST /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{rest}\r\n");
    let cases = [
        (get(""), 200, ""),
        ("GET /healthz HTTP/1.0\r\n\r\n".to_owned(), 200, ""),
        ("\r\n\r\nGET /healthz HTTP/1.0\r\n\r\n".to_owned(), 200, ""),
        (get(&headers(98)), 200, ""),
        (get(&headers(99)), 431, ""),
        (get(&format!("h: {}\r\n", "x".repeat(30 << 10))), 200, ""),
        (get(&format!("h: {}\r\n", "x".repeat(100 << 10))), 431, ""),
        (format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(100 << 10)), 431, ""),
        ("GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n".to_owned(), 400, "host_missing"),
        (get("host: b\r\n"), 400, "host_ambiguous"),
        (get("content-length: 5\r\ncontent-length: 6\r\n") + "hello", 400, ""),
        (get("content-length: x\r\n"), 400, ""),
        (get("content-length: -1\r\n"), 400, ""),
        (get("content-length: 5, 5\r\n") + "hello", 400, ""),
        (get("content-length: 99999999999999999999\r\n"), 400, ""),
        (get("content-length: 5\r\ntransfer-encoding: chunked\r\n") + "0\r\n\r\n", 400, "length_ambiguous"),
        (get("transfer-encoding: chunked\r\ncontent-length: 5\r\n") + "0\r\n\r\n", 400, "length_ambiguous"),
        (get("transfer-encoding: gzip\r\n"), 400, ""),
        ("GET /healthz HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), 400, ""),
        (get("a b: c\r\n"), 400, ""),
        (get("a : c\r\n"), 400, ""),
        (get("a: b\r\n c\r\n"), 400, ""),
        (get("a: \0\r\n"), 400, ""),
        ("GET /healthz HTTP/1.1\r\nhost: a\r\n".to_owned(), 0, ""),
        ("GET".to_owned(), 0, ""),
        (String::new(), 0, ""),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\r\n\r\n".to_owned(), 400, ""),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 0, ""),
        (get("").replace("/healthz", "/nowhere"), 404, "no_such_endpoint"),
        (get("").replace("/healthz", "/v1/../healthz"), 404, "no_such_endpoint"),
        (get("").replace("/healthz", "/%00"), 404, "no_such_endpoint"),
        (post("content-length: 0\r\n"), 405, "method_not_allowed"),
        (get("").replace("/healthz", "/metrics"), 401, "token_missing"),
        (get("").replace("/healthz", "/metrics?token=x"), 401, "token_missing"),
    ];
    for (request, expected, problem) in cases {
        let mut stream = open(&server);
        stream.write_all(request.as_bytes()).unwrap();
        if expected == 0 {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let answer = rest(&mut stream);
        assert_eq!((status(&answer), code(&answer).as_str()), (expected, problem), "{request:?}: {answer}");
    }
    assert_eq!(server.get("/readyz").text(), "ready\n");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_refused_upload_is_answered_while_it_goes_on() {
    let (_place, server) = start("", &[]);
    let mut stream = open(&server);
    write!(stream, "POST /nowhere HTTP/1.1\r\nhost: a\r\ncontent-length: 13000000\r\n\r\n").unwrap();
    stream.write_all(&vec![b'x'; 12_000_000]).unwrap();
    let answer = rest(&mut stream);
    assert_eq!((status(&answer), code(&answer).as_str()), (404, "no_such_endpoint"));
    server.stop();
}

#[test]
fn clients_that_never_finish_are_cut() {
    // One limit at a time is short, so that no other can do its work.
    let (_place, heads) = start("header_seconds = 1\nidle_seconds = 600", &[]);
    let (_place, idles) = start("header_seconds = 600\nidle_seconds = 1", &[]);
    let request = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
    // what is sent at once, what is sent again and again, the status that comes before the end
    let cases = [
        (&heads, "", "", 0),
        (&heads, "", "\r\n", 0),
        (&heads, "GET /healthz HTTP/1.1\r\nhost: a\r\n", "", 0),
        (&heads, "GET /healthz HTTP/1.1\r\nhost: a\r\n", "x: y\r\n", 0),
        (&heads, "", "x", 0),
        (&heads, "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\nGET /heal", "", 200),
        (&heads, "POST /healthz HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n", "x", 405),
        (&idles, request, "", 200),
        (&idles, request, "\r\n", 200),
    ];
    for (server, at_once, drip, expected) in cases {
        let mut stream = open(server);
        stream.write_all(at_once.as_bytes()).unwrap();
        let mut dripping = stream.try_clone().unwrap();
        let answer = std::thread::scope(|scope| {
            let reader = scope.spawn(|| rest(&mut stream));
            // Until nobody listens any more; a pause, so that it drips and does not pour.
            while !reader.is_finished() && dripping.write_all(drip.as_bytes()).is_ok() {
                std::thread::park_timeout(Duration::from_millis(50));
            }
            reader.join().unwrap()
        });
        assert_eq!(status(&answer), expected, "{at_once:?} {drip:?}: {answer}");
    }
    idles.stop();
    heads.stop();
}

#[test]
fn a_connection_is_kept_and_requests_may_come_together() {
    let (_place, server) = start("", &[]);
    let request = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
    let last = "GET /nowhere HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let chunked = "POST /nowhere HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    // what is sent, waiting for an answer after each; the statuses that come
    let cases: [(&[&str], &[u16]); 4] = [
        (&[request, request, last], &[200, 200, 404]),
        (&[&format!("{request}{request}"), last], &[200, 200, 404]),
        (&[&format!("{request}{last}{request}")], &[200, 404]),
        (&[chunked, &format!("{request}{last}")], &[404, 200, 404]),
    ];
    for (sent, expected) in cases {
        let mut stream = open(&server);
        let mut text = String::new();
        for (i, part) in sent.iter().enumerate() {
            stream.write_all(part.as_bytes()).unwrap();
            if i + 1 < sent.len() {
                let mut first = [0; 4096];
                let n = stream.read(&mut first).unwrap();
                text.push_str(std::str::from_utf8(&first[..n]).unwrap());
            }
        }
        text.push_str(&rest(&mut stream));
        let statuses: Vec<u16> = text.match_indices("HTTP/1.1 ").map(|(at, _)| status(&text[at..])).collect();
        assert_eq!(statuses, expected, "{sent:?}: {text}");
    }
    server.stop();
}

#[test]
fn every_answer_has_an_id_and_takes_over_a_sane_one() {
    let (_place, server) = start("", &[]);
    for path in ["/healthz", "/nowhere", "/metrics"] {
        for (given, kept) in [("mine-1", true), ("not mine", false)] {
            let answer = server.request_as(None, "GET", path, &[("x-request-id", given)], None);
            let id = answer.header("x-request-id").unwrap().to_owned();
            assert_eq!((id == given, id.starts_with("req_")), (kept, !kept), "{path} {id}");
            if answer.status >= 400 {
                assert_eq!(answer.json()["requestId"], id.as_str());
            }
        }
    }
    server.stop();
}

/// A signal to the process.
fn terminate(server: &Server) {
    assert!(Command::new("kill").arg(server.pid().to_string()).status().unwrap().success());
}

/// Waits until the server accepts nothing any more.
fn wait_until_refused(server: &Server) {
    while TcpStream::connect(server.address()).is_ok() {
        std::thread::yield_now();
    }
}

#[test]
fn a_request_that_is_on_its_way_is_answered_before_the_end() {
    for (path, expected) in [("/healthz", 200), ("/readyz", 503)] {
        let (_place, server) = start("header_seconds = 60\ndrain_seconds = 60", &[]);
        let mut stream = open(&server);
        write!(stream, "GET {path} HTTP/1.1\r\n").unwrap();
        // Connections are taken up in turn: the first one has been by now.
        assert_eq!(server.get("/readyz").status, 200);
        terminate(&server);
        wait_until_refused(&server);
        stream.write_all(b"host: a\r\n\r\n").unwrap();
        let answer = rest(&mut stream);
        assert_eq!(status(&answer), expected, "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        assert_eq!(server.wait(), Some(0));
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (_place, server) = start("header_seconds = 600\ndrain_seconds = 600", &[]);
    let mut stream = open(&server);
    write!(stream, "GET /healthz HTTP/1.1\r\n").unwrap();
    assert_eq!(server.get("/readyz").status, 200);
    terminate(&server);
    wait_until_refused(&server);
    assert_eq!(server.stop(), Some(1));
}

#[test]
fn what_no_server_can_work_with_is_named() {
    let cases = [
        ("[server]\nheader_seconds = 0", "server.header_seconds"),
        ("[server]\nheader_bytes_max = 100", "server.header_bytes_max"),
        ("[server]\nheaders_max = 100000", "server.headers_max"),
        ("[server]\nspeed = 1", "speed"),
        ("[server.tls]\ncertificate = \"nowhere.pem\"\nkey = \"nowhere.pem\"", "server.tls.certificate"),
        ("[server.tls]\ncertificate = \"token\"\nkey = \"token\"", "server.tls.key"),
    ];
    for (text, named) in cases {
        let place = Place::new();
        place.write("adsum.toml", text);
        place.write("token", format!("adsum_{}", "0".repeat(64)));
        place
            .run(&["--config", "adsum.toml", "serve", "--listen", "127.0.0.1:0", "--token-file", "token"])
            .fails(1, &[named]);
    }
    for token in ["", "adsum_", "secret", &"two words ".repeat(8)] {
        let place = Place::new();
        place.write("token", token);
        place.run(&["serve", "--listen", "127.0.0.1:0", "--token-file", "token"]).fails(1, &["token", "visible ASCII"]);
    }
}

#[test]
fn the_log_holds_requests_and_no_token() {
    let canary = format!("adsum_{}", "c0ffee".repeat(10) + "0000");
    for format in ["json", "text"] {
        let (place, server) = start("", &["--log-format", format, "--log", "trace"]);
        for token in [Some(server.token.as_str()), Some(&canary), Some("other-canary"), None] {
            for path in
                ["/metrics", "/v1/reports", &format!("/v1/click?key={canary}&u={canary}"), &format!("/{canary}")]
            {
                let headers = [("x-api-key", "x"), ("cookie", "a=b")];
                server.request_as(token, "GET", path, &headers, None);
            }
        }
        let token = server.token.clone();
        let id = server.get("/v1/tokens").expect(200)["items"][0]["id"].to_string();
        assert_eq!(server.stop(), Some(0));
        let log = std::fs::read_to_string(place.path("server.log")).unwrap();
        for secret in [&token, &canary, &canary[6..], "other-canary"] {
            assert!(!log.contains(secret), "{log}");
        }
        let requests: Vec<&str> = log.lines().filter(|line| line.contains("adsum::access")).collect();
        assert_eq!(requests.len(), 17, "{log}");
        if format == "json" {
            for line in log.lines() {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                assert!(line["level"].is_string() && line["timestamp"].is_string(), "{line}");
            }
            let first: serde_json::Value = serde_json::from_str(requests[0]).unwrap();
            let fields = ["status", "route", "method", "token_id", "peer"].map(|name| first[name].to_string());
            assert_eq!(fields, ["200", "\"/metrics\"", "\"GET\"", &id, "\"127.0.0.1\""], "{first}");
        }
    }
}

#[test]
fn the_first_token_is_made_once_and_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let first = Server::start(&place, &[]);
    let token = first.token.clone();
    assert_eq!((token.len(), token.starts_with("adsum_")), (70, true));
    assert_eq!(std::fs::metadata(place.path("token")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(first.get("/metrics").status, 200);
    first.stop();
    let second = Server::start(&place, &[]);
    assert_eq!(second.token, token);
    assert_eq!(second.get("/metrics").status, 200);
    second.stop();
}
