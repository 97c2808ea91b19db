//! The proofs of the core, small: histories from seeds, a failing one made short, and the cases of the repository.
//!
//! `cargo xtask prove` runs the same histories by the ten thousand and reads the lines that begin with `proved:`.
//! Invariant: what fails names its seed or its case, and comes again from it. Not here: the shipped binary.

#![allow(clippy::print_stdout, reason = "a proof prints what it proved")]

mod added_columns;
mod cases;
mod histories;
mod shrinking;
