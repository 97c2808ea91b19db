//! The simulator: the shipped loop over a disk that fails, against an oracle that recounts everything naively.
//!
//! A seed makes a [`history`]; [`run`] drives it through decoder, limits, log, pipeline and store, kills it wherever
//! the seed says, and compares with the [`oracle`]; [`shrink`] makes a failing history short. [`cases`] runs the text
//! tables of the repository through the same door. Invariant: the same seed, the same history, the same result.
//! Not here: threads, clocks, a real disk.

pub mod cases;
pub mod history;
pub mod oracle;
pub mod picture;
pub mod random;
pub mod run;
pub mod sent;
pub mod setup;
pub mod shrink;
pub mod world;
