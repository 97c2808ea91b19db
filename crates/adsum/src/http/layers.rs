//! What happens around every request: its id, its time, its token, its log line, its metrics, and errors as problems.
//!
//! Invariant: every answer carries a request id, and every error answer is a problem document with a code, a panic and
//! the router's own refusals included. A log line holds neither query nor token, and of the path only the route.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};

use super::body::{Slowness, timed};
use super::server::{OnSocket, Peer};
use super::settings::ServerConfig;
use super::{Principal, Problem, auth, metrics};
use crate::clock::{self, Moment};
use crate::service::Service;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken over from a client.
const REQUEST_ID_BYTES_MAX: usize = 64;
/// What is kept of a bare error's text.
const BARE_TEXT_BYTES_MAX: usize = 2 << 10;
/// Routes that events come in by. One that was taken is a line only where somebody asks for it: at tens of thousands a
/// second the lines would cost more than the events, and ledger and metrics count them.
const EVENTS: [&str; 3] = ["/v1/events/collect", "/v1/pixel.gif", "/v1/click"];
/// Routes whose bodies are long and may take their time.
const LONG_UPLOADS: [&str; 2] = ["/v1/imports/{source}/chunks", "/v1/metadata/bulk"];

/// The id of a request: in its extensions, its log line and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// As it is in the answer.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Makes ids that no other request of any process has.
#[derive(Debug)]
pub struct RequestIds {
    process: u64,
    next: AtomicU64,
}

impl RequestIds {
    /// Those of this process.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { process: u64::from_le_bytes(clock::random()?), next: AtomicU64::new(1) })
    }

    /// The client's own id, if it is a sane one, or a new one.
    fn of(&self, headers: &HeaderMap) -> RequestId {
        let sane = |id: &str| {
            (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        };
        let given = headers.get(REQUEST_ID).filter(|id| id.to_str().is_ok_and(sane));
        RequestId(given.cloned().unwrap_or_else(|| self.fresh()))
    }

    /// `req_`, 16 digits of the process, 12 of the request: written by hand, for each request has one.
    fn fresh(&self) -> HeaderValue {
        let number = u128::from(self.next.fetch_add(1, Ordering::Relaxed)) % (1 << 48);
        let all = u128::from(self.process) << 48 | number;
        let mut text = *b"req_0000000000000000000000000000";
        for (i, digit) in text.iter_mut().rev().take(28).enumerate() {
            *digit = b"0123456789abcdef"[(all >> (4 * i)) as usize % 16];
        }
        HeaderValue::from_bytes(&text).expect("letters and digits are a header's value")
    }
}

/// Around every request.
pub async fn around(State(service): State<Arc<Service>>, mut request: Request, next: Next) -> Response {
    let begun = Moment::now();
    let _in_flight = metrics::InFlight::begin();
    let id = service.guard.ids.of(request.headers());
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let route = path.as_ref().map_or("unmatched", MatchedPath::as_str);
    let peer = request.extensions().get::<Peer>().map(|peer| peer.address());
    if let Some(secret) = request.headers_mut().get_mut(header::AUTHORIZATION) {
        secret.set_sensitive(true);
    }
    request.extensions_mut().insert(id.clone());
    let slowness = Slowness::default();
    let mut token_id = None;
    let response = match check_head(&request).and_then(|()| auth::admit(&service, &mut request)) {
        Err(problem) => problem.into_response(),
        Ok(()) => {
            token_id = request.extensions().get::<Principal>().map(|principal| principal.token_id.clone());
            let time = body_time(&service.config.server, route, &request);
            let request = request.map(|body| timed(body, time, slowness.clone()));
            AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| {
                tracing::error!(request_id = id.as_str(), "a handler panicked");
                Problem::internal().into_response()
            })
        }
    };
    let (response, code) = finish(response, &id, &slowness).await;
    let status = response.status();
    metrics::request(&method, route, status, begun);
    macro_rules! line {
        ($level:expr) => {
            tracing::event!(
                target: "adsum::access",
                $level,
                request_id = id.as_str(),
                method = %method,
                route,
                status = status.as_u16(),
                code,
                micros = begun.elapsed_micros(),
                peer = peer.map(tracing::field::display),
                token_id = token_id.as_deref(),
                "request"
            )
        };
    }
    match code {
        None if EVENTS.contains(&route) => line!(tracing::Level::DEBUG),
        _ => line!(tracing::Level::INFO),
    }
    response
}

/// How long the body may take from now on.
fn body_time(limits: &ServerConfig, route: &str, request: &Request) -> Duration {
    let seconds = if LONG_UPLOADS.contains(&route) { limits.upload_seconds } else { limits.request_seconds };
    let head = request.extensions().get::<OnSocket>().map_or(0, |on| on.link.head_micros());
    // A head that came early, while another request was answered, waited for us and not for the client.
    Duration::from_secs(seconds.into()).saturating_sub(Duration::from_micros(head).min(limits.header_time()))
}

/// Refuses what the parser lets through.
fn check_head(request: &Request) -> Result<(), Problem> {
    let conflict = |on: &OnSocket| on.link.is_in_conflict(on.number);
    if request.extensions().get().is_some_and(conflict) {
        return Err(Problem::bad_request(
            "length_ambiguous",
            "Content-Length and Transfer-Encoding exclude each other",
        )
        .about("Content-Length"));
    }
    let hosts = request.headers().get_all(header::HOST).iter().count();
    match hosts {
        1 => Ok(()),
        0 if request.version() == Version::HTTP_10 => Ok(()),
        0 => Err(Problem::bad_request("host_missing", "a request of HTTP/1.1 names its host").about("Host")),
        _ => Err(Problem::bad_request("host_ambiguous", "more than one Host").about("Host")),
    }
}

