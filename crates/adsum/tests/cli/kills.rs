//! Imports that are killed (SIGKILL) in their midst and run again until one ends.
//!
//! A kill falls when the log has grown to a random size, so no time decides what happens. Counted are only kills that
//! hit a run before its end: then the last command goes on with the first one's run and prints the figures of all of it.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::events::{Random, many};
use crate::place::{Figures, Imported, Place, Run};

/// Small frames and frequent checkpoints, so that a kill finds many states.
fn small_steps(frame_bytes: usize) -> String {
    format!(
        "[import]\nchunk_bytes = {}\nframe_bytes = {frame_bytes}\n\
         [checkpoint]\nframes = 7\n[log]\nsegment_bytes = 1000000\n",
        frame_bytes / 4
    )
}

/// How many kills one data directory usually stands before its import may end.
pub const A_FEW: std::ops::RangeInclusive<u64> = 1..=6;

/// A log of so many bytes holds the record that an import began, and less than the first frame of lines.
const BEGUN_BYTES: u64 = 500;

/// What is killed, how often, and what must come out.
pub struct Trials<'a> {
    /// The files that are imported.
    pub files: &'a [&'a str],
    /// The figures of an import that nobody kills.
    pub want: Figures,
    /// Bytes of text in a frame of the log: the fewer, the more moments there are to be killed in.
    pub frame_bytes: usize,
    /// How many kills there are at least.
    pub kills: usize,
    /// How many kills one import stands before it may end.
    pub in_a_row: std::ops::RangeInclusive<u64>,
    /// Of the random sequence.
    pub seed: u64,
}

/// Bytes in the log's directory.
pub fn log_bytes(place: &Place) -> u64 {
    let Ok(entries) = std::fs::read_dir(place.path("data/log")) else { return 0 };
    entries.filter_map(|entry| entry.ok()?.metadata().ok()).map(|file| file.len()).sum()
}

/// How a run went that was to be killed.
enum Ended {
    Killed,
    ByItself(Imported),
}

