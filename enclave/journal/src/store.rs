//! The files: an SQLite database, a lock, and a ballast that settlements live off when the disk is full.
//!
//! In: a directory. Out: connections with the settings that durability needs, and a watch
//! that notices when the database is deleted or replaced under us. SQLite keeps POSIX locks
//! that any close of the same file in this process would drop, so the database file is only
//! ever opened by SQLite and otherwise looked at by name.

use crate::error::{Fault, OpenError};
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FlockOperation, StatxFlags, fallocate, flock, statx,
};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// `PRAGMA application_id` of a log: "CSLG".
const APPLICATION_ID: i64 = 0x4353_4c47;
/// `PRAGMA user_version` of this layout.
const LAYOUT: i64 = 3;
/// Size of a page, in bytes. With 4 KiB a page holds one set of disclosures and half of it stays empty: 5.2 KiB of
/// database an entry instead of 3.7, and a fifth more processor time; 16 KiB gains little more and makes single entries dearer.
const PAGE_BYTES: u32 = 8192;
/// Pages in the write-ahead log before they are moved to the database (8 MiB). Flushes wait while they are moved: with
/// 64 MiB calls waited for 50 to 100 ms, several times a second under load; with 4 MiB the copying itself costs more.
const AUTOCHECKPOINT_PAGES: u32 = 1_024;
/// How much of the database is mapped for reading, in bytes (256 MiB).
const MAP_BYTES: u64 = 256 * 1024 * 1024;
/// Page cache of a connection, in KiB; negative is SQLite's notation for KiB.
const CACHE_KIB: i64 = -16_384;

const SCHEMA: &str = "
CREATE TABLE entry(idx INTEGER PRIMARY KEY, opened INTEGER NOT NULL, bytes BLOB NOT NULL);
CREATE TABLE side(idx INTEGER PRIMARY KEY, sealed BLOB NOT NULL);
CREATE TABLE wrap(idx INTEGER PRIMARY KEY, wrapped BLOB NOT NULL);
CREATE TABLE subject(name BLOB NOT NULL UNIQUE, sealed BLOB NOT NULL);
CREATE TABLE erased(idx INTEGER PRIMARY KEY);
CREATE TABLE tile(id INTEGER PRIMARY KEY, hashes BLOB NOT NULL);
CREATE TABLE lookup(id INTEGER PRIMARY KEY, keys BLOB NOT NULL);
CREATE TABLE note(size INTEGER PRIMARY KEY, kept INTEGER NOT NULL, note TEXT NOT NULL);
CREATE TABLE stamp(size INTEGER NOT NULL, authority TEXT NOT NULL, token BLOB NOT NULL, PRIMARY KEY(size, authority));
CREATE TABLE artifact(digest BLOB NOT NULL UNIQUE, kind TEXT NOT NULL, bytes BLOB NOT NULL);
CREATE TABLE pending(id INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER NOT NULL, sealed BLOB NOT NULL);
CREATE TABLE head(id INTEGER PRIMARY KEY CHECK(id = 1), size INTEGER NOT NULL, root BLOB NOT NULL);
";

/// Names of the files in a journal's directory.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    pub(crate) dir: PathBuf,
}

impl Paths {
    pub(crate) fn database(&self) -> PathBuf {
        self.dir.join("log.sqlite")
    }
    fn wal(&self) -> PathBuf {
        self.dir.join("log.sqlite-wal")
    }
    fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }
    pub(crate) fn ballast(&self) -> PathBuf {
        self.dir.join("ballast")
    }
}

/// Sole use of a directory, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "the lock ends when the file is closed")] File);

impl Lock {
    pub(crate) fn take(paths: &Paths) -> Result<Self, OpenError> {
        let failed = |e: io::Error| OpenError::Directory {
            dir: paths.dir.clone(),
            reason: e.to_string(),
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&paths.dir)
            .map_err(failed)?;
        let mut open = OpenOptions::new();
        open.create(true).truncate(false).write(true).mode(0o600);
        let file = open.open(paths.lock()).map_err(failed)?;
        match lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked {
                dir: paths.dir.clone(),
            }),
            Err(e) => Err(failed(e.into())),
        }
    }

    /// Whether somebody else could not take it either. Makes nothing.
    pub(crate) fn look(paths: &Paths) -> Result<(), OpenError> {
        let failed = |e: io::Error| OpenError::Directory {
            dir: paths.dir.clone(),
            reason: e.to_string(),
        };
        let file = match File::open(paths.lock()) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(failed(e)),
        };
        match lock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked {
                dir: paths.dir.clone(),
            }),
            Err(e) => Err(failed(e.into())),
        }
    }
}

