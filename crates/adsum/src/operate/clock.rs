//! An operator's word that the wall clock is right.

use std::sync::Arc;

use axum::extract::{Json, State};
use serde_json::{Value, json};

use crate::http::{Problem, Routes};
use crate::service::Service;

pub(super) fn router() -> Routes {
    Routes::new().post("/v1/clock/confirm", confirm)
}

/// Ends a doubt by a record of the log. `confirmed` says whether there was one.
async fn confirm(State(service): State<Arc<Service>>) -> Result<Json<Value>, Problem> {
    let confirmed = service.writer.confirm_clock().await?;
    Ok(Json(json!({ "confirmed": confirmed })))
}
