//! What was found to be signed, so that nothing is verified twice in one run.
//!
//! In: key, message and signature, each as it arrived. Out: the answer of the verification, from memory
//! where exactly these bytes were verified before. Only what holds is remembered, and nothing that depends
//! on a time or a policy: whether a chain is valid, current or accepted is asked anew each time.
//!
//! A memory is one run's. It is given by the caller, so that it cannot outlive a change of roots: roots
//! are the first issuer of every chain, hence part of what is remembered.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

/// Most signatures that are remembered (about 6 MiB). A chain takes three; beyond it everything is verified anew.
const MAX_REMEMBERED: usize = 65_536;

/// Signatures that hold. Empty at first.
#[derive(Debug, Clone, Default)]
pub struct Chains {
    hold: BTreeSet<[u8; 32]>,
}

/// Who signed what, as bytes. Of certificates and lists the whole bytes stand here, signature and all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link<'a> {
    /// What kind of signature it is; two kinds never share an answer.
    pub(crate) kind: LinkKind,
    /// The issuer's certificate or key.
    pub(crate) issuer: &'a [u8],
    /// What is signed.
    pub(crate) subject: &'a [u8],
    /// The signature, where `subject` does not contain it.
    pub(crate) signature: &'a [u8],
}

/// What kind of signature is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkKind {
    /// A certificate that issued another, with so many issuers below.
    Certificate {
        /// Issuers below.
        below: u8,
    },
    /// A certificate that signed a revocation list.
    List,
    /// A key that signed a statement of its vendor's format.
    Statement,
}

impl Chains {
    /// A memory of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many signatures it remembers.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.hold.len()
    }

    /// Verifies, unless exactly this was verified before.
    pub(crate) fn verify<E>(
        &mut self,
        link: Link<'_>,
        verify: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let digest = link.digest();
        if self.hold.contains(&digest) {
            return Ok(());
        }
        verify()?;
        if self.hold.len() < MAX_REMEMBERED {
            self.hold.insert(digest);
        }
        Ok(())
    }
}

impl Link<'_> {
    fn digest(&self) -> [u8; 32] {
        let kind = match self.kind {
            LinkKind::Certificate { below } => [1, below],
            LinkKind::List => [2, 0],
            LinkKind::Statement => [3, 0],
        };
        let mut hash = Sha256::new().chain_update(kind);
        for part in [self.issuer, self.subject, self.signature] {
            // Each with its length, so that no byte can move from one part into another.
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            hash = hash.chain_update(length.to_be_bytes()).chain_update(part);
        }
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Link<'_> = Link {
        kind: LinkKind::Statement,
        issuer: b"key",
        subject: b"message",
        signature: b"signature",
    };

    fn asked(
        chains: &mut Chains,
        link: Link<'_>,
        answer: Result<(), ()>,
    ) -> (bool, Result<(), ()>) {
        let mut was_asked = false;
        let result = chains.verify(link, || {
            was_asked = true;
            answer
        });
        (was_asked, result)
    }

    #[test]
    fn what_holds_is_verified_once() {
        let mut chains = Chains::new();
        assert_eq!(asked(&mut chains, LINK, Ok(())), (true, Ok(())));
        assert_eq!(asked(&mut chains, LINK, Err(())), (false, Ok(())));
        assert_eq!(chains.remembered(), 1);
    }

    #[test]
    fn what_does_not_hold_is_not_remembered() {
        let mut chains = Chains::new();
        assert_eq!(asked(&mut chains, LINK, Err(())), (true, Err(())));
        assert_eq!(chains.remembered(), 0);
        assert_eq!(asked(&mut chains, LINK, Ok(())), (true, Ok(())));
    }

    #[test]
    fn what_is_beyond_65536_is_verified_each_time() {
        let mut chains = Chains::new();
        for number in 0..65_536_u32 {
            let issuer = &number.to_be_bytes();
            let link = Link { issuer, ..LINK };
            let _ = asked(&mut chains, link, Ok(()));
        }
        for _ in 0..2 {
            assert_eq!(asked(&mut chains, LINK, Ok(())), (true, Ok(())));
        }
        assert_eq!(chains.remembered(), 65_536);
    }

    #[test]
    fn another_kind_key_message_or_signature_is_another_link() {
        let others = [
            Link {
                kind: LinkKind::List,
                ..LINK
            },
            Link {
                kind: LinkKind::Certificate { below: 0 },
                ..LINK
            },
            Link {
                kind: LinkKind::Certificate { below: 1 },
                ..LINK
            },
            Link {
                issuer: b"kex",
                ..LINK
            },
            Link {
                subject: b"messagf",
                ..LINK
            },
            Link {
                signature: b"signaturf",
                ..LINK
            },
            // The same bytes in a row, cut elsewhere.
            Link {
                issuer: b"keym",
                subject: b"essage",
                ..LINK
            },
            Link {
                subject: b"messages",
                signature: b"ignature",
                ..LINK
            },
        ];
        let mut chains = Chains::new();
        let _ = asked(&mut chains, LINK, Ok(()));
        for link in others {
            assert_eq!(asked(&mut chains, link, Ok(())), (true, Ok(())), "{link:?}");
        }
        assert_eq!(chains.remembered(), 1 + others.len());
    }

    #[test]
    fn a_memory_that_is_full_still_verifies() {
        let mut chains = Chains::new();
        for number in 0..65_537_u32 {
            let subject = number.to_be_bytes();
            let link = Link {
                subject: &subject,
                ..LINK
            };
            assert_eq!(asked(&mut chains, link, Ok(())), (true, Ok(())));
        }
        assert_eq!(chains.remembered(), 65_536);
        assert_eq!(asked(&mut chains, LINK, Ok(())), (true, Ok(())));
        assert_eq!(asked(&mut chains, LINK, Err(())), (true, Err(())));
    }
}
