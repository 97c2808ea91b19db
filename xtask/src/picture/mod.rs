//! `cargo xtask picture`: docs/terminal.svg, the picture of the README.
//!
//! Invariant: what it shows is what `adsum demo` drew on a terminal, its last screen and its ledger, and nothing else.

mod svg;
mod terminal;

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::demo;
use terminal::Terminal;

/// Where the picture is.
const PICTURE: &str = "docs/terminal.svg";
/// What is run, and what the reader types for it.
const ARGUMENTS: [&str; 6] = ["demo", "--seconds", "30", "--rate", "500", "--listen=127.0.0.1:0"];
const TYPED: &str = "$ cargo xtask demo -- --seconds 30 --rate 500";
const SIZE: Winsize = Winsize { ws_row: 50, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
/// How the line begins behind which the last screen is: the last of the commands to paste.
const COMMANDS_END: &str = "adsum tail ";

/// Makes the picture; false where that failed.
pub fn run(root: &Path) -> bool {
    let Some(program) = demo::build(root) else { return false };
    match drawn(&program).map(|bytes| picture(&bytes)) {
        Ok(Some(svg)) => std::fs::write(root.join(PICTURE), svg).is_ok(),
        Ok(None) => {
            eprintln!("the demo drew no screen");
            false
        }
        Err(error) => {
            eprintln!("the demo did not run on a terminal: {error}");
            false
        }
    }
}

/// The picture of what was drawn.
fn picture(bytes: &[u8]) -> Option<String> {
    let mut terminal = Terminal::default();
    terminal.take(&String::from_utf8_lossy(bytes));
    let rows = terminal.rows();
    let commands_end = rows.iter().position(|row| terminal::text(row).starts_with(COMMANDS_END))?;
    let shown = rows[commands_end + 1..].iter().skip_while(|row| row.is_empty());
    let mut shown: Vec<_> = shown.cloned().collect();
    while shown.last().is_some_and(Vec::is_empty) {
        shown.pop();
    }
    (!shown.is_empty()).then(|| svg::render(TYPED, &shown))
}

/// Everything that the demo writes to a terminal.
fn drawn(program: &Path) -> std::io::Result<Vec<u8>> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    tcsetwinsize(&ours, SIZE)?;
    let path = ptsname(&ours, Vec::new())?;
    let theirs: OwnedFd = File::options().read(true).write(true).open(path.to_string_lossy().as_ref())?.into();
    let mut command = Command::new(program);
    std::os::unix::process::CommandExt::arg0(&mut command, "adsum");
    command.args(ARGUMENTS).env_remove("NO_COLOR").stdin(Stdio::null()).stdout(theirs);
    let mut child = command.spawn()?;
    // With it our end of theirs: else reading would never come to an end.
    drop(command);
    let (mut ours, mut bytes, mut some) = (File::from(ours), Vec::new(), [0; 4096]);
    // A terminal whose last writer has gone gives an error on Linux, and nothing elsewhere.
    while let Ok(count @ 1..) = ours.read(&mut some) {
        bytes.extend_from_slice(&some[..count]);
    }
    let status = child.wait()?;
    if status.success() { Ok(bytes) } else { Err(std::io::Error::other(status.to_string())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_screen_and_the_ledger_are_shown_and_no_token() {
        let drawn = "adsum demo\r\n  token    adsum_secret\r\n\r\nadsum tail --url\r\n\r\n\
                     \r\x1b[1mfirst\x1b[0m\x1b[K\r\n\x1b[J\r\x1b[1A\x1b[1mlast & <best>\x1b[0m\x1b[K\r\n\x1b[J\r\nledger\r\n";
        let svg = picture(drawn.as_bytes()).unwrap();
        for (text, is_there) in [
            ("cargo xtask demo", true),
            ("last &amp; &lt;best&gt;", true),
            ("ledger", true),
            ("first", false),
            ("secret", false),
        ] {
            assert_eq!(svg.contains(text), is_there, "{text}: {svg}");
        }
        assert!(picture(b"nothing of the kind\r\n").is_none());
    }
}
