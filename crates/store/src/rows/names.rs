//! The texts of all key columns of a table across its runs, and how each run's ids become ids of all.
//!
//! Invariant: ids order as texts do, so that a scan compares numbers only. It is made once a published state and
//! table; rows not committed yet that bring new texts get a dictionary of their own scan.

use std::sync::Arc;

use adsum_model::symbol::{Symbol, Symbols};
use adsum_model::table::TableRows;

use super::dictionary::Dictionary;
use super::run::RunTable;

/// The texts behind the key ids of one scan. 0 is null; ids of one column order as their texts do.
#[derive(Debug, Default)]
pub struct ScanNames {
    columns: Vec<Dictionary>,
}

impl ScanNames {
    /// The text of an id in a key column; `None` for null.
    pub fn text(&self, column: usize, id: u32) -> Option<&str> {
        self.columns.get(column)?.text(id)
    }

    /// The id of a text in a key column, if any row of the scanned state or its extra has it.
    pub fn find(&self, column: usize, text: &str) -> Option<u32> {
        self.columns.get(column)?.find(text)
    }

    /// How many texts a key column has: ids go from 0 (null) up to this.
    pub fn len(&self, column: usize) -> usize {
        self.columns.get(column).map_or(0, Dictionary::len)
    }

    /// The dictionary of a column.
    pub(super) fn dictionary(&self, column: usize) -> &Dictionary {
        &self.columns[column]
    }
}

/// The names of a table and, for each run that has it, the way from the run's ids to theirs.
#[derive(Debug)]
pub(crate) struct TableNames {
    pub(crate) names: Arc<ScanNames>,
    /// By run, then by key column.
    pub(crate) maps: Vec<Vec<Vec<u32>>>,
}

impl TableNames {
    /// Of all runs that have a table; `width` is the number of its key columns.
    pub(crate) fn of(tables: &[&RunTable], width: usize) -> Self {
        let mut columns = Vec::with_capacity(width);
        let mut maps = vec![Vec::with_capacity(width); tables.len()];
        for column in 0..width {
            let parts: Vec<&Dictionary> = tables.iter().map(|t| &t.dictionaries[column]).collect();
            let (dictionary, of_parts) = Dictionary::merged(&parts);
            columns.push(dictionary);
            for (map, of_part) in maps.iter_mut().zip(of_parts) {
                map.push(of_part);
            }
        }
        Self { names: Arc::new(ScanNames { columns }), maps }
    }

    /// The same with further texts for each column; `None` when it has them all.
    pub(crate) fn with(&self, further: &[Dictionary]) -> Option<Self> {
        let known = |column: usize| {
            let names = self.names.dictionary(column);
            further[column].texts().all(|t| names.find(t).is_some())
        };
        if (0..further.len()).all(known) {
            return None;
        }
        let mut columns = Vec::with_capacity(further.len());
        let mut maps = self.maps.clone();
        for (column, texts) in further.iter().enumerate() {
            let (dictionary, ways) = Dictionary::merged(&[self.names.dictionary(column), texts]);
            columns.push(dictionary);
            for id in maps.iter_mut().flat_map(|m| &mut m[column]) {
                *id = ways[0][*id as usize];
            }
        }
        Some(Self { names: Arc::new(ScanNames { columns }), maps })
    }
}

/// For each key column the texts that stand in `parts`.
pub(super) fn texts_of(parts: &[&TableRows], width: usize, symbols: &Symbols) -> Vec<Dictionary> {
    let mut seen = vec![vec![false; symbols.len()]; width];
    for part in parts {
        for (column, seen) in seen.iter_mut().enumerate() {
            part.keys.chunks_exact(width).for_each(|key| seen[key[column].index()] = true);
        }
    }
    symbols.read(|names| {
        let sorted = |seen: &Vec<bool>| {
            let met = seen.iter().enumerate().filter(|(_, met)| **met);
            let mut texts: Vec<&str> = met.filter_map(|(i, _)| names.text(Symbol::new(i as u32))).collect();
            texts.sort_unstable();
            Dictionary::from_sorted(texts.into_iter())
        };
        seen.iter().map(sorted).collect()
    })
}
