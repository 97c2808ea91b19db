//! The binary from outside: commands as people type them, files as they come, kills as they happen.
//!
//! Invariant: every test runs the real program in a directory of its own and believes only what it prints and leaves
//! on disk. Not here: the parts by themselves; each crate proves its own.

#![allow(clippy::disallowed_methods, reason = "tests write files for the program and watch the ones that it writes")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails there")]
#![allow(clippy::print_stdout, reason = "what was skipped is said")]

mod catalog;
mod configs;
mod conflicts;
mod data_directory;
mod distinct_users;
mod events;
#[cfg(target_os = "linux")]
mod faults;
mod files;
mod http;
mod kills;
mod new_dimension;
mod open_bandit;
mod pages;
mod place;
mod rollups;
mod sample;
mod usage;
mod ysb;
mod zones;
