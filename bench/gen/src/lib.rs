//! Workloads with an exact truth: lines as senders write them, and what a correct counter must say about them.
//!
//! Invariant: the truth comes from the generator's own columns, never from parsing what it wrote; one seed gives the same
//! bytes on every machine. Not here: anything of adsum's own code, so that it cannot be wrong in the same way.
#![allow(
    clippy::disallowed_methods,
    reason = "a program for benchmarks works on plain files; the rule is for log and store"
)]

pub mod ads;
mod arrival;
pub mod check;
mod draw;
mod line;
mod sink;
mod time;
mod truth;
mod world;
pub mod ysb;

pub use line::Layout;
