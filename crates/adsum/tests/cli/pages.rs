//! The pages of the documentation against the program: what they show is what it prints, what they name is there.
//!
//! A page says with the line `<!-- transcript -->` that the `console` block behind it is to be taken at its word; `...`
//! in it stands for whatever differs from run to run, within a line. A command that ends in `&` is a server: it gets a
//! free port in place of the page's, and ends with the page. Not here: links, which `cargo xtask tidy` follows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::http::server::Server;
use crate::place::{ADSUM, Place, Run, repository};

/// Where servers of transcripts say that they listen.
const ADDRESS: &str = "127.0.0.1:7878";

/// A command of a transcript and the output that follows it.
fn steps(page: &str) -> Vec<(String, String)> {
    let mut steps: Vec<(String, String)> = Vec::new();
    for behind in page.split("<!-- transcript -->\n").skip(1) {
        let block = behind.strip_prefix("```console\n").and_then(|block| block.split_once("```")).unwrap().0;
        let first = steps.len();
        for line in block.lines() {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push((command.to_owned(), String::new())),
                (None, Some((_, output))) => {
                    output.push_str(line.trim_end());
                    output.push('\n');
                }
                (None, None) => panic!("a transcript begins with a command, not with {line:?}"),
            }
        }
        assert!(steps.len() > first, "a transcript without a command");
    }
    steps
}

/// Whether a text is as a page says, in which `...` stands for anything within a line.
fn is_as(want: &str, text: &str) -> bool {
    let line_is_as = |(want, line): (&str, &str)| {
        let mut pieces = want.split("...");
        let first = pieces.next().unwrap_or_default();
        let Some(mut rest) = line.strip_prefix(first) else { return false };
        let mut last = None;
        for piece in pieces {
            let Some(at) = rest.find(piece) else { return false };
            rest = &rest[at + piece.len()..];
            last = Some(piece);
        }
        last.map_or(rest.is_empty(), |piece| line.ends_with(piece))
    };
    want.lines().count() == text.lines().count() && want.lines().zip(text.lines()).all(line_is_as)
}

/// A transcript that runs: where it runs, what it exported, and its server.
struct Session {
    place: Place,
    exports: String,
    server: Option<(Server, PathBuf)>,
}

impl Session {
    /// An empty directory that sees the fixtures.
    fn new() -> Self {
        let place = Place::new();
        std::os::unix::fs::symlink(repository().join("fixtures"), place.path("fixtures")).unwrap();
        std::fs::create_dir(place.path("target")).unwrap();
        Self { place, exports: String::new(), server: None }
    }

    /// What a command prints, with the page's address in it.
    fn run(&mut self, command: &str) -> String {
        if command.starts_with("export ") {
            self.exports = format!("{}{command}; ", self.exports);
            return String::new();
        }
        if let Some(command) = command.strip_suffix(" &") {
            return self.start(command);
        }
        self.wait_until_folded();
        let printed = Run::of(&[command], self.shell(command).output().unwrap()).ok();
        let printed: String = printed.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        match self.address() {
            Some(address) => printed.replace(&address, ADDRESS),
            None => printed,
        }
    }

    fn start(&mut self, command: &str) -> String {
        assert!(self.server.is_none(), "a second server");
        let words: Vec<&str> = command.split(' ').collect();
        let data_dir = words.iter().position(|word| *word == "--data-dir").map(|at| words[at + 1]);
        let token_file = self.place.path(data_dir.unwrap()).join("admin-token");
        assert!(command.contains(ADDRESS), "{command}");
        let shell = self.shell(&format!("exec {}", command.replace(ADDRESS, "127.0.0.1:0")));
        let server = Server::spawn(&self.place, shell);
        let says = format!("adsum listens on {}\n", server.url).replace(server.address(), ADDRESS);
        self.server = Some((server, token_file));
        says
    }

    fn address(&self) -> Option<String> {
        self.server.as_ref().map(|(server, _)| server.address().to_owned())
    }

