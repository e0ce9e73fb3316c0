//! What vendors say today, as the auditor fetched it: for the appraisal of old evidence at the verifier's own time.
//!
//! In: files, by content: AMD's and Intel's revocation lists, Intel's TCB information and identity of the quoting
//! enclave, with the certificates of who signed them. Out: for a piece of evidence, what of it is about the same
//! platform. Nothing is verified here: whoever appraises does that. Lists that came with an export are the
//! exporter's choice, and cannot say what became known later; these are the auditor's.

use crate::bare::{Piece, Vendor, armour, pieces, vendor};
use countersign_certificates::{Certificate, Crl, pem};
use countersign_evidence::tdx::{Collateral, CollateralError, PcsAnswers};
use thiserror::Error;

/// Lists and collateral of today.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Today {
    /// Revocation lists, DER.
    lists: Vec<Vec<u8>>,
    /// Answers of Intel's service.
    tcb_infos: Vec<Vec<u8>>,
    /// The same.
    qe_identity: Option<Vec<u8>>,
    /// Certificate of who signed both, PEM.
    signer: Option<String>,
    /// Certificate of who issued that, PEM.
    root: Option<String>,
}

/// Why a file is nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TodayError {
    /// It cannot be read.
    #[error("{0}")]
    Unread(String),
    /// It holds something else.
    #[error(
        "{what} says nothing of today: revocation lists of AMD and Intel, TCB information and the identity of the quoting enclave do"
    )]
    Other {
        /// What.
        what: &'static str,
    },
    /// There can be one only.
    #[error("there are two identities of the quoting enclave")]
    Twice,
}

/// Whether what an auditor gave is about the platform of a piece of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Newer {
    /// Nothing was given.
    NotGiven,
    /// None of it is about this platform.
    Elsewhere,
    /// Some of it is.
    Used,
}

impl Today {
    /// Takes what a file holds.
    ///
    /// # Errors
    /// If it is nothing that vendors publish anew.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), TodayError> {
        for piece in pieces(bytes).map_err(|e| TodayError::Unread(e.to_string()))? {
            self.keep(piece)?;
        }
        Ok(())
    }

    fn keep(&mut self, piece: Piece) -> Result<(), TodayError> {
        let what = piece.what();
        match vendor(&piece) {
            Some(Vendor::AmdCrl | Vendor::IntelPckCrl | Vendor::IntelRootCrl) => {
                self.lists.push(piece.into_bytes());
            }
            Some(Vendor::IntelTcbInfo) => self.tcb_infos.push(piece.into_bytes()),
            Some(Vendor::IntelQeIdentity) => {
                if self.qe_identity.replace(piece.into_bytes()).is_some() {
                    return Err(TodayError::Twice);
                }
            }
            // Both answers come with the same two certificates.
            Some(Vendor::IntelSigner) => self.signer = Some(armour(&piece.into_bytes())),
            Some(Vendor::IntelRoot) => self.root = Some(armour(&piece.into_bytes())),
            Some(Vendor::AmdVek | Vendor::AmdIssuer | Vendor::AmdRoot) | None => {
                return Err(TodayError::Other { what });
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.tcb_infos.is_empty() && self.qe_identity.is_none()
    }

    /// The newest list of that issuer (`Name` in DER).
    fn list_of(&self, issuer: &[u8]) -> Option<&[u8]> {
        let parsed = self.lists.iter().filter_map(|der| {
            let list = Crl::parse(der).ok()?;
            (list.issuer() == issuer).then(|| (list.this_update(), der.as_slice()))
        });
        parsed.max_by_key(|(made, _)| *made).map(|(_, der)| der)
    }

    /// The newest list of the issuer of this one, which came as DER or PEM.
    fn list_like(&self, came: &[u8]) -> Option<&[u8]> {
        let text = std::str::from_utf8(came).ok();
        let mut blocks = text
            .and_then(|text| pem::blocks(text, pem::CRL).ok())
            .unwrap_or_default();
        let der = blocks.pop().unwrap_or_else(|| came.to_vec());
        self.list_of(Crl::parse(&der).ok()?.issuer())
    }

    /// AMD's list for evidence under this root, in the place of the one that came.
    pub(crate) fn amd<'a>(
        &'a self,
        root: &[u8],
        came: Option<&'a [u8]>,
    ) -> (Option<&'a [u8]>, Newer) {
        let root = Certificate::parse(root).ok();
        match root.and_then(|root| self.list_of(root.subject())) {
            Some(list) => (Some(list), Newer::Used),
            None if self.is_empty() => (came, Newer::NotGiven),
            None => (came, Newer::Elsewhere),
        }
    }

    /// Intel's collateral for evidence with what came, each part in the place of the one that came.
    pub(crate) fn intel(
        &self,
        came: PcsAnswers<'_>,
    ) -> Result<(Collateral, Newer), CollateralError> {
        let platform = Collateral::from_pcs(came)?.fmspc();
        let mut with = came;
        let chain = self.signer.as_ref().zip(self.root.as_ref());
        let chain = chain.map(|(signer, root)| format!("{signer}{root}"));
        let same_platform = |answer: &&Vec<u8>| {
            let candidate = Collateral::from_pcs(PcsAnswers {
                tcb_info: answer,
                ..came
            });
            platform.is_some() && candidate.is_ok_and(|it| it.fmspc() == platform)
        };
        let mut newer = false;
        if let Some(info) = self.tcb_infos.iter().rfind(same_platform) {
            with.tcb_info = info;
            with.tcb_info_chain = chain.as_ref().map_or(came.tcb_info_chain, String::as_bytes);
            newer = true;
        }
        if let Some(identity) = &self.qe_identity {
            with.qe_identity = identity;
            with.qe_identity_chain = chain
                .as_ref()
                .map_or(came.qe_identity_chain, String::as_bytes);
            newer = true;
        }
        for list in [&mut with.pck_crl, &mut with.root_crl] {
            if let Some(mine) = self.list_like(list) {
                *list = mine;
                newer = true;
            }
        }
        let newer = match newer {
            true => Newer::Used,
            false if self.is_empty() => Newer::NotGiven,
            false => Newer::Elsewhere,
        };
        Ok((Collateral::from_pcs(with)?, newer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_vendor_publishes_anew_is_refused_by_name() {
        let root = include_bytes!("../../measurements/roots/intel/sgx-root-ca.der");
        let mut today = Today::default();
        assert_eq!(today.take(root), Ok(()));
        assert!(today.is_empty(), "a root alone says nothing of today");
        let report = [&[2, 0, 0, 0][..], &[0; 1180]].concat();
        assert_eq!(
            today.take(&report),
            Err(TodayError::Other {
                what: "SEV-SNP report"
            })
        );
        assert!(matches!(today.take(b"x"), Err(TodayError::Unread(_))));
    }

    #[test]
    fn of_two_identities_neither_is_chosen() {
        let mut today = Today::default();
        let answer = br#"{"enclaveIdentity":{},"signature":"00"}"#;
        assert_eq!(today.take(answer), Ok(()));
        assert_eq!(today.take(answer), Err(TodayError::Twice));
    }
}
