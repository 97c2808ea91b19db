//! Time: event time, receipt time and bucket starts as types that do not mix, and the one text form of each.
//!
//! Invariant: microseconds since 1970-01-01T00:00:00Z everywhere, digits beyond them cut, not rounded; years 1 to
//! 9999, but for the last 26 hours. No clock here: `now` is an argument. Zones belong to the report.

/// Microseconds in a second.
pub const MICROS_PER_SECOND: i64 = 1_000_000;
/// The first representable moment: 0001-01-01T00:00:00Z.
pub const MICROS_MIN: i64 = -62_135_596_800 * MICROS_PER_SECOND;
/// The last representable moment: 9999-12-30T21:59:59.999999Z. Then the calendars of zones end, which have room for
/// every offset within the year 9999.
pub const MICROS_MAX: i64 = 253_402_207_200 * MICROS_PER_SECOND - 1;

macro_rules! moment {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// From microseconds since 1970 UTC.
            pub const fn from_micros(micros: i64) -> Self {
                Self(micros)
            }

            /// Microseconds since 1970 UTC.
            pub const fn micros(self) -> i64 {
                self.0
            }

            /// Seconds since 1970 UTC, rounded down.
            pub const fn seconds(self) -> i64 {
                self.0.div_euclid(MICROS_PER_SECOND)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&format_utc(self.0))
            }
        }
    };
}

moment! {
    /// When the sender says that it happened. It places the event in its bucket.
    EventTime
}
moment! {
    /// When the collector took it in. Stamped always, never taken from the sender.
    ReceivedAt
}

/// The start of a bucket: seconds since 1970 UTC, a multiple of the bucket's length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketStart(i64);

impl BucketStart {
    /// From seconds since 1970 UTC, read from a versioned format.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds)
    }

    /// The bucket of `bucket_seconds` (1 to 60, a divisor of 60) in which `at` lies.
    pub const fn of(at: EventTime, bucket_seconds: i64) -> Self {
        let seconds = at.seconds();
        Self(seconds - seconds.rem_euclid(bucket_seconds))
    }

    /// Seconds since 1970 UTC.
    pub const fn seconds(self) -> i64 {
        self.0
    }
}

/// Why a text is no moment. Each is a rejection's detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeError {
    /// Not of the form `2026-11-21T08:05:16.123456Z`.
    Form,
    /// No `Z` and no offset: a local time names no moment.
    NoOffset,
    /// A field is out of range: month 13, 29 February 2026, hour 24, second 60, year 0.
    Range,
}

/// Days from 1970-01-01 to a civil date (proleptic Gregorian; the algorithm of Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms").
#[inline]
pub const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y - era * 400;
    let doy = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    era * 146_097 + doe - 719_468
}

/// The civil date of a day counted from 1970-01-01: year, month, day (same source).
pub const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z - era * 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + (if month <= 2 { 1 } else { 0 }), month, day)
}

const fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

fn digits(text: &[u8]) -> Option<i64> {
    let mut value = 0_i64;
    for &b in text {
        let d = b.wrapping_sub(b'0');
        if d > 9 {
            return None;
        }
        value = value * 10 + i64::from(d);
    }
    Some(value)
}

/// The two-digit numbers that eight ASCII characters write, one in 16 bits, the first lowest, if all are digits.
#[inline(always)]
fn digit_pairs(text: u64) -> Option<u64> {
    let x = text.wrapping_sub(0x3030_3030_3030_3030);
    // A byte below '0' borrows into bit 7 somewhere, one above '9' reaches it when six is added.
    if (x | x.wrapping_add(0x7676_7676_7676_7676)) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    Some(x.wrapping_mul(10).wrapping_add(x >> 8) & 0x00FF_00FF_00FF_00FF)
}

/// How many hours are remembered: those of two days in a row.
const HOURS: usize = 64;
/// The bytes of `2026-11-21T08:`.
const HOUR_BYTES: usize = 14;

/// Moments in the form that most senders write, `2026-11-21T08:05:16.123Z` or without the fraction. Most of them lie in
/// an hour that was met before: its text is compared, not read.
pub(crate) struct Hours([Hour; HOURS]);

/// An hour's text, and its beginning in microseconds since 1970. No hour's text is all zeros.
#[derive(Clone, Copy, Default)]
struct Hour {
    text: u128,
    micros: i64,
}

impl Default for Hours {
    fn default() -> Self {
        Self([Hour::default(); HOURS])
    }
}

