//! Catalogs that are wrong, each with the entry that its error names, and what a right one is made of.
//!
//! Invariant: every way in which building can fail has a case.

use adsum_model::catalog::{
    Catalog, CatalogSpec, DedupeSpec, DimensionIx, DistinctSpec, EventTypeSpec, MetricKind, NullPolicy, TimeFormat,
};

use crate::door::{dimension, mapped, names, rule};

fn event_type(id: u16, name: &str, plural: &str) -> EventTypeSpec {
    EventTypeSpec { id, name: name.to_owned(), plural: plural.to_owned(), doc: String::new() }
}

/// The entry that the error names, or `ok`.
fn outcome(change: impl FnOnce(&mut CatalogSpec)) -> String {
    let mut spec = CatalogSpec::default();
    change(&mut spec);
    match Catalog::build(&spec) {
        Ok(_) => "ok".to_owned(),
        Err(error) => {
            assert!(!error.message.is_empty());
            assert_eq!(error.to_string(), format!("{}: {}", error.param, error.message));
            error.param
        }
    }
}

#[test]
fn table_of_buckets_and_required_fields() {
    for (seconds, want) in
        [(60, "ok"), (1, "ok"), (15, "ok"), (0, "bucket_seconds"), (7, "bucket_seconds"), (120, "bucket_seconds")]
    {
        assert_eq!(outcome(|s| s.bucket_seconds = seconds), want, "{seconds}");
    }
    let check =
        |required: &[&str], want: &str| assert_eq!(outcome(|s| s.required = names(required)), want, "{required:?}");
    check(&["eventType", "occurredAt"], "ok");
    check(&["eventType", "occurredAt", "userId"], "ok");
    check(&["eventType"], "required");
    check(&["occurredAt"], "required");
    check(&["eventType", "occurredAt", "user"], "required");
    check(&["eventType", "occurredAt", "$raw"], "required");
    let check = |name: &str, fields: &[&str], want: &str| {
        assert_eq!(outcome(|s| s.required_by_type = vec![(name.to_owned(), names(fields))]), want, "{name}");
    };
    check("click", &["impressionId"], "ok");
    check("view", &["impressionId"], "event_types.view.required");
    check("click", &["impression"], "event_types.click.required");
    check("click", &["$raw"], "event_types.click.required");
}

#[test]
fn table_of_dimensions() {
    let many = |count: u16| {
        (0..count)
            .map(|i| dimension(1000 + i, &format!("d{i}"), &format!("f{i}"), NullPolicy::Keep))
            .collect::<Vec<_>>()
    };
    let built_in = adsum_model::catalog::DIMENSIONS.len() as u16;
    assert_eq!(outcome(|s| s.dimensions = many(64 - built_in)), "ok");
    assert_eq!(outcome(|s| s.dimensions = many(65 - built_in)), "dimensions");
    let check = |declared: &[(u16, &str, &str)], want: &str| {
        let all = declared.iter().map(|(id, name, from)| dimension(*id, name, from, NullPolicy::Keep)).collect();
        assert_eq!(outcome(|s| s.dimensions = all), want, "{declared:?}");
    };
    check(&[(1000, "siteSection", "siteSection"), (1001, "kind", "attributes.kind")], "ok");
    check(&[(1000, "site_section", "sessionId")], "ok");
    check(&[(1000, "kind", "attributes.any key, of the sender's")], "ok");
    check(&[(999, "site", "site")], "dimensions.site.id");
    check(&[(1000, "a", "a"), (1000, "b", "b")], "dimensions.b.id");
    check(&[(1000, "", "site")], "dimensions.");
    check(&[(1000, "1site", "site")], "dimensions.1site");
    check(&[(1000, "_site", "site")], "dimensions._site");
    check(&[(1000, "site-section", "site")], "dimensions.site-section");
    check(&[(1000, "s\u{ed}te", "site")], "dimensions.s\u{ed}te");
    check(&[(1000, &"n".repeat(64), "site")], "ok");
    check(&[(1000, &"n".repeat(65), "site")], &format!("dimensions.{}", "n".repeat(65)));
    check(&[(1000, "site", "")], "dimensions.site.field");
    check(&[(1000, "site", "$extra")], "dimensions.site.field");
    check(&[(1000, "site", "a b")], "dimensions.site.field");
    for field in ["priceMicros", "occurredAt", "eventType", "currency", "attributes", "position", "consent"] {
        check(&[(1000, "made", field)], "dimensions.made.field");
    }
    check(&[(1000, "land", "country")], "dimensions.land.field");
    check(&[(1000, "a", "site"), (1001, "b", "site")], "dimensions.b.field");
    check(&[(1000, "a", "attributes.k"), (1001, "b", "attributes.k")], "dimensions.b.field");
    check(&[(1000, "a", "k"), (1001, "b", "attributes.k")], "ok");
    check(&[(1000, "country", "site")], "dimensions.country");
    check(&[(1000, "a", "site"), (1001, "a", "section")], "dimensions.a");
    let folded =
        || vec![adsum_model::catalog::DimensionSpec { limit: 0, ..dimension(1000, "a", "a", NullPolicy::Keep) }];
    assert_eq!(outcome(|s| s.dimensions = folded()), "dimensions.a.limit");
}

