//! Columns of a block as bytes: each either as offsets from its least value, or as repeats.
//!
//! Invariant: a column decodes to exactly the numbers that were encoded, or not at all. The form is the shorter of:
//! 0 `fixed`: width in bytes (0 to 8), the least value (zigzag varint), then each value less the least, `width` bytes
//! little endian; 1 `repeat`: pairs of a value (zigzag varint) and how often it stands (varint). Not here: what the
//! columns mean.

use crate::bytes::{Reader, put_varint, unzigzag, varint_len, zigzag};

const FIXED: u8 = 0;
const REPEAT: u8 = 1;

/// Appends a column; returns its least and its greatest value.
pub(crate) fn encode(values: &[i64], out: &mut Vec<u8>) -> (i64, i64) {
    let Some((&first, rest)) = values.split_first() else {
        put_head(0, 0, out);
        return (0, 0);
    };
    // Compared as bytes: most columns of a block hold one value.
    if *rest == values[..rest.len()] {
        put_head(0, first, out);
        return (first, first);
    }
    let (mut least, mut greatest, mut changes) = (first, first, 0_i64);
    for (&value, &last) in rest.iter().zip(values) {
        least = least.min(value);
        greatest = greatest.max(value);
        changes += i64::from(value != last);
    }
    let changes = changes as usize;
    let span = (greatest as u64).wrapping_sub(least as u64);
    let width = (64 - span.leading_zeros() as usize).div_ceil(8);
    let fixed_len = 2 + varint_len(zigzag(least)) + width * values.len();
    // Counted first, for that is quick, and two bytes each is the least that repeats take.
    if 1 + 2 * (changes + 1) < fixed_len && put_repeats(values, fixed_len, out) {
        return (least, greatest);
    }
    put_head(width, least, out);
    match width {
        1 => put_fixed::<1>(values, least, out),
        2 => put_fixed::<2>(values, least, out),
        3 => put_fixed::<3>(values, least, out),
        4 => put_fixed::<4>(values, least, out),
        5 => put_fixed::<5>(values, least, out),
        6 => put_fixed::<6>(values, least, out),
        7 => put_fixed::<7>(values, least, out),
        _ => put_fixed::<8>(values, least, out),
    }
    (least, greatest)
}

fn put_head(width: usize, least: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&[FIXED, width as u8]);
    put_varint(out, zigzag(least));
}

/// Puts repeats if they take less than `fixed_len` bytes, and says whether.
fn put_repeats(values: &[i64], fixed_len: usize, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.push(REPEAT);
    let mut rest = values;
    while let Some(&value) = rest.first() {
        let count = rest.iter().position(|v| *v != value).unwrap_or(rest.len());
        put_varint(out, zigzag(value));
        put_varint(out, count as u64);
        if out.len() - start >= fixed_len {
            out.truncate(start);
            return false;
        }
        rest = &rest[count..];
    }
    true
}

fn put_fixed<const WIDTH: usize>(values: &[i64], least: i64, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + WIDTH * values.len(), 0);
    let (chunks, _) = out[start..].as_chunks_mut::<WIDTH>();
    for (chunk, &value) in chunks.iter_mut().zip(values) {
        let word = (value as u64).wrapping_sub(least as u64).to_le_bytes();
        chunk.copy_from_slice(&word[..WIDTH]);
    }
}

