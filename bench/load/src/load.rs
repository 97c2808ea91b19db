//! The load: which connection sends next, and when.
//!
//! Invariant: at a rate a request is timed from when it was due, whether or not a connection was free then, so that a
//! server that stalls cannot hide it. Not here: reading and writing (connection).

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use mio::{Events, Interest, Poll, Token};

use crate::bodies::Bodies;
use crate::connection::Connection;
use crate::outcome::Sent;

/// How requests follow each other.
pub struct Pace {
    /// Connections.
    pub connections: usize,
    /// Requests a second; none: as fast as answers come.
    pub per_second: Option<u64>,
}

/// Sends all bodies and comes back when the last is answered.
pub fn run(address: SocketAddr, bodies: &mut Bodies, pace: &Pace) -> Result<Sent> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(pace.connections.max(1));
    let mut connections = (0..pace.connections.max(1)).map(|_| Connection::new(address)).collect::<Result<Vec<_>>>()?;
    for (i, connection) in connections.iter_mut().enumerate() {
        poll.registry().register(&mut connection.socket, Token(i), Interest::READABLE | Interest::WRITABLE)?;
    }
    let mut idle: Vec<usize> = (0..connections.len()).collect();
    let mut sent = Sent::default();
    let begun = Instant::now();
    let due =
        |number: u64| pace.per_second.map(|rate| begun + Duration::from_nanos(number * 1_000_000_000 / rate.max(1)));
    let (mut next, mut more) = (0_u64, true);
    loop {
        while more && !idle.is_empty() {
            let now = Instant::now();
            let at = due(next).unwrap_or(now);
            if at > now {
                break;
            }
            let Some(request) = bodies.next() else {
                more = false;
                break;
            };
            if let Some(i) = idle.pop() {
                connections[i].send(&request.head, request.body, at, request.events)?;
            }
            next += 1;
        }
        if !more && idle.len() == connections.len() {
            break;
        }
        let wait =
            due(next).filter(|_| more && !idle.is_empty()).map(|at| at.saturating_duration_since(Instant::now()));
        match poll.poll(&mut events, wait) {
            // A signal that is none of ours, of a profiler for example.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            let i = event.token().0;
            // The sockets are told of ends of writing too, when nothing may be under way.
            if connections[i].under_way.is_none() {
                continue;
            }
            if let Some(counts) = connections[i].go_on()? {
                if let Some((due, _)) = connections[i].under_way.take() {
                    sent.answered(due.elapsed(), &counts);
                }
                idle.push(i);
            }
        }
    }
    sent.elapsed = begun.elapsed();
    Ok(sent)
}