/// Locks, or says after a fifth of a second that somebody else has the lock. It goes with its file into each child that a process
/// starts, until that has become a program of its own: so it can outlive for a moment whoever took it.
fn lock(file: &File, operation: FlockOperation) -> Result<(), rustix::io::Errno> {
    for _ in 0..20 {
        match flock(file, operation) {
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(10)),
            done => return done,
        }
    }
    flock(file, operation)
}

/// What was there when the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Before {
    /// There was no log.
    pub(crate) created: bool,
    /// The last process did not end in good order; SQLite replayed its write-ahead log.
    pub(crate) wal_left: bool,
}

/// Opens or creates the database for writing.
pub(crate) fn open(paths: &Paths) -> Result<(Connection, Before), OpenError> {
    let existed = fs::metadata(paths.database()).is_ok_and(|m| m.len() > 0);
    let wal_left = fs::metadata(paths.wal()).is_ok_and(|m| m.len() > 0);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(paths.database(), flags).map_err(Fault::from)?;
    if existed {
        expect_log(&conn)?;
    }
    configure(&conn).map_err(Fault::from)?;
    if !existed {
        create(&conn).map_err(Fault::from)?;
        // The names of the new files must survive a crash as well as their bytes.
        sync_dir(&paths.dir).map_err(|e| OpenError::Directory {
            dir: paths.dir.clone(),
            reason: e.to_string(),
        })?;
    }
    Ok((
        conn,
        Before {
            created: !existed,
            wal_left,
        },
    ))
}

/// Copies a database that nobody has open, and makes the copy one file that is only read from then on.
///
/// What the last process left in its write-ahead log is part of the copy, as it would be of the log when that opens.
pub(crate) fn keep_copy(from: &Paths, to: &Paths) -> Result<(), OpenError> {
    let failed = |dir: &Path| {
        let dir = dir.to_owned();
        move |e: io::Error| OpenError::Directory {
            dir: dir.clone(),
            reason: e.to_string(),
        }
    };
    Lock::look(from)?;
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(&to.dir).map_err(failed(&to.dir))?;
    copy_file(&from.database(), &to.database()).map_err(failed(&from.dir))?;
    match copy_file(&from.wal(), &to.wal()) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        copied => copied.map_err(failed(&from.dir))?,
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(to.database(), flags).map_err(Fault::from)?;
    expect_log(&conn)?;
    // Leaving the mode moves what stands in the write-ahead log into the database, and deletes it.
    let mode: String = conn
        .query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))
        .map_err(Fault::from)?;
    if mode != "delete" {
        return Err(Fault::Malformed.into());
    }
    conn.close().map_err(|(_, e)| Fault::from(e))?;
    let seal = || -> io::Result<()> {
        fs::set_permissions(to.database(), fs::Permissions::from_mode(0o400))?;
        File::open(to.database())?.sync_all()?;
        sync_dir(&to.dir)
    };
    seal().map_err(failed(&to.dir))
}

/// Copies a file into a new one that only its owner can read.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut open = OpenOptions::new();
    open.write(true).create_new(true).mode(0o600);
    let mut target = open.open(to)?;
    io::copy(&mut source, &mut target)?;
    target.sync_all()
}

/// Opens a copy that [`keep_copy`] made.
pub(crate) fn open_kept(paths: &Paths) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(paths.database(), flags).map_err(Fault::from)?;
    expect_log(&conn)?;
    conn.execute_batch(
        "PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF; PRAGMA query_only = ON;",
    )
    .map_err(Fault::from)?;
    Ok(conn)
}

/// The file is a log of ours, of this layout.
fn expect_log(conn: &Connection) -> Result<(), OpenError> {
    let expected = APPLICATION_ID;
    match pragma(conn, "application_id")? {
        found if found == expected => {}
        found => return Err(OpenError::NotALog { expected, found }),
    }
    let expected = LAYOUT;
    match pragma(conn, "user_version")? {
        found if found == expected => Ok(()),
        found => Err(OpenError::Layout { expected, found }),
    }
}

fn pragma(conn: &Connection, name: &str) -> Result<i64, Fault> {
    Ok(conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))?)
}

fn configure(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(Duration::from_secs(5))?;
    conn.execute_batch(&format!(
        "PRAGMA page_size = {PAGE_BYTES};
         PRAGMA cell_size_check = ON;
         PRAGMA trusted_schema = OFF;"
    ))?;
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(rusqlite::Error::InvalidQuery);
    }
    conn.execute_batch(&format!(
        "PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = {AUTOCHECKPOINT_PAGES};
         PRAGMA cache_size = {CACHE_KIB};
         PRAGMA temp_store = MEMORY;
         PRAGMA secure_delete = ON;"
    ))
}

fn create(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(&format!(
        "BEGIN IMMEDIATE; {SCHEMA}
         PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = {LAYOUT};
         COMMIT;"
    ))
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Which file stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: (u32, u32),
    inode: u64,
}

