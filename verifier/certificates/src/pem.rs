//! Certificates and lists as people keep them: PEM (RFC 7468), strictly.
//!
//! In: text. Out: the DER of each block, in order. White space may stand between blocks and at ends of
//! lines; any other text outside of blocks, another label, or digits that are not Base64 refuse all of it,
//! for whoever passes over what it does not understand can be made to pass over anything.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use thiserror::Error;

/// Label of a certificate.
pub const CERTIFICATE: &str = "CERTIFICATE";
/// Label of a revocation list.
pub const CRL: &str = "X509 CRL";

/// Most blocks of one text.
pub const MAX_BLOCKS: usize = 16;

/// White space, and no other character that Unicode counts as such: fewer texts mean the same.
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// Why a text is not a row of blocks.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PemError {
    /// Something else stands where a block should begin or end.
    #[error("block {number} does not begin and end with the lines of a {label}")]
    Boundary {
        /// Which block, from 1.
        number: usize,
        /// What was expected.
        label: &'static str,
    },
    /// Its digits are not Base64.
    #[error("block {number} is not base64")]
    Base64 {
        /// Which block, from 1.
        number: usize,
    },
    /// More blocks than are looked at.
    #[error("more than {MAX_BLOCKS} blocks")]
    Blocks,
}

/// The DER of each block with that label; none for an empty text.
///
/// # Errors
/// Why the text is no row of such blocks.
pub fn blocks(text: &str, label: &'static str) -> Result<Vec<Vec<u8>>, PemError> {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let mut out = Vec::new();
    // Some collateral ends with a zero byte, as a C program left it.
    let mut rest = text.trim_end_matches('\0').trim_matches(SPACE);
    while !rest.is_empty() {
        let number = out.len().saturating_add(1);
        if number > MAX_BLOCKS {
            return Err(PemError::Blocks);
        }
        let boundary = PemError::Boundary { number, label };
        let after = rest.strip_prefix(&begin).ok_or(boundary.clone())?;
        let (body, after) = after.split_once(&end).ok_or(boundary)?;
        let digits: String = body.split(SPACE).collect();
        let der = STANDARD
            .decode(digits)
            .map_err(|_| PemError::Base64 { number })?;
        out.push(der);
        rest = after.trim_start_matches(SPACE);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";

    #[test]
    fn blocks_come_in_order() {
        let text = format!("{ONE}\n{}", ONE.replace("AQID", "BAUG"));
        assert_eq!(
            blocks(&text, CERTIFICATE),
            Ok(vec![vec![1, 2, 3], vec![4, 5, 6]])
        );
        assert_eq!(blocks(" \n", CERTIFICATE), Ok(vec![]));
    }

    #[test]
    fn anything_beside_the_blocks_is_refused() {
        let boundary = |number| {
            Err(PemError::Boundary {
                number,
                label: CERTIFICATE,
            })
        };
        assert_eq!(blocks(&format!("x{ONE}"), CERTIFICATE), boundary(1));
        assert_eq!(blocks(&format!("{ONE}x"), CERTIFICATE), boundary(2));
        assert_eq!(
            blocks("-----BEGIN CERTIFICATE-----\nAQID", CERTIFICATE),
            boundary(1)
        );
        assert_eq!(blocks(&format!("{ONE}\u{b}"), CERTIFICATE), boundary(2));
        assert_eq!(blocks(&format!("\u{a0}{ONE}"), CERTIFICATE), boundary(1));
        assert!(blocks(&ONE.replace("AQID\n", "AQID\u{c}"), CERTIFICATE).is_err());
        assert!(blocks(ONE, CRL).is_err());
        let wrong = ONE.replace("AQID", "AQI!");
        assert_eq!(
            blocks(&wrong, CERTIFICATE),
            Err(PemError::Base64 { number: 1 })
        );
    }

    #[test]
    fn more_blocks_than_a_chain_has_are_refused() {
        assert_eq!(
            blocks(&ONE.repeat(MAX_BLOCKS + 1), CERTIFICATE),
            Err(PemError::Blocks)
        );
        assert!(blocks(&ONE.repeat(MAX_BLOCKS), CERTIFICATE).is_ok());
    }
}
