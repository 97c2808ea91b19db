//! Time arithmetic: text to moment and back, and moments into buckets, before 1970 too.
//!
//! Invariant: buckets of one length lie side by side without a gap and without an overlap. Not here: texts that are no
//! moment (time.rs has their table), and zones, which belong to the report.

use adsum_model::time::{
    BucketStart, EventTime, MICROS_MAX, MICROS_MIN, MICROS_PER_SECOND, civil_from_days, days_from_civil, format_utc,
    parse_rfc3339,
};
use proptest::prelude::*;

/// The lengths that a bucket may have: the divisors of a minute.
const LENGTHS: [i64; 12] = [1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60];

/// All of time, with what lies around 1970 and the ends more often.
fn any_moment() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => MICROS_MIN..=MICROS_MAX,
        2 => -200_000_000_i64..200_000_000,
        1 => MICROS_MIN..MICROS_MIN + 200_000_000,
        1 => MICROS_MAX - 200_000_000..=MICROS_MAX,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_moment_is_its_text(micros in any_moment(), finer in "[0-9]{0,9}") {
        let text = format_utc(micros);
        prop_assert_eq!(parse_rfc3339(text.as_bytes()), Ok(micros), "{}", text);
        // Digits beyond microseconds are cut.
        let digits = format!("{:06}{finer}", micros.rem_euclid(MICROS_PER_SECOND));
        let long = format!("{}.{digits}Z", &text[..19]);
        prop_assert_eq!(parse_rfc3339(long.as_bytes()), Ok(micros), "{}", long);
    }

    #[test]
    fn an_offset_is_taken_off(micros in any_moment(), hours in 0..24_i64, minutes in 0..60_i64, west in any::<bool>()) {
        let offset = (hours * 3600 + minutes * 60) * if west { -1 } else { 1 };
        let local = micros + offset * MICROS_PER_SECOND;
        // The local time is one of the years 1 to 9999 as well.
        prop_assume!((MICROS_MIN..=MICROS_MAX).contains(&local));
        let text = format_utc(local);
        let sign = if west { '-' } else { '+' };
        let text = format!("{}{sign}{hours:02}:{minutes:02}", &text[..text.len() - 1]);
        prop_assert_eq!(parse_rfc3339(text.as_bytes()), Ok(micros), "{}", text);
    }

    #[test]
    fn texts_order_as_their_moments_do(a in any_moment(), b in any_moment()) {
        // With the same number of digits.
        let [a_text, b_text] = [a, b].map(|m| format!("{}.{:06}", &format_utc(m)[..19], m.rem_euclid(MICROS_PER_SECOND)));
        prop_assert_eq!(a.cmp(&b), a_text.cmp(&b_text));
    }

    #[test]
    fn days_are_dates(days in -800_000..4_000_000_i64) {
        let (year, month, day) = civil_from_days(days);
        prop_assert_eq!(days_from_civil(year, month, day), days);
        prop_assert!((1..=12).contains(&month) && (1..=31).contains(&day));
        prop_assert!(civil_from_days(days - 1) < (year, month, day));
    }

    #[test]
    fn buckets_lie_side_by_side(micros in any_moment(), length in proptest::sample::select(&LENGTHS[..])) {
        let of = |micros| BucketStart::of(EventTime::from_micros(micros), length).seconds();
        let start = of(micros);
        let (begin, end) = (start * MICROS_PER_SECOND, (start + length) * MICROS_PER_SECOND);
        prop_assert!(begin <= micros && micros < end);
        prop_assert_eq!(start.rem_euclid(length), 0);
        prop_assert_eq!((of(begin), of(end - 1)), (start, start));
        prop_assert_eq!((of(begin - 1), of(end)), (start - length, start + length));
        // A minute is a whole number of them, so that minutes of two lengths add up to the same.
        prop_assert_eq!(BucketStart::of(EventTime::from_micros(micros), 60), BucketStart::of(EventTime::from_micros(begin), 60));
    }
}
