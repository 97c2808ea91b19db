//! Tests of the loop that need a log and a store. Histories and cases are the simulator's.

#![allow(clippy::unwrap_used, reason = "tests end where something is not as it should be")]

mod ended_keys;
mod limits;
mod many_values;
