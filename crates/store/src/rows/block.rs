//! Columns of a block as bytes: each either as offsets from its least value, or as repeats.
//!
//! Invariant: a column decodes to exactly the numbers that were encoded, or not at all. The form is the shorter of:
//! 0 `fixed`: width in bytes (0 to 8), the least value (zigzag varint), then each value less the least, `width` bytes
//! little endian; 1 `repeat`: pairs of a value (zigzag varint) and how often it stands (varint). Not here: what the
//! columns mean.

use crate::bytes::{Reader, put_varint, unzigzag, varint_len, zigzag};

const FIXED: u8 = 0;
const REPEAT: u8 = 1;

/// Appends a column.
pub(crate) fn encode(values: &[i64], out: &mut Vec<u8>) {
    let least = values.iter().copied().min().unwrap_or(0);
    let span = values.iter().map(|&v| (v as u64).wrapping_sub(least as u64)).max().unwrap_or(0);
    let width = (64 - span.leading_zeros() as usize).div_ceil(8);
    let fixed_len = 1 + varint_len(zigzag(least)) + width * values.len();
    let repeats = || values.chunk_by(|a, b| a == b);
    let mut repeat_len = 0;
    for repeat in repeats() {
        repeat_len += varint_len(zigzag(repeat[0])) + varint_len(repeat.len() as u64);
        if repeat_len >= fixed_len {
            break;
        }
    }
    if repeat_len < fixed_len {
        out.push(REPEAT);
        for repeat in repeats() {
            put_varint(out, zigzag(repeat[0]));
            put_varint(out, repeat.len() as u64);
        }
        return;
    }
    out.push(FIXED);
    out.push(width as u8);
    put_varint(out, zigzag(least));
    for &value in values {
        out.extend_from_slice(&(value as u64).wrapping_sub(least as u64).to_le_bytes()[..width]);
    }
}

/// Reads a column of `rows` values into `values`; `None` when it does not decode.
pub(crate) fn decode(bytes: &[u8], rows: usize, values: &mut Vec<i64>) -> Option<()> {
    values.clear();
    let mut reader = Reader::new(bytes);
    match reader.u8()? {
        FIXED => {
            let width = reader.u8()?;
            let least = unzigzag(reader.varint()?);
            let bytes = reader.take(rows.checked_mul(usize::from(width))?)?;
            match width {
                0 => values.resize(rows, least),
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
            while values.len() < rows {
                let value = unzigzag(reader.varint()?);
                let count = usize::try_from(reader.varint()?).ok().filter(|&c| c <= rows - values.len())?;
                values.resize(values.len() + count, value);
            }
        }
        _ => return None,
    }
    reader.is_empty().then_some(())
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
            (&[], REPEAT),
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
            assert_eq!(bytes.first().copied().unwrap_or(REPEAT), *form, "{values:?}");
            let mut back = vec![1];
            assert_eq!(decode(&bytes, values.len(), &mut back), Some(()));
            assert_eq!(back, *values);
            for cut in 0..bytes.len() {
                assert_eq!(decode(&bytes[..cut], values.len().max(1), &mut back), None, "{values:?} cut at {cut}");
            }
        }
    }
}
