//! Metrics: those that the documentation names are exported, and no others.

use std::collections::BTreeSet;
use std::path::Path;

use super::server::Server;
use crate::place::{Place, repository};

/// The metrics of the table in the documentation: the rows that begin with a name in backticks.
fn documented() -> BTreeSet<String> {
    let text = std::fs::read_to_string(repository().join("docs/operations.md")).unwrap();
    let names = text.lines().filter_map(|line| line.strip_prefix("| `adsum_")?.split('`').next());
    names.map(|name| format!("adsum_{name}")).collect()
}

/// The metrics that an answer of /metrics holds.
fn exported(text: &str) -> BTreeSet<String> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).map(str::to_owned).collect()
}

/// The names that the program's text counts by.
fn in_source(dir: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            in_source(&path, names);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let quoted = text.split("\"adsum_").skip(1).filter_map(|rest| rest.split('"').next());
            let name = |q: &&str| !q.is_empty() && q.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            names.extend(quoted.filter(name).map(|q| format!("adsum_{q}")));
        }
    }
}

#[test]
fn what_is_documented_is_exported_and_the_other_way_round() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    // The first answer begins the metrics of requests.
    server.get("/metrics").expect_text(200);
    let text = server.get("/metrics").expect_text(200);
    assert_eq!(exported(&text), documented());
    let mut counted = BTreeSet::new();
    in_source(&repository().join("crates/adsum/src"), &mut counted);
    assert_eq!(counted, documented());
    server.stop();
}

#[test]
fn requests_are_counted_by_route_and_nothing_that_a_client_chose_is_a_label() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    for path in ["/healthz?campaign=chosen", "/chosen", "/healthz"] {
        server.get(path);
    }
    server.request_as(Some("chosen"), "PATCH", "/healthz", &[("x-request-id", "chosen")], None);
    let text = server.get("/metrics").expect_text(200);
    assert!(!text.to_lowercase().contains("chosen"), "{text}");
    for line in [
        "adsum_http_requests_total{method=\"GET\",path=\"/healthz\",status=\"200\"} 2",
        "adsum_http_requests_total{method=\"GET\",path=\"unmatched\",status=\"404\"} 1",
        "adsum_http_requests_total{method=\"other\",path=\"/healthz\",status=\"405\"} 1",
        "adsum_http_requests_in_flight 1",
        "adsum_receipt_to_visible_seconds_bucket{le=\"2\"} 0",
        "adsum_completeness_ratio NaN",
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
    server.stop();
}
