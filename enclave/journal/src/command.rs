//! What the database takes besides entries: checkpoints and what others put under them, announcements, artifacts,
//! secrets of subjects.
//!
//! In: a [`Command`]. Out: its reply, once what it asks for is durable. The journal's thread carries them out, between flushes.

use crate::commit::Committer;
use crate::erase::{SubjectName, wrap_rows, wrap_some};
use crate::error::{Fault, StoreError};
use crate::journal::{EpochSigner, Health, Shared, locked};
use crate::store::sql;
use countersign_record::checkpoint::{epoch_name, note_text, origin, signature_line};
use countersign_record::digest::{ArtifactDigest, Signature};
use countersign_record::merkle::Head;
use ed25519_dalek::{Signer as _, VerifyingKey};
use rusqlite::{Connection, params};
use std::sync::mpsc::SyncSender;

/// Something for the writer besides entries.
pub(crate) enum Command {
    /// Make a checkpoint.
    Checkpoint(Keep, SyncSender<Result<String, StoreError>>),
    /// Put a witness's line under a checkpoint.
    Cosigned(Cosigned, SyncSender<Result<(), StoreError>>),
    /// Keep an outside clock's token over a checkpoint.
    Stamped(Stamp, SyncSender<Result<(), StoreError>>),
    /// Store a row that precedes an entry.
    Pending {
        kind: i64,
        sealed: Vec<u8>,
        reply: SyncSender<Result<(), StoreError>>,
    },
    /// Store an artifact.
    Artifact {
        digest: ArtifactDigest,
        kind: String,
        bytes: Vec<u8>,
        reply: SyncSender<Result<(), StoreError>>,
    },
    /// Keep a subject's secret, if there is none under that name.
    Subject {
        name: SubjectName,
        sealed: Vec<u8>,
        reply: SyncSender<Result<(), StoreError>>,
    },
    /// Destroy a subject's secret.
    Forget {
        name: SubjectName,
        reply: SyncSender<Result<(), StoreError>>,
    },
    /// Wrap data keys of a few rows anew.
    WrapSome {
        after: i64,
        reply: SyncSender<Result<Option<i64>, StoreError>>,
    },
    /// Wrap data keys of the rows anew that belong to no entry.
    WrapRows(SyncSender<Result<(), StoreError>>),
    /// Try to write again after a fault.
    Resume(SyncSender<Result<(), StoreError>>),
    /// Break something.
    #[cfg(test)]
    Sql(&'static str, SyncSender<Result<(), StoreError>>),
}

impl Command {
    /// Answers a command that will not be carried out.
    pub(crate) fn refuse(self, fault: Fault) {
        let error = StoreError::Store(fault);
        // Whoever asked may have gone away.
        match self {
            Self::Checkpoint(_, reply) => drop(reply.send(Err(error))),
            Self::WrapSome { reply, .. } => drop(reply.send(Err(error))),
            Self::Pending { reply, .. }
            | Self::Artifact { reply, .. }
            | Self::Cosigned(_, reply)
            | Self::Stamped(_, reply)
            | Self::Subject { reply, .. }
            | Self::Forget { reply, .. }
            | Self::WrapRows(reply)
            | Self::Resume(reply) => {
                drop(reply.send(Err(error)));
            }
            #[cfg(test)]
            Self::Sql(_, reply) => drop(reply.send(Err(error))),
        }
    }
}

/// How long a checkpoint stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// For good.
    Always,
    /// Until the next one; with a witness's line, until [`COSIGNED_KEPT`] newer ones have one.
    UntilNext,
}

/// A witness's line, and the checkpoint that it belongs under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosigned {
    /// Size of the checkpoint.
    pub size: u64,
    /// The checkpoint as it was submitted.
    pub note: String,
    /// The line, whose signature holds.
    pub line: String,
    /// How long it stays.
    pub keep: Keep,
}

/// An outside clock's token, and the checkpoint that it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Size of the checkpoint.
    pub size: u64,
    /// The checkpoint as it was when it was shown.
    pub note: String,
    /// Whose clock.
    pub authority: String,
    /// The token as it arrived, which holds.
    pub token: Vec<u8>,
}

/// Checkpoints with lines of witnesses that stay although nothing asks for it: so many witnesses may be behind one another.
const COSIGNED_KEPT: i64 = 16;

/// Longest checkpoint that another line is put under, in bytes. A reader takes twice as much.
const MAX_COSIGNED_BYTES: usize = countersign_record::checkpoint::MAX_CHECKPOINT_BYTES / 2;

