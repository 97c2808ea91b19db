//! `memory_limit`: the memory that the process may take, and what of it each part gets.
//!
//! Invariant: what the parts take at most adds up to the limit, by the costs that are named here; a limit that a
//! configured part does not fit into is refused. A limit lowers a default and never raises one. Beside it stands
//! what grows with the data: the store's index and the values of dimensions (docs/operations.md). Not here: enforcing
//! a part's bound, which each part does itself.

use std::str::FromStr;

use anyhow::{Result, bail};
use serde::Deserialize;

use crate::config::Config;
use crate::writer::QueueBounds;

/// Bytes, as people write them: 536870912, "512 MiB", "1GiB".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct ByteSize(u64);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Bytes(u64),
    Text(String),
}

impl TryFrom<Written> for ByteSize {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Bytes(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text.parse(),
        }
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let unit: u64 = match text[digits..].trim_start() {
            "" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(format!("{text:?} is no size: 536870912, 512 MiB, 1 GiB")),
        };
        let count = text[..digits].parse::<u64>().ok().and_then(|count| count.checked_mul(unit));
        count.map(Self).ok_or_else(|| format!("{text:?} is no size: 536870912, 512 MiB, 1 GiB"))
    }
}

impl ByteSize {
    /// The bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

const MIB: u64 = 1 << 20;

/// What the process takes before the first event: code, threads, the tables of decoders, metadata, merges.
const BASE_BYTES: u64 = 144 * MIB;

/// A part of what is left of the limit.
struct Part {
    /// Its key in the configuration.
    key: &'static str,
    /// Its share, in hundredths. An import into a directory and a server never run in one process, so the shares of
    /// each with the checkpoint's add up to a hundred.
    share: u64,
    /// What one of its units takes, in bytes.
    unit_bytes: u64,
    /// The fewest units that it works with.
    least: u64,
}

/// A dedupe record and a cell that wait for a checkpoint, both while it is written too and as rows of it.
const CHECKPOINT: Part = Part { key: "checkpoint", share: 40, unit_bytes: 560, least: 16 << 10 };
/// A byte of text in a frame of an import: as text, as records, as rows, in the chunks before and the frames behind.
const IMPORT_FRAME: Part = Part { key: "import.frame_bytes", share: 60, unit_bytes: 10, least: MIB };
/// A byte of a request's body; the largest one must fit.
const BODIES: Part = Part { key: "server.body_memory_bytes", share: 25, unit_bytes: 1, least: 0 };
/// A byte of records that wait for the writer, which counts their text and no tables.
const WAITING: Part = Part { key: "records that wait", share: 20, unit_bytes: 2, least: 2 * MIB };
/// The rows of a frame that waits for the fold.
const FRAMES: Part = Part { key: "frames that wait", share: 15, unit_bytes: 3 * MIB, least: 2 };

/// A limit on its way to its parts.
struct Division {
    limit: u64,
    /// The least limit in MiB that all parts so far fit into, which of them asks for it, and how much of it.
    least: (u64, &'static str, u64),
}

impl Division {
    /// How many units a part gets: what is configured, else up to a default.
    fn part(&mut self, part: &Part, configured: Option<u64>, default: u64) -> u64 {
        let fits = self.limit.saturating_sub(BASE_BYTES) * part.share / 100 / part.unit_bytes;
        let wanted = configured.unwrap_or(part.least);
        let needed = wanted.saturating_mul(part.unit_bytes).saturating_mul(100).div_ceil(part.share);
        let least = BASE_BYTES.saturating_add(needed).div_ceil(MIB);
        if least > self.least.0 {
            self.least = (least, part.key, wanted);
        }
        configured.unwrap_or_else(|| fits.min(default))
    }

