//! From when to when something of a vendor's says of itself that it holds, and what a paravisor says of its TPM:
//! for whoever looks after a machine. Nothing is verified here; verdicts come from [`super::judge`].
//!
//! In: a [`Piece`], or a paravisor's report. Out: a [`Window`], or what stands there.

use super::pieces::Piece;
use countersign_certificates::{Certificate, Crl};
use countersign_evidence::azure::{ClaimsError, ParavisorReport, ReportError, RuntimeClaims};
use countersign_record::digest::UnixMillis;
use countersign_record::time;
use serde_json::Value;
use thiserror::Error;

/// From when to when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Not before.
    pub from: UnixMillis,
    /// Not after; of lists and of Intel's answers, when the next one is due.
    pub until: UnixMillis,
}

/// The window of a certificate, a revocation list or an answer of Intel's service; nothing for what has none.
#[must_use]
pub fn window(piece: &Piece) -> Option<Window> {
    match piece {
        Piece::Certificate(der) => {
            let validity = Certificate::parse(der).ok()?.validity();
            Some(Window {
                from: UnixMillis(validity.from),
                until: UnixMillis(validity.until),
            })
        }
        Piece::Crl(der) => {
            let list = Crl::parse(der).ok()?;
            Some(Window {
                from: UnixMillis(list.this_update()),
                until: UnixMillis(list.next_update()),
            })
        }
        Piece::TcbInfo(json) => of_answer(json, "tcbInfo"),
        Piece::QeIdentity(json) => of_answer(json, "enclaveIdentity"),
        Piece::SnpReport(_)
        | Piece::TdxQuote(_)
        | Piece::Paravisor(_)
        | Piece::Collateral(_)
        | Piece::Quote(_)
        | Piece::Signature(_)
        | Piece::RawSignature(_)
        | Piece::Registers(_)
        | Piece::TpmPublic(_)
        | Piece::Spki(_)
        | Piece::EventLog(_) => None,
    }
}

fn of_answer(json: &[u8], member: &str) -> Option<Window> {
    let answer: Value = serde_json::from_slice(json).ok()?;
    let inside = answer.get(member)?;
    let at = |name: &str| time::parse(inside.get(name)?.as_str()?);
    Some(Window {
        from: at("issueDate")?,
        until: at("nextUpdate")?,
    })
}

/// Why a paravisor's report says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnreadableReport {
    /// It is no report that is known.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// What it says of the machine cannot be read.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
}

/// Whether the TPM's state outlives the machine's next start, as Azure's paravisor says; nothing where it does not say.
///
/// # Errors
/// If the report cannot be read.
pub fn tpm_persisted(report: &[u8]) -> Result<Option<bool>, UnreadableReport> {
    let report = ParavisorReport::parse(report)?;
    let claims = RuntimeClaims::parse(report.claims())?;
    Ok(claims.configuration.tpm_persisted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bare::pieces;
    use std::fs;
    use std::path::Path;

    fn vector(name: &str) -> Vec<u8> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("evidence/vectors");
        fs::read(path.join(name)).unwrap()
    }

    #[test]
    fn a_window_is_what_the_vendor_wrote() {
        let root = pieces(&vector("snp/roots/milan-ark.der")).unwrap();
        let window_of_root = window(&root[0]).unwrap();
        assert_eq!(time::format(window_of_root.from), "2020-10-22 17:23:05Z");
        assert_eq!(time::format(window_of_root.until), "2045-10-22 17:23:05Z");
        let answer = br#"{"tcbInfo":{"issueDate":"2024-01-02T03:04:05Z","nextUpdate":"2024-02-01T03:04:05Z"}}"#;
        let found = window(&Piece::TcbInfo(answer.to_vec())).unwrap();
        assert_eq!(time::format(found.until), "2024-02-01 03:04:05Z");
        assert_eq!(window(&Piece::QeIdentity(answer.to_vec())), None);
        assert_eq!(window(&Piece::Spki(Vec::new())), None);
    }
}
