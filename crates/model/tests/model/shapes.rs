//! Lines that come one after the other: what a decoder learned from some changes no answer about the next.
//!
//! Invariant: each line becomes what it becomes under a decoder of its own. Not here: what that is.

use adsum_model::catalog::TimeFormat;
use adsum_model::record::RecordKind;
use adsum_model::wire::{Decoded, Intake};
use proptest::prelude::*;

use crate::door::{Config, Door, Facts, SOURCE, line, mapped};
use crate::events::{Writing, any_event};

/// Two names for one field, and names that nobody knows.
fn config() -> Config {
    Config::with(|c| {
        c.spec.mapping = vec![
            mapped("time", "occurredAt", &[], TimeFormat::EpochMillis),
            mapped("kind", "eventType", &[("view", "impression"), ("bad", "unheard")], TimeFormat::Rfc3339),
            mapped("land", "country", &[("de", "DE"), ("none", "")], TimeFormat::Rfc3339),
        ];
    })
}

/// What became of each line: words, and of events all that a row says, but for its place.
fn all(door: &mut Door, text: &[u8]) -> Vec<(String, Option<Facts>)> {
    let decoded = door.decode(SOURCE, text);
    told(door, &decoded)
}

fn told(door: &Door, decoded: &Decoded) -> Vec<(String, Option<Facts>)> {
    let rows = door.facts(&decoded.rows);
    assert_eq!(door.project(&decoded.batch).0, rows);
    let mut facts = rows.into_iter().map(|f| Facts { ordinal: 0, ..f });
    let mut json = door.json(&decoded.batch).into_iter();
    let kinds = decoded.batch.heads.iter().map(|head| head.kind == RecordKind::Event);
    (door.outcomes(decoded).into_iter().zip(kinds))
        .map(|(outcome, event)| match event {
            true => (format!("{outcome} {}", json.next().unwrap()), facts.next()),
            false => (outcome, None),
        })
        .collect()
}

fn check(lines: &[Vec<u8>]) -> Result<(), TestCaseError> {
    let config = config();
    let text = lines.join(&b"\n"[..]);
    let together = all(&mut config.door(), &text);
    let alone: Vec<_> = lines.iter().flat_map(|line| all(&mut config.door(), line)).collect();
    prop_assert_eq!(together.len(), alone.len());
    for (i, (together, alone)) in together.iter().zip(&alone).enumerate() {
        prop_assert_eq!(together, alone, "{} of {:?}", i, String::from_utf8_lossy(&text));
    }
    Ok(())
}

