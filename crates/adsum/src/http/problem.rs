//! Error answers: RFC 9457 problem documents with a stable code.
//!
//! Invariant: the detail never holds a token or another tenant's id, and `param` names the field, the query parameter
//! or the header that is wrong. The request's id is added where the answer leaves (server).

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::{Map, Value, json};

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// What is wrong, stable: part of the API.
    pub code: &'static str,
    /// One sentence for a person: what is wrong and what to do.
    pub detail: String,
    /// The field, parameter or header that it is about.
    pub param: Option<String>,
    /// When to try again, in seconds.
    pub retry_after_seconds: Option<u32>,
}

impl Problem {
    /// An error with this status, code and sentence.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), param: None, retry_after_seconds: None }
    }

    /// The same, about a parameter.
    #[must_use]
    pub fn about(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// The same, to be tried again after so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// 400: the request is wrong.
    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 404: no such thing, or none that the token may see.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// 503: not now.
    pub fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(1)
    }

    /// 500: our fault. What happened belongs in the log, not in the answer.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something went wrong here; the log says what")
    }

    /// The document, with the request's id where it is known.
    pub fn document(&self, request_id: Option<&str>) -> Value {
        let mut document = Map::new();
        document.insert("type".to_owned(), json!("about:blank"));
        document.insert("title".to_owned(), json!(self.status.canonical_reason().unwrap_or("Error")));
        document.insert("status".to_owned(), json!(self.status.as_u16()));
        document.insert("detail".to_owned(), json!(self.detail));
        document.insert("code".to_owned(), json!(self.code));
        if let Some(param) = &self.param {
            document.insert("param".to_owned(), json!(param));
        }
        if let Some(id) = request_id {
            document.insert("requestId".to_owned(), json!(id));
        }
        Value::Object(document)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self.document(None).to_string();
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        // The server adds the request's id and logs the code.
        response.extensions_mut().insert(self);
        response
    }
}
