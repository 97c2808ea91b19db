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
        let address = text(batch, &batch.spans[place], catalog);
        match truncated(&address).filter(|_| policy == IpPolicy::Truncate) {
            Some(kept) if kept == address => continue,
            Some(kept) => {
                let span = &mut batch.spans[place];
                if span.form == Form::Symbol {
                    *span = Span::symbol(field, catalog.symbols().intern(kept.as_bytes()));
                } else {
                    let start = batch.arena.len();
                    batch.arena.extend_from_slice(kept.as_bytes());
                    *span = Span::bytes(field, Form::Text, start, kept.len());
                }
            }
            // The record's last place stays behind, and nothing names it.
            None => {
                let end = head.span_start as usize + usize::from(head.span_count);
                batch.spans.copy_within(place + 1..end, place);
                batch.heads[at].span_count -= 1;
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
    use super::*;

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
