//! Routes: a router that knows what is on it.
//!
//! Invariant: a route without an entry in [`super::access::ENDPOINTS`] keeps the service from starting, so nobody can
//! forget to say who may call what.

use std::sync::Arc;

use anyhow::{Result, bail};
use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodRouter, delete, get, post, put};
use http::StatusCode;

use super::Problem;
use super::access::{ENDPOINTS, Endpoint};
use crate::service::Service;

/// The routes of an interface.
pub struct Routes<S = Arc<Service>> {
    router: Router<S>,
    /// Method and path of each.
    known: Vec<(&'static str, String)>,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// None yet.
    pub fn new() -> Self {
        Self { router: Router::new(), known: Vec::new() }
    }

    /// The same, given what their handlers work with.
    pub fn with_state<T>(self, state: S) -> Routes<T> {
        Routes { router: self.router.with_state(state), known: self.known }
    }

    /// GET, and HEAD with it.
    #[must_use]
    pub fn get<T: 'static>(self, path: &str, handler: impl Handler<T, S>) -> Self {
        self.add("GET", path, get(handler))
    }

    /// GET alone: a look at the head of an address, as previews take it, is answered 405.
    #[must_use]
    pub fn get_only<T: 'static>(self, path: &str, handler: impl Handler<T, S>) -> Self {
        self.add("GET", path, get(handler).head(no_head))
    }

    /// POST.
    #[must_use]
    pub fn post<T: 'static>(self, path: &str, handler: impl Handler<T, S>) -> Self {
        self.add("POST", path, post(handler))
    }

    /// PUT.
    #[must_use]
    pub fn put<T: 'static>(self, path: &str, handler: impl Handler<T, S>) -> Self {
        self.add("PUT", path, put(handler))
    }

    /// DELETE.
    #[must_use]
    pub fn delete<T: 'static>(self, path: &str, handler: impl Handler<T, S>) -> Self {
        self.add("DELETE", path, delete(handler))
    }

    /// These and those.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.known.extend(other.known);
        Self { router: self.router.merge(other.router), known: self.known }
    }

    /// The endpoints of the table that are on none of them.
    pub fn unserved(&self) -> impl Iterator<Item = &'static Endpoint> {
        let served =
            |e: &Endpoint| self.known.iter().any(|(method, path)| (*method, path.as_str()) == (e.method, e.path));
        ENDPOINTS.iter().filter(move |e| !served(e))
    }

    /// The router; an error names a route that the table of endpoints does not have.
    pub fn into_router(self) -> Result<Router<S>> {
        for (method, path) in self.known {
            if Endpoint::find(method, &path).is_none() {
                bail!("{method} {path} is no entry of the table of endpoints: nobody has said who may call it");
            }
        }
        Ok(self.router)
    }

    pub(super) fn add(mut self, method: &'static str, path: &str, handler: MethodRouter<S>) -> Self {
        self.known.push((method, path.to_owned()));
        Self { router: self.router.route(path, handler), known: self.known }
    }
}

async fn no_head() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "only GET is answered here")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_table_and_not_served_is_named() {
        let nothing = || async {};
        let names = |routes: &Routes| routes.unserved().map(|e| (e.method, e.path)).collect::<Vec<_>>();
        let health = Routes::new().get("/healthz", nothing);
        assert_eq!(names(&Routes::new()).len(), ENDPOINTS.len());
        assert_eq!(names(&health), names(&Routes::new())[1..]);
    }

    #[test]
    fn a_route_without_an_entry_is_refused() {
        let nothing = || async {};
        let cases = [
            (Routes::<()>::new().get("/healthz", nothing), None),
            (Routes::<()>::new().put("/v1/ads/{id}", nothing).get("/v1/ads/{id}", nothing), None),
            (Routes::<()>::new().post("/healthz", nothing), Some("POST /healthz")),
            (Routes::<()>::new().get("/v1/ads/{adId}", nothing), Some("GET /v1/ads/{adId}")),
            (Routes::<()>::new().merge(Routes::new().delete("/v1/secrets", nothing)), Some("DELETE /v1/secrets")),
        ];
        for (routes, named) in cases {
            let refused = routes.into_router().err().map(|e| e.to_string());
            assert_eq!(refused.is_some(), named.is_some());
            assert!(refused.unwrap_or_default().starts_with(named.unwrap_or_default()));
        }
    }
}
