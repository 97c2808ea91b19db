//! TLS: a certificate that is served, replaced while the server runs, and kept where the new one is wrong.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::server::Server;
use crate::place::Place;

/// A certificate and its key, as PEM, and the certificate as it is on the wire.
struct Pair {
    certificate: String,
    key: String,
    der: CertificateDer<'static>,
}

impl Pair {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        Self { certificate: made.cert.pem(), key: made.signing_key.serialize_pem(), der: made.cert.der().clone() }
    }

    fn write(&self, place: &Place) {
        place.write("server.pem", &self.certificate);
        place.write("server.key", &self.key);
    }
}

/// Which of the certificates a new connection is served with, by asking for /healthz over it.
fn served(server: &Server, pairs: &[&Pair]) -> usize {
    let mut roots = RootCertStore::empty();
    pairs.iter().for_each(|pair| roots.add(pair.der.clone()).unwrap());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    let address = server.url.trim_start_matches("https://");
    let mut stream = StreamOwned::new(client, TcpStream::connect(address).unwrap());
    write!(stream, "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let shown = stream.conn.peer_certificates().unwrap()[0].clone();
    pairs.iter().position(|pair| pair.der == shown).unwrap()
}

/// The log's lines that hold a text.
fn logged(place: &Place, text: &str) -> usize {
    std::fs::read_to_string(place.path("server.log")).unwrap().lines().filter(|line| line.contains(text)).count()
}

#[test]
fn a_certificate_is_served_replaced_and_kept() {
    let place = Place::new();
    place.write("adsum.toml", "[server.tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n");
    let (first, second, third) = (Pair::new(), Pair::new(), Pair::new());
    let pairs = [&first, &second, &third];
    first.write(&place);
    let server = Server::start(&place, &["--config", "adsum.toml"]);
    assert!(server.url.starts_with("https://"), "{}", server.url);
    assert_eq!(served(&server, &pairs), 0);

    // By itself, when the files change. A certificate without its key in between is no reason to stop.
    second.write(&place);
    while served(&server, &pairs) != 1 {
        std::thread::yield_now();
    }

    // A wrong pair is logged, and the old one stays.
    let wrong = "the old one stays";
    let before = logged(&place, wrong);
    place.write("server.key", &first.key);
    while logged(&place, wrong) == before {
        std::thread::yield_now();
    }
    assert_eq!(served(&server, &pairs), 1);
    place.write("server.pem", "nonsense");
    while logged(&place, wrong) == before + 1 {
        std::thread::yield_now();
    }
    assert_eq!(served(&server, &pairs), 1);

    // At once, on a hang-up, which ends nothing.
    third.write(&place);
    assert!(Command::new("kill").args(["-HUP", &server.pid().to_string()]).status().unwrap().success());
    while served(&server, &pairs) != 2 {
        std::thread::yield_now();
    }

    // Who speaks no TLS is refused and harms nobody.
    let mut plain = TcpStream::connect(server.url.trim_start_matches("https://")).unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert_eq!(served(&server, &pairs), 2);
    assert_eq!(server.stop(), Some(0));
}
