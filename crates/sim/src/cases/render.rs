//! What came of a case, as tables that a person reads.
//!
//! Invariant: everything that a picture holds is in the text; columns in which no row has a number are left out.

use std::collections::BTreeSet;

use adsum_model::catalog::{EVENT_TYPES, METRICS};
use adsum_model::ledger::LedgerColumn;
use adsum_model::time::{MICROS_PER_SECOND, format_utc};

use super::Case;
use crate::picture::{Picture, Sums};

/// The tables of a picture. `detail` says why a line at an offset was rejected.
pub(crate) fn text(
    case: &Case,
    picture: &Picture,
    detail: &dyn Fn(u64) -> Result<String, String>,
) -> Result<String, String> {
    let mut out = String::new();
    for (names, cells) in case.setup.catalog.rollups.iter().zip(&picture.rollups) {
        let declared = case.setup.catalog.event_types.iter().map(|t| t.plural.as_str());
        let metrics = EVENT_TYPES.iter().map(|t| t.plural).chain(declared).chain(METRICS.iter().map(|m| m.name));
        let used = used(metrics, cells.values());
        let mut header = vec!["bucket".to_owned()];
        header.extend(names.iter().cloned());
        header.push("currency".to_owned());
        header.extend(used.iter().cloned());
        header.push("revision".to_owned());
        let mut rows = vec![header];
        for ((bucket, values, currency), sums) in cells {
            let mut row = vec![moment(bucket * MICROS_PER_SECOND)];
            row.extend(values.iter().map(|v| v.clone().unwrap_or_else(|| "-".to_owned())));
            row.push(currency.clone());
            row.extend(numbers(&used, sums));
            rows.push(row);
        }
        table(&format!("cells {}", names.join(" ")), &rows, &mut out);
    }
    let used = used(LedgerColumn::ALL.iter().map(|c| c.name()), picture.ledger.values());
    let mut header = vec!["hour".to_owned(), "source".to_owned()];
    header.extend(used.iter().cloned());
    header.push("revision".to_owned());
    let mut rows = vec![header];
    for ((hour, source), sums) in &picture.ledger {
        // Ticks and the words on the clock have no source.
        let source = if source.is_empty() { "-" } else { source };
        let mut row = vec![moment(hour * MICROS_PER_SECOND), source.to_owned()];
        row.extend(numbers(&used, sums));
        rows.push(row);
    }
    table("ledger", &rows, &mut out);
    let mut rows = vec![["offset", "reason", "receivedAt", "why"].map(str::to_owned).to_vec()];
    for (offset, held) in &picture.quarantine {
        let why = if held.reason == "rejected" { detail(*offset)? } else { String::new() };
        rows.push(vec![offset.to_string(), held.reason.clone(), moment(held.received_at), why]);
    }
    table("quarantine", &rows, &mut out);
    let mut clock =
        vec![vec!["watermark".to_owned(), "line".to_owned()], vec![moment(picture.watermark), moment(picture.line)]];
    if picture.in_doubt {
        clock[0].push("doubt".to_owned());
        clock[1].push("yes".to_owned());
    }
    table("clock", &clock, &mut out);
    Ok(out)
}

fn moment(micros: i64) -> String {
    if micros == i64::MIN { "never".to_owned() } else { format_utc(micros) }
}

fn used<'a>(names: impl Iterator<Item = &'a str>, rows: impl Iterator<Item = &'a Sums>) -> Vec<String> {
    let present: BTreeSet<&String> = rows.flat_map(|sums| sums.metrics.keys()).collect();
    names.filter(|n| present.contains(&(*n).to_owned())).map(str::to_owned).collect()
}

fn numbers(used: &[String], sums: &Sums) -> Vec<String> {
    let metrics = used.iter().map(|n| sums.metrics.get(n).copied().unwrap_or(0).to_string());
    metrics.chain([sums.revision.to_string()]).collect()
}

fn table(title: &str, rows: &[Vec<String>], out: &mut String) {
    *out += &format!("\n{title}\n");
    if rows.len() == 1 {
        *out += "(none)\n";
        return;
    }
    let widths: Vec<usize> =
        (0..rows[0].len()).map(|column| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0)).collect();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        *out += cells.join("  ").trim_end();
        *out += "\n";
    }
}
