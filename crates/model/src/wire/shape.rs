//! The shape of the lines that a sender writes: which keys, in which order, with which white space.
//!
//! Senders keep to one. What stood between one value and the next, comma, key and colon, is compared as one with what
//! stands there now, and read only where it differs. Invariant: the shape decides how fast a key is found, never what it
//! means, and no key stands in it twice. Not here: values.

use std::ops::Range;

use super::keys::{Keys, Step, Target};
use super::scan::Scanner;
use crate::rows::FIELDS_MAX;

/// The bytes that are compared at once.
pub(super) const BYTES: usize = 32;
/// The most places of a shape.
const PLACES_MAX: usize = 128;
/// After so many lines that do not keep to it a shape is learned anew.
const PATIENCE: u32 = 32;

/// What stands behind one value up to the next one, and what that is.
#[repr(align(32))]
pub(super) struct Place {
    text: [u8; BYTES],
    /// The bytes of a load that belong to it.
    mask: [u8; BYTES],
    /// Less than [`BYTES`].
    pub len: usize,
    pub next: Next,
}

/// What follows a place.
pub(super) enum Next {
    /// The value of a field.
    Field(Target),
    /// The value of a key that the catalog does not know and that stands there in the place's text; whether it has
    /// escapes.
    Unknown(Range<usize>, bool),
    /// Nothing: the object ends.
    End,
}

/// Masks of every length, each from another place on.
const MASKS: [u8; 2 * BYTES] = {
    let mut masks = [0; 2 * BYTES];
    let mut i = 0;
    while i < BYTES {
        masks[i] = 0xFF;
        i += 1;
    }
    masks
};

impl Place {
    fn of(bytes: &[u8], next: Next) -> Option<Self> {
        // A line end is remembered by nobody: in another text it ends a line.
        if bytes.len() >= BYTES || bytes.contains(&b'\n') {
            return None;
        }
        let mut text = [0; BYTES];
        text[..bytes.len()].copy_from_slice(bytes);
        let mask = *MASKS[BYTES - bytes.len()..].first_chunk()?;
        Some(Self { text, mask, len: bytes.len(), next })
    }

    /// Whether its text stands at the beginning of these bytes.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub fn begins(&self, bytes: &[u8; BYTES]) -> bool {
        use std::arch::x86_64::{
            __m128i, _mm_and_si128, _mm_cmpeq_epi8, _mm_load_si128, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128,
            _mm_setzero_si128, _mm_xor_si128,
        };
        // SAFETY: SSE2 is part of x86_64; each load reads 16 of the 32 bytes of its array, and text and mask lie at
        // multiples of 32 bytes, for the place does. Measured with `examples/decode_rate.rs`: every member of every
        // line goes through it.
        unsafe {
            let differ = |at: usize| {
                let there = _mm_loadu_si128(bytes.as_ptr().add(at).cast::<__m128i>());
                let want = _mm_load_si128(self.text.as_ptr().add(at).cast::<__m128i>());
                let mask = _mm_load_si128(self.mask.as_ptr().add(at).cast::<__m128i>());
                _mm_and_si128(_mm_xor_si128(there, want), mask)
            };
            let differ = _mm_or_si128(differ(0), differ(16));
            _mm_movemask_epi8(_mm_cmpeq_epi8(differ, _mm_setzero_si128())) == 0xFFFF
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub fn begins(&self, bytes: &[u8; BYTES]) -> bool {
        bytes.iter().zip(&self.text).zip(&self.mask).all(|((there, want), mask)| (there ^ want) & mask == 0)
    }
}

/// A shape, and how far lines keep to it.
pub(super) struct Shape {
    places: Vec<Place>,
    /// Before each place, and at the end: the fields of the places before it.
    before: Vec<u128>,
    /// By field, the place of the key that names it; [`NOWHERE`] where there is none. Not by key: another key of the same
    /// field comes in its place.
    places_of: [u16; FIELDS_MAX],
    /// Lines that did not keep to it.
    strange: u32,
}

const NOWHERE: u16 = u16::MAX;

/// What was read of a line, as against a shape.
#[derive(Clone, Copy, Default)]
pub(super) struct Progress {
    /// The place that is expected next.
    place: usize,
    /// The fields of places that were passed over.
    skipped: u128,
    /// Fields that stood elsewhere than the shape has them.
    elsewhere: u128,
    /// Whether anything was not as expected.
    pub strange: bool,
}

impl Shape {
    /// The shape of no line.
    pub fn new() -> Self {
        Self { places: Vec::new(), before: vec![0], places_of: [NOWHERE; FIELDS_MAX], strange: PATIENCE }
    }

    /// The places that are expected from where a line was read to.
    #[inline(always)]
    pub fn rest(&self, progress: &Progress) -> &[Place] {
        self.places.get(progress.place..).unwrap_or_default()
    }

    /// Notes that a line was read up to these places.
    #[inline(always)]
    pub fn read_to(&self, rest: &[Place], progress: &mut Progress) {
        progress.place = self.places.len() - rest.len();
    }

    /// Notes that something else stood there; false where its field stood in the line before.
    #[inline]
    pub fn surprise(&self, step: Step, keys: &Keys, progress: &mut Progress) -> bool {
        progress.strange = true;
        let place = progress.place;
        // The first place begins an object, so that it is never looked for behind a value.
        let mut next = place.max(1).min(self.places.len());
        let Step::Known(key) = step else {
            progress.skipped |= self.before[place] ^ self.before[next];
            progress.place = next;
            return true;
        };
        let Target { field, bit, .. } = *keys.target(key);
        if self.seen(progress) & bit != 0 {
            return false;
        }
        let there = usize::from(self.places_of[field.index() % FIELDS_MAX]);
        if there >= place && there < self.places.len() {
            next = there + 1;
            progress.skipped |= (self.before[place] ^ self.before[next]) & !bit;
        } else {
            progress.skipped |= self.before[place] ^ self.before[next];
            progress.elsewhere |= bit;
        }
        progress.place = next;
        true
    }

    /// The fields whose keys were read.
    #[inline(always)]
    pub fn seen(&self, progress: &Progress) -> u128 {
        self.before[progress.place] & !progress.skipped | progress.elsewhere
    }

    /// Learns from a line that was read to its end.
    #[inline(always)]
    pub fn learn(&mut self, line: &[u8], keys: &Keys, progress: &Progress) {
        if progress.strange {
            self.learn_anew(line, keys);
        }
    }

    #[cold]
    #[inline(never)]
    fn learn_anew(&mut self, line: &[u8], keys: &Keys) {
        self.strange += 1;
        if self.strange < PATIENCE {
            return;
        }
        self.strange = 0;
        self.places.clear();
        self.before.truncate(1);
        self.places_of.fill(NOWHERE);
        let mut s = Scanner::new(line, 0);
        let mut begin = 0;
        while let Ok(step) = keys.read(&mut s, begin == 0) {
            let (next, bit) = match step {
                Step::Known(key) => {
                    let target = keys.target(key);
                    self.places_of[target.field.index() % FIELDS_MAX] = self.places.len() as u16;
                    (Next::Field(*target), target.bit)
                }
                Step::Unknown(key) => (Next::Unknown(key.start - begin..key.end - begin, key.escaped), 0),
                Step::End => (Next::End, 0),
            };
            let last = matches!(next, Next::End) || self.places.len() + 1 == PLACES_MAX;
            let Some(place) = Place::of(&line[begin..s.at], next) else { break };
            self.places.push(place);
            self.before.push(self.before[self.before.len() - 1] | bit);
            if last || s.value(1).is_err() {
                break;
            }
            begin = s.at;
        }
    }
}
