//! The service from outside: the real process, real sockets.

pub mod access;
pub mod metrics;
mod open_bandit;
pub mod server;
pub mod shell;
pub mod tls;
