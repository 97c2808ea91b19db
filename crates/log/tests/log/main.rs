//! The proofs of the log: one contract for all implementations, round trips, damage, power loss, and another language.
//!
//! Invariant: every case goes through a function that names what must hold. Not here: speed (examples/speed.rs).

mod another_language;
mod contract;
mod damage;
mod dictionary;
mod power;
mod round_trip;
mod sample;
