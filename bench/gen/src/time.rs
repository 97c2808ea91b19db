//! Milliseconds since 1970 as RFC 3339 text in UTC, and bucket starts back to text of one form.
//!
//! Invariant: always `YYYY-MM-DDTHH:MM:SS[.mmm]Z`. Not here: clocks, time zones, leap seconds.

/// Milliseconds of one day.
const DAY_MS: i64 = 86_400_000;

/// Year, month and day of a count of days since 1970-01-01 (Hinnant, chrono-compatible low-level date algorithms).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn digits(value: i64, text: &mut [u8]) {
    let mut rest = value;
    for place in text.iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// Writes moments, and keeps the text of the day it wrote last, because most moments share it.
#[derive(Debug)]
pub struct Stamp {
    day: i64,
    text: [u8; 24],
}

impl Default for Stamp {
    fn default() -> Self {
        Self { day: i64::MIN, text: *b"0000-00-00T00:00:00.000Z" }
    }
}

impl Stamp {
    /// `YYYY-MM-DDTHH:MM:SS.mmmZ`.
    #[inline]
    pub fn millis(&mut self, ms: i64) -> &[u8; 24] {
        let day = ms.div_euclid(DAY_MS);
        if day != self.day {
            let (year, month, of_month) = civil(day);
            digits(year, &mut self.text[..4]);
            digits(month, &mut self.text[5..7]);
            digits(of_month, &mut self.text[8..10]);
            self.day = day;
        }
        let of_day = ms.rem_euclid(DAY_MS);
        digits(of_day / 3_600_000, &mut self.text[11..13]);
        digits(of_day / 60_000 % 60, &mut self.text[14..16]);
        digits(of_day / 1_000 % 60, &mut self.text[17..19]);
        digits(of_day % 1_000, &mut self.text[20..23]);
        &self.text
    }

    /// `YYYY-MM-DDTHH:MM:SSZ`; what is below a second is dropped.
    pub fn seconds(&mut self, ms: i64) -> [u8; 20] {
        let mut text = *b"0000-00-00T00:00:00Z";
        text[..19].copy_from_slice(&self.millis(ms)[..19]);
        text
    }
}

/// The one form of a bucket start: `2026-11-01T00:00:00Z` for itself, for `+00:00` and for a fraction of zeros.
/// `None` where the text is no whole second in UTC.
pub fn canonical_bucket(text: &[u8]) -> Option<[u8; 20]> {
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let (date, rest) = text.split_at_checked(shape.len())?;
    let fits = date.iter().zip(shape).all(|(b, s)| if *s == b'd' { b.is_ascii_digit() } else { b == s });
    let zone = rest.strip_prefix(b".").map_or(rest, |fraction| {
        let zeros = fraction.iter().take_while(|b| **b == b'0').count();
        &fraction[zeros..]
    });
    if !fits || !matches!(zone, b"Z" | b"+00:00") {
        return None;
    }
    let mut bucket = *b"0000-00-00T00:00:00Z";
    bucket[..19].copy_from_slice(date);
    Some(bucket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let cases: &[(i64, &str)] = &[
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_793_491_200_000, "2026-11-01T00:00:00.000Z"),
            (1_793_577_599_999, "2026-11-01T23:59:59.999Z"),
        ];
        let mut stamp = Stamp::default();
        for (ms, want) in cases {
            assert_eq!(std::str::from_utf8(stamp.millis(*ms)).unwrap(), *want);
        }
    }

    #[test]
    fn buckets() {
        let cases: &[(&str, Option<&str>)] = &[
            ("2026-11-01T00:01:00Z", Some("2026-11-01T00:01:00Z")),
            ("2026-11-01T00:01:00+00:00", Some("2026-11-01T00:01:00Z")),
            ("2026-11-01T00:01:00.000Z", Some("2026-11-01T00:01:00Z")),
            ("2026-11-01T00:01:00.001Z", None),
            ("2026-11-01T00:01:00+01:00", None),
            ("2026-11-01 00:01:00Z", None),
            ("", None),
        ];
        for (text, want) in cases {
            assert_eq!(canonical_bucket(text.as_bytes()).map(|b| b.to_vec()), want.map(|w| w.as_bytes().to_vec()));
        }
    }
}
