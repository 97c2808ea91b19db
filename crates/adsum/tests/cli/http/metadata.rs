//! The metadata from outside: what may be put, by whom, and what is shown.
//!
//! Invariant: every answer is asked of the real server. Not here: what outlives restarts, kills and a lost store
//! ([`super::metadata_kept`]).

use serde_json::{Value, json};

use super::server::Server;
use crate::events::{Event, text};
use crate::place::{Place, lines};

/// One request and what must come of it: the status, and the code and the param of a problem.
type Case<'a> = (&'a str, &'a str, Value, u16, &'a str, &'a str);

#[track_caller]
fn check(server: &Server, cases: &[Case<'_>]) {
    for (method, path, body, status, code, param) in cases {
        let body = body.to_string();
        let answer = server.request(method, path, Some(("application/json", body.as_bytes())));
        assert_eq!(answer.status, *status, "{method} {path} {body}: {}", answer.text());
        if *status >= 400 {
            let problem = answer.json();
            let told = (problem["code"].as_str().unwrap(), problem["param"].as_str().unwrap_or_default());
            assert_eq!(told, (*code, *param), "{method} {path} {body}");
        }
    }
}

const NOUNS: [&str; 5] = ["advertisers", "campaigns", "ads", "publishers", "placements"];

/// Puts one of each.
pub fn put_one_of_each(server: &Server) {
    check(
        server,
        &[
            ("PUT", "/v1/advertisers/adv_1", json!({"name": "One", "timeZone": "Europe/London"}), 200, "", ""),
            ("PUT", "/v1/campaigns/camp_1", json!({"advertiser": "adv_1", "currency": "EUR"}), 200, "", ""),
            ("PUT", "/v1/ads/ad_1", json!({"campaignId": "camp_1"}), 200, "", ""),
            ("PUT", "/v1/publishers/pub_1", json!({"name": "<script>"}), 200, "", ""),
            ("PUT", "/v1/placements/pl_1", json!({"publisherId": "pub_1"}), 200, "", ""),
        ],
    );
}

/// Everything that can be read.
pub fn everything(server: &Server) -> Vec<Value> {
    let lists = NOUNS.iter().chain(&["tokens", "site-keys", "click-destinations", "audit"]);
    let mut all: Vec<Value> =
        lists.map(|list| server.get(&format!("/v1/{list}?limit=1000")).expect(200)["items"].clone()).collect();
    // A page of the audit moves on with each start and end.
    let acts = all[8].as_array_mut().unwrap();
    acts.retain(|act| act["source"] != "server");
    acts.truncate(900);
    let campaigns: Vec<Value> = all[1].as_array().unwrap().clone();
    for campaign in campaigns {
        all.push(server.get(&format!("/v1/campaigns/{}/history", campaign["id"].as_str().unwrap())).expect(200));
    }
    all
}

/// The ids of a list.
pub fn ids(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

#[test]
fn table_of_changes() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    put_one_of_each(&server);
    let campaign = |more: Value| {
        let mut body = json!({"advertiser": "adv_1", "currency": "EUR"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let long = "x".repeat(257);
    check(
        &server,
        &[
            // Advertisers.
            ("PUT", "/v1/advertisers/a", json!({}), 400, "missing_field", "timeZone"),
            ("PUT", "/v1/advertisers/a", json!({"timeZone": "Mars/Olympus"}), 400, "unknown_time_zone", "timeZone"),
            ("PUT", "/v1/advertisers/a", json!({"timeZone": 1}), 400, "invalid_type", "timeZone"),
            ("PUT", "/v1/advertisers/a", json!({"timeZone": "UTC", "nam": "x"}), 400, "unknown_field", "nam"),
            (
                "PUT",
                "/v1/advertisers/a",
                json!({"timeZone": "UTC", "name": "a\u{202e}b"}),
                400,
                "forbidden_character",
                "name",
            ),
            ("PUT", "/v1/advertisers/a", json!({"timeZone": "UTC", "name": long}), 400, "too_long", "name"),
            ("PUT", "/v1/advertisers/a", json!({"timeZone": "UTC", "id": "b"}), 400, "id_mismatch", "id"),
            ("PUT", "/v1/advertisers/a", json!({"timeZone": "UTC", "id": "a", "name": null}), 200, "", ""),
            ("PUT", "/v1/advertisers/a%00b", json!({"timeZone": "UTC"}), 400, "forbidden_character", "id"),
            ("PUT", "/v1/advertisers/a", json!([1]), 400, "not_an_object", ""),
            // Campaigns.
            ("PUT", "/v1/campaigns/c", json!({"currency": "EUR"}), 400, "missing_field", "advertiser"),
            ("PUT", "/v1/campaigns/c", json!({"advertiser": "adv_1"}), 400, "missing_field", "currency"),
            (
                "PUT",
                "/v1/campaigns/c",
                campaign(json!({"advertiser": "adv_9"})),
                400,
                "unknown_advertiser",
                "advertiser",
            ),
            ("PUT", "/v1/campaigns/c", campaign(json!({"currency": "eur"})), 400, "invalid_currency", "currency"),
            ("PUT", "/v1/campaigns/c", campaign(json!({"billable": "cpx"})), 400, "invalid_value", "billable"),
            ("PUT", "/v1/campaigns/c", campaign(json!({"status": "on"})), 400, "invalid_value", "status"),
            ("PUT", "/v1/campaigns/c", campaign(json!({"start": "2026-11-21"})), 400, "invalid_time", "start"),
            ("PUT", "/v1/campaigns/c", campaign(json!({"effectiveFrom": "now"})), 400, "invalid_time", "effectiveFrom"),
            (
                "PUT",
                "/v1/campaigns/c",
                campaign(json!({"start": "2026-11-21T00:00:00Z", "end": "2026-11-21T01:00:00+01:00"})),
                400,
                "end_before_start",
                "end",
            ),
            ("PUT", "/v1/campaigns/c", campaign(json!({"status": "paused", "billable": "cpa"})), 200, "", ""),
            // Ads and placements.
            ("PUT", "/v1/ads/a", json!({"campaignId": "nobody"}), 400, "unknown_campaign", "campaignId"),
            ("PUT", "/v1/ads/a", json!({}), 400, "missing_field", "campaignId"),
            ("PUT", "/v1/placements/p", json!({"publisherId": "nobody"}), 400, "unknown_publisher", "publisherId"),
            // What is not there.
            ("GET", "/v1/campaigns/nobody", Value::Null, 404, "not_found", ""),
            ("GET", "/v1/campaigns/nobody/history", Value::Null, 404, "not_found", ""),
            ("DELETE", "/v1/tokens/tk_1", Value::Null, 404, "not_found", ""),
            ("DELETE", "/v1/site-keys/sk_1", Value::Null, 404, "not_found", ""),
            ("DELETE", "/v1/click-destinations/cd_1", Value::Null, 404, "not_found", ""),
            // Tokens, site keys, destinations.
            ("POST", "/v1/tokens", json!({"source": "s"}), 400, "missing_field", "role"),
            ("POST", "/v1/tokens", json!({"role": "root", "source": "s"}), 400, "invalid_value", "role"),
            ("POST", "/v1/tokens", json!({"role": "reporter"}), 400, "missing_field", "source"),
            ("POST", "/v1/tokens", json!({"role": "reporter", "source": ""}), 400, "empty", "source"),
            (
                "POST",
                "/v1/tokens",
                json!({"role": "reporter", "source": "s", "advertiser": "adv_9"}),
                400,
                "unknown_advertiser",
                "advertiser",
            ),
            (
                "POST",
                "/v1/tokens",
                json!({"role": "reporter", "source": "s", "expiresAt": "2020-01-01T00:00:00Z"}),
                400,
                "out_of_range",
                "expiresAt",
            ),
            (
                "POST",
                "/v1/tokens",
                json!({"role": "collector", "source": "s", "eventsPerSecond": 0}),
                400,
                "out_of_range",
                "eventsPerSecond",
            ),
            ("POST", "/v1/site-keys", json!({"source": "web", "eventsPerSecond": 10}), 201, "", ""),
            ("POST", "/v1/site-keys", json!({"source": "web", "secret": 1}), 400, "unknown_field", "secret"),
            ("POST", "/v1/click-destinations", json!({"url": "https://shop.example/a"}), 201, "", ""),
            ("POST", "/v1/click-destinations", json!({"url": "HTTPS://SHOP.example/a"}), 409, "already_there", "url"),
            ("POST", "/v1/click-destinations", json!({"url": "javascript:alert(1)"}), 400, "invalid_url", "url"),
            ("POST", "/v1/click-destinations", json!({}), 400, "missing_field", "url"),
            // Lists.
            ("GET", "/v1/ads?limit=0", Value::Null, 400, "out_of_range", "limit"),
            ("GET", "/v1/ads?limit=1&limit=2", Value::Null, 400, "repeated_parameter", "limit"),
            ("GET", "/v1/ads?cursor=%2A", Value::Null, 400, "invalid_cursor", "cursor"),
            ("GET", "/v1/audit?cursor=YQ", Value::Null, 400, "invalid_cursor", "cursor"),
            ("GET", "/v1/ads?page=2", Value::Null, 400, "unknown_parameter", "page"),
        ],
    );
    let raw = |body: &str, content_type: &str| {
        server.request("PUT", "/v1/publishers/p", Some((content_type, body.as_bytes()))).expect_problem()
    };
    assert_eq!(raw(r#"{"name":"a","name":"b"}"#, "application/json"), (400, "duplicate_field".into(), "name".into()));
    assert_eq!(raw(r#"{"name":"#, "application/json"), (400, "invalid_json".into(), String::new()));
    assert_eq!(raw("{}", "text/plain"), (415, "unsupported_media_type".into(), "Content-Type".into()));
    assert_eq!(raw(&" ".repeat(70_000), "application/json").0, 413);
    let campaign = server.get("/v1/campaigns/c").expect(200);
    assert_eq!((&campaign["billable"], &campaign["status"]), (&json!("cpa"), &json!("paused")), "{campaign}");
    assert_eq!(server.get("/v1/campaigns/camp_1").expect(200)["billable"], "cpm", "the default");
    assert_eq!(server.get("/v1/publishers/pub_1").expect(200)["name"], "<script>", "text is text");
}

#[test]
fn lists_come_in_pages_and_what_holds_already_is_no_change() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    for id in ["c", "a", "d", "b", "e"] {
        server.put(&format!("/v1/publishers/{id}"), &json!({})).expect(200);
    }
    let first = server.get("/v1/publishers?limit=2").expect(200);
    assert_eq!(ids(&first), ["a", "b"]);
    let second = format!("/v1/publishers?limit=2&cursor={}", first["nextCursor"].as_str().unwrap());
    assert_eq!(ids(&server.get(&second).expect(200)), ["c", "d"]);
    server.put("/v1/publishers/aa", &json!({})).expect(200);
    assert_eq!(ids(&server.get(&second).expect(200)), ["c", "d"], "a cursor stays where it is");
    let last = server.get("/v1/publishers?limit=4&cursor=YQ").expect(200);
    assert_eq!(ids(&last), ["aa", "b", "c", "d"]);
    let all = server.get("/v1/publishers").expect(200);
    assert_eq!((ids(&all).len(), &all["nextCursor"]), (6, &Value::Null));
    put_one_of_each(&server);
    let before = everything(&server);
    put_one_of_each(&server);
    assert_eq!(everything(&server), before, "the same again is no change, no version and no act");
    let acts = before[8].as_array().unwrap();
    let actions: Vec<&str> = acts.iter().rev().map(|act| act["action"].as_str().unwrap()).collect();
    assert_eq!(actions[0], "token.create");
    assert_eq!(
        actions[actions.len() - 5..],
        ["advertiser.put", "campaign.put", "ad.put", "publisher.put", "placement.put"]
    );
    let headers = [("x-request-id", "req-17")];
    let body = Some(("application/json", &br#"{"name":"z"}"#[..]));
    server.request_as(Some(&server.token), "PUT", "/v1/publishers/a", &headers, body).expect(200);
    let act = &server.get("/v1/audit?limit=1").expect(200)["items"][0];
    let token = &server.get("/v1/tokens").expect(200)["items"][0]["id"];
    assert_eq!((&act["requestId"], &act["tokenId"], &act["target"]), (&json!("req-17"), token, &json!("a")));
    assert_eq!(act["detail"], json!({"name": "z"}));
}

#[test]
fn a_campaign_keeps_its_history() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    put_one_of_each(&server);
    let put = |from: &str, billable: &str| {
        let body = json!({"advertiser": "adv_1", "currency": "EUR", "billable": billable, "effectiveFrom": from});
        server.put("/v1/campaigns/camp_1", &body).expect(200)
    };
    let past = put("2026-01-01T00:00:00Z", "cpa");
    assert_eq!((&past["billable"], &past["effectiveFrom"]), (&json!("cpa"), &json!("2026-01-01T00:00:00Z")));
    put("2026-01-01T02:00:00+02:00", "cpc");
    put("2090-01-01T00:00:00Z", "cpc");
    // In force is the first version, put without a date: it holds from when it was put.
    assert_eq!(server.get("/v1/campaigns/camp_1").expect(200)["billable"], "cpm");
    let history = server.get("/v1/campaigns/camp_1/history").expect(200);
    let versions: Vec<(&str, u64)> = (history["items"].as_array().unwrap().iter())
        .map(|v| (v["billable"].as_str().unwrap(), v["metadataRevision"].as_u64().unwrap()))
        .collect();
    assert_eq!(versions, [("cpa", 8), ("cpc", 9), ("cpm", 4), ("cpc", 10)], "{history}");
    put("2090-01-01T00:00:00Z", "cpc");
    assert_eq!(server.get("/v1/campaigns/camp_1/history").expect(200), history, "the same again is no version");
}

#[test]
fn bulk_loads_are_all_or_nothing_and_quick() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let load =
        |text: &str| server.request("POST", "/v1/metadata/bulk", Some(("application/x-ndjson", text.as_bytes())));
    let head = "{\"kind\":\"advertiser\",\"id\":\"adv_1\",\"timeZone\":\"UTC\"}\n\n\
                {\"kind\":\"campaign\",\"id\":\"camp_1\",\"advertiser\":\"adv_1\",\"currency\":\"USD\"}\n";
    for (line, code, param) in [
        ("{\"kind\":\"ad\",\"id\":\"x\",\"campaignId\":\"camp_2\"}", "unknown_campaign", "campaignId"),
        ("{\"kind\":\"token\",\"id\":\"x\"}", "invalid_value", "kind"),
        ("{\"id\":\"x\"}", "missing_field", "kind"),
        ("{\"kind\":\"ad\"}", "missing_field", "id"),
        ("[]", "not_an_object", ""),
        ("{", "invalid_json", ""),
    ] {
        let problem = load(&format!("{head}{line}\n")).expect(400);
        assert_eq!((&problem["code"], problem["param"].as_str().unwrap_or_default()), (&json!(code), param), "{line}");
        assert!(problem["detail"].as_str().unwrap().starts_with("line 4:"), "{problem}");
    }
    assert_eq!(ids(&server.get("/v1/advertisers").expect(200)).len(), 0, "nothing of a refused load is there");
    let ads: String =
        (0..100_000).map(|i| format!("{{\"kind\":\"ad\",\"id\":\"ad_{i:06}\",\"campaignId\":\"camp_1\"}}\n")).collect();
    let answer = load(&format!("{head}{ads}")).expect(200);
    assert_eq!((&answer["received"], &answer["changed"]), (&json!(100_002), &json!(100_002)));
    let again = load(&format!("{head}{ads}")).expect(200);
    assert_eq!((&again["changed"], &again["metadataRevision"]), (&json!(0), &answer["metadataRevision"]));
    assert_eq!(server.get("/v1/ads/ad_099999").expect(200)["campaignId"], "camp_1");
    assert_eq!(server.stop(), Some(0));
    let server = Server::start(&place, &[]);
    assert_eq!(server.get("/v1/ads/ad_099999").expect(200)["campaignId"], "camp_1");
}

#[test]
fn tokens_end_and_see_what_is_theirs() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    put_one_of_each(&server);
    server.put("/v1/advertisers/adv_2", &json!({"timeZone": "Asia/Kathmandu"})).expect(200);
    server.put("/v1/campaigns/camp_2", &json!({"advertiser": "adv_2", "currency": "USD"})).expect(200);
    server.put("/v1/ads/ad_2", &json!({"campaignId": "camp_2"})).expect(200);
    let make = |more: Value| {
        let mut body = json!({"role": "reporter", "source": "agency"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post("/v1/tokens", &body).expect(201)
    };
    let get = |token: &Value, path: &str| server.request_as(token["token"].as_str(), "GET", path, &[], None);
    let scoped = make(json!({"advertiser": "adv_2"}));
    for (path, seen) in [("advertisers", "adv_2"), ("campaigns", "camp_2"), ("ads", "ad_2")] {
        assert_eq!(ids(&get(&scoped, &format!("/v1/{path}")).expect(200)), [seen]);
        get(&scoped, &format!("/v1/{path}/{seen}")).expect(200);
    }
    for (theirs, nobodys) in [
        ("/v1/advertisers/adv_1", "/v1/advertisers/nobody"),
        ("/v1/campaigns/camp_1", "/v1/campaigns/nobody"),
        ("/v1/campaigns/camp_1/history", "/v1/campaigns/nobody/history"),
        ("/v1/ads/ad_1", "/v1/ads/nobody"),
    ] {
        let mut answers = [get(&scoped, theirs).expect(404), get(&scoped, nobodys).expect(404)];
        answers.iter_mut().for_each(|a| a["requestId"] = Value::Null);
        assert_eq!(answers[0], answers[1], "{theirs}");
    }
    // Revoked: at once, and for ever.
    let id = scoped["id"].as_str().unwrap();
    let revoked = server.request("DELETE", &format!("/v1/tokens/{id}"), None).expect(200);
    assert_eq!(get(&scoped, "/v1/ads").expect(401)["code"], "token_unknown");
    assert_eq!(
        server.request("DELETE", &format!("/v1/tokens/{id}"), None).expect(200),
        revoked,
        "the first one stands"
    );
    // Expired.
    let now: jiff::Timestamp = scoped["changedAt"].as_str().unwrap().parse().unwrap();
    let brief = make(json!({"expiresAt": (now + jiff::SignedDuration::from_secs(5)).to_string()}));
    get(&brief, "/v1/ads").expect(200);
    let expires = (0..1_000_000).any(|_| get(&brief, "/v1/ads").status != 200);
    assert!(expires);
    assert_eq!(get(&brief, "/v1/ads").expect(401)["code"], "token_expired");
    // One administrator stays.
    let own = server.get("/v1/tokens").expect(200);
    let own = own["items"].as_array().unwrap().iter().find(|t| t["role"] == "admin").unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let revoke_own = format!("/v1/tokens/{own}");
    check(&server, &[("DELETE", &revoke_own, Value::Null, 409, "last_admin_token", "")]);
    let limited = make(json!({"role": "admin", "advertiser": "adv_1"}));
    assert_eq!(limited["role"], "admin");
    check(&server, &[("DELETE", &revoke_own, Value::Null, 409, "last_admin_token", "")]);
    let other = make(json!({"role": "admin"}));
    server.request("DELETE", &revoke_own, None).expect(200);
    assert_eq!(server.get("/v1/ads").status, 401);
    get(&other, "/v1/ads").expect(200);
    assert_eq!(server.stop(), Some(0));
    let serve = ["serve", "--listen", "127.0.0.1:0", "--token-file", "token"];
    place.run(&serve).fails(1, &["was revoked", "take the file away"]);
}

#[test]
fn currency_and_advertiser_are_fixed_by_the_first_event() {
    let place = Place::new();
    place.write(
        "events.ndjson",
        text(&[Event::new("1").with("campaignId", "counted"), Event::new("2").with("campaignId", "kept")]),
    );
    let server = Server::start(&place, &[]);
    server.put("/v1/advertisers/adv_1", &json!({"timeZone": "UTC"})).expect(200);
    server.put("/v1/advertisers/adv_2", &json!({"timeZone": "UTC"})).expect(200);
    server.put("/v1/campaigns/counted", &json!({"advertiser": "adv_1", "currency": "EUR"})).expect(200);
    // Without events both may change.
    server.put("/v1/campaigns/counted", &json!({"advertiser": "adv_2", "currency": "GBP"})).expect(200);
    server.put("/v1/campaigns/counted", &json!({"advertiser": "adv_1", "currency": "EUR"})).expect(200);
    assert_eq!(server.stop(), Some(0));
    // An import resolves by the same metadata.
    assert_eq!(place.import(&["events.ndjson"]).figures.counted, 2);
    let rows = place.report(&["--granularity", "day", "--by", "campaignId"]);
    assert_eq!(
        lines(&rows, &["campaignId", "currency"]),
        ["2026-11-20T00:00:00Z counted EUR", "2026-11-20T00:00:00Z kept USD",]
    );
    let server = Server::start(&place, &[]);
    let body = |advertiser: &str, currency: &str, billable: &str| json!({"advertiser": advertiser, "currency": currency, "billable": billable});
    let fixed = "fixed_once_counted";
    check(
        &server,
        &[
            ("PUT", "/v1/campaigns/counted", body("adv_1", "USD", "cpm"), 409, fixed, "currency"),
            ("PUT", "/v1/campaigns/counted", body("adv_2", "EUR", "cpm"), 409, fixed, "advertiser"),
            ("PUT", "/v1/campaigns/counted", body("adv_1", "EUR", "cpc"), 200, "", ""),
            // Declared after its first event: the currency that it was counted in, and its first advertiser.
            ("PUT", "/v1/campaigns/kept", body("adv_1", "EUR", "cpm"), 409, fixed, "currency"),
            ("PUT", "/v1/campaigns/kept", body("adv_2", "USD", "cpm"), 200, "", ""),
            ("PUT", "/v1/campaigns/kept", body("adv_1", "USD", "cpm"), 409, fixed, "advertiser"),
        ],
    );
    let line = r#"{"kind":"campaign","id":"counted","advertiser":"adv_1","currency":"USD"}"#;
    let bulk = server.request("POST", "/v1/metadata/bulk", Some(("application/x-ndjson", line.as_bytes())));
    assert_eq!(bulk.expect(409)["code"], fixed);
    assert_eq!(server.get("/v1/campaigns/counted").expect(200)["currency"], "EUR");
    drop(server);
    place.doctor(&[]);
}

#[test]
fn what_the_configuration_declares_is_changed_there() {
    let place = Place::new();
    place.write("adsum.toml", "[campaigns.fixed]\ncurrency = \"EUR\"\nbillable = \"cpc\"\nads = [\"ad_fixed\"]\n");
    let config = ["--config", "adsum.toml"];
    let server = Server::start(&place, &config);
    put_one_of_each(&server);
    let declared = "declared_in_configuration";
    check(
        &server,
        &[
            ("PUT", "/v1/campaigns/fixed", json!({"advertiser": "adv_1", "currency": "EUR"}), 409, declared, "id"),
            ("PUT", "/v1/ads/ad_fixed", json!({"campaignId": "camp_1"}), 409, declared, "id"),
            ("PUT", "/v1/ads/ad_more", json!({"campaignId": "fixed"}), 200, "", ""),
        ],
    );
    assert_eq!(ids(&server.get("/v1/campaigns").expect(200)), ["camp_1", "fixed"]);
    assert_eq!(server.get("/v1/ads/ad_fixed").expect(200)["declaredIn"], "configuration");
    assert_eq!(server.get("/v1/campaigns/fixed/history").expect(200)["items"][0]["billable"], "cpc");
    assert_eq!(server.stop(), Some(0));
    for (toml, named) in [
        ("[campaigns.camp_1]\ncurrency = \"EUR\"\n", "campaign \"camp_1\""),
        ("[campaigns.other]\nads = [\"ad_1\"]\n", "ad \"ad_1\""),
    ] {
        place.write("both.toml", toml);
        let serve = ["serve", "--listen", "127.0.0.1:0", "--token-file", "token", "--config", "both.toml"];
        place.run(&serve).fails(1, &[named, "both in the configuration and in the metadata"]);
    }
}

#[test]
fn a_token_file_is_made_or_must_be_right() {
    let own = "an-operators-own-token-of-32-chars";
    for bytes in
        ["", "\n", "adsum_", "adsum_0123", "password", &format!("{own} {own}"), &format!("{own}\u{e9}"), &own.repeat(9)]
    {
        let place = Place::new();
        place.write("token", bytes);
        let serve = ["serve", "--listen", "127.0.0.1:0", "--token-file", "token"];
        place.run(&serve).fails(1, &["token holds no token"]);
    }
    let place = Place::new();
    place.write("token", format!("{own}\n"));
    assert_eq!(ids(&Server::start(&place, &[]).get("/v1/tokens").expect(200)).len(), 1);
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(place.path("token")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(server.token.len(), "adsum_".len() + 64);
    server.get("/v1/tokens").expect(200);
    assert_eq!(server.stop(), Some(0));
    // Another file, another administrator; a file that was lost is made anew.
    std::fs::remove_file(place.path("token")).unwrap();
    let server = Server::start(&place, &[]);
    assert_eq!(ids(&server.get("/v1/tokens").expect(200)).len(), 2);
}

#[test]
fn the_command_line_manages_a_running_server() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = |args: &[&str]| {
        let remote = ["--url", &server.url, "--token-file", "token"];
        place.run(&[args, &remote].concat())
    };
    assert!(
        run(&["metadata", "put", "advertiser", "adv 1/x", r#"{"timeZone":"europe/london"}"#])
            .ok()
            .contains("Europe/London")
    );
    place.write(
        "load.ndjson",
        "{\"kind\":\"campaign\",\"id\":\"camp_1\",\"advertiser\":\"adv 1/x\",\"currency\":\"EUR\"}\n",
    );
    assert!(run(&["metadata", "load", "load.ndjson"]).ok().contains("changed: 1"));
    assert!(run(&["metadata", "show", "campaign", "camp_1"]).ok().contains("advertiser: adv 1/x"));
    let csv = run(&["metadata", "list", "campaign", "--format", "csv"]).ok();
    assert_eq!(csv, "id,name,advertiser,currency,billable,status,start,end\r\ncamp_1,,adv 1/x,EUR,cpm,active,,\r\n");
    assert_eq!(run(&["metadata", "history", "camp_1", "--format", "ndjson"]).ok().lines().count(), 1);
    let token =
        run(&["token", "create", "--role", "reporter", "--source", "agency", "--advertiser", "adv 1/x", "--json"]).ok();
    let token: Value = serde_json::from_str(&token).unwrap();
    let id = token["id"].as_str().unwrap();
    assert!(run(&["token", "list"]).ok().contains(id));
    assert!(run(&["token", "revoke", id]).ok().contains("revokedAt: "));
    let key: Value =
        serde_json::from_str(&run(&["metadata", "create", "site-key", r#"{"source":"web"}"#, "--json"]).ok()).unwrap();
    assert!(run(&["metadata", "remove", "site-key", key["id"].as_str().unwrap()]).ok().contains("revokedAt: "));
    run(&["metadata", "create", "click-destination", r#"{"url":"https://a.example/x"}"#]).ok();
    assert!(run(&["metadata", "list", "click-destination"]).ok().contains("https://a.example/x"));
    assert!(run(&["metadata", "list", "audit"]).ok().contains("siteKey.revoke"));
    run(&["metadata", "put", "ad", "ad_1", r#"{"campaignId":"camp_9"}"#]).fails(1, &["unknown_campaign", "campaignId"]);
    run(&["token", "create", "--role", "root", "--source", "s"]).fails(1, &["invalid_value", "role"]);
    place.run(&["token", "list"]).fails(1, &["running server", "--url"]);
}
