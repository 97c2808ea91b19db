//! Import: files of events on their own clock, at full speed, into the same log as everything else.
//!
//! Invariant: lines enter the log in file order, however many threads decode them, and the position of a file lies in
//! the same frame as the lines before it: killed anywhere, the next run goes on exactly there.

mod read;
mod run;

pub use read::Source;
pub use run::{ImportOptions, ImportResult, run};
