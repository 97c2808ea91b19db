//! The demo's server: the same program, `adsum serve`, as a process of its own.
//!
//! Invariant: it is told to stop by the demo alone, after the traffic has ended; a key stroke does not reach it. Not
//! here: what is asked of it.

use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::super::Global;
use super::Args;

/// The server's process.
pub struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts it over `data_dir`.
    pub fn start(global: &Global, args: &Args, data_dir: &Path, token_file: &Path) -> Result<Self> {
        let program = std::env::current_exe().context("the demo does not find its own program")?;
        let mut command = Command::new(program);
        command.arg("serve").arg("--listen").arg(args.listen.to_string());
        command.arg("--data-dir").arg(data_dir).arg("--token-file").arg(token_file);
        if let Some(config) = &global.config {
            command.arg("--config").arg(config);
        }
        if let Some(workers) = global.workers {
            command.arg("--workers").arg(workers.to_string());
        }
        // The server's own words would bury what is to be tried.
        if std::env::var_os("ADSUM_LOG").is_none() {
            command.env("ADSUM_LOG", "warn");
        }
        // A group of its own: Ctrl-C goes to the demo, which ends the traffic first and the server behind it.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped());
        end_with_us(&mut command);
        let mut child = command.spawn().context("the server does not start")?;
        let stdout = BufReader::new(child.stdout.take().context("the server has no output")?);
        Ok(Self { child, stdout })
    }

    /// Where it listens, once it does.
    pub fn url(&mut self, token_file: &Path) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        let url = line.trim().rsplit(' ').next().unwrap_or_default();
        if !url.starts_with("http") {
            bail!("the server did not start; what it said stands above");
        }
        if !token_file.exists() {
            bail!("the server made no token in {}", token_file.display());
        }
        Ok(url.to_owned())
    }

    /// Tells it to stop, and waits until it has.
    pub fn stop(mut self) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            let pid = rustix::process::Pid::from_child(&self.child);
            // It may have ended meanwhile, by a signal of somebody else.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the server ended with {status}");
        }
        Ok(())
    }
}

/// Has the system stop the server when the demo is gone, which can say nothing any more if it was killed. It is this
/// thread that counts as the parent: the one that stays until the end.
#[cfg(target_os = "linux")]
fn end_with_us(command: &mut Command) {
    use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

    let demo = getpid();
    let tie = move || {
        set_parent_process_death_signal(Some(Signal::TERM))?;
        // It may have been killed before.
        if getppid() == Some(demo) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: between fork and exec only system calls are made; nothing is allocated and no lock is taken.
    unsafe { command.pre_exec(tie) };
}

/// Elsewhere there is no such word: the server of a demo that was killed is stopped by hand.
#[cfg(not(target_os = "linux"))]
fn end_with_us(_: &mut Command) {}
