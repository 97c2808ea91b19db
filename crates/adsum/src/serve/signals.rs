//! What the operating system tells the service: stop, stop at once, look at your certificate again.
//!
//! Invariant: the first word ends it in order, the second at once; what was acknowledged is on the disk either way.

use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::http::tls::{RELOAD_EVERY, Tls};

/// The exit code of an end that was not in order.
const ENDED_AT_ONCE: i32 = 1;

/// Listens from now on; a word of `ended`, that a thread ended, is one to stop too.
pub fn listen(stop: watch::Sender<bool>, mut ended: mpsc::Receiver<()>, tls: Option<Arc<Tls>>) -> Result<()> {
    let open = |kind| signal(kind).context("cannot listen to signals");
    let (mut terminate, mut interrupt) = (open(SignalKind::terminate())?, open(SignalKind::interrupt())?);
    let hangup = open(SignalKind::hangup())?;
    tokio::spawn(follow(tls, hangup));
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = ended.recv() => {}
        }
        tracing::info!("stopping");
        stop.send_replace(true);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("told to stop twice: ends at once");
        std::process::exit(ENDED_AT_ONCE);
    });
    Ok(())
}

/// Keeps the certificate up to its files; without one a hang-up changes nothing.
async fn follow(tls: Option<Arc<Tls>>, mut hangup: Signal) {
    let mut again = tokio::time::interval(RELOAD_EVERY);
    loop {
        tokio::select! {
            _ = again.tick() => {}
            _ = hangup.recv() => {}
        }
        if let Some(tls) = tls.clone() {
            // Reading files blocks; a panic there would be a bug that the next look shows again.
            let _ = tokio::task::spawn_blocking(move || tls.reload()).await;
        }
    }
}
