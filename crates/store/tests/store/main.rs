//! Tests of the aggregate store: one contract for all implementations, then what only files can suffer.

mod contract;
mod crash;
mod damage;
mod oracle;
mod schemas;
