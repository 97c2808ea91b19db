//! `adsum demo`: a server with made-up traffic, so that there is something to look at within a minute.
//!
//! The server is the same program as a process of its own, and the traffic goes to it over HTTP; what is shown while it
//! runs is what the server answers. Invariant: what the demo made goes with it, unless it is kept; its ledger is shown
//! at the end, read from what the server left. The server ends with the demo, also with one that is
//! killed.

#![allow(clippy::disallowed_methods, reason = "the demo's directory and the token's file are the demo's own")]

mod numbers;
mod screen;
mod server;

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adsum_model::ledger::LedgerColumn;
use adsum_model::time::EventTime;
use adsum_pipeline::LEDGER;
use adsum_store::AggregateStore;
use anyhow::{Context, Result, bail};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::numbers::Numbers;
use self::screen::{Paint, Screen};
use self::server::Server;
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
    /// Show no numbers while it runs.
    #[arg(long)]
    quiet: bool,
}

/// How often a batch is sent, in milliseconds.
const BATCH_MILLIS: u64 = 100;
/// How many batches may be made up for at once, when the server was slow.
const BATCHES_BEHIND_MAX: u64 = 10;
/// How often the numbers are shown: drawn again on a terminal, and one line after the other elsewhere.
const SCREEN_MILLIS: u64 = 1_000;
const LINE_MILLIS: u64 = 5_000;
/// How long the last numbers wait until everything that was sent is folded.
const LAST_MILLIS_MAX: u64 = 2_000;

/// Runs `adsum demo`.
pub fn run(global: &Global, args: &Args) -> Result<()> {
    // From here on a word to stop ends it in order, however early it comes: what it makes and starts goes with it.
    let mut word = Word::listen()?;
    let directory = DemoDirectory::of(global, args.keep)?;
    let shown = serve(global, args, &directory.path, &mut word).and_then(|()| show_ledger(global, &directory.path));
    shown.and(directory.end())
}

/// Runs server and traffic until it is time to stop.
fn serve(global: &Global, args: &Args, data_dir: &Path, word: &mut Word) -> Result<()> {
    let token_file = global.token_file.clone().unwrap_or_else(|| data_dir.join("admin-token"));
    let mut server = Server::start(global, args, data_dir, &token_file)?;
    let played = server.url(&token_file).and_then(|url| {
        let admin = Client::new(&url, Some(&token_file), global.ca_file.as_deref())?;
        play(global, args, &admin, &url, &token_file, word)
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
            writeln!(io::stderr(), "adsum: the data was in {} and is removed; --keep keeps it", self.path.display())?;
        } else {
            writeln!(io::stderr(), "adsum: the data is in {}", self.path.display())?;
        }
        Ok(())
    }
}

/// Makes the business known, says what to try, sends and shows until it is time to stop.
fn play(global: &Global, args: &Args, admin: &Client, url: &str, token_file: &Path, word: &mut Word) -> Result<()> {
    admin.post("/v1/metadata/bulk", "application/x-ndjson", &[], metadata().as_bytes())?.success()?;
    let body = json!({ "name": "the demo's traffic", "role": "collector", "source": "demo" });
    let made = admin.send_json("POST", "/v1/tokens", &body)?;
    let sender = admin.with_token(made["token"].as_str().context("the server made no token")?);
    let as_json = global.format(Format::Table) != Format::Table;
    let token = std::fs::read_to_string(token_file)?;
    if as_json {
        writeln!(io::stdout(), "{}", json!({ "url": url, "token": token.trim(), "tokenFile": token_file }))?;
    } else {
        say(url, token.trim(), token_file)?;
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let run = format!("{:x}", clock::now().micros() / 1_000_000);
        let sending = scope.spawn(|| {
            let sent = send(args, &sender, Traffic::new(args.seed, run), &stop);
            stop.store(true, Ordering::Relaxed);
            sent
        });
        let showing = scope.spawn(|| {
            let shown = show(args, admin, as_json, &stop);
            stop.fetch_or(shown.is_err(), Ordering::Relaxed);
            shown
        });
        word.wait(&stop);
        stop.store(true, Ordering::Relaxed);
        let sent = sending.join().unwrap_or_else(|_| bail!("its thread panicked")).context("the traffic broke off");
        let shown = showing.join().unwrap_or_else(|_| bail!("the thread that shows the numbers panicked"));
        sent.and(shown)
    })
}

/// Shows the numbers until the traffic has ended, and once more behind it.
fn show(args: &Args, admin: &Client, as_json: bool, stop: &AtomicBool) -> Result<()> {
    if args.quiet {
        return Ok(());
    }
    let on_terminal = !as_json && io::stdout().is_terminal();
    let every_millis = if on_terminal { SCREEN_MILLIS } else { LINE_MILLIS };
    let paint = Paint::of(on_terminal);
    let mut screen = Screen::default();
    let began = Moment::now();
    // A screen is there at once; a line of noughts would tell nothing.
    let mut next_millis = if on_terminal { 0 } else { every_millis };
    loop {
        while began.elapsed_micros() / 1000 < next_millis && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(BATCH_MILLIS));
        }
        let last = stop.load(Ordering::Relaxed);
        if last {
            wait_until_folded(admin)?;
        }
        match Numbers::ask(admin, began.elapsed_micros() / 1_000_000) {
            Ok(numbers) if on_terminal => screen.draw(&numbers.screen(paint, args.rate))?,
            Ok(numbers) if as_json => writeln!(io::stdout(), "{}", numbers.json())?,
            Ok(numbers) => writeln!(io::stdout(), "{}", numbers.line())?,
            Err(error) if last => return Err(error),
            // A server that is only busy answers the next time; the traffic tells of one that is gone.
            Err(_) => {}
        }
        if last {
            return Ok(());
        }
        next_millis = (began.elapsed_micros() / 1000 / every_millis + 1) * every_millis;
    }
}

