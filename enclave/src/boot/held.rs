//! A gateway that is held: its log is behind its counter, and only the governance key lets it go on.
//!
//! In: what the log explains and what the TPM shows. Out: a request to sign, or, once the signed
//! statement is installed, that statement. Held, the gateway answers health and export and
//! carries out no call.

use super::Opened;
use super::epoch::verified_statement;
use crate::site::StateFile;
use anyhow::{Context as _, bail};
use countersign_record::binding::LogHead;
use countersign_record::cbor::Cbor as _;
use countersign_record::statement::{RECOVER_TYP, RecoverStatement};

/// Why a gateway is held, in what it asks the governance key to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What to sign.
    pub request: RecoverStatement,
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let RecoverStatement {
            explained,
            found,
            head,
            ..
        } = &self.request;
        write!(
            f,
            "held: the log of {} entries explains counter {explained}, the TPM shows {found}; entries may be missing",
            head.size
        )
    }
}

/// The installed recover statement, if it is about this very state; otherwise the request for one.
pub(super) fn recovery(
    opened: &Opened,
    explained: u64,
    found: u64,
) -> anyhow::Result<Result<Vec<u8>, Held>> {
    let head = LogHead {
        size: opened.found.head.size,
        root: opened.found.head.root,
    };
    let request = RecoverStatement {
        gateway: opened.gateway(),
        head,
        explained,
        found,
        reason: String::new(),
        issued: opened.clock.now().at,
        witnessed: None,
    };
    if let Some(bytes) = opened.state_dir.read(StateFile::Recover)? {
        let payload = verified_statement(&bytes, RECOVER_TYP, opened.settings.governance)
            .context("recover statement")?;
        let statement =
            RecoverStatement::from_bytes(payload).context("recover statement is malformed")?;
        if concerns(&statement, &request) {
            if found < explained {
                bail!(
                    "the counter is behind the log; another TPM cannot be recovered to, enrol a new gateway"
                );
            }
            return Ok(Ok(bytes));
        }
    }
    opened
        .state_dir
        .write(StateFile::RecoverRequest, &request.to_bytes())?;
    Ok(Err(Held { request }))
}

fn concerns(statement: &RecoverStatement, request: &RecoverStatement) -> bool {
    let RecoverStatement {
        gateway,
        head,
        explained,
        found,
        reason: _,
        issued: _,
        witnessed,
    } = statement;
    (gateway, head, explained, found, witnessed)
        == (
            &request.gateway,
            &request.head,
            &request.explained,
            &request.found,
            &request.witnessed,
        )
}
