//! The simulator: the shipped loop over a disk that fails, against an oracle that counts everything naively.
//!
//! A seed makes a [`history`]; [`run`] drives it through decoder, limits, log, pipeline and store, kills it wherever
//! the seed says, and compares with the [`oracle`]; [`shrink`] makes a failing history short. [`cases`] runs the text
//! tables of the repository through the same door. What a history goes through:
//!
//! - the disk loses unsynced writes and names, tears blocks, fills up, fails in any single call, and one bit of a copy
//!   of it flips; a slow one is a commit that takes some frames;
//! - requests come late, twice, in another order; clients send again what was acknowledged, or never come back;
//! - clocks jump by minutes, an hour, days and a year, both ways, and the doubt of a clock begins and ends;
//! - 1, 2, 3 or 16 workers, other ones after each start; imports, replays, changes of the metadata at any time.
//!
//! Compared are every cell of every rollup, counts and money, the ledger, the quarantine, the imports' figures, the
//! clocks and the whole log: in half of the histories after every frame, in all at every end, and at last with a fresh
//! fold under another number of workers. Invariant: the same seed, the same history, the same result. Not here:
//! threads, clocks, a real disk.

pub mod cases;
pub mod history;
pub mod oracle;
pub mod picture;
pub mod random;
pub mod run;
pub mod sent;
pub mod setup;
pub mod shrink;
pub mod world;
