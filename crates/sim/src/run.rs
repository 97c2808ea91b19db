//! Runs a history and compares: what was acknowledged is in the log, what is shown is what the oracle counts.
//!
//! After every end the process starts again over what the disk kept. Invariant: a run is a function of the history and
//! the store. Not here: how a history is drawn or made shorter.

use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use adsum_disk::FaultyDisk;
use adsum_pipeline::CheckpointRules;
use adsum_store::{AggregateStore, EmbeddedStore};

use crate::history::{Client, End, History, Step};
use crate::oracle::{Oracle, recount};
use crate::random::Random;
use crate::sent::{Entry, SentFrame};
use crate::shrink::shrink;
use crate::world::{Outcome, Process, Start, as_sent};

/// What a run went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Histories run.
    pub histories: u64,
    /// Frames in their logs.
    pub frames: u64,
    /// Records in their logs.
    pub records: u64,
    /// Times that a process ended and came back.
    pub ends: u64,
    /// Of those, power losses.
    pub power_losses: u64,
    /// Frames that were not acknowledged at first.
    pub unacknowledged: u64,
    /// Of those, how many were in the log all the same.
    pub unacknowledged_in_log: u64,
    /// Comparisons with the oracle.
    pub looks: u64,
    /// Bits flipped in copies of the disk.
    pub flips: u64,
    /// Of those, how many a start or a report refused.
    pub flips_refused: u64,
    /// Events counted at the end.
    pub counted: u64,
    /// Duplicates.
    pub duplicates: u64,
    /// Entries left in quarantine, rejected lines included.
    pub quarantined: u64,
    /// A hash of everything that was observed: equal runs have equal ones.
    pub trace: u64,
}

impl Totals {
    fn add(&mut self, other: &Self) {
        self.histories += other.histories;
        self.frames += other.frames;
        self.records += other.records;
        self.ends += other.ends;
        self.power_losses += other.power_losses;
        self.unacknowledged += other.unacknowledged;
        self.unacknowledged_in_log += other.unacknowledged_in_log;
        self.looks += other.looks;
        self.flips += other.flips;
        self.flips_refused += other.flips_refused;
        self.counted += other.counted;
        self.duplicates += other.duplicates;
        self.quarantined += other.quarantined;
        self.trace = mix(self.trace, other.trace);
    }
}

/// A history that failed, made short.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What was wrong.
    pub what: String,
    /// The shortest history found that fails.
    pub history: History,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "seed {}: {}", self.history.seed, self.what)?;
        write!(f, "{}", crate::shrink::text(&self.history))
    }
}

fn mix(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
}

/// Mixes whatever is hashed into the trace, the same on every machine of a kind.
struct Trace(u64);

impl Hasher for Trace {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.0 = mix(self.0, u64::from_le_bytes(word));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Runs the histories of `count` seeds; `progress` hears after each how many were run. The first that fails is made
/// short and comes back.
pub fn run_range(first_seed: u64, count: u64, progress: &mut dyn FnMut(u64)) -> Result<Totals, Box<Failure>> {
    let mut totals = Totals::default();
    for seed in first_seed..first_seed + count {
        let history = History::draw(seed);
        match run(&history) {
            Ok(one) => totals.add(&one),
            Err(_) => {
                let (history, what) = shrink(&history, &|h| run(h).err());
                return Err(Box::new(Failure { what, history }));
            }
        }
        progress(totals.histories);
    }
    Ok(totals)
}

/// Runs a history; an error says what was wrong.
pub fn run(history: &History) -> Result<Totals, String> {
    run_over(history, &|store| store)
}

/// Runs a history over what `wrap` makes of a sound store: a test of the tests leaves something out there.
pub fn run_over<S: AggregateStore>(history: &History, wrap: &dyn Fn(EmbeddedStore) -> S) -> Result<Totals, String> {
    let ran = catch_unwind(AssertUnwindSafe(|| run_caught(history, wrap)));
    ran.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(format!(
            "panic: {}",
            text.or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned())).unwrap_or_default()
        ))
    })
}

fn run_caught<S: AggregateStore>(history: &History, wrap: &dyn Fn(EmbeddedStore) -> S) -> Result<Totals, String> {
    let disk = FaultyDisk::new(history.seed);
    let mut runner = Runner {
        history,
        wrap,
        disk,
        process: None,
        frames: Vec::new(),
        oracle: Oracle::new(&history.setup),
        sent: Vec::new(),
        metadata: 0,
        published: 0,
        totals: Totals { histories: 1, ..Totals::default() },
    };
    runner.start(&history.first)?;
    for step in &history.steps {
        runner.step(step)?;
    }
    runner.finish()?;
    Ok(runner.totals)
}