    /// Refuses a limit that is too small for a part.
    fn check(self) -> Result<()> {
        let (least, key, wanted) = self.least;
        if self.limit < least * MIB {
            let limit = self.limit / MIB;
            bail!("memory_limit: {limit} MiB is too little for {key} of {wanted}; the least that works is {least} MiB");
        }
        Ok(())
    }
}

/// Puts what the limit leaves to each part into the configuration; without a limit nothing changes.
pub fn divide(config: &mut Config) -> Result<()> {
    let Some(limit) = config.memory_limit.map(ByteSize::get) else { return Ok(()) };
    let mut division = Division { limit, least: (0, "", 0) };
    let rules = config.checkpoints();
    let given = |count: Option<usize>| count.map(|count| count as u64);
    for (configured, default) in
        [(&mut config.checkpoint.records, rules.records_max), (&mut config.checkpoint.cells, rules.cells_max)]
    {
        *configured = Some(division.part(&CHECKPOINT, given(*configured), default as u64) as usize);
    }
    let import = &mut config.import;
    let frame = division.part(&IMPORT_FRAME, given(import.frame_bytes), import.frame_bytes() as u64);
    import.frame_bytes = Some(frame as usize);
    // As many chunks are on their way as in a frame of the default.
    import.chunk_bytes = Some(import.chunk_bytes().min(frame as usize / CHUNKS_PER_FRAME));
    let bodies = Part { least: config.collect.body_bytes_max() as u64, ..BODIES };
    let server = &mut config.server;
    server.body_memory_bytes = Some(division.part(&bodies, server.body_memory_bytes, server.body_memory_bytes()));
    let QueueBounds { bytes_max, frames_max } = config.queues;
    config.queues = QueueBounds {
        bytes_max: division.part(&WAITING, None, bytes_max as u64) as usize,
        frames_max: division.part(&FRAMES, None, frames_max as u64) as usize,
    };
    division.check()
}

/// Memory that the process takes, in bytes, where the system tells it; else 0.
#[allow(clippy::disallowed_methods, reason = "what the system says of the process is no part of log or store")]
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map_or(0, |kib| kib << 10)
}

/// Chunks in a frame of an import at least.
const CHUNKS_PER_FRAME: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let mib = |n: u64| Ok(ByteSize(n << 20));
        for (text, size) in [
            ("512 MiB", mib(512)),
            ("512MiB", mib(512)),
            ("1 GiB", mib(1024)),
            ("1048576", mib(1)),
            ("2048 KiB", mib(2)),
            ("", Err(())),
            ("MiB", Err(())),
            ("1.5 GiB", Err(())),
            ("512 MB", Err(())),
            ("-1", Err(())),
            ("99999999999 GiB", Err(())),
        ] {
            assert_eq!(text.parse::<ByteSize>().map_err(|_| ()), size, "{text:?}");
        }
    }

    #[test]
    fn parts_follow_the_limit_and_never_rise_above_their_defaults() {
        let without = Config::parse("").unwrap();
        for (text, records, frame_bytes, bodies) in [
            ("", None, None, 256 << 20),
            ("memory_limit = \"100 GiB\"", Some(1 << 19), Some(16 << 20), 256 << 20),
            ("memory_limit = \"512 MiB\"", Some(275_625), Some(16 << 20), 92 << 20),
            ("memory_limit = 268435456", Some(83_886), Some(7_046_430), 28 << 20),
            ("memory_limit = \"512 MiB\"\ncheckpoint.records = 20000", Some(20_000), Some(16 << 20), 92 << 20),
        ] {
            let mut config = Config::parse(text).unwrap();
            divide(&mut config).unwrap();
            let shown = (config.checkpoint.records, config.import.frame_bytes, config.server.body_memory_bytes());
            assert_eq!(shown, (records, frame_bytes, bodies), "{text:?}");
            assert!(config.queues.bytes_max <= without.queues.bytes_max && config.queues.frames_max >= 2);
            assert!(config.import.chunk_bytes() <= 512 << 10);
        }
    }

    #[test]
    fn a_limit_that_is_too_small_is_refused_and_says_which_works() {
        for (text, words) in [
            ("memory_limit = \"64 MiB\"", &["memory_limit: 64 MiB", "frames that wait", "is 184 MiB"][..]),
            ("memory_limit = \"512 MiB\"\ncheckpoint.cells = 1000000", &["checkpoint of 1000000", "is 1480 MiB"]),
            (
                "memory_limit = \"512 MiB\"\nserver.body_memory_bytes = 200000000",
                &["server.body_memory_bytes", "907 MiB"],
            ),
        ] {
            let mut config = Config::parse(text).unwrap();
            let error = divide(&mut config).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{text:?}: {error}");
        }
        // What it says works.
        for (text, works) in [
            ("memory_limit = \"1480 MiB\"\ncheckpoint.cells = 1000000", true),
            ("memory_limit = \"1479 MiB\"\ncheckpoint.cells = 1000000", false),
            ("memory_limit = \"184 MiB\"", true),
            ("memory_limit = \"183 MiB\"", false),
            ("memory_limit = \"220 MiB\"\ncollect.body_bytes_max = 20000000", false),
            ("memory_limit = \"221 MiB\"\ncollect.body_bytes_max = 20000000", true),
        ] {
            assert_eq!(divide(&mut Config::parse(text).unwrap()).is_ok(), works, "{text:?}");
        }
    }
}
