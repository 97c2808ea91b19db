//! Personal data of an event before it is written: the viewer's address is truncated, dropped or kept.
//!
//! Invariant: rows are made anew where a record changed, so that they are what a recovery makes of it. Not here: lines
//! that were rejected, which are kept as sent until quarantine lets them go.

use std::net::IpAddr;

use adsum_model::catalog::Catalog;
use adsum_model::record::{Form, RecordBatch, RecordKind, Span};
use adsum_model::rows::Projector;
use adsum_model::wire::Decoded;

use crate::config::IpPolicy;

/// The name of the field.
const IP: &str = "ip";

/// Applies the policy to every event.
pub fn apply(policy: IpPolicy, catalog: &Catalog, projector: &mut Projector, decoded: &mut Decoded) {
    let Some(field) = catalog.field_named(IP).filter(|_| policy != IpPolicy::Keep) else { return };
    let mut changed = false;
    for at in 0..decoded.batch.heads.len() {
        let batch = &mut decoded.batch;
        let head = batch.heads[at];
        if head.kind != RecordKind::Event {
            continue;
        }
        let Some(place) = batch.fields(&head).iter().position(|s| s.field == field) else { continue };
        let place = head.span_start as usize + place;
        let dimension = catalog.field(field).dimension.map_or(0, |d| 1 << d.index());
        let address = text(batch, &batch.spans[place], catalog);
        match truncated(&address).filter(|_| policy == IpPolicy::Truncate) {
            Some(kept) if kept == address => continue,
            Some(kept) => {
                let folded = &mut batch.heads[at].stamp.folded;
                let symbol = match batch.spans[place].form {
                    Form::Symbol => Some(catalog.symbols().intern(kept.as_bytes())),
                    // Of the address no symbol was made, and it counts as `other`; of its network there may be one.
                    _ if *folded & dimension != 0 => catalog.symbols().find(kept.as_bytes()),
                    _ => None,
                };
                batch.spans[place] = if let Some(symbol) = symbol {
                    *folded &= !dimension;
                    Span::symbol(field, symbol)
                } else {
                    let start = batch.arena.len();
                    batch.arena.extend_from_slice(kept.as_bytes());
                    Span::bytes(field, Form::Text, start, kept.len())
                };
            }
            // The record's last place stays behind, and nothing names it.
            None => {
                let end = head.span_start as usize + usize::from(head.span_count);
                batch.spans.copy_within(place + 1..end, place);
                batch.heads[at].span_count -= 1;
                batch.heads[at].stamp.folded &= !dimension;
            }
        }
        changed = true;
    }
    if changed {
        projector.project_batch(&decoded.batch, &mut decoded.rows);
    }
}

fn text(batch: &RecordBatch, span: &Span, catalog: &Catalog) -> String {
    match span.form {
        Form::Symbol => catalog.symbols().text(span.as_symbol()).unwrap_or_default(),
        Form::Text => String::from_utf8_lossy(&batch.arena[span.range()]).into_owned(),
        _ => String::new(),
    }
}

/// The network of an address: /24 of IPv4, /48 of IPv6. What is no address has none.
fn truncated(address: &str) -> Option<String> {
    let network: IpAddr = match address.parse::<IpAddr>().ok()?.to_canonical() {
        IpAddr::V4(v4) => (v4.to_bits() & !0xFF).to_be_bytes().into(),
        IpAddr::V6(v6) => (v6.to_bits() >> 80 << 80).to_be_bytes().into(),
    };
    Some(network.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use adsum_model::campaigns::{Campaigns, UnknownCampaign};
    use adsum_model::catalog::{CatalogSpec, DimensionSource, DimensionSpec, NullPolicy};
    use adsum_model::hash::Secret;
    use adsum_model::record::Stream;
    use adsum_model::symbol::Symbol;
    use adsum_model::time::ReceivedAt;
    use adsum_model::wire::{Decoder, Intake};

    use super::*;

    #[test]
    fn on_a_full_day_the_network_decides_and_not_the_address() {
        let address = DimensionSpec {
            id: 1000,
            name: "address".to_owned(),
            source: DimensionSource::Field(IP.to_owned()),
            nulls: NullPolicy::Keep,
            limit: 1,
            doc: String::new(),
        };
        let catalog = Catalog::build(&CatalogSpec { dimensions: vec![address], ..CatalogSpec::default() }).unwrap();
        let catalog = Arc::new(catalog);
        let network = catalog.symbols().intern(b"203.0.113.0");
        let dimension = catalog.field(catalog.field_named(IP).unwrap()).dimension.unwrap();
        let at = ReceivedAt::from_micros(1_795_248_000_000_000);
        catalog.full_days().set(dimension, at);
        let secret = || Secret::new([7; 16]);
        let campaigns = Campaigns::build(&[], "USD", UnknownCampaign::LetThrough, catalog.symbols()).unwrap();
        let mut decoder = Decoder::new(catalog.clone(), Arc::new(campaigns), secret());
        let mut projector = Projector::new(catalog.clone(), secret());
        let intake = Intake { source: catalog.symbols().intern(b"web"), stream: Stream::Live, received_at: at };
        let cases = [
            (IpPolicy::Truncate, "203.0.113.77", network, 0),
            (IpPolicy::Truncate, "198.51.100.7", Symbol::OTHER, 1),
            (IpPolicy::Keep, "203.0.113.77", Symbol::OTHER, 1),
            (IpPolicy::Drop, "203.0.113.77", Symbol::NULL, 0),
        ];
        for (policy, address, want, folded) in cases {
            let line = format!(
                r#"{{"eventId":"e","eventType":"click","occurredAt":"2026-11-21T07:59:00Z","campaignId":"c","ip":"{address}"}}"#
            );
            let mut decoded = Decoded::default();
            decoder.decode_lines(line.into_bytes(), &intake, &mut decoded);
            apply(policy, &catalog, &mut projector, &mut decoded);
            assert_eq!(decoded.rows.dimensions[dimension.index()], want, "{policy:?} {address}");
            assert_eq!(decoded.batch.heads[0].stamp.folded.count_ones(), folded, "{policy:?} {address}");
        }
    }

    #[test]
    fn table_of_addresses() {
        for (address, network) in [
            ("203.0.113.77", Some("203.0.113.0")),
            ("203.0.113.0", Some("203.0.113.0")),
            ("::ffff:203.0.113.77", Some("203.0.113.0")),
            ("2001:db8:1:2:3:4:5:6", Some("2001:db8:1::")),
            ("::1", Some("::")),
            ("203.0.113.77:80", None),
            ("203.0.113", None),
            ("unknown", None),
        ] {
            assert_eq!(truncated(address).as_deref(), network, "{address}");
        }
    }
}
