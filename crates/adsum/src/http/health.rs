//! Health: whether the process lives, whether it takes requests, and its metrics.
//!
//! Invariant: ready means that an event sent now would be taken; a process that stops, or whose disk refuses, is not.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::header;

use super::{Problem, Routes};
use crate::service::Service;

/// Its routes.
pub fn routes() -> Routes {
    Routes::new().get("/healthz", healthz).get("/readyz", readyz).get("/metrics", metrics)
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(service): State<Arc<Service>>) -> Result<&'static str, Problem> {
    if service.guard.stopping.has_begun() {
        return Err(Problem::unavailable("stopping", "the process is stopping"));
    }
    if service.writer.is_refused() {
        return Err(Problem::unavailable(
            "log_unavailable",
            "the log takes nothing at the moment; its disk may be full",
        ));
    }
    Ok("ready\n")
}

async fn metrics(State(service): State<Arc<Service>>) -> impl IntoResponse {
    let text = service.guard.exporter.render(&service);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}
