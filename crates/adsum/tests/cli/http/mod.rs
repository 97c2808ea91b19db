//! The service from outside: the real process, real sockets.

pub mod collect;
pub mod collect_events;
pub mod collect_send;
pub mod collect_site;
pub mod server;
