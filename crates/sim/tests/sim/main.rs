//! The proofs of the core, small: histories from seeds, defects made on purpose, and the cases of the repository.
//!
//! `cargo xtask prove` runs the same histories by the ten thousand.

mod cases;
mod histories;
mod sabotage;
