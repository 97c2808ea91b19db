//! The service from outside: the real process, real sockets.

mod access;
mod audit;
mod backup;
mod clock_doubt;
mod collect;
mod collect_events;
mod collect_gone;
mod collect_send;
mod collect_site;
mod demo;
mod imports;
mod imports_memory;
mod kills;
mod metadata;
mod metrics;
mod open_bandit;
mod quarantine;
mod reports;
mod reports_live;
mod reports_refused;
pub mod server;
mod shell;
mod tenants;
mod terms;
mod tls;
mod visible;
