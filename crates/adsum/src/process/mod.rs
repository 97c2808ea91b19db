//! Threads around the pipeline: the shards of one frame run side by side.

use adsum_pipeline::{Executor, ShardSlot};

/// One thread a shard for the time of a frame; the caller's thread takes the first.
pub struct Threads;

impl Executor for Threads {
    fn each(&self, slots: &mut [ShardSlot], work: &(dyn Fn(&mut ShardSlot) + Sync)) {
        let Some((first, rest)) = slots.split_first_mut() else { return };
        std::thread::scope(|scope| {
            for slot in rest {
                scope.spawn(move || work(slot));
            }
            work(first);
        });
    }
}
