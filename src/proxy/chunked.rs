//! The chunked transfer coding (RFC 9112 §7.1), decoded byte by byte of framing and in bulk of
//! data.
//!
//! Strict on purpose: no chunk extensions, no white space, CRLF only, sizes of eight digits at
//! most. Trailer fields are checked for syntax, bounded and dropped.

use crate::secret::CleartextBody;

/// Bytes of all trailer fields together.
const TRAILERS_MAX: usize = 4 * 1024;
/// Digits of a chunk size; 4 GiB is beyond every body limit.
const SIZE_DIGITS_MAX: u8 = 8;

/// Why decoding stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunkError {
    Syntax,
    TooLarge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size { digits: u8, size: usize },
    SizeLf { size: usize },
    Data { left: usize },
    DataCr,
    DataLf,
    TrailerStart { total: usize },
    TrailerName { total: usize },
    TrailerValue { total: usize },
    TrailerLf { total: usize },
    EndLf,
    Done,
}

/// A decoder that is fed whatever has arrived.
#[derive(Debug)]
pub(crate) struct Chunked {
    state: State,
}

impl Chunked {
    pub(crate) const fn new() -> Self {
        Self { state: State::Size { digits: 0, size: 0 } }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Decodes `input` into `body`; how much of it was used. Bytes after the end are not touched.
    pub(crate) fn decode(
        &mut self,
        input: &[u8],
        body: &mut CleartextBody,
        limit: usize,
    ) -> Result<usize, ChunkError> {
        let mut rest = input;
        while !self.is_done() {
            if let State::Data { left } = self.state {
                let (data, after) = rest.split_at_checked(left.min(rest.len())).unwrap_or_default();
                body.extend_from_slice(data);
                rest = after;
                self.state = match left - data.len() {
                    0 => State::DataCr,
                    left => State::Data { left },
                };
            }
            let Some((&byte, after)) = rest.split_first() else { break };
            self.state = step(self.state, byte)?;
            if let State::Data { left } = self.state
                && left > limit.saturating_sub(body.len())
            {
                return Err(ChunkError::TooLarge);
            }
            rest = after;
        }
        Ok(input.len() - rest.len())
    }
}

fn step(state: State, byte: u8) -> Result<State, ChunkError> {
    Ok(match (state, byte) {
        (State::Size { digits, size }, byte) => size_digit(digits, size, byte)?,
        (State::SizeLf { size: 0 }, b'\n') => State::TrailerStart { total: 0 },
        (State::SizeLf { size }, b'\n') => State::Data { left: size },
        (State::DataCr, b'\r') => State::DataLf,
        (State::DataLf, b'\n') => State::Size { digits: 0, size: 0 },
        (State::TrailerStart { .. }, b'\r') => State::EndLf,
        (State::TrailerStart { total }, byte) if is_token(byte) => State::TrailerName { total },
        (State::TrailerName { total }, b':') => State::TrailerValue { total: longer(total)? },
        (State::TrailerName { total }, byte) if is_token(byte) => {
            State::TrailerName { total: longer(total)? }
        }
        (State::TrailerValue { total }, b'\r') => State::TrailerLf { total },
        (State::TrailerValue { total }, byte) if is_field_byte(byte) => {
            State::TrailerValue { total: longer(total)? }
        }
        (State::TrailerLf { total }, b'\n') => State::TrailerStart { total: longer(total)? },
        (State::EndLf, b'\n') => State::Done,
        _ => return Err(ChunkError::Syntax),
    })
}

fn size_digit(digits: u8, size: usize, byte: u8) -> Result<State, ChunkError> {
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        b'\r' if digits > 0 => return Ok(State::SizeLf { size }),
        _ => return Err(ChunkError::Syntax),
    };
    if digits == SIZE_DIGITS_MAX {
        return Err(ChunkError::Syntax);
    }
    let size = size.checked_mul(16).and_then(|size| size.checked_add(usize::from(digit)));
    Ok(State::Size { digits: digits + 1, size: size.ok_or(ChunkError::Syntax)? })
}

fn longer(total: usize) -> Result<usize, ChunkError> {
    if total >= TRAILERS_MAX { Err(ChunkError::TooLarge) } else { Ok(total + 1) }
}

const fn is_token(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')
        || matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+')
        || matches!(byte, b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

const fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode_all(input: &[u8], limit: usize) -> Result<(Vec<u8>, usize, bool), ChunkError> {
        let mut body = CleartextBody::with_capacity(0);
        let mut chunked = Chunked::new();
        let used = chunked.decode(input, &mut body, limit)?;
        Ok((body.as_bytes().to_vec(), used, chunked.is_done()))
    }

    #[test]
    fn chunks_are_joined_trailers_dropped_and_what_follows_is_left_alone() {
        let (body, used, done) =
            decode_all(b"4\r\nWiki\r\n0a\r\n0123456789\r\n0\r\nx-y: z\r\n\r\nGET", 100).unwrap();
        assert_eq!((body.as_slice(), done), (&b"Wiki0123456789"[..], true));
        assert_eq!(used, 38);
    }

    #[test]
    fn every_malformed_coding_is_refused() {
        for bad in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+1\r\n",
            " 1\r\n",
            "1 \r\n",
            "0x1\r\n",
            "1;a=b\r\n",
            "1;\r\n",
            "1\n",
            "1\rx",
            "123456789\r\n",
            "1\r\nab",
            "1\r\na\n",
            "1\r\na\rx",
            "0\r\n\n",
            "0\r\n x: y\r\n\r\n",
            "0\r\n: y\r\n\r\n",
            "0\r\nx y\r\n\r\n",
            "0\r\nx\r\n\r\n",
            "0\r\nx: \0\r\n",
            "0\r\nx: y\n\r\n",
            "0\r\nx: y\r\r\n",
            "1,1\r\n",
            "1\t\r\n",
            "0\r\n\rX",
        ] {
            assert_eq!(decode_all(bad.as_bytes(), 100).err(), Some(ChunkError::Syntax), "{bad:?}");
        }
    }

    #[test]
    fn a_chunk_beyond_the_limit_is_refused_before_its_data() {
        assert_eq!(decode_all(b"3\r\nabc\r\n", 3).unwrap().0, b"abc");
        assert_eq!(decode_all(b"3\r\nabc\r\n1\r\n", 3).err(), Some(ChunkError::TooLarge));
        assert_eq!(decode_all(b"ffffffff\r\n", 3).err(), Some(ChunkError::TooLarge));
        let trailers = format!("0\r\nx: {}\r\n", "y".repeat(TRAILERS_MAX));
        assert_eq!(decode_all(trailers.as_bytes(), 3).err(), Some(ChunkError::TooLarge));
    }

    proptest! {
        #[test]
        fn the_result_does_not_depend_on_how_the_bytes_arrive(
            chunks in
                proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
            step in 1_usize..9,
        ) {
            let mut coded = Vec::new();
            for chunk in &chunks {
                coded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                coded.extend_from_slice(chunk);
                coded.extend_from_slice(b"\r\n");
            }
            coded.extend_from_slice(b"0\r\n\r\n");
            let mut body = CleartextBody::with_capacity(0);
            let mut chunked = Chunked::new();
            for piece in coded.chunks(step) {
                prop_assert_eq!(chunked.decode(piece, &mut body, 1000).unwrap(), piece.len());
            }
            prop_assert!(chunked.is_done());
            prop_assert_eq!(body.as_bytes(), chunks.concat());
        }
    }
}
