//! The log of a gateway that is gone, kept and read by the one that continues its work.
//!
//! In: a copy of that gateway's log, and the keys of its values if somebody recovered them.
//! Out: a [`Reader`], after the same checks that a log of one's own has to pass. Nothing is
//! ever appended: there is no writer, no epoch key, and the file is opened for reading only.
//! What the gateway had announced beside its log concerns its own TPM, and is not read.

use crate::append::{Queue, Sequencing};
use crate::error::{Fault, OpenError, Refusal};
use crate::journal::{Alone, Health, Limits, Shared};
use crate::open::{Fold, Found, Scan, Whose};
use crate::read::Reader;
use crate::side::{KeyRing, Side};
use crate::store::{Lock, Paths, Readers, keep_copy, one, open_kept};
use countersign_record::binding::Binding;
use countersign_record::cbor::Cbor as _;
use countersign_record::digest::{GatewayId, PublicKey};
use countersign_record::entry::{Body, Entry};
use rusqlite::Connection;
use std::fmt;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

/// Another gateway's log, read-only.
pub struct Archive(Reader);

impl Archive {
    /// Copies the log in `from`, which nobody may have open, into the new directory `to`.
    ///
    /// # Errors
    /// If it is in use, is no log, or cannot be copied.
    pub fn copy(from: &Path, to: &Path) -> Result<(), OpenError> {
        let paths = |dir: &Path| Paths {
            dir: dir.to_owned(),
        };
        keep_copy(&paths(from), &paths(to))
    }

    /// Gives back the room that the log in `dir` kept for settlements: nobody writes to it any more.
    ///
    /// # Errors
    /// If it is in use, or the room cannot be given back.
    pub fn give_back_room(dir: &Path) -> Result<(), OpenError> {
        let paths = Paths {
            dir: dir.to_owned(),
        };
        Lock::look(&paths)?;
        match std::fs::remove_file(paths.ballast()) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(OpenError::Directory {
                dir: dir.to_owned(),
                reason: e.to_string(),
            }),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Whose log a copy says that it is.
    ///
    /// # Errors
    /// If its first entry is not the base of an epoch.
    pub fn gateway_of(dir: &Path) -> Result<GatewayId, OpenError> {
        let conn = open_kept(&Paths {
            dir: dir.to_owned(),
        })?;
        Ok(identity_of(&conn)?.gateway())
    }

    /// Opens the copy of `gateway`'s log in `dir`; `fold` gets every entry, in order.
    ///
    /// The checks are those of a log of one's own: signatures, places, hashes, roots of checkpoints.
    ///
    /// # Errors
    /// The first thing that is not as it was written. Nothing is repaired.
    pub fn open(
        dir: &Path,
        gateway: GatewayId,
        ring: KeyRing,
        fold: Fold<'_>,
    ) -> Result<(Self, Found), OpenError> {
        let paths = Paths {
            dir: dir.to_owned(),
        };
        let conn = open_kept(&paths)?;
        let identity = identity_of(&conn)?;
        let found = identity.gateway();
        if found != gateway {
            return Err(OpenError::ForeignGateway {
                expected: gateway,
                found,
            });
        }
        let side = Side::new(ring, gateway);
        let Scan {
            sequence,
            durable,
            found,
        } = crate::open::scan(&conn, identity, &side, Whose::Kept, fold)?;
        let queue = Queue {
            health: Health::Stopped(Fault::ReadOnly),
            ..Queue::default()
        };
        let shared = Arc::new(Shared {
            files: Mutex::new(None),
            sequencing: Mutex::new(Sequencing {
                sequence,
                signer: None,
            }),
            queue: Mutex::new(queue),
            to_commit: Condvar::new(),
            durable: Mutex::new(durable),
            readers: Readers::new(&paths),
            side,
            identity,
            gateway,
            limits: Limits::default(),
            alone: Alone::ByThread,
        });
        Ok((Self(Reader { shared }), found))
    }

    /// Whether its values open.
    #[must_use]
    pub fn has_values(&self) -> bool {
        self.0.shared.side.has_keys()
    }
}

impl Deref for Archive {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.0
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive")
            .field("gateway", &self.0.shared.gateway)
            .finish_non_exhaustive()
    }
}

/// The identity key that the first entry names.
fn identity_of(conn: &Connection) -> Result<PublicKey, OpenError> {
    let index = 0;
    let bytes: Option<Vec<u8>> = one(conn, "SELECT bytes FROM entry WHERE idx = ?1", 0)?;
    let bytes = bytes.ok_or(OpenError::MissingEntry { index })?;
    let entry = Entry::parse(&bytes).map_err(|source| OpenError::Entry { index, source })?;
    let refused = |refusal| OpenError::Refused { index, refusal };
    let Body::Base(base) = entry.body() else {
        return Err(refused(Refusal::NoEpoch));
    };
    let binding = Binding::from_bytes(&base.binding.0).map_err(|e| refused(e.into()))?;
    Ok(binding.identity_key)
}
