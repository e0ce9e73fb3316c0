//! Static bearer tokens of callers at assurance 0, hashed at rest.
//!
//! In: the token that a request carries. Out: success, or why not. A site stores [`TokenHash`]es
//! only; whoever reads them cannot act as a caller. A plain hash is enough because a token is
//! random, of at least 128 bits: there is nothing to guess, so nothing to slow down.
//!
//! A token says that the sender knows it, nothing about the request that carries it. That is why
//! it counts as assurance 0 ([`crate::http`] is assurance 3).

use core::hint::black_box;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// Shortest accepted token, in characters.
///
/// 128 random bits need 32 hexadecimal digits; in base64 they would need 22, but a bound that
/// admits those admits 22 hexadecimal digits (88 bits) too.
pub const MIN_TOKEN_CHARS: usize = 32;

/// Longest accepted token, in characters; bounds what a stranger can have hashed.
pub const MAX_TOKEN_CHARS: usize = 512;

/// SHA-256 of `"countersign/token/v1"` followed by the token.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

/// Why a token is refused. Never says anything of the token but its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Too few characters to hold 128 random bits.
    #[error("token has {chars} characters, at least {MIN_TOKEN_CHARS} are needed")]
    TooShort {
        /// Its length.
        chars: usize,
    },
    /// Longer than any token.
    #[error("token has {chars} characters, at most {MAX_TOKEN_CHARS} are accepted")]
    TooLong {
        /// Its length.
        chars: usize,
    },
    /// A character that is not visible ASCII: a space, a line end, a letter that looks like another.
    #[error("token has a character that is not visible ascii")]
    BadCharacter,
    /// Not the token of this hash.
    #[error("token is not the one that is known")]
    Mismatch,
}

impl TokenHash {
    /// Hashes a token.
    pub fn of(token: &str) -> Result<Self, TokenError> {
        let chars = token.chars().count();
        if chars < MIN_TOKEN_CHARS {
            return Err(TokenError::TooShort { chars });
        }
        if chars > MAX_TOKEN_CHARS {
            return Err(TokenError::TooLong { chars });
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::BadCharacter);
        }
        Ok(Self(
            Sha256::new()
                .chain_update(TOKEN_DOMAIN)
                .chain_update(token)
                .finalize()
                .into(),
        ))
    }

    /// A hash as a site stores it.
    #[must_use]
    pub fn from_stored(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The bytes to store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Checks a presented token, in a time that does not depend on where it differs.
    pub fn verify(&self, presented: &str) -> Result<(), TokenError> {
        if Self::of(presented)? == *self {
            Ok(())
        } else {
            Err(TokenError::Mismatch)
        }
    }
}

/// Compares all bytes, whatever the first ones say.
impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        let difference = self
            .0
            .iter()
            .zip(&other.0)
            .fold(0_u8, |difference, (ours, theirs)| {
                black_box(difference | (ours ^ theirs))
            });
        black_box(difference) == 0
    }
}

impl Eq for TokenHash {}

impl core::fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

const TOKEN_DOMAIN: &[u8] = b"countersign/token/v1";

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn the_token_itself_is_accepted() {
        assert_eq!(TokenHash::of(TOKEN).unwrap().verify(TOKEN), Ok(()));
    }

    #[test]
    fn the_hash_is_the_written_one() {
        let expected = Sha256::digest(b"countersign/token/v10123456789abcdef0123456789abcdef");
        assert_eq!(
            TokenHash::of(TOKEN).unwrap().as_bytes(),
            &<[u8; 32]>::from(expected)
        );
    }

    #[test]
    fn another_token_is_refused() {
        let other = "1123456789abcdef0123456789abcdef";
        assert_eq!(
            TokenHash::of(TOKEN).unwrap().verify(other),
            Err(TokenError::Mismatch)
        );
    }

    #[test]
    fn hashes_that_differ_in_any_one_byte_are_not_equal() {
        let hash = TokenHash::of(TOKEN).unwrap();
        for position in 0..32 {
            let mut bytes = *hash.as_bytes();
            bytes[position] ^= 0x40;
            assert_ne!(hash, TokenHash::from_stored(bytes), "byte {position}");
        }
    }

    #[test]
    fn hashes_that_differ_in_two_bytes_alike_are_not_equal() {
        let hash = TokenHash::of(TOKEN).unwrap();
        let mut bytes = *hash.as_bytes();
        bytes[3] ^= 0x40;
        bytes[20] ^= 0x40;
        assert_ne!(hash, TokenHash::from_stored(bytes));
    }

    #[test]
    fn a_token_of_512_characters_is_accepted() {
        let longest = "a".repeat(512);
        assert_eq!(TokenHash::of(&longest).unwrap().verify(&longest), Ok(()));
    }

    #[test]
    fn a_token_of_31_characters_is_refused() {
        assert_eq!(
            TokenHash::of(&TOKEN[..31]),
            Err(TokenError::TooShort { chars: 31 })
        );
    }

    #[test]
    fn a_token_of_513_characters_is_refused() {
        assert_eq!(
            TokenHash::of(&"a".repeat(513)),
            Err(TokenError::TooLong { chars: 513 })
        );
    }

    #[test]
    fn a_token_with_a_look_alike_letter_is_refused() {
        let text = TOKEN.replace('a', "а");
        assert_eq!(TokenHash::of(&text), Err(TokenError::BadCharacter));
    }

    #[test]
    fn debug_output_shows_nothing_of_the_token_or_its_hash() {
        assert_eq!(
            format!("{:?}", TokenHash::of(TOKEN).unwrap()),
            "TokenHash(…)"
        );
    }
}
