//! How soon a single event is in a report: sent on a connection of its own, and asked for until it is counted.
//!
//! Invariant: timed from its 202 to the end of the answer that counts it.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow};

use crate::connection::number;
use crate::ledger::exchange;
use crate::outcome::Counts;

/// Between a report and the next event.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two questions for the same event.
const RETRY: Duration = Duration::from_millis(2);

/// What the probes came to.
pub struct Probed {
    /// From each 202 to the report.
    pub latencies: Vec<Duration>,
}

impl Probed {
    /// The events that they were.
    pub fn counts(&self) -> Counts {
        let sent = self.latencies.len() as u64;
        Counts { received: sent, accepted: sent, rejected: 0 }
    }
}

/// A thread that probes until it is told to stop.
pub struct Prober {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Probed>>,
}

/// Begins to probe.
pub fn begin(address: SocketAddr, token: &str) -> anyhow::Result<Prober> {
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, token) = (stop.clone(), token.to_owned());
    let socket = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    socket.set_nodelay(true)?;
    let thread = std::thread::spawn(move || probe(socket, &token, &stopped));
    Ok(Prober { stop, thread })
}

impl Prober {
    /// Ends with the probe under way.
    pub fn end(self) -> anyhow::Result<Probed> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|_| Err(anyhow!("the probing thread panicked")))
    }
}

fn probe(mut socket: TcpStream, token: &str, stopped: &AtomicBool) -> anyhow::Result<Probed> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let campaign = format!("probe_{}", since.as_micros());
    // The whole hours around every probe.
    let hour = since.as_secs() / 3600 * 3600;
    let report = format!(
        "GET /v1/reports/campaigns/{campaign}?from={}&to={}&granularity=hour HTTP/1.1\r\nhost: adsum\r\nauthorization: Bearer {token}\r\n\r\n",
        utc(hour),
        utc(hour + 2 * 3600),
    );
    let mut latencies = Vec::new();
    while !stopped.load(Ordering::Relaxed) {
        let sent = latencies.len() as u64 + 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let line = format!(
            "{{\"eventId\":\"{campaign}_{sent}\",\"eventType\":\"impression\",\"occurredAt\":\"{}\",\"campaignId\":\"{campaign}\",\"publisherId\":\"p\",\"country\":\"NO\",\"deviceType\":\"tv\",\"priceMicros\":1}}\n",
            utc(now)
        );
        let request = format!(
            "POST /v1/events/collect HTTP/1.1\r\nhost: adsum\r\nauthorization: Bearer {token}\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n{line}",
            line.len()
        );
        exchange(&mut socket, request.as_bytes(), b"202").context("a probe was not taken")?;
        let acknowledged = Instant::now();
        loop {
            let body = exchange(&mut socket, report.as_bytes(), b"200").context("no report")?;
            if number(&body, b"\"impressions\":") >= sent {
                break;
            }
            std::thread::sleep(RETRY);
        }
        latencies.push(acknowledged.elapsed());
        std::thread::sleep(PAUSE);
    }
    Ok(Probed { latencies })
}

/// A second as `YYYY-MM-DDTHH:MM:SSZ`, by days since 1970 as in Howard Hinnant's `civil_from_days`.
fn utc(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) =
        (day_of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
