//! How fast lines decode on one thread: `decode_rate FILE` prints nanoseconds a line, best of five.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a measurement by hand")]

use std::sync::Arc;

use adsum_model::campaigns::{Campaigns, UnknownCampaign};
use adsum_model::catalog::{Catalog, CatalogSpec};
use adsum_model::hash::Secret;
use adsum_model::record::Stream;
use adsum_model::time::ReceivedAt;
use adsum_model::wire::{Decoded, Decoder, Intake};

fn main() {
    let path = std::env::args().nth(1).expect("a file of events");
    let text = std::fs::read(path).expect("the file reads");
    let catalog = Arc::new(Catalog::build(&CatalogSpec::default()).expect("the default catalog builds"));
    let campaigns = Campaigns::build(&[], "USD", UnknownCampaign::LetThrough, catalog.symbols()).expect("builds");
    let mut decoder = Decoder::new(catalog.clone(), Arc::new(campaigns), Secret::new([7; 16]));
    let source = catalog.symbols().intern(b"import");
    let intake = Intake { source, stream: Stream::Import, received_at: ReceivedAt::from_micros(0) };
    let mut out = Decoded::default();
    let mut best = u128::MAX;
    let mut lines = 0;
    for _ in 0..5 {
        let started = std::time::Instant::now();
        lines = 0;
        let mut at = 0;
        while at < text.len() {
            let mut end = (at + (512 << 10)).min(text.len());
            if end < text.len() {
                end = at + text[at..end].iter().rposition(|b| *b == b'\n').expect("lines are short") + 1;
            }
            decoder.decode_lines(text[at..end].to_vec(), &intake, &mut out);
            lines += out.batch.len();
            at = end;
        }
        best = best.min(started.elapsed().as_nanos());
    }
    println!("{lines} lines, {} ns a line, {} symbols", best / lines as u128, catalog.symbols().len());
}
