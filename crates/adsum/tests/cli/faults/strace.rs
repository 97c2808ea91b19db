//! strace: the program under it, the calls that it saw, and the call that it spoils.
//!
//! Invariant: strace counts a call by its name and its thread, so "the third write" is the third of each thread. It is
//! no parent of the program (`-D`): who started the program can wait for it and send it signals as ever.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use crate::place::Place;

/// The calls by which something comes to a disk.
pub const TO_DISK: &str =
    "openat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,ftruncate,fallocate,mkdir,mkdirat";

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process is killed instead.
    Kill,
    /// The disk is broken.
    Eio,
    /// The disk is full.
    Enospc,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Kill, Self::Eio, Self::Enospc];

    fn injected(self) -> &'static str {
        match self {
            Self::Kill => "signal=SIGKILL",
            Self::Eio => "error=EIO",
            Self::Enospc => "error=ENOSPC",
        }
    }
}

/// A call that is spoiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoiled {
    /// The call.
    pub call: String,
    /// Which of its thread, from 1.
    pub nth: usize,
    /// How.
    pub fault: Fault,
}

impl Spoiled {
    /// All faults of the first `most` calls of each kind that a thread made.
    pub fn all(counts: &BTreeMap<String, usize>, most: usize, faults: &[Fault]) -> Vec<Self> {
        let calls = counts.iter().flat_map(|(call, count)| (1..=most.min(*count)).map(move |nth| (call, nth)));
        let all = calls.flat_map(|(call, nth)| faults.iter().map(move |f| Self { call: call.clone(), nth, fault: *f }));
        all.collect()
    }

    /// The argument of strace.
    pub fn inject(&self) -> String {
        format!("inject={}:{}:when={}", self.call, self.fault.injected(), self.nth)
    }
}

/// A command under strace, which writes the calls of `trace` to the place's file `trace`. Of these calls only those on
/// `paths` are seen; all of them if there is none.
pub fn under(place: &Place, plain: &Command, trace: &str, paths: &[String], more: &[&str]) -> Command {
    let mut command = Command::new("strace");
    // Calls that nobody asked for go by unseen, and fast; but a kill would not be done.
    if !more.iter().any(|argument| argument.contains("SIGKILL")) {
        command.arg("--seccomp-bpf");
    }
    command.args(["-D", "-f", "-y", "-s", "256", "-o", "trace", "-e"]).arg(format!("trace={trace}"));
    for path in paths {
        // By name as it is opened, and as the kernel knows the open file.
        command.args(["-P", path, "-P"]).arg(place.path(path).canonicalize().unwrap_or_else(|_| place.path(path)));
    }
    for argument in more {
        command.args(["-e", argument]);
    }
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.arg("--").arg(plain.get_program()).args(plain.get_args()).current_dir(plain.get_current_dir().unwrap());
    command.stdin(std::process::Stdio::null());
    command
}

/// One call of a trace.
#[derive(Clone, Debug)]
pub struct Call {
    /// The thread.
    pub thread: String,
    /// The call's name.
    pub name: String,
    /// Its arguments and, where it did not return at once, not its result.
    pub text: String,
}

impl Call {
    /// The paths below `data` that it names.
    pub fn paths(&self) -> Vec<String> {
        let quoted = self.text.split('"').skip(1).step_by(2).filter(|path| is_ours(path)).map(str::to_owned);
        let open = self.text.split('<').skip(1).filter_map(|rest| rest.split('>').next());
        let open = open.filter_map(|path| Some(format!("data{}", path.split_once("/data")?.1)));
        quoted.chain(open.filter(|path| is_ours(path))).collect()
    }

    /// Whether strace spoiled it.
    pub fn is_injected(&self) -> bool {
        self.text.contains("(INJECTED)")
    }
}

fn is_ours(path: &str) -> bool {
    path == "data" || path.starts_with("data/")
}

/// The calls of a trace, in the order in which they began. Calls that ended later are put together again.
pub fn calls(place: &Place) -> Vec<Call> {
    let text = whole_trace(place);
    let mut calls: Vec<Call> = Vec::new();
    let mut unfinished: BTreeMap<String, usize> = BTreeMap::new();
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(resumed) = rest.strip_prefix("<... ") {
            if let Some(at) = unfinished.remove(thread) {
                calls[at].text.push_str(resumed.split_once("resumed>").map_or("", |(_, end)| end));
            }
            continue;
        }
        let Some((name, text)) = rest.split_once('(') else { continue };
        if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
            continue;
        }
        if text.contains("<unfinished ...>") {
            unfinished.insert(thread.to_owned(), calls.len());
        }
        calls.push(Call { thread: thread.to_owned(), name: name.to_owned(), text: text.to_owned() });
    }
    calls
}

/// The trace of a program that has ended. The tracer may write its last words after the program's end: it is whole when
/// every thread that called has ended in it.
fn whole_trace(place: &Place) -> String {
    for _ in 0..600 {
        let text = String::from_utf8_lossy(&std::fs::read(place.path("trace")).unwrap_or_default()).into_owned();
        let (ends, others): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.contains(" +++ "));
        let thread = |line: &&str| line.split(' ').next().unwrap_or_default().to_owned();
        let ended: BTreeSet<String> = ends.iter().map(thread).collect();
        if !ended.is_empty() && others.iter().map(thread).all(|thread| ended.contains(&thread)) {
            return text;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("no whole trace after a minute");
}

/// Of every call on a path below `data` how often a thread made it at most; and all these paths.
pub fn counted(calls: &[Call]) -> (BTreeMap<String, usize>, Vec<String>) {
    let mut by_thread: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut paths: Vec<String> = Vec::new();
    for call in calls {
        let touched = call.paths();
        if !touched.is_empty() {
            *by_thread.entry((&call.name, &call.thread)).or_default() += 1;
        }
        paths.extend(touched);
    }
    paths.sort_unstable();
    paths.dedup();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for ((name, _), count) in by_thread {
        let most = counts.entry(name.to_owned()).or_default();
        *most = (*most).max(count);
    }
    (counts, paths)
}

/// Fails where strace is not there: what it would show is not shown.
pub fn must_be_there() {
    let there = Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success());
    assert!(there, "strace is missing, with which system calls are made to fail: apt-get install strace");
}
