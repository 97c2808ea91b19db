//! Full dictionaries: what has no room stands in the records, and everything comes back.

use adsum_disk::FaultyDisk;
use adsum_log::LogOptions;
use adsum_model::id::FrameSeq;

use crate::sample::{Random, Record, Value, append, catalog, open, read_all};

/// Appends the frames to one segment and reads them again, twice: as written, and with the last frame moved to a
/// segment of its own by an opening.
fn check(frames: &[Vec<Record>]) {
    let disk = FaultyDisk::new(1);
    let writing = catalog();
    let (mut log, _) = open(&disk, &writing, LogOptions::default(), None).unwrap();
    for (i, records) in frames.iter().enumerate() {
        append(&mut log, &writing, i as i64, records).unwrap();
    }
    assert_eq!(disk.paths().len(), 1, "one segment");
    for moved in [0, 1] {
        let reading = catalog();
        let (log, report) = open(&disk, &reading, LogOptions::default(), None).unwrap();
        assert_eq!((report.moved_frames, report.segments), (1, 2 - u64::from(frames.len() == 1)), "{moved}");
        let got = read_all(&log, &reading, FrameSeq::ZERO).unwrap();
        assert!(got.iter().map(|(_, _, records)| records).eq(frames), "what is read is not what was written");
    }
}

fn event(fields: Vec<(String, Value)>) -> Record {
    let mut random = Random(1);
    loop {
        let record = Record::sample(&mut random);
        if record.billable.is_some() {
            return Record { fields, ..record };
        }
    }
}

#[test]
fn more_strings_than_the_dictionary_takes() {
    // 256 bytes each: 16 MiB are full after some 65,000.
    let value = |i: usize| Value::Symbol(format!("{i:0>256}"));
    let record = |i: usize| event(vec![("adId".to_owned(), value(i)), ("country".to_owned(), value(i / 2))]);
    let records: Vec<_> = (0..70_000).map(record).collect();
    check(&records.chunks(30_000).map(<[Record]>::to_vec).collect::<Vec<_>>());
}

#[test]
fn more_shapes_than_the_dictionary_takes() {
    let names = ["adId", "auctionId", "campaignId", "clickId", "country", "deviceType", "eventId", "eventType", "ip"];
    let names: Vec<_> = names.into_iter().chain(["placementId", "publisherId", "userAgent", "userId"]).collect();
    let records: Vec<_> = (0..1 << names.len())
        .map(|set: u32| {
            let some = names.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1);
            event(some.map(|(_, name)| ((*name).to_owned(), Value::Text(set.to_string()))).collect())
        })
        .collect();
    check(&records.chunks(1500).map(<[Record]>::to_vec).collect::<Vec<_>>());
}

#[test]
fn a_text_larger_than_a_block() {
    let text = |n: usize| event(vec![("userAgent".to_owned(), Value::Text("\u{fc}".repeat(n)))]);
    check(&[vec![text(10), text(1 << 19), text(0), text(1 << 17)], vec![text(1)]]);
    check(&[vec![text(10), text(1 << 19), text(0), text(1 << 17)]]);
}
