//! The service from outside: the real process, real sockets.

pub mod metadata;
pub mod server;
