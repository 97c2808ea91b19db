//! The parameters of a request's query: each once, none unknown.
//!
//! Invariant: a handler takes the parameters that it knows and then asks [`Params::finish`]; what is left over is
//! refused by name, so that a misspelt filter never widens an answer.

use super::refused::Refused;
use super::window::TimeZone;
use adsum_model::time::BucketStart;
use anyhow::Result;

/// The most parameters of one request.
const PARAMS_MAX: usize = 256;

/// What filters begin with: `filter.country=US`.
const FILTER: &str = "filter.";

/// Parameters that nobody took yet.
pub struct Params {
    left: Vec<(String, String)>,
}

/// Values that dimensions must have, by dimension; none is null.
pub type Filters = Vec<(String, Vec<Option<String>>)>;

impl Params {
    /// Reads the query of a URL.
    pub fn parse(query: Option<&str>) -> Result<Self> {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned();
        let left: Vec<_> = pairs.take(PARAMS_MAX + 1).collect();
        if left.len() > PARAMS_MAX {
            return Err(Refused::whole("too_many_parameters", format!("a query has at most {PARAMS_MAX}")).into());
        }
        Ok(Self { left })
    }

    /// Takes a parameter; one that stands twice is refused.
    pub fn take(&mut self, name: &str) -> Result<Option<String>> {
        let Some(at) = self.left.iter().position(|(n, _)| n == name) else { return Ok(None) };
        let (_, value) = self.left.remove(at);
        if self.left.iter().any(|(n, _)| n == name) {
            return Err(Refused::new("repeated_parameter", name, "it stands twice; give it once").into());
        }
        Ok(Some(value))
    }

    /// Takes a parameter that must be there.
    pub fn require(&mut self, name: &str, example: &str) -> Result<String> {
        let missing = || Refused::new("missing_parameter", name, format!("it is required; write {name}={example}"));
        Ok(self.take(name)?.ok_or_else(missing)?)
    }

    /// Takes a number between two bounds.
    pub fn number(&mut self, name: &str, default: usize, least: usize, most: usize) -> Result<usize> {
        let Some(text) = self.take(name)? else { return Ok(default) };
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|n| digits && (least..=most).contains(n));
        let wrong = || Refused::new("invalid_parameter", name, format!("{text:?} is no number from {least} to {most}"));
        Ok(number.ok_or_else(wrong)?)
    }

    /// Takes the zone; UTC where none is given.
    pub fn zone(&mut self) -> Result<TimeZone> {
        TimeZone::named("timeZone", &self.take("timeZone")?.unwrap_or_else(|| "UTC".to_owned()))
    }

    /// Takes `from` and `to`, both required.
    pub fn range(&mut self, zone: &TimeZone) -> Result<(BucketStart, BucketStart)> {
        let mut moment = |name: &str| zone.moment(name, &self.require(name, "2026-11-21T08:00:00Z")?);
        let (from, to) = (moment("from")?, moment("to")?);
        if from >= to {
            return Err(Refused::new("invalid_range", "from", "it must lie before `to`").into());
        }
        Ok((from, to))
    }

    /// Takes every `filter.<dimension>=value`: of one dimension any of its values, an empty one is null.
    pub fn filters(&mut self) -> Filters {
        let mut filters = Filters::new();
        let (taken, left) = std::mem::take(&mut self.left).into_iter().partition(|(n, _)| n.starts_with(FILTER));
        self.left = left;
        let taken: Vec<(String, String)> = taken;
        for (name, value) in taken {
            let (name, value) = (name[FILTER.len()..].to_owned(), (!value.is_empty()).then_some(value));
            match filters.iter_mut().find(|(n, _)| *n == name) {
                Some((_, values)) => values.push(value),
                None => filters.push((name, vec![value])),
            }
        }
        filters
    }

    /// Refuses what nobody took; `known` says what there is.
    pub fn finish(self, known: &str) -> Result<()> {
        match self.left.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => {
                let detail = format!("there is no such parameter here; there are {known}");
                Err(Refused::new("unknown_parameter", name, detail).into())
            }
        }
    }
}
