//! Import: files of events on their own clock, at full speed, into the same log as everything else.
//!
//! Invariant: lines enter the log in file order, however many threads decode them, and the position of a file lies in
//! the same frame as the lines before it: killed anywhere, the next run goes on exactly there. There are two ways in:
//! into a data directory that nobody else has open ([`run`]), and into a running server ([`http`]).

pub mod http;
mod read;
mod records;
mod run;

pub use read::{Chunk, Source};
pub use run::{ImportOptions, run};
