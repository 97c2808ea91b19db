//! `GET /v1/reports` and `GET /v1/reports/campaigns/{campaignId}`.

use std::sync::Arc;

use anyhow::Result;
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::HeaderMap;

use super::cursor::Order;
use super::desk::{Desk, no_campaign};
use super::json;
use super::page::{PageAsked, page};
use super::params::Params;
use super::query::plan;
use super::refused::{Refused, problem};
use super::request::{Request, Scope};
use super::stream::{Encoding, stream};
use crate::http::{Principal, Problem};

/// Rows of one campaign.
pub async fn campaign(
    State(desk): State<Arc<Desk>>,
    Extension(principal): Extension<Principal>,
    campaign: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path(campaign) = campaign.map_err(|_| no_campaign())?;
    let encoding = Encoding::accepted(&headers)?;
    let request = read(&desk, query.as_deref(), &[], &Scope::Campaign(campaign.clone())).map_err(problem)?;
    desk.check_campaign(&principal, &campaign).await?;
    answer(&desk, request, encoding).await
}

/// Rows of all campaigns that the token may see.
pub async fn all(
    State(desk): State<Arc<Desk>>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let encoding = Encoding::accepted(&headers)?;
    let scope = desk.scope(&principal);
    let request = read(&desk, query.as_deref(), &["campaignId"], &scope).map_err(problem)?;
    answer(&desk, request, encoding).await
}

fn read(desk: &Desk, query: Option<&str>, dimensions: &[&str], scope: &Scope) -> Result<Request> {
    Request::read(Params::parse(query)?, desk.service.catalog.bucket_seconds(), dimensions, scope)
}

async fn answer(desk: &Desk, request: Request, encoding: Encoding) -> Result<Response, Problem> {
    let Request { query, order_by, limit, cursor, paged } = request;
    let planned = plan(&desk.service.catalog, desk.complete().await?, query.clone()).map_err(problem)?;
    if encoding == Encoding::Json {
        let order = Order::of(order_by.as_ref(), &planned.report).map_err(problem)?;
        let asked = PageAsked { query, limit, order_by, order, cursor };
        return Ok(json(page(desk, planned, asked).await?));
    }
    if let Some(name) = paged {
        let detail = "a stream holds all rows, by time; leave it out, or ask for application/json";
        return Err(Refused::new("not_in_a_stream", name, detail).into());
    }
    stream(desk, planned, encoding).await
}
