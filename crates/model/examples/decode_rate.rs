//! How fast lines decode on one thread: `decode_rate FILE [PASSES] [plain|ysb|ysb-part]` prints nanoseconds a line, best
//! of so many passes. Under callgrind the difference between two numbers of passes is what a line costs. `ysb` takes the
//! lines of the Yahoo streaming benchmark with every name mapped, `ysb-part` with only those that are counted by.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a measurement by hand")]

use std::sync::Arc;

use adsum_model::campaigns::{CampaignSpec, Campaigns, UnknownCampaign};
use adsum_model::catalog::{Catalog, CatalogSpec, DedupeSpec, MappingSpec, TimeFormat};
use adsum_model::hash::Secret;
use adsum_model::record::Stream;
use adsum_model::time::ReceivedAt;
use adsum_model::wire::{Decoded, Decoder, Intake};

/// What the lines of the Yahoo streaming benchmark are read by.
fn ysb(all: bool) -> CatalogSpec {
    let map = |from: &str, to: &str| MappingSpec {
        from: from.to_owned(),
        to: to.to_owned(),
        values: Vec::new(),
        time: TimeFormat::Rfc3339,
    };
    let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let mut mapping = vec![
        map("ad_id", "adId"),
        MappingSpec {
            values: vec![pair("view", "impression"), pair("purchase", "conversion")],
            ..map("event_type", "eventType")
        },
        MappingSpec { time: TimeFormat::EpochMillis, ..map("event_time", "occurredAt") },
    ];
    if all {
        mapping.extend([("user_id", "userId"), ("page_id", "sessionId")].map(|(from, to)| map(from, to)));
        mapping.extend([("ad_type", "deviceType"), ("ip_address", "ip")].map(|(from, to)| map(from, to)));
    }
    CatalogSpec {
        required: ["eventType", "occurredAt", "adId"].map(str::to_owned).into(),
        mapping,
        dedupe: vec![DedupeSpec::default()],
        ..CatalogSpec::default()
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let path = args.next().expect("a file of events");
    let passes = args.next().map_or(5, |n| n.parse().expect("a number of passes"));
    let form = args.next().unwrap_or_default();
    let text = std::fs::read(path).expect("the file reads");
    let spec = if form.starts_with("ysb") { ysb(form == "ysb") } else { CatalogSpec::default() };
    let catalog = Arc::new(Catalog::build(&spec).expect("the catalog builds"));
    let mut campaigns = Vec::new();
    if form.starts_with("ysb") {
        let ad = |line: &[u8]| {
            let at = memchr::memmem::find(line, b"\"ad_id\":\"")? + 9;
            Some(String::from_utf8_lossy(line.get(at..at + 36)?).into_owned())
        };
        let mut ads: Vec<String> = text.split(|b| *b == b'\n').filter_map(ad).collect();
        ads.sort();
        ads.dedup();
        let of = |(i, ads): (usize, &[String])| CampaignSpec {
            id: format!("campaign_{i}"),
            currency: "USD".to_owned(),
            versions: Vec::new(),
            ads: ads.to_vec(),
        };
        campaigns.extend(ads.chunks(10).enumerate().map(of));
    }
    let campaigns =
        Campaigns::build(&campaigns, "USD", UnknownCampaign::LetThrough, catalog.symbols()).expect("builds");
    let mut decoder = Decoder::new(catalog.clone(), Arc::new(campaigns), Secret::new([7; 16]));
    let source = catalog.symbols().intern(b"import");
    let intake = Intake { source, stream: Stream::Import, received_at: ReceivedAt::from_micros(0) };
    let mut out = Decoded::default();
    let mut best = u128::MAX;
    let (mut lines, mut events) = (0, 0);
    for _ in 0..passes {
        let started = std::time::Instant::now();
        (lines, events) = (0, 0);
        let mut at = 0;
        while at < text.len() {
            let mut end = (at + (512 << 10)).min(text.len());
            if end < text.len() {
                end = at + text[at..end].iter().rposition(|b| *b == b'\n').expect("lines are short") + 1;
            }
            decoder.decode_lines(text[at..end].to_vec(), &intake, &mut out);
            lines += out.batch.len();
            events += out.rows.events.len();
            at = end;
        }
        best = best.min(started.elapsed().as_nanos());
    }
    let symbols = catalog.symbols().len();
    println!("{lines} lines, {events} events, {} ns a line, {symbols} symbols", best / lines as u128);
}
