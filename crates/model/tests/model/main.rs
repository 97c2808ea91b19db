//! The proofs of the vocabulary: what a line of JSON becomes, and which lines say the same.
//!
//! Invariant: every case goes through the door of `door.rs`, which builds everything anew from a configuration.
//! Not here: characters, UUIDs and texts of time, which have their tables beside their code.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod array;
mod bad_input;
mod catalog;
mod content_hash;
mod dedupe_key;
mod door;
mod events;
mod mapping;
mod moments;
mod order_free;
mod recovery;
mod shapes;
mod sums;
