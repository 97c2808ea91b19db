//! The contract of a disk, and what the faulty one loses.
//!
//! Invariant: both disks pass the same clauses. Not here: what log and store make of a disk.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "this is all test code: a panic is a failed test")]

mod contract;
mod faulty;
