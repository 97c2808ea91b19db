//! A request's body to plain text: its type, its encoding, its size.
//!
//! Invariant: neither what comes in nor what comes out of a decompressor is ever larger than the limit; the decompressed
//! bytes are counted as they come out, into memory that was set aside for no more. What is damaged, cut short or
//! followed by something else is refused whole. Not here: how it is read
//! (http) and what the text says (adsum-model).

use std::sync::{Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, StatusCode, header};
use zstd::zstd_safe::{DCtx, zstd_sys::ZSTD_ErrorCode};

use super::gunzip::{Gunzip, Refused};
use crate::http::{Problem, only_header};

/// How many pieces of memory to decompress into wait for the next body.
const SCRATCHES_MAX: usize = 4;

/// How the events of a body are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `{"events":[...]}`.
    Array,
    /// One object a line.
    Lines,
}

impl Format {
    /// By the request's Content-Type.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let refused = || {
            let detail = "send application/json with {\"events\":[...]} or application/x-ndjson, in UTF-8";
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail).about("Content-Type")
        };
        let text = only_header(headers, &header::CONTENT_TYPE).ok_or_else(refused)?.ok_or_else(refused)?;
        let mut parts = text.split(';').map(str::trim);
        let format = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "application/json" => Self::Array,
            "application/x-ndjson" | "application/ndjson" => Self::Lines,
            _ => return Err(refused()),
        };
        let utf8 = |parameter: &str| match parameter.split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
                value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        };
        if parts.all(utf8) { Ok(format) } else { Err(refused()) }
    }
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952; members one after the other are one text.
    Gzip,
    /// RFC 8878; frames one after the other are one text.
    Zstd,
}

impl Encoding {
    /// By the request's Content-Encoding.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let refused = || {
            let detail = "send gzip, zstd or no encoding, and one of them only";
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", detail).about("Content-Encoding")
        };
        let Some(text) = only_header(headers, &header::CONTENT_ENCODING).ok_or_else(refused)? else {
            return Ok(Self::Identity);
        };
        match text.trim().to_ascii_lowercase().as_str() {
            "identity" => Ok(Self::Identity),
            // RFC 9110, section 8.4.1.3: the two names mean the same.
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(refused()),
        }
    }
}

/// Takes bodies out of their encodings.
///
/// What comes out is written into memory that is used again and again, and copied once its size is known: a body that
/// grows beyond the limit costs no memory that it would not give back.
pub struct Decompressor {
    bytes_max: usize,
    idle: Mutex<Vec<Scratch>>,
}

struct Scratch {
    text: Vec<u8>,
    gzip: Gunzip,
    zstd: DCtx<'static>,
}

impl Decompressor {
    /// Of texts of at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, idle: Mutex::default() }
    }

    /// The text of a body.
    pub fn text(&self, encoding: Encoding, body: Vec<u8>) -> Result<Vec<u8>, Problem> {
        let text = match encoding {
            Encoding::Identity => body,
            // An empty body has no events, however it says that it is compressed.
            _ if body.is_empty() => body,
            Encoding::Gzip => self.with_scratch(|scratch| scratch.gunzip(&body, self.bytes_max))?,
            Encoding::Zstd => self.with_scratch(|scratch| scratch.unzstd(&body, self.bytes_max))?,
        };
        if text.starts_with(b"\xEF\xBB\xBF") {
            return Err(Problem::bad_request(
                "invalid_body",
                "the body begins with a byte order mark; send it without",
            ));
        }
        Ok(text)
    }

    fn with_scratch(&self, work: impl FnOnce(&mut Scratch) -> Result<(), Problem>) -> Result<Vec<u8>, Problem> {
        let waiting = self.idle().pop();
        // The room is asked for once and used as far as texts need it; the one byte more tells too long from just fits.
        let room =
            || Scratch { text: Vec::with_capacity(self.bytes_max + 1), gzip: Gunzip::new(), zstd: DCtx::create() };
        let mut scratch = waiting.unwrap_or_else(room);
        scratch.text.clear();
        let result = work(&mut scratch).map(|()| scratch.text.as_slice().to_vec());
        let mut idle = self.idle();
        if idle.len() < SCRATCHES_MAX {
            idle.push(scratch);
        }
        result
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Scratch>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scratch {
    fn gunzip(&mut self, body: &[u8], bytes_max: usize) -> Result<(), Problem> {
        self.gzip.append(body, &mut self.text, bytes_max).map_err(|refused| match refused {
            Refused::TooLarge => too_large(bytes_max),
            Refused::Damaged => damaged("gzip", "what is there is cut short, followed by something else or not gzip"),
        })
    }

    /// In one go: what was written serves as the window, so that no frame's header can ask for memory.
    fn unzstd(&mut self, body: &[u8], bytes_max: usize) -> Result<(), Problem> {
        const FULL: usize = (ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall as usize).wrapping_neg();
        match self.zstd.decompress(&mut self.text, body) {
            Ok(_) if self.text.len() <= bytes_max => Ok(()),
            Ok(_) | Err(FULL) => Err(too_large(bytes_max)),
            Err(code) => Err(damaged("zstd", zstd::zstd_safe::get_error_name(code))),
        }
    }
}

fn damaged(encoding: &str, why: &str) -> Problem {
    let detail = format!("the body is no whole {encoding} stream: {why}; nothing of it was taken");
    Problem::bad_request("bad_encoding", detail).about("Content-Encoding")
}

/// What is said of a body that is too large, as sent or decompressed.
pub fn too_large(bytes_max: usize) -> Problem {
    let detail = format!("a body has at most {bytes_max} bytes, as sent and decompressed; send fewer events a request");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}