impl Hours {
    /// Reads the first 20 or 24 bytes as microseconds since 1970 UTC; none where the form is another, and where it is
    /// wrong.
    #[inline(always)]
    pub fn parse(&mut self, text: &[u8; 24], len: usize) -> Option<i64> {
        let front = u128::from_le_bytes(*text.first_chunk()?);
        let mut tail = u64::from_le_bytes(*text.last_chunk()?);
        if len == 20 {
            // `:16Z` is `:16.000Z`.
            if tail >> 24 & 0xFF != u64::from(b'Z') {
                return None;
            }
            tail = tail & 0xFF_FFFF | u64::from_le_bytes(*b"\0\0\0.000Z");
        } else if len != 24 {
            return None;
        }
        if tail & 0xFF00_0000_FF00_00FF != u64::from_le_bytes(*b":\0\0.\0\0\0Z") {
            return None;
        }
        // `05`, `16`, `0123`.
        let digits = (front >> 112) as u64 | (tail >> 8 & 0xFFFF) << 16 | 0x30 << 32 | (tail >> 32 & 0xFF_FFFF) << 40;
        let pairs = digit_pairs(digits)? as i64;
        let (minute, second) = (pairs & 0xFF, pairs >> 16 & 0xFF);
        if minute > 59 || second > 59 {
            return None;
        }
        let millis = (minute * 60 + second) * 1000 + (pairs >> 32 & 0xFF) * 100 + (pairs >> 48);
        Some(self.begin(front & ((1 << (8 * HOUR_BYTES)) - 1))? + millis * 1000)
    }

    /// The beginning of an hour.
    #[inline(always)]
    fn begin(&mut self, text: u128) -> Option<i64> {
        // The hour, and whether the day is even.
        let after = (text >> 72) as usize;
        let place = ((after & 1) * 32 + (after >> 16 & 3) * 10 + (after >> 24 & 0xF)) % HOURS;
        match &self.0[place] {
            hour if hour.text == text => Some(hour.micros),
            _ => self.learn(place, text),
        }
    }

    #[cold]
    #[inline(never)]
    fn learn(&mut self, place: usize, text: u128) -> Option<i64> {
        let mut whole = *b"2026-11-21T08:00:00Z";
        whole[..HOUR_BYTES].copy_from_slice(&text.to_le_bytes()[..HOUR_BYTES]);
        let micros = parse_rfc3339(&whole).ok()?;
        self.0[place] = Hour { text, micros };
        Some(micros)
    }
}

/// Reads an RFC 3339 moment with its offset as microseconds since 1970 UTC. `T` and `Z` may be lower case; fractions
/// may have any number of digits, those beyond six are cut.
pub fn parse_rfc3339(text: &[u8]) -> Result<i64, TimeError> {
    let n = text.len();
    if n < 19 || text[4] != b'-' || text[7] != b'-' || (text[10] | 0x20) != b't' || text[13] != b':' || text[16] != b':'
    {
        return Err(TimeError::Form);
    }
    let field = |from: usize, to: usize| digits(&text[from..to]).ok_or(TimeError::Form);
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    let mut at = 19;
    let mut micros = 0_i64;
    if at < n && text[at] == b'.' {
        at += 1;
        let start = at;
        let mut unit = 100_000_i64;
        while at < n && text[at].is_ascii_digit() {
            micros += i64::from(text[at] - b'0') * unit;
            unit /= 10;
            at += 1;
        }
        if at == start {
            return Err(TimeError::Form);
        }
    }
    let offset_seconds = match text.get(at) {
        None => return Err(TimeError::NoOffset),
        Some(b'Z' | b'z') if at + 1 == n => 0,
        Some(sign @ (b'+' | b'-')) if at + 6 == n && text[at + 3] == b':' => {
            let (h, m) = (field(at + 1, at + 3)?, field(at + 4, at + 6)?);
            if h > 23 || m > 59 {
                return Err(TimeError::Range);
            }
            let seconds = h * 3600 + m * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        Some(_) => return Err(TimeError::Form),
    };
    if year == 0
        || !(1..=12).contains(&month)
        || day < 1
        || day > days_in_month(year, month)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return Err(TimeError::Range);
    }
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset_seconds;
    let at = seconds * MICROS_PER_SECOND + micros;
    if (MICROS_MIN..=MICROS_MAX).contains(&at) { Ok(at) } else { Err(TimeError::Range) }
}

