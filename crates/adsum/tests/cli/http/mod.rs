//! The service from outside: the real process, real sockets.

pub mod access;
pub mod backup;
pub mod collect;
pub mod collect_events;
pub mod collect_send;
pub mod collect_site;
pub mod demo;
pub mod imports;
pub mod metadata;
pub mod metrics;
mod open_bandit;
pub mod quarantine;
pub mod server;
pub mod shell;
pub mod tls;
