//! Forgetting: values that an erasure destroys, keys of subjects, and the storage key's next version.
//!
//! In: an `erasure` entry, rows of subjects, a new storage key. Out: rows that are gone, and
//! rows whose data keys are wrapped anew. An erasure's rows go in the transaction that writes
//! its entry, so neither is ever there without the other. Deleting a row frees its bytes (and
//! overwrites them, `secure_delete`), but a copy of the disk has it still; what makes an erasure
//! final is that the storage key's earlier version is gone, wherever the copy is.
//!
//! A new version is taken up in steps, each of which may be the last before a crash:
//! [`Journal::advance_ring`] (from here on the new version seals), [`Journal::wrap_anew`] (a few
//! hundred rows at a time, between flushes), [`Journal::retire`], once the caller has destroyed
//! what the earlier version came from. Who opens the log with both versions goes on from there.

use crate::command::Command;
use crate::error::{Fault, OpenError, ReadError, StoreError};
use crate::journal::Journal;
use crate::side::{PREFIX, Purpose, Side, StorageKey};
use crate::store::{sql, unsql};
use countersign_record::body::{Erasure, IndexRange};
use countersign_record::entry::{Body, Entry};
use rusqlite::{Connection, OptionalExtension, params};
use zeroize::Zeroizing;

/// Rows that are wrapped anew in one transaction. Calls wait for one such transaction at most; how long that is was not measured.
const CHUNK: i64 = 512;

/// What a subject's row is found by: a keyed digest of its name.
pub type SubjectName = [u8; 32];

/// What is kept of a subject.
pub type SubjectSecret = Zeroizing<Vec<u8>>;

/// What erasures of the log have destroyed.
#[derive(Debug, Default)]
pub(crate) struct Erased(Vec<Vec<IndexRange>>);

impl Erased {
    pub(crate) fn add(&mut self, erasure: &Erasure) {
        self.0.push(erasure.entries.clone());
    }

    /// Takes back the last that was added.
    pub(crate) fn take_back(&mut self) {
        self.0.pop();
    }

    pub(crate) fn covers(&self, index: u64) -> bool {
        self.0.iter().any(|ranges| {
            let at = ranges.partition_point(|r| r.last < index);
            ranges.get(at).is_some_and(|r| r.contains(index))
        })
    }

    /// What the rows say that point to the erasures of a log, before the log is read.
    ///
    /// They are hints: the entries themselves are checked like all others, and the reading ends
    /// in an error if the log has other erasures than these.
    pub(crate) fn read(conn: &Connection) -> Result<(Self, Vec<u64>), OpenError> {
        let query = "SELECT erased.idx, entry.bytes FROM erased LEFT JOIN entry USING(idx) ORDER BY erased.idx";
        let mut statement = conn.prepare(query).map_err(Fault::from)?;
        let mut rows = statement.query([]).map_err(Fault::from)?;
        let (mut erased, mut indexes) = (Self::default(), Vec::new());
        while let Some(row) = rows.next().map_err(Fault::from)? {
            let index = unsql(row.get(0).map_err(Fault::from)?)?;
            let bytes: Option<Vec<u8>> = row.get(1).map_err(Fault::from)?;
            let bytes = bytes.ok_or(OpenError::Erasures { index })?;
            let entry =
                Entry::parse(&bytes).map_err(|source| OpenError::Entry { index, source })?;
            let Body::Erasure(erasure) = entry.body() else {
                return Err(OpenError::Erasures { index });
            };
            erased.add(erasure);
            indexes.push(index);
        }
        Ok((erased, indexes))
    }
}

/// Destroys what an erasure names, in the transaction that writes it.
pub(crate) fn destroy(conn: &Connection, index: u64, erasure: &Erasure) -> Result<(), Fault> {
    for range in &erasure.entries {
        let (first, last) = (sql(range.first)?, sql(range.last)?);
        conn.execute(
            "DELETE FROM side WHERE idx BETWEEN ?1 AND ?2",
            [first, last],
        )?;
        conn.execute(
            "DELETE FROM wrap WHERE idx BETWEEN ?1 AND ?2",
            [first, last],
        )?;
    }
    conn.execute("INSERT INTO erased(idx) VALUES (?1)", [sql(index)?])?;
    Ok(())
}

