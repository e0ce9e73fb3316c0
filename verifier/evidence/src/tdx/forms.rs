//! Quotes as platforms hand them out: with padding.
//!
//! Intel's quoting service sizes its answer before it knows it, and kernels and clouds pass on the whole
//! buffer, so most quotes that people have end with zeros. An appraisal takes exact quotes only, for two
//! texts of one quote would have two digests; whoever reads a file takes the padding off here first.

use thiserror::Error;

use super::quote::{Body, Header};
use crate::reader::FormError;

/// Most padding that is taken off, in bytes (16 KiB). The largest seen is 3065.
pub const MAX_PADDING_BYTES: usize = 16 * 1024;

/// Why padding cannot be taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PaddingError {
    /// The quote's end is not where its lengths say.
    #[error("{0}")]
    Form(#[from] FormError),
    /// Something else than zeros follows.
    #[error("{count} bytes follow the quote, and not all are zero")]
    NotZero {
        /// How many.
        count: usize,
    },
    /// More than any platform adds.
    #[error("{count} zeros follow the quote, limit is {MAX_PADDING_BYTES}")]
    TooMuch {
        /// How many.
        count: usize,
    },
}

/// The quote without the zeros behind it. Nothing of it is verified.
///
/// # Errors
/// If it has no end, or something else follows.
pub fn without_padding(bytes: &[u8]) -> Result<&[u8], PaddingError> {
    let header = Header::parse(bytes.get(..HEAD).unwrap_or(bytes))?;
    if !matches!(header.version(), 4 | 5) {
        return Err(PaddingError::Form(FormError::Value {
            field: "version",
            found: header.version().into(),
            expected: 4,
        }));
    }
    let body = Body::parse(bytes, header.version())?;
    let at = bytes.len().saturating_sub(body.rest.len());
    let field = "signature data";
    let truncated = FormError::Truncated { field, at };
    let (length, rest) = body.rest.split_first_chunk::<4>().ok_or(truncated)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| truncated)?;
    let (_, padding) = rest.split_at_checked(length).ok_or(truncated)?;
    let count = padding.len();
    if padding.iter().any(|byte| *byte != 0) {
        return Err(PaddingError::NotZero { count });
    }
    if count > MAX_PADDING_BYTES {
        return Err(PaddingError::TooMuch { count });
    }
    let end = bytes.len().saturating_sub(count);
    Ok(bytes.get(..end).unwrap_or(bytes))
}

/// As much as the header needs: what follows has limits of its own.
const HEAD: usize = super::quote::HEADER_BYTES;
