//! Whose log is exported: the gateway's own, that of a gateway whose work it continues, or that of an earlier start where each
//! start is a gateway of its own.
//!
//! In: the running gateway, and a name. Out: a [`Source`] to read from, with the checkpoint that
//! covers what it has. The log of a gateway that is gone gets no new checkpoint: after its newest
//! one come entries that governance's word alone stands for, so that word goes along. For the log of an earlier start there is no
//! such word: it ends with what its newest checkpoint covers.

use super::ExportFault;
use crate::boot::adopted::Adopted;
use crate::boot::tracing_line;
use crate::serve::Gateway;
use countersign_journal::{Archive, Reader, StoreError};
use countersign_record::cbor::Bytes;
use countersign_record::checkpoint::Checkpoint;
use countersign_record::digest::{GatewayId, PublicKey, UnixMillis};
use countersign_record::export::{ADOPT_KIND, Artifact};
use std::sync::atomic::Ordering;

/// A log that can be exported.
#[derive(Clone, Copy)]
pub struct Source<'g> {
    gateway: &'g Gateway,
    whose: Whose<'g>,
}

/// Whose log it is.
#[derive(Clone, Copy)]
enum Whose<'g> {
    /// The running gateway's.
    Own,
    /// That of a gateway whose work it continues.
    Adopted(&'g Adopted),
    /// That of an earlier start.
    Earlier(&'g Archive),
}

/// How far a log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extent {
    /// How many entries are exported.
    pub(super) end: u64,
    /// How many of them the checkpoint covers.
    pub(super) covered: u64,
    /// The newest checkpoint.
    pub(super) checkpoint: String,
}

impl<'g> Source<'g> {
    /// The log of the named gateway, or this one's own; nothing if none that is here is of that name. Not for threads that run
    /// futures.
    #[must_use]
    pub fn of(gateway: &'g Gateway, name: Option<GatewayId>) -> Option<Self> {
        let whose = match name {
            Some(name) if name != gateway.id => Whose::kept(gateway, name)?,
            Some(_) | None => Whose::Own,
        };
        Some(Self { gateway, whose })
    }

    pub(super) fn log(&self) -> &'g Reader {
        match self.whose {
            Whose::Own => &self.gateway.journal,
            Whose::Adopted(adopted) => &adopted.archive,
            Whose::Earlier(archive) => archive,
        }
    }

    pub(super) fn identity(&self) -> PublicKey {
        self.log().identity()
    }

    pub(super) fn now(&self) -> UnixMillis {
        self.gateway.clock.now().at
    }

    /// Whether the log's values can be opened at all.
    pub(super) fn has_values(&self) -> bool {
        match self.whose {
            Whose::Own => true,
            Whose::Adopted(adopted) => adopted.archive.has_values(),
            Whose::Earlier(archive) => archive.has_values(),
        }
    }

    /// Waits until no erasure is under way, and lets none begin. Not for threads that run futures.
    pub(super) fn still(&self) -> tokio::sync::MutexGuard<'g, ()> {
        self.gateway.forgetting.blocking_lock()
    }

    /// How many erasures of this log were begun so far.
    pub(super) fn erasures(&self) -> u64 {
        match self.whose {
            // Nothing of a log is erased whose gateway is gone.
            Whose::Adopted(_) | Whose::Earlier(_) => 0,
            Whose::Own => self.gateway.erasures.load(Ordering::SeqCst),
        }
    }

    /// The word by which the log was handed over.
    pub(super) fn word(&self) -> Option<Artifact> {
        match self.whose {
            Whose::Own | Whose::Earlier(_) => None,
            Whose::Adopted(adopted) => Some(Artifact {
                kind: ADOPT_KIND.to_owned(),
                bytes: Bytes(adopted.signed.clone()),
            }),
        }
    }

    fn latest(&self) -> Result<String, ExportFault> {
        let latest = self.log().latest_checkpoint()?;
        latest.ok_or(ExportFault::NoCheckpoint)
    }

    /// A new checkpoint where one can be made, otherwise the newest that there is.
    pub(super) fn extent(&self) -> Result<Extent, ExportFault> {
        let checkpoint = match (self.whose, &self.gateway.serving) {
            (Whose::Own, Some(_)) => match self.gateway.journal.checkpoint() {
                Ok(made) => made,
                // The epoch was closed, and with that came its last checkpoint.
                Err(StoreError::NoEpoch) => self.latest()?,
                Err(error) => return Err(ExportFault::Refused(error.to_string())),
            },
            (Whose::Adopted(_) | Whose::Earlier(_), _) | (Whose::Own, None) => self.latest()?,
        };
        let covered = Checkpoint::parse(checkpoint.as_bytes(), &self.identity().gateway())?
            .head()
            .size;
        let end = match self.whose {
            Whose::Adopted(adopted) => adopted.statement.head.size,
            Whose::Own | Whose::Earlier(_) => covered,
        };
        Ok(Extent {
            end,
            covered,
            checkpoint,
        })
    }
}

impl<'g> Whose<'g> {
    /// A log of another gateway that is kept here.
    fn kept(gateway: &'g Gateway, name: GatewayId) -> Option<Self> {
        if let Some(adopted) = gateway.adopted.iter().find(|a| a.predecessor == name) {
            return Some(Self::Adopted(adopted));
        }
        match gateway.earlier.as_ref()?.earlier(name) {
            Ok(archive) => archive.map(Self::Earlier),
            Err(error) => {
                tracing_line(&format!(
                    "the log of boot {name} cannot be exported: {error:#}"
                ));
                None
            }
        }
    }
}
