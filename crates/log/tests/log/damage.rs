//! Every truncation and every bit flip of a small log: it is refused, or a torn tail is cut, and never is there
//! another record than the one that was written.
//!
//! `ADSUM_DAMAGE_BYTES` sets the size of the damaged segments together (default 4096).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use adsum_disk::FaultyDisk;
use adsum_log::{EventLog, LogError, LogOptions, LogView};
use adsum_model::catalog::Catalog;
use adsum_model::id::{FrameSeq, Offset, Position};

use crate::sample::{DIR, Random, Record, append, catalog, open, read_all};

/// What is done to the files, and up to where the store says that it has read.
type Case<'a> = (&'a str, &'a dyn Fn(&FaultyDisk), Option<Position>);
type Frames = Vec<(FrameSeq, Offset, Vec<Record>)>;

/// A log of three segments, as bytes.
struct Victim {
    catalog: Arc<Catalog>,
    files: Vec<(PathBuf, Vec<u8>)>,
    frames: Frames,
    durable: Position,
    /// Where the last frame begins in the last file.
    last_frame_at: usize,
}

fn size() -> u64 {
    std::env::var("ADSUM_DAMAGE_BYTES").map_or(4096, |text| text.parse().unwrap())
}

fn victim(bytes: u64, closed: bool) -> Victim {
    let catalog = catalog();
    let disk = FaultyDisk::new(1);
    let options = LogOptions { segment_bytes: bytes / 3, ..LogOptions::default() };
    let (mut log, _) = open(&disk, &catalog, options, None).unwrap();
    let mut random = Random(1);
    let mut last_bytes = 0;
    for i in 0.. {
        last_bytes = append(&mut log, &catalog, i, &Record::samples(&mut random, 3)).unwrap().bytes;
        if disk.paths().iter().map(|path| disk.bytes(path).unwrap().len() as u64).sum::<u64>() >= bytes {
            break;
        }
    }
    if closed {
        let before = disk.bytes(disk.paths().last().unwrap()).unwrap().len();
        log.close().unwrap();
        last_bytes = (disk.bytes(disk.paths().last().unwrap()).unwrap().len() - before) as u64;
    }
    let files: Vec<_> = disk.paths().into_iter().map(|path| (path.clone(), disk.bytes(&path).unwrap())).collect();
    assert!(files.len() >= 3, "{} segments", files.len());
    let last_frame_at = files.last().unwrap().1.len() - last_bytes as usize;
    let frames = read_all(&log, &catalog, FrameSeq::ZERO).unwrap();
    Victim { catalog, frames, durable: log.durable(), files, last_frame_at }
}

/// What opening and reading gave.
#[derive(Debug, PartialEq)]
enum Outcome {
    Refused {
        segment: String,
    },
    /// The first so many frames, unchanged; and whether a torn tail was cut.
    Read {
        frames: usize,
        torn: bool,
    },
}

impl Victim {
    fn outcome(&self, damaged: usize, bytes: &[u8], options: LogOptions, store: Option<Position>) -> Outcome {
        let disk = FaultyDisk::new(1);
        for (i, (path, intact)) in self.files.iter().enumerate() {
            disk.set_bytes(path, if i == damaged { bytes.to_vec() } else { intact.clone() });
        }
        let read = open(&disk, &self.catalog, options, store).and_then(|(log, report)| {
            let frames = read_all(&log, &self.catalog, FrameSeq::ZERO)?;
            assert_eq!(frames[..], self.frames[..frames.len()], "another record than was written");
            if let Some(torn) = &report.torn {
                let kept = disk.bytes(&Path::new(DIR).join(&torn.kept_as)).unwrap();
                assert_eq!(kept, bytes[torn.at as usize..], "the torn tail is kept");
            }
            Ok((frames.len(), report.torn.is_some()))
        });
        match read {
            Ok((frames, torn)) => Outcome::Read { frames, torn },
            Err(LogError::Corrupt { segment, .. }) => Outcome::Refused { segment },
            Err(other) => panic!("{other}"),
        }
    }

    fn name(&self, file: usize) -> String {
        self.files[file].0.file_name().unwrap().to_str().unwrap().to_owned()
    }

    fn is_last(&self, file: usize) -> bool {
        file + 1 == self.files.len()
    }
}

