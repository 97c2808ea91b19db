//! `adsum-queries`: asks a server questions over HTTP, one after the other on each connection, and times them.
//!
//! Invariant: every answer is compared with the rows that the question's file holds for it; one that differs ends the
//! program with 1. Not here: which questions there are (bench/peers/duckdb_queries.py draws and answers them).

#![allow(clippy::disallowed_methods, reason = "it measures time, and reads the questions' file")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Parser;
use serde::Deserialize;
use serde_json::Value;

/// Asks a server questions and times the answers.
#[derive(Parser)]
#[command(name = "adsum-queries", version)]
struct Cli {
    /// Where the server listens: 127.0.0.1:7878.
    #[arg(long)]
    server: String,
    /// The file with its token.
    #[arg(long)]
    token_file: PathBuf,
    /// The questions with their answers, NDJSON.
    #[arg(long)]
    questions: PathBuf,
    /// Connections that ask at the same time, each all questions.
    #[arg(long, default_value_t = 1)]
    clients: usize,
}

/// A question and its answer.
#[derive(Deserialize)]
struct Question {
    kind: String,
    path: String,
    /// The members of each row, in order; others are not compared.
    want: Vec<BTreeMap<String, Value>>,
}

/// One connection.
struct Client {
    stream: BufReader<TcpStream>,
    server: String,
    token: String,
    line: String,
    body: Vec<u8>,
}

impl Client {
    fn new(server: &str, token: &str) -> Result<Self> {
        let stream = TcpStream::connect(server).with_context(|| format!("nobody listens at {server}"))?;
        stream.set_nodelay(true)?;
        let stream = BufReader::new(stream);
        Ok(Self { stream, server: server.to_owned(), token: token.to_owned(), line: String::new(), body: Vec::new() })
    }

    /// Leaves the answer in `body`.
    fn get(&mut self, path: &str) -> Result<()> {
        let Self { server, token, .. } = self;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {server}\r\nauthorization: Bearer {token}\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut len = None;
        let mut status = String::new();
        loop {
            self.line.clear();
            ensure!(self.stream.read_line(&mut self.line)? > 0, "the server hung up");
            let line = self.line.trim_end();
            if status.is_empty() {
                line.clone_into(&mut status);
            } else if line.is_empty() {
                break;
            } else if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                len = Some(value.trim().parse::<usize>()?);
            }
        }
        self.body.resize(len.context("an answer without its length")?, 0);
        self.stream.read_exact(&mut self.body)?;
        ensure!(status.contains(" 200 "), "{status}: {}", String::from_utf8_lossy(&self.body));
        Ok(())
    }

    /// How long the answer took in nanoseconds, after it was found to be right.
    fn ask(&mut self, question: &Question) -> Result<u64> {
        let begun = Instant::now();
        self.get(&question.path)?;
        let took = begun.elapsed().as_nanos() as u64;
        let answer: Value = serde_json::from_slice(&self.body)?;
        let rows = answer["rows"].as_array().ok_or_else(|| anyhow!("an answer without rows"))?;
        let same = |(row, want): (&Value, &BTreeMap<String, Value>)| want.iter().all(|(name, v)| row[name] == *v);
        let right = rows.len() == question.want.len() && rows.iter().zip(&question.want).all(same);
        ensure!(right, "{}\n{:?}\nwanted {:?}", question.path, rows, question.want);
        Ok(took)
    }
}

/// The value below which so many hundredths of the others lie.
fn percentile(sorted: &[u64], hundredths: usize) -> u64 {
    sorted[(sorted.len() * hundredths).div_ceil(100).clamp(1, sorted.len()) - 1]
}

/// Nanoseconds as milliseconds.
fn ms(ns: u64) -> String {
    format!("{}.{:03}", ns / 1_000_000, ns / 1_000 % 1_000)
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell where even standard error is closed.
            let _ = writeln!(std::io::stderr(), "adsum-queries: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let token = std::fs::read_to_string(&cli.token_file).context("no token")?;
    let lines = std::fs::read_to_string(&cli.questions).context("no questions")?;
    let questions = lines.lines().map(serde_json::from_str).collect::<Result<Vec<Question>, _>>()?;
    let ask_all = || -> Result<Vec<u64>> {
        let mut client = Client::new(&cli.server, token.trim())?;
        questions.iter().map(|question| client.ask(question)).collect()
    };
    let took: Vec<Vec<u64>> = std::thread::scope(|threads| {
        let asking: Vec<_> = (0..cli.clients).map(|_| threads.spawn(ask_all)).collect();
        asking.into_iter().map(|t| t.join().map_err(|_| anyhow!("a client panicked"))?).collect::<Result<_>>()
    })?;
    let mut by_kind: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for took in &took {
        for (question, ns) in questions.iter().zip(took) {
            by_kind.entry(&question.kind).or_default().push(*ns);
        }
    }
    let mut out = std::io::stdout().lock();
    for (kind, mut took) in by_kind {
        took.sort_unstable();
        let [p50, p99, most] = [50, 99, 100].map(|p| ms(percentile(&took, p)));
        let count = took.len();
        writeln!(
            out,
            "adsum, {} clients, {kind:<30} {p50:>9} {p99:>9} {most:>9} ms p50, p99, most of {count}",
            cli.clients
        )?;
    }
    Ok(())
}
