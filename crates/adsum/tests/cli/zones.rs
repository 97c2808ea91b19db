//! Days and hours of time zones: where clocks change, where offsets are odd, where a day never was.

use crate::events::{Event, text};
use crate::place::{Place, lines, sum};

/// An event at each of these moments.
fn place(times: &[&str]) -> Place {
    let place = Place::new();
    let events: Vec<Event> = times.iter().enumerate().map(|(i, time)| Event::new(&format!("e{i}")).at(time)).collect();
    place.write("events.ndjson", text(&events));
    assert_eq!(place.import(&["events.ndjson"]).figures.counted, times.len() as i64);
    place
}

/// The buckets of a report and their impressions.
fn counts(place: &Place, args: &[&str]) -> Vec<String> {
    lines(&place.report(args), &["impressions"])
}

/// A zone, moments, and the days and hours that they make.
fn check(zone: &str, times: &[&str], days: &[&str], hours: &[&str]) {
    let place = place(times);
    assert_eq!(counts(&place, &["--granularity", "day", "--tz", zone]), days, "days of {zone}");
    assert_eq!(counts(&place, &["--granularity", "hour", "--tz", zone]), hours, "hours of {zone}");
    let minutes = sum(&place.report(&["--granularity", "minute", "--tz", zone]), "impressions");
    assert_eq!(minutes, times.len() as i64, "minutes of {zone}");
}

#[test]
fn a_day_of_23_hours() {
    check(
        "Europe/London",
        &[
            "2026-03-28T23:59:59.999999Z",
            "2026-03-29T00:00:00Z",
            "2026-03-29T00:59:59Z",
            "2026-03-29T01:00:00Z",
            "2026-03-29T22:59:59Z",
            "2026-03-29T23:00:00Z",
        ],
        &["2026-03-28T00:00:00Z 1", "2026-03-29T00:00:00Z 4", "2026-03-30T00:00:00+01:00 1"],
        &[
            "2026-03-28T23:00:00Z 1",
            "2026-03-29T00:00:00Z 2",
            "2026-03-29T02:00:00+01:00 1",
            "2026-03-29T23:00:00+01:00 1",
            "2026-03-30T00:00:00+01:00 1",
        ],
    );
}

#[test]
fn a_day_of_25_hours() {
    check(
        "Europe/London",
        &[
            "2026-10-24T22:59:59Z",
            "2026-10-24T23:00:00Z",
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-25T23:59:59Z",
            "2026-10-26T00:00:00Z",
        ],
        &["2026-10-24T00:00:00+01:00 1", "2026-10-25T00:00:00+01:00 4", "2026-10-26T00:00:00Z 1"],
        &[
            "2026-10-24T23:00:00+01:00 1",
            "2026-10-25T00:00:00+01:00 1",
            // The hour from one to two comes twice, and is two rows.
            "2026-10-25T01:00:00+01:00 1",
            "2026-10-25T01:00:00Z 1",
            "2026-10-25T23:00:00Z 1",
            "2026-10-26T00:00:00Z 1",
        ],
    );
}

#[test]
fn an_offset_of_three_quarters() {
    check(
        "Asia/Kathmandu",
        &["2026-11-20T18:14:59Z", "2026-11-20T18:15:00Z", "2026-11-20T19:14:59Z", "2026-11-20T19:15:00Z"],
        &["2026-11-20T00:00:00+05:45 1", "2026-11-21T00:00:00+05:45 3"],
        &["2026-11-20T23:00:00+05:45 1", "2026-11-21T00:00:00+05:45 2", "2026-11-21T01:00:00+05:45 1"],
    );
}

#[test]
fn a_day_that_never_was() {
    check(
        "Pacific/Apia",
        &["2011-12-30T09:59:59Z", "2011-12-30T10:00:00Z", "2011-12-31T09:59:59Z", "2011-12-31T10:00:00Z"],
        &["2011-12-29T00:00:00-10:00 1", "2011-12-31T00:00:00+14:00 2", "2012-01-01T00:00:00+14:00 1"],
        &[
            "2011-12-29T23:00:00-10:00 1",
            "2011-12-31T00:00:00+14:00 1",
            "2011-12-31T23:00:00+14:00 1",
            "2012-01-01T00:00:00+14:00 1",
        ],
    );
}

