//! A gateway that is held: its log is behind its counter or its witnesses, and only the governance key lets it go on.
//!
//! In: what the log explains, what the TPM shows and what witnesses have signed. Out: a request to sign, or, once the signed
//! statement is installed, that statement. Held, the gateway answers health and export and
//! carries out no call.

use super::Opened;
use super::epoch::verified_statement;
use crate::site::StateFile;
use crate::witnesses::Conflict;
use anyhow::{Context as _, bail};
use countersign_record::binding::LogHead;
use countersign_record::cbor::Cbor as _;
use countersign_record::statement::{RECOVER_TYP, RecoverStatement};

/// Why a gateway is held, in what it asks the governance key to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What to sign.
    pub request: RecoverStatement,
    /// The witness that knows better, where it is a witness.
    pub witness: Option<Conflict>,
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let RecoverStatement {
            explained,
            found,
            head,
            ..
        } = &self.request;
        let size = head.size;
        match &self.witness {
            None => write!(
                f,
                "held: the log of {size} entries explains counter {explained}, the TPM shows {found}; entries may be missing"
            ),
            Some(Conflict {
                witness,
                size: signed,
            }) if *signed > size => write!(
                f,
                "held: the log has {size} entries, witness {witness} has cosigned {signed}; entries are missing"
            ),
            Some(Conflict {
                witness,
                size: signed,
            }) => write!(
                f,
                "held: witness {witness} has cosigned {signed} entries that the log of {size} does not continue"
            ),
        }
    }
}

/// What stands between the log and an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Doubt {
    /// The counter that the log explains.
    pub(super) explained: u64,
    /// The counter that the TPM shows.
    pub(super) found: u64,
    /// A witness that knows what the disk does not.
    pub(super) witness: Option<Conflict>,
}

/// The installed recover statement, if it is about this very state; otherwise the request for one.
pub(super) fn recovery(opened: &Opened, doubt: Doubt) -> anyhow::Result<Result<Vec<u8>, Held>> {
    let Doubt {
        explained,
        found,
        witness,
    } = doubt;
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
        witnessed: witness.as_ref().map(|w| w.size),
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
    Ok(Err(Held { request, witness }))
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
