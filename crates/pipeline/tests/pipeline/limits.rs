//! Cardinality limits of who appends: a frame that the log refused leaves no trace, one that it took stays.

use std::sync::Arc;

use adsum_model::campaigns::{Campaigns, UnknownCampaign};
use adsum_model::catalog::{Catalog, CatalogSpec, DimensionSource, DimensionSpec, NullPolicy};
use adsum_model::hash::Secret;
use adsum_model::record::Stream;
use adsum_model::time::ReceivedAt;
use adsum_model::wire::{Decoded, Decoder, Intake};
use adsum_pipeline::Limits;

#[test]
fn a_refused_frame_leaves_no_trace() {
    let site = DimensionSpec {
        id: 1000,
        name: "site".to_owned(),
        source: DimensionSource::Attribute("site".to_owned()),
        nulls: NullPolicy::Keep,
        limit: 2,
        doc: String::new(),
    };
    let catalog = Arc::new(Catalog::build(&CatalogSpec { dimensions: vec![site], ..CatalogSpec::default() }).unwrap());
    let campaigns = Campaigns::build(&[], "USD", UnknownCampaign::LetThrough, catalog.symbols()).unwrap();
    let mut decoder = Decoder::new(catalog.clone(), Arc::new(campaigns), Secret::new([7; 16]));
    let dimension = catalog.dimension_named("site").unwrap().index();
    let mut limits = Limits::new(catalog.clone());
    let mut admit = |sites: &str| {
        let lines: Vec<String> = (sites.chars())
            .map(|site| {
                format!(
                    r#"{{"eventId":"{site}","eventType":"click","occurredAt":"2026-11-21T08:00:00Z","campaignId":"c","attributes":{{"site":"{site}"}}}}"#
                )
            })
            .collect();
        let source = catalog.symbols().intern(b"web");
        let intake =
            Intake { source, stream: Stream::Live, received_at: ReceivedAt::from_micros(1_763_712_000_000_000) };
        let mut decoded = Decoded::default();
        decoder.decode_lines(lines.join("\n").into_bytes(), &intake, &mut decoded);
        decoded
    };
    let width = catalog.dimensions().len();
    // sites of a frame, what they count as, whether the log takes the frame
    for (sites, counts_as, taken) in [
        ("ab", "a b", false),
        ("cdb", "c d other", false),
        ("b", "b", true),
        ("bac", "b a other", false),
        ("bcd", "b c other", true),
        ("abc", "other b c", true),
    ] {
        let mut decoded = admit(sites);
        limits.admit(&mut decoded);
        let shown: Vec<String> = (decoded.rows.dimensions.chunks(width))
            .map(|row| catalog.symbols().text(row[dimension]).unwrap_or_default())
            .collect();
        assert_eq!(shown.join(" "), counts_as, "{sites}");
        if taken { limits.settle() } else { limits.undo() }
    }
}
