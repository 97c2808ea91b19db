//! Lines on their way to a file: blocks of some megabytes, written by a thread of their own.
//!
//! Invariant: at most [`BLOCKS_MAX`] blocks exist. Not here: what is in them.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use anyhow::{Context, anyhow};

const BLOCK_BYTES: usize = 4 << 20;
/// Room above a block's size, so that the line that fills it makes nothing grow.
const SLACK_BYTES: usize = 4 << 10;
const BLOCKS_MAX: usize = 3;

/// A file being written.
#[derive(Debug)]
pub(crate) struct Sink {
    /// Where lines are appended; call [`Sink::flush_if_full`] between lines.
    pub(crate) block: Vec<u8>,
    bytes: u64,
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    writer: JoinHandle<std::io::Result<()>>,
}

impl Sink {
    /// Creates the file, or empties it. Fails where it cannot be created.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let mut file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        let (full, to_write) = sync_channel::<Vec<u8>>(BLOCKS_MAX);
        let (written, empty) = sync_channel(BLOCKS_MAX);
        for _ in 1..BLOCKS_MAX {
            written.send(Vec::with_capacity(BLOCK_BYTES + SLACK_BYTES)).expect("the receiver is in this function");
        }
        let writer = std::thread::spawn(move || {
            for mut block in to_write {
                file.write_all(&block)?;
                block.clear();
                // The other end is gone once the last block is under way: nobody needs this one any more.
                let _ = written.send(block);
            }
            Ok(())
        });
        Ok(Self { block: Vec::with_capacity(BLOCK_BYTES + SLACK_BYTES), bytes: 0, full, empty, writer })
    }

    /// Hands a full block to the writer.
    #[inline]
    pub(crate) fn flush_if_full(&mut self) -> anyhow::Result<()> {
        if self.block.len() < BLOCK_BYTES {
            return Ok(());
        }
        let gone = || anyhow!("the writer stopped: is the disk full?");
        let next = self.empty.recv().map_err(|_| gone())?;
        let block = std::mem::replace(&mut self.block, next);
        self.bytes += block.len() as u64;
        self.full.send(block).map_err(|_| gone())
    }

    /// Writes the rest and returns the file's size in bytes.
    pub(crate) fn finish(mut self) -> anyhow::Result<u64> {
        let block = std::mem::take(&mut self.block);
        let bytes = self.bytes + block.len() as u64;
        // A failed send means that the writer has stopped; its own error, below, says more.
        let _ = self.full.send(block);
        drop(self.full);
        drop(self.empty);
        self.writer.join().map_err(|_| anyhow!("the writer panicked"))?.context("cannot write")?;
        Ok(bytes)
    }
}
