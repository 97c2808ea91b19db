//! Which runs to merge: those of one size, so that each byte is written again only as often as there are tiers.
//!
//! Invariant: runs that are merged stand beside one another in time, so that the merged run covers one range of
//! frames. It bounds the number of runs by about (fan-in - 1) a tier. Not here: what merging means.

use std::ops::Range;

/// The tier of a run: 0 up to `base_bytes`, and one more for each factor of `fan_in`.
fn tier(bytes: u64, base_bytes: u64, fan_in: usize) -> u32 {
    let (mut tier, mut bound) = (0, base_bytes.max(1));
    while bytes > bound {
        bound = bound.saturating_mul(fan_in as u64);
        tier += 1;
    }
    tier
}

/// The runs to merge next, of `sizes` from the oldest to the newest: the lowest tier that has `fan_in` runs with none
/// of a higher tier between them.
pub(crate) fn due(sizes: &[u64], base_bytes: u64, fan_in: usize) -> Option<Range<usize>> {
    let fan_in = fan_in.max(2);
    let tiers: Vec<u32> = sizes.iter().map(|&s| tier(s, base_bytes, fan_in)).collect();
    let highest = tiers.iter().copied().max()?;
    for wanted in 0..=highest {
        let (mut first, mut count) = (0, 0);
        for (i, &tier) in tiers.iter().enumerate() {
            if tier > wanted {
                count = 0;
            } else if tier == wanted {
                if count == 0 {
                    first = i;
                }
                count += 1;
                if count == fan_in {
                    return Some(first..i + 1);
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_due_merges() {
        type Case<'a> = (&'a [u64], usize, Option<Range<usize>>);
        let cases: &[Case<'_>] = &[
            (&[], 4, None),
            (&[1, 1, 1], 4, None),
            (&[1, 1, 1, 1], 4, Some(0..4)),
            (&[10, 40, 1, 10, 1, 1], 3, Some(2..5)),
            (&[100, 40, 40, 40, 1, 40], 4, Some(1..6)),
            (&[500, 40, 40, 500, 40, 40], 4, None),
            (&[160, 40, 40, 40, 2, 2, 2], 4, None),
        ];
        for (sizes, fan_in, want) in cases {
            assert_eq!(due(sizes, 10, *fan_in), *want, "{sizes:?}");
        }
    }

    #[test]
    fn the_number_of_runs_stays_small() {
        let (mut sizes, mut written) = (Vec::new(), 0_u64);
        for _ in 0..4096 {
            sizes.push(10);
            while let Some(range) = due(&sizes, 10, 4) {
                let sum = sizes[range.clone()].iter().sum();
                written += sum;
                sizes.splice(range, [sum]);
            }
            assert!(sizes.len() <= 20, "{sizes:?}");
        }
        assert!(written <= 4096 * 10 * 6, "each byte is written again at most once a tier: {written}");
    }
}
