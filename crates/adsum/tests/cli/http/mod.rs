//! The service from outside: the real process, real sockets.

mod open_bandit;
pub mod server;
