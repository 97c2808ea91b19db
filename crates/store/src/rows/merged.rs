//! The rows of all sources of a scan as one ordered stream of sums, in batches of columns.
//!
//! Invariant: rows come in order of bucket and key texts, each bucket and key once, its values checked sums. Which rows
//! follow one another is found first, by their words alone; then each column is gathered at once. Memory: one stripe a
//! source. Not here: what a source is made of (read, extra).

use std::cmp::Ordering;

use super::BATCH_ROWS;
use super::extra::ExtraCursor;
use super::read::RunCursor;
use super::scan::{Block, Spec};
use crate::error::StoreError;

/// One run, or the rows that are in none.
pub(super) enum Origin<'a> {
    Run(RunCursor<'a>),
    Extra(ExtraCursor<'a>),
}

struct Source<'a> {
    origin: Origin<'a>,
    block: Block,
    at: usize,
    /// The word of the present row; `None` where the block has ended.
    word: Option<u128>,
}

/// A row of a source.
#[derive(Clone, Copy)]
struct Place {
    source: u32,
    row: u32,
}

/// The stream.
pub(super) struct Merged<'a, 'b> {
    spec: &'b Spec<'b>,
    sources: Vec<Source<'a>>,
    /// The rows that come next.
    own: Vec<Place>,
    /// Rows that add to one of those.
    added: Vec<(u32, Place)>,
}

impl<'a> Source<'a> {
    fn refill(&mut self, spec: &Spec<'_>) -> Result<bool, StoreError> {
        self.at = 0;
        let more = match &mut self.origin {
            Origin::Run(cursor) => cursor.fill(spec, &mut self.block)?,
            Origin::Extra(cursor) => {
                self.block.clear();
                let more = cursor.fill(spec, BATCH_ROWS, &mut self.block)?;
                self.block.order((0, 0), &mut Vec::new());
                more
            }
        };
        self.word = self.block.picks.first().filter(|_| more).map(|&row| self.block.words[row as usize]);
        Ok(self.word.is_some())
    }

    fn advance(&mut self) {
        self.at += 1;
        self.word = self.block.picks.get(self.at).map(|&row| self.block.words[row as usize]);
    }

    fn row(&self) -> usize {
        self.block.picks[self.at] as usize
    }

