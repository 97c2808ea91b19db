//! Pixel and click: events by an address.
//!
//! Invariant: what is answered to a browser says nothing of the event, and what the event was is in the ledger.

use serde_json::Value;

use super::collect::{ledger, start};
use super::server::Server;
use crate::place::Place;

const CONFIG: &str = "[time]\nhorizon_seconds = 4000000000\n[collect]\nsite_keys = { sk_web = \"web\" }\n\
                      click_destinations = [\"https://shop.example/sale\"]\n";

#[test]
fn a_configuration_that_is_wrong_is_named() {
    for (text, words) in [
        ("[collect]\nbody_bytes_max = 0", "collect.body_bytes_max"),
        ("[collect]\nbody_bytes_max = 100000000", "collect.body_bytes_max"),
        ("[collect]\nevents_max = 0", "collect.events_max"),
        ("[collect]\nsite_keys = { sk_a = \"\" }", "collect.site_keys.sk_a"),
        ("[collect]\nclick_destinations = [\"javascript:alert(1)\"]", "collect.click_destinations"),
        ("[collect]\nclick_destinations = [\"https://a@shop.example/\"]", "collect.click_destinations"),
        ("[collect]\nclick_destinations = [\"https://shop.example/?a=1\"]", "collect.click_destinations"),
        ("[collect]\nother = 1", "other"),
        ("[privacy]\nip = \"hash\"", "ip"),
    ] {
        let place = Place::new();
        place.write("adsum.toml", text);
        place.run(&["config", "check", "--config", "adsum.toml"]).fails(1, &[words]);
    }
}

fn quarantined(place: &Place) -> Vec<Value> {
    let text = place.run(&["quarantine", "list", "--json", "--config", "adsum.toml"]).ok();
    serde_json::from_str::<Value>(&text).unwrap()["entries"].as_array().unwrap().clone()
}

#[test]
fn table_of_pixels() {
    let place = Place::new();
    let server = start(&place, CONFIG);
    let check = |query: &str| {
        let answer = server.request_as(None, "GET", &format!("/v1/pixel.gif?{query}"), &[], None);
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("image/gif"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.body.starts_with(b"GIF89a\x01\x00\x01\x00") && answer.body.ends_with(b";"), "{query}");
    };
    let good = "key=sk_web&eventType=impression&campaignId=camp_1";
    let counted = [
        format!("{good}&eventId=p_1"),
        format!("{good}&eventId=p_2&occurredAt=2020-01-01T00%3A00%3A00Z&priceMicros=1500"),
        format!("{good}&eventId=p%203&country=D%45&userAgent=own&ip=203.0.113.77"),
    ];
    let rejected = [
        (good.to_owned(), "missing_field", "eventId"),
        (format!("{good}&eventId=p_4&eventId=p_4"), "duplicate_field", "eventId"),
        (format!("{good}&eventId=p_5&eventType=click"), "duplicate_field", "eventType"),
        (format!("{good}&eventId=p_6&priceMicros=1.0"), "invalid_type", "priceMicros"),
        (format!("{good}&eventId=p_7&priceMicros=1%2C%22country%22%3A1"), "invalid_type", "priceMicros"),
        (format!("{good}&eventId=p_8&occurredAt=yesterday"), "invalid_time", "occurredAt"),
        (format!("{good}&eventId=p_%00"), "forbidden_character", "eventId"),
        (format!("{good}&eventId=p_%ff"), "invalid_utf8", ""),
        ("key=sk_web".to_owned(), "missing_field", "eventType"),
    ];
    counted.iter().chain(rejected.iter().map(|(query, ..)| query)).for_each(|query| check(query));
    // The same again is a duplicate.
    check(&counted[1]);
    for (query, status, code) in [
        ("eventId=p_9", 401, "unknown_site_key"),
        ("key=sk_other&eventId=p_9", 401, "unknown_site_key"),
        ("key=sk_web&key=sk_web&eventId=p_9", 401, "unknown_site_key"),
        (&format!("key=sk_web&eventId={}", "x".repeat(8192)), 414, "query_too_long"),
    ] {
        let answer = server.request_as(None, "GET", &format!("/v1/pixel.gif?{query}"), &[], None);
        assert_eq!(answer.expect(status)["code"], code);
    }
    // A preview is no impression.
    let preview = server.request_as(None, "HEAD", &format!("/v1/pixel.gif?{}", counted[0]), &[], None);
    assert_eq!(preview.status, 405);
    assert_eq!(server.stop(), Some(0));
    let ledger = ledger(&place, "web");
    let figures = ["counted", "duplicates", "rejected", "received"].map(|name| ledger[name].as_u64().unwrap());
    assert_eq!(figures, [3, 1, rejected.len() as u64, rejected.len() as u64 + 4], "{ledger}");
    let mut listed: Vec<(String, String)> = quarantined(&place)
        .iter()
        .map(|entry| ["code", "param"].map(|name| entry[name].as_str().unwrap_or_default().to_owned()).into())
        .collect();
    let mut want: Vec<(String, String)> =
        rejected.iter().map(|(_, code, param)| ((*code).to_owned(), (*param).to_owned())).collect();
    listed.sort();
    want.sort();
    assert_eq!(listed, want);
}