struct Runner<'a, S> {
    history: &'a History,
    wrap: &'a dyn Fn(EmbeddedStore) -> S,
    disk: FaultyDisk,
    process: Option<Process<S>>,
    /// What must be in the log: each frame as text, record by record.
    frames: Vec<Vec<String>>,
    /// What those frames come to.
    oracle: Oracle<'a>,
    /// The same as they were sent.
    sent: Vec<SentFrame>,
    metadata: usize,
    /// The greatest revision that was published.
    published: u64,
    totals: Totals,
}

/// How often one frame is sent before a run gives up: faults strike once, so a few must do.
const ATTEMPTS_MAX: usize = 12;
/// How many bits flip, each in a copy of its own.
const FLIPS: usize = 4;
/// How often a process ends before a run gives up.
const ENDS_MAX: u64 = 400;

fn is_injected<T>(result: &Result<T, String>) -> bool {
    result.as_ref().is_err_and(|e| e.contains("injected"))
}

impl<S: AggregateStore> Runner<'_, S> {
    fn process(&mut self) -> Result<&mut Process<S>, String> {
        self.process.as_mut().ok_or_else(|| "the process is not running".to_owned())
    }

    fn start(&mut self, start: &Start) -> Result<(), String> {
        let (setup, keeping) = (&self.history.setup, &self.history.keeping);
        self.process = Some(Process::start(&self.disk, setup, keeping, start, self.wrap)?);
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Send { at, client, entries } => {
                let frame = SentFrame { appended_at: *at, metadata: self.metadata, entries: entries.clone() };
                self.send(frame.clone(), *client)?;
                if *client == Client::Again {
                    let entries = frame.entries.into_iter().filter(|e| matches!(e, Entry::Line { .. })).collect();
                    self.send(SentFrame { entries, ..frame }, Client::Waits)?;
                }
                Ok(())
            }
            Step::Replay { at, held, any } => {
                let entries = self.targets(held, any)?;
                self.send(SentFrame { appended_at: *at, metadata: self.metadata, entries }, Client::Waits)
            }
            Step::Metadata { at, state } => {
                self.metadata = *state;
                let entries = vec![Entry::Metadata { source: "console".to_owned(), at: *at }];
                self.send(SentFrame { appended_at: *at, metadata: *state, entries }, Client::Waits)
            }
            Step::Fault { ahead, fault } => {
                self.disk.fail_at(self.disk.operations() + ahead, *fault);
                Ok(())
            }
            Step::Restart(end) => self.end(*end),
            Step::Look => self.look(),
            Step::Damage { place } => self.damage(*place),
        }
    }

    /// Replays of these places in the list of quarantine, and of these records of the log.
    fn targets(&mut self, held: &[u64], any: &[u64]) -> Result<Vec<Entry>, String> {
        let quarantine: Vec<u64> = self.oracle.picture().quarantine.keys().copied().collect();
        let count = self.oracle.sent().len() as u64;
        let held = held.iter().filter(|_| !quarantine.is_empty()).map(|n| quarantine[*n as usize % quarantine.len()]);
        let any = any.iter().filter(|_| count > 0).map(|n| n % count);
        Ok(held.chain(any).map(|target| Entry::Replay { target }).collect())
    }

    /// Sends a frame until it is acknowledged or the client has vanished.
    fn send(&mut self, sent: SentFrame, client: Client) -> Result<(), String> {
        let mut refusals = 0;
        for _ in 0..ATTEMPTS_MAX {
            let mut frame = sent.clone();
            match self.process()?.append(&mut frame) {
                Outcome::Folded => {
                    self.acknowledge(frame);
                    self.published_grows()?;
                    return if self.history.looks_always { self.look() } else { Ok(()) };
                }
                Outcome::Refused(_) => {
                    self.totals.unacknowledged += 1;
                    refusals += 1;
                    self.disk.set_space(None);
                    // A machine that has stopped refuses everything.
                    if refusals > 1 {
                        self.died(None)?;
                    }
                    if client == Client::Gone {
                        return Ok(());
                    }
                }
                Outcome::Died { acknowledged: true, .. } => {
                    self.acknowledge(frame);
                    return self.died(None);
                }
                Outcome::Died { acknowledged: false, .. } => {
                    self.totals.unacknowledged += 1;
                    self.died(Some(frame))?;
                    if client == Client::Gone {
                        return Ok(());
                    }
                }
            }
        }
        Err(format!("a frame was not taken in {ATTEMPTS_MAX} attempts"))
    }

    fn acknowledge(&mut self, frame: SentFrame) {
        self.totals.records += frame.entries.len() as u64;
        let base = self.oracle.sent().len() as u64;
        self.oracle.frame(&frame);
        let held = &self.oracle.picture().quarantine;
        let is_event = |offset: &u64| held.get(offset).is_none_or(|held| held.reason != "rejected");
        let records = (base..).zip(&frame.entries);
        let of = |(offset, entry)| as_sent(entry, self.oracle.sent(), is_event(&offset));
        self.frames.push(records.map(of).collect());
        self.sent.push(frame);
    }

    fn published_grows(&mut self) -> Result<(), String> {
        let revision = self.process()?.revision();
        if revision < self.published {
            return Err(format!("revision {} was published, and now it is {revision}", self.published));
        }
        self.published = revision;
        Ok(())
    }

    /// The process ends without a fault.
    fn end(&mut self, end: End) -> Result<(), String> {
        if end == End::Asked {
            let closing = self.sent.last().filter(|f| !f.entries.is_empty()).cloned();
            let closing = closing.map(|f| SentFrame { entries: Vec::new(), ..f });
            if self.process()?.checkpoint().is_err() {
                return self.died(None);
            }
            let closed = self.process()?.close();
            // Where a segment was made behind the last frame, that proves it already and no frame is needed.
            let grew = self.process()?.frames() > self.frames.len() as u64;
            match (closed, closing) {
                (Ok(()), Some(frame)) if grew => self.acknowledge(frame),
                (Ok(()), _) => {}
                (Err(_), closing) => return self.died(closing),
            }
        }
        self.back(end == End::Power, None)
    }

    /// The process died of a fault.
    fn died(&mut self, in_flight: Option<SentFrame>) -> Result<(), String> {
        self.disk.clear_faults();
        let power = self.next_return().power;
        self.back(power, in_flight)
    }

    fn next_return(&self) -> crate::history::Return {
        self.history.returns[self.totals.ends as usize % self.history.returns.len()]
    }

    /// Comes back after an end. `in_flight` may be in the log or not: both are right, once.
    fn back(&mut self, power: bool, in_flight: Option<SentFrame>) -> Result<(), String> {
        let next = self.next_return();
        self.process = None;
        self.totals.ends += 1;
        self.disk.clear_faults();
        self.crash(power);
        self.disk.set_space(None);
        if let Some((ahead, fault)) = next.again {
            self.disk.fail_at(self.disk.operations() + ahead, fault);
            if self.start(&next.start).is_err() {
                self.disk.clear_faults();
                self.disk.set_space(None);
                self.crash(power);
            }
        }
        if self.process.is_none() {
            self.start(&next.start).map_err(|e| format!("it does not start again: {e}"))?;
        }
        self.check_log(in_flight)?;
        self.look()
    }

    fn crash(&mut self, power: bool) {
        if power {
            self.totals.power_losses += 1;
            self.disk.crash_power();
        } else {
            self.disk.crash_process();
        }
    }

    /// Everything acknowledged is in the log as it was sent, and nothing else but the frame in flight.
    fn check_log(&mut self, in_flight: Option<SentFrame>) -> Result<(), String> {
        let mut content = self.process()?.log_content();
        if is_injected(&content) {
            // A fault of the start that had not struck yet.
            self.disk.clear_faults();
            content = self.process()?.log_content();
        }
        if is_injected(&content) && self.totals.ends < ENDS_MAX {
            let power = self.next_return().power;
            return self.back(power, in_flight);
        }
        let content = content?;
        if content.len() == self.frames.len() + 1
            && let Some(frame) = in_flight
        {
            self.totals.unacknowledged_in_log += 1;
            self.acknowledge(frame);
        }
        if content.len() != self.frames.len() {
            return Err(format!("{} frames are in the log, {} were acknowledged", content.len(), self.frames.len()));
        }
        for (i, (want, got)) in self.frames.iter().zip(&content).enumerate() {
            if got != want {
                return Err(format!("frame {i} is not as it was sent:\n  {got:?}\n  {want:?}"));
            }
        }
        Ok(())
    }

    /// Compares what the process shows with the oracle.
    fn look(&mut self) -> Result<(), String> {
        self.totals.looks += 1;
        let mut got = self.process()?.picture();
        if is_injected(&got) {
            // A fault that was waiting for a read: the answer fails, and the next one is right.
            self.disk.clear_faults();
            got = self.process()?.picture();
        }
        if is_injected(&got) && self.totals.ends < ENDS_MAX {
            // The machine had stopped, and nothing had been written since that would have told.
            return self.died(None);
        }
        let got = got?;
        let differences = got.differences(self.oracle.picture());
        if !differences.is_empty() {
            return Err(format!("after frame {}:\n  {}", self.frames.len(), differences.join("\n  ")));
        }
        self.published_grows()?;
        self.trace(&(got, self.disk.operations()));
        Ok(())
    }

    fn trace(&mut self, observed: &impl Hash) {
        let mut trace = Trace(self.totals.trace);
        observed.hash(&mut trace);
        self.totals.trace = trace.0;
    }

    /// Copies of the disk, each with one bit flipped: a process that starts from one refuses, shows nothing, or shows
    /// what is right. Damage in the last frame may be a torn tail, that nothing proves to have been durable.
    fn damage(&mut self, place: u64) -> Result<(), String> {
        let mut random = Random::new(place);
        for _ in 0..FLIPS {
            let copy = FaultyDisk::new(random.number());
            let paths = self.disk.paths();
            // The manifest is one file of many and decides over all.
            let manifest = paths.iter().position(|path| path.ends_with("manifest")).filter(|_| random.percent(25));
            let chosen = manifest.unwrap_or(random.below(paths.len().max(1) as u64) as usize);
            let mut flipped = String::new();
            for (i, path) in paths.iter().enumerate() {
                let mut bytes = self.disk.bytes(path).unwrap_or_default();
                if i == chosen && !bytes.is_empty() {
                    let bit = random.below(bytes.len() as u64 * 8) as usize;
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    flipped = format!("bit {bit} of {} flipped", path.display());
                }
                copy.set_bytes(path, bytes);
            }
            self.totals.flips += 1;
            let start = self.next_return().start;
            let started = Process::start(&copy, &self.history.setup, &self.history.keeping, &start, self.wrap);
            let shown = started.and_then(|process| Ok((process.log_content()?, process.picture()?)));
            let Ok((content, picture)) = shown else {
                self.totals.flips_refused += 1;
                continue;
            };
            let Some(torn) = self.frames.len().checked_sub(content.len()).filter(|torn| *torn <= 1) else {
                return Err(format!("{flipped}: {} frames of {} are left", content.len(), self.frames.len()));
            };
            let left = self.frames.len() - torn;
            let differences = match torn {
                0 => picture.differences(self.oracle.picture()),
                _ => picture.differences(&recount(&self.history.setup, &self.sent[..left])),
            };
            if content[..] != self.frames[..left] || !differences.is_empty() {
                return Err(format!("{flipped}, and it starts and is wrong:\n  {}", differences.join("\n  ")));
            }
        }
        Ok(())
    }

    /// The last comparisons: before and after a restart, and with a fresh fold of the log.
    fn finish(&mut self) -> Result<(), String> {
        self.disk.clear_faults();
        self.disk.set_space(None);
        if is_injected(&self.process()?.log_content()) {
            // The machine had stopped at the last frame, whose client has gone: nobody has noticed yet.
            self.died(None)?;
        }
        self.look()?;
        let mut random = Random::new(self.history.seed ^ 0xF01D);
        let other = Start {
            workers: *random.pick(&[1, 2, 3, 16]),
            checkpoints: CheckpointRules {
                records_max: *random.pick(&[1, 10, 1000]),
                cells_max: 1 << 20,
                frames_max: *random.pick(&[1, 3, 10, 4096]),
                ..CheckpointRules::default()
            },
            commit_lag: 0,
        };
        let setup = &self.history.setup;
        let process = self.process.as_ref().ok_or("the process is not running")?;
        let own = process.state_hash()?;
        let (anew, picture) = process.fold_anew(setup, &other)?;
        let differences = picture.differences(&process.picture()?);
        if !differences.is_empty() {
            return Err(format!("a fresh fold under {other:?} differs:\n  {}", differences.join("\n  ")));
        }
        if own != anew {
            return Err(format!("state hash {own}, of a fresh fold under {other:?} {anew}"));
        }
        self.trace(&own.to_string());
        self.end(End::Asked)?;
        let last = self.process()?.state_hash()?;
        if last != own {
            return Err(format!("state hash {own}, after a restart {last}"));
        }
        self.totals.frames = self.frames.len() as u64;
        let end = self.oracle.picture();
        let of = |column: &str| end.ledger.values().filter_map(|s| s.metrics.get(column)).sum::<i64>() as u64;
        (self.totals.counted, self.totals.duplicates) = (of("counted"), of("duplicates"));
        self.totals.quarantined = end.quarantine.len() as u64;
        Ok(())
    }
}
