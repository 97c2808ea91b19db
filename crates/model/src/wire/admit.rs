//! What needs all fields of an event: required ones, its campaign, and its spans in field order.
//!
//! Invariant: an event that is admitted has every part of its dedupe key, and terms. Not here: the values themselves.

use std::borrow::Cow;

use super::decode::{Decoder, Intake, bit};
use super::fields::FIELDS_MAX;
use super::members::attribute_text;
use super::reject::{Reject, RejectCode};
use super::scan::{quote_into, unescaped};
use super::text::has_forbidden;
use crate::catalog::{DimensionSource, EventTypeIx, FieldIx, ID_BYTES_MAX, NullPolicy};
use crate::record::{Form, OUT_OF_FLIGHT_BIT, RecordBatch, Span, Stamp};
use crate::symbol::Symbol;
use crate::time::{EventTime, format_utc};

/// The name and the JSON of a member.
type Member<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

impl Decoder {
    /// Checks what needs all fields, and resolves the campaign.
    #[inline(never)]
    pub(super) fn admit(&mut self, text: &[u8], present: u128, intake: &Intake) -> Result<Stamp, Box<Reject>> {
        let known = self.known;
        let symbol = |decoder: &Self, field: FieldIx| {
            if present & bit(field) == 0 { Symbol::NULL } else { decoder.fields.slot(field).as_symbol() }
        };
        if present & bit(known.event_type) == 0 {
            return Err(self.fields.about(RejectCode::MissingField, known.event_type));
        }
        let event_type = self.projector.event_type(symbol(self, known.event_type)).unwrap_or_default();
        let mut stamp = Stamp { stream: intake.stream, ..Stamp::default() };
        let mut campaign = symbol(self, known.campaign_id);
        if campaign.is_null()
            && let Some(found) = self.campaigns.of_ad(symbol(self, known.ad_id))
        {
            campaign = found;
            stamp.campaign = found;
        }
        let mut missing = self.required[event_type.index()] & !present;
        if !stamp.campaign.is_null() {
            missing &= !bit(known.campaign_id);
        }
        if missing == 0 {
            missing = self.missing_key_parts(present, intake, event_type);
        }
        if missing != 0 {
            return Err(self.fields.about(RejectCode::MissingField, FieldIx::new(missing.trailing_zeros() as usize)));
        }
        if self.check_dimensions {
            self.dimension_checks(text, present, campaign)?;
        }
        let occurred_at = EventTime::from_micros(self.fields.slot(known.occurred_at).as_wide() as i64);
        let Some(terms) = self.campaigns.terms(campaign, occurred_at) else {
            return Err(self.fields.about(RejectCode::UnknownCampaign, known.campaign_id));
        };
        stamp.billable = Some(terms.billable);
        stamp.currency = terms.currency;
        let flags = if terms.in_flight { 0 } else { OUT_OF_FLIGHT_BIT };
        self.fields.put(known.flags, Form::Uint, flags as u32, 0);
        Ok(stamp)
    }

    fn missing_key_parts(&mut self, present: u128, intake: &Intake, event_type: EventTypeIx) -> u128 {
        let slot = self.fields.slot(self.known.occurred_at);
        let at = EventTime::from_micros(slot.as_wide() as i64);
        self.projector.key_bits(intake.source, event_type, at) & !present
    }

    fn dimension_checks(&self, text: &[u8], present: u128, campaign: Symbol) -> Result<(), Box<Reject>> {
        let known = self.known;
        for d in self.catalog.dimensions() {
            let (there, name) = match (&d.source, d.field) {
                (DimensionSource::Attribute(key), _) => {
                    let value = if present & bit(known.attributes) == 0 {
                        None
                    } else {
                        attribute_text(&text[self.fields.slot(known.attributes).range()], key)
                    };
                    let name = format!("attributes.{key}");
                    if value.as_ref().is_some_and(|v| v.len() > ID_BYTES_MAX) {
                        return Err(Reject::new(RejectCode::TooLong, name));
                    }
                    if value.as_ref().is_some_and(|v| has_forbidden(v)) {
                        return Err(Reject::new(RejectCode::ForbiddenCharacter, name));
                    }
                    (value.is_some(), name)
                }
                (DimensionSource::Field(name), Some(field)) => {
                    let found = field == known.campaign_id && !campaign.is_null();
                    (found || present & bit(field) != 0, name.clone())
                }
                (DimensionSource::Field(name), None) => (false, name.clone()),
            };
            if d.nulls == NullPolicy::Reject && !there {
                return Err(Reject::new(RejectCode::MissingField, name));
            }
        }
        Ok(())
    }

    /// Writes the spans of an event that passed, in field order; says how many.
    #[inline(never)]
    pub(super) fn emit(&mut self, text: &[u8], mut present: u128, batch: &mut RecordBatch) -> u16 {
        let known = self.known;
        let mut edge_twice = false;
        if present & bit(known.received_at) != 0 {
            // The sender's own time of receipt decides nothing; it is kept under another name, or, where that is
            // taken, among the fields that nobody knows.
            if present & bit(known.edge_received_at) == 0 {
                let Span { form, start, len, .. } = *self.fields.slot(known.received_at);
                self.fields.put(known.edge_received_at, form, start, len);
                present |= bit(known.edge_received_at);
            } else {
                edge_twice = true;
            }
            present &= !bit(known.received_at);
        }
        if (edge_twice || !self.unknown.is_empty()) && self.extra(text, edge_twice) {
            present |= bit(known.extra);
        }
        if self.fields.slot(known.flags).as_wide() != 0 {
            present |= bit(known.flags);
        }
        let mut count = 0;
        for (mut bits, first) in [(present as u64, 0), ((present >> 64) as u64, 64)] {
            while bits != 0 {
                let field = FieldIx::new(first + bits.trailing_zeros() as usize);
                self.ordered[count % FIELDS_MAX] = *self.fields.slot(field);
                count += 1;
                bits &= bits - 1;
            }
        }
        batch.spans.extend_from_slice(&self.ordered[..count]);
        count as u16
    }

    /// Writes the unknown members as one object, keys sorted, and with them a receivedAt that has no other place;
    /// false where all of them are null.
    fn extra(&mut self, text: &[u8], edge_twice: bool) -> bool {
        let mut all: Vec<Member<'_>> = (self.unknown.iter())
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (unescaped(text, *key), Cow::Borrowed(&text[value.clone()])))
            .collect();
        if edge_twice {
            let at = format_utc(self.fields.slot(self.known.received_at).as_wide() as i64);
            let name = &self.catalog.field(self.known.received_at).name;
            all.push((Cow::Borrowed(name.as_bytes()), Cow::Owned(format!("\"{at}\"").into_bytes())));
        }
        if all.is_empty() {
            return false;
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        let added = &mut self.fields.added;
        let start = added.len();
        for (i, (name, value)) in all.into_iter().enumerate() {
            added.push(if i == 0 { b'{' } else { b',' });
            quote_into(&name, added);
            added.push(b':');
            added.extend_from_slice(&value);
        }
        added.push(b'}');
        let len = added.len() - start;
        let start = self.fields.text_len + start;
        self.fields.put(self.known.extra, Form::Json, start as u32, len as u32);
        true
    }
}
