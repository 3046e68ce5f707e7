//! The parts that frames are made of: numbers of a fixed width, the lowest byte first, and texts and bytes behind their length.

use bytes::Bytes;

use super::malformed;
use crate::{
    error::{Error, ErrorKind},
    id::MessageId,
};

/// A length or a count, as it stands in a frame.
pub(super) fn as_u32(number: usize) -> Result<u32, Error> {
    u32::try_from(number).map_err(|_| {
        Error::not_started(ErrorKind::TooLarge, format!("{number} bytes are more than a frame can tell of"))
    })
}

pub(super) fn put_u32(buffer: &mut Vec<u8>, number: usize) -> Result<(), Error> {
    buffer.extend_from_slice(&as_u32(number)?.to_le_bytes());
    Ok(())
}

pub(super) fn put_bytes(buffer: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Error> {
    put_u32(buffer, bytes.len())?;
    buffer.extend_from_slice(bytes);
    Ok(())
}

pub(super) fn put_text(buffer: &mut Vec<u8>, text: &str) -> Result<(), Error> {
    put_bytes(buffer, text.as_bytes())
}

/// Reads a frame from its start to its end. No length is trusted beyond the bytes that are there.
pub(super) struct Reader<'a> {
    frame: &'a Bytes,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of these bytes, which are part of the frame.
    pub(super) fn new(frame: &'a Bytes, rest: &'a [u8]) -> Self {
        Self { frame, rest }
    }

    pub(super) fn is_at_the_end(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let Some((array, rest)) = self.rest.split_first_chunk() else { return Err(cut_off()) };
        self.rest = rest;
        Ok(*array)
    }

    #[inline]
    pub(super) fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(u8::from_le_bytes)
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_le_bytes)
    }

    #[inline]
    pub(super) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline]
    pub(super) fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    #[inline]
    pub(super) fn id(&mut self) -> Result<MessageId, Error> {
        self.array().map(|bytes| MessageId::from_u128(u128::from_be_bytes(bytes)))
    }

    /// A length or a count.
    #[inline]
    pub(super) fn length(&mut self) -> Result<usize, Error> {
        self.u32().map(|length| length as usize)
    }

    /// So many bytes.
    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let Some((bytes, rest)) = self.rest.split_at_checked(length) else { return Err(cut_off()) };
        self.rest = rest;
        Ok(bytes)
    }

    /// So many bytes, which share the memory of the frame.
    #[inline]
    pub(super) fn shared(&mut self, length: usize) -> Result<Bytes, Error> {
        self.take(length).map(|bytes| self.frame.slice_ref(bytes))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let length = self.length()?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Error> {
        std::str::from_utf8(self.bytes()?).map_err(|_| malformed("a text in it is not UTF-8"))
    }
}

#[cold]
fn cut_off() -> Error {
    malformed("it ends before its last entry does")
}
