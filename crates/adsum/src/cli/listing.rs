//! Objects of the API as a table, JSON, NDJSON or CSV.
//!
//! Invariant: the columns are named as in the API; what an object does not have is an empty cell. Not here: reports,
//! whose rows come as they are read.

use std::io::{self, Write};

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use super::{Client, Global};
use crate::report::{Format, csv_text};

/// The client of the server, which commands of metadata cannot do without.
pub fn server(global: &Global) -> Result<Client> {
    global.client()?.ok_or_else(|| {
        anyhow!("this needs a running server: name it by --url (or ADSUM_URL), and its token by --token-file")
    })
}

/// A segment of a path: an id may hold anything.
pub fn segment(id: &str) -> String {
    form_urlencoded::byte_serialize(id.as_bytes()).collect::<String>().replace('+', "%20")
}

/// Every item of a list, page by page.
pub fn every(client: &Client, path: &str) -> Result<Vec<Value>> {
    let mut items = Vec::new();
    let mut page = client.get_json(&format!("{path}?limit=1000"))?;
    loop {
        items.extend(page["items"].as_array_mut().map(std::mem::take).unwrap_or_default());
        let Some(cursor) = page["nextCursor"].as_str() else { return Ok(items) };
        page = client.get_json(&format!("{path}?limit=1000&cursor={cursor}"))?;
    }
}

/// Shows a list; as JSON it is an object with the member `name`.
pub fn list(global: &Global, columns: &[&str], name: &str, items: &[Value]) -> Result<()> {
    let mut out = io::stdout().lock();
    match global.format(Format::Table) {
        Format::Table => {
            let mut table = comfy_table::Table::new();
            table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
            table.set_header(columns);
            items.iter().for_each(|item| {
                table.add_row(columns.iter().map(|c| cell(&item[*c])));
            });
            writeln!(out, "{table}")?;
        }
        Format::Csv => {
            write!(out, "{}\r\n", columns.join(","))?;
            for item in items {
                let mut line = Vec::new();
                for (i, column) in columns.iter().enumerate() {
                    if i > 0 {
                        line.push(b',');
                    }
                    csv_text(&cell(&item[*column]), &mut line);
                }
                line.extend_from_slice(b"\r\n");
                out.write_all(&line)?;
            }
        }
        Format::Ndjson => items.iter().try_for_each(|item| writeln!(out, "{item}"))?,
        Format::Json => writeln!(out, "{}", json!({ name: items }))?,
    }
    Ok(())
}

/// Shows one object: a member a line for people.
pub fn one(global: &Global, object: &Value) -> Result<()> {
    let mut out = io::stdout().lock();
    match (global.format(Format::Table), object.as_object()) {
        (Format::Table | Format::Csv, Some(members)) => {
            members.iter().try_for_each(|(name, value)| writeln!(out, "{name}: {}", cell(value)))?;
        }
        _ => writeln!(out, "{object}")?,
    }
    Ok(())
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
