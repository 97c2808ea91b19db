//! Buckets of a report: minutes, hours and days of any IANA time zone.
//!
//! Invariant: every stored bucket falls into exactly one bucket of a report; a day begins at the zone's first instant
//! of that date, an hour at its full hour, and an hour that a clock change repeats is two buckets.

use std::ops::RangeInclusive;

use adsum_model::time::{BucketStart, MICROS_MAX, MICROS_MIN, MICROS_PER_SECOND};
use anyhow::{Context, Result, anyhow};
use jiff::civil;
use jiff::tz::Offset;
use jiff::{Timestamp, Zoned};

use super::refused::Refused;

/// How long a report's bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granularity {
    /// As stored.
    Bucket,
    /// A minute.
    Minute,
    /// An hour of the zone.
    Hour,
    /// A day of the zone.
    Day,
    /// The whole range that is asked for, as one bucket.
    Range,
}

impl Granularity {
    /// Those that may be asked for by name.
    pub const NAMED: [(&'static str, Self); 5] = [
        ("bucket", Self::Bucket),
        ("minute", Self::Minute),
        ("hour", Self::Hour),
        ("day", Self::Day),
        ("range", Self::Range),
    ];
}

/// An IANA time zone.
#[derive(Clone, Debug)]
pub struct TimeZone(jiff::tz::TimeZone);

const HOUR_SECONDS: i64 = 3_600;
const DAY_SECONDS: i64 = 86_400;

/// No bucket of a report is longer: a day of 25 hours, with room for stranger ones.
const WINDOW_MINUTES_MAX: i64 = 3 * 1440;

/// The seconds in which events may lie, and the one behind them: every zone has a calendar for these.
const MOMENTS_SECONDS: RangeInclusive<i64> = MICROS_MIN / MICROS_PER_SECOND..=(MICROS_MAX + 1) / MICROS_PER_SECOND;

/// A bucket of a report: ordered by when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    start_seconds: i64,
    offset_seconds: i32,
}

impl TimeZone {
    /// The zone of this name, `UTC` among them, as `param` gives it.
    pub fn named(param: &str, name: &str) -> Result<Self> {
        let zone = jiff::tz::TimeZone::get(name).map_err(|_| {
            Refused::new(
                "unknown_time_zone",
                param,
                format!("{name:?} is no IANA time zone; write Europe/London or UTC"),
            )
        })?;
        Ok(Self(zone))
    }

    /// Its IANA name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// Whether a bucket of the report begins there.
    pub fn is_start(&self, at: BucketStart, granularity: Granularity) -> Result<bool> {
        Ok(self.window(at, granularity)?.start() == at)
    }

    /// Where the bucket behind the one that `at` lies in begins.
    pub fn next_start(&self, at: BucketStart, granularity: Granularity) -> Result<BucketStart> {
        let window = self.window(at, granularity)?;
        for minutes in 1..WINDOW_MINUTES_MAX {
            let next = BucketStart::from_seconds(window.start_seconds + 60 * minutes);
            if self.window(next, granularity)? != window {
                return Ok(next);
            }
        }
        Err(anyhow!("a bucket of {:?} without an end", granularity))
    }

    fn zoned(&self, seconds: i64) -> Result<Zoned> {
        let at = Timestamp::from_second(seconds).context("a bucket beyond the calendar")?;
        Ok(at.to_zoned(self.0.clone()))
    }

    /// The seconds around `seconds` through which the offset stands.
    fn span(&self, seconds: i64) -> Result<Span> {
        let at = self.zoned(seconds)?;
        let following = self.0.following(at.timestamp()).next();
        // A change at this very second is one that lies before.
        let next = Timestamp::from_second(seconds + 1).context("a bucket beyond the calendar")?;
        let preceding = self.0.preceding(next).next();
        Ok(Span {
            from: preceding.map_or(i64::MIN, |t| t.timestamp().as_second()),
            to: following.map_or(i64::MAX, |t| t.timestamp().as_second()),
            offset_seconds: at.offset().seconds(),
        })
    }