/// The one text form: `2026-11-21T08:05:16Z`, with six digits of fraction only where there is one.
pub fn format_utc(micros: i64) -> String {
    let seconds = micros.div_euclid(MICROS_PER_SECOND);
    let fraction = micros.rem_euclid(MICROS_PER_SECOND);
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    if fraction == 0 {
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    } else {
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_times() {
        let cases: &[(&str, Result<&str, TimeError>)] = &[
            ("2026-11-21T08:05:16Z", Ok("2026-11-21T08:05:16Z")),
            ("2026-11-21t08:05:16z", Ok("2026-11-21T08:05:16Z")),
            ("2026-11-21T08:05:16.1Z", Ok("2026-11-21T08:05:16.100000Z")),
            ("2026-11-21T08:05:16.123456999Z", Ok("2026-11-21T08:05:16.123456Z")),
            ("2026-11-21T08:05:16+05:45", Ok("2026-11-21T02:20:16Z")),
            ("2026-11-21T00:05:16-01:00", Ok("2026-11-21T01:05:16Z")),
            ("1969-12-31T23:59:59.999999Z", Ok("1969-12-31T23:59:59.999999Z")),
            ("2024-02-29T00:00:00Z", Ok("2024-02-29T00:00:00Z")),
            ("0001-01-01T00:00:00Z", Ok("0001-01-01T00:00:00Z")),
            ("9999-12-30T21:59:59.9999999Z", Ok("9999-12-30T21:59:59.999999Z")),
            ("9999-12-30T22:00:00Z", Err(TimeError::Range)),
            ("9999-12-31T23:59:59.9999999Z", Err(TimeError::Range)),
            ("0001-01-01T00:00:00+00:01", Err(TimeError::Range)),
            ("2026-02-29T00:00:00Z", Err(TimeError::Range)),
            ("2026-11-21T24:00:00Z", Err(TimeError::Range)),
            ("2026-11-21T23:59:60Z", Err(TimeError::Range)),
            ("0000-11-21T23:59:50Z", Err(TimeError::Range)),
            ("2026-13-01T00:00:00Z", Err(TimeError::Range)),
            ("2026-11-21T08:05:16", Err(TimeError::NoOffset)),
            ("2026-11-21T08:05:16.5", Err(TimeError::NoOffset)),
            ("2026-11-21T08:05:16.Z", Err(TimeError::Form)),
            ("2026-11-21 08:05:16Z", Err(TimeError::Form)),
            ("2026-11-21T08:05Z", Err(TimeError::Form)),
            ("2026-11-21T08:05:16+0545", Err(TimeError::Form)),
            ("2026-11-21T08:05:16Zz", Err(TimeError::Form)),
            ("", Err(TimeError::Form)),
        ];
        for (text, want) in cases {
            let got = parse_rfc3339(text.as_bytes()).map(format_utc);
            assert_eq!(got.as_deref().map_err(|e| *e), *want, "{text}");
        }
    }

    #[test]
    fn the_usual_form_agrees_with_the_slow_way() {
        let check = |hours: &mut Hours, text: &str| {
            let mut bytes = [0xFF; 24];
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            assert_eq!(hours.parse(&bytes, text.len()), parse_rfc3339(text.as_bytes()).ok(), "{text}");
        };
        let mut hours = Hours::default();
        // The second time each hour that there is is remembered.
        for _ in 0..2 {
            for text in [
                "2026-11-21T08:05:16.123Z",
                "2026-11-21T08:05:16Z",
                "2026-11-21t08:05:16Z",
                "2026-11-29T08:00:00.000Z",
                "2026-11-30T23:59:59.999Z",
                "2026-11-31T23:59:59.999Z",
                "2026-12-31T23:59:59Z",
                "2026-02-28T00:00:00.000Z",
                "2026-02-29T00:00:00.000Z",
                "2024-02-29T00:00:00.000Z",
                "2026-11-21T08:05:1:.123Z",
                "2026-11-21T08:05:1/.123Z",
                "2026-11-21T08:05:16.12:Z",
                "2026-11-21T08:05:16.\u{00e9}1Z",
                "2026-11-21T08:05:60.123Z",
                "2026-11-21T08:60:16.123Z",
                "2026-11-21T08.05:16.123Z",
                "2026-11-21T08:05.16.123Z",
                "2026-11-21 08:05:16.123Z",
                "2026-00-21T08:05:16.123Z",
                "2026-11-00T08:05:16.123Z",
                "2026-11-21T24:05:16.123Z",
                "2026-11-21T:8:05:16.123Z",
                "0000-11-21T08:05:16.123Z",
                "0001-01-01T00:00:00.000Z",
                "9999-12-30T21:59:59.999Z",
                "9999-12-30T22:00:00.000Z",
                "9999-12-31T23:59:59.999Z",
            ] {
                check(&mut hours, text);
            }
        }
        for hour in 0..72 {
            check(&mut hours, &format!("2026-11-{:02}T{:02}:05:16.123Z", 27 + hour / 24, hour % 24));
        }
        // Another form, though not wrong.
        for text in ["2026-11-21T08:05:16.1230Z", "2026-11-21T08:05:16.12Z", "2026-11-21T08:05:16.123z"] {
            let mut bytes = [0xFF; 24];
            let shown = text.len().min(24);
            bytes[..shown].copy_from_slice(&text.as_bytes()[..shown]);
            assert_eq!(hours.parse(&bytes, text.len()), None, "{text}");
        }
        for b in 0..=255_u8 {
            let got = digit_pairs(u64::from_le_bytes([b'1', b'2', b, b'4', b'5', b'6', b'7', b'8']));
            assert_eq!(got.is_some(), b.is_ascii_digit(), "{b}");
        }
    }

    #[test]
    fn buckets_round_down_before_1970_too() {
        let at = |s: &str| EventTime::from_micros(parse_rfc3339(s.as_bytes()).unwrap());
        assert_eq!(BucketStart::of(at("1969-12-31T23:59:59.5Z"), 60).seconds(), -60);
        assert_eq!(BucketStart::of(at("1970-01-01T00:01:59Z"), 60).seconds(), 60);
        assert_eq!(BucketStart::of(at("1970-01-01T00:01:59Z"), 10).seconds(), 110);
    }
}
