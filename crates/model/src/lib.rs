//! The nouns of adsum: events and records, ids, time and money, the catalog, tables of additive rows.
//!
//! Invariant: no I/O, no async, no clock, no thread. Everything else depends on this crate; it depends on none of ours.

pub mod campaigns;
pub mod catalog;
pub mod distinct;
pub mod hash;
pub mod id;
pub mod ledger;
pub mod prefetch;
pub mod record;
pub mod replay;
pub mod rows;
pub mod scattered;
mod short;
pub mod state;
pub mod symbol;
pub mod table;
pub mod time;
pub mod wire;
