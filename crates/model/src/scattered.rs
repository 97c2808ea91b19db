//! Memory that is looked into all over, on huge pages where the kernel gives them.
//!
//! A table that is larger than the processor's caches is also larger than what they know of the page table: each look
//! into it waits twice. Invariant: what a vector holds is the same with and without. Not here: memory that is gone
//! through in order, which gains nothing.

/// The smallest table that gains, in bytes: smaller ones would only be rounded up to a page of 2 MiB.
const BYTES_MIN: usize = 4 << 20;

/// `len` times `value`.
pub fn scattered<T: Clone>(len: usize, value: T) -> Vec<T> {
    let mut table = Vec::with_capacity(len);
    advise(&table);
    table.resize(len, value);
    table
}

/// Room for `count` more, made by doubling.
#[inline]
pub fn reserve_scattered<T>(table: &mut Vec<T>, count: usize) {
    if table.capacity() - table.len() < count {
        table.reserve(count);
        advise(table);
    }
}

/// Asks for huge pages for a table's memory before it is touched; without them everything goes on.
#[cfg(target_os = "linux")]
fn advise<T>(table: &Vec<T>) {
    use rustix::mm::{Advice, madvise};

    const PAGE_BYTES: usize = 4096;
    let bytes = table.capacity() * size_of::<T>();
    if bytes < BYTES_MIN {
        return;
    }
    let address = table.as_ptr() as usize;
    let skipped = address.next_multiple_of(PAGE_BYTES) - address;
    let len = (bytes - skipped) / PAGE_BYTES * PAGE_BYTES;
    // SAFETY: the range lies within the vector's own memory, whole pages of it, and the advice changes no byte of it.
    // Measured with `bench/ads`: a tenth of the time in user mode (docs/adr/0007-hot-path-memory.md).
    let _ = unsafe { madvise(table.as_ptr().cast_mut().byte_add(skipped).cast(), len, Advice::LinuxHugepage) };
}

#[cfg(not(target_os = "linux"))]
fn advise<T>(_table: &Vec<T>) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_hold_what_others_would() {
        for len in [0, 1, 1000, (8 << 20) / 8 + 3] {
            let mut table = scattered(len, 7_u64);
            assert_eq!((table.len(), table.iter().all(|v| *v == 7)), (len, true), "{len}");
            reserve_scattered(&mut table, BYTES_MIN / 8);
            assert!(table.capacity() - table.len() >= BYTES_MIN / 8);
            table.push(8);
            assert_eq!((table.len(), table.last()), (len + 1, Some(&8)), "{len}");
        }
    }
}
