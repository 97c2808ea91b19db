//! Work that a request begins and that goes on if its client goes away.
//!
//! Invariant: what a task holds and has half done is never dropped in the middle by a connection that ends.

use super::Problem;

/// Runs `work` to its end as a task of its own.
pub async fn owned<T: Send + 'static>(
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "the work of a request failed");
        Err(Problem::internal())
    })
}
