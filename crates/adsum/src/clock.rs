//! The clocks and the randomness of the process: the only place where they are read.

#![allow(clippy::disallowed_methods, reason = "this is the place that the lint points to")]

use std::time::{SystemTime, UNIX_EPOCH};

use adsum_model::time::ReceivedAt;

/// The wall clock.
pub fn now() -> ReceivedAt {
    let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_micros() as i64,
        Err(before) => -(before.duration().as_micros() as i64),
    };
    ReceivedAt::from_micros(micros)
}

/// Random bytes of the operating system.
pub fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("the operating system gives no random bytes: {e}"))?;
    Ok(bytes)
}
