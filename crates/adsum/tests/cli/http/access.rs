//! Every role at every endpoint of the running service: the table is in force.
//!
//! The table is the product's own, compiled in. Not here: what an endpoint answers to those who may call it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::server::Server;
use crate::place::Place;

#[allow(dead_code, reason = "the table is what is needed of it")]
#[path = "../../../src/http/access.rs"]
mod table;

use table::{Access, Endpoint, Role};

/// The status and the problem's code; of an answer without end only the beginning is read.
fn ask(server: &Server, method: &str, path: &str, token: Option<&str>) -> (u16, String) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let token = token.map_or(String::new(), |t| format!("authorization: Bearer {t}\r\n"));
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n{token}\r\n")
        .unwrap();
    let mut text = [0; 12];
    stream.read_exact(&mut text).unwrap();
    let status = std::str::from_utf8(&text[9..]).unwrap().parse().unwrap();
    if status < 400 || method == "HEAD" {
        return (status, String::new());
    }
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    let body = rest.split_once("\r\n\r\n").unwrap().1;
    let problem: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{method} {path}: {e}: {rest}"));
    (status, problem["code"].as_str().unwrap().to_owned())
}

/// A token, and what the guard says to it.
struct Caller {
    name: String,
    token: Option<String>,
    kind: Kind,
}

enum Kind {
    /// Answered 401 with this code, whatever is asked.
    Nobody(&'static str),
    /// Of this role; of one advertiser or not.
    Token(Role, bool),
}

/// A token as it was made.
fn make(server: &Server, body: &Value) -> Value {
    server.post("/v1/tokens", body).expect(201)
}

fn secret(made: &Value) -> String {
    made["token"].as_str().unwrap().to_owned()
}

/// Everybody who may come: without a token, with a bad one, and each role with and without an advertiser.
fn callers(server: &Server) -> Vec<Caller> {
    server.put("/v1/advertisers/adv_1", &json!({"name": "One", "timeZone": "UTC"})).expect(200);
    // Bad are also the tokens of the role that may the most.
    let revoked = make(server, &json!({"role": "admin", "source": "s"}));
    let id = revoked["id"].as_str().unwrap();
    server.request("DELETE", &format!("/v1/tokens/{id}"), None).expect(200);
    let now: jiff::Timestamp = revoked["changedAt"].as_str().unwrap().parse().unwrap();
    let soon = (now + jiff::SignedDuration::from_secs(3)).to_string();
    let expired = secret(&make(server, &json!({"role": "admin", "source": "s", "expiresAt": soon})));
    while ask(server, "GET", "/v1/tokens", Some(&expired)).0 == 200 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let nobody = |token: Option<&str>, code| Caller {
        name: format!("{token:?}"),
        token: token.map(str::to_owned),
        kind: Kind::Nobody(code),
    };
    let mut callers = vec![
        nobody(None, "token_missing"),
        nobody(Some(""), "token_missing"),
        nobody(Some("garbage"), "token_unknown"),
        nobody(Some(&format!("adsum_{}", "0".repeat(64))), "token_unknown"),
        nobody(Some(&secret(&revoked)), "token_unknown"),
        nobody(Some(&expired), "token_expired"),
    ];
    for role in Role::ALL {
        for advertiser in [None, Some("adv_1")] {
            let token = Some(server.new_token(role.name(), advertiser));
            let name = format!("{role:?} of {advertiser:?}");
            callers.push(Caller { name, token, kind: Kind::Token(role, advertiser.is_some()) });
        }
    }
    callers
}

/// What the table says: the status and code of a refusal, or none.
fn refusal(access: Access, kind: &Kind) -> Option<(u16, &'static str)> {
    let (roles, unscoped) = match access {
        Access::Public => return None,
        Access::Roles(roles) => (roles, false),
        Access::Unscoped(roles) => (roles, true),
    };
    match kind {
        Kind::Nobody(code) => Some((401, code)),
        Kind::Token(role, _) if !roles.contains(role) => Some((403, "role_forbidden")),
        Kind::Token(_, true) if unscoped => Some((403, "advertiser_scope")),
        Kind::Token(..) => None,
    }
}

#[test]
fn every_role_at_every_endpoint() {
    let place = Place::new();
    place.write("adsum.toml", "[server]\nauth_failures_per_second = 100000\n");
    let server = Server::start(&place, &["--config", "adsum.toml"]);
    let callers = callers(&server);
    // Endpoints that ask for no token answer well only with what they need: then no token can make a difference.
    let key = server.post("/v1/site-keys", &json!({"source": "web"})).expect(201)["id"].as_str().unwrap().to_owned();
    server.post("/v1/click-destinations", &json!({"url": "https://shop.example/a"})).expect(201);
    let path = |endpoint: &Endpoint| match endpoint.path {
        "/v1/pixel.gif" => format!("/v1/pixel.gif?key={key}&eventType=impression&campaignId=camp_1"),
        "/v1/click" => format!("/v1/click?key={key}&u=https://shop.example/a&campaignId=camp_1"),
        path => path.replace(['{', '}'], ""),
    };
    let mut refusals = 0;
    for endpoint in table::ENDPOINTS {
        let path = path(endpoint);
        for Caller { name, token, kind } in &callers {
            let (status, code) = ask(&server, endpoint.method, &path, token.as_deref());
            let said = format!("{} {path} by {name}: {status} {code}", endpoint.method);
            match refusal(endpoint.access, kind) {
                Some(want) => assert_eq!((status, code.as_str()), want, "{said}"),
                None if endpoint.access == Access::Public => assert!(status < 400, "{said}"),
                None => {
                    assert!(status != 401 && status != 403, "{said}");
                    assert!(!["no_such_endpoint", "method_not_allowed"].contains(&code.as_str()), "{said}");
                }
            }
            refusals += usize::from(status == 401 || status == 403);
            // Who may not GET may not HEAD either.
            if endpoint.method == "GET" && endpoint.access != Access::Public {
                assert_eq!(ask(&server, "HEAD", &path, token.as_deref()).0, status, "HEAD: {said}");
            }
        }
    }
    println!("{} endpoints, {} callers, {refusals} refusals", table::ENDPOINTS.len(), callers.len());
    assert_eq!(server.stop(), Some(0));
}
