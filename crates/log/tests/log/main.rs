//! The proofs of the log: one contract for all implementations, round trips, damage, power loss, and another language.
//!
//! Invariant: every case goes through a function that names what must hold. Not here: speed (examples/speed.rs).

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "this is all test code: a panic is a failed test")]

mod another_language;
mod contract;
mod damage;
mod dictionary;
mod power;
mod round_trip;
mod sample;
