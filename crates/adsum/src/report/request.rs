//! What a request for a report asks for, checked: what it may ask, how far, and of which campaigns.
//!
//! Invariant: a [`Request`] that was made asks for aligned, bounded ranges of known dimensions, and of a token of one
//! advertiser for its campaigns only. Limits of range bind HTTP alone.

use adsum_model::time::BucketStart;
use anyhow::Result;

use super::cursor::{Cursor, OrderBy};
use super::params::{Filters, Params};
use super::query::Query;
use super::refused::Refused;
use super::window::{Granularity, TimeZone};

/// The most dimensions that rows are split by.
const DIMENSIONS_MAX: usize = 4;
/// Rows of a page, if not said, and at most.
const LIMIT: usize = 1_000;
const LIMIT_MAX: usize = 10_000;

const DAY_SECONDS: i64 = 86_400;
/// A change of clocks may make a range so much longer than its days.
const CLOCK_CHANGE_SECONDS: i64 = 3_600;

const KNOWN: &str =
    "from, to, granularity, dimensions, timeZone, filter.<dimension>, orderBy, limit, cursor, asOf, finalizedOnly";

/// A question for a report.
#[derive(Debug)]
pub struct Request {
    /// What is asked.
    pub query: Query,
    /// In which order; by time and keys if none is given.
    pub order_by: Option<OrderBy>,
    /// Rows of the page.
    pub limit: usize,
    /// Where the page goes on.
    pub cursor: Option<Cursor>,
    /// Whether any of `orderBy`, `limit` and `cursor` was given: they are for pages, not for streams.
    pub paged: Option<&'static str>,
}

/// Of which campaigns a request may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Of one: the path's.
    Campaign(String),
    /// Of these: its token's.
    Campaigns(Vec<String>),
    /// Of all.
    All,
}

impl Scope {
    /// Restricts filters to what may be seen.
    pub fn restrict(&self, filters: &mut Filters) -> Result<()> {
        const CAMPAIGN: &str = "campaignId";
        let at = filters.iter().position(|(name, _)| name == CAMPAIGN);
        let seen = match self {
            Self::All => return Ok(()),
            Self::Campaign(_) if at.is_some() => {
                let detail = "the path names the campaign; leave the filter out, or ask /v1/reports";
                return Err(Refused::new("repeated_parameter", "filter.campaignId", detail).into());
            }
            Self::Campaign(id) => std::slice::from_ref(id),
            Self::Campaigns(ids) => ids,
        };
        match at {
            Some(at) => filters[at].1.retain(|value| value.as_ref().is_some_and(|id| seen.contains(id))),
            None => filters.push((CAMPAIGN.to_owned(), seen.iter().cloned().map(Some).collect())),
        }
        Ok(())
    }
}

impl Request {
    /// Reads the parameters of a report; `dimensions` are those that rows are split by if nothing is said.
    pub fn read(mut params: Params, bucket_seconds: i64, dimensions: &[&str], scope: &Scope) -> Result<Self> {
        unavailable(&mut params)?;
        let zone = params.zone()?;
        let (from, to) = params.range(&zone)?;
        let granularity = granularity(&mut params)?;
        check_range(&zone, granularity, bucket_seconds, from, to)?;
        let by = match params.take("dimensions")? {
            None => dimensions.iter().map(|d| (*d).to_owned()).collect(),
            Some(text) => text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect::<Vec<_>>(),
        };
        if by.len() > DIMENSIONS_MAX {
            let detail = format!("{} are too many: rows are split by at most {DIMENSIONS_MAX}", by.len());
            return Err(Refused::new("too_many_dimensions", "dimensions", detail).into());
        }
        let mut filters = params.filters();
        scope.restrict(&mut filters)?;
        let order_by = params.take("orderBy")?;
        let limit = params.take("limit")?;
        let cursor = params.take("cursor")?;
        let paged = [("orderBy", &order_by), ("limit", &limit), ("cursor", &cursor)];
        let paged = paged.into_iter().find(|(_, value)| value.is_some()).map(|(name, _)| name);
        let limit = match limit {
            None => LIMIT,
            Some(text) => (text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten())
                .filter(|n| (1..=LIMIT_MAX).contains(n))
                .ok_or_else(|| {
                    Refused::new("invalid_limit", "limit", format!("{text:?} is no number from 1 to {LIMIT_MAX}"))
                })?,
        };
        params.finish(KNOWN)?;
        let query = Query { granularity, by, filters, from: Some(from), to: Some(to), zone };
        let order_by = order_by.map(OrderBy::parse);
        let cursor = cursor.map(|text| Cursor::read(&text, &query, order_by.as_ref())).transpose()?;
        Ok(Self { query, order_by, limit, cursor, paged })
    }
}

