//! What the fuzz targets share: a bound on the memory that an input may cost.
//!
//! Invariant: what allocates beyond the bound aborts at once, so that the input is kept as one that crashes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static LIVE_MAX: AtomicUsize = AtomicUsize::new(usize::MAX);

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        if live > LIVE_MAX.load(Ordering::Relaxed) {
            LIVE_MAX.store(usize::MAX, Ordering::Relaxed);
            eprintln!("an allocation of {} bytes goes beyond the bound", layout.size());
            std::process::abort();
        }
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) };
    }
}

/// Does `work`, which may have `bytes` more in memory than there are now at any time.
pub fn within<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    LIVE_MAX.store(LIVE.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
    let result = work();
    LIVE_MAX.store(usize::MAX, Ordering::Relaxed);
    result
}