#[test]
fn table_of_event_types() {
    let check = |declared: &[(u16, &str, &str)], want: &str| {
        let all = declared.iter().map(|(id, name, plural)| event_type(*id, name, plural)).collect();
        assert_eq!(outcome(|s| s.event_types = all), want, "{declared:?}");
    };
    check(&[(1000, "videoStart", "videoStarts"), (1001, "videoEnd", "videoEnds")], "ok");
    check(&[(1, "videoStart", "videoStarts")], "event_types.videoStart.id");
    check(&[(1000, "a", "as"), (1000, "b", "bs")], "event_types.b.id");
    check(&[(1000, "video start", "videoStarts")], "event_types.video start");
    check(&[(1000, "videoStart", "video-starts")], "event_types.videoStart.plural");
    check(&[(1000, "videoStart", "")], "event_types.videoStart.plural");
    check(&[(1000, "click", "presses")], "event_types.click");
    check(&[(1000, "press", "clicks")], "event_types.press");
    check(&[(1000, "spending", "spendMicros")], "event_types.spending.plural");
    let many = |count: u16| (0..count).map(|i| event_type(1000 + i, &format!("t{i}"), &format!("t{i}s"))).collect();
    assert_eq!(outcome(|s| s.event_types = many(61)), "ok");
    assert_eq!(outcome(|s| s.event_types = many(62)), "event_types");
}

#[test]
fn table_of_rollups() {
    let check = |rollups: &[&[&str]], want: &str| {
        assert_eq!(outcome(|s| s.rollups = rollups.iter().map(|r| names(r)).collect()), want, "{rollups:?}");
    };
    check(&[&["campaignId"]], "ok");
    check(&[&["country", "campaignId"], &["campaignId", "country"]], "ok");
    check(&[], "rollups");
    check(&[&["campaignId"], &[]], "rollups.1");
    check(&[&["campaignId", "eventId"]], "rollups.0");
    check(&[&["campaignId", "country", "campaignId"]], "rollups.0");
    check(&[&["campaignId"][..]; 16], "ok");
    check(&[&["campaignId"][..]; 17], "rollups");
    let wide = |count: u16| {
        outcome(|s| {
            s.dimensions =
                (0..count).map(|i| dimension(1000 + i, &format!("d{i}"), &format!("f{i}"), NullPolicy::Keep)).collect();
            s.rollups = vec![(0..count).map(|i| format!("d{i}")).collect()];
        })
    };
    assert_eq!((wide(12).as_str(), wide(13).as_str()), ("ok", "rollups.0"));
}

#[test]
fn table_of_distinct_users() {
    let check = |sets: &[(&[&str], u32)], want: &str| {
        let all =
            sets.iter().map(|(by, window_seconds)| DistinctSpec { by: names(by), window_seconds: *window_seconds });
        assert_eq!(outcome(|s| s.distinct_users = all.collect()), want, "{sets:?}");
    };
    check(&[], "ok");
    check(&[(&["adId"], 60), (&["campaignId", "country"], 86_400)], "ok");
    check(&[(&["adId"][..], 300); 16], "ok");
    check(&[(&["adId"][..], 300); 17], "distinct_users");
    check(&[(&[], 300)], "distinct_users.0");
    check(&[(&["adId"], 300), (&["userId"], 300)], "distinct_users.1");
    check(&[(&["adId", "adId"], 300)], "distinct_users.0");
    for seconds in [0, 30, 90, 420, 172_800] {
        check(&[(&["adId"], seconds)], "distinct_users.0.window_seconds");
    }
}

#[test]
fn table_of_mappings() {
    let text = TimeFormat::Rfc3339;
    type Declared<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], TimeFormat);
    let check = |mapping: &[Declared<'_>], want: &str| {
        let all = mapping.iter().map(|(from, to, values, time)| mapped(from, to, values, *time)).collect();
        assert_eq!(outcome(|s| s.mapping = all), want, "{mapping:?}");
    };
    check(&[("event_type", "eventType", &[("view", "impression")], text)], "ok");
    check(&[("ts", "occurredAt", &[], TimeFormat::EpochMillis), ("c", "campaignId", &[("a", "b")], text)], "ok");
    check(&[("x", "nothing", &[], text)], "fields.x");
    check(&[("x", "$raw", &[], text)], "fields.x");
    check(&[("x", "adId", &[], text), ("x", "country", &[], text)], "fields.x");
    check(&[("x", "adId", &[], text), ("y", "adId", &[], text)], "fields.y");
    check(&[("x", "adId", &[], TimeFormat::EpochSeconds)], "fields.x");
    check(&[("x", "priceMicros", &[], TimeFormat::EpochMicros)], "fields.x");
    check(&[("x", "priceMicros", &[("a", "1")], text)], "fields.x");
    check(&[("x", "occurredAt", &[("a", "b")], text)], "fields.x");
    check(&[("x", "currency", &[("euro", "EUR")], text)], "fields.x");
}

