//! `adsum demo`: a server with made-up traffic, so that there is something to look at within a minute.
//!
//! The server is the same program as a process of its own, and the traffic goes to it over HTTP. Invariant: what the
//! demo made goes with it, unless it is kept; its ledger is shown at the end. The server ends with the demo, also with
//! one that is killed.

#![allow(clippy::disallowed_methods, reason = "the demo's directory and the token's file are the demo's own")]

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adsum_model::time::EventTime;
use adsum_pipeline::LEDGER;
use adsum_store::AggregateStore;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::Global;
use super::client::Client;
use crate::clock::{self, Moment};
use crate::demo::{Traffic, metadata};
use crate::ledger::Ledger;
use crate::report::Format;
use crate::wire::Make;

/// The arguments of `demo`.
#[derive(clap::Args)]
pub struct Args {
    /// Where to listen.
    #[arg(long, env = "ADSUM_LISTEN", default_value = "127.0.0.1:7878", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Events a second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=20_000), value_name = "N")]
    rate: u32,
    /// End after so many seconds; without it the demo goes on until it is stopped.
    #[arg(long, value_name = "N")]
    seconds: Option<u32>,
    /// What the traffic is made from.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Keep the data directory that the demo made.
    #[arg(long)]
    keep: bool,
}

/// How often a batch is sent, in milliseconds.
const BATCH_MILLIS: u64 = 100;
/// How many batches may be made up for at once, when the server was slow.
const BATCHES_BEHIND_MAX: u64 = 10;

/// Runs `adsum demo`.
pub fn run(global: &Global, args: &Args) -> Result<()> {
    let directory = DemoDirectory::of(global, args.keep)?;
    let shown = serve(global, args, &directory.path).and_then(|()| show_ledger(global, &directory.path));
    shown.and(directory.end())
}

/// Runs server and traffic until it is time to stop.
fn serve(global: &Global, args: &Args, data_dir: &Path) -> Result<()> {
    let token_file = global.token_file.clone().unwrap_or_else(|| data_dir.join("admin-token"));
    let mut server = Server::start(global, args, data_dir, &token_file)?;
    let played = server.url(&token_file).and_then(|url| {
        let admin = Client::new(&url, Some(&token_file), global.ca_file.as_deref())?;
        play(args, &admin, &url, &token_file)
    });
    played.and(server.stop())
}

/// The directory of the demo's data.
struct DemoDirectory {
    path: PathBuf,
    /// Whether it goes at the end.
    goes: bool,
}

impl DemoDirectory {
    fn of(global: &Global, keep: bool) -> Result<Self> {
        if let Some(path) = &global.data_dir {
            return Ok(Self { path: path.clone(), goes: false });
        }
        let random = u64::from_le_bytes(clock::random::<8>()?);
        let path = std::env::temp_dir().join(format!("adsum-demo-{random:016x}"));
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path, goes: !keep })
    }

    fn end(self) -> Result<()> {
        if self.goes {
            std::fs::remove_dir_all(&self.path).with_context(|| format!("cannot remove {}", self.path.display()))?;
        } else {
            writeln!(io::stderr(), "adsum: the demo's data is in {}", self.path.display())?;
        }
        Ok(())
    }
}

/// The server's process.
struct Server {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Server {
    fn start(global: &Global, args: &Args, data_dir: &Path, token_file: &Path) -> Result<Self> {
        let program = std::env::current_exe().context("the demo does not find its own program")?;
        let mut command = Command::new(program);
        command.arg("serve").arg("--listen").arg(args.listen.to_string());
        command.arg("--data-dir").arg(data_dir).arg("--token-file").arg(token_file);
        if let Some(config) = &global.config {
            command.arg("--config").arg(config);
        }
        if let Some(workers) = global.workers {
            command.arg("--workers").arg(workers.to_string());
        }
        // The server's own words would bury what is to be tried.
        if std::env::var_os("ADSUM_LOG").is_none() {
            command.env("ADSUM_LOG", "warn");
        }
        end_with_us(&mut command);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("the server does not start")?;
        let stdout = BufReader::new(child.stdout.take().context("the server has no output")?);
        Ok(Self { child, stdout })
    }

    /// Where it listens, once it does.
    fn url(&mut self, token_file: &Path) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        let url = line.trim().rsplit(' ').next().unwrap_or_default();
        if !url.starts_with("http") {
            bail!("the server did not start; what it said stands above");
        }
        if !token_file.exists() {
            bail!("the server made no token in {}", token_file.display());
        }
        Ok(url.to_owned())
    }

    /// Tells it to stop, and waits until it has.
    fn stop(mut self) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            let pid = rustix::process::Pid::from_child(&self.child);
            // It may have ended meanwhile, by the same key stroke.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the server ended with {status}");
        }
        Ok(())
    }
}

