//! The service from outside: the real process, real sockets.

pub mod backup;
pub mod demo;
pub mod imports;
pub mod quarantine;
pub mod server;
