//! One line to one event, strictly, with sonic-rs.
//!
//! Invariant: a line that lacks one of the eight fields, has a price that is no integer from 0 on, another type or no
//! moment in UTC is rejected. Not here: fields that the job does not need.

use std::borrow::Cow;

use anyhow::Context;
use serde::Deserialize;

use crate::names::{KnownNames, Names};

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Impression,
    Click,
    Conversion,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    event_type: Kind,
    #[serde(borrow)]
    occurred_at: Cow<'a, str>,
    #[serde(borrow)]
    campaign_id: Cow<'a, str>,
    #[serde(borrow)]
    publisher_id: Cow<'a, str>,
    #[serde(borrow)]
    country: Cow<'a, str>,
    #[serde(borrow)]
    device_type: Cow<'a, str>,
    price_micros: u64,
}

/// Whether sonic-rs alone makes the eight fields of a line: parsing and nothing else.
#[inline]
pub fn is_event(line: &[u8]) -> bool {
    sonic_rs::from_slice::<Line<'_>>(line).is_ok_and(|line| std::hint::black_box(&line).price_micros < u64::MAX)
}

/// What an event is deduplicated by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventId {
    /// A canonical lower-case UUID, as its bits.
    Uuid(u128),
    /// Any other text.
    Text(Box<str>),
}

/// What a cell is found by: minute since 1970, campaign, publisher (32 bits each), country, device (16 bits each).
pub type CellKey = u128;

/// A strict event.
#[derive(Clone, Debug)]
pub struct Event {
    /// What it is deduplicated by.
    pub id: EventId,
    /// Where it counts.
    pub cell: CellKey,
    /// What it adds there.
    pub adds: Sums,
}

/// Counts and money of one cell, or what one event adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Impressions, clicks, conversions.
    pub counts: [u32; 3],
    /// The sum of the impressions' prices, in micros.
    pub spend_micros: u64,
}

/// Parses lines, and knows the names met so far.
#[derive(Debug)]
pub struct LineParser<'a> {
    names: KnownNames<'a>,
}

impl<'a> LineParser<'a> {
    /// Over names that all threads share.
    pub fn new(names: &'a Names) -> Self {
        Self { names: KnownNames::new(names) }
    }

    /// The event, or `None` where the line is rejected. Fails where a dimension has more names than a cell's key can hold.
    #[inline]
    pub fn parse(&mut self, line: &[u8]) -> anyhow::Result<Option<Event>> {
        let Ok(line) = sonic_rs::from_slice::<Line<'_>>(line) else { return Ok(None) };
        let Some(minute) = minute_of(line.occurred_at.as_bytes()) else { return Ok(None) };
        let mut cell = u128::from(minute);
        for (dimension, text, bits) in [
            (0, &line.campaign_id, 32),
            (1, &line.publisher_id, 32),
            (2, &line.country, 16),
            (3, &line.device_type, 16),
        ] {
            let number = self.names.number(dimension, text);
            (number >> (bits - 1) <= 1).then_some(()).context("more names than 16 bits can number")?;
            cell = cell << bits | u128::from(number);
        }
        let adds = match line.event_type {
            Kind::Impression => Sums { counts: [1, 0, 0], spend_micros: line.price_micros },
            Kind::Click => Sums { counts: [0, 1, 0], spend_micros: 0 },
            Kind::Conversion => Sums { counts: [0, 0, 1], spend_micros: 0 },
        };
        let id = match uuid_of(line.event_id.as_bytes()) {
            Some(bits) => EventId::Uuid(bits),
            None => EventId::Text(line.event_id.into()),
        };
        Ok(Some(Event { id, cell, adds }))
    }
}

/// The bits of a canonical lower-case UUID.
#[inline]
fn uuid_of(text: &[u8]) -> Option<u128> {
    let text: &[u8; 36] = text.try_into().ok()?;
    let mut bits = 0;
    let mut wrong = false;
    for (at, b) in text.iter().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            wrong |= *b != b'-';
        } else {
            let digit = DIGITS[usize::from(*b)];
            wrong |= digit > 15;
            bits = bits << 4 | u128::from(digit);
        }
    }
    (!wrong).then_some(bits)
}