/// Kills the import once the log has grown to `at_bytes`.
fn kill_at(place: &Place, args: &[&str], at_bytes: u64) -> Ended {
    let mut child: Child = place.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while child.try_wait().unwrap().is_none() {
        if log_bytes(place) >= at_bytes {
            child.kill().unwrap();
            break;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    let run = Run::of(args, child.wait_with_output().unwrap());
    match run.code {
        None => Ended::Killed,
        Some(_) => Ended::ByItself(Imported::of(&run.stdout)),
    }
}

/// The arguments of the import.
fn arguments<'a>(workers: &'a str, files: &[&'a str]) -> Vec<&'a str> {
    [&["import", "--json", "--config", "small-steps.toml", "--workers", workers], files].concat()
}

fn place(frame_bytes: usize) -> Place {
    let place = Place::new();
    place.write("small-steps.toml", small_steps(frame_bytes));
    place
}

fn any_workers(random: &mut Random) -> &'static str {
    ["1", "2", "5"][random.below(3) as usize]
}

/// Imports and kills, each time with another number of workers, until there were enough kills; after each import's end
/// `check` looks at the place. Says how many kills hit a running import, and how many of them one import at most.
pub fn killed_imports(trials: &Trials<'_>, check: &dyn Fn(&Place)) -> (usize, usize) {
    let mut random = Random::new(trials.seed);
    let whole = place(trials.frame_bytes);
    assert_eq!(Imported::of(&whole.run(&arguments("2", trials.files)).ok()).figures, trials.want);
    let whole_bytes = log_bytes(&whole);
    let (least, most) = (*trials.in_a_row.start(), *trials.in_a_row.end());
    let (mut kills, mut in_a_row) = (0, 0);
    let mut fruitless = 0;
    while kills < trials.kills {
        let place = place(trials.frame_bytes);
        let mut killed = 0;
        let mut end = None;
        for _ in 0..least + random.below(most - least + 1) {
            let now = log_bytes(&place).max(BEGUN_BYTES);
            let left = whole_bytes.saturating_sub(now).max(2);
            let at = now + 1 + random.below((left / 2).min(2 * whole_bytes / (most + 1)));
            match kill_at(&place, &arguments(any_workers(&mut random), trials.files), at) {
                Ended::Killed => killed += 1,
                Ended::ByItself(imported) => {
                    end = Some(imported);
                    break;
                }
            }
        }
        // The last run may have a word to say about a torn tail, so its standard error is not looked at.
        let end = end.unwrap_or_else(|| {
            let last = place.run(&arguments(any_workers(&mut random), trials.files));
            assert_eq!(last.code, Some(0), "{}", last.stderr);
            Imported::of(&last.stdout)
        });
        let all_again = Figures { counted: 0, duplicates: trials.want.counted + trials.want.duplicates, ..trials.want };
        if end.figures == all_again && killed > 0 {
            // A kill fell between the durable end of the run and its last words, which nobody can tell from a whole
            // import: all is in, and the next command takes all of it for duplicates.
            fruitless += 1;
            assert!(fruitless < 20, "kills come too late on this machine");
            continue;
        }
        assert_eq!(end.figures, trials.want, "after {killed} kills, seed {}", trials.seed);
        check(&place);
        if end.resumed {
            kills += killed;
            in_a_row = in_a_row.max(killed);
        } else {
            fruitless += 1;
            assert!(fruitless < 20, "kills come too early or too late on this machine");
        }
    }
    (kills, in_a_row)
}

/// The numbers by hour of a data directory.
fn hours(place: &Place) -> Vec<String> {
    let rows = place.report(&["--granularity", "hour", "--by", "campaignId"]);
    crate::place::lines(&rows, &["campaignId", "impressions", "clicks"])
}

/// Files with duplicates, conflicts and bad lines among them, so that every figure has something to lose.
fn two_files(place: &Place) -> [String; 2] {
    let first = many("a", 3000);
    let mut second = many("a", 500).replace("\"campaignId\":\"camp_1\"", "\"campaignId\":\"camp_9\"");
    second.push_str("no event at all\n\n");
    second.push_str(&many("b", 3000));
    place.write("first.ndjson", first);
    place.write("second.ndjson", second);
    ["first.ndjson", "second.ndjson"].map(|name| place.path(name).to_str().unwrap().to_owned())
}

/// About fifty frames a file.
const FRAME_BYTES: usize = 8192;

const OF_TWO_FILES: Figures =
    Figures { received: 6501, rejected: 1, counted: 6000, duplicates: 333, conflicts: 167, quarantined: 167 };

#[test]
fn two_files_killed_anywhere() {
    let files = Place::new();
    let [first, second] = two_files(&files);
    let whole = Place::new();
    assert_eq!(whole.import(&[&first, &second]).figures, OF_TWO_FILES);
    let want = hours(&whole);
    let files = &[&first[..], &second[..]];
    let trials = Trials { files, want: OF_TWO_FILES, frame_bytes: FRAME_BYTES, kills: 6, in_a_row: A_FEW, seed: 3 };
    killed_imports(&trials, &|place| {
        assert_eq!(hours(place), want);
        place.doctor(&[]);
    });
}

/// How many bytes of log an import of these files makes.
fn bytes_of_log(files: &[&str]) -> u64 {
    let place = place(FRAME_BYTES);
    place.run(&arguments("2", files)).ok();
    log_bytes(&place)
}

/// Kills one import of both files while it reads the second one; none if the kill came too late.
fn killed_in_the_second(first: &str, second: &str) -> Option<Place> {
    let at = bytes_of_log(&[first]) + 1;
    let place = place(FRAME_BYTES);
    match kill_at(&place, &arguments("2", &[first, second]), at) {
        Ended::Killed => Some(place),
        Ended::ByItself(_) => None,
    }
}

fn until_it_hits(mut kill: impl FnMut() -> Option<Imported>) -> Imported {
    for _ in 0..20 {
        if let Some(imported) = kill() {
            return imported;
        }
    }
    panic!("no kill of twenty hit the import in its second file");
}

#[test]
fn killed_in_the_second_file_and_run_again_with_both() {
    let files = Place::new();
    let [first, second] = two_files(&files);
    let end = until_it_hits(|| {
        let place = killed_in_the_second(&first, &second)?;
        let run = place.run(&arguments("2", &[&first, &second]));
        let end = Imported::of(&run.stdout);
        end.resumed.then_some(end)
    });
    assert_eq!(end.figures, OF_TWO_FILES);
}

#[test]
fn a_file_that_changed_after_the_kill_is_read_from_its_beginning() {
    let files = Place::new();
    let [first, second] = two_files(&files);
    let end = until_it_hits(|| {
        let place = killed_in_the_second(&first, &second)?;
        let text = std::fs::read_to_string(&second).unwrap();
        let changed = format!("{}\n{text}", crate::events::Event::new("new").line());
        let elsewhere = Path::new(&second).with_file_name("second.ndjson");
        std::fs::write(&elsewhere, changed).unwrap();
        let run = place.run(&arguments("2", &[&second]));
        std::fs::write(&elsewhere, text).unwrap();
        let end = Imported::of(&run.stdout);
        assert!(!end.resumed);
        // It was killed before its end, so some of it is new; and all of it was received once more.
        (end.figures.counted > 1).then_some(end)
    });
    assert_eq!((end.figures.received, end.figures.rejected), (OF_TWO_FILES.received - 3000 + 1, 1));
}

#[test]
fn another_source_does_not_go_on_with_a_killed_run() {
    let files = Place::new();
    let [first, second] = two_files(&files);
    let end = until_it_hits(|| {
        let place = killed_in_the_second(&first, &second)?;
        let args = [&arguments("2", &[&first, &second])[..], &["--source", "other"]].concat();
        let other = Imported::of(&place.run(&args).stdout);
        assert!(!other.resumed);
        assert_eq!(other.figures, OF_TWO_FILES);
        let end = Imported::of(&place.run(&arguments("2", &[&first, &second])).ok());
        end.resumed.then_some(end)
    });
    assert_eq!(end.figures, OF_TWO_FILES);
}
