//! Symbols: small numbers that stand for strings inside one process.
//!
//! Invariant: a symbol never leaves the process; logs, runs and hashes carry the string. Symbols are given out in
//! the order of first sight, which differs from run to run, so nothing may depend on their order.

use std::sync::{PoisonError, RwLock};

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::hash::text_word;
use crate::short::{Short, ShortTable};

/// A string's number in a [`Symbols`] table. 0 is null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(u32);

impl Symbol {
    /// The missing value.
    pub const NULL: Self = Self(0);
    /// The row that values over a dimension's cardinality limit fold into.
    pub const OTHER: Self = Self(1);

    /// A value that no symbol was made for: it equals none that has one, and has no text here.
    pub(crate) const UNKEPT: Self = Self(u32::MAX);

    /// Wraps a number that [`Symbols`] gave out.
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// As an index into tables kept by symbol.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Whether it stands for a missing value.
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }
}

#[derive(Default)]
struct Inner {
    table: HashTable<u32>,
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

impl Inner {
    fn bytes_of(&self, symbol: u32) -> &[u8] {
        let i = symbol as usize;
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.bytes[start..self.ends[i]]
    }

    fn find(&self, hash: u64, value: &[u8]) -> Option<Symbol> {
        self.table.find(hash, |&s| self.bytes_of(s) == value).map(|&s| Symbol(s))
    }
}

/// The strings that a process has met as values of dimensions, sources and currencies, each once.
pub struct Symbols {
    inner: RwLock<Inner>,
}

impl Default for Symbols {
    fn default() -> Self {
        let symbols = Self { inner: RwLock::default() };
        {
            let mut inner = symbols.inner.write().unwrap_or_else(PoisonError::into_inner);
            // Null has no bytes and is not in the table: an empty string is another value.
            inner.ends.push(0);
        }
        let other = symbols.intern(b"other");
        debug_assert_eq!(other, Symbol::OTHER);
        symbols
    }
}

impl Symbols {
    /// The symbol of `value`, made now if it is new.
    pub fn intern(&self, value: &[u8]) -> Symbol {
        let hash = xxh3_64(value);
        if let Some(found) = self.inner.read().unwrap_or_else(PoisonError::into_inner).find(hash, value) {
            return found;
        }
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = inner.find(hash, value) {
            return found;
        }
        let symbol = u32::try_from(inner.ends.len()).expect("fewer than 2^32 symbols: cardinality limits bound them");
        inner.bytes.extend_from_slice(value);
        let end = inner.bytes.len();
        inner.ends.push(end);
        let Inner { table, ends, bytes } = &mut *inner;
        table.insert_unique(hash, symbol, |&s| {
            let i = s as usize;
            xxh3_64(&bytes[ends[i - 1]..ends[i]])
        });
        Symbol(symbol)
    }

    /// The symbol of `value` if it was met before.
    pub fn find(&self, value: &[u8]) -> Option<Symbol> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).find(xxh3_64(value), value)
    }

    /// Lends a reader that resolves many symbols under one lock. Do not intern while it is held.
    pub fn read<R>(&self, use_names: impl FnOnce(&SymbolNames<'_>) -> R) -> R {
        use_names(&SymbolNames { inner: &self.inner.read().unwrap_or_else(PoisonError::into_inner) })
    }

    /// The string of `symbol`, copied; `None` for null.
    pub fn text(&self, symbol: Symbol) -> Option<String> {
        self.read(|names| names.text(symbol).map(str::to_owned))
    }

    /// How many symbols there are, null included.
    pub fn len(&self) -> usize {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).ends.len()
    }

    /// Never true: null and `other` are always there.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// A borrowed view that turns symbols back into strings.
pub struct SymbolNames<'a> {
    inner: &'a Inner,
}

impl SymbolNames<'_> {
    /// The string, or `None` for null. Symbols are made from validated UTF-8 only.
    pub fn text(&self, symbol: Symbol) -> Option<&str> {
        if symbol.is_null() { None } else { std::str::from_utf8(self.inner.bytes_of(symbol.get())).ok() }
    }

    /// The bytes; empty for null.
    pub fn bytes(&self, symbol: Symbol) -> &[u8] {
        self.inner.bytes_of(symbol.get())
    }
}

/// A thread's own view of a [`Symbols`] table: look-ups without a lock, and each symbol's content word.
///
/// Values of up to 16 bytes, and UUIDs, are found by comparing them as one number.
pub struct SymbolCache {
    symbols: std::sync::Arc<Symbols>,
    /// With their content words, so that one look at memory gives both.
    short: ShortTable,
    /// What is longer, and the empty text.
    long: hashbrown::HashMap<Box<[u8]>, Symbol>,
    /// The content word of each symbol's text, by symbol.
    words: Vec<u64>,
    /// Of a decoder: the dimensions that have as many values as they may on the day of its text, a bit each.
    pub(crate) full: u64,
    /// Those of them that the record has a value for which no symbol was made of.
    pub(crate) folded: u64,
}