    /// A reader is slower than the fold, which shows what is durable some milliseconds later.
    fn wait_until_folded(&self) {
        let Some((server, token_file)) = &self.server else { return };
        let token = std::fs::read_to_string(token_file).unwrap();
        loop {
            let pipeline = server.request_as(Some(token.trim()), "GET", "/v1/pipeline", &[], None).expect(200);
            if pipeline["log"]["framesBehind"] == 0 {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    fn shell(&self, command: &str) -> Command {
        let command = format!("{}{command}", self.exports);
        let command = self.address().map_or(command.clone(), |address| command.replace(ADDRESS, &address));
        let program = Path::new(ADSUM).parent().unwrap();
        let mut shell = Command::new("sh");
        shell.current_dir(self.place.path("")).args(["-c", &command]);
        shell.env("PATH", format!("{}:{}", program.display(), std::env::var("PATH").unwrap()));
        for name in
            ["DATA_DIR", "CONFIG", "WORKERS", "FORMAT", "LISTEN", "TOKEN_FILE", "URL", "TOKEN", "CA_FILE", "LOG"]
        {
            shell.env_remove(format!("ADSUM_{name}"));
        }
        shell
    }
}

/// Runs a page's transcripts one behind the other in one directory; each has to be true.
fn check(page: &str) {
    let steps = steps(&std::fs::read_to_string(repository().join(page)).unwrap());
    assert!(steps.len() > 1, "{page} has no transcript");
    let mut session = Session::new();
    for (command, want) in &steps {
        let printed = session.run(command);
        assert!(is_as(want, &printed), "{page}: {command}\nthe page says\n{want}\nand it prints\n{printed}");
    }
}

#[test]
fn the_sample_page_is_true() {
    check("fixtures/sample/README.md");
}

#[test]
fn the_first_page_is_true() {
    check("README.md");
}

#[test]
fn dots_stand_for_what_differs_within_a_line() {
    for (want, text, is) in [
        ("a\nb\n", "a\nb\n", true),
        ("a\n", "a\nb\n", false),
        ("a\n", "ab\n", false),
        ("a...c\n", "abc\n", true),
        ("a...c\n", "abcd\n", false),
        ("a...c\n", "acbc\n", true),
        ("...b...\n", "abc\n", true),
        ("a...b...c\n", "axxc\n", false),
        ("a...\n", "a\nb\n", false),
    ] {
        assert_eq!(is_as(want, text), is, "{want:?} {text:?}");
    }
}

/// Every page of the repository that speaks of the program.
fn pages() -> Vec<PathBuf> {
    let of = |folder: &str| {
        let entries = std::fs::read_dir(repository().join(folder)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|e| e == "md")).collect::<Vec<_>>()
    };
    let places = ["", "docs", "docs/adr", "docs/formats", "fixtures/sample"];
    places.into_iter().chain(["bench", "bench/ads", "bench/peers", "bench/ysb"]).flat_map(of).collect()
}

/// The pieces of code of a page: lines of blocks, and what stands between backticks.
fn code(page: &str) -> Vec<String> {
    let (mut found, mut fenced) = (Vec::new(), false);
    let mut prose = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            found.push(line.to_owned());
        } else {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    found.extend(prose.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")));
    found
}

/// What the program says of itself, by command.
#[derive(Default)]
struct Helps(BTreeMap<String, Option<String>>);

impl Helps {
    /// The help of a command; none if there is no such command.
    fn of(&mut self, command: &[&str]) -> Option<String> {
        let ask = || {
            let output = Command::new(ADSUM).args(command).arg("--help").output().unwrap();
            output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
        };
        self.0.entry(command.join(" ")).or_insert_with(ask).clone()
    }

    /// What a piece of code names that is not there.
    fn missing(&mut self, code: &str) -> Vec<String> {
        let mut missing = Vec::new();
        let code = code.split(" #").next().unwrap_or_default();
        for (at, _) in code.match_indices("adsum ") {
            let before = code[..at].chars().next_back();
            let behind = &code[at + "adsum ".len()..];
            // The program's own words, `adsum listens on ..`, are no command, and neither is a table's column.
            if before.is_some_and(|c| !" /($".contains(c))
                || behind.starts_with("listens on ")
                || behind.starts_with(' ')
            {
                continue;
            }
            let line = behind.split(['|', ';', '&', ')']).next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            let named = words.iter().take_while(|w| w.chars().all(|c| c.is_ascii_lowercase() || c == '-')).count();
            let named = words.iter().take(named).position(|word| word.starts_with('-')).unwrap_or(named);
            let Some(mut help) = self.of(&words[..named.min(1)]) else {
                missing.push(format!("adsum {}", words[..named.min(1)].join(" ")));
                continue;
            };
            if named > 1 && help.contains("\nCommands:\n") {
                match self.of(&words[..2]) {
                    Some(deeper) => help = deeper,
                    None => missing.push(format!("adsum {}", words[..2].join(" "))),
                }
            }
            for flag in words.iter().filter(|word| word.starts_with("--") && word.len() > 2) {
                let flag = flag.split(['=', ',', ':', '.']).next().unwrap_or_default();
                if !help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).any(|word| word == flag) {
                    missing.push(format!("{flag} of adsum {}", words[..named.min(2)].join(" ")));
                }
            }
        }
        missing
    }
}

/// The tasks that a piece of code names and `cargo xtask` does not know.
fn missing_tasks(code: &str) -> Vec<String> {
    let xtask = std::fs::read_to_string(repository().join("xtask/src/main.rs")).unwrap();
    let named = code.split("cargo xtask ").skip(1);
    let tasks = named.filter_map(|behind| behind.split(|c: char| !c.is_ascii_lowercase()).next());
    tasks.filter(|task| !xtask.contains(&format!("[\"{task}\""))).map(|task| format!("cargo xtask {task}")).collect()
}

#[test]
fn pages_name_only_commands_that_exist() {
    let mut helps = Helps::default();
    let mut wrong = Vec::new();
    for path in pages() {
        let page = std::fs::read_to_string(&path).unwrap();
        for code in code(&page) {
            let missing = helps.missing(&code).into_iter().chain(missing_tasks(&code));
            wrong.extend(missing.map(|what| format!("{}: {what}: {code}", path.display())));
        }
    }
    assert!(helps.0.len() > 10, "too few commands were found: {:?}", helps.0.keys());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_command_that_does_not_exist_is_found() {
    let mut helps = Helps::default();
    for (code, want) in [
        ("adsum report --last 24h", &[][..]),
        ("target/fast/adsum quarantine list | head", &[]),
        ("adsum listens on http://127.0.0.1:7878", &[]),
        ("cargo xtask demo # adsum and more", &[]),
        ("adsum frobnicate events.ndjson", &["adsum frobnicate"]),
        ("$ adsum quarantine burn qr_1", &["adsum quarantine burn"]),
        ("adsum report --lost 24h --json", &["--lost of adsum report"]),
        ("x=1 && adsum send --speed=3 a.ndjson; adsum nothing", &["--speed of adsum send", "adsum nothing"]),
    ] {
        assert_eq!(helps.missing(code), want, "{code}");
    }
    assert_eq!(missing_tasks("cargo xtask test; cargo xtask sample"), ["cargo xtask sample"]);
    assert_eq!(code("a `b\nc` d\n```\ne `f`\n```\n"), ["e `f`", "b c"]);
}
