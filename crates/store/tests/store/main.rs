//! Tests of the aggregate store: one contract for all implementations, then what only files can suffer.

#![allow(clippy::print_stdout, reason = "a proof says what it has shown")]
#![allow(clippy::unwrap_used, reason = "tests end where something is not as it should be")]

mod contract;
mod crash;
mod damage;
mod oracle;
mod schemas;
mod stripes;
mod sums;