    /// The report's bucket that a stored bucket falls into.
    pub fn window(&self, bucket: BucketStart, granularity: Granularity) -> Result<Window> {
        let at = self.zoned(bucket.seconds())?;
        let offset = at.offset().seconds();
        let (local, start) = match granularity {
            Granularity::Bucket | Granularity::Range => {
                return Ok(Window { start_seconds: bucket.seconds(), offset_seconds: offset });
            }
            Granularity::Minute => (at.datetime(), at.datetime().with().second(0).subsec_nanosecond(0).build()?),
            Granularity::Hour => {
                (at.datetime(), at.datetime().with().minute(0).second(0).subsec_nanosecond(0).build()?)
            }
            Granularity::Day => {
                let first = at.start_of_day()?;
                return Ok(Window {
                    start_seconds: first.timestamp().as_second(),
                    offset_seconds: first.offset().seconds(),
                });
            }
        };
        let within = seconds_between(start, local);
        Ok(Window { start_seconds: bucket.seconds() - within, offset_seconds: offset })
    }

    /// Reads a moment: RFC 3339 with an offset, or a date or a local time of this zone.
    pub fn moment(&self, param: &str, text: &str) -> Result<BucketStart> {
        if let Ok(at) = text.parse::<Timestamp>() {
            return whole(param, text, at);
        }
        let local: civil::DateTime = match text.parse::<civil::Date>() {
            Ok(date) if text.len() == 10 => {
                let first =
                    date.to_zoned(self.0.clone()).map_err(|e| Refused::new("invalid_time", param, e.to_string()))?;
                return whole(param, text, first.timestamp());
            }
            _ => text.parse().map_err(|_| {
                let mut detail =
                    format!("{text:?} is no moment; write 2026-11-21T08:00:00Z, 2026-11-21T08:00 or 2026-11-21");
                if text.contains(' ') {
                    detail.push_str("; in a URL write + as %2B");
                }
                Refused::new("invalid_time", param, detail)
            })?,
        };
        let zoned = local.to_zoned(self.0.clone()).map_err(|e| Refused::new("invalid_time", param, e.to_string()))?;
        whole(param, text, zoned.timestamp())
    }
}

/// The report's buckets of many stored ones: what [`TimeZone::window`] says, without asking the calendar each time.
#[derive(Clone, Debug)]
pub struct Windows {
    zone: TimeZone,
    granularity: Granularity,
    span: Option<Span>,
}

/// The seconds `from <= at < to` through which a zone's offset stands.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: i64,
    to: i64,
    offset_seconds: i32,
}

impl Windows {
    /// Of a zone.
    pub fn new(zone: TimeZone, granularity: Granularity) -> Self {
        Self { zone, granularity, span: None }
    }

    /// The report's bucket that a stored bucket falls into.
    pub fn of(&mut self, bucket: BucketStart) -> Result<Window> {
        let at = bucket.seconds();
        let Span { from, offset_seconds, .. } = match self.span.filter(|s| (s.from..s.to).contains(&at)) {
            Some(span) => span,
            None => *self.span.insert(self.zone.span(at)?),
        };
        let length = match self.granularity {
            Granularity::Bucket | Granularity::Range => 1,
            Granularity::Minute => 60,
            Granularity::Hour => HOUR_SECONDS,
            Granularity::Day => DAY_SECONDS,
        };
        let start_seconds = at - (at + i64::from(offset_seconds)).rem_euclid(length);
        // On the days around a change of clocks a date may begin before its midnight of this offset, or behind it.
        if self.granularity == Granularity::Day && start_seconds.saturating_sub(DAY_SECONDS) < from {
            return self.zone.window(bucket, self.granularity);
        }
        Ok(Window { start_seconds, offset_seconds })
    }
}

fn seconds_between(start: civil::DateTime, end: civil::DateTime) -> i64 {
    start.duration_until(end).as_secs()
}

fn whole(param: &str, text: &str, at: Timestamp) -> Result<BucketStart> {
    if at.subsec_nanosecond() != 0 {
        return Err(Refused::new("invalid_time", param, format!("{text:?} is not a whole second")).into());
    }
    if !MOMENTS_SECONDS.contains(&at.as_second()) {
        return Err(
            Refused::new("invalid_time", param, format!("{text:?} lies beyond all events that there may be")).into()
        );
    }
    Ok(BucketStart::from_seconds(at.as_second()))
}

