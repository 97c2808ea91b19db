//! The server with routes of its own, over real sockets: what needs a handler that waits, panics or never ends.
//!
//! Not here: the program from outside (tests/cli/http).

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use adsum_log::{Frame, FrameReader, LogError, LogView};
use adsum_model::campaigns::{Campaigns, UnknownCampaign};
use adsum_model::catalog::Catalog;
use adsum_model::hash::Secret;
use adsum_model::id::{FrameSeq, Offset, Position};
use adsum_model::time::EventTime;
use arc_swap::ArcSwap;
use axum::body::Body;
use axum::routing::{delete, get, post, put};
use bytes::Bytes;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};

use super::access::{Access, ENDPOINTS};
use super::auth::token_hash;
use super::metrics::Exporter;
use super::*;
use crate::clock::IntakeClock;
use crate::config::Config;
use crate::directory::{Directory, Token};
use crate::live::{Live, LiveEnds};
use crate::metadata::{Metadata, State};
use crate::service::Service;
use crate::writer::Queues;

/// A log that nothing is in.
struct NoLog;

impl LogView for NoLog {
    fn durable(&self) -> Position {
        Position::default()
    }

    fn start(&self) -> Position {
        Position::default()
    }

    fn read(&self, _: FrameSeq) -> Result<Box<dyn FrameReader>, LogError> {
        unreachable!("nothing reads it here")
    }

    fn files(&self, _: FrameSeq) -> Result<Vec<(String, u64)>, LogError> {
        unreachable!("nothing copies it here")
    }

    fn frame_of(&self, _: Offset) -> Result<Frame, LogError> {
        unreachable!("nothing reads it here")
    }
}

/// A running server.
struct Running {
    runtime: Runtime,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    served: tokio::task::JoinHandle<()>,
    _ends: LiveEnds,
    _data_dir: tempfile::TempDir,
}

