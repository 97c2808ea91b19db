//! What every HTTP interface of the binary shares: errors, roles, limits, the server itself.
//!
//! Invariant: every error answer is a problem document with a code, and every route stands in the table of
//! [`access::ENDPOINTS`]. Not here: what an interface does (collect, report, metadata).

pub mod access;
pub mod problem;

pub use access::{Principal, Role};
pub use problem::Problem;