#[test]
fn table_of_lines_behind_others() {
    let long = format!("\"{}\"", "x".repeat(70));
    let full = line(&[
        ("country", "\"DE\""),
        ("priceMicros", "12"),
        ("auctionId", "\"0f8fad5b-d9cb-469f-a165-70867728950e\""),
        ("strange", "\"a\""),
        ("userId", &long),
        ("stranger", "{\"a\":[1]}"),
        ("deviceType", "\"tv\""),
    ]);
    let mapped = full.replace("occurredAt\":\"2026-11-21T08:05:16Z\"", "time\":1795248316000");
    let mapped = mapped.replace("eventType\":\"click", "kind\":\"view").replace("country\":\"DE", "land\":\"de");
    let swap = |from: &str, to: &str| full.replacen(from, to, 1);
    let end = |more: &str| format!("{},{more}}}", &full[..full.len() - 1]);
    let lines = [
        full.clone(),
        // What stands between members begins a line.
        full[full.find(",\"priceMicros\"").unwrap()..].to_owned(),
        full[full.find(",\"strange\"").unwrap()..].to_owned(),
        swap("{", "{\"new\":0{"),
        // Once more, before and behind where it is expected, by its own and by the other name.
        end("\"country\":\"DE\""),
        end("\"land\":\"DE\""),
        end("\"strange\":1"),
        end("\"stranger\":null"),
        end("\"time\":1"),
        swap("{", "{\"country\":\"DE\","),
        swap("{", "{\"land\":\"DE\","),
        swap("{", "{\"stranger\":1,"),
        swap("{", "{\"time\":1795248316000,"),
        swap("\"country\"", "\"deviceType\":\"tv\",\"country\""),
        mapped.clone(),
        mapped.replacen('{', "{\"occurredAt\":\"2026-11-21T08:05:16Z\",", 1),
        mapped.replacen("\"land\"", "\"country\":\"FR\",\"land\"", 1),
        mapped.replace("\"de\"", "\"none\""),
        mapped.replace("\"de\"", "null"),
        mapped.replace("view", "bad"),
        mapped.replace("view", "impression"),
        mapped.replace("1795248316000", "\"1795248316000\""),
        mapped.replace("1795248316000", "\"1795248316000"),
        mapped.replace("1795248316000", "01795248316000"),
        mapped.replace("1795248316000", "99999999999999999"),
        mapped.replace("1795248316000", "9999999999999999"),
        // Members away, elsewhere, and others in their place.
        swap("\"country\":\"DE\",", ""),
        swap("\"strange\":\"a\",", ""),
        swap("\"stranger\":{\"a\":[1]},", ""),
        swap("{\"eventId\":\"evt_1\",", "{"),
        swap("{\"eventId\":\"evt_1\",", "{\"new\":0,\"eventId\":\"evt_1\","),
        swap("\"strange\"", "\"strangf\""),
        swap("\"country\"", "\"countrz\""),
        swap("\"country\"", "\"countr\\u0079\""),
        swap("\"strange\"", "\"str\\u0061nge\""),
        end("\"eventId\":\"evt_1\"").replacen("\"eventId\":\"evt_1\",", "", 1),
        // White space that was not expected, and that is missing.
        swap(":\"DE\"", ": \"DE\""),
        swap(",\"country\"", " , \"country\""),
        swap(":12", ":\t12 "),
        swap("\"a\"", " \"a\""),
        full.replace(':', ": "),
        full.replace(':', ": "),
        full.clone(),
        format!(" {full}"),
        format!("{full} \t\r"),
        format!("{full}x"),
        format!("{full}}}"),
        full[..full.len() - 1].to_owned(),
        full[..60].to_owned(),
        // Other values where the usual ones are expected.
        swap(":12", ":12.0"),
        swap(":12", ":-12"),
        swap(":12", ":12e1"),
        swap(":12", ":12345678"),
        swap(":12", ":123456789"),
        swap(":12", ":1000000000001"),
        swap(":12", ":12345678901234567890"),
        swap(":12", ":\"12\""),
        swap("\"DE\"", "null"),
        swap("\"DE\"", "\"\""),
        swap("\"DE\"", "\"0123456789abcdef\""),
        swap("\"DE\"", "\"0123456789abcdefg\""),
        swap("\"DE\"", "\"0f8fad5b-d9cb-469f-a165-70867728950e\""),
        swap("\"DE\"", "\"0F8fad5b-d9cb-469f-a165-70867728950e\""),
        swap("\"DE\"", &format!("\"{}\"", "y".repeat(257))),
        swap("\"DE\"", "\"D\u{7f}\""),
        swap("\"DE\"", "\"D\u{fc}\""),
        swap("\"DE\"", "\"D\u{202e}\""),
        swap("\"DE\"", "\"D\tE\""),
        swap("\"a\"", "\"\u{202e}\\u00e9\""),
        swap("\"a\"", "\"\u{1}\""),
        swap("\"a\"", "null"),
        swap("70867728950e", "70867728950g"),
        swap("70867728950e", "7086772895\\u0030e"),
        swap("16Z", "16.5Z"),
        swap("08:05:16Z", "24:05:16Z"),
        swap("08:05:16Z", "08:60:16Z"),
        String::new(),
        full.clone(),
    ];
    let lines: Vec<Vec<u8>> = lines.into_iter().map(String::into_bytes).collect();
    check(&lines).unwrap();
    // The same lines when more than one was learned, and where bytes are broken.
    let twice: Vec<Vec<u8>> = lines.iter().chain(lines.iter().rev()).cloned().collect();
    check(&twice).unwrap();
    let mut broken = lines.clone();
    for (i, line) in broken.iter_mut().enumerate().filter(|(i, line)| i % 2 == 1 && line.len() > 9) {
        let at = i * 7 % line.len();
        line[at] = 0xFF;
    }
    check(&broken).unwrap();
}

#[test]
fn a_line_end_inside_an_event_of_an_array_is_learned_by_no_line() {
    let pretty = line(&[("country", "\"DE\"")]).replace(',', ",\n  ").replace('{', "{\n  ");
    let mut door = Config::default().door();
    let mut decoded = Decoded::default();
    let source = door.catalog.symbols().intern(SOURCE.as_bytes());
    let received_at = adsum_model::time::ReceivedAt::from_micros(0);
    let intake = Intake { source, stream: door.stream, received_at };
    let body = format!("{{\"events\":[{pretty},{pretty},\n{pretty}]}}");
    door.decoder.decode_array(body.into_bytes(), 9, &intake, &mut decoded).unwrap();
    assert_eq!((decoded.rows.events.len(), decoded.batch.len()), (3, 3));
    // As lines each is broken in pieces.
    let pieces = pretty.lines().count();
    let decoded = door.decode(SOURCE, format!("{pretty}\n{pretty}"));
    assert_eq!((decoded.rows.events.len(), decoded.batch.len()), (0, 2 * pieces));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_line_is_what_it_is_alone(
        events in proptest::collection::vec((any_event(), any::<bool>(), any::<u64>()), 1..4),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 1..12),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let written: Vec<Vec<u8>> = events
            .iter()
            .map(|(event, plain, seed)| Writing::new(if *plain { 0 } else { *seed }).line(event).into_bytes())
            .collect();
        let mut lines: Vec<Vec<u8>> = order.iter().map(|i| i.get(&written).clone()).collect();
        for (which, at, byte) in edits {
            let which = which.index(lines.len());
            let at = at.index(lines[which].len());
            lines[which][at] = byte;
        }
        for line in &mut lines {
            line.retain(|b| *b != b'\n');
        }
        check(&lines)?;
    }
}
