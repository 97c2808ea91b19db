//! Asking the processor to fetch what will be read soon.
//!
//! Invariant: it changes nothing but time. Not here: when it pays; each use says so.

/// Starts fetching the cache line in which `place` begins.
#[inline(always)]
pub fn fetch<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let place: *const T = place;
        // SAFETY: a prefetch reads and writes nothing that the program sees, and the address is that of a reference.
        // Measured with the store's `examples/store_rates.rs` and `bench/ads`: look-ups, flushes, the fold and the
        // decoder wait for memory without it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
