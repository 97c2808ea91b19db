//! gzip of whole bodies, by libdeflate: nearly twice as fast as a decoder of streams, and a body is all there anyway.
//!
//! Invariant: nothing is written beyond the room given, and what stands behind a member is never passed over: it is
//! the next member, or the body is damaged. Not here: how large a text may be (body).

use std::ptr::NonNull;

use libdeflate_sys::{
    libdeflate_alloc_decompressor, libdeflate_decompressor, libdeflate_free_decompressor,
    libdeflate_gzip_decompress_ex, libdeflate_result_LIBDEFLATE_INSUFFICIENT_SPACE,
    libdeflate_result_LIBDEFLATE_SUCCESS,
};

/// Why a body was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The text does not fit into its room.
    TooLarge,
    /// It is no gzip, cut short, or of another checksum.
    Damaged,
}

/// Decompresses one body after the other.
pub struct Gunzip(NonNull<libdeflate_decompressor>);

// SAFETY: the decompressor is memory that only this value points to, and the library keeps nothing of a thread.
unsafe impl Send for Gunzip {}

impl Gunzip {
    /// With its tables, some 10 KiB.
    pub fn new() -> Self {
        // SAFETY: the function has no preconditions; it returns null where there is no memory.
        let decompressor = unsafe { libdeflate_alloc_decompressor() };
        Self(NonNull::new(decompressor).expect("there is memory for a decompressor"))
    }

    /// Appends the text of all members of a body; `text` grows to `bytes_max` at most, within its capacity.
    pub fn append(&mut self, mut body: &[u8], text: &mut Vec<u8>, bytes_max: usize) -> Result<(), Refused> {
        text.reserve_exact(bytes_max.saturating_sub(text.len()));
        while !body.is_empty() {
            let room_max = bytes_max.saturating_sub(text.len());
            let room = text.spare_capacity_mut();
            let (mut taken, mut written) = (0, 0);
            // SAFETY: the decompressor is valid until `drop`; the library reads `body.len()` bytes from `body` and
            // writes no more than it is told, which is no more than `room` has, into it.
            let result = unsafe {
                libdeflate_gzip_decompress_ex(
                    self.0.as_ptr(),
                    body.as_ptr().cast(),
                    body.len(),
                    room.as_mut_ptr().cast(),
                    room.len().min(room_max),
                    &raw mut taken,
                    &raw mut written,
                )
            };
            #[allow(non_upper_case_globals, reason = "the names are the library's")]
            match result {
                libdeflate_result_LIBDEFLATE_SUCCESS => {}
                libdeflate_result_LIBDEFLATE_INSUFFICIENT_SPACE => return Err(Refused::TooLarge),
                _ => return Err(Refused::Damaged),
            }
            // SAFETY: the library has written so many bytes behind the text, and says so only on success.
            unsafe { text.set_len(text.len() + written) };
            body = &body[taken..];
        }
        Ok(())
    }
}

impl Drop for Gunzip {
    fn drop(&mut self) {
        // SAFETY: it came from the library and is freed once.
        unsafe { libdeflate_free_decompressor(self.0.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn all_members_within_the_room_and_nothing_else() {
        let (one, none, zeros) = (packed(b"one\n"), packed(b""), packed(&[0; 100_000]));
        let cut = |bytes: &[u8]| bytes[..bytes.len() - 1].to_vec();
        // body, room, text
        let cases = [
            (one.clone(), 4, Ok(b"one\n".to_vec())),
            (one.clone(), 3, Err(Refused::TooLarge)),
            (one.clone(), 0, Err(Refused::TooLarge)),
            (none.clone(), 0, Ok(Vec::new())),
            ([one.clone(), none.clone(), one.clone()].concat(), 8, Ok(b"one\none\n".to_vec())),
            ([one.clone(), one.clone()].concat(), 7, Err(Refused::TooLarge)),
            ([one.clone(), vec![0]].concat(), 8, Err(Refused::Damaged)),
            ([one.clone(), one[..9].to_vec()].concat(), 8, Err(Refused::Damaged)),
            (cut(&one), 8, Err(Refused::Damaged)),
            (vec![0x1F, 0x8B], 8, Err(Refused::Damaged)),
            (zeros.clone(), 100_000, Ok(vec![0; 100_000])),
            (zeros, 99_999, Err(Refused::TooLarge)),
        ];
        let mut gunzip = Gunzip::new();
        for (i, (body, room, expected)) in cases.into_iter().enumerate() {
            let mut text = Vec::new();
            let result = gunzip.append(&body, &mut text, room).map(|()| text);
            assert_eq!(result, expected, "{i}");
        }
    }
}
