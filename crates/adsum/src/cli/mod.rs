//! The command line: flags over ADSUM_* variables over the configuration file.

mod backup;
mod catalog;
mod click;
mod client;
mod clock;
mod demo;
mod doctor;
mod import;
mod listing;
mod metadata;
mod quarantine;
mod report;
mod send;
mod serve;
mod tail;
mod token;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::{CommandFactory, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use self::client::Client;
use crate::config::Config;
use crate::memory::{self, ByteSize};
use crate::report::Format;
use crate::wire::{Home, Make};

/// Counts ad events exactly once and serves numbers people can bill on.
#[derive(Parser)]
#[command(name = "adsum", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(clap::Args, Clone)]
pub struct Global {
    /// The data directory [default: adsum-data].
    #[arg(long, global = true, env = "ADSUM_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The configuration, a TOML file.
    #[arg(long, global = true, env = "ADSUM_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Threads that fold; over `workers` of the configuration.
    #[arg(long, global = true, env = "ADSUM_WORKERS", value_name = "N")]
    workers: Option<usize>,
    /// Memory that the process may take, as 512 MiB; over `memory_limit` of the configuration.
    #[arg(long, global = true, env = "ADSUM_MEMORY_LIMIT", value_name = "SIZE")]
    memory_limit: Option<ByteSize>,
    /// How the answer is written.
    #[arg(long, global = true, env = "ADSUM_FORMAT", value_enum)]
    format: Option<Format>,
    /// The same as --format json.
    #[arg(long, global = true, conflicts_with = "format")]
    json: bool,
    /// A running server, in place of the data directory: http://127.0.0.1:7878.
    #[arg(long, global = true, env = "ADSUM_URL", value_name = "URL")]
    url: Option<String>,
    /// The file with the token to send; for `serve` the admin token's, made if it is not there. ADSUM_TOKEN may hold a
    /// token itself.
    #[arg(long, global = true, env = "ADSUM_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificates (PEM) to trust in place of the system's.
    #[arg(long, global = true, env = "ADSUM_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Take events in from files: NDJSON, plain, .gz or .zst, or - for standard input.
    Import(import::Args),
    /// Show the numbers.
    Report(report::Args),
    /// Watch what a server takes in, as it happens.
    Tail,
    /// The catalog of event types, dimensions and metrics.
    #[command(subcommand)]
    Catalog(catalog::Args),
    /// What was taken in but does not count, and why.
    #[command(subcommand)]
    Quarantine(quarantine::Args),
    /// Run the service with made-up traffic, to look around.
    Demo(demo::Args),
    /// Advertisers, campaigns, ads, publishers, placements, site keys and click destinations of a running server.
    #[command(subcommand)]
    Metadata(metadata::Args),
    /// The tokens of a running server.
    #[command(subcommand)]
    Token(token::Args),
    /// Run the service: collect events over HTTP, answer reports.
    Serve(serve::Args),
    /// Send files of events to a running service.
    Send(send::Args),
    /// Click links.
    #[command(subcommand)]
    Click(click::Args),
    /// Copy a data directory, of a running server too, as one consistent state.
    Backup(backup::BackupArgs),
    /// Make a data directory of a backup, and prove that it is the state that was backed up.
    Restore(backup::RestoreArgs),
    /// The collector's clock.
    #[command(subcommand)]
    Clock(clock::Args),
    /// Check a data directory: every byte of the log, the ledger's equations, the state's hash.
    Doctor,
    /// The configuration.
    #[command(subcommand)]
    Config(ConfigArgs),
    /// Completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Subcommand)]
enum ConfigArgs {
    /// Say whether the configuration is right, or which key is wrong.
    Check,
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "adsum: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|e| e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}

fn run(cli: Cli) -> Result<()> {
    let global = &cli.global;
    match cli.command {
        Command::Import(args) => import::run(global, args),
        Command::Report(args) => report::run(global, &args),
        Command::Tail => tail::run(global),
        Command::Catalog(args) => catalog::run(global, &args),
        Command::Quarantine(args) => quarantine::run(global, &args),
        Command::Demo(args) => demo::run(global, &args),
        Command::Metadata(args) => metadata::run(global, &args),
        Command::Token(args) => token::run(global, &args),
        Command::Serve(args) => serve::run(global, args),
        Command::Send(args) => send::run(global, &args),
        Command::Click(args) => click::run(global, &args),
        Command::Backup(args) => backup::backup(global, &args),
        Command::Restore(args) => backup::restore(global, &args),
        Command::Clock(args) => clock::run(global, &args),
        Command::Doctor => doctor::run(global),
        Command::Config(ConfigArgs::Check) => {
            let config = global.config()?;
            let catalog = config.catalog()?;
            config.campaigns(&catalog)?;
            let name = global.config.as_ref().map_or("the defaults".to_owned(), |p| p.display().to_string());
            writeln!(io::stdout(), "{name}: ok")?;
            Ok(())
        }
        Command::Completions { shell } => {
            // Into memory first: the generator panics where a reader has left.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "adsum", &mut script);
            io::stdout().write_all(&script)?;
            Ok(())
        }
    }
}

impl Global {
    /// The configuration with the flags over it.
    fn config(&self) -> Result<Config> {
        let mut config = Config::load(self.config.as_deref())?;
        config.workers = self.workers.or(config.workers);
        config.memory_limit = self.memory_limit.or(config.memory_limit);
        memory::divide(&mut config)?;
        Ok(config)
    }

    /// The data directory.
    fn data_dir(&self) -> &Path {
        self.data_dir.as_deref().unwrap_or(Path::new("adsum-data"))
    }

    /// The format asked for, or one that suits where standard output goes.
    fn format(&self, otherwise: Format) -> Format {
        if self.json { Format::Json } else { self.format.unwrap_or(otherwise) }
    }

    /// The client of the server that was named, if one was.
    fn client(&self) -> Result<Option<Client>> {
        let client = |url: &String| Client::new(url, self.token_file.as_deref(), self.ca_file.as_deref());
        self.url.as_ref().map(client).transpose()
    }

    /// The client of the server that must be named.
    fn needs_server(&self, command: &str) -> Result<Client> {
        self.client()?.ok_or_else(|| anyhow!("{command} needs a running server: say --url"))
    }

    /// Opens the data directory, with progress while frames are folded again.
    fn open(&self, config: &Config, make: Make) -> Result<Home> {
        self.open_at(self.data_dir(), config, make)
    }

    /// The same of another directory.
    fn open_at(&self, data_dir: &Path, config: &Config, make: Make) -> Result<Home> {
        let bar = spinner("folding what the log has beyond the store");
        let home = Home::open(data_dir, config, make, &|records| bar.inc(records))?;
        bar.finish_and_clear();
        for note in &home.notes {
            writeln!(io::stderr(), "adsum: {note}")?;
        }
        Ok(home)
    }
}

/// A spinner on standard error, on a terminal only.
fn spinner(what: &'static str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}: {human_pos} records ({per_sec})") {
        bar.set_style(style);
    }
    bar
}

/// A bar of bytes on standard error, on a terminal only; a spinner where the total is not known.
fn bytes_bar(total: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), "{bar:40} {bytes}/{total_bytes} ({bytes_per_sec}, {eta} to go)"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} of text ({bytes_per_sec})"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
