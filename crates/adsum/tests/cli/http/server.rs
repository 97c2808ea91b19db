//! A running service in a temporary directory, and requests to it.

use std::io::{BufRead, BufReader, Read};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::place::Place;

/// Where requests go.
#[derive(Clone)]
pub struct Target {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// The admin token.
    pub token: String,
}

/// A service; killed when dropped.
pub struct Server {
    child: Child,
    target: Target,
}

impl std::ops::Deref for Server {
    type Target = Target;

    fn deref(&self) -> &Target {
        &self.target
    }
}

/// An answer.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// The JSON of an answer that must have this status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }

    /// The text of an answer that must have this status.
    #[track_caller]
    pub fn expect_text(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        self.text()
    }
}

impl Answer {
    /// The status, the code and the param (empty if there is none) of a problem.
    #[track_caller]
    pub fn expect_problem(&self) -> (u16, String, String) {
        let problem = self.json();
        let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(problem["status"], self.status, "{problem}");
        (self.status, text("code"), text("param"))
    }
}

impl Server {
    /// Where requests to it go, for other threads.
    pub fn target(&self) -> Target {
        self.target.clone()
    }

    /// Starts `adsum serve` in `place` with more arguments and waits until it is ready. The data directory is `data`,
    /// the token file `token`.
    pub fn start(place: &Place, args: &[&str]) -> Self {
        let args = [&["serve", "--listen", "127.0.0.1:0", "--token-file", "token"], args].concat();
        Self::spawn(place, place.command(&args))
    }

    /// The command of a server that is killed beside others: it listens on an address that no other one has, for a port
    /// that becomes free is soon another server's, and who sent to the dead one would reach it.
    pub fn alone(place: &Place, args: &[&str]) -> Command {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let listen = format!("{}:0", Ipv4Addr::from((127 << 24 | 64 << 16) + next));
        place.command(&[&["serve", "--listen", &listen, "--token-file", "token"], args].concat())
    }

    /// The same by a command that ends in the program with the arguments of `serve`.
    pub fn spawn(place: &Place, command: Command) -> Self {
        Self::try_spawn(place, command).unwrap_or_else(|code| {
            let log = std::fs::read_to_string(place.path("server.log")).unwrap();
            panic!("the service did not start: {code:?}\n{log}");
        })
    }

    /// The same; the exit code of a process that ended before it was ready, none if a signal ended it.
    pub fn try_spawn(place: &Place, mut command: Command) -> Result<Self, Option<i32>> {
        let log = std::fs::File::options().create(true).append(true).open(place.path("server.log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let url = line.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        if !url.starts_with("http") {
            return Err(child.wait().unwrap().code());
        }
        // What it prints later must not block it.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        let token = std::fs::read_to_string(place.path("token")).unwrap_or_default().trim().to_owned();
        Ok(Self { child, target: Target { url, token } })
    }

    /// The process's id, to send signals to.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The exit code of a process that has been told to end.
    pub fn wait(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// SIGTERM, and the exit code.
    pub fn stop(mut self) -> Option<i32> {
        let status = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
        self.child.wait().unwrap().code()
    }
}

impl Target {
    /// One request with the admin token; `body` with its content type.
    pub fn request(&self, method: &str, path: &str, body: Option<(&str, &[u8])>) -> Answer {
        self.request_as(Some(&self.token), method, path, &[], body)
    }

    /// One request with another token, or none, and more headers.
    pub fn request_as(
        &self,
        token: Option<&str>,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<(&str, &[u8])>,
    ) -> Answer {
        self.try_request(token, method, path, headers, body).unwrap()
    }

    /// The same; an error where no answer came.
    pub fn try_request(
        &self,
        token: Option<&str>,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<(&str, &[u8])>,
    ) -> Result<Answer, ureq::Error> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        let mut request = http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some((content_type, _)) = body {
            request = request.header("content-type", content_type);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = agent.run(request.body(body.map_or(&[][..], |(_, b)| b)).unwrap())?;
        let headers = response.headers().iter();
        let headers =
            headers.map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect();
        let status = response.status().as_u16();
        let mut body = Vec::new();
        response.body_mut().as_reader().read_to_end(&mut body).map_err(ureq::Error::Io)?;
        Ok(Answer { status, headers, body })
    }

    /// GET with the admin token.
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, None)
    }

    /// POST of NDJSON events with the admin token.
    pub fn collect(&self, lines: &str) -> Answer {
        self.request("POST", "/v1/events/collect", Some(("application/x-ndjson", lines.as_bytes())))
    }

    /// POST of JSON with the admin token.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", path, Some(("application/json", body.to_string().as_bytes())))
    }

    /// PUT of JSON with the admin token.
    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.request("PUT", path, Some(("application/json", body.to_string().as_bytes())))
    }

    /// A new token of a role, for a source of that name; of one advertiser or of all.
    pub fn new_token(&self, role: &str, advertiser: Option<&str>) -> String {
        let body = serde_json::json!({"role": role, "source": role, "advertiser": advertiser});
        self.post("/v1/tokens", &body).expect(201)["token"].as_str().unwrap().to_owned()
    }

    /// The address without the scheme, for raw sockets.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
