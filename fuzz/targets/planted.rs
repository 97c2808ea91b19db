//! A failure behind a comparison of eight bytes, which nobody hits by chance: it shows that the targets are compiled so
//! that the fuzzer sees what they compare, and which ways they take.
//!
//! Invariant: it fails on nothing but an input that begins with these bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(first) = data.first_chunk() else { return };
    assert!(u64::from_le_bytes(*first) != u64::from_le_bytes(*b"adsum id"), "a planted failure");
});
