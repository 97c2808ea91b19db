//! Questions that get no answer: each with its status, its code and the parameter that it is about.

use super::reports::place;
use super::server::Server;

const RANGE: &str = "from=2026-03-28&to=2026-03-31";

#[test]
fn bad_queries_are_named() {
    let place = place();
    let server = Server::start(&place, &["--config", "euro.toml"]);
    let check = |path: &str, status: u16, code: &str, param: Option<&str>| {
        let answer = server.get(path);
        let problem = answer.expect(status);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
        assert_eq!((problem["code"].as_str(), problem["param"].as_str()), (Some(code), param), "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().len() > 10, "{path}: {problem}");
    };
    for (query, code, param) in [
        ("to=2026-03-31", "missing_parameter", Some("from")),
        ("from=2026-03-28", "missing_parameter", Some("to")),
        ("from=2026-03-28&from=2026-03-28&to=2026-03-31", "repeated_parameter", Some("from")),
        ("from=2026-03-31&to=2026-03-28", "invalid_range", Some("from")),
        ("from=2026-03-31&to=2026-03-31", "invalid_range", Some("from")),
        ("from=yesterday&to=2026-03-31", "invalid_time", Some("from")),
        ("from=2026-03-28T00:00:00+05:45&to=2026-03-31", "invalid_time", Some("from")),
        ("from=2026-03-28T00:00:00.5Z&to=2026-03-31", "invalid_time", Some("from")),
        ("from=2026-02-30&to=2026-03-31", "invalid_time", Some("from")),
        ("from=2026-03-28T00:30:00Z&to=2026-03-31", "misaligned", Some("from")),
        ("from=2026-03-28&to=2026-03-30T12:00:00Z&granularity=day", "misaligned", Some("to")),
        ("from=2026-03-28T00:00:00Z&to=2026-03-31&timeZone=Asia/Kathmandu", "misaligned", Some("from")),
        ("from=2026-03-01&to=2026-03-31&granularity=minute", "range_too_long", Some("to")),
        ("from=2026-03-01&to=2026-03-31&granularity=bucket", "range_too_long", Some("to")),
        ("from=2026-01-01&to=2026-06-01", "range_too_long", Some("to")),
        ("from=2016-01-01&to=2026-01-01&granularity=day", "range_too_long", Some("to")),
    ] {
        check(&format!("/v1/reports?{query}"), 400, code, param);
    }
    for (query, code, param) in [
        ("mood=good", "unknown_parameter", Some("mood")),
        ("Dimensions=country", "unknown_parameter", Some("Dimensions")),
        ("granularity=week", "unknown_granularity", Some("granularity")),
        ("timeZone=Mars/Olympus", "unknown_time_zone", Some("timeZone")),
        ("dimensions=mood", "unknown_dimension", Some("dimensions")),
        ("dimensions=country,country", "repeated_dimension", Some("dimensions")),
        ("dimensions=country&dimensions=adId", "repeated_parameter", Some("dimensions")),
        ("dimensions=country%27%3BDROP%20TABLE%20events--", "unknown_dimension", Some("dimensions")),
        ("dimensions=campaignId,publisherId,country,deviceType,adId", "too_many_dimensions", Some("dimensions")),
        ("dimensions=publisherId,adId", "no_rollup", Some("dimensions")),
        ("dimensions=publisherId&filter.placementId=p", "no_rollup", Some("dimensions")),
        ("filter.mood=good", "unknown_dimension", Some("filter.mood")),
        ("filter.=x", "unknown_dimension", Some("filter.")),
        ("orderBy=mood", "unknown_column", Some("orderBy")),
        ("orderBy=-", "unknown_column", Some("orderBy")),
        ("limit=0", "invalid_limit", Some("limit")),
        ("limit=10001", "invalid_limit", Some("limit")),
        ("limit=-1", "invalid_limit", Some("limit")),
        ("limit=%2B5", "invalid_limit", Some("limit")),
        ("cursor=abc", "invalid_cursor", Some("cursor")),
        ("asOf=rev_1", "as_of_unavailable", Some("asOf")),
        ("finalizedOnly=true", "finalized_only_unavailable", Some("finalizedOnly")),
    ] {
        check(&format!("/v1/reports?{RANGE}&{query}"), 400, code, param);
    }
    let many: String = (0..300).map(|i| format!("&filter.country={i}")).collect();
    check(&format!("/v1/reports?{RANGE}{many}"), 400, "too_many_parameters", None);
    let twice = format!("/v1/reports/campaigns/camp_1?{RANGE}&filter.campaignId=camp_2");
    check(&twice, 400, "repeated_parameter", Some("filter.campaignId"));
    for (path, code, param) in [
        ("ads/ad_1/aggregated_count?from=2026-03-28", "missing_parameter", Some("to")),
        ("ads/ad_1/aggregated_count?from=2026-03-28T00:00:30Z&to=2026-03-29", "misaligned", Some("from")),
        (
            "ads/ad_1/aggregated_count?from=2026-03-28&to=2026-03-29&filter.deviceType=tv",
            "no_rollup",
            Some("dimensions"),
        ),
        (
            "ads/ad_1/aggregated_count?from=2026-03-28&to=2026-03-29&filter.adId=2",
            "repeated_parameter",
            Some("filter.adId"),
        ),
        ("ads/ad_1/distinct_users?from=2026-03-28T00:01:00Z&to=2026-03-29", "no_distinct_users", None),
        ("ads/ad_1/distinct_users?from=2026-03-28&to=2026-03-29&filter.country=US", "no_distinct_users", None),
        ("ads/ad_1/distinct_users?from=2026-03-01&to=2026-03-29", "range_too_long", Some("to")),
        ("ads/popular_ads?count=0", "invalid_parameter", Some("count")),
        ("ads/popular_ads?window=1441m", "invalid_parameter", Some("window")),
        ("ads/popular_ads?window=5", "invalid_parameter", Some("window")),
        ("ads/popular_ads?by=spendMicros", "unknown_column", Some("by")),
        ("ads/popular_ads?from=2026-03-28", "unknown_parameter", Some("from")),
        ("conservation?from=2026-03-28T00:30:00Z", "misaligned", Some("from")),
        ("conservation?from=2026-03-28&to=2026-03-28", "invalid_range", Some("from")),
        ("conservation?campaign=camp_1", "unknown_parameter", Some("campaign")),
        ("pipeline?verbose=1", "unknown_parameter", Some("verbose")),
        ("events/stream?since=1", "unknown_parameter", Some("since")),
    ] {
        check(&format!("/v1/{path}"), 400, code, param);
    }
}

#[test]
fn what_is_not_there_looks_like_what_may_not_be_seen() {
    let place = place();
    let server = Server::start(&place, &["--config", "euro.toml"]);
    let of = |campaign: &str| server.get(&format!("/v1/reports/campaigns/{campaign}?{RANGE}"));
    let mut missing = of("no_such").expect(404);
    assert_eq!(missing["code"], "not_found");
    missing.as_object_mut().unwrap().remove("requestId");
    for name in ["camp_1%00", "camp_1%20", "%FF"] {
        let mut other = of(name).expect(404);
        other.as_object_mut().unwrap().remove("requestId");
        assert_eq!(missing, other, "{name}");
    }
    // A question that is wrong is wrong whoever asks, and whatever for.
    let wrong = |campaign: &str| server.get(&format!("/v1/reports/campaigns/{campaign}?from=x&to=y")).status;
    assert_eq!((wrong("no_such"), wrong("camp_1")), (400, 400));
}

#[test]
fn streams_and_media_types() {
    let place = place();
    let server = Server::start(&place, &["--config", "euro.toml"]);
    let ask = |accept: &str, more: &str| {
        server.request_as(
            Some(&server.token),
            "GET",
            &format!("/v1/reports?{RANGE}{more}"),
            &[("accept", accept)],
            None,
        )
    };
    for (accept, want) in [
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("text/html, text/csv;q=0.9, */*;q=0.1", "text/csv; charset=utf-8"),
        ("application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.stream"),
    ] {
        assert_eq!(ask(accept, "").header("content-type"), Some(want), "{accept}");
    }
    let refused = ask("text/html", "").expect(406);
    assert_eq!((refused["code"].as_str(), refused["param"].as_str()), (Some("not_acceptable"), Some("Accept")));
    for (more, param) in [("&limit=5", "limit"), ("&orderBy=-clicks", "orderBy")] {
        let refused = ask("text/csv", more).expect(400);
        assert_eq!((refused["code"].as_str(), refused["param"].as_str()), (Some("not_in_a_stream"), Some(param)));
    }
    let refused = ask("text/csv", "&dimensions=mood").expect(400);
    assert_eq!(refused["code"], "unknown_dimension", "what is wrong before the first chunk is a problem document");
}
