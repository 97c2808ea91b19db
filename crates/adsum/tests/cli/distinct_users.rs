//! Distinct users: estimates by dimensions and windows, over gross events.

use crate::events::{Event, text};
use crate::place::{Place, lines, sum};

/// 40 users over two campaigns, five minutes and two hours; every event twice under other ids.
fn place() -> Place {
    let place = Place::new();
    let mut events = Vec::new();
    for n in 0..80_u32 {
        let user = n % 40;
        let campaign = if user < 30 { "camp_1" } else { "camp_2" };
        let at = format!("2026-11-20T{:02}:{:02}:00Z", 10 + n / 40, user % 10);
        let event = Event::new(&format!("e{n}")).with("campaignId", campaign).with("adId", &format!("ad_{}", user % 3));
        events.push(event.at(&at).with("userId", &format!("user_{user}")));
    }
    events.push(Event::new("nobody"));
    place.write("events.ndjson", text(&events));
    place.write("off.toml", "distinct_users = []\n");
    assert_eq!(place.import(&["events.ndjson"]).figures.counted, 81);
    place
}

#[test]
fn users_are_counted_once_however_often_and_long_they_come() {
    let place = place();
    let answer = |args: &[&str]| {
        let rows = place.report(&[&["--distinct-users"], args].concat());
        lines(&rows, &["campaignId", "distinctUsers"])
    };
    let day = ["--by", "campaignId", "--granularity", "day"];
    assert_eq!(answer(&day), ["2026-11-20T00:00:00Z camp_1 30", "2026-11-20T00:00:00Z camp_2 10"]);
    let hour = ["--by", "campaignId", "--granularity", "hour", "--campaign", "camp_2"];
    assert_eq!(answer(&hour), ["2026-11-20T10:00:00Z camp_2 10", "2026-11-20T11:00:00Z camp_2 10"]);
    let ads = ["--distinct-users", "--by", "adId", "--granularity", "hour", "--from", "2026-11-20T11:05:00Z"];
    // Users 5 to 9, 15 to 19, 25 to 29 and 35 to 39 come behind 11:05.
    assert_eq!(sum(&place.report(&ads), "distinctUsers"), 20);
    // Where the set by hours does not fit, the one by campaign and ad does: a quarter past of UTC is an hour of Kathmandu.
    let kathmandu = ["--by", "campaignId", "--granularity", "hour", "--tz", "Asia/Kathmandu", "--campaign", "camp_2"];
    assert_eq!(answer(&kathmandu), ["2026-11-20T15:00:00+05:45 camp_2 10", "2026-11-20T16:00:00+05:45 camp_2 10"]);
    assert_eq!(answer(&[&day[..], &["--from", "2026-11-20T11:05:00Z"]].concat()).len(), 2);
}

#[test]
fn what_no_kept_set_can_answer_is_refused() {
    let place = place();
    let refused = |args: &[&str], words: &[&str]| {
        place.run(&[&["report", "--distinct-users"], args].concat()).fails(1, words);
    };
    refused(&["--by", "country", "--granularity", "day"], &["no set of distinct users", "campaignId by 3600 s"]);
    refused(&["--by", "campaignId", "--granularity", "minute"], &["no set of distinct users"]);
    refused(&["--by", "campaignId", "--granularity", "hour", "--from", "2026-11-20T10:31:00Z"], &["no set"]);
    refused(&["--by", "campaignId", "--granularity", "day", "--config", "off.toml"], &["no set"]);
}
