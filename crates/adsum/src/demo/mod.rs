//! The demo's traffic: what a small ad business would send, made up.
//!
//! Invariant: it goes through the same HTTP door as anyone's events, under a token of its own. Not here: the server
//! that takes it in, and what is printed (cli).

mod business;
mod random;
mod traffic;

pub use business::metadata;
pub use traffic::Traffic;