/// Wraps a few rows anew; gives the last that was looked at, or nothing if there are no more.
pub(crate) fn wrap_some(
    conn: &Connection,
    side: &Side,
    after: i64,
) -> Result<Option<i64>, StoreError> {
    let tx = conn.unchecked_transaction().map_err(Fault::from)?;
    let rows: Vec<(i64, Vec<u8>)> = {
        let query = "SELECT idx, wrapped FROM wrap WHERE idx > ?1 ORDER BY idx LIMIT ?2";
        let mut select = tx.prepare(query).map_err(Fault::from)?;
        let rows = select
            .query_map([after, CHUNK], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(Fault::from)?;
        rows.collect::<Result<_, _>>().map_err(Fault::from)?
    };
    let last = rows.last().map(|(index, _)| *index);
    {
        let mut update = tx
            .prepare("UPDATE wrap SET wrapped = ?2 WHERE idx = ?1")
            .map_err(Fault::from)?;
        for (index, wrapped) in rows {
            if let Some(anew) = side.wrap_anew(Purpose::Disclosures, &wrapped)? {
                update.execute(params![index, anew]).map_err(Fault::from)?;
            }
        }
    }
    tx.commit().map_err(Fault::from)?;
    Ok(last)
}

/// Wraps the rows anew that belong to no entry: announcements, and keys of subjects.
pub(crate) fn wrap_rows(conn: &Connection, side: &Side) -> Result<(), StoreError> {
    let tx = conn.unchecked_transaction().map_err(Fault::from)?;
    for (purpose, select, update) in [
        (
            Purpose::Pending,
            "SELECT id, sealed FROM pending",
            "UPDATE pending SET sealed = ?2 WHERE id = ?1",
        ),
        (
            Purpose::Subject,
            "SELECT rowid, sealed FROM subject",
            "UPDATE subject SET sealed = ?2 WHERE rowid = ?1",
        ),
    ] {
        let mut statement = tx.prepare(select).map_err(Fault::from)?;
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(Fault::from)?;
        let rows: Vec<(i64, Vec<u8>)> = rows.collect::<Result<_, _>>().map_err(Fault::from)?;
        for (id, sealed) in rows {
            if let Some(anew) = side.wrap_anew(purpose, &sealed)? {
                let body = sealed.get(PREFIX..).unwrap_or_default();
                tx.execute(update, params![id, [anew.as_slice(), body].concat()])
                    .map_err(Fault::from)?;
            }
        }
    }
    tx.commit().map_err(Fault::from)?;
    Ok(())
}

impl Journal {
    /// Version of the storage key that seals; nothing if the log has no keys.
    #[must_use]
    pub fn ring_version(&self) -> Option<u32> {
        self.shared.side.newest_version()
    }

    /// Takes up the next version of the storage key: from here on everything is sealed under it.
    pub fn advance_ring(&self, version: u32, key: StorageKey) {
        self.shared.side.add(version, key);
    }

    /// Wraps every data key under the newest version of the storage key. Entries are taken meanwhile.
    ///
    /// # Errors
    /// If a row does not open or the store fails; then some rows are wrapped anew and others are not.
    pub fn wrap_anew(&self) -> Result<(), StoreError> {
        self.command(Command::WrapRows)?;
        let mut after = -1;
        // What is written meanwhile is sealed under the newest version already, or wrapped so by its flush.
        while let Some(last) = self.command(|reply| Command::WrapSome { after, reply })? {
            after = last;
        }
        Ok(())
    }

    /// Forgets every version of the storage key but the newest.
    pub fn retire(&self) {
        self.shared.side.retire();
    }

    /// Keeps a subject's secret, if there is none under that name. Durable on return.
    ///
    /// # Errors
    /// If the store fails.
    pub fn put_subject(&self, name: SubjectName, secret: &[u8]) -> Result<(), StoreError> {
        let sealed = self.shared.side.seal(Purpose::Subject, secret)?;
        self.command(|reply| Command::Subject {
            name,
            sealed,
            reply,
        })
    }

    /// A subject's secret, if one is kept.
    ///
    /// # Errors
    /// If it does not open or the store fails.
    pub fn subject(&self, name: SubjectName) -> Result<Option<SubjectSecret>, StoreError> {
        let sealed: Option<Vec<u8>> = self.shared.readers.with(|conn| {
            let query = "SELECT sealed FROM subject WHERE name = ?1";
            conn.query_row(query, [name], |row| row.get(0))
                .optional()
                .map_err(Fault::from)
        })?;
        let opened = sealed.map(|sealed| self.shared.side.open(Purpose::Subject, &sealed));
        Ok(opened.transpose()?)
    }

    /// Names of all subjects, with their secrets.
    ///
    /// # Errors
    /// If one does not open or the store fails.
    pub fn subjects(&self) -> Result<Vec<(SubjectName, SubjectSecret)>, StoreError> {
        let rows: Vec<(SubjectName, Vec<u8>)> = self.shared.readers.with(|conn| {
            let mut statement = conn.prepare("SELECT name, sealed FROM subject ORDER BY name")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok::<_, Fault>(rows.collect::<Result<_, _>>()?)
        })?;
        rows.into_iter()
            .map(|(name, sealed)| Ok((name, self.shared.side.open(Purpose::Subject, &sealed)?)))
            .collect()
    }

    /// Destroys a subject's secret. Durable on return.
    ///
    /// # Errors
    /// If the store fails.
    pub fn forget_subject(&self, name: SubjectName) -> Result<(), StoreError> {
        self.command(|reply| Command::Forget { name, reply })
    }

    /// Whether an erasure of the log has destroyed what opens an entry.
    ///
    /// # Errors
    /// If the log has no such entry.
    pub fn is_erased(&self, index: u64) -> Result<bool, ReadError> {
        self.within(index)?;
        Ok(crate::journal::locked(&self.shared.durable)
            .erased
            .covers(index))
    }
}
