//! Why a question gets no answer: what is wrong with it, by parameter, and what to do.
//!
//! Invariant: a refusal is the asker's to mend; whatever else goes wrong is another error.

use crate::http::Problem;

/// A question that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong, stable: part of the API.
    pub code: &'static str,
    /// The parameter that it is about, as the API names it.
    pub param: Option<String>,
    /// One sentence: what is wrong and what to do.
    pub detail: String,
}

impl Refused {
    /// A refusal about a parameter.
    pub fn new(code: &'static str, param: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { code, param: Some(param.into()), detail: detail.into() }
    }

    /// A refusal of the question as a whole.
    pub fn whole(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, param: None, detail: detail.into() }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.param {
            Some(param) => write!(f, "{param}: {}", self.detail),
            None => f.write_str(&self.detail),
        }
    }
}

impl std::error::Error for Refused {}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        Self { param: refused.param, ..Self::bad_request(refused.code, refused.detail) }
    }
}

/// The answer to what went wrong: 400 for a refusal, else 500, with what happened in the log.
pub fn problem(error: anyhow::Error) -> Problem {
    match error.downcast::<Refused>() {
        Ok(refused) => refused.into(),
        Err(error) => {
            metrics::counter!("adsum_report_failures_total").increment(1);
            tracing::error!(error = %format!("{error:#}"), "a report failed");
            Problem::internal()
        }
    }
}