/// A click: status, and where it leads or why it does not.
fn click(server: &Server, path: &str) -> (u16, String) {
    let answer = server.request_as(None, "GET", path, &[("user-agent", "browser")], None);
    if answer.status == 302 {
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert!(answer.body.is_empty());
        return (302, answer.header("location").unwrap().to_owned());
    }
    assert_eq!(answer.header("location"), None);
    (answer.status, answer.json()["code"].as_str().unwrap().to_owned())
}

#[test]
fn table_of_clicks() {
    let place = Place::new();
    let server = start(&place, CONFIG);
    let good = "key=sk_web&campaignId=camp_1&u=https%3A%2F%2Fshop.example%2Fsale";
    let check = |query: &str, status: u16, want: &str| {
        assert_eq!(click(&server, &format!("/v1/click?{query}")), (status, want.to_owned()), "{query}");
    };
    check(&format!("{good}&eventId=c_1"), 302, "https://shop.example/sale");
    check(&format!("{good}%2Fshoes%3Fa%3D1%26b%3D2&eventId=c_2"), 302, "https://shop.example/sale/shoes?a=1&b=2");
    // Another type, if it is given; and an event that is wrong leads on all the same.
    check(&format!("{good}&eventId=c_3&eventType=conversion"), 302, "https://shop.example/sale");
    check(good, 302, "https://shop.example/sale");
    check(&format!("{good}&eventId=c_4&eventId=c_4"), 302, "https://shop.example/sale");
    check("u=https%3A%2F%2Fshop.example%2Fsale&eventId=c_5", 401, "unknown_site_key");
    // Not registered, and registered no event.
    let hostile = [
        "",
        "u=",
        "u=https%3A%2F%2Fevil.example%2Fsale",
        "u=%2F%2Fshop.example%2Fsale",
        "u=%2Fsale",
        "u=http%3A%2F%2Fshop.example%2Fsale",
        "u=https%3A%2F%2Fshop.example%2Fsalesman",
        "u=https%3A%2F%2Fshop.example%2Fsale%2F..%2Fadmin",
        "u=https%3A%2F%2Fshop.example%2Fsale%2F%252e%252e%2Fadmin",
        "u=https%3A%2F%2Fshop.example%2Fsale%2F..%255cadmin",
        "u=https%3A%2F%2Fshop.example%40evil.example%2Fsale",
        "u=https%3A%2F%2Fuser%3Apassword%40shop.example%2Fsale",
        "u=https%3A%2F%2Fevil.example%5C%40shop.example%2Fsale",
        "u=https%3A%5C%5Cshop.example%5Csale",
        "u=https%3A%2F%2Fshop.example.evil.example%2Fsale",
        "u=https%3A%2F%2Fshop.example%2Fsale%0D%0ASet-Cookie%3Aa%3Db",
        "u=https%3A%2F%2Fshop.exa%09mple%2Fsale",
        "u=%20https%3A%2F%2Fshop.example%2Fsale",
        "u=javascript%3Aalert(1)",
        "u=javascript%3A%2F%2Fshop.example%2Fsale%250aalert(1)",
        "u=https%3A%2F%2Fshop.example%2Fsale%ff",
        "u=https%3A%2F%2Fshop.example%2Fsale&u=https%3A%2F%2Fevil.example",
        "u=https%3A%2F%2Fevil.example%2F&sig=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "u=https%3A%2F%2Fevil.example%2F&sig=0000000000000000000000000000000000000000000000000000000000000000",
    ];
    for query in hostile {
        check(&format!("key=sk_web&campaignId=camp_1&eventId=c_6&{query}"), 400, "destination_not_allowed");
    }
    // A signed link leads anywhere, and nowhere else.
    let args =
        ["click", "sign", "https://elsewhere.example/x?a=1&b=2", "--key", "sk_web", "--url", server.url.as_str()];
    let link = place.run(&args).ok();
    let path = link.trim().strip_prefix(&server.url).unwrap();
    let signed = click(&server, &format!("{path}&campaignId=camp_1&eventId=c_7"));
    assert_eq!(signed, (302, "https://elsewhere.example/x?a=1&b=2".to_owned()));
    let bent = path.replace("elsewhere", "evil");
    assert_eq!(click(&server, &bent), (400, "destination_not_allowed".to_owned()));
    for bad in ["javascript:alert(1)", "https://a@b.example/", "/x"] {
        place.run(&["click", "sign", bad]).fails(1, &["browser"]);
    }
    assert_eq!(server.stop(), Some(0));
    let ledger = ledger(&place, "web");
    let figures = ["counted", "rejected", "received"].map(|name| ledger[name].as_u64().unwrap());
    assert_eq!(figures, [4, 2, 6], "{ledger}");
}
