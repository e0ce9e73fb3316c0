//! Bytes of TPM 2.0 commands and responses.
//!
//! In: integers and byte strings. Out: the big-endian encodings of TCG "TPM 2.0 Library",
//! Part 2, and back. Reading is bounded by the slice it is given and never panics: a TPM, or
//! what stands between us and it, is not trusted to answer well-formed bytes.
//! Buffers are wiped when dropped, because some of them carry secrets.

use zeroize::Zeroizing;

/// Largest command or response we send or accept, in bytes.
///
/// Source: the Linux driver's `TPM_BUFSIZE`, and libtpms' `MAX_COMMAND_SIZE`, both 4096.
pub(crate) const MAX_MESSAGE_BYTES: usize = 4096;

/// Length of a command or response header: tag, size, code. Source: TPM 2.0 Part 1, 18.2.
pub(crate) const HEADER_BYTES: usize = 10;

/// Why bytes could not be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end before the value does.
    #[error("{wanted} bytes wanted, {left} left")]
    Short {
        /// Bytes the value needs.
        wanted: usize,
        /// Bytes there are.
        left: usize,
    },
    /// Bytes remain after the value.
    #[error("{left} bytes follow the value")]
    Trailing {
        /// Bytes that follow.
        left: usize,
    },
    /// A value is longer than its field, or a message longer than a TPM takes.
    #[error("a value exceeds its length field")]
    TooLong,
    /// A field holds something else than the layout demands.
    #[error("{field} is {found:#x}, expected {expected:#x}")]
    Field {
        /// Name of the field in Part 2.
        field: &'static str,
        /// What the layout demands.
        expected: u64,
        /// What was found.
        found: u64,
    },
}

/// Appends big-endian values; an overlong value is remembered and reported by [`Writer::finish`].
pub(crate) struct Writer {
    bytes: Zeroizing<Vec<u8>>,
    too_long: bool,
}

impl Writer {
    /// An empty buffer with room for a whole message, so that it never reallocates and leaves a copy behind.
    pub(crate) fn new() -> Self {
        Self {
            bytes: Zeroizing::new(Vec::with_capacity(MAX_MESSAGE_BYTES)),
            too_long: false,
        }
    }

    /// Appends bytes as they are.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        if self.bytes.len().saturating_add(bytes.len()) > MAX_MESSAGE_BYTES {
            self.too_long = true;
        } else {
            self.bytes.extend_from_slice(bytes);
        }
        self
    }

    pub(crate) fn u8(self, value: u8) -> Self {
        self.raw(&[value])
    }

    pub(crate) fn u16(self, value: u16) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn u32(self, value: u32) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// Appends a `TPM2B`: a 16-bit length, then the bytes.
    pub(crate) fn sized(mut self, bytes: &[u8]) -> Self {
        match u16::try_from(bytes.len()) {
            Ok(length) => self.u16(length).raw(bytes),
            Err(_) => {
                self.too_long = true;
                self
            }
        }
    }

    /// The bytes, if nothing was too long.
    pub(crate) fn finish(self) -> Result<Zeroizing<Vec<u8>>, WireError> {
        if self.too_long {
            Err(WireError::TooLong)
        } else {
            Ok(self.bytes)
        }
    }
}

/// Takes big-endian values from the front of a slice.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let short = WireError::Short {
            wanted: count,
            left: self.rest.len(),
        };
        let (head, rest) = self.rest.split_at_checked(count).ok_or(short)?;
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let short = WireError::Short {
            wanted: N,
            left: self.rest.len(),
        };
        self.take(N)?.try_into().map_err(|_| short)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_be_bytes)
    }

    /// The contents of a `TPM2B`.
    pub(crate) fn sized(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// A 16-bit field that must hold one value.
    pub(crate) fn expect_u16(
        &mut self,
        field: &'static str,
        expected: u16,
    ) -> Result<(), WireError> {
        let found = self.u16()?;
        if found == expected {
            Ok(())
        } else {
            Err(WireError::Field {
                field,
                expected: u64::from(expected),
                found: u64::from(found),
            })
        }
    }

    /// A 32-bit field that must hold one value.
    pub(crate) fn expect_u32(
        &mut self,
        field: &'static str,
        expected: u32,
    ) -> Result<(), WireError> {
        let found = self.u32()?;
        if found == expected {
            Ok(())
        } else {
            Err(WireError::Field {
                field,
                expected: u64::from(expected),
                found: u64::from(found),
            })
        }
    }

    /// All that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Fails unless everything was read.
    pub(crate) fn end(self) -> Result<(), WireError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(WireError::Trailing {
                left: self.rest.len(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let bytes = Writer::new()
            .u8(1)
            .u16(2)
            .u32(3)
            .raw(&4u64.to_be_bytes())
            .sized(b"five")
            .finish()
            .unwrap();
        let mut r = Reader::new(&bytes);
        assert_eq!(
            (
                r.u8().unwrap(),
                r.u16().unwrap(),
                r.u32().unwrap(),
                r.u64().unwrap()
            ),
            (1, 2, 3, 4)
        );
        assert_eq!(r.sized().unwrap(), b"five");
        assert_eq!(r.end(), Ok(()));
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        assert_eq!(
            Reader::new(&[0, 5, 1]).sized(),
            Err(WireError::Short { wanted: 5, left: 1 })
        );
    }

    #[test]
    fn bytes_that_follow_a_value_are_refused() {
        assert_eq!(
            Reader::new(&[0]).end(),
            Err(WireError::Trailing { left: 1 })
        );
    }

    #[test]
    fn a_message_longer_than_a_tpm_takes_is_refused() {
        let long = vec![0u8; MAX_MESSAGE_BYTES];
        assert_eq!(
            Writer::new().sized(&long).finish().err(),
            Some(WireError::TooLong)
        );
    }
}
