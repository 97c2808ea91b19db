//! An operator's word that the wall clock is right.

use std::sync::Arc;

use axum::extract::{Json, State};
use serde_json::{Value, json};

use crate::act::{Act, Action, Actor};
use crate::http::{Problem, Routes, owned};
use crate::service::Service;

pub(super) fn router() -> Routes {
    Routes::new().post("/v1/clock/confirm", confirm)
}

/// Ends a doubt by a record of the log. `confirmed` says whether there was one. The word is on record before it works.
async fn confirm(State(service): State<Arc<Service>>, actor: Actor) -> Result<Json<Value>, Problem> {
    let confirmed = owned(async move {
        let detail = json!({ "inDoubt": service.clock.is_in_doubt() });
        let act = Act::new(Action::ClockConfirm, "clock", detail);
        service.metadata.turn().await.act(&service, &actor, act, Vec::new()).await?;
        service.writer.confirm_clock().await
    });
    Ok(Json(json!({ "confirmed": confirmed.await? })))
}
