//! Follows the bytes of a connection: where a request's head begins and ends, and how long its body is.
//!
//! hyper takes `Transfer-Encoding` where `Content-Length` is there too, and hides that both were. A request of two
//! lengths is how one is smuggled past a proxy, so it is refused, and for that somebody has to see the head.
//! Invariant: what cannot be followed is let go and never accused; hyper answers it by itself. Not here: parsing requests (hyper).

/// Bytes of a line that are kept: enough for the headers that say how long a body is.
const LINE_BYTES_KEPT: usize = 256;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing of the next request has come.
    Between,
    /// In a head.
    Head,
    /// So many bytes of a body.
    Body(u64),
    /// A chunk's length.
    ChunkLength,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The line's end behind a chunk.
    ChunkEnd,
    /// The lines behind the last chunk.
    Trailer,
    /// What came made no sense.
    Lost,
}

/// Where the connection is, seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Between two requests.
    Between,
    /// In the head of one.
    Head,
    /// In its body, or beyond what can be followed.
    Body,
}

/// Follows one connection.
#[derive(Debug)]
pub struct Framing {
    state: State,
    /// What there is of the present line.
    line: Vec<u8>,
    first_line: bool,
    length: Option<u64>,
    has_length: bool,
    has_encoding: bool,
    /// Heads that have ended.
    heads: u64,
    /// The first head, counted from 1, with a length and an encoding.
    conflict: Option<u64>,
}

impl Framing {
    /// Of a connection on which nothing has come.
    pub fn new() -> Self {
        Self {
            state: State::Between,
            line: Vec::new(),
            first_line: true,
            length: None,
            has_length: false,
            has_encoding: false,
            heads: 0,
            conflict: None,
        }
    }

    /// Where the connection is.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Between => Phase::Between,
            State::Head => Phase::Head,
            _ => Phase::Body,
        }
    }

    /// How many heads have ended.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// The request, counted from 1, that has a length and an encoding.
    pub fn conflict(&self) -> Option<u64> {
        self.conflict
    }

    /// Takes in what came.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = match self.state {
                State::Lost => bytes.len(),
                State::Body(left) | State::Chunk(left) => {
                    let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    self.pass(left - taken as u64);
                    taken
                }
                _ => self.line(bytes),
            };
            bytes = &bytes[skipped..];
        }
    }

    /// So much is left of what is skipped.
    fn pass(&mut self, left: u64) {
        self.state = match self.state {
            State::Body(_) if left > 0 => State::Body(left),
            State::Chunk(_) if left > 0 => State::Chunk(left),
            State::Chunk(_) => State::ChunkEnd,
            _ => State::Between,
        };
    }

    /// Takes in the rest of a line, or what there is of it; says how many bytes that was.
    fn line(&mut self, bytes: &[u8]) -> usize {
        let end = memchr::memchr(b'\n', bytes);
        let part = &bytes[..end.unwrap_or(bytes.len())];
        let part = &part[..part.len().min(LINE_BYTES_KEPT - self.line.len())];
        if self.state == State::Between && part.iter().any(|b| *b != b'\r') {
            (self.state, self.first_line) = (State::Head, true);
            (self.length, self.has_length, self.has_encoding) = (None, false, false);
        }
        let Some(end) = end else {
            self.line.extend_from_slice(part);
            return bytes.len();
        };
        if self.line.is_empty() {
            self.ended(part);
        } else {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(part);
            self.ended(&line);
            line.clear();
            self.line = line;
        }
        end + 1
    }

    /// A line ended.
    fn ended(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.state = match self.state {
            State::Head if line.is_empty() => self.head_ended(),
            State::Head => {
                if !std::mem::take(&mut self.first_line) {
                    self.header(line);
                }
                State::Head
            }
            State::ChunkLength => match chunk_length(line) {
                Some(0) => State::Trailer,
                Some(length) => State::Chunk(length),
                None => State::Lost,
            },
            State::ChunkEnd if line.is_empty() => State::ChunkLength,
            State::ChunkEnd => State::Lost,
            State::Trailer if line.is_empty() => State::Between,
            other => other,
        };
    }

    fn header(&mut self, line: &[u8]) {
        let Some(colon) = line.iter().position(|b| *b == b':') else { return };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            self.has_length = true;
            self.length = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.has_encoding = true;
        }
    }

    fn head_ended(&mut self) -> State {
        self.heads += 1;
        match (self.has_length, self.has_encoding) {
            (true, true) => {
                self.conflict = Some(self.heads);
                State::Lost
            }
            (false, true) => State::ChunkLength,
            (true, false) => match self.length {
                Some(0) => State::Between,
                Some(length) => State::Body(length),
                None => State::Lost,
            },
            (false, false) => State::Between,
        }
    }
}

fn chunk_length(line: &[u8]) -> Option<u64> {
    let digits = line.split(|b| *b == b';').next()?.trim_ascii();
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_followed_and_two_lengths_are_seen() {
        let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        let post = "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nt: v\r\n\r\n";
        let both = "POST / HTTP/1.1\r\nContent-Length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
        let other_way = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nCONTENT-LENGTH:5\r\n\r\n0\r\n\r\n";
        let in_a_body =
            "POST / HTTP/1.1\r\nContent-Length: 52\r\n\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n   ";
        // bytes, heads, the one in conflict, phase at the end
        let cases = [
            (String::new(), 0, None, Phase::Between),
            ("\r\n\r\n".to_owned(), 0, None, Phase::Between),
            ("GE".to_owned(), 0, None, Phase::Head),
            ("GET / HTTP/1.1\nhost: a\n\n".to_owned(), 1, None, Phase::Between),
            (format!("{get}{get}"), 2, None, Phase::Between),
            (format!("{post}{get}"), 2, None, Phase::Between),
            (format!("{chunked}{post}{chunked}{get}"), 4, None, Phase::Between),
            (in_a_body.to_owned(), 1, None, Phase::Between),
            (post[..post.len() - 1].to_owned(), 1, None, Phase::Body),
            (both.to_owned(), 1, Some(1), Phase::Body),
            (format!("{chunked}{get}{other_way}{get}"), 3, Some(3), Phase::Body),
            ("POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n".to_owned(), 1, None, Phase::Body),
        ];
        for (bytes, heads, conflict, phase) in cases {
            for piece in [1, 7, 4096] {
                let mut framing = Framing::new();
                bytes.as_bytes().chunks(piece).for_each(|part| framing.feed(part));
                let seen = (framing.heads(), framing.conflict(), framing.phase());
                assert_eq!(seen, (heads, conflict, phase), "{bytes:?} in pieces of {piece}");
            }
        }
    }
}
