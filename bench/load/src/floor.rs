//! The floors: a bare axum server that answers 202 and keeps nothing.
//!
//! What is slower than this pays for validating, counting and keeping; what is nearly as fast pays little. Not here:
//! anything of adsum's own.

use std::io::Read;
use std::net::SocketAddr;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use flate2::read::GzDecoder;
use serde::Deserialize;

/// The largest body.
const BODY_BYTES_MAX: usize = 16 << 20;

/// What is done with a body before the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Work {
    /// Nothing.
    Acknowledge,
    /// Each line is parsed (sonic-rs, the fields of the job) and thrown away.
    Parse,
    /// The body is decompressed and thrown away.
    Inflate,
    /// Both.
    InflateParse,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "what is parsed is thrown away")]
struct Line<'a> {
    event_id: &'a str,
    event_type: &'a str,
    occurred_at: &'a str,
    campaign_id: &'a str,
    publisher_id: &'a str,
    country: &'a str,
    device_type: &'a str,
    price_micros: u64,
}

/// Serves until it is killed.
pub fn serve(listen: SocketAddr, work: Work) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let app = Router::new()
            .route("/v1/events/collect", post(collect))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(work);
        let listener =
            tokio::net::TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
        axum::serve(listener, app).await.context("the server ended")
    })
}

async fn collect(State(work): State<Work>, body: Bytes) -> StatusCode {
    let text = match work {
        Work::Acknowledge => return StatusCode::ACCEPTED,
        Work::Parse => None,
        Work::Inflate | Work::InflateParse => {
            let mut text = Vec::new();
            if GzDecoder::new(&body[..]).read_to_end(&mut text).is_err() {
                return StatusCode::BAD_REQUEST;
            }
            Some(text)
        }
    };
    if work == Work::Inflate {
        return StatusCode::ACCEPTED;
    }
    let lines = text.as_deref().unwrap_or(&body).split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let good = lines.filter(|line| sonic_rs::from_slice::<Line<'_>>(line).is_ok()).count();
    // What was parsed is used, so that the compiler cannot leave it out.
    if good == usize::MAX { StatusCode::BAD_REQUEST } else { StatusCode::ACCEPTED }
}