impl Running {
    fn start(config: &str, tokens: Vec<(&str, Token)>, routes: Routes) -> Self {
        let config = Arc::new(Config::parse(config).unwrap());
        let catalog = Arc::new(config.catalog().unwrap());
        let (live, _ends) = Live::new(FrameSeq::ZERO, EventTime::from_micros(i64::MIN));
        let (stop, stopping) = Stopping::new();
        let guard = Guard {
            rates: Rates::new(config.server.auth_failures_per_second),
            bodies: BodyBudget::new(config.server.body_memory_bytes()),
            stopping: stopping.clone(),
            exporter: Exporter::unseen(),
            ids: layers::RequestIds::new().unwrap(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let data_dir = tempfile::tempdir().unwrap();
        let metadata = runtime.block_on(Metadata::open(data_dir.path(), State::default(), &config)).unwrap();
        let mut directory = Directory::of_campaigns(campaigns(&catalog));
        directory.tokens.extend(tokens.into_iter().map(|(secret, token)| (token_hash(secret), token)));
        let service = Arc::new(Service {
            catalog,
            config: config.clone(),
            secret: Secret::new([0; 16]),
            clock: Arc::new(IntakeClock::start(None, false)),
            writer: Queues::new(config.queues).writer,
            live,
            directory: Arc::new(ArcSwap::from_pointee(directory)),
            log: Arc::new(NoLog),
            guard,
            metadata: Arc::new(metadata),
            gate: tokio::sync::RwLock::new(()),
            data_dir: data_dir.path().to_owned(),
        });
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let around = axum::middleware::from_fn_with_state(service.clone(), layers::around);
        let app = routes.into_router().unwrap().layer(around).with_state(service);
        let served = runtime.spawn(async move { server::serve(listener, app, &config.server, None, stopping).await });
        Self { runtime, address, stop, served, _ends, _data_dir: data_dir }
    }

    fn open(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// One request on a connection of its own.
    fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        let mut stream = self.open();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n").unwrap();
        Answer::rest_of(&mut stream)
    }

    /// Ends it and waits for the end.
    fn end(self) {
        self.stop.send_replace(true);
        self.runtime.block_on(self.served).unwrap();
    }
}

fn campaigns(catalog: &Catalog) -> Arc<Campaigns> {
    Arc::new(Campaigns::build(&[], "USD", UnknownCampaign::LetThrough, catalog.symbols()).unwrap())
}

fn token(role: Role, advertiser: Option<&str>) -> Token {
    let id = format!("tk_{}_{}", role.name(), advertiser.unwrap_or("all"));
    let advertiser = advertiser.map(Arc::from);
    Token {
        principal: Principal { token_id: id.into(), role, source: "s".into(), advertiser },
        expires_at_micros: None,
        requests_per_second: None,
        events_per_second: None,
    }
}

/// What came back until the server closed the connection.
#[derive(Debug)]
struct Answer {
    head: String,
    body: String,
}

impl Answer {
    fn rest_of(stream: &mut impl Read) -> Self {
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        Self { head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    /// 0: there was none.
    fn status(&self) -> u16 {
        self.head.get(9..12).map_or(0, |status| status.parse().unwrap())
    }

    fn code(&self) -> Option<String> {
        let problem: serde_json::Value = serde_json::from_str(&self.body).ok()?;
        Some(problem["code"].as_str()?.to_owned())
    }

    fn outcome(&self) -> (u16, Option<String>) {
        (self.status(), self.code())
    }
}

/// Whether a stream is silent: not closed, and nothing came in the time of a turn of the scheduler or two.
fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let silent =
        matches!(stream.peek(&mut [0]), Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    silent
}

#[test]
fn every_role_at_every_endpoint() {
    let nothing = || async { http::StatusCode::NO_CONTENT };
    let mut routes = Routes::new();
    for e in ENDPOINTS {
        let handler = match e.method {
            "GET" => get(nothing),
            "POST" => post(nothing),
            "PUT" => put(nothing),
            "DELETE" => delete(nothing),
            other => panic!("no such method: {other}"),
        };
        routes = routes.add(e.method, e.path, handler);
    }
    let mut tokens = vec![("expired", Token { expires_at_micros: Some(1), ..token(Role::Admin, None) })];
    let names = ["collector", "reporter", "fraud", "finance", "admin"];
    let scoped = ["collector-1", "reporter-1", "fraud-1", "finance-1", "admin-1"];
    tokens.extend(Role::ALL.into_iter().zip(names).map(|(role, name)| (name, token(role, None))));
    tokens.extend(Role::ALL.into_iter().zip(scoped).map(|(role, name)| (name, token(role, Some("adv_1")))));
    let server = Running::start("server.auth_failures_per_second = 10000", tokens, routes);
    for e in ENDPOINTS {
        let path = e.path.replace(['{', '}'], "");
        let check = |token: Option<&str>, expected: (u16, Option<&str>)| {
            let header = token.map_or(String::new(), |t| format!("authorization: Bearer {t}\r\n"));
            let answer = server.ask(e.method, &path, &header);
            let expected = if e.access == Access::Public { (204, None) } else { expected };
            assert_eq!(answer.outcome(), (expected.0, expected.1.map(str::to_owned)), "{e:?} {token:?}");
            let challenged = answer.head.contains("www-authenticate: bearer");
            assert_eq!(challenged, expected.0 == 401, "{e:?} {token:?}");
        };
        check(None, (401, Some("token_missing")));
        check(Some("garbage"), (401, Some("token_unknown")));
        check(Some("expired"), (401, Some("token_expired")));
        let (roles, unscoped) = match e.access {
            Access::Public => (&Role::ALL[..], false),
            Access::Roles(roles) => (roles, false),
            Access::Unscoped(roles) => (roles, true),
        };
        for (role, (all, one)) in Role::ALL.into_iter().zip(names.into_iter().zip(scoped)) {
            let fits = roles.contains(&role);
            check(Some(all), if fits { (204, None) } else { (403, Some("role_forbidden")) });
            let scope = if unscoped { (403, Some("advertiser_scope")) } else { (204, None) };
            check(Some(one), if fits { scope } else { (403, Some("role_forbidden")) });
        }
    }
    server.end();
}

#[test]
fn rates_are_answered_429() {
    let slow = Token { requests_per_second: Some(1), ..token(Role::Admin, None) };
    let tokens = vec![("slow", slow), ("free", token(Role::Finance, None))];
    let routes = Routes::new().get("/v1/audit", || async { "fine" }).get("/v1/reports", || async { "fine" });
    let server = Running::start("server.auth_failures_per_second = 1", tokens, routes);
    for (token, statuses) in [("slow", [200, 429]), ("garbage", [401, 429])] {
        let header = format!("authorization: Bearer {token}\r\n");
        let answers = [server.ask("GET", "/v1/audit", &header), server.ask("GET", "/v1/audit", &header)];
        assert_eq!(answers.each_ref().map(Answer::status), statuses, "{token}");
        assert!(answers[1].head.contains("retry-after: 1"), "{:?}", answers[1]);
        assert_eq!(answers[1].code().as_deref(), Some("rate_limited"));
    }
    // Who has a token is not held up by those at the same address who have none.
    let free = "authorization: Bearer free\r\n";
    assert_eq!([(); 3].map(|()| server.ask("GET", "/v1/reports", free).status()), [200; 3]);
    server.end();
}

#[test]
fn a_panic_is_answered_and_the_server_goes_on() {
    async fn panics() -> &'static str {
        panic!("as planned")
    }
    let server = Running::start("", Vec::new(), Routes::new().get("/healthz", panics).get("/readyz", || async { "" }));
    let answer = server.ask("GET", "/healthz", "x-request-id: mine\r\n");
    assert_eq!(answer.outcome(), (500, Some("internal".to_owned())));
    assert!(answer.body.contains("\"requestId\":\"mine\"") && answer.head.contains("x-request-id: mine"), "{answer:?}");
    assert_eq!(server.ask("GET", "/readyz", "").status(), 200);
    server.end();
}

#[test]
fn a_body_that_drips_is_answered_408_and_cut() {
    let routes = Routes::new().get("/healthz", |body: Bytes| async move { body });
    let server = Running::start("server.request_seconds = 1", Vec::new(), routes);
    for framing in ["content-length: 100000", "transfer-encoding: chunked"] {
        let mut stream = server.open();
        write!(stream, "GET /healthz HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n186a0\r\n").unwrap();
        while is_silent(&mut stream) {
            stream.write_all(b"x").unwrap();
        }
        let answer = Answer::rest_of(&mut stream);
        assert_eq!(answer.outcome(), (408, Some("request_timeout".to_owned())), "{framing}");
        assert!(answer.head.contains("connection: close"), "{answer:?}");
    }
    let mut whole = server.open();
    write!(whole, "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok").unwrap();
    assert_eq!(Answer::rest_of(&mut whole).body, "ok");
    server.end();
}

#[test]
fn a_request_that_is_being_answered_outlives_the_limits_of_idle_connections() {
    let (waits, entered, go_on) = waiting();
    let routes = Routes::new().get("/healthz", waits).get("/readyz", || async { "" });
    let server = Running::start("server.idle_seconds = 1\nserver.header_seconds = 1", Vec::new(), routes);
    let mut slow = server.open();
    write!(slow, "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    entered.recv().unwrap();
    for _ in 0..3 {
        // The server closes it when it has been idle for the limit.
        let mut idle = server.open();
        write!(idle, "GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        assert_eq!(Answer::rest_of(&mut idle).status(), 200);
    }
    assert!(is_silent(&mut slow));
    go_on.notify_one();
    assert_eq!(Answer::rest_of(&mut slow).body, "at last");
    server.end();
}

/// A handler that waits, what says that it does, and what lets it go on.
fn waiting() -> (impl Fn() -> BoxFuture + Clone + Send + Sync + 'static, Receiver<()>, Arc<Notify>) {
    let (out, entered) = sync_channel(1);
    let go_on = Arc::new(Notify::new());
    let waited = go_on.clone();
    let waits = move || -> BoxFuture {
        let (out, waited) = (out.clone(), waited.clone());
        Box::pin(async move {
            out.send(()).unwrap();
            waited.notified().await;
            "at last"
        })
    };
    (waits, entered, go_on)
}

type BoxFuture = std::pin::Pin<Box<dyn Future<Output = &'static str> + Send>>;

/// Says when it is dropped.
struct Dropped(std::sync::mpsc::SyncSender<()>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.send(()).unwrap();
    }
}

/// A route whose answer never ends, and what says that the server gave it up.
fn endless() -> (Routes, Receiver<()>) {
    let (out, dropped) = sync_channel(1);
    let answer = move || async move {
        let guard = Dropped(out);
        let chunks = tokio_stream::iter(std::iter::repeat_with(move || {
            let _held = &guard;
            Ok::<_, std::convert::Infallible>(Bytes::from_static(&[b'x'; 64 << 10]))
        }));
        Body::from_stream(chunks)
    };
    (Routes::new().get("/healthz", answer), dropped)
}

#[test]
fn a_client_that_does_not_read_its_answer_is_given_up() {
    let (routes, dropped) = endless();
    let server = Running::start("server.write_seconds = 1", Vec::new(), routes);
    let mut stream = server.open();
    write!(stream, "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    dropped.recv().unwrap();
    server.end();
}

#[test]
fn requests_in_flight_are_answered_before_the_end() {
    let (waits, entered, go_on) = waiting();
    let server = Running::start("", Vec::new(), Routes::new().get("/healthz", waits));
    let (mut idle, mut waiting) = (server.open(), server.open());
    write!(waiting, "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    entered.recv().unwrap();
    server.stop.send_replace(true);
    assert_eq!(Answer::rest_of(&mut idle).status(), 0, "closed at once");
    assert!(is_silent(&mut waiting) && !server.served.is_finished());
    go_on.notify_one();
    let answer = Answer::rest_of(&mut waiting);
    assert_eq!((answer.status(), answer.body.as_str()), (200, "at last"));
    assert!(answer.head.contains("connection: close"), "{answer:?}");
    server.end();
}

#[test]
fn the_end_waits_only_so_long_for_requests_in_flight() {
    let (routes, dropped) = endless();
    let server = Running::start("server.drain_seconds = 1", Vec::new(), routes);
    let mut stream = server.open();
    write!(stream, "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 100]).unwrap();
    server.end();
    dropped.recv().unwrap();
}

#[test]
fn connections_beyond_the_limit_wait() {
    let server =
        Running::start("server.connections_max = 1", Vec::new(), Routes::new().get("/healthz", || async { "" }));
    let first = server.open();
    let mut second = server.open();
    write!(second, "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    assert!(is_silent(&mut second));
    drop(first);
    assert_eq!(Answer::rest_of(&mut second).status(), 200);
    server.end();
}
