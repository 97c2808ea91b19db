//! A report as a table for people: columns that say nothing are left out.
//!
//! Invariant: a column is left out only where every cell of it is empty, 0 or false; what rows are about and what they
//! count first always stands. Programs take the other formats, which have every column.

use std::io::Write;

use anyhow::Result;

/// Columns that stand even where all of them are 0.
const ALWAYS: [&str; 3] = ["impressions", "clicks", "spendMicros"];
/// Columns that stand in the lines below the table.
const BELOW: [&str; 1] = ["freshnessSeconds"];

/// The rows so far.
#[derive(Default)]
pub struct PeopleTable {
    names: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl PeopleTable {
    /// With these columns.
    pub fn header<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        self.names = names.into_iter().map(str::to_owned).collect();
    }

    /// Whether there are columns yet.
    pub fn has_header(&self) -> bool {
        !self.names.is_empty()
    }

    /// One row, in the order of the columns.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Draws it. The first `keys` columns say what a row is about.
    pub fn draw(&self, keys: usize, out: &mut impl Write) -> Result<()> {
        let says = |i: usize| self.rows.iter().any(|row| !matches!(row[i].as_str(), "" | "0" | "false" | "0.000000"));
        let shown: Vec<usize> = (self.names.iter().enumerate())
            .filter(|(i, name)| {
                let (always, below) = (ALWAYS.contains(&name.as_str()), BELOW.contains(&name.as_str()));
                !below && (*i < keys || always || says(*i))
            })
            .map(|(i, _)| i)
            .collect();
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(shown.iter().map(|i| &self.names[*i]));
        for row in &self.rows {
            table.add_row(shown.iter().map(|i| &row[*i]));
        }
        writeln!(out, "{table}")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_say_nothing_are_left_out() {
        let names =
            ["bucketStart", "campaignId", "currency", "impressions", "unpriced", "adjusted", "freshnessSeconds"];
        // cells of two rows, the columns that are drawn
        for (one, two, shown) in [
            (["a", "", "USD", "0", "0", "false", "1"], ["b", "", "USD", "0", "0", "false", "1"], 4),
            (["a", "c", "USD", "0", "0", "false", "1"], ["b", "", "USD", "0", "7", "false", "1"], 5),
            (["a", "c", "USD", "0", "0", "true", "1"], ["b", "", "USD", "0", "7", "false", "1"], 6),
        ] {
            let mut table = PeopleTable::default();
            table.header(names);
            table.row(one.map(str::to_owned).to_vec());
            table.row(two.map(str::to_owned).to_vec());
            let mut out = Vec::new();
            table.draw(3, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.lines().nth(1).unwrap().split_whitespace().count(), shown, "{text}");
        }
    }
}
