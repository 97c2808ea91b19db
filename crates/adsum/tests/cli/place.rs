//! A temporary directory in which the program runs, and what came of a run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Map, Value};

/// The program.
pub const ADSUM: &str = env!("CARGO_BIN_EXE_adsum");

/// The repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A temporary directory: commands run in it, `data` is its data directory.
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    /// An empty one.
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// The program with its arguments, ready to run here.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(ADSUM);
        for name in ["DATA_DIR", "CONFIG", "WORKERS", "FORMAT", "LISTEN", "TOKEN_FILE", "URL", "TOKEN", "CA_FILE"] {
            command.env_remove(format!("ADSUM_{name}"));
        }
        command.current_dir(self.dir.path()).args(["--data-dir", "data"]).args(args).stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, args: &[&str]) -> Run {
        Run::of(args, self.command(args).output().unwrap())
    }

    /// Imports and says what came of it.
    pub fn import(&self, args: &[&str]) -> Imported {
        Imported::of(&self.run(&[&["import", "--json"], args].concat()).ok())
    }

    /// The rows of a report.
    pub fn report(&self, args: &[&str]) -> Vec<Row> {
        let text = self.run(&[&["report", "--format", "ndjson"], args].concat()).ok();
        text.lines().map(|line| Row(serde_json::from_str(line).unwrap())).collect()
    }

    /// What `doctor` says; it must find everything whole.
    pub fn doctor(&self, args: &[&str]) -> Value {
        let answer: Value = serde_json::from_str(&self.run(&[&["doctor", "--json"], args].concat()).ok()).unwrap();
        assert_eq!(answer["problems"], serde_json::json!([]));
        answer
    }
}

/// A run that has ended.
pub struct Run {
    args: String,
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// What a process left.
    pub fn of(args: &[&str], output: Output) -> Self {
        Self {
            args: args.join(" "),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// What it printed; it must have ended well and without a word on standard error.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "adsum {}", self.args);
        self.stdout
    }

    /// It must have failed with code 1 behind its answer, and named every one of `words`.
    #[track_caller]
    pub fn fails_after_output(self, words: &[&str]) {
        assert_ne!(self.stdout, "", "adsum {}", self.args);
        Self { stdout: String::new(), ..self }.fails(1, words);
    }

    /// It must have failed with `code`, printed no data, and named every one of `words`.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "adsum {}: {}{}", self.args, self.stdout, self.stderr);
        assert_eq!(self.stdout, "", "adsum {}", self.args);
        for word in words {
            assert!(self.stderr.contains(word), "adsum {}: no {word:?} in {}", self.args, self.stderr);
        }
    }
}

/// What became of the lines of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Lines taken in.
    pub received: i64,
    /// Of those, not valid.
    pub rejected: i64,
    /// Counted.
    pub counted: i64,
    /// Seen before.
    pub duplicates: i64,
    /// Seen before with other content; each is among the quarantined.
    pub conflicts: i64,
    /// Not countable.
    pub quarantined: i64,
}

/// What an import printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// What became of its lines.
    pub figures: Figures,
    /// Whether it went on with a run that was killed.
    pub resumed: bool,
    /// The run's id.
    pub run: String,
}

impl Imported {
    /// Reads the object that `import --json` prints.
    pub fn of(text: &str) -> Self {
        let object: Map<String, Value> = serde_json::from_str(text).unwrap();
        let figure = |name: &str| object[name].as_i64().unwrap();
        let figures = Figures {
            received: figure("received"),
            rejected: figure("rejected"),
            counted: figure("counted"),
            duplicates: figure("duplicates"),
            conflicts: figure("conflicts"),
            quarantined: figure("quarantined"),
        };
        assert_eq!(figure("accepted") + figures.rejected, figures.received, "{text}");
        assert_eq!(figures.counted + figures.duplicates + figures.quarantined, figure("accepted"), "{text}");
        Self { figures, resumed: object["resumed"].as_bool().unwrap(), run: object["run"].as_str().unwrap().to_owned() }
    }
}

/// A row of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Row(pub Map<String, Value>);

impl Row {
    /// A dimension's value; null is `-`.
    pub fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or("-")
    }

    /// A metric.
    pub fn number(&self, name: &str) -> i64 {
        self.0[name].as_i64().unwrap()
    }
}

/// Sums of a metric over rows.
pub fn sum(rows: &[Row], metric: &str) -> i64 {
    rows.iter().map(|row| row.number(metric)).sum()
}

/// One text a row, `bucketStart dimension... metric...`, for comparing whole answers.
pub fn lines(rows: &[Row], names: &[&str]) -> Vec<String> {
    let cell = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    (rows.iter())
        .map(|row| {
            let cells = ["bucketStart"].iter().chain(names).map(|name| cell(&row.0[*name]));
            cells.collect::<Vec<_>>().join(" ")
        })
        .collect()
}
