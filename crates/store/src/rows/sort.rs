//! Sorting by numbers of few bits, digit by digit.
//!
//! Invariant: it is stable: items of equal numbers stay in their order. Rows are numbers here (buckets, packed keys),
//! whose bits are few, so that going over them two or three times is quicker than comparing.

/// Bits of a digit: its counters fit the processor's nearest cache.
const DIGIT_BITS: u32 = 11;
const DIGITS: usize = 1 << DIGIT_BITS;
/// Fewer items are compared: counters would take longer.
const COMPARED_MAX: usize = 256;

/// Sorts by a number below 2 to the `bits`; `spare` lends its memory.
pub(super) fn sort_by_number<T: Copy>(items: &mut Vec<T>, spare: &mut Vec<T>, bits: u32, number: impl Fn(&T) -> u64) {
    if items.len() <= COMPARED_MAX {
        items.sort_by_key(number);
        return;
    }
    let digit = |number: u64, shift: u32| (number >> shift) as usize & (DIGITS - 1);
    let shifts = || (0..bits).step_by(DIGIT_BITS as usize);
    let mut counts = vec![[0_u32; DIGITS]; shifts().count()];
    for item in items.iter() {
        let number = number(item);
        counts.iter_mut().zip(shifts()).for_each(|(counts, shift)| counts[digit(number, shift)] += 1);
    }
    for (mut places, shift) in counts.into_iter().zip(shifts()) {
        if places[digit(number(&items[0]), shift)] as usize == items.len() {
            continue;
        }
        let mut next = 0;
        for place in &mut places {
            next += std::mem::replace(place, next);
        }
        spare.clear();
        spare.resize(items.len(), items[0]);
        for item in items.iter() {
            let place = &mut places[digit(number(item), shift)];
            spare[*place as usize] = *item;
            *place += 1;
        }
        std::mem::swap(items, spare);
    }
}

/// Bits that numbers up to this one take.
pub(super) fn bits_of(greatest: u64) -> u32 {
    u64::BITS - greatest.leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_as_a_stable_comparison_does() {
        for (len, bits) in [(0, 1), (1, 9), (200, 40), (5000, 0), (5000, 3), (5000, 11), (5000, 33), (5000, 64)] {
            let mut state = 0x9E37_79B9_7F4A_7C15_u64;
            let mut items: Vec<(u64, usize)> = (0..len)
                .map(|i| {
                    state = state.wrapping_mul(0xBF58_476D_1CE4_E5B9).rotate_left(31);
                    (state.checked_shr(64 - bits).unwrap_or(0), i)
                })
                .collect();
            let mut want = items.clone();
            want.sort_by_key(|item| item.0);
            sort_by_number(&mut items, &mut Vec::new(), bits, |item| item.0);
            assert_eq!(items, want, "{len} of {bits} bits");
        }
        assert_eq!((bits_of(0), bits_of(1), bits_of(u64::MAX)), (0, 1, 64));
    }
}
