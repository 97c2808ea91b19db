//! CRC-32 as log and store use it, and a switch that makes every checksum 0.
//!
//! A fuzzer cannot guess checksums, so that behind real ones it would only ever find the refusal. With the switch on,
//! files are written with zeros for checksums, and what lies behind them is read whatever it is. Invariant: with the
//! switch off, which it is at first, it is the CRC-32 of the crate whose place it takes. Nothing of it ships.

use std::sync::atomic::{AtomicBool, Ordering};

static TRUSTING: AtomicBool = AtomicBool::new(false);

/// From now on every checksum is 0, or what it should be.
pub fn trust(trusting: bool) {
    TRUSTING.store(trusting, Ordering::Relaxed);
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// The CRC-32 of some bytes.
pub fn hash(bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.finalize()
}

/// A CRC-32 that is computed piece by piece.
#[derive(Clone, Debug, Default)]
pub struct Hasher(u32);

impl Hasher {
    /// Of no bytes.
    pub fn new() -> Self {
        Self(0)
    }

    /// Goes on from a checksum.
    pub fn new_with_initial(crc: u32) -> Self {
        Self(crc)
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let step = |crc: u32, byte: &u8| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)];
        self.0 = !bytes.iter().fold(!self.0, step);
    }

    /// The checksum.
    pub fn finalize(self) -> u32 {
        if TRUSTING.load(Ordering::Relaxed) { 0 } else { self.0 }
    }
}