#[test]
fn table_of_dedupe_rules() {
    let check =
        |rules: &[DedupeSpec], want: &str| assert_eq!(outcome(|s| s.dedupe = rules.to_vec()), want, "{rules:?}");
    let ok = || rule(&["impressionId", "clickOrdinal"], Some(&["campaignId"]));
    let group = |spec: DedupeSpec| DedupeSpec { group: Some("g".to_owned()), content: None, ..spec };
    check(&[ok(), rule(&["eventId"], None), rule(&[], None)], "ok");
    check(&[ok(), rule(&["eventid"], None)], "dedupe.1.key");
    check(&[rule(&["$raw"], None)], "dedupe.0.key");
    check(&[rule(&["$extra"], None)], "dedupe.0.key");
    // What is no content may differ between two copies of one event, so it makes no key.
    for field in ["receivedAt", "edgeReceivedAt", "ip", "userAgent", "schemaVersion"] {
        check(&[rule(&[field], Some(&[]))], "dedupe.0.key");
        check(&[rule(&["eventId"], Some(&[field]))], "dedupe.0.content");
    }
    check(&[rule(&["eventId"], Some(&["nothing"]))], "dedupe.0.content");
    check(&[rule(&["impressionId"], None)], "dedupe.0.content");
    check(&[rule(&["eventId", "adId"], None)], "dedupe.0.content");
    check(&[DedupeSpec { time_bucket_seconds: 5, ..rule(&["eventId"], None) }], "dedupe.0.content");
    check(&[group(rule(&["eventId"], None))], "ok");
    check(&[group(rule(&[], None))], "dedupe.0.group");
    check(&[DedupeSpec { event_types: names(&["view"]), ..ok() }], "dedupe.0.event_types");
    check(&[DedupeSpec { event_types: names(&["click"]), ..ok() }], "ok");
    let a = DedupeSpec { sources: names(&["a"]), ..group(ok()) };
    let b = DedupeSpec { sources: names(&["b"]), ..a.clone() };
    check(&[a.clone(), b.clone()], "ok");
    check(&[a.clone(), DedupeSpec { key: names(&["impressionId"]), ..b.clone() }], "dedupe.1.group");
    check(&[a.clone(), DedupeSpec { time_bucket_seconds: 1, ..b.clone() }], "dedupe.1.group");
    check(&[a.clone(), DedupeSpec { content: Some(names(&["adId"])), ..b.clone() }], "dedupe.1.group");
    check(&[a, DedupeSpec { key: names(&["impressionId"]), since_micros: 5, ..b }], "ok");
}

#[test]
fn a_catalog_is_in_one_order_however_it_was_declared() {
    let mut spec = CatalogSpec {
        dimensions: vec![
            dimension(1002, "zone", "zone", NullPolicy::Keep),
            dimension(1001, "kind", "attributes.kind", NullPolicy::Keep),
        ],
        event_types: vec![event_type(1001, "b", "bs"), event_type(1000, "a", "as")],
        ..CatalogSpec::default()
    };
    let shape = |spec: &CatalogSpec| {
        let c = Catalog::build(spec).unwrap();
        let dimensions: Vec<_> = c.dimensions().iter().map(|d| (d.id, d.name.clone(), d.field)).collect();
        let fields: Vec<_> = c.fields().iter().map(|f| (f.name.clone(), f.dimension)).collect();
        let columns: Vec<_> = c.columns().iter().map(|c| (c.id, c.name.clone())).collect();
        (dimensions, fields, columns)
    };
    let (dimensions, fields, columns) = shape(&spec);
    assert!(dimensions.windows(2).all(|w| w[0].0 < w[1].0));
    assert!(fields.windows(2).all(|w| w[0].0 < w[1].0));
    let ids: Vec<u16> = columns.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [1001, 1002, 1003, 2000, 2001, 1, 2, 3, 6, 7]);
    let as_declared = shape(&spec);
    spec.dimensions.reverse();
    spec.event_types.reverse();
    assert_eq!(shape(&spec), as_declared);

    let catalog = Catalog::build(&spec).unwrap();
    let name = |d: &DimensionIx| catalog.dimensions()[d.index()].name.as_str();
    let rollups: Vec<String> =
        catalog.rollups().iter().map(|r| r.dimensions.iter().map(name).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(rollups, ["campaignId publisherId country deviceType", "campaignId adId placementId country"]);
    assert_eq!(catalog.column_of(MetricKind::Spend), Some(5));
    assert_eq!(catalog.column_of(MetricKind::DistinctUsers), None);
    for (i, f) in catalog.fields().iter().enumerate() {
        assert_eq!(catalog.field_named(&f.name).map(|ix| ix.index()), Some(i));
    }
}
