//! The texts of one key column, sorted, each with a number: 0 is null, the others count from 1 in byte order.
//!
//! Invariant: numbers order as texts do, null first. On the disk: count, where each text ends, the texts.

use crate::bytes::{Reader, put_count};

/// A sorted dictionary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dictionary {
    text: String,
    ends: Vec<u32>,
}

impl Dictionary {
    /// From distinct texts in byte order.
    pub(crate) fn from_sorted<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut dictionary = Self::default();
        for text in texts {
            dictionary.text.push_str(text);
            let end = u32::try_from(dictionary.text.len()).expect("cardinality limits keep a dictionary below 4 GiB");
            dictionary.ends.push(end);
        }
        dictionary
    }

    /// How many texts, null not counted.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The text with this number; `None` for null and for numbers that were not given out.
    pub(crate) fn text(&self, id: u32) -> Option<&str> {
        let i = (id as usize).checked_sub(1)?;
        let end = *self.ends.get(i)? as usize;
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        Some(&self.text[start..end])
    }

    /// The number of a text.
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        let (mut low, mut high) = (1, self.ends.len() as u32 + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.text(middle)?.cmp(text) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The texts in order.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        (1..=self.ends.len() as u32).filter_map(|id| self.text(id))
    }

    /// One dictionary of all texts of `parts`, and for each part its numbers' new numbers.
    pub(crate) fn merged(parts: &[&Self]) -> (Self, Vec<Vec<u32>>) {
        let mut all: Vec<(&str, usize)> = Vec::with_capacity(parts.iter().map(|p| p.len()).sum());
        for (part, dictionary) in parts.iter().enumerate() {
            all.extend(dictionary.texts().map(|t| (t, part)));
        }
        // The stable sort finds the sorted parts and merges them.
        all.sort_by(|a, b| a.0.cmp(b.0));
        let mut maps: Vec<Vec<u32>> = parts.iter().map(|p| Vec::with_capacity(p.len() + 1)).collect();
        maps.iter_mut().for_each(|m| m.push(0));
        let mut id = 0;
        let mut last: Option<&str> = None;
        for &(text, part) in &all {
            if last != Some(text) {
                id += 1;
                last = Some(text);
            }
            // A part's texts come in its own order, so that its map fills in the order of its numbers.
            maps[part].push(id);
        }
        all.dedup_by(|a, b| a.0 == b.0);
        (Self::from_sorted(all.into_iter().map(|(t, _)| t)), maps)
    }

    /// Bytes that it holds in memory.
    pub(crate) fn resident_bytes(&self) -> usize {
        self.text.len() + self.ends.len() * size_of::<u32>()
    }

    /// Writes it.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_count(out, self.ends.len());
        for end in &self.ends {
            out.extend_from_slice(&end.to_le_bytes());
        }
        out.extend_from_slice(self.text.as_bytes());
    }

    /// Reads it; `None` when it does not decode.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let count = reader.count(4)?;
        let ends = (0..count).map(|_| reader.u32()).collect::<Option<Vec<_>>>()?;
        let len = ends.last().map_or(0, |&e| e as usize);
        let text = String::from_utf8(reader.take(len)?.to_vec()).ok()?;
        let in_order = ends.is_sorted() && ends.iter().all(|&e| text.is_char_boundary(e as usize));
        (in_order && reader.is_empty()).then_some(Self { text, ends })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_order_as_texts_do() {
        let a = Dictionary::from_sorted(["", "b", "é"].into_iter());
        let b = Dictionary::from_sorted(["a", "b"].into_iter());
        let (all, maps) = Dictionary::merged(&[&a, &b]);
        assert_eq!(all.texts().collect::<Vec<_>>(), ["", "a", "b", "é"]);
        assert_eq!(maps, [vec![0, 1, 3, 4], vec![0, 2, 3]]);
        assert_eq!((all.find(""), all.find("b"), all.find("c")), (Some(1), Some(3), None));
        assert_eq!(all.text(0), None);
        let mut bytes = Vec::new();
        all.put(&mut bytes);
        assert_eq!(Dictionary::decode(&bytes), Some(all));
    }
}
