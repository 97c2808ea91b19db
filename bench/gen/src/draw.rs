//! Seeded draws: splitmix64 streams, one for each event index, and a Zipf table in integers.
//!
//! Invariant: a draw is a pure function of seed, purpose and index, so that any event can be made again at any time
//! without having been kept. Not here: what is drawn.

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The finaliser of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014): a bijection.
#[inline]
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// One stream of draws.
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// The stream for `index` under a seed that [`purpose`] has made.
    #[inline]
    pub fn at(purpose_seed: u64, index: u64) -> Self {
        Self(mix(purpose_seed.wrapping_add(index.wrapping_mul(GOLDEN))))
    }

    /// The next 64 bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// A number in `0..bound`, by a multiplication (Lemire 2019, without the rejection: the bias is below 2^-30 here).
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// A random UUID (version 4, RFC 9562), as its 16 bytes.
    #[inline]
    pub fn uuid(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.bits().to_be_bytes());
        bytes[8..].copy_from_slice(&self.bits().to_be_bytes());
        bytes[6] = bytes[6] & 0x0F | 0x40;
        bytes[8] = bytes[8] & 0x3F | 0x80;
        bytes
    }
}

/// A seed of its own for one purpose, so that streams of the same index differ between purposes.
pub fn purpose(seed: u64, purpose: u64) -> u64 {
    mix(mix(seed.wrapping_add(GOLDEN)) ^ mix(purpose.wrapping_mul(GOLDEN)))
}

const GUIDES: usize = 1 << 16;
const WEIGHT_OF_FIRST: u64 = 1 << 40;

/// Ranks `0..n` with probability proportional to `1 / (rank + 1)`: Zipf with exponent 1.
#[derive(Debug)]
pub struct Zipf {
    /// Sums of weights up to and with each rank.
    sums: Vec<u64>,
    /// The least rank that a draw with these upper 16 bits can have.
    guides: Vec<u32>,
}

impl Zipf {
    /// A table for `n` ranks; `n` must be above 0.
    pub fn new(n: u64) -> Self {
        let sums: Vec<u64> = (1..=n)
            .scan(0, |sum, rank| {
                *sum += WEIGHT_OF_FIRST / rank;
                Some(*sum)
            })
            .collect();
        let total = *sums.last().expect("a Zipf table has at least one rank");
        let guides = (0..GUIDES as u64)
            .map(|g| {
                let least = ((u128::from(g << 48) * u128::from(total)) >> 64) as u64;
                sums.partition_point(|sum| *sum <= least) as u32
            })
            .collect();
        Self { sums, guides }
    }

    /// One rank.
    #[inline]
    pub fn draw(&self, draw: &mut Draw) -> usize {
        let bits = draw.bits();
        let total = self.sums[self.sums.len() - 1];
        let point = ((u128::from(bits) * u128::from(total)) >> 64) as u64;
        let mut rank = self.guides[(bits >> 48) as usize] as usize;
        while self.sums[rank] <= point {
            rank += 1;
        }
        rank
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_halves_with_the_rank() {
        let zipf = Zipf::new(10_000);
        let mut counts = vec![0_u64; 10_000];
        for i in 0..1_000_000 {
            counts[zipf.draw(&mut Draw::at(7, i))] += 1;
        }
        // H(10,000) = 9.7876: rank 0 has 10.22 % of all draws, rank 1 half of that, rank 99 a hundredth.
        for (rank, want) in [(0, 102_170_u64), (1, 51_085), (99, 1_022)] {
            assert!(counts[rank].abs_diff(want) < want / 8, "rank {rank}: {} for {want}", counts[rank]);
        }
    }
}
