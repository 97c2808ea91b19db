//! A replay: the record that takes a quarantined event up again.
//!
//! It carries the event's fields and its own receivedAt, and what the collector resolves today; the engine needs no
//! look-up to fold it. Invariant: the event's content is carried unchanged, so a duplicate is still one.

use crate::campaigns::Campaigns;
use crate::catalog::Catalog;
use crate::id::Offset;
use crate::record::{Form, OUT_OF_FLIGHT_BIT, RecordBatch, RecordHead, RecordKind, Span, Stamp};
use crate::symbol::Symbol;
use crate::time::EventTime;

/// Adds to `out` the replay of an event of `batch` that lies at `target`; false where the record is no event, or its
/// campaign is unknown and such are rejected.
pub fn push_replay(
    batch: &RecordBatch,
    head: &RecordHead,
    target: Offset,
    catalog: &Catalog,
    campaigns: &Campaigns,
    out: &mut RecordBatch,
) -> bool {
    if head.kind != RecordKind::Event {
        return false;
    }
    let known = catalog.well_known();
    let symbol = |field| {
        let span = batch.field(head, field)?;
        match span.form {
            Form::Symbol => Some(span.as_symbol()),
            // On a full day no symbol was made of it; since then it may have been declared.
            Form::Text => Some(catalog.symbols().find(&batch.arena[span.range()]).unwrap_or(Symbol::UNKEPT)),
            _ => None,
        }
    };
    let sent = symbol(known.campaign_id);
    let found = if sent.is_some() { None } else { symbol(known.ad_id).and_then(|ad| campaigns.of_ad(ad)) };
    let occurred_at = batch.field(head, known.occurred_at).map_or(0, |s| s.as_wide() as i64);
    let campaign = sent.or(found).unwrap_or_default();
    let Some(terms) = campaigns.terms(campaign, EventTime::from_micros(occurred_at)) else { return false };
    let stamp = Stamp {
        billable: Some(terms.billable),
        currency: terms.currency,
        campaign: found.unwrap_or(Symbol::NULL),
        ..head.stamp
    };
    out.begin(RecordKind::Replay, head.source, head.received_at, stamp);
    // What the collector found then does not hold for today's terms.
    let mut spans: Vec<Span> = batch.fields(head).iter().filter(|s| s.field != known.flags).copied().collect();
    if !terms.in_flight {
        spans.push(Span::wide(known.flags, Form::Uint, OUT_OF_FLIGHT_BIT));
    }
    spans.push(Span::wide(known.target, Form::Uint, target.get()));
    spans.sort_by_key(|s| s.field);
    for span in spans {
        match span.form {
            Form::Text | Form::Json | Form::Bytes => out.push_bytes(span.field, span.form, &batch.arena[span.range()]),
            Form::Uuid => {
                out.uuids.push(batch.uuids[span.start as usize]);
                out.push(Span { start: out.uuids.len() as u32 - 1, len: 0, ..span });
            }
            Form::Symbol | Form::Uint | Form::Int | Form::Time => out.push(span),
        }
    }
    true
}
