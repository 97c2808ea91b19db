//! Every kind and every form comes back as it was, also under another catalog.

use adsum_disk::FaultyDisk;
use adsum_log::{EventLog, FrameDraft};
use adsum_model::catalog::{BillableType, Catalog, CatalogSpec, DimensionSource, DimensionSpec, FieldDef, NullPolicy};
use adsum_model::id::{FrameSeq, MetadataRevision};
use adsum_model::record::{RecordKind, Stream};
use adsum_model::time::ReceivedAt;
use proptest::prelude::*;
use std::sync::Arc;

use crate::sample::{Random, Record, SMALL, Value, batch_of, catalog, open, read_all};

fn any_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![".{0,40}", "[a-z]{1,6}"];
    prop_oneof![
        text.clone().prop_map(Value::Text),
        any::<[u8; 16]>().prop_map(Value::Uuid),
        prop_oneof![text.clone(), ".{250,300}"].prop_map(Value::Symbol),
        prop_oneof![any::<u64>(), 0..100_000_u64].prop_map(Value::Uint),
        (i64::MIN..0).prop_map(Value::Int),
        prop_oneof![
            any::<i64>(),
            (0..4_000_000_000_000_i64).prop_map(|ms| ms * 1000),
            Just(i64::MIN),
            Just(i64::MAX),
            Just(i64::MAX / 1000 * 1000),
            Just(i64::MIN / 1000 * 1000)
        ]
        .prop_map(Value::Time),
        text.prop_map(|t| Value::Json(serde_json::to_string(&t).unwrap())),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
    ]
}

fn names(catalog: &Catalog) -> Vec<String> {
    catalog.fields().iter().map(|f: &FieldDef| f.name.clone()).collect()
}

fn any_record() -> impl Strategy<Value = Record> {
    let names = names(&catalog());
    let count = names.len();
    let fields = proptest::sample::subsequence(names, 0..count).prop_flat_map(|names| {
        let values = proptest::collection::vec(any_value(), names.len());
        values.prop_map(move |values| names.iter().cloned().zip(values).collect::<Vec<_>>())
    });
    let option = || proptest::option::of("[A-Z]{3}");
    let dimensions: Vec<String> = catalog().dimensions().iter().map(|d| d.name.clone()).collect();
    let dimension_count = dimensions.len();
    (
        proptest::sample::select(&RecordKind::ALL[..]),
        option(),
        any::<i64>(),
        any::<bool>(),
        proptest::option::of(proptest::sample::select(&BillableType::ALL[..])),
        option(),
        proptest::option::of(prop_oneof!["camp_[0-9]", ".{257,300}"]),
        proptest::sample::subsequence(dimensions, 0..=dimension_count),
        fields,
    )
        .prop_map(|(kind, source, received_at, import, billable, currency, campaign, folded, fields)| Record {
            kind,
            source,
            received_at,
            stream: if import { Stream::Import } else { Stream::Live },
            billable,
            currency,
            campaign,
            folded,
            fields,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_records_come_back(
        frames in proptest::collection::vec((any::<i64>(), proptest::collection::vec(any_record(), 0..12)), 1..5),
    ) {
        let disk = FaultyDisk::new(1);
        let writing = catalog();
        let (mut log, _) = open(&disk, &writing, SMALL, None).unwrap();
        for (at, records) in &frames {
            let batch = batch_of(&writing, records);
            let appended_at = ReceivedAt::from_micros(*at);
            let draft = FrameDraft { appended_at, metadata_revision: MetadataRevision::ZERO, batches: &[&batch] };
            log.append(&draft).unwrap();
        }
        let reading = catalog();
        let (log, _) = open(&disk, &reading, SMALL, None).unwrap();
        let got = read_all(&log, &reading, FrameSeq::ZERO).unwrap();
        for ((_, _, got), (_, want)) in got.iter().zip(&frames) {
            prop_assert_eq!(got, want);
        }
        prop_assert_eq!(got.len(), frames.len());
    }
}

fn with_dimensions(names: &[&str]) -> Arc<Catalog> {
    let dimensions = names.iter().enumerate().map(|(i, name)| DimensionSpec {
        id: 1000 + i as u16,
        name: (*name).to_owned(),
        source: DimensionSource::Field((*name).to_owned()),
        nulls: NullPolicy::Keep,
        limit: 10,
        doc: String::new(),
    });
    Arc::new(Catalog::build(&CatalogSpec { dimensions: dimensions.collect(), ..CatalogSpec::default() }).unwrap())
}

#[test]
fn fields_that_the_catalog_lost_stand_in_extra() {
    let writing = with_dimensions(&["aaa", "mmm", "zzz"]);
    let disk = FaultyDisk::new(1);
    let (mut log, _) = open(&disk, &writing, SMALL, None).unwrap();
    let mut random = Random(1);
    let plain = Record::samples(&mut random, 5);
    let text = |s: &str| Value::Text(s.to_owned());
    let odd = Record {
        folded: vec!["country".to_owned(), "mmm".to_owned()],
        fields: vec![
            ("$extra".to_owned(), Value::Json("{\"x\":{\"y\":[1]}}".to_owned())),
            ("aaa".to_owned(), Value::Symbol("q\"\\\u{7}".to_owned())),
            ("country".to_owned(), Value::Symbol("US".to_owned())),
            ("mmm".to_owned(), text("m")),
            ("priceMicros".to_owned(), Value::Uint(5)),
            ("zzz".to_owned(), Value::Uuid([0x1f; 16])),
        ],
        ..Record::sample(&mut Random(9))
    };
    let without_extra = Record { fields: odd.fields[1..].to_vec(), ..odd.clone() };
    let all: Vec<_> = plain.iter().cloned().chain([odd.clone(), without_extra.clone()]).collect();
    crate::sample::append(&mut log, &writing, 0, &all).unwrap();
    let uuid = "1f1f1f1f-1f1f-1f1f-1f1f-1f1f1f1f1f1f";
    let members = format!(r#""aaa":"q\"\\\u0007","zzz":"{uuid}"}}"#);
    let want = |before: &str| {
        let fields = vec![
            ("$extra".to_owned(), Value::Json(format!("{before}{members}"))),
            ("country".to_owned(), Value::Symbol("US".to_owned())),
            ("mmm".to_owned(), text("m")),
            ("priceMicros".to_owned(), Value::Uint(5)),
        ];
        Record { fields, ..odd.clone() }
    };
    let reading = with_dimensions(&["mmm", "bbb"]);
    let (log, _) = open(&disk, &reading, SMALL, None).unwrap();
    let got = read_all(&log, &reading, FrameSeq::ZERO).unwrap().remove(0).2;
    assert_eq!(got[..5], plain);
    assert_eq!(got[5..], [want("{\"x\":{\"y\":[1]},"), want("{")]);
    // Nothing was lost: the first catalog still sees everything, though the frame was moved when it was opened.
    let (log, _) = open(&disk, &writing, SMALL, None).unwrap();
    assert_eq!(read_all(&log, &writing, FrameSeq::ZERO).unwrap()[0].2, all);
}
