//! Rows of a terminal as an SVG on a dark ground, which reads on light pages and on dark ones.
//!
//! Invariant: each run of characters says its own place and length, so columns stand below each other whatever font a
//! reader has.

use std::fmt::Write;

use super::terminal::{Look, Row};

/// The size of a character's cell, and the room around the text, in pixels.
const CELL_WIDTH: usize = 8;
const CELL_HEIGHT: usize = 19;
const MARGIN: usize = 20;
/// From a row's top to the line that its letters stand on.
const BASELINE: usize = 14;

/// The picture: what was typed, an empty row, and the rows.
pub fn render(typed: &str, rows: &[Row]) -> String {
    let prompt: Row = typed.chars().map(|c| (c, Look::Bold)).collect();
    let empty = Row::new();
    let all: Vec<&Row> = [&prompt, &empty].into_iter().chain(rows).collect();
    let columns = all.iter().map(|row| row.len()).max().unwrap_or(0);
    let (width, height) = (columns * CELL_WIDTH + 2 * MARGIN, all.len() * CELL_HEIGHT + 2 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" \
         font-size=\"13\">\n\
         <title>adsum demo: the last screen and the ledger</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#0d1117\"/>\n"
    );
    for (i, row) in all.into_iter().enumerate() {
        let y = MARGIN + i * CELL_HEIGHT + BASELINE;
        for (column, text, look) in runs(row) {
            let (x, length) = (MARGIN + column * CELL_WIDTH, text.chars().count() * CELL_WIDTH);
            let (colour, weight) = paint(look);
            // A string takes whatever is written to it.
            let _ = writeln!(
                svg,
                "<text x=\"{x}\" y=\"{y}\" textLength=\"{length}\" fill=\"{colour}\"{weight}>{}</text>",
                escaped(&text)
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Words of one look with single spaces between them, and the column at which each run begins.
fn runs(row: &Row) -> Vec<(usize, String, Look)> {
    let mut runs: Vec<(usize, String, Look)> = Vec::new();
    let mut spaces = 0;
    for (column, (c, look)) in row.iter().enumerate() {
        if *c == ' ' {
            spaces += 1;
            continue;
        }
        match runs.last_mut() {
            Some((_, text, same)) if same == look && spaces < 2 => {
                text.push_str(&" "[..spaces]);
                text.push(*c);
            }
            _ => runs.push((column, c.to_string(), *look)),
        }
        spaces = 0;
    }
    runs
}

fn paint(look: Look) -> (&'static str, &'static str) {
    match look {
        Look::Plain => ("#e6edf3", ""),
        Look::Bold => ("#ffffff", " font-weight=\"bold\""),
        Look::Dim => ("#8b949e", ""),
        Look::Red => ("#ff7b72", ""),
        Look::Green => ("#56d364", ""),
        Look::Yellow => ("#e3b341", ""),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
