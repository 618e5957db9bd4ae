//! A body that is passed on while it comes: how much of it is still to come.

use super::super::answer::AnswerFraming;
use super::super::buffer::ReadBuffer;
use super::super::chunked::{ChunkError, Chunked};
use super::super::fields::Framing;
use crate::secret::CleartextBody;

/// What is still to come.
#[derive(Debug)]
pub(crate) enum Remaining {
    /// Nothing.
    Nothing,
    /// So many bytes.
    Length(u64),
    /// Chunks, up to the last.
    Chunks(Chunked),
    /// Whatever comes until the connection ends.
    Open,
}

impl Remaining {
    pub(crate) const fn of(framing: Framing) -> Self {
        match framing {
            Framing::Empty => Self::Nothing,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunks(Chunked::new()),
        }
    }

    pub(crate) const fn of_answer(framing: AnswerFraming) -> Self {
        match framing {
            AnswerFraming::Empty => Self::Nothing,
            AnswerFraming::Length(length) => Self::Length(length),
            AnswerFraming::Chunked => Self::Chunks(Chunked::new()),
            AnswerFraming::Close => Self::Open,
        }
    }

    /// Moves what has come behind `part`; whether that was all.
    pub(crate) fn take(
        &mut self,
        buffer: &mut ReadBuffer,
        part: &mut CleartextBody,
    ) -> Result<bool, ChunkError> {
        let filled = buffer.filled();
        let taken = match self {
            Self::Nothing => 0,
            Self::Length(left) => {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(filled.len());
                part.extend_from_slice(filled.get(..n).unwrap_or_default());
                *left -= n as u64;
                n
            }
            Self::Chunks(chunks) => chunks.decode(filled, part, usize::MAX)?,
            Self::Open => {
                part.extend_from_slice(filled);
                filled.len()
            }
        };
        buffer.consume(taken);
        Ok(self.is_over())
    }

    /// Nothing is to come any more.
    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Nothing | Self::Length(0) => true,
            Self::Length(_) | Self::Open => false,
            Self::Chunks(chunks) => chunks.is_done(),
        }
    }

    /// The end of the connection is the end of the body.
    pub(crate) const fn may_end_anywhere(&self) -> bool {
        matches!(self, Self::Open)
    }
}
