//! The columns of an answer: the same in JSON, CSV, Arrow and on the terminal.
//!
//! Invariant: counts and metrics come from the catalog, in its order; what is derived (ratios) is derived from sums
//! when read, in integers.

use adsum_model::catalog::{Catalog, MetricKind};

/// How an answer's columns are named.
#[derive(Clone, Debug)]
pub struct Report {
    /// The dimensions asked for, then `currency`.
    pub keys: Vec<String>,
    /// The catalog's columns.
    pub metrics: Vec<String>,
    /// What verdicts took away: of each count, and of the spend. Nothing, as long as there are no verdicts.
    pub invalid: Vec<String>,
    /// Ratios of metrics.
    pub ratios: Vec<Ratio>,
}

/// A ratio of two metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio {
    /// Its name.
    pub name: &'static str,
    over: usize,
    under: usize,
}

/// The columns behind the ratios.
pub const LAST_COLUMNS: [&str; 4] = ["isFinalized", "adjusted", "revision", "freshnessSeconds"];

impl Report {
    /// Of a catalog, split by some dimensions.
    pub fn of(catalog: &Catalog, by: &[String]) -> Self {
        let count_of = |name: &str| {
            catalog.event_type_named(name.as_bytes()).and_then(|ix| catalog.column_of(MetricKind::Count(ix)))
        };
        let ratio =
            |name, over: &str, under: &str| Some(Ratio { name, over: count_of(over)?, under: count_of(under)? });
        let ratios = [ratio("ctr", "click", "impression"), ratio("cvr", "conversion", "click")];
        let takes_away = |kind| matches!(kind, MetricKind::Count(_) | MetricKind::Spend);
        let invalid = catalog.columns().iter().filter(|c| takes_away(c.kind)).map(|c| invalid_name(&c.name));
        Self {
            keys: by.iter().cloned().chain(["currency".to_owned()]).collect(),
            metrics: catalog.columns().iter().map(|c| c.name.clone()).collect(),
            invalid: invalid.collect(),
            ratios: ratios.into_iter().flatten().collect(),
        }
    }

    /// The names of all columns, in order.
    pub fn names(&self) -> Vec<&str> {
        (["bucketStart"].into_iter())
            .chain(self.keys.iter().map(String::as_str))
            .chain(self.metrics.iter().map(String::as_str))
            .chain(self.invalid.iter().map(String::as_str))
            .chain(self.ratios.iter().map(|r| r.name))
            .chain(LAST_COLUMNS)
            .collect()
    }

    /// The place of a metric.
    pub fn metric(&self, name: &str) -> Option<usize> {
        self.metrics.iter().position(|m| m == name)
    }
}

/// `clicks`: `invalidClicks`.
fn invalid_name(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    format!("invalid{}{rest}", first.to_ascii_uppercase())
}

impl Ratio {
    /// Its value in millionths, rounded half up; none where the denominator is 0.
    pub fn millionths(self, values: &[i64]) -> Option<i128> {
        let (over, under) = (i128::from(values[self.over]), i128::from(values[self.under]));
        (under > 0).then(|| (over * 2_000_000 + under) / (under * 2))
    }
}

/// Millionths as a decimal with six digits.
pub fn decimal(millionths: i128) -> String {
    format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_rounded_and_null_where_nothing_is_below() {
        let ratio = Ratio { name: "ctr", over: 1, under: 0 };
        for (values, want) in [([124_400, 1804], Some("0.014502")), ([3, 2], Some("0.666667")), ([0, 5], None)] {
            assert_eq!(ratio.millionths(&values).map(decimal).as_deref(), want);
        }
    }

    #[test]
    fn columns_come_from_the_catalog() {
        let catalog = Catalog::build(&adsum_model::catalog::CatalogSpec::default()).unwrap();
        let report = Report::of(&catalog, &["country".to_owned()]);
        let names = report.names();
        assert_eq!(names[..6], ["bucketStart", "country", "currency", "impressions", "clicks", "conversions"]);
        for name in ["invalidImpressions", "invalidClicks", "invalidConversions", "invalidSpendMicros", "ctr", "cvr"] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        assert_eq!(names.len(), names.iter().collect::<std::collections::BTreeSet<_>>().len());
    }
}