/// What was acknowledged is durable, and some milliseconds later folded.
fn wait_until_folded(admin: &Client) -> Result<()> {
    let began = Moment::now();
    while admin.get_json("/v1/pipeline")?["log"]["framesBehind"] != 0 && began.elapsed_micros() / 1000 < LAST_MILLIS_MAX
    {
        std::thread::sleep(Duration::from_millis(BATCH_MILLIS));
    }
    Ok(())
}

/// The word to stop: a key stroke, a signal, a terminal that goes away.
struct Word {
    runtime: tokio::runtime::Runtime,
    signals: [Signal; 3],
}

impl Word {
    /// Listens from now on, so that a word that comes early is not lost.
    fn listen() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
        let entered = runtime.enter();
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        drop(entered);
        Ok(Self { runtime, signals: [interrupt?, terminate?, hangup?] })
    }

    /// Until somebody says it, or `stop` is set.
    fn wait(&mut self, stop: &AtomicBool) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        self.runtime.block_on(async {
            let mut tick = tokio::time::interval(Duration::from_millis(BATCH_MILLIS));
            while !stop.load(Ordering::Relaxed) {
                tokio::select! {
                    _ = interrupt.recv() => break,
                    _ = terminate.recv() => break,
                    _ = hangup.recv() => break,
                    _ = tick.tick() => {}
                }
            }
        });
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

/// What there is, and what to paste into another terminal.
fn say(url: &str, token: &str, token_file: &Path) -> Result<()> {
    let paint = Paint::of(io::stdout().is_terminal());
    let (program, file) = (quoted(&program()), quoted(&token_file.display().to_string()));
    let at = EventTime::from_micros(clock::now().micros());
    writeln!(
        io::stdout(),
        "{}\n\n  address  {url}\n  token    {token}\n\n\
         {}\n\
         curl -s {url}/v1/events/collect -H 'Authorization: Bearer {token}' \\\n\
         \x20 -H 'Content-Type: application/json' -d '{{\"events\":[{{\"eventId\":\"my_1\",\"eventType\":\"click\",\n\
         \x20 \"occurredAt\":\"{at}\",\"adId\":\"ad_boots_wide\",\"priceMicros\":210000}}]}}'\n\n\
         {}\n\
         {program} report --url {url} --token-file {file} --last 1h --by campaignId\n\n\
         {}\n\
         {program} tail --url {url} --token-file {file}\n",
        paint.bold("adsum demo: a server with made-up traffic"),
        paint.dim("# send an event; sent again, it is a duplicate: received grows, counted does not"),
        paint.dim("# the numbers, by hour and campaign"),
        paint.dim("# what comes in, by source; yours is admin"),
    )?;
    Ok(())
}

/// This program as it was called.
fn program() -> String {
    std::env::args_os().next().map_or_else(|| "adsum".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// A word of a shell's line.
fn quoted(text: &str) -> String {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+:@%".contains(&b));
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// The ledger's columns that add up.
const EQUATION: [LedgerColumn; 5] = [
    LedgerColumn::Received,
    LedgerColumn::Rejected,
    LedgerColumn::Counted,
    LedgerColumn::Duplicates,
    LedgerColumn::Quarantined,
];

/// What became of everything, once the server has ended.
fn show_ledger(global: &Global, data_dir: &Path) -> Result<()> {
    let home = global.open_at(data_dir, &global.config()?, Make::Never)?;
    let pending = home.pipeline.pending();
    let ledger = Ledger::of(&*home.pipeline.store().view(), &pending.rows[LEDGER.index()])?;
    home.close()?;
    let mut out = io::stdout().lock();
    if global.format(Format::Table) == Format::Table {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["source"].into_iter().chain(EQUATION.map(LedgerColumn::name)));
        for (source, counts) in ledger.sources.iter().filter(|(_, c)| c.get(LedgerColumn::Received) > 0) {
            let figures = EQUATION.map(|column| counts.get(column).to_string());
            table.add_row([source.clone()].into_iter().chain(figures));
        }
        let equation = "received = rejected + counted + duplicates + quarantined";
        writeln!(out, "\n{table}\n{equation}: {}", ledger.verdict())?;
    } else {
        writeln!(out, "{}", json!({ "ledger": ledger.json(), "problems": ledger.problems }))?;
    }
    if ledger.problems.is_empty() {
        Ok(())
    } else {
        bail!("the ledger does not balance: {}", ledger.problems.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_shell() {
        for (text, want) in [
            ("target/fast/adsum", "target/fast/adsum"),
            ("my files/adsum", "'my files/adsum'"),
            ("it's", "'it'\\''s'"),
            ("$HOME", "'$HOME'"),
        ] {
            assert_eq!(quoted(text), want);
        }
    }
}