/// The answer as it leaves, and its problem's code.
async fn finish(mut response: Response, id: &RequestId, slowness: &Slowness) -> (Response, Option<&'static str>) {
    let status = response.status();
    let mut code = None;
    if status.is_client_error() || status.is_server_error() {
        let (mut parts, body) = response.into_parts();
        let problem = match parts.extensions.remove::<Problem>() {
            _ if slowness.was_too_slow() => Slowness::problem(),
            Some(problem) => problem,
            None => bare(status, &to_bytes(body, BARE_TEXT_BYTES_MAX).await.unwrap_or_default()),
        };
        code = Some(problem.code);
        if problem.status == StatusCode::UNAUTHORIZED {
            metrics::auth_failed();
            parts.headers.insert(header::WWW_AUTHENTICATE, auth::CHALLENGE);
        }
        if slowness.was_too_slow() {
            parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        parts.status = problem.status;
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response = Response::from_parts(parts, Body::from(problem.document(Some(id.as_str())).to_string()));
    }
    response.headers_mut().insert(REQUEST_ID, id.0.clone());
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    (response, code)
}

/// The problem of an error that the router or an extractor made.
fn bare(status: StatusCode, text: &[u8]) -> Problem {
    let (code, otherwise) = match status {
        StatusCode::NOT_FOUND => ("no_such_endpoint", "there is nothing at this path"),
        StatusCode::METHOD_NOT_ALLOWED => ("method_not_allowed", "this path knows other methods: see Allow"),
        StatusCode::PAYLOAD_TOO_LARGE => ("body_too_large", "the body is larger than it may be"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ("unsupported_media_type", "this takes another Content-Type"),
        StatusCode::UNPROCESSABLE_ENTITY => ("invalid_body", "the body is not what this takes"),
        status if status.is_client_error() => ("bad_request", "the request is not what this takes"),
        _ => return Problem { status, ..Problem::internal() },
    };
    let text = String::from_utf8_lossy(text);
    Problem::new(status, code, if text.is_empty() { otherwise } else { &*text })
}

/// The name of a method in a metric: the methods that there are, so that nobody invents labels.
pub fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::access::Endpoint;

    #[test]
    fn a_sane_request_id_is_kept_and_any_other_replaced() {
        let ids = RequestIds::new().unwrap();
        let long = "a".repeat(REQUEST_ID_BYTES_MAX);
        for (given, kept) in [
            ("abc-DEF_9", true),
            (long.as_str(), true),
            (&format!("{long}a"), false),
            ("", false),
            ("a b", false),
            ("a\"}", false),
            ("é", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(given.as_bytes()).unwrap());
            let id = ids.of(&headers);
            let id = id.as_str();
            assert_eq!(id == given, kept, "{given}: {id}");
            assert!(kept || id.starts_with("req_"), "{id}");
        }
        assert_ne!(ids.of(&HeaderMap::new()), ids.of(&HeaderMap::new()));
    }

    #[test]
    fn routes_that_are_named_are_endpoints() {
        for path in LONG_UPLOADS {
            assert!(Endpoint::find("POST", path).is_some(), "{path}");
        }
        for path in EVENTS {
            assert!(Endpoint::find("POST", path).or(Endpoint::find("GET", path)).is_some(), "{path}");
        }
    }

    #[tokio::test]
    async fn every_error_leaves_as_a_problem() {
        let id = RequestId(HeaderValue::from_static("r1"));
        let plain = |status: u16, text: &'static str| {
            (StatusCode::from_u16(status).unwrap(), [(header::ALLOW, "GET")], text).into_response()
        };
        // answer, code and detail as they leave; the headers are kept
        let cases = [
            (plain(404, ""), 404, "no_such_endpoint", "there is nothing at this path"),
            (plain(405, ""), 405, "method_not_allowed", "this path knows other methods: see Allow"),
            (plain(413, "too long"), 413, "body_too_large", "too long"),
            (plain(415, ""), 415, "unsupported_media_type", "this takes another Content-Type"),
            (plain(422, "no u64"), 422, "invalid_body", "no u64"),
            (plain(400, "x=y"), 400, "bad_request", "x=y"),
            (plain(500, "at line 7 of the secret"), 500, "internal", "something went wrong here; the log says what"),
        ];
        for (answer, status, code, detail) in cases {
            let (answer, seen) = finish(answer, &id, &Slowness::default()).await;
            assert_eq!((answer.status().as_u16(), seen), (status, Some(code)));
            assert_eq!(answer.headers()["allow"], "GET");
            assert_eq!(answer.headers()["content-type"], "application/problem+json");
            assert_eq!(answer.headers()["x-request-id"], "r1");
            let body: serde_json::Value =
                serde_json::from_slice(&to_bytes(answer.into_body(), 1 << 20).await.unwrap()).unwrap();
            assert_eq!(
                (&body["code"], &body["detail"], &body["requestId"]),
                (&code.into(), &detail.into(), &"r1".into())
            );
        }
        let problem = Problem::unavailable("overloaded", "later").about("x").into_response();
        let (answer, code) = finish(problem, &id, &Slowness::default()).await;
        assert_eq!(
            (answer.status().as_u16(), code, &answer.headers()["retry-after"]),
            (503, Some("overloaded"), &"1".parse().unwrap())
        );
        let (answer, code) = finish(plain(200, "fine"), &id, &Slowness::default()).await;
        assert_eq!((answer.status().as_u16(), code), (200, None));
    }
}