/// What only the lake can answer.
fn unavailable(params: &mut Params) -> Result<()> {
    for (name, code) in [("asOf", "as_of_unavailable"), ("finalizedOnly", "finalized_only_unavailable")] {
        if params.take(name)?.is_some_and(|value| value != "false") {
            let detail = "nothing is finalized yet, so only the present revision can be asked; leave it out";
            return Err(Refused::new(code, name, detail).into());
        }
    }
    Ok(())
}

fn granularity(params: &mut Params) -> Result<Granularity> {
    let Some(name) = params.take("granularity")? else { return Ok(Granularity::Hour) };
    let found = Granularity::NAMED.into_iter().find(|(n, _)| *n == name).map(|(_, granularity)| granularity);
    let wrong = || {
        let names = Granularity::NAMED.map(|(n, _)| n).join(", ");
        Refused::new("unknown_granularity", "granularity", format!("{name:?} is none of {names}"))
    };
    Ok(found.ok_or_else(wrong)?)
}

/// The ends of a range must be where buckets begin, and not too far apart.
pub fn check_range(
    zone: &TimeZone,
    granularity: Granularity,
    bucket_seconds: i64,
    from: BucketStart,
    to: BucketStart,
) -> Result<()> {
    for (name, at) in [("from", from), ("to", to)] {
        let aligned = match granularity {
            Granularity::Bucket | Granularity::Range => at.seconds().rem_euclid(bucket_seconds) == 0,
            _ => zone.is_start(at, granularity)?,
        };
        if !aligned {
            let bucket = match granularity {
                Granularity::Bucket | Granularity::Range => format!("bucket of {bucket_seconds} s"),
                named => format!("{named:?}").to_lowercase(),
            };
            let detail = format!("no {bucket} begins there in {}; move it to where one does", zone.name());
            return Err(Refused::new("misaligned", name, detail).into());
        }
    }
    let (days_max, further) = match granularity {
        Granularity::Bucket | Granularity::Minute => (7, "; ask for hours or days, or for a shorter range"),
        Granularity::Hour => (92, "; ask for days, or for a shorter range"),
        Granularity::Day | Granularity::Range => (5 * 366, "; ask for a shorter range"),
    };
    if to.seconds() - from.seconds() > days_max * DAY_SECONDS + CLOCK_CHANGE_SECONDS {
        let detail = format!("the range is longer than the {days_max} days that this granularity may have{further}");
        return Err(Refused::new("range_too_long", "to", detail).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(error: anyhow::Error) -> (&'static str, Option<String>) {
        let refused = error.downcast::<Refused>().unwrap();
        (refused.code, refused.param)
    }

    #[test]
    fn a_token_of_one_advertiser_asks_for_its_campaigns_only() {
        let mine = Scope::Campaigns(vec!["camp_1".to_owned(), "camp_2".to_owned()]);
        let one = Scope::Campaign("camp_1".to_owned());
        let values = |list: &[&str]| list.iter().map(|v| (!v.is_empty()).then(|| (*v).to_owned())).collect::<Vec<_>>();
        for (scope, query, want) in [
            (&Scope::All, "", None),
            (&Scope::All, "&filter.campaignId=camp_9", Some(values(&["camp_9"]))),
            (&mine, "", Some(values(&["camp_1", "camp_2"]))),
            (&mine, "&filter.campaignId=camp_2", Some(values(&["camp_2"]))),
            (&mine, "&filter.campaignId=camp_9&filter.campaignId=camp_1", Some(values(&["camp_1"]))),
            // Somebody else's alone: nothing at all, as if it had no events.
            (&mine, "&filter.campaignId=camp_9", Some(Vec::new())),
            // Events without a campaign belong to nobody.
            (&mine, "&filter.campaignId=", Some(Vec::new())),
            (&Scope::Campaigns(Vec::new()), "", Some(Vec::new())),
            (&one, "&filter.country=US", Some(values(&["camp_1"]))),
        ] {
            let text = format!("from=2026-11-20&to=2026-11-21{query}");
            let request = Request::read(Params::parse(Some(&text)).unwrap(), 60, &["campaignId"], scope).unwrap();
            let got = request.query.filters.into_iter().find(|(name, _)| name == "campaignId").map(|(_, v)| v);
            assert_eq!(got, want, "{scope:?} {query}");
        }
        let text = "from=2026-11-20&to=2026-11-21&filter.campaignId=camp_2";
        let error = Request::read(Params::parse(Some(text)).unwrap(), 60, &[], &one).unwrap_err();
        assert_eq!(refused(error), ("repeated_parameter", Some("filter.campaignId".to_owned())));
    }

    #[test]
    fn ranges_are_aligned_in_the_zone_and_bounded() {
        use Granularity::{Bucket, Day, Hour, Minute, Range};
        let check = |zone: &str, granularity, bucket_seconds, from: &str, to: &str| {
            let zone = TimeZone::named("timeZone", zone).unwrap();
            let at = |text: &str| zone.moment("at", text).unwrap();
            check_range(&zone, granularity, bucket_seconds, at(from), at(to)).err().map(|e| refused(e).0)
        };
        for (zone, granularity, from, to, want) in [
            ("UTC", Hour, "2026-11-20T10:00:00Z", "2026-11-20T11:00:00Z", None),
            ("UTC", Hour, "2026-11-20T10:30:00Z", "2026-11-20T11:00:00Z", Some("misaligned")),
            ("Asia/Kathmandu", Hour, "2026-11-20T10:15:00Z", "2026-11-20T11:15:00Z", None),
            ("Asia/Kathmandu", Hour, "2026-11-20T10:00:00Z", "2026-11-20T11:15:00Z", Some("misaligned")),
            ("Europe/London", Day, "2026-03-29", "2026-03-30", None),
            ("Europe/London", Day, "2026-07-01T00:00:00Z", "2026-07-02", Some("misaligned")),
            ("UTC", Minute, "2026-11-20T10:00:30Z", "2026-11-20T11:00:00Z", Some("misaligned")),
            ("UTC", Minute, "2026-10-20", "2026-11-19", Some("range_too_long")),
            ("UTC", Minute, "2026-11-01", "2026-11-08", None),
            // A week in which clocks go back is an hour longer.
            ("Europe/London", Minute, "2026-10-20", "2026-10-27", None),
            ("UTC", Bucket, "2026-11-01", "2026-11-09", Some("range_too_long")),
            ("UTC", Hour, "2026-01-01", "2026-04-03", None),
            ("UTC", Hour, "2026-01-01", "2026-04-04", Some("range_too_long")),
            ("UTC", Day, "2021-01-01", "2026-01-01", None),
            ("UTC", Day, "2020-01-01", "2026-01-01", Some("range_too_long")),
            ("UTC", Range, "2026-11-20T10:01:00Z", "2026-11-20T10:02:00Z", None),
        ] {
            assert_eq!(check(zone, granularity, 60, from, to), want, "{zone} {granularity:?} {from} {to}");
        }
        assert_eq!(check("UTC", Bucket, 10, "2026-11-20T10:00:10Z", "2026-11-20T10:00:20Z"), None);
        assert_eq!(check("UTC", Bucket, 10, "2026-11-20T10:00:15Z", "2026-11-20T10:00:20Z"), Some("misaligned"));
    }
}
