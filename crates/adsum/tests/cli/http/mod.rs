//! The service from outside: the real process, real sockets.

pub mod metadata;
pub mod metadata_kept;
pub mod server;
