//! The service from outside: the real process, real sockets.

pub mod reports;
pub mod reports_live;
pub mod reports_refused;
pub mod server;