    fn compare_rest(&self, other: &Self, spec: &Spec<'_>) -> Ordering {
        (spec.packing.bits.len()..self.block.keys.len())
            .map(|c| self.block.keys[c][self.row()].cmp(&other.block.keys[c][other.row()]))
            .find(|o| o.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

impl<'a, 'b> Merged<'a, 'b> {
    pub(super) fn new(spec: &'b Spec<'b>, origins: Vec<Origin<'a>>) -> Result<Self, StoreError> {
        let mut sources = Vec::with_capacity(origins.len());
        for origin in origins {
            let block = Block::new(spec.allowed.len(), spec.columns.len());
            sources.push(Source { origin, block, at: 0, word: None });
        }
        let mut merged = Self { spec, sources, own: Vec::new(), added: Vec::new() };
        merged.refill()?;
        Ok(merged)
    }

    /// What the scan's sources have in common.
    pub(super) fn spec(&self) -> &Spec<'b> {
        self.spec
    }

    /// The rows in memory, where no run has any further: they come in order and added up already.
    fn extra_alone(&mut self) -> Option<&mut ExtraCursor<'a>> {
        match self.sources.as_mut_slice() {
            [Source { origin: Origin::Extra(cursor), word: None, .. }] => Some(cursor),
            _ => None,
        }
    }

    /// Appends the next rows to `out`, at most `most`; false when there are no more.
    pub(super) fn fill(&mut self, most: usize, out: &mut Block) -> Result<bool, StoreError> {
        let spec = self.spec;
        if let Some(cursor) = self.extra_alone() {
            return cursor.fill(spec, most, out);
        }
        if self.sources.is_empty() {
            return Ok(false);
        }
        self.choose(most);
        self.gather(out)?;
        self.refill()?;
        Ok(true)
    }

    /// Finds which rows come next, up to where a source's block ends: its rows must stay until they are gathered.
    fn choose(&mut self, most: usize) {
        let Self { spec, sources, own, added } = self;
        own.clear();
        added.clear();
        while let Some((first, word, bound)) = least_two(sources) {
            if own.len() == most {
                return;
            }
            let mut ended = false;
            if bound.is_none_or(|b| word < b) {
                // Nobody else has rows before `bound`: this source's pass as they are.
                let Source { block, at, word, .. } = &mut sources[first];
                let rest = &block.picks[*at..];
                let rest = &rest[..rest.len().min(most - own.len())];
                let count = match bound {
                    None => rest.len(),
                    Some(b) => rest.iter().take_while(|&&row| block.words[row as usize] < b).count(),
                };
                own.extend(rest[..count].iter().map(|&row| Place { source: first as u32, row }));
                *at += count;
                *word = block.picks.get(*at).map(|&row| block.words[row as usize]);
                ended = word.is_none();
            } else {
                let least = (first + 1..sources.len())
                    .filter(|&i| sources[i].word == Some(word))
                    .fold(first, |a, b| if sources[b].compare_rest(&sources[a], spec).is_lt() { b } else { a });
                let place = |i: usize| Place { source: i as u32, row: sources[i].row() as u32 };
                let begun = added.len();
                for i in 0..sources.len() {
                    let equal = i != least
                        && sources[i].word == Some(word)
                        && sources[i].compare_rest(&sources[least], spec).is_eq();
                    if equal {
                        added.push((own.len() as u32, place(i)));
                    }
                }
                own.push(place(least));
                let passed = added[begun..].iter().map(|(_, place)| place.source as usize);
                for i in passed.chain([least]) {
                    sources[i].advance();
                    ended |= sources[i].word.is_none();
                }
            }
            if ended {
                return;
            }
        }
    }

    /// Gathers the chosen rows, a column at a time.
    fn gather(&self, out: &mut Block) -> Result<(), StoreError> {
        let start = out.words.len();
        self.gather_column(|block| &block.words, &mut out.words);
        for (column, to) in out.keys.iter_mut().enumerate() {
            self.gather_column(|block| &block.keys[column], to);
        }
        for (column, to) in out.values.iter_mut().enumerate() {
            if self.is_zero(column) {
                to.resize(out.words.len(), 0);
                continue;
            }
            self.gather_column(|block| &block.values[column], to);
            for (at, place) in &self.added {
                let sum = &mut to[start + *at as usize];
                *sum = self.spec.sum(*sum, self.block(*place).values[column][place.row as usize])?;
            }
        }
        self.gather_column(|block| &block.revisions, &mut out.revisions);
        self.gather_column(|block| &block.spreads, &mut out.spreads);
        for (at, place) in &self.added {
            let (at, row, block) = (start + *at as usize, place.row as usize, self.block(*place));
            out.add_revision(at, block.revisions[row], block.spreads[row]);
        }
        Ok(())
    }

    /// Whether no source has anything but 0 in a value column: so it is with most.
    fn is_zero(&self, column: usize) -> bool {
        self.sources.iter().all(|s| s.block.alike[column] == Some(0))
    }

    fn block(&self, place: Place) -> &Block {
        &self.sources[place.source as usize].block
    }

    fn gather_column<T: Copy>(&self, column: impl Fn(&Block) -> &Vec<T>, to: &mut Vec<T>) {
        if let [source] = self.sources.as_slice()
            && source.block.in_order
        {
            to.extend_from_slice(&column(&source.block)[source.at - self.own.len()..source.at]);
            return;
        }
        let columns: Vec<&[T]> = self.sources.iter().map(|s| column(&s.block).as_slice()).collect();
        to.extend(self.own.iter().map(|place| columns[place.source as usize][place.row as usize]));
    }

    /// Lets sources whose block has ended read on; those that are at their end go.
    fn refill(&mut self) -> Result<(), StoreError> {
        if self.extra_alone().is_some() {
            return Ok(());
        }
        let mut failed = None;
        let spec = self.spec;
        self.sources.retain_mut(|source| {
            source.word.is_some()
                || source.refill(spec).unwrap_or_else(|error| {
                    failed = Some(error);
                    false
                })
        });
        failed.map_or(Ok(()), Err)
    }
}

/// The source with the least word, that word, and the least word of all others.
fn least_two(sources: &[Source<'_>]) -> Option<(usize, u128, Option<u128>)> {
    let mut least: Option<(usize, u128)> = None;
    let mut bound: Option<u128> = None;
    for (i, source) in sources.iter().enumerate() {
        let Some(word) = source.word else { continue };
        match least {
            Some((_, l)) if word >= l => bound = Some(bound.map_or(word, |b| b.min(word))),
            _ => {
                bound = least.map(|(_, l)| l).or(bound);
                least = Some((i, word));
            }
        }
    }
    least.map(|(i, word)| (i, word, bound))
}
