//! The framing of received bodies (RFC 9112, sections 6 and 7).

use bytes::Bytes;

use super::head::{BodyKind, check_trailers};
use super::input::Input;
use super::lines::{HeadKind, HeadReader};
use super::{HttpError, Limits};

/// Cuts a body out of the input.
///
/// ```text
/// Length ────────────────────────(last byte)──────────▶ Done
/// UntilClose ────────────────────(end of input)───────▶ Done
/// Chunk::Size ──(0)──▶ Chunk::Trailers ──(empty line)─▶ Done
///    │  ▲
///    ▼  └──(CRLF)── Chunk::End
/// Chunk::Data ───────▲
/// ```
#[derive(Debug)]
pub(super) struct BodyReader {
    stage: Stage,
    /// How many bytes the body may still have.
    allowance: u64,
}

/// A step in reading a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BodyPart {
    Data(Bytes),
    End,
    NeedsInput,
}

#[derive(Debug)]
enum Stage {
    Length(u64),
    UntilClose,
    Chunk(Chunk),
    Done,
}

#[derive(Debug)]
enum Chunk {
    /// In the line that says the size.
    Size(Vec<u8>),
    /// So many bytes of the chunk are to come.
    Data(u64),
    /// Before the line end after the data; whether its carriage return has come.
    End { carriage_return: bool },
    /// After the last chunk.
    Trailers(HeadReader),
}

impl BodyReader {
    pub(super) fn new(kind: BodyKind, limits: &Limits) -> Self {
        let stage = match kind {
            BodyKind::None | BodyKind::Length(0) => Stage::Done,
            BodyKind::Length(length) => Stage::Length(length),
            BodyKind::Chunked => Stage::Chunk(Chunk::Size(Vec::new())),
            BodyKind::UntilClose => Stage::UntilClose,
        };
        Self { stage, allowance: limits.body }
    }

    /// How many bytes are still to come, where the head has told.
    pub(super) fn remaining(&self) -> Option<u64> {
        match self.stage {
            Stage::Done => Some(0),
            Stage::Length(left) => Some(left),
            Stage::UntilClose | Stage::Chunk(_) => None,
        }
    }

    pub(super) fn read(
        &mut self,
        input: &mut Input,
        input_ended: bool,
        limits: &Limits,
    ) -> Result<BodyPart, HttpError> {
        loop {
            if matches!(self.stage, Stage::Done) {
                return Ok(BodyPart::End);
            }
            if input.is_empty() {
                return match (&self.stage, input_ended) {
                    (_, false) => Ok(BodyPart::NeedsInput),
                    (Stage::UntilClose, true) => Ok(BodyPart::End),
                    (_, true) => Err(HttpError::BodyCutShort),
                };
            }
            let data = match &mut self.stage {
                Stage::Done => None,
                Stage::Length(left) => {
                    let data = input.take(*left);
                    *left -= length_of(&data);
                    if *left == 0 {
                        self.stage = Stage::Done;
                    }
                    data
                }
                Stage::UntilClose => input.take(u64::MAX),
                Stage::Chunk(Chunk::Data(left)) => {
                    let data = input.take(*left);
                    *left -= length_of(&data);
                    if *left == 0 {
                        self.stage = Stage::Chunk(Chunk::End { carriage_return: false });
                    }
                    data
                }
                Stage::Chunk(chunk) => {
                    if let Some(next) = chunk.read_framing(input, self.allowance, limits)? {
                        self.stage = next;
                    }
                    None
                }
            };
            if let Some(data) = data {
                self.allowance =
                    self.allowance.checked_sub(data.len() as u64).ok_or(HttpError::BodyTooLarge)?;
                return Ok(BodyPart::Data(data));
            }
        }
    }
}

impl Chunk {
    /// Takes what is there of a line; the next stage once the line is complete.
    fn read_framing(
        &mut self,
        input: &mut Input,
        allowance: u64,
        limits: &Limits,
    ) -> Result<Option<Stage>, HttpError> {
        match self {
            Self::Size(line) => {
                while let Some([byte, ..]) = input.front() {
                    let byte = *byte;
                    input.advance(1);
                    line.push(byte);
                    if byte == b'\n' {
                        let size = parse_chunk_size(line)?;
                        return match size {
                            0 => Ok(Some(Stage::Chunk(Self::Trailers(HeadReader::new(HeadKind::Trailers))))),
                            size if size > allowance => Err(HttpError::BodyTooLarge),
                            size => Ok(Some(Stage::Chunk(Self::Data(size)))),
                        };
                    }
                    if line.len() >= limits.chunk_line {
                        return Err(HttpError::ChunkLineTooLong);
                    }
                }
                Ok(None)
            }
            Self::End { carriage_return } => {
                while let Some([byte, ..]) = input.front() {
                    match (*carriage_return, *byte) {
                        (false, b'\r') => *carriage_return = true,
                        (true, b'\n') => {
                            input.advance(1);
                            return Ok(Some(Stage::Chunk(Self::Size(Vec::new()))));
                        }
                        _ => return Err(HttpError::BadChunk),
                    }
                    input.advance(1);
                }
                Ok(None)
            }
            Self::Trailers(reader) => match reader.read(input, limits)? {
                Some(trailers) => {
                    check_trailers(&trailers, limits)?;
                    Ok(Some(Stage::Done))
                }
                None => Ok(None),
            },
            Self::Data(_) => Ok(None),
        }
    }
}

/// `1*HEXDIG [ ";" extension ] CRLF`, with optional blanks before the semicolon.
///
/// httparse reads a line without digits as zero, so this is our own.
fn parse_chunk_size(line: &[u8]) -> Result<u64, HttpError> {
    let line = line.strip_suffix(b"\r\n").ok_or(HttpError::BadChunk)?;
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (number, extension) = line.split_at(digits);
    if digits == 0 || digits > 16 {
        return Err(HttpError::BadChunk);
    }
    let text = extension.trim_ascii_start();
    let printable = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    if !extension.iter().all(printable) || !(extension.is_empty() || text.starts_with(b";")) {
        return Err(HttpError::BadChunk);
    }
    let number = std::str::from_utf8(number).map_err(|_| HttpError::BadChunk)?;
    u64::from_str_radix(number, 16).map_err(|_| HttpError::BadChunk)
}

fn length_of(data: &Option<Bytes>) -> u64 {
    data.as_ref().map_or(0, |data| data.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_sizes() {
        for (line, size) in [
            ("0\r\n", 0),
            ("5\r\n", 5),
            ("aF\r\n", 0xaf),
            ("0005\r\n", 5),
            ("ffffffffffffffff\r\n", u64::MAX),
            ("5;name=value\r\n", 5),
            ("5 ;name\r\n", 5),
        ] {
            assert_eq!(parse_chunk_size(line.as_bytes()), Ok(size), "{line:?}");
        }
        for line in [
            "\r\n",
            "5\n",
            "5",
            "+5\r\n",
            "-5\r\n",
            " 5\r\n",
            "5 \r\n",
            "0x5\r\n",
            "5g\r\n",
            ";a\r\n",
            "5 6\r\n",
            "5\r\r\n",
            "5;a\r\r\n",
            "5;\0\r\n",
            "5_0\r\n",
            "00000000000000005\r\n",
            "10000000000000000\r\n",
        ] {
            let found = parse_chunk_size(line.as_bytes());
            assert_eq!(found, Err(HttpError::BadChunk), "{line:?}");
        }
    }
}