/// Appends a column's `rows` values to `values`; `None` when it does not decode.
pub(crate) fn decode(bytes: &[u8], rows: usize, values: &mut Vec<i64>) -> Option<()> {
    let end = values.len() + rows;
    let mut reader = Reader::new(bytes);
    match reader.u8()? {
        FIXED => {
            let width = reader.u8()?;
            let least = unzigzag(reader.varint()?);
            let bytes = reader.take(rows.checked_mul(usize::from(width))?)?;
            match width {
                0 => values.resize(end, least),
                1 => fixed::<1>(bytes, least, values),
                2 => fixed::<2>(bytes, least, values),
                3 => fixed::<3>(bytes, least, values),
                4 => fixed::<4>(bytes, least, values),
                5 => fixed::<5>(bytes, least, values),
                6 => fixed::<6>(bytes, least, values),
                7 => fixed::<7>(bytes, least, values),
                8 => fixed::<8>(bytes, least, values),
                _ => return None,
            }
        }
        REPEAT => {
            while values.len() < end {
                let value = unzigzag(reader.varint()?);
                let count = usize::try_from(reader.varint()?).ok().filter(|&c| c <= end - values.len())?;
                values.resize(values.len() + count, value);
            }
        }
        _ => return None,
    }
    reader.is_empty().then_some(())
}

/// Appends the values at `picks` of a column of `rows` values, which are in order, without unpacking the others.
pub(crate) fn decode_at(bytes: &[u8], rows: usize, picks: &[u32], values: &mut Vec<i64>) -> Option<()> {
    if picks.len() == rows {
        return decode(bytes, rows, values);
    }
    let mut reader = Reader::new(bytes);
    match reader.u8()? {
        FIXED => {
            let width = usize::from(reader.u8().filter(|&width| width <= 8)?);
            let least = unzigzag(reader.varint()?);
            let bytes = reader.take(rows.checked_mul(width)?)?;
            for &row in picks {
                let mut word = [0; 8];
                let at = row as usize * width;
                word[..width].copy_from_slice(bytes.get(at..at + width)?);
                values.push(least.wrapping_add(u64::from_le_bytes(word) as i64));
            }
        }
        REPEAT => {
            let (mut value, mut end) = (0, 0);
            for &row in picks {
                while u64::from(row) >= end {
                    value = unzigzag(reader.varint()?);
                    end = reader.varint()?.checked_add(end)?;
                }
                values.push(value);
            }
        }
        _ => return None,
    }
    Some(())
}

fn fixed<const WIDTH: usize>(bytes: &[u8], least: i64, values: &mut Vec<i64>) {
    let (chunks, _) = bytes.as_chunks::<WIDTH>();
    values.extend(chunks.iter().map(|chunk| {
        let mut word = [0; 8];
        word[..WIDTH].copy_from_slice(chunk);
        least.wrapping_add(u64::from_le_bytes(word) as i64)
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_round_trip_in_the_shorter_form() {
        let cases: &[(&[i64], u8)] = &[
            (&[], FIXED),
            (&[7], FIXED),
            (&[5, 5, 5, 5, 5, 5], FIXED),
            (&[0, 0, 0, 0, 0, 0, 0, 0, 70_000, 0, 0, 0], REPEAT),
            (&[1000, 1200, 1300, 1400, 1500, 999], FIXED),
            (&[i64::MIN, i64::MAX, i64::MIN + 1, i64::MAX - 1, i64::MIN, i64::MAX], FIXED),
            (&[1 << 40, (1 << 40) + 3, (1 << 40) + 9], FIXED),
        ];
        for (values, form) in cases {
            let mut bytes = Vec::new();
            encode(values, &mut bytes);
            assert_eq!(bytes[0], *form, "{values:?}");
            let mut back = vec![1];
            assert_eq!(decode(&bytes, values.len(), &mut back), Some(()));
            assert_eq!((back[0], &back[1..]), (1, *values));
            for step in 1..4 {
                let picks: Vec<u32> = (0..values.len() as u32).step_by(step).collect();
                let mut some = vec![1];
                assert_eq!(decode_at(&bytes, values.len(), &picks, &mut some), Some(()));
                assert!(some[0] == 1 && some[1..].iter().eq(values.iter().step_by(step)), "{some:?} of {values:?}");
            }
            for cut in 0..bytes.len() {
                assert_eq!(decode(&bytes[..cut], values.len().max(1), &mut back), None, "{values:?} cut at {cut}");
            }
        }
    }
}
