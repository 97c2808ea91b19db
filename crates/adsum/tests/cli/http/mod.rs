//! The service from outside: the real process, real sockets.

pub mod access;
pub mod metrics;
pub mod server;
pub mod shell;
pub mod tls;
