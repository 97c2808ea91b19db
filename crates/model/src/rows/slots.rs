//! The fields of one record by field, and not in their order: what decoder and projector work on.
//!
//! Invariant: a slot says something only while its field is present; what it holds else is left over from an earlier
//! record. Not here: what the fields mean.

use crate::catalog::FieldIx;
use crate::record::{Form, Span};
use crate::symbol::Symbol;

/// The most fields: presence is a number of 128 bits. The limit on dimensions keeps to it.
pub(crate) const FIELDS_MAX: usize = 128;

/// A field as a bit of presence.
pub(crate) fn bit(field: FieldIx) -> u128 {
    1 << field.index()
}

/// A slot for each field.
pub(crate) struct Slots {
    spans: Box<[Span; FIELDS_MAX]>,
    /// The fields that are present.
    present: [u64; 2],
    /// The fields that were emitted last, in their order: most records have those of the one before.
    order: Vec<u16>,
    order_of: [u64; 2],
}

impl Default for Slots {
    fn default() -> Self {
        let spans = Box::new(std::array::from_fn(|i| Span::symbol(FieldIx::new(i), Symbol::NULL)));
        Self { spans, present: [0; 2], order: Vec::new(), order_of: [0; 2] }
    }
}

impl Slots {
    /// The fields that are present, as bits.
    #[inline(always)]
    pub fn present(&self) -> u128 {
        u128::from(self.present[0]) | u128::from(self.present[1]) << 64
    }

    /// Says which fields are present.
    #[inline(always)]
    pub fn set_present(&mut self, bits: u128) {
        self.present = [bits as u64, (bits >> 64) as u64];
    }

    /// Says that a field is present.
    #[inline(always)]
    pub fn add(&mut self, field: FieldIx) {
        self.present[field.index() / 64 % 2] |= 1 << (field.index() % 64);
    }

    /// Says that a field is not present.
    pub fn remove(&mut self, field: FieldIx) {
        self.present[field.index() / 64 % 2] &= !(1 << (field.index() % 64));
    }

    /// Puts a value into a field's slot; whether it is present is said apart.
    #[inline(always)]
    pub fn put(&mut self, field: FieldIx, form: Form, start: u32, len: u32) {
        self.spans[field.index() % FIELDS_MAX] = Span { field, form, start, len };
    }

    /// Takes up the fields of a record, and nothing else.
    pub fn fill(&mut self, spans: &[Span]) {
        self.present = [0; 2];
        for span in spans {
            self.spans[span.field.index() % FIELDS_MAX] = *span;
            self.add(span.field);
        }
    }

    /// Whether the field is present.
    #[inline(always)]
    pub fn has(&self, field: FieldIx) -> bool {
        self.present[field.index() / 64 % 2] >> (field.index() % 64) & 1 != 0
    }

    /// The value of a field that is present.
    #[inline(always)]
    pub fn get(&self, field: FieldIx) -> Option<&Span> {
        if self.has(field) { Some(self.slot(field)) } else { None }
    }

    /// What the field's slot holds.
    #[inline(always)]
    pub fn slot(&self, field: FieldIx) -> &Span {
        &self.spans[field.index() % FIELDS_MAX]
    }

    /// The symbol of a field, null where it is absent.
    #[inline(always)]
    pub fn symbol(&self, field: FieldIx) -> Symbol {
        self.get(field).map_or(Symbol::NULL, Span::as_symbol)
    }

    /// The symbol of a field whose value may have none, null where it is absent. A campaign or an ad that is declared
    /// has one.
    #[inline(always)]
    pub fn kept(&self, field: FieldIx) -> Symbol {
        let symbol = |span: &Span| if span.form == Form::Symbol { span.as_symbol() } else { Symbol::UNKEPT };
        self.get(field).map_or(Symbol::NULL, symbol)
    }

    /// The 64 bits of a field, 0 where it is absent.
    #[inline(always)]
    pub fn wide(&self, field: FieldIx) -> u64 {
        self.get(field).map_or(0, Span::as_wide)
    }

    /// Appends the fields that are present, in their order; says how many.
    #[inline]
    pub fn emit(&mut self, out: &mut Vec<Span>) -> usize {
        if self.order_of != self.present {
            self.learn_order();
        }
        let spans = &self.spans;
        out.extend(self.order.iter().map(|field| spans[usize::from(*field) % FIELDS_MAX]));
        self.order.len()
    }

    #[inline(never)]
    fn learn_order(&mut self) {
        self.order.clear();
        for (mut bits, first) in self.present.into_iter().zip([0, 64]) {
            while bits != 0 {
                self.order.push(first + bits.trailing_zeros() as u16);
                bits &= bits - 1;
            }
        }
        self.order_of = self.present;
    }
}
