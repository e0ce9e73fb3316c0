//! A bounded cursor over bytes from outside.
//!
//! Nothing here allocates by a length that was read; a length is only ever used to cut the input.

use thiserror::Error;

/// Why bytes do not have the form that is expected of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FormError {
    /// The bytes end inside a field.
    #[error("bytes end inside {field}, which starts at byte {at}")]
    Truncated {
        /// Name of the field in its specification.
        field: &'static str,
        /// Where it starts, from 0.
        at: usize,
    },
    /// Bytes are left after the last field.
    #[error("{count} bytes are left after the last field")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// A field has a value that it must not have here.
    #[error("{field} is {found:#x}, expected {expected:#x}")]
    Value {
        /// Name of the field.
        field: &'static str,
        /// What stands there.
        found: u64,
        /// What should stand there.
        expected: u64,
    },
    /// A length or count is over its limit.
    #[error("{field} is {found}, limit is {limit}")]
    TooLarge {
        /// Name of the field.
        field: &'static str,
        /// What stands there.
        found: u64,
        /// The limit.
        limit: u64,
    },
}

/// Reads fields in order.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn take(
        &mut self,
        count: usize,
        field: &'static str,
    ) -> Result<&'a [u8], FormError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(FormError::Truncated { field, at: self.at })?;
        self.rest = rest;
        self.at = self.at.saturating_add(count);
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], FormError> {
        let at = self.at;
        self.take(N, field)?
            .try_into()
            .map_err(|_| FormError::Truncated { field, at })
    }

    pub(crate) fn array_ref<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<&'a [u8; N], FormError> {
        let at = self.at;
        self.take(N, field)?
            .try_into()
            .map_err(|_| FormError::Truncated { field, at })
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, FormError> {
        self.array(field).map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, FormError> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, FormError> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, FormError> {
        self.array(field).map(u64::from_be_bytes)
    }

    pub(crate) fn u16_le(&mut self, field: &'static str) -> Result<u16, FormError> {
        self.array(field).map(u16::from_le_bytes)
    }

    pub(crate) fn u32_le(&mut self, field: &'static str) -> Result<u32, FormError> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(crate) fn u64_le(&mut self, field: &'static str) -> Result<u64, FormError> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// A `TPM2B`: two bytes of length, then that many bytes, at most `limit`.
    pub(crate) fn sized(&mut self, limit: u16, field: &'static str) -> Result<&'a [u8], FormError> {
        let length = self.u16(field)?;
        if length > limit {
            return Err(FormError::TooLarge {
                field,
                found: length.into(),
                limit: limit.into(),
            });
        }
        self.take(length.into(), field)
    }

    /// Two bytes that can only be `expected`.
    pub(crate) fn expect_u16(
        &mut self,
        expected: u16,
        field: &'static str,
    ) -> Result<(), FormError> {
        let found = self.u16(field)?;
        expect(field, found.into(), expected.into())
    }

    /// Four bytes that can only be `expected`.
    pub(crate) fn expect_u32(
        &mut self,
        expected: u32,
        field: &'static str,
    ) -> Result<(), FormError> {
        let found = self.u32(field)?;
        expect(field, found.into(), expected.into())
    }

    /// Four bytes, little-endian, that can only be `expected`.
    pub(crate) fn expect_u32_le(
        &mut self,
        expected: u32,
        field: &'static str,
    ) -> Result<(), FormError> {
        let found = self.u32_le(field)?;
        expect(field, found.into(), expected.into())
    }

    pub(crate) fn end(&self) -> Result<(), FormError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(FormError::Trailing {
                count: self.rest.len(),
            })
        }
    }
}

pub(crate) fn expect(field: &'static str, found: u64, expected: u64) -> Result<(), FormError> {
    if found == expected {
        Ok(())
    } else {
        Err(FormError::Value {
            field,
            found,
            expected,
        })
    }
}