/// The value of a lower-case hexadecimal digit, 255 for every other byte.
const DIGITS: [u8; 256] = {
    let mut digits = [255; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

/// The minute since 1970 of `YYYY-MM-DDTHH:MM:SS[.fff]Z`.
#[inline]
fn minute_of(text: &[u8]) -> Option<u32> {
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let (moment, rest) = text.split_at_checked(shape.len())?;
    if !moment.iter().zip(shape).all(|(b, s)| if *s == b'd' { b.is_ascii_digit() } else { b == s }) {
        return None;
    }
    let fraction = rest.strip_suffix(b"Z")?;
    let fine = fraction.is_empty() || fraction[0] == b'.' && fraction.len() > 1;
    if !fine || !fraction.iter().skip(1).all(u8::is_ascii_digit) {
        return None;
    }
    let number = |from: usize, to: usize| moment[from..to].iter().fold(0, |n, b| n * 10 + i64::from(b - b'0'));
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let (hour, minute, second) = (number(11, 13), number(14, 16), number(17, 19));
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of_month = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days_of_month).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days since 1970 (Hinnant, chrono-compatible low-level date algorithms).
    let shifted_year = year - i64::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = shifted_year % 400 * 365 + shifted_year % 400 / 4 - shifted_year % 400 / 100 + day_of_year;
    let days = shifted_year / 400 * 146_097 + day_of_era - 719_468;
    u32::try_from(days * 1_440 + hour * 60 + minute).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes() {
        let cases: &[(&str, Option<u32>)] = &[
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-02T00:01:59.999Z", Some(1_441)),
            ("2000-02-29T00:00:00.0Z", Some(951_782_400 / 60)),
            ("2026-11-01T00:00:00.000Z", Some(1_793_491_200 / 60)),
            ("2026-02-29T00:00:00Z", None),
            ("1969-12-31T23:59:59Z", None),
            ("2026-11-01T24:00:00Z", None),
            ("2026-11-01T00:00:60Z", None),
            ("2026-11-01T00:00:00", None),
            ("2026-11-01T00:00:00.Z", None),
            ("2026-11-01T00:00:00+00:00", None),
            ("2026-11-01", None),
        ];
        for (text, want) in cases {
            assert_eq!(minute_of(text.as_bytes()), *want, "{text}");
        }
    }

    #[test]
    fn strict_lines() {
        let id = "d40fb601-12c9-41ba-aed2-578a6ff2af09";
        let line = |id: &str, kind: &str, price: &str| {
            format!(
                r#"{{"eventId":"{id}","eventType":"{kind}","occurredAt":"2026-11-01T00:00:00.009Z","campaignId":"c","adId":"a","publisherId":"p","country":"NO","deviceType":"tv","priceMicros":{price}}}"#
            )
        };
        let good = line(id, "impression", "7");
        let cases: &[(String, Option<EventId>)] = &[
            (good.clone(), Some(EventId::Uuid(0xd40f_b601_12c9_41ba_aed2_578a_6ff2_af09))),
            (good.replace("eventId", "event\\u0049d"), Some(EventId::Uuid(0xd40f_b601_12c9_41ba_aed2_578a_6ff2_af09))),
            (line("D40FB601-12C9-41BA-AED2-578A6FF2AF09", "click", "0"), {
                Some(EventId::Text("D40FB601-12C9-41BA-AED2-578A6FF2AF09".into()))
            }),
            (line(id, "engagement", "7"), None),
            (line(id, "click", "-7"), None),
            (line(id, "click", "7.5"), None),
            (line(id, "click", "\"7\""), None),
            (good[..good.len() - 1].to_owned(), None),
            (good.replace("\"country\":\"NO\",", ""), None),
            (good.replace("\"NO\"", "null"), None),
        ];
        let names = Names::default();
        let mut parser = LineParser::new(&names);
        for (text, want) in cases {
            assert_eq!(parser.parse(text.as_bytes()).unwrap().map(|e| e.id), *want, "{text}");
        }
    }
}
