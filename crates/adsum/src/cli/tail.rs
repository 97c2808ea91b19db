//! `adsum tail`: what a server takes in, as it happens.

use std::io::{self, BufRead, BufReader, Write};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Global;
use crate::report::Format;

/// The columns of a line, wide enough for seven digits.
const COUNTS: [&str; 6] = ["received", "accepted", "rejected", "counted", "duplicates", "quarantined"];

/// Runs `adsum tail`.
pub fn run(global: &Global) -> Result<()> {
    let client = global.needs_server("tail")?;
    let format = global.format(Format::Table);
    if format == Format::Csv {
        bail!("--format: a tail is a table or ndjson");
    }
    let mut lines = BufReader::new(client.get("/v1/events/stream", "text/event-stream")?);
    let mut out = io::stdout().lock();
    if format == Format::Table {
        let names: Vec<String> = COUNTS.iter().map(|name| format!("{name:>11}")).collect();
        writeln!(out, "{:27}  {:16}{}", "appendedAt", "source", names.concat())?;
        out.flush()?;
    }
    let mut name = String::new();
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line).context("the server went away")? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        if let Some(event) = line.strip_prefix("event:") {
            name = event.trim().to_owned();
        } else if let Some(data) = line.strip_prefix("data:") {
            let data: Value = serde_json::from_str(data.trim()).context("the server sent what is no JSON")?;
            show(&name, &data, format, &mut out)?;
            out.flush()?;
        }
    }
}

fn show(name: &str, data: &Value, format: Format, out: &mut impl Write) -> Result<()> {
    if format != Format::Table {
        writeln!(out, "{}", json!({ "event": name, "data": data }))?;
        return Ok(());
    }
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    match name {
        "ingest" => {
            for source in data["sources"].as_array().into_iter().flatten() {
                let counts: Vec<String> =
                    COUNTS.iter().map(|name| format!("{:>11}", source[*name].to_string())).collect();
                let (at, source) = (text(&data["appendedAt"]), text(&source["source"]));
                writeln!(out, "{at:27}  {source:16}{}", counts.concat())?;
            }
        }
        "watermark" => writeln!(out, "complete through {}", text(&data["completeThrough"]))?,
        "missed" => writeln!(out, "{} updates were missed", data["updates"])?,
        // Revisions move with every frame; what is in them is told by the other events.
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_as_lines() {
        let source = json!({ "source": "web", "received": 3, "accepted": 2, "rejected": 1, "counted": 2,
            "duplicates": 0, "quarantined": 0 });
        let ingest = json!({ "sources": [source], "appendedAt": "2026-11-21T08:00:00Z" });
        for (name, data, format, want) in [
            ("ingest", &ingest, Format::Table, &["2026-11-21T08:00:00Z", "web", " 3 "][..]),
            ("watermark", &json!({ "completeThrough": "2026-11-21T07:59:00Z" }), Format::Table, &["complete through"]),
            ("missed", &json!({ "updates": 9 }), Format::Table, &["9 updates were missed"]),
            ("revision", &json!({ "dataRevision": "rev_1" }), Format::Table, &[]),
            ("revision", &json!({ "dataRevision": "rev_1" }), Format::Ndjson, &["\"event\":\"revision\"", "rev_1"]),
        ] {
            let mut out = Vec::new();
            show(name, data, format, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.is_empty(), want.is_empty(), "{text}");
            for word in want {
                assert!(text.contains(word), "{word:?} in {text}");
            }
        }
    }
}