#[test]
fn every_bit_flip() {
    let mut flips = 0_u64;
    for closed in [false, true] {
        let victim = victim(size(), closed);
        let all = victim.frames.len();
        for (file, (_, intact)) in victim.files.iter().enumerate() {
            let mut bytes = intact.clone();
            for bit in 0..bytes.len() * 8 {
                // One bit of a byte stands for all in the other variants.
                let one = bit % 8 == (bit / 8) % 8;
                if closed && !one {
                    continue;
                }
                bytes[bit / 8] ^= 1 << (bit % 8);
                let outcome = victim.outcome(file, &bytes, LogOptions::default(), None);
                let want = if victim.is_last(file) && bit / 8 >= victim.last_frame_at {
                    Outcome::Read { frames: all - 1, torn: true }
                } else {
                    Outcome::Refused { segment: victim.name(file) }
                };
                assert_eq!(outcome, want, "bit {bit} of file {file}");
                flips += 1;
                if one {
                    let outcome = victim.outcome(file, &bytes, LogOptions::default(), Some(victim.durable));
                    assert_eq!(outcome, Outcome::Refused { segment: victim.name(file) }, "bit {bit} of file {file}");
                    let options = LogOptions { verify_bytes: 0, ..LogOptions::default() };
                    assert_eq!(victim.outcome(file, &bytes, options, None), want, "unverified, bit {bit} of {file}");
                }
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
    println!(
        "proved: {flips} bit flips in segments of {} bytes together: each refused by name, or a torn tail",
        size()
    );
}

#[test]
fn every_truncation() {
    let mut cuts = 0_u64;
    let victim = victim(size(), true);
    let last_first = victim.name(victim.files.len() - 1)[..20].parse::<usize>().unwrap();
    for (file, (_, intact)) in victim.files.iter().enumerate() {
        for len in 0..intact.len() {
            cuts += 1;
            let bytes = &intact[..len];
            let outcome = victim.outcome(file, bytes, LogOptions::default(), None);
            match &outcome {
                // Nothing but the store can know of frames that are gone with everything behind them.
                Outcome::Read { frames, .. } if victim.is_last(file) && len >= 48 => {
                    assert!(*frames >= last_first, "{len} bytes of the last file: {outcome:?}");
                    assert!(len < victim.last_frame_at || *frames == victim.frames.len() - 1, "{outcome:?}");
                }
                Outcome::Read { .. } => panic!("{len} bytes of file {file}: {outcome:?}"),
                Outcome::Refused { segment } => assert_eq!(*segment, victim.name(file)),
            }
            let with_store = victim.outcome(file, bytes, LogOptions::default(), Some(victim.durable));
            assert_eq!(with_store, Outcome::Refused { segment: victim.name(file) }, "{len} bytes of file {file}");
        }
    }
    println!("proved: {cuts} truncations of segments of {} bytes together", size());
}

#[test]
fn missing_and_foreign_files() {
    let victim = victim(4096, true);
    let try_open = |change: &dyn Fn(&FaultyDisk), store: Option<Position>| {
        let disk = FaultyDisk::new(1);
        for (path, bytes) in &victim.files {
            disk.set_bytes(path, bytes.clone());
        }
        change(&disk);
        open(&disk, &victim.catalog, LogOptions::default(), store).map(|(log, report)| (log.durable(), report))
    };
    let path = |i: usize| victim.files[i].0.as_path();
    let count = victim.files.len();
    let behind = Position { seq: victim.durable.seq.plus(1), offset: victim.durable.offset };
    let aside = Position { seq: victim.durable.seq, offset: victim.durable.offset.plus(1) };
    let early = Position::default();
    let refused: &[Case<'_>] = &[
        ("a missing segment in the middle", &|disk| disk.take(path(1)), None),
        (
            "the last segment is missing, and the store has read it",
            &|disk| disk.take(path(count - 1)),
            Some(victim.durable),
        ),
        ("the first segment is missing, and the store has not read it", &|disk| disk.take(path(0)), Some(early)),
        ("every segment is missing", &|disk| (0..count).for_each(|i| disk.take(path(i))), Some(victim.durable)),
        ("the store is ahead", &|_| {}, Some(behind)),
        ("the store is another log's", &|_| {}, Some(aside)),
        ("two segments have changed places", &|disk| disk.set_bytes(path(0), victim.files[1].1.clone()), None),
        (
            "bytes behind a sealed segment",
            &|disk| disk.set_bytes(path(0), [&victim.files[0].1[..], b"x"].concat()),
            None,
        ),
        ("an empty segment", &|disk| disk.set_bytes(path(count - 1), Vec::new()), None),
    ];
    for (what, change, store) in refused {
        let error = try_open(*change, *store).expect_err(what);
        assert!(matches!(error, LogError::Corrupt { .. }), "{what}: {error}");
    }
    let dir = Path::new(DIR);
    let opens: &[Case<'_>] = &[
        ("as it is", &|_| {}, None),
        ("as the store has it", &|_| {}, Some(victim.durable)),
        (
            "a segment whose making was cut short",
            &|disk| disk.set_bytes(&dir.join(format!("{:020}.tmp", 9)), vec![1]),
            None,
        ),
        ("a file of someone else", &|disk| disk.set_bytes(&dir.join("notes.log"), vec![1]), None),
    ];
    for (what, change, store) in opens {
        let (durable, report) = try_open(*change, *store).expect(what);
        assert_eq!((durable, report.torn), (victim.durable, None), "{what}");
    }
}

#[test]
fn a_missing_segment_shows_without_reading_the_others() {
    let catalog = catalog();
    let disk = FaultyDisk::new(1);
    let options = LogOptions { segment_bytes: 1, verify_bytes: 0, ..LogOptions::default() };
    let (mut log, _) = open(&disk, &catalog, options, None).unwrap();
    for i in 0..5 {
        append(&mut log, &catalog, i, &[]).unwrap();
    }
    // All five are equally long, so only their names for one another can tell.
    let paths = disk.paths();
    assert_eq!(paths.len(), 5);
    disk.take(&paths[2]);
    let error = open(&disk, &catalog, options, None).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains(&format!("{:020}.log, is missing", 2)), "{error}");
}

#[test]
fn a_header_within_a_record_is_no_frame() {
    // A sender who guesses a frame's place could write a header into a field; the place in it must then be right.
    let victim = victim(4096, false);
    let last = victim.files.len() - 1;
    let bytes = &victim.files[last].1;
    let header = bytes[victim.last_frame_at..victim.last_frame_at + 88].to_vec();
    let mut torn = bytes[..victim.last_frame_at + 20].to_vec();
    torn.extend_from_slice(&[0; 50]);
    torn.extend_from_slice(&header);
    let outcome = victim.outcome(last, &torn, LogOptions::default(), None);
    assert_eq!(outcome, Outcome::Read { frames: victim.frames.len() - 1, torn: true });
}