impl Window {
    /// When it begins.
    pub fn start(self) -> BucketStart {
        BucketStart::from_seconds(self.start_seconds)
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let offset = Offset::from_seconds(self.offset_seconds).map_err(|_| std::fmt::Error)?;
        let at = Timestamp::from_second(self.start_seconds).map_err(|_| std::fmt::Error)?;
        let local = offset.to_datetime(at);
        let (y, m, d) = (local.year(), local.month(), local.day());
        let (hh, mm, ss) = (local.hour(), local.minute(), local.second());
        write!(f, "{y:04}-{m:02}-{d:02}T{hh:02}:{mm:02}:{ss:02}")?;
        if self.offset_seconds == 0 {
            return f.write_str("Z");
        }
        let sign = if self.offset_seconds < 0 { '-' } else { '+' };
        let size = self.offset_seconds.abs();
        write!(f, "{sign}{:02}:{:02}", size / 3600, size / 60 % 60)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn table_of_windows() {
        use Granularity::{Day, Hour, Minute};
        let cases = [
            ("UTC", "2026-11-21T08:05:00Z", Minute, "2026-11-21T08:05:00Z"),
            ("UTC", "2026-11-21T08:05:00Z", Hour, "2026-11-21T08:00:00Z"),
            ("UTC", "2026-11-21T08:05:00Z", Day, "2026-11-21T00:00:00Z"),
            // London: clocks go forward on 29 March 2026 at 01:00 UTC, back on 25 October 2026 at 01:00 UTC.
            ("Europe/London", "2026-03-29T00:59:00Z", Hour, "2026-03-29T00:00:00Z"),
            ("Europe/London", "2026-03-29T01:00:00Z", Hour, "2026-03-29T02:00:00+01:00"),
            ("Europe/London", "2026-03-29T22:59:00Z", Day, "2026-03-29T00:00:00Z"),
            ("Europe/London", "2026-03-29T23:00:00Z", Day, "2026-03-30T00:00:00+01:00"),
            ("Europe/London", "2026-10-25T00:30:00Z", Hour, "2026-10-25T01:00:00+01:00"),
            ("Europe/London", "2026-10-25T01:30:00Z", Hour, "2026-10-25T01:00:00Z"),
            ("Europe/London", "2026-10-24T23:00:00Z", Day, "2026-10-25T00:00:00+01:00"),
            ("Europe/London", "2026-10-25T23:59:00Z", Day, "2026-10-25T00:00:00+01:00"),
            ("Europe/London", "2026-10-26T00:00:00Z", Day, "2026-10-26T00:00:00Z"),
            ("Asia/Kathmandu", "2026-11-21T18:14:00Z", Day, "2026-11-21T00:00:00+05:45"),
            ("Asia/Kathmandu", "2026-11-21T18:15:00Z", Day, "2026-11-22T00:00:00+05:45"),
            ("Asia/Kathmandu", "2026-11-21T18:14:00Z", Hour, "2026-11-21T23:00:00+05:45"),
            // Apia left out 30 December 2011.
            ("Pacific/Apia", "2011-12-30T09:59:00Z", Day, "2011-12-29T00:00:00-10:00"),
            ("Pacific/Apia", "2011-12-30T10:00:00Z", Day, "2011-12-31T00:00:00+14:00"),
            // Clocks of Lord Howe change by half an hour.
            ("Australia/Lord_Howe", "2026-04-04T15:15:00Z", Hour, "2026-04-05T01:00:00+10:30"),
            // Midnight of that day does not exist in Santiago.
            ("America/Santiago", "2026-09-06T12:00:00Z", Day, "2026-09-06T01:00:00-03:00"),
            ("UTC", "1969-12-31T23:59:00Z", Day, "1969-12-31T00:00:00Z"),
            // The first and the last minute that events may have.
            ("Pacific/Apia", "0001-01-01T00:00:00Z", Day, "0001-01-01T00:00:00+12:33"),
            ("Etc/GMT+12", "0001-01-01T00:00:00Z", Day, "0000-12-31T00:00:00-12:00"),
            ("Pacific/Kiritimati", "9999-12-30T21:59:00Z", Day, "9999-12-31T00:00:00+14:00"),
            ("Etc/GMT+12", "9999-12-30T21:59:00Z", Hour, "9999-12-30T09:00:00-12:00"),
        ];
        for (zone, at, granularity, want) in cases {
            let bucket = BucketStart::from_seconds(at.parse::<Timestamp>().unwrap().as_second());
            let window = TimeZone::named("tz", zone).unwrap().window(bucket, granularity).unwrap();
            assert_eq!(window.to_string(), want, "{zone} {at}");
        }
    }

    #[test]
    fn windows_of_many_buckets_are_those_of_each() {
        let zones = ["UTC", "Europe/London", "Asia/Kathmandu", "America/Santiago", "Australia/Lord_Howe", "Cuba"];
        let around = ["2026-03-29", "2026-10-25", "2026-04-05", "2026-09-06", "2026-11-01", "1969-12-31"];
        for (zone, date) in
            zones.iter().flat_map(|z| around.map(|date| (*z, date))).chain([("Pacific/Apia", "2011-12-30")])
        {
            let zone = TimeZone::named("tz", zone).unwrap();
            let first = zone.moment("from", date).unwrap().seconds() - 3 * DAY_SECONDS;
            for (_, granularity) in Granularity::NAMED {
                let mut windows = Windows::new(zone.clone(), granularity);
                for i in 0..6 * 96 {
                    // Forth, and now and then back.
                    let bucket = BucketStart::from_seconds(first + 900 * (i - 200 * i64::from(i % 17 == 0)));
                    let want = zone.window(bucket, granularity).unwrap();
                    assert_eq!(windows.of(bucket).unwrap(), want, "{} {granularity:?} {bucket:?}", zone.name());
                }
            }
        }
    }

    #[test]
    fn moments_of_a_zone() {
        let zone = TimeZone::named("tz", "Europe/London").unwrap();
        for (text, want) in [
            ("2026-07-01", Some("2026-06-30T23:00:00Z")),
            ("2026-07-01T12:00", Some("2026-07-01T11:00:00Z")),
            ("2026-07-01T12:00:00+02:00", Some("2026-07-01T10:00:00Z")),
            ("2026-07-01T12:00:00.5Z", None),
            ("yesterday", None),
            ("0001-01-01T00:00:00Z", Some("0001-01-01T00:00:00Z")),
            ("0000-12-31T23:59:59Z", None),
            ("-009999-01-02T12:00:00Z", None),
            ("9999-12-30T22:00:00Z", Some("9999-12-30T22:00:00Z")),
            ("9999-12-30T22:00:01Z", None),
        ] {
            let got = zone.moment("from", text).ok().map(|b| b.seconds());
            let want = want.map(|w| w.parse::<Timestamp>().unwrap().as_second());
            assert_eq!(got, want, "{text}");
        }
        assert!(TimeZone::named("tz", "Mars/Olympus").is_err());
    }

    /// A zone that exists, and a minute from 1960 to 2060, half of them near a change of the zone's clocks.
    fn any_minute() -> impl Strategy<Value = (TimeZone, BucketStart)> {
        let names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
        let seconds = -315_619_200_i64..2_840_140_800;
        (proptest::sample::select(names), seconds, -3 * DAY_SECONDS..3 * DAY_SECONDS, any::<bool>()).prop_map(
            |(name, seconds, around, near)| {
                let zone = TimeZone::named("tz", &name).unwrap();
                let change = zone.0.following(Timestamp::from_second(seconds).unwrap()).next();
                let near = change.filter(|_| near).map(|change| change.timestamp().as_second() + around);
                let seconds = near.unwrap_or(seconds);
                (zone, BucketStart::from_seconds(seconds - seconds.rem_euclid(60)))
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        /// One ends where the next begins: every minute lies in one window and no two windows share one.
        #[test]
        fn windows_of_any_zone_lie_side_by_side(
            (zone, minute) in any_minute(),
            granularity in proptest::sample::select(&[Granularity::Minute, Granularity::Hour, Granularity::Day][..]),
        ) {
            let of = |seconds| zone.window(BucketStart::from_seconds(seconds), granularity).unwrap();
            let (seconds, window) = (minute.seconds(), of(minute.seconds()));
            let start = window.start().seconds();
            let next = zone.next_start(minute, granularity).unwrap().seconds();
            prop_assert!(start <= seconds && seconds < next, "{start} {seconds} {next}");
            prop_assert_eq!((of(start), of(next - 60)), (window, window));
            prop_assert_eq!(of(next).start().seconds(), next, "{}", zone.name());
            prop_assert!(of(start - 60).start().seconds() < start);
            prop_assert_eq!(zone.next_start(BucketStart::from_seconds(start - 60), granularity).unwrap().seconds(), start);
            prop_assert_eq!(Windows::new(zone.clone(), granularity).of(minute).unwrap(), window);
        }
    }
}