/// Has the system stop the server when the demo is gone, which can say nothing any more if it was killed. It is this
/// thread that counts as the parent: the one that stays until the end.
#[cfg(target_os = "linux")]
fn end_with_us(command: &mut Command) {
    use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

    let demo = getpid();
    let tie = move || {
        set_parent_process_death_signal(Some(Signal::TERM))?;
        // It may have been killed before.
        if getppid() == Some(demo) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: between fork and exec only system calls are made; nothing is allocated and no lock is taken.
    unsafe { std::os::unix::process::CommandExt::pre_exec(command, tie) };
}

/// Elsewhere there is no such word: the server of a demo that was killed is stopped by hand.
#[cfg(not(target_os = "linux"))]
fn end_with_us(_: &mut Command) {}

/// Makes the business known, says what to try, and sends until it is time to stop.
fn play(args: &Args, admin: &Client, url: &str, token_file: &Path) -> Result<()> {
    admin.post("/v1/metadata/bulk", "application/x-ndjson", &[], metadata().as_bytes())?.success()?;
    let body = json!({ "name": "the demo's traffic", "role": "collector", "source": "demo" });
    let made = admin.send_json("POST", "/v1/tokens", &body)?;
    let sender = admin.with_token(made["token"].as_str().context("the server made no token")?);
    say(url, &std::fs::read_to_string(token_file)?, token_file)?;
    let stop = AtomicBool::new(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    std::thread::scope(|scope| {
        let run = format!("{:x}", clock::now().micros() / 1_000_000);
        let sending = scope.spawn(|| {
            let sent = send(args, &sender, Traffic::new(args.seed, run), &stop);
            stop.store(true, Ordering::Relaxed);
            sent
        });
        runtime.block_on(wait(&stop))?;
        let ended_by_itself = stop.swap(true, Ordering::Relaxed);
        let sent = sending.join().unwrap_or_else(|_| bail!("the traffic's thread panicked"));
        // A key stroke stops the server too, and then a batch may find nobody.
        if ended_by_itself { sent } else { Ok(()) }
    })
    .context("the traffic broke off")
}

/// Until somebody says stop.
async fn wait(stop: &AtomicBool) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut tick = tokio::time::interval(Duration::from_millis(BATCH_MILLIS));
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = tick.tick() => if stop.load(Ordering::Relaxed) { return Ok(()) },
        }
    }
}

/// Sends batches at the rate asked for. What is refused as too much is sent again, so that nothing made up is lost.
fn send(args: &Args, client: &Client, mut traffic: Traffic, stop: &AtomicBool) -> Result<()> {
    let began = Moment::now();
    let mut batches = 0;
    let mut owed = 0;
    while !stop.load(Ordering::Relaxed) {
        let elapsed_millis = began.elapsed_micros() / 1000;
        if args.seconds.is_some_and(|seconds| elapsed_millis >= u64::from(seconds) * 1000) {
            return Ok(());
        }
        let due = elapsed_millis / BATCH_MILLIS + 1;
        if batches >= due {
            std::thread::sleep(Duration::from_millis(batches * BATCH_MILLIS - elapsed_millis));
            continue;
        }
        batches = (batches + 1).max(due.saturating_sub(BATCHES_BEHIND_MAX));
        owed += u64::from(args.rate) * BATCH_MILLIS;
        let count = owed / 1000;
        owed %= 1000;
        if count == 0 {
            continue;
        }
        let now = EventTime::from_micros(clock::now().micros());
        let lines = traffic.lines(usize::try_from(count)?, now);
        while !stop.load(Ordering::Relaxed) {
            let answer = client.post("/v1/events/collect", "application/x-ndjson", &[], lines.as_bytes())?;
            if !matches!(answer.status, 429 | 503) {
                answer.success()?;
                break;
            }
            std::thread::sleep(Duration::from_millis(BATCH_MILLIS));
        }
    }
    Ok(())
}

fn say(url: &str, token: &str, token_file: &Path) -> Result<()> {
    let token = token.trim();
    let file = token_file.display();
    let at = EventTime::from_micros(clock::now().micros());
    writeln!(
        io::stdout(),
        "adsum demo on {url}\n\
         token: {token}\n\n\
         Send an event, and send it again:\n\
         \x20 curl -s {url}/v1/events/collect -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \\\n\
         \x20   -d '{{\"events\":[{{\"eventId\":\"my_1\",\"eventType\":\"click\",\"occurredAt\":\"{at}\",\"adId\":\"ad_boots_wide\"}}]}}'\n\
         Ask for the numbers:\n\
         \x20 adsum report --url {url} --token-file {file} --last 1h --granularity minute\n\
         Watch them come in:\n\
         \x20 adsum tail --url {url} --token-file {file}"
    )?;
    Ok(())
}

/// What became of everything, once the server has ended.
fn show_ledger(global: &Global, data_dir: &Path) -> Result<()> {
    let home = global.open_at(data_dir, &global.config()?, Make::Never)?;
    let pending = home.pipeline.pending();
    let ledger = Ledger::of(&*home.pipeline.store().view(), &pending.rows[LEDGER.index()])?;
    home.close()?;
    let mut out = io::stdout().lock();
    if global.format(Format::Table) == Format::Table {
        writeln!(out)?;
        ledger.lines().iter().try_for_each(|line| writeln!(out, "{line}"))?;
        writeln!(out, "{}", ledger.verdict())?;
    } else {
        let answer: Value = json!({ "ledger": ledger.json(), "problems": ledger.problems });
        writeln!(out, "{answer}")?;
    }
    if ledger.problems.is_empty() {
        Ok(())
    } else {
        bail!("the ledger does not balance: {}", ledger.problems.join("; "))
    }
}
