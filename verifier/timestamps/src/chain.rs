//! From a signer's certificate up to a root that the caller pinned.
//!
//! In: the signer's certificate, those that came with the token, the pinned roots, a time. Out: which
//! root, or the reason of the last way that failed. A way is looked for by names first; where no name
//! leads to a pinned root, the token is somebody else's and nothing more is said of it.
//!
//! Spec: RFC 5280 6.1, without policies, name constraints (refused where critical) and revocation.

use crate::authority::Authority;
use crate::error::TimestampError;
use crate::purpose::may_issue;
use countersign_certificates::Certificate;

/// Most certificates of a way, the signer's and the root's among them.
const MAX_PATH: usize = 4;

/// Most signatures of certificates that are looked at. A plain token needs three; certificates that
/// all have one name would otherwise make a hundred ways.
const MAX_TRIES: u8 = 16;

/// Looks for a way from `signer` to a root; gives the root's place.
pub(crate) fn root_of(
    signer: &Certificate<'_>,
    given: &[Certificate<'_>],
    authorities: &[Authority],
    at: u64,
) -> Result<usize, TimestampError> {
    let roots = authorities
        .iter()
        .map(Authority::certificate)
        .collect::<Result<Vec<_>, _>>()?;
    let mut search = Search {
        given,
        roots: &roots,
        at,
        tries: 0,
    };
    search.climb(&mut vec![signer])
}

struct Search<'a> {
    given: &'a [Certificate<'a>],
    roots: &'a [Certificate<'a>],
    at: u64,
    /// Signatures that were looked at.
    tries: u8,
}

impl<'a> Search<'a> {
    /// Whether one certificate issued another, with so many issuers below it.
    fn issued(
        &mut self,
        issuer: &Certificate<'_>,
        subject: &Certificate<'_>,
        below: u64,
    ) -> Result<(), TimestampError> {
        if self.tries >= MAX_TRIES {
            return Err(TimestampError::Ways { limit: MAX_TRIES });
        }
        self.tries = self.tries.saturating_add(1);
        may_issue(issuer)?;
        issuer.valid(self.at, "an issuer's certificate")?;
        Ok(issuer.issued(subject, below)?)
    }

    /// Goes on from the last certificate of the way.
    fn climb(&mut self, path: &mut Vec<&'a Certificate<'a>>) -> Result<usize, TimestampError> {
        let mut outcome = Err(TimestampError::NobodyKnown);
        let Some(last) = path.last().copied() else {
            return outcome;
        };
        // All but the signer's own are issuers below the next.
        let below = u64::try_from(path.len().saturating_sub(1)).unwrap_or(u64::MAX);
        for (place, root) in self.roots.iter().enumerate() {
            if root.subject() == last.issuer() {
                match self.issued(root, last, below) {
                    Ok(()) => return Ok(place),
                    Err(error) => outcome = Err(error),
                }
            }
        }
        // The root has to fit too.
        if path.len().saturating_add(1) >= MAX_PATH {
            return outcome;
        }
        for issuer in self.given {
            if issuer.subject() != last.issuer() || path.iter().any(|c| c.whole() == issuer.whole())
            {
                continue;
            }
            path.push(issuer);
            let above = self.climb(path);
            path.pop();
            match above {
                Err(TimestampError::NobodyKnown) => {}
                Err(error) => outcome = Err(error),
                Ok(place) => match self.issued(issuer, last, below) {
                    Ok(()) => return Ok(place),
                    Err(error) => outcome = Err(error),
                },
            }
        }
        outcome
    }
}
