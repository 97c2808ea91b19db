//! `adsum import`.

use std::io::{self, Write};
use std::path::PathBuf;

use adsum_model::id::MetadataRevision;
use adsum_model::ledger::LedgerColumn;
use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use super::{Global, bytes_bar};
use crate::import::{ImportOptions, ImportResult, Source};
use crate::report::Format;
use crate::wire::{Make, workers};

/// The arguments of `import`.
#[derive(clap::Args)]
pub struct Args {
    /// Files of events, one JSON object a line; .gz and .zst are decompressed, - is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The source's name: event ids are unique within a source.
    #[arg(long, default_value = "import", value_name = "NAME")]
    source: String,
}

/// Bytes of text that one thread decodes at a time, if not configured.
const CHUNK_BYTES: usize = 512 << 10;
/// Bytes of text in a frame, if not configured.
const FRAME_BYTES: usize = 16 << 20;

/// Runs `adsum import`.
pub fn run(global: &Global, args: Args) -> Result<()> {
    let config = global.config()?;
    if args.source.is_empty() || args.source.len() > 64 || args.source.chars().any(char::is_control) {
        bail!("--source: a name has 1 to 64 characters and no control characters");
    }
    let files = args.files.iter().map(|f| Source::open(f)).collect::<Result<Vec<_>, _>>()?;
    if let Some(twice) = files.iter().enumerate().find(|(i, f)| files[..*i].iter().any(|o| o.path == f.path)) {
        bail!("{} is given twice", twice.1.path);
    }
    let frame_bytes = config.import.frame_bytes.unwrap_or(FRAME_BYTES).max(1);
    let mut options = ImportOptions {
        source: args.source,
        metadata: MetadataRevision::ZERO,
        chunk_bytes: config.import.chunk_bytes.unwrap_or(CHUNK_BYTES).clamp(1, frame_bytes),
        frame_bytes,
        decoders: workers(&config),
    };
    let plain = files.iter().all(|f| f.path != "-" && !f.path.ends_with(".gz") && !f.path.ends_with(".zst"));
    let bar = bytes_bar(plain.then(|| files.iter().map(|f| f.size).sum()));
    let mut home = global.open(&config, Make::IfMissing)?;
    options.metadata = MetadataRevision::new(home.metadata.revision);
    let result = crate::import::run(
        &mut home.log,
        &mut home.pipeline,
        &home.campaigns,
        home.secret,
        files,
        &options,
        &|bytes| bar.inc(bytes),
    );
    bar.finish_and_clear();
    let revision = home.pipeline.revision();
    home.close()?;
    show(global, &options.source, &result?, &revision.to_string())
}

fn show(global: &Global, source: &str, result: &ImportResult, revision: &str) -> Result<()> {
    use LedgerColumn::{Accepted, Conflicts, Counted, Duplicates, Quarantined, Received, Rejected};
    let columns = [Received, Accepted, Rejected, Counted, Duplicates, Conflicts, Quarantined];
    let mut out = io::stdout().lock();
    if global.format(Format::Table) == Format::Table {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(columns.map(LedgerColumn::name));
        table.add_row(columns.map(|c| result.figures.get(c).to_string()));
        writeln!(out, "{table}")?;
        writeln!(
            out,
            "source {source}, {revision}{}",
            if result.resumed { ", went on with a killed run" } else { "" }
        )?;
        return Ok(());
    }
    let mut object = Map::new();
    for column in columns {
        object.insert(column.name().to_owned(), Value::from(result.figures.get(column)));
    }
    object.insert("source".to_owned(), json!(source));
    object.insert("run".to_owned(), json!(result.run));
    object.insert("resumed".to_owned(), json!(result.resumed));
    object.insert("revision".to_owned(), json!(revision));
    writeln!(out, "{}", Value::Object(object))?;
    Ok(())
}
