//! `adsum import`: into a data directory, or into a running server.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use adsum_model::id::MetadataRevision;
use adsum_model::ledger::LedgerColumn;
use anyhow::{Context, Result, anyhow, bail};
use indicatif::ProgressBar;
use serde_json::{Map, Value, json};

use super::client::{Answer, Client, Refused};
use super::{Global, bytes_bar};
use crate::config::Config;
use crate::import::http::CHUNK_BYTES_MAX;
use crate::import::{Chunk, ImportOptions, Source};
use crate::report::Format;
use crate::wire::{Make, workers};

/// The arguments of `import`.
#[derive(clap::Args)]
pub struct Args {
    /// Files of events, one JSON object a line; .gz and .zst are decompressed, - is standard input.
    #[arg(required_unless_present = "abort", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The source's name: event ids are unique within a source [default: import]. The name of a source of live events
    /// is exact but slow, for each key is looked up in the raw events.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Break off an unfinished run of the source on a running server; what it took in stays.
    #[arg(long, conflicts_with = "files")]
    abort: bool,
}

/// Bytes of text that go to a server at a time, if not configured.
const SENT_BYTES: usize = 4 << 20;
/// The name of the source, if none is given.
const SOURCE: &str = "import";
/// How often a server that is too busy is asked.
const TRIES_MAX: u32 = 12;
/// How long is waited before the second try, in milliseconds; twice as long before each other one, or as the server says.
const PAUSE_MILLIS_MIN: u64 = 500;
/// The longest pause, also on a server's word, in milliseconds.
const PAUSE_MILLIS_MAX: u64 = 30_000;

/// Runs `adsum import`.
pub fn run(global: &Global, args: Args) -> Result<()> {
    let config = global.config()?;
    let source = args.source.as_deref().unwrap_or(SOURCE);
    if source.is_empty() || source.len() > 64 || source.chars().any(char::is_control) {
        bail!("--source: a name has 1 to 64 characters and no control characters");
    }
    let client = global.client()?;
    if args.abort {
        let client =
            client.ok_or_else(|| anyhow!("--abort needs --url: a run in a data directory is just run again"))?;
        return abort(global, &client, source);
    }
    let files = args.files.iter().map(|f| Source::open(f)).collect::<Result<Vec<_>, _>>()?;
    if let Some(twice) = files.iter().enumerate().find(|(i, f)| files[..*i].iter().any(|o| o.path == f.path)) {
        bail!("{} is given twice", twice.1.path);
    }
    let plain = files.iter().all(|f| f.path != "-" && !f.path.ends_with(".gz") && !f.path.ends_with(".zst"));
    let bar = bytes_bar(plain.then(|| files.iter().map(|f| f.size).sum()));
    let answer = match client {
        Some(client) => send(&client, &config, &files, source, args.source.is_some(), &bar),
        None => into_directory(global, &config, files, source, &bar),
    };
    bar.finish_and_clear();
    show(global, &answer?)
}

fn into_directory(
    global: &Global,
    config: &Config,
    files: Vec<Source>,
    source: &str,
    bar: &ProgressBar,
) -> Result<Value> {
    let mut home = global.open(config, Make::IfMissing)?;
    let options = ImportOptions {
        source: source.to_owned(),
        metadata: MetadataRevision::new(home.metadata.revision),
        chunk_bytes: config.import.chunk_bytes(),
        frame_bytes: config.import.frame_bytes(),
        decoders: workers(config),
    };
    let result = crate::import::run(
        &mut home.log,
        &mut home.pipeline,
        &home.campaigns,
        home.secret,
        files,
        &options,
        &|bytes| bar.inc(bytes),
    );
    let revision = home.pipeline.revision();
    home.close()?;
    let result = result?;
    let mut object: Map<String, Value> =
        LedgerColumn::ALL.iter().map(|c| (c.name().to_owned(), json!(result.figures.get(*c)))).collect();
    object.insert("source".to_owned(), json!(source));
    object.insert("run".to_owned(), json!(result.run));
    object.insert("resumed".to_owned(), json!(result.resumed));
    object.insert("revision".to_owned(), json!(revision.to_string()));
    Ok(Value::Object(object))
}

