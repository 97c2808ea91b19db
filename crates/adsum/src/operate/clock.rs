//! An operator's word that the wall clock is right.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Json, State};
use axum::routing::post;
use serde_json::{Value, json};

use crate::http::Problem;
use crate::service::Service;

pub(super) fn router() -> Router<Arc<Service>> {
    Router::new().route("/v1/clock/confirm", post(confirm))
}

/// Ends a doubt by a record of the log. `confirmed` says whether there was one.
async fn confirm(State(service): State<Arc<Service>>) -> Result<Json<Value>, Problem> {
    let confirmed = service.writer.confirm_clock().await?;
    Ok(Json(json!({ "confirmed": confirmed })))
}