/// Column `kept`: until the next, for good, or until enough newer ones have lines of witnesses.
const UNTIL_NEXT: i64 = 0;
const FOR_GOOD: i64 = 1;
const WHILE_NEWEST: i64 = 2;

impl Committer<'_> {
    pub(crate) fn obey(&self, command: Command) {
        // Whoever asked may have gone away.
        match command {
            Command::Checkpoint(keep, reply) => drop(reply.send(self.checkpoint(keep))),
            Command::Cosigned(cosigned, reply) => drop(reply.send(self.cosigned(&cosigned))),
            Command::Stamped(stamp, reply) => drop(reply.send(self.stamped(&stamp))),
            Command::Pending {
                kind,
                sealed,
                reply,
            } => {
                let stored = self.transact(|c| {
                    c.execute(
                        "INSERT INTO pending(kind, sealed) VALUES (?1, ?2)",
                        params![kind, sealed],
                    )
                });
                drop(reply.send(stored));
            }
            Command::Artifact {
                digest,
                kind,
                bytes,
                reply,
            } => {
                let stored = self.transact(|c| {
                    c.execute(
                        "INSERT OR IGNORE INTO artifact(digest, kind, bytes) VALUES (?1, ?2, ?3)",
                        params![digest.0, kind, bytes],
                    )
                });
                drop(reply.send(stored));
            }
            Command::Subject {
                name,
                sealed,
                reply,
            } => {
                let stored = self.transact(|c| {
                    c.execute(
                        "INSERT OR IGNORE INTO subject(name, sealed) VALUES (?1, ?2)",
                        params![name, sealed],
                    )
                });
                drop(reply.send(stored));
            }
            Command::Forget { name, reply } => {
                let gone = self
                    .transact(|c| c.execute("DELETE FROM subject WHERE name = ?1", params![name]));
                drop(reply.send(gone));
            }
            Command::WrapSome { after, reply } => {
                let side = &self.shared.side;
                drop(reply.send(wrap_some(&self.files.conn, side, after)));
            }
            Command::WrapRows(reply) => {
                drop(reply.send(wrap_rows(&self.files.conn, &self.shared.side)));
            }
            Command::Resume(reply) => drop(reply.send(self.resume())),
            #[cfg(test)]
            Command::Sql(text, reply) => {
                drop(
                    reply.send(
                        self.files
                            .conn
                            .execute_batch(text)
                            .map_err(|e| StoreError::Store(e.into())),
                    ),
                );
            }
        }
    }

    /// One row in a transaction of its own, durable on return.
    fn transact(
        &self,
        write: impl FnOnce(&Connection) -> rusqlite::Result<usize>,
    ) -> Result<(), StoreError> {
        if let Health::Stopped(fault) = locked(&self.shared.queue).health {
            return Err(fault.into());
        }
        write(&self.files.conn).map_err(Fault::from)?;
        Ok(self.files.watch.look()?)
    }

    fn resume(&self) -> Result<(), StoreError> {
        let head = locked(&self.shared.durable).tree.head();
        let size = sql(head.size)?;
        self.transact(|c| {
            c.execute(
                "INSERT OR REPLACE INTO head(id, size, root) VALUES (1, ?1, ?2)",
                params![size, head.root.0],
            )
        })?;
        self.files.ballast.fill().map_err(|_| Fault::DiskFull)?;
        let mut queue = locked(&self.shared.queue);
        if let Health::Refusing(_) = queue.health {
            queue.health = Health::Open;
        }
        Ok(())
    }

    /// Makes a checkpoint if the newest one does not cover the log.
    pub(crate) fn note_if_behind(&self) {
        let durable = locked(&self.shared.durable);
        let behind = durable
            .noted
            .is_none_or(|head| head.size < durable.tree.size());
        let can = durable.signer.is_some() && durable.tree.size() > 0;
        drop(durable);
        if behind && can {
            // The next flush or checkpoint reports a fault; entries lose nothing by this one.
            drop(self.checkpoint(Keep::UntilNext));
        }
    }

    // ORDER: a head is signed only once it is durable, so that no fault makes us sign two logs.
    pub(crate) fn checkpoint(&self, keep: Keep) -> Result<String, StoreError> {
        let durable = locked(&self.shared.durable);
        let signer = durable.signer.clone().ok_or(StoreError::NoEpoch)?;
        let head = durable.tree.head();
        drop(durable);
        let note = sign_note(self.shared, &signer, &head)?;
        let size = sql(head.size)?;
        self.transact(|c| {
            let tx = c.unchecked_transaction()?;
            tx.execute("DELETE FROM note WHERE kept = ?1", [UNTIL_NEXT])?;
            let kept = match keep {
                Keep::Always => FOR_GOOD,
                Keep::UntilNext => UNTIL_NEXT,
            };
            // What stands there already says the same, and may have lines of witnesses.
            tx.execute(
                "INSERT INTO note(size, kept, note) VALUES (?1, ?2, ?3)
                 ON CONFLICT(size) DO UPDATE SET kept =
                 CASE WHEN kept = 1 OR excluded.kept = 1 THEN 1 ELSE max(kept, excluded.kept) END",
                params![size, kept, note],
            )?;
            tx.commit().map(|()| 1)
        })?;
        let note = stored_note(&self.files.conn, size)?.unwrap_or(note);
        let mut durable = locked(&self.shared.durable);
        durable.noted = Some(head);
        Ok(note)
    }

    /// Puts a witness's line under a checkpoint; each witness has one there.
    fn cosigned(&self, cosigned: &Cosigned) -> Result<(), StoreError> {
        let Cosigned {
            size,
            note,
            line,
            keep,
        } = cosigned;
        let size = sql(*size)?;
        let stored = stored_note(&self.files.conn, size)?;
        let mut note = stored.unwrap_or_else(|| note.clone());
        let name = line.rsplit_once(' ').map_or("", |(name, _)| name);
        let there = note
            .lines()
            .any(|l| l.rsplit_once(' ').is_some_and(|(n, _)| n == name));
        if !there && note.len().saturating_add(line.len()) <= MAX_COSIGNED_BYTES {
            note.push_str(line);
        }
        let kept = match keep {
            Keep::Always => FOR_GOOD,
            Keep::UntilNext => WHILE_NEWEST,
        };
        self.transact(|c| {
            let tx = c.unchecked_transaction()?;
            tx.execute(
                "INSERT INTO note(size, kept, note) VALUES (?1, ?2, ?3)
                 ON CONFLICT(size) DO UPDATE SET note = excluded.note, kept =
                 CASE WHEN kept = 1 OR excluded.kept = 1 THEN 1 ELSE max(kept, excluded.kept) END",
                params![size, kept, note],
            )?;
            tx.execute(
                "DELETE FROM note WHERE kept = ?1 AND size NOT IN
                 (SELECT size FROM note WHERE kept = ?1 ORDER BY size DESC LIMIT ?2)",
                params![WHILE_NEWEST, COSIGNED_KEPT],
            )?;
            tx.commit().map(|()| 1)
        })
    }

    /// Keeps a token, and its checkpoint for good. The first of an authority over a checkpoint stays: a later one bounds no better.
    fn stamped(&self, stamp: &Stamp) -> Result<(), StoreError> {
        let Stamp {
            size,
            note,
            authority,
            token,
        } = stamp;
        // An extra takes no room of what settlements live off on a full disk.
        if let Health::Refusing(fault) = locked(&self.shared.queue).health {
            return Err(fault.into());
        }
        let size = sql(*size)?;
        self.transact(|c| {
            let tx = c.unchecked_transaction()?;
            // What stands there already says the same, and may have lines of witnesses.
            tx.execute(
                "INSERT INTO note(size, kept, note) VALUES (?1, ?2, ?3)
                 ON CONFLICT(size) DO UPDATE SET kept = excluded.kept",
                params![size, FOR_GOOD, note],
            )?;
            tx.execute(
                "INSERT OR IGNORE INTO stamp(size, authority, token) VALUES (?1, ?2, ?3)",
                params![size, authority, token],
            )?;
            tx.commit().map(|()| 1)
        })
    }
}

fn stored_note(conn: &Connection, size: i64) -> Result<Option<String>, StoreError> {
    Ok(crate::store::one(
        conn,
        "SELECT note FROM note WHERE size = ?1",
        size,
    )?)
}

fn sign_note(shared: &Shared, signer: &EpochSigner, head: &Head) -> Result<String, StoreError> {
    let text = note_text(&shared.gateway, head);
    let identity = (signer.identity)(text.as_bytes());
    // A note that our identity did not sign would keep the log from opening again.
    VerifyingKey::from_bytes(&shared.identity.0)
        .and_then(|key| {
            key.verify_strict(
                text.as_bytes(),
                &ed25519_dalek::Signature::from_bytes(&identity.0),
            )
        })
        .map_err(|_| StoreError::IdentitySignature)?;
    let epoch = Signature(signer.epoch.sign(text.as_bytes()).to_bytes());
    let identity = signature_line(&origin(&shared.gateway), &shared.identity, &identity);
    let epoch = signature_line(&epoch_name(&shared.gateway), &signer.public, &epoch);
    Ok(format!("{text}\n{identity}{epoch}"))
}