/// Sends the files' lines chunk by chunk, each from where the server says that the file stands.
fn send(
    client: &Client,
    config: &Config,
    files: &[Source],
    source: &str,
    may_be_live: bool,
    bar: &ProgressBar,
) -> Result<Value> {
    let told: Vec<Value> = files
        .iter()
        .map(|file| {
            let (path, size, head) = file.identity();
            json!({ "path": path, "size": size, "head": format!("{head:016x}"), "stream": !file.resumable() })
        })
        .collect();
    let begin = json!({ "source": source, "files": told, "mayBeLive": may_be_live });
    let begun = post_json(client, "/v1/imports", &begin)?;
    if begun["liveSource"] == true {
        writeln!(io::stderr(), "adsum: {source} sends live events too: each key is looked up in the raw events")?;
    }
    let run = begun["run"].as_str().context("the server names no run")?;
    let chunk_bytes = config.import.frame_bytes.unwrap_or(SENT_BYTES).clamp(1, CHUNK_BYTES_MAX);
    let path_of_source = format!("/v1/imports/{}", encoded(source));
    let states = begun["files"].as_array().context("the server names no files")?;
    for (i, (file, state)) in files.iter().zip(states).enumerate() {
        if state["finished"] == true {
            bar.inc(file.size);
            continue;
        }
        let mut position = state["position"].as_u64().context("the server names no position")?;
        bar.inc(position);
        let mut chunks = file.chunks(position, chunk_bytes)?;
        let mut buffer = Vec::new();
        while let Some(chunk) = chunks.next(buffer)? {
            if !chunk.text.is_empty() || chunk.last {
                let (path, _, _) = file.identity();
                let url = format!("{path_of_source}/chunks");
                // To begin again changes nothing and says where the files stand.
                let stands = || Ok(post_json(client, "/v1/imports", &begin)?["files"][i]["position"].as_u64());
                send_chunk(client, &url, run, path, position, &chunk, &stands)?;
            }
            bar.inc(chunk.position - position);
            position = chunk.position;
            buffer = chunk.text;
        }
    }
    let ended = post_json(client, &format!("{path_of_source}/end?run={run}"), &Value::Null)?;
    let mut answer = ended.as_object().cloned().unwrap_or_default();
    answer.insert("resumed".to_owned(), begun["resumed"].clone());
    Ok(Value::Object(answer))
}

/// Sends one chunk until it is in the log. A busy server is asked again, and may have taken it before.
fn send_chunk(
    client: &Client,
    url: &str,
    run: &str,
    path: &str,
    position: u64,
    chunk: &Chunk,
    stands: &dyn Fn() -> Result<Option<u64>>,
) -> Result<()> {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("run", run)
        .append_pair("path", path)
        .append_pair("position", &position.to_string())
        .append_pair("next", &chunk.position.to_string())
        .append_pair("last", if chunk.last { "true" } else { "false" })
        .finish();
    let ask = || client.post(&format!("{url}?{query}"), "application/x-ndjson", &[], &chunk.text);
    let (answer, tries) = patiently(&ask).context("the same command goes on where this broke off")?;
    let Err(error) = answer.success() else { return Ok(()) };
    let out_of_place = error.downcast_ref::<Refused>().is_some_and(|refused| refused.code == "out_of_place");
    // A server that stops cannot say whether it took a chunk; the next one can.
    if out_of_place && tries > 1 && stands()? == Some(chunk.position) { Ok(()) } else { Err(error) }
}

/// Posts JSON to a server that may be busy, and gives the answer's.
fn post_json(client: &Client, path: &str, body: &Value) -> Result<Value> {
    let body = body.to_string();
    patiently(&|| client.post(path, "application/json", &[], body.as_bytes()))?.0.success()?.json()
}

/// Asks until the server is not too busy, but not for ever; says how often it asked.
fn patiently(ask: &dyn Fn() -> Result<Answer>) -> Result<(Answer, u32)> {
    let mut pause = PAUSE_MILLIS_MIN;
    for tries in 1.. {
        let answer = ask()?;
        if !matches!(answer.status, 429 | 503) || tries == TRIES_MAX {
            return Ok((answer, tries));
        }
        let after = answer.headers.get(http::header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
        let asked = after.map_or(0, |seconds: u64| seconds.saturating_mul(1000));
        std::thread::sleep(Duration::from_millis(pause.max(asked).min(PAUSE_MILLIS_MAX)));
        pause *= 2;
    }
    unreachable!("the last try returns")
}

/// A name as one segment of a path.
fn encoded(name: &str) -> String {
    // A form writes a blank as a plus, which a path would take for one.
    form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20")
}

fn abort(global: &Global, client: &Client, source: &str) -> Result<()> {
    let path = format!("/v1/imports/{}/end?abort=true", encoded(source));
    show(global, &client.send_json("POST", &path, &Value::Null)?)
}

fn show(global: &Global, answer: &Value) -> Result<()> {
    use LedgerColumn::{Accepted, Conflicts, Counted, Duplicates, Quarantined, Received, Rejected};
    let columns = [Received, Accepted, Rejected, Counted, Duplicates, Conflicts, Quarantined].map(LedgerColumn::name);
    let mut out = io::stdout().lock();
    if global.format(Format::Table) == Format::Table {
        let text = |name: &str| answer[name].as_str().unwrap_or_default();
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(columns);
        table.add_row(columns.map(|c| answer[c].to_string()));
        writeln!(out, "{table}")?;
        let how = if answer["aborted"] == true {
            ", broken off"
        } else if answer["resumed"] == true {
            ", went on with a killed run"
        } else {
            ""
        };
        writeln!(out, "source {}, {}{how}", text("source"), text("revision"))?;
        return Ok(());
    }
    let mut object = Map::new();
    for name in columns.into_iter().chain(["source", "run", "resumed", "aborted", "revision"]) {
        if let Some(value) = answer.get(name) {
            object.insert(name.to_owned(), value.clone());
        }
    }
    writeln!(out, "{}", Value::Object(object))?;
    Ok(())
}
