//! Pages of lists: `limit`, and an opaque `cursor` that goes on where the last page ended.
//!
//! Invariant: a cursor names the last thing shown, so what is put or taken away meanwhile moves nothing else in or out
//! of later pages.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::http::Problem;

/// Rows of a page where nothing is asked for.
const LIMIT: usize = 100;
/// Rows of a page at most.
const LIMIT_MAX: usize = 1_000;

/// Which page is asked for.
#[derive(Debug)]
pub struct Page {
    /// What the last page ended with; empty on the first page.
    pub after: String,
    /// How many rows it may have.
    pub limit: usize,
}

impl Page {
    /// Of a query.
    pub fn of(query: Option<&str>) -> Result<Self, Problem> {
        let (mut limit, mut after) = (None, None);
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let twice = || Problem::bad_request("repeated_parameter", "a parameter stands once").about(&*name);
            match &*name {
                "limit" => {
                    let number = value.parse().ok().filter(|n| (1..=LIMIT_MAX).contains(n)).ok_or_else(|| {
                        let detail = format!("a whole number from 1 to {LIMIT_MAX}");
                        Problem::bad_request("out_of_range", detail).about("limit")
                    })?;
                    if limit.replace(number).is_some() {
                        return Err(twice());
                    }
                }
                "cursor" => {
                    let bytes = BASE64_URL_SAFE_NO_PAD.decode(&*value).ok();
                    let text = bytes.and_then(|b| String::from_utf8(b).ok()).filter(|t| !t.is_empty());
                    let bad = || Problem::bad_request("invalid_cursor", "no cursor of this list").about("cursor");
                    if after.replace(text.ok_or_else(bad)?).is_some() {
                        return Err(twice());
                    }
                }
                other => {
                    return Err(Problem::bad_request("unknown_parameter", "there is no such parameter").about(other));
                }
            }
        }
        Ok(Self { after: after.unwrap_or_default(), limit: limit.unwrap_or(LIMIT) })
    }

    /// How many to look for: one more tells whether there is another page.
    pub fn probe(&self) -> usize {
        self.limit + 1
    }

    /// The answer: of each thing what to go on from, and what is shown.
    pub fn answer(&self, mut found: Vec<(String, Value)>) -> Value {
        let more = found.len() > self.limit;
        found.truncate(self.limit);
        let next = found.last().filter(|_| more).map(|(key, _)| BASE64_URL_SAFE_NO_PAD.encode(key));
        let items: Vec<Value> = found.into_iter().map(|(_, item)| item).collect();
        json!({ "items": items, "nextCursor": next })
    }
}
