//! What needs all fields of an event: required ones, its campaign, and its spans in field order.
//!
//! Invariant: an event that is admitted has every part of its dedupe key, and terms. Not here: the values themselves.

use super::decode::{Decoder, Intake};
use super::members::attribute_text;
use super::reject::{Reject, RejectCode};
use super::scan::{quote_into, unescaped};
use super::text::has_forbidden;
use crate::catalog::{DimensionSource, EventTypeIx, FieldIx, ID_BYTES_MAX, NullPolicy};
use crate::record::{Form, OUT_OF_FLIGHT_BIT, RecordBatch, Span, Stamp};
use crate::rows::bit;
use crate::symbol::Symbol;
use crate::time::{EventTime, format_utc};

impl Decoder {
    /// Checks what needs all fields, and resolves the campaign.
    #[inline(always)]
    pub(super) fn admit(&mut self, text: &[u8], intake: &Intake) -> Result<Stamp, Box<Reject>> {
        let known = self.known;
        let present = self.fields.slots.present();
        if !self.fields.slots.has(known.event_type) {
            return Err(self.fields.about(RejectCode::MissingField, known.event_type));
        }
        let event_type = self.projector.event_type(self.fields.slots.symbol(known.event_type)).unwrap_or_default();
        let mut stamp = Stamp { stream: intake.stream, ..Stamp::default() };
        let mut campaign = self.fields.slots.kept(known.campaign_id);
        if campaign.is_null()
            && let Some(found) = self.campaigns.of_ad(self.fields.slots.kept(known.ad_id))
        {
            campaign = found;
            stamp.campaign = found;
        }
        let mut missing = self.required[event_type.index()] & !present;
        if missing != 0 && !stamp.campaign.is_null() {
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
        self.fields.slots.put(known.flags, Form::Uint, flags as u32, 0);
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
    #[inline(always)]
    pub(super) fn emit(&mut self, text: &[u8], batch: &mut RecordBatch) -> u16 {
        let known = self.known;
        let mut edge_twice = false;
        if self.fields.slots.has(known.received_at) {
            let slots = &mut self.fields.slots;
            // The sender's own time of receipt decides nothing; it is kept under another name, or, where that is
            // taken, among the fields that nobody knows.
            if slots.has(known.edge_received_at) {
                edge_twice = true;
            } else {
                let Span { form, start, len, .. } = *slots.slot(known.received_at);
                slots.put(known.edge_received_at, form, start, len);
                slots.add(known.edge_received_at);
            }
            slots.remove(known.received_at);
        }
        if (edge_twice || !self.unknown.is_empty()) && self.extra(text, edge_twice) {
            self.fields.slots.add(known.extra);
        }
        let slots = &mut self.fields.slots;
        if slots.slot(known.flags).as_wide() != 0 {
            slots.add(known.flags);
        }
        slots.emit(&mut batch.spans) as u16
    }

    /// Writes the unknown members as one object, keys sorted, and with them a receivedAt that has no other place;
    /// false where all of them are null. They are content.
    fn extra(&mut self, text: &[u8], edge_twice: bool) -> bool {
        let Self { catalog, known, fields, projector, unknown, .. } = self;
        unknown.sort_by(|a, b| unescaped(text, a.0).cmp(&unescaped(text, b.0)));
        let name = &catalog.field(known.received_at).name;
        let at = fields.slots.slot(known.received_at).as_wide() as i64;
        let mut received = edge_twice.then(|| format!("\"{name}\":\"{}\"", format_utc(at)));
        let added = &mut fields.added;
        let start = added.len();
        for (key, value) in unknown.iter().filter(|(_, value)| !value.is_empty()) {
            let (escaped, key, value) = (key.escaped, unescaped(text, *key), &text[value.clone()]);
            projector.add_unknown(&key, value, &mut fields.words.content);
            if let Some(received) = received.take_if(|_| *name.as_bytes() < *key) {
                added.push(b',');
                added.extend_from_slice(received.as_bytes());
            }
            added.push(b',');
            if escaped {
                quote_into(&key, added);
            } else {
                added.push(b'"');
                added.extend_from_slice(&key);
                added.push(b'"');
            }
            added.push(b':');
            added.extend_from_slice(value);
        }
        if let Some(received) = received {
            added.push(b',');
            added.extend_from_slice(received.as_bytes());
        }
        let Some(first) = added.get_mut(start) else { return false };
        *first = b'{';
        added.push(b'}');
        let (start, len) = (fields.text_len + start, added.len() - start);
        fields.slots.put(known.extra, Form::Json, start as u32, len as u32);
        true
    }
}