/// Asks for nothing else: where somebody asks when a file was last written, the next write notes the time, and where the file
/// system has no journal the flush after it writes that down as well (`docs/decisions/0050-who-commits.md`).
fn identity(path: &Path) -> Result<Identity, Fault> {
    match statx(CWD, path, AtFlags::empty(), StatxFlags::INO) {
        Ok(found) => Ok(Identity {
            device: (found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
        }),
        Err(rustix::io::Errno::NOENT) => Err(Fault::Deleted),
        Err(e) => Err(Fault::Io {
            code: e.raw_os_error(),
        }),
    }
}

/// Notices when the database or its write-ahead log is deleted or replaced.
#[derive(Debug)]
pub(crate) struct Watch {
    files: [(PathBuf, Identity); 2],
}

impl Watch {
    /// Starts after a first transaction, when both files exist.
    pub(crate) fn start(paths: &Paths) -> Result<Self, Fault> {
        let of = |path: PathBuf| identity(&path).map(|id| (path, id));
        Ok(Self {
            files: [of(paths.database())?, of(paths.wal())?],
        })
    }

    pub(crate) fn look(&self) -> Result<(), Fault> {
        self.files
            .iter()
            .try_for_each(|(path, expected)| match identity(path)? {
                found if found == *expected => Ok(()),
                _ => Err(Fault::Replaced),
            })
    }
}

/// Space that is set aside, so that settlements can be written when the disk is full.
#[derive(Debug)]
pub(crate) struct Ballast {
    path: PathBuf,
    bytes: u64,
}

impl Ballast {
    pub(crate) fn new(paths: &Paths, bytes: u64) -> Self {
        Self {
            path: paths.ballast(),
            bytes,
        }
    }

    /// Sets the space aside, if it is not.
    pub(crate) fn fill(&self) -> io::Result<()> {
        let blocks = fs::metadata(&self.path).map_or(0, |m| m.blocks().saturating_mul(512));
        if self.bytes == 0 || blocks >= self.bytes {
            return Ok(());
        }
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&self.path)?;
        let filled = match fallocate(&file, FallocateFlags::empty(), 0, self.bytes) {
            Err(rustix::io::Errno::OPNOTSUPP) => write_zeros(&mut file, self.bytes),
            other => other.map_err(io::Error::from),
        };
        match filled.and_then(|()| file.sync_all()) {
            Ok(()) => Ok(()),
            Err(e) => {
                self.release();
                Err(e)
            }
        }
    }

    /// Gives the space to whoever needs it now.
    pub(crate) fn release(&self) {
        // Failing to shrink leaves the disk as full as it was, which the next write reports.
        let _ = OpenOptions::new()
            .write(true)
            .open(&self.path)
            .and_then(|f| {
                f.set_len(0)?;
                f.sync_all()
            });
    }
}

fn write_zeros(file: &mut File, bytes: u64) -> io::Result<()> {
    let chunk = [0u8; 65_536];
    let mut left = bytes;
    while left > 0 {
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        file.write_all(chunk.get(..n).unwrap_or(&chunk))?;
        left = left.saturating_sub(u64::try_from(n).unwrap_or(left));
    }
    Ok(())
}

/// Connections that read beside the writer.
#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

/// Connections kept for reuse.
const IDLE_READERS: usize = 4;

impl Readers {
    pub(crate) fn new(paths: &Paths) -> Self {
        Self {
            path: paths.database(),
            idle: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn with<T, E: From<Fault>>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let conn = match idle {
            Some(conn) => conn,
            None => self.connect().map_err(Fault::from)?,
        };
        let result = f(&conn);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_READERS {
            idle.push(conn);
        }
        result
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&self.path, flags)?;
        conn.busy_timeout(Duration::from_secs(5))?;
        conn.execute_batch(&format!(
            "PRAGMA mmap_size = {MAP_BYTES}; PRAGMA query_only = ON;"
        ))?;
        Ok(conn)
    }
}

/// A number as SQLite keeps it.
pub(crate) fn sql(n: u64) -> Result<i64, Fault> {
    i64::try_from(n).map_err(|_| Fault::Database { code: 0 })
}

/// A number as SQLite gave it.
pub(crate) fn unsql(n: i64) -> Result<u64, Fault> {
    u64::try_from(n).map_err(|_| Fault::Malformed)
}

/// One column of one row, if the row is there.
pub(crate) fn one<T: rusqlite::types::FromSql>(
    conn: &Connection,
    query: &str,
    id: i64,
) -> Result<Option<T>, Fault> {
    conn.query_row(query, [id], |row| row.get(0))
        .optional()
        .map_err(Fault::from)
}