impl SymbolCache {
    /// An empty view.
    pub fn new(symbols: std::sync::Arc<Symbols>) -> Self {
        Self {
            symbols,
            short: ShortTable::new(512),
            long: hashbrown::HashMap::new(),
            words: vec![0],
            full: 0,
            folded: 0,
        }
    }

    /// The symbol of `text[start..end]`.
    pub fn intern(&mut self, text: &[u8], start: usize, end: usize) -> Symbol {
        let value = &text[start..end];
        match self.at_hand(value) {
            Some(symbol) => symbol,
            None => self.take_up(self.symbols.intern(value), value).0,
        }
    }

    /// The symbol of a value that this thread has met.
    pub(crate) fn at_hand(&self, value: &[u8]) -> Option<Symbol> {
        match Short::of_text(value) {
            Some(short) => self.short.get(short, short.hash()).map(|(number, _)| Symbol(number)),
            None => self.long.get(value).copied(),
        }
    }

    /// Asks the processor for the place of a short text of this hash that is looked up soon.
    #[inline(always)]
    pub(crate) fn prefetch_short(&self, hash: u64) {
        self.short.prefetch(hash);
    }

    /// The symbol of the short text of this hash that this thread has met, and its content word.
    #[inline(always)]
    pub(crate) fn short_at_hand(&self, short: Short, hash: u64) -> Option<(Symbol, u64)> {
        self.short.get(short, hash).map(|(number, word)| (Symbol(number), word))
    }

    /// The symbol of a value that this thread has not met, of the dimension of this bit, and the value's content word.
    /// On a full day a value that the process does not know gets no symbol, and its dimension counts as folded.
    #[cold]
    #[inline(never)]
    pub(crate) fn meet(&mut self, dimension: u64, value: &[u8]) -> (Option<Symbol>, u64) {
        let known =
            if self.full & dimension == 0 { Some(self.symbols.intern(value)) } else { self.symbols.find(value) };
        match known {
            Some(symbol) => {
                let (symbol, word) = self.take_up(symbol, value);
                (Some(symbol), word)
            }
            None => {
                self.folded |= dimension;
                (None, text_word(value))
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn take_up(&mut self, symbol: Symbol, value: &[u8]) -> (Symbol, u64) {
        let word = text_word(value);
        match Short::of_text(value) {
            Some(short) => self.short.insert(short, symbol.0, word),
            None => drop(self.long.insert(value.into(), symbol)),
        }
        (symbol, word)
    }

    /// The content word of the symbol's text.
    #[inline(always)]
    pub fn word(&mut self, symbol: Symbol) -> u64 {
        match self.words.get(symbol.index()) {
            Some(word) => *word,
            None => self.word_of_new(symbol),
        }
    }

    #[cold]
    fn word_of_new(&mut self, symbol: Symbol) -> u64 {
        let words = &mut self.words;
        self.symbols.read(|names| {
            for i in words.len()..=symbol.index() {
                words.push(text_word(names.bytes(Symbol(i as u32))));
            }
        });
        self.words[symbol.index()]
    }

    /// The table behind this view.
    pub fn symbols(&self) -> &Symbols {
        &self.symbols
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_string_once_and_null_is_not_empty() {
        let symbols = Symbols::default();
        let a = symbols.intern(b"a");
        assert_eq!(symbols.intern(b"a"), a);
        assert_ne!(symbols.intern(b""), Symbol::NULL);
        assert_eq!(symbols.text(symbols.intern(b"")).as_deref(), Some(""));
        assert_eq!(symbols.text(Symbol::NULL), None);
        assert_eq!(symbols.intern(b"other"), Symbol::OTHER);
        assert_eq!(symbols.find(b"never"), None);
    }

    #[test]
    fn a_cache_agrees_with_its_table() {
        let symbols = std::sync::Arc::new(Symbols::default());
        let mut cache = SymbolCache::new(symbols.clone());
        let text: Vec<u8> = (0..60_000_u32).flat_map(|i| format!("v{i}\0").into_bytes()).collect();
        let mut padded = text.clone();
        padded.extend_from_slice(b"exactly-16-bytes seventeen-bytes-x");
        let uuid = padded.len();
        padded.extend_from_slice(b"0f8fad5b-d9cb-469f-a165-70867728950e0F8fad5b-d9cb-469f-a165-70867728950e");
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        let mut start = 0;
        for (i, b) in text.iter().enumerate() {
            if *b == 0 {
                ranges.push((start, i));
                start = i + 1;
            }
        }
        ranges.extend([(start, start + 16), (start + 17, start + 34), (3, 3), (padded.len() - 1, padded.len())]);
        ranges.extend([(uuid, uuid + 36), (uuid + 36, uuid + 72), (uuid + 1, uuid + 37)]);
        for _ in 0..2 {
            for &(a, b) in &ranges {
                let symbol = cache.intern(&padded, a, b);
                assert_eq!(symbol, symbols.intern(&padded[a..b]));
                assert_eq!(cache.word(symbol), text_word(&padded[a..b]));
            }
        }
    }
}
