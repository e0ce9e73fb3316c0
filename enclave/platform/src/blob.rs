//! A sealed blob: what the disk keeps of a sealed secret.
//!
//! In: bytes from the operator's disk. Out: the parts that `TPM2_Load` takes, and the name of the
//! storage key, which tells another TPM's blob from an altered one. Everything in it is public.
//!
//! A blob keeps its secret secret; it does not say who made it. Anybody who can talk to the TPM
//! can seal a secret of their own under the same public policy, and put that file in place of
//! ours. Whoever reads several secrets from several blobs must tie them together, best by sealing
//! them as one.

use crate::policy::PolicyDigest;
use crate::wire::{Reader, WireError};
use sha2::{Digest as _, Sha256};

/// First bytes of a blob: format name and version.
const MAGIC: &[u8; 8] = b"CSSEAL\x00\x01";

/// Length of the label's digest that is sealed with the secret, in bytes.
pub(crate) const LABEL_TAG_BYTES: usize = 16;

/// Shortest secret sealed, in bytes: a 256-bit key.
pub const MIN_SECRET_BYTES: usize = 32;

/// Longest secret sealed, in bytes: what a TPM seals (`MAX_SYM_DATA`, 128) less the label's tag (16).
pub const MAX_SECRET_BYTES: usize = 112;

/// What a secret is for. A blob opens only under the label it was sealed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealLabel(pub &'static str);

impl SealLabel {
    /// What is sealed in front of the secret.
    pub(crate) fn tag(self) -> [u8; LABEL_TAG_BYTES] {
        let digest = Sha256::new()
            .chain_update("countersign/seal-label/v1\0")
            .chain_update(self.0)
            .finalize();
        let mut tag = [0u8; LABEL_TAG_BYTES];
        tag.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        tag
    }
}

/// A sealed secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedBlob {
    /// Name of the storage key that wraps it.
    pub(crate) storage_key: [u8; 34],
    /// `TPMT_PUBLIC`.
    pub(crate) public: Vec<u8>,
    /// `TPM2B_PRIVATE` content, encrypted by the TPM.
    pub(crate) private: Vec<u8>,
}

/// Bytes that are no sealed blob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// Another file, or a version we do not know.
    #[error("not a sealed blob of version 1")]
    NotABlob,
    /// Cut, lengthened or with an impossible length.
    #[error("sealed blob is malformed: {0}")]
    Malformed(#[from] WireError),
}

impl SealedBlob {
    /// Reads a blob; all bytes must be used.
    ///
    /// # Errors
    /// When the bytes are not a blob.
    pub fn parse(bytes: &[u8]) -> Result<Self, BlobError> {
        let mut r = Reader::new(bytes);
        if r.take(MAGIC.len()) != Ok(MAGIC) {
            return Err(BlobError::NotABlob);
        }
        let blob = Self {
            storage_key: r.array()?,
            public: r.sized()?.to_vec(),
            private: r.sized()?.to_vec(),
        };
        r.end()?;
        Ok(blob)
    }

    /// The bytes to keep on disk.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let sized = |part: &[u8]| {
            // Both parts came out of 16-bit length fields, so the length always fits.
            let length = u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes();
            [&length, part].concat()
        };
        [
            MAGIC.as_slice(),
            &self.storage_key,
            &sized(&self.public),
            &sized(&self.private),
        ]
        .concat()
    }

    /// Name of the storage key that wraps it.
    #[must_use]
    pub fn storage_key(&self) -> &[u8; 34] {
        &self.storage_key
    }

    /// Whether the public area is that of a secret sealed under this policy, and nothing else.
    pub(crate) fn has_policy(&self, policy: &PolicyDigest) -> bool {
        let template = sealed_template(policy);
        // The template ends with an empty `unique`, in whose place the TPM writes a digest.
        self.public.get(..template.len().saturating_sub(2))
            == template.get(..template.len().saturating_sub(2))
    }
}

/// `TPMT_PUBLIC` of a sealed secret: keyed hash without scheme, `fixedTPM | fixedParent |
/// adminWithPolicy | noDA` and no `userWithAuth`, so that the policy is the only way in.
pub(crate) fn sealed_template(policy: &PolicyDigest) -> Vec<u8> {
    let head = [0x00, 0x08, 0x00, 0x0B, 0x00, 0x00, 0x04, 0x92, 0x00, 0x20];
    let tail = [0x00, 0x10, 0x00, 0x00];
    [head.as_slice(), &policy.0, &tail].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob() -> SealedBlob {
        SealedBlob {
            storage_key: [7; 34],
            public: vec![1, 2, 3],
            private: vec![4, 5],
        }
    }

    #[test]
    fn a_blob_reads_back_what_it_writes() {
        assert_eq!(SealedBlob::parse(&blob().to_bytes()), Ok(blob()));
    }

    #[test]
    fn a_cut_blob_is_refused_at_every_length() {
        let bytes = blob().to_bytes();
        assert!((0..bytes.len()).all(|end| SealedBlob::parse(&bytes[..end]).is_err()));
    }

    #[test]
    fn a_lengthened_blob_is_refused() {
        let bytes = [blob().to_bytes(), vec![0]].concat();
        assert_eq!(
            SealedBlob::parse(&bytes),
            Err(BlobError::Malformed(WireError::Trailing { left: 1 }))
        );
    }
}