#[test]
fn ranges_are_half_open_and_read_in_the_zone() {
    let place = place(&[
        "2026-03-28T23:59:59Z",
        "2026-03-29T00:00:00Z",
        "2026-03-29T12:00:00Z",
        "2026-03-29T22:59:59Z",
        "2026-03-29T23:00:00Z",
    ]);
    let cases: [(&[&str], i64); 12] = [
        (&[], 5),
        (&["--from", "2026-03-29"], 4),
        (&["--from", "2026-03-29", "--to", "2026-03-30"], 4),
        (&["--from", "2026-03-29", "--to", "2026-03-30", "--tz", "Europe/London"], 3),
        (&["--to", "2026-03-29", "--tz", "Europe/London"], 1),
        (&["--from", "2026-03-29T13:00", "--tz", "Europe/London"], 3),
        (&["--from", "2026-03-29T13:01", "--tz", "Europe/London"], 2),
        (&["--from", "2026-03-29T12:00:00Z", "--to", "2026-03-29T12:01:00Z", "--tz", "Asia/Kathmandu"], 1),
        (&["--from", "2026-03-29T17:45:00+05:45", "--to", "2026-03-29T12:01:00Z"], 1),
        (&["--from", "2026-03-29T12:01:00Z", "--to", "2026-03-29T12:02:00Z"], 0),
        (&["--from", "2027-01-01"], 0),
        (&["--to", "2026-01-01"], 0),
    ];
    for (args, want) in cases {
        let rows = place.report(&[&["--granularity", "minute"], args].concat());
        assert_eq!(sum(&rows, "impressions"), want, "{args:?}");
    }
}

#[test]
fn campaigns_and_filters() {
    let place = Place::new();
    let event = |id: &str, campaign: &str, country: &str| {
        let event = Event::new(id).with("campaignId", campaign).with("deviceType", "mobile");
        if country.is_empty() { event } else { event.with("country", country) }
    };
    let events = [
        event("1", "camp_1", "US"),
        event("2", "camp_1", "DE"),
        event("3", "camp_1", ""),
        event("4", "camp_2", "US"),
        event("5", "=camp,\"3\"", "US"),
    ];
    place.write("events.ndjson", text(&events));
    place.import(&["events.ndjson"]);
    let cases: [(&[&str], i64); 9] = [
        (&["--campaign", "camp_1"], 3),
        (&["--campaign", "camp_9"], 0),
        (&["--filter", "country=US"], 3),
        (&["--filter", "country=US", "--filter", "country=DE"], 4),
        (&["--filter", "country="], 1),
        (&["--filter", "country=US", "--campaign", "camp_1"], 1),
        (&["--filter", "deviceType=mobile", "--filter", "country="], 1),
        (&["--filter", "campaignId==camp,\"3\""], 1),
        (&["--filter", "publisherId="], 5),
    ];
    for (args, want) in cases {
        let rows = place.report(&[&["--granularity", "day", "--by", "campaignId"], args].concat());
        assert_eq!(sum(&rows, "impressions"), want, "{args:?}");
    }
    let csv = place.run(&["report", "--granularity", "day", "--by", "country,campaignId", "--format", "csv"]).ok();
    let want = [
        "bucketStart,country,campaignId,currency,impressions,",
        "2026-11-20T00:00:00Z,,camp_1,USD,1,",
        "2026-11-20T00:00:00Z,DE,camp_1,USD,1,",
        "2026-11-20T00:00:00Z,US,\"'=camp,\"\"3\"\"\",USD,1,",
        "2026-11-20T00:00:00Z,US,camp_1,USD,1,",
        "2026-11-20T00:00:00Z,US,camp_2,USD,1,",
    ];
    for (line, want) in csv.split_terminator("\r\n").zip(want) {
        assert!(line.starts_with(want), "{line}");
    }
    assert_eq!(csv.split_terminator("\r\n").count(), want.len());
}
