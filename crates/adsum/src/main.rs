//! adsum: ad events in, each counted once, numbers out that people can bill on.
//!
//! The way of one event: `import` reads lines -> model's decoder -> the log, durable -> pipeline -> store -> `report`.
//! Invariant: data goes to standard output, everything else to standard error. Exit 0 ok, 1 failed, 2 usage.

mod act;
mod backup;
mod catalog_doc;
mod cli;
mod clock;
mod collect;
mod commit;
mod config;
mod demo;
mod directory;
mod http;
mod import;
mod ledger;
mod live;
mod memory;
mod metadata;
mod operate;
mod process;
mod quarantine;
mod report;
mod serve;
mod service;
mod wire;
mod writer;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
