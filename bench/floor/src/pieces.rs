//! A file in pieces of whole lines, each read with one call, and the threads that share them.
//!
//! Invariant: a line belongs to the piece in which it starts, so every line is in exactly one. Not here: what a line is
//! worth.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, anyhow};

const PIECE_BYTES: u64 = 2 << 20;
/// Read beyond a piece for the end of its last line; doubled while that is not enough.
const TAIL_BYTES: u64 = 4 << 10;

/// The pieces of one file.
#[derive(Clone, Copy, Debug)]
pub struct Pieces<'a> {
    file: &'a File,
    size: u64,
}

impl<'a> Pieces<'a> {
    /// The file as it is now.
    pub fn new(file: &'a File) -> std::io::Result<Self> {
        Ok(Self { file, size: file.metadata()?.len() })
    }

    /// The lines of piece `number`, the last one with or without its newline; `None` behind the end.
    pub fn read<'b>(&self, number: u64, bytes: &'b mut Vec<u8>) -> std::io::Result<Option<&'b [u8]>> {
        let piece_start = number * PIECE_BYTES;
        if piece_start >= self.size {
            return Ok(None);
        }
        // The byte before tells whether a line starts right at the beginning.
        let start = piece_start.saturating_sub(1);
        let piece_end = (piece_start + PIECE_BYTES).min(self.size);
        let mut tail = TAIL_BYTES;
        loop {
            let end = (piece_end + tail).min(self.size);
            bytes.resize((end - start) as usize, 0);
            self.file.read_exact_at(bytes, start)?;
            let first = if number == 0 { Some(0) } else { memchr::memchr(b'\n', bytes).map(|at| at + 1) };
            // The last line is the one that holds the piece's last byte.
            let inside = (piece_end - start) as usize - 1;
            let last = memchr::memchr(b'\n', &bytes[inside..]).map(|at| inside + at);
            let last = if end == self.size { last.or(Some(bytes.len())) } else { last };
            match (first, last) {
                (_, None) => tail *= 2,
                (Some(first), Some(last)) if first <= last => return Ok(Some(&bytes[first..last])),
                // One line covers the whole piece.
                (_, Some(_)) => return Ok(Some(&[])),
            }
        }
    }
}

/// Lets `threads` threads take the pieces of a file until there are none left. Each begins with what `begin` gives and
/// hands it, with one piece at a time, to `take`; what they end with comes back.
pub fn on_threads<W: Send>(
    path: &Path,
    threads: usize,
    begin: impl Fn() -> W + Sync,
    take: impl Fn(&mut W, &[u8]) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<Vec<W>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let pieces = Pieces::new(&file)?;
    let next = AtomicU64::new(0);
    let work = || -> anyhow::Result<W> {
        let (mut worker, mut bytes) = (begin(), Vec::new());
        while let Some(lines) = pieces.read(next.fetch_add(1, Ordering::Relaxed), &mut bytes)? {
            take(&mut worker, lines)?;
        }
        Ok(worker)
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|w| w.join().unwrap_or_else(|_| Err(anyhow!("a worker panicked")))).collect()
    })
}

/// The lines of a piece that are not blank.
pub fn lines(piece: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    let all = memchr::memchr_iter(b'\n', piece).chain([piece.len()]).map(move |end| {
        let line = &piece[start..end];
        start = end + 1;
        line
    });
    all.filter(|line| !line.trim_ascii().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_in_one_piece() {
        let line_lengths: &[&[usize]] = &[
            &[],
            &[1],
            &[PIECE_BYTES as usize - 1, 1, 5],
            &[PIECE_BYTES as usize, 5],
            &[PIECE_BYTES as usize * 3 + 7, 1, 1],
            &[300_000; 20],
            &[409; 12_000],
        ];
        for (lengths, closed) in line_lengths.iter().flat_map(|l| [(l, true), (l, false)]) {
            let path = std::env::temp_dir().join(format!("adsum-floor-pieces-{}", std::process::id()));
            let lines: Vec<String> = lengths
                .iter()
                .enumerate()
                .map(|(i, n)| char::from(b'a' + (i % 26) as u8).to_string().repeat(*n))
                .collect();
            let mut text = lines.join("\n");
            if closed && !lines.is_empty() {
                text.push('\n');
            }
            std::fs::write(&path, &text).unwrap();
            let file = File::open(&path).unwrap();
            let pieces = Pieces::new(&file).unwrap();
            let (mut got, mut bytes) = (Vec::new(), Vec::new());
            for number in 0.. {
                let Some(piece) = pieces.read(number, &mut bytes).unwrap() else { break };
                let piece = String::from_utf8(piece.to_vec()).unwrap();
                got.extend(piece.split('\n').filter(|l| !l.is_empty()).map(str::to_owned));
            }
            std::fs::remove_file(&path).unwrap();
            assert_eq!(got, lines);
        }
    }
}
