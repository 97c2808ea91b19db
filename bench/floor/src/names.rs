//! Texts of dimensions as small numbers, the same for all threads.
//!
//! Invariant: a number is given once and never changes; a thread asks the shared table only for texts that it has not met.

use std::sync::{Mutex, PoisonError};

use hashbrown::HashMap;

/// The shared tables, one a dimension: campaign, publisher, country, device.
#[derive(Debug, Default)]
pub struct Names {
    dimensions: [Mutex<Dimension>; 4],
}

#[derive(Debug, Default)]
struct Dimension {
    numbers: HashMap<String, u32>,
    texts: Vec<String>,
}

impl Names {
    fn number(&self, dimension: usize, text: &str) -> u32 {
        let mut shared = self.dimensions[dimension].lock().unwrap_or_else(PoisonError::into_inner);
        let Dimension { numbers, texts } = &mut *shared;
        if let Some(number) = numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(texts.len()).expect("2^32 names do not fit into memory");
        texts.push(text.to_owned());
        numbers.insert(text.to_owned(), number);
        number
    }

    /// All texts of one dimension by their numbers.
    pub fn texts(&self, dimension: usize) -> Vec<String> {
        self.dimensions[dimension].lock().unwrap_or_else(PoisonError::into_inner).texts.clone()
    }
}

/// What one thread knows of the shared tables.
#[derive(Debug)]
pub struct KnownNames<'a> {
    names: &'a Names,
    known: [HashMap<String, u32>; 4],
}

impl<'a> KnownNames<'a> {
    /// Nothing yet.
    pub fn new(names: &'a Names) -> Self {
        Self { names, known: Default::default() }
    }

    /// The number of `text` in `dimension`.
    #[inline]
    pub fn number(&mut self, dimension: usize, text: &str) -> u32 {
        if let Some(number) = self.known[dimension].get(text) {
            return *number;
        }
        let number = self.names.number(dimension, text);
        self.known[dimension].insert(text.to_owned(), number);
        number
    }
}
