//! Signature lists of Secure Boot: the contents of PK, KEK, db and dbx, entry by entry.
//!
//! In: contents of a variable, which [`super::Components`] takes from hashed events alone. Out: entries,
//! each a certificate, a hash, or of a kind that is not looked at here.
//!
//! Source: UEFI 2.10, 32.4.1 (`EFI_SIGNATURE_LIST`): type 16, size of the list 4, of its header 4, of an
//! entry 4, header, entries of an owner 16 and data.

use thiserror::Error;

use crate::reader::{FormError, Reader};

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignatureEntry<'a> {
    /// What it is.
    pub kind: SignatureKind,
    /// Who put it there, as it stands in memory.
    pub owner: [u8; 16],
    /// Certificate in DER, or hash.
    pub data: &'a [u8],
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureKind {
    /// A certificate.
    X509,
    /// A hash by Authenticode, SHA-256.
    Sha256,
    /// Another type, by its identifier as it stands in memory.
    Other([u8; 16]),
}

/// Why contents are no signature lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SignatureListError {
    /// A field is malformed.
    #[error("signature list: {0}")]
    Form(#[from] FormError),
    /// Sizes that do not fit each other.
    #[error("signature list of {list} bytes has a header of {header} and entries of {entry}")]
    Sizes {
        /// Of the list.
        list: u32,
        /// Of its header.
        header: u32,
        /// Of an entry.
        entry: u32,
    },
}

/// All entries of all lists, all of the bytes. No list is no entry.
pub fn signature_entries(contents: &[u8]) -> Result<Vec<SignatureEntry<'_>>, SignatureListError> {
    let mut reader = Reader::new(contents);
    let mut entries = Vec::new();
    while !reader.rest().is_empty() {
        let kind = match reader.array("SignatureType")? {
            X509 => SignatureKind::X509,
            SHA256 => SignatureKind::Sha256,
            other => SignatureKind::Other(other),
        };
        let list = reader.u32_le("SignatureListSize")?;
        let header = reader.u32_le("SignatureHeaderSize")?;
        let entry = reader.u32_le("SignatureSize")?;
        let wrong = SignatureListError::Sizes {
            list,
            header,
            entry,
        };
        let size = |value| usize::try_from(value).map_err(|_| wrong);
        let fixed = if kind == SignatureKind::Sha256 {
            Some(SHA256_ENTRY_BYTES)
        } else {
            None
        };
        if entry <= OWNER_BYTES || fixed.is_some_and(|bytes| bytes != entry) {
            return Err(wrong);
        }
        let body = list
            .checked_sub(LIST_HEAD_BYTES)
            .and_then(|rest| rest.checked_sub(header))
            .ok_or(wrong)?;
        reader.take(size(header)?, "SignatureHeader")?;
        let body = reader.take(size(body)?, "Signatures")?;
        let mut chunks = body.chunks_exact(size(entry)?);
        for chunk in &mut chunks {
            let mut chunk = Reader::new(chunk);
            entries.push(SignatureEntry {
                kind,
                owner: chunk.array("SignatureOwner")?,
                data: chunk.rest(),
            });
        }
        if !chunks.remainder().is_empty() {
            return Err(wrong);
        }
    }
    Ok(entries)
}

/// Type and three sizes.
const LIST_HEAD_BYTES: u32 = 28;

/// The owner in front of each entry.
const OWNER_BYTES: u32 = 16;

/// An owner and a hash of 32 bytes.
const SHA256_ENTRY_BYTES: u32 = 48;

/// `EFI_CERT_X509_GUID`, a5c059a1-94e4-4aa7-87b5-ab155c2bf072.
const X509: [u8; 16] = [
    0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72,
];

/// `EFI_CERT_SHA256_GUID`, c1c41626-504c-4092-aca9-41f936934328.
const SHA256: [u8; 16] = [
    0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn list(kind: [u8; 16], sizes: [u32; 3], body: &[u8]) -> Vec<u8> {
        let sizes = sizes.map(u32::to_le_bytes).concat();
        [kind.as_slice(), &sizes, body].concat()
    }

    #[test]
    fn entries_of_several_lists_are_read_in_order() {
        let two = [[1; 48], [2; 48]].concat();
        let lists = [
            list(SHA256, [28 + 96, 0, 48], &two),
            list(X509, [28 + 4 + 20, 4, 20], &[7; 24]),
            list([9; 16], [28 + 17, 0, 17], &[8; 17]),
        ];
        let bytes = lists.concat();
        let entries = signature_entries(&bytes).unwrap();
        let kinds: Vec<_> = entries.iter().map(|it| it.kind).collect();
        let other = SignatureKind::Other([9; 16]);
        let sha256 = SignatureKind::Sha256;
        assert_eq!(kinds, [sha256, sha256, SignatureKind::X509, other]);
        assert_eq!((entries[1].owner, entries[1].data), ([2; 16], &[2; 32][..]));
        assert_eq!(entries[2].data, [7; 4]);
        assert_eq!(signature_entries(&[]), Ok(vec![]));
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        for (kind, sizes, body) in [
            (X509, [27, 0, 20], vec![]),
            (X509, [28 + 20, 21, 20], vec![0; 20]),
            (X509, [28 + 20, 0, 16], vec![0; 20]),
            (X509, [28 + 20, 0, 0], vec![0; 20]),
            (X509, [28 + 21, 0, 20], vec![0; 21]),
            (SHA256, [28 + 49, 0, 49], vec![0; 49]),
        ] {
            assert!(matches!(
                signature_entries(&list(kind, sizes, &body)),
                Err(SignatureListError::Sizes { .. })
            ));
        }
    }

    #[test]
    fn a_cut_list_is_refused_at_every_length() {
        let whole = list(SHA256, [28 + 48, 0, 48], &[1; 48]);
        for length in 1..whole.len() {
            assert!(
                signature_entries(&whole[..length]).is_err(),
                "{length} bytes"
            );
        }
    }
}
