//! Whose log is exported: the gateway's own, or that of a gateway whose work it continues.
//!
//! In: the running gateway, and a name. Out: a [`Source`] to read from, with the checkpoint that
//! covers what it has. The log of a gateway that is gone gets no new checkpoint: after its newest
//! one come entries that governance's word alone stands for, so that word goes along.

use super::ExportFault;
use crate::boot::adopted::Adopted;
use crate::serve::Gateway;
use countersign_journal::{Reader, StoreError};
use countersign_record::cbor::Bytes;
use countersign_record::checkpoint::Checkpoint;
use countersign_record::digest::{GatewayId, PublicKey, UnixMillis};
use countersign_record::export::{ADOPT_KIND, Artifact};
use std::sync::atomic::Ordering;

/// A log that can be exported.
#[derive(Clone, Copy)]
pub struct Source<'g> {
    gateway: &'g Gateway,
    adopted: Option<&'g Adopted>,
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
    /// The log of the named gateway, or this one's own; nothing if neither is the gateway of that name.
    #[must_use]
    pub fn of(gateway: &'g Gateway, name: Option<GatewayId>) -> Option<Self> {
        let adopted = match name {
            Some(name) if name != gateway.id => {
                let mut all = gateway.adopted.iter();
                Some(all.find(|a| a.predecessor == name)?)
            }
            Some(_) | None => None,
        };
        Some(Self { gateway, adopted })
    }

    pub(super) fn log(&self) -> &'g Reader {
        match self.adopted {
            Some(adopted) => &adopted.archive,
            None => &self.gateway.journal,
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
        self.adopted.is_none_or(|a| a.archive.has_values())
    }

    /// Waits until no erasure is under way, and lets none begin. Not for threads that run futures.
    pub(super) fn still(&self) -> tokio::sync::MutexGuard<'g, ()> {
        self.gateway.forgetting.blocking_lock()
    }

    /// How many erasures of this log were begun so far.
    pub(super) fn erasures(&self) -> u64 {
        match self.adopted {
            // Nothing of an adopted log is erased while it is served.
            Some(_) => 0,
            None => self.gateway.erasures.load(Ordering::SeqCst),
        }
    }

    /// The word by which the log was handed over.
    pub(super) fn word(&self) -> Option<Artifact> {
        self.adopted.map(|a| Artifact {
            kind: ADOPT_KIND.to_owned(),
            bytes: Bytes(a.signed.clone()),
        })
    }

    fn latest(&self) -> Result<String, ExportFault> {
        let latest = self.log().latest_checkpoint()?;
        latest.ok_or(ExportFault::NoCheckpoint)
    }

    /// A new checkpoint where one can be made, otherwise the newest that there is.
    pub(super) fn extent(&self) -> Result<Extent, ExportFault> {
        let checkpoint = match (self.adopted, &self.gateway.serving) {
            (None, Some(_)) => match self.gateway.journal.checkpoint() {
                Ok(made) => made,
                // The epoch was closed, and with that came its last checkpoint.
                Err(StoreError::NoEpoch) => self.latest()?,
                Err(error) => return Err(ExportFault::Refused(error.to_string())),
            },
            (Some(_), _) | (None, None) => self.latest()?,
        };
        let covered = Checkpoint::parse(checkpoint.as_bytes(), &self.identity().gateway())?
            .head()
            .size;
        let end = match self.adopted {
            Some(adopted) => adopted.statement.head.size,
            None => covered,
        };
        Ok(Extent {
            end,
            covered,
            checkpoint,
        })
    }
}
