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

use table::{Access, Role};

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
    if status < 400 {
        return (status, String::new());
    }
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    let body = rest.split_once("\r\n\r\n").unwrap().1;
    let problem: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{method} {path}: {e}: {rest}"));
    (status, problem["code"].as_str().unwrap().to_owned())
}

#[test]
fn every_role_at_every_endpoint() {
    let place = Place::new();
    place.write("adsum.toml", "[server]\nauth_failures_per_second = 100000\n");
    let server = Server::start(&place, &["--config", "adsum.toml"]);
    let mut tokens = Vec::new();
    if ask(&server, "GET", "/v1/tokens", Some(&server.token)).1 == "no_such_endpoint" {
        println!("skipped: tokens of other roles, for this build serves no metadata");
    } else {
        server.put("/v1/advertisers/adv_1", &json!({"name": "One", "timeZone": "UTC"}));
        for role in Role::ALL {
            for advertiser in [None, Some("adv_1")] {
                let mut body = json!({"role": role.name(), "source": "s"});
                if let Some(advertiser) = advertiser {
                    body["advertiser"] = advertiser.into();
                }
                let made = server.post("/v1/tokens", &body).expect(201);
                tokens.push((role, advertiser.is_some(), made["token"].as_str().unwrap().to_owned()));
            }
        }
    }
    tokens.push((Role::Admin, false, server.token.clone()));
    let mut served = 0;
    for e in table::ENDPOINTS {
        let path = e.path.replace(['{', '}'], "");
        let ask = |token| ask(&server, e.method, &path, token);
        let (status, code) = ask(Some(server.token.as_str()));
        if code == "no_such_endpoint" || code == "method_not_allowed" {
            println!("skipped: {} {} is not served by this build", e.method, e.path);
            continue;
        }
        served += 1;
        assert!(status != 401 && status != 403, "{e:?}: the admin gets {status} {code}");
        let public = e.access == Access::Public;
        for (token, refused) in [(None, "token_missing"), (Some("garbage"), "token_unknown")] {
            let (status, code) = ask(token);
            assert_eq!(
                (status == 401 && code == refused, status == 401),
                (!public, !public),
                "{e:?} {token:?}: {status} {code}"
            );
        }
        for (role, scoped, token) in &tokens {
            let (roles, unscoped) = match e.access {
                Access::Public => (&Role::ALL[..], false),
                Access::Roles(roles) => (roles, false),
                Access::Unscoped(roles) => (roles, true),
            };
            let (status, code) = ask(Some(token));
            let refused = match (roles.contains(role), unscoped && *scoped) {
                (false, _) => Some("role_forbidden"),
                (true, true) => Some("advertiser_scope"),
                (true, false) => None,
            };
            let by_table = ["role_forbidden", "advertiser_scope"].contains(&code.as_str());
            let got = (by_table && status == 403).then_some(code.as_str());
            assert_eq!(got, refused, "{e:?} {role:?} scoped {scoped}: {status} {code}");
            assert_ne!(status, 401, "{e:?} {role:?}");
        }
    }
    assert!(served >= 3, "at least health and metrics are served");
    server.stop();
}
