//! What was signed last: one file a log, durable before anybody hears of it.
//!
//! In: signed heads. Out: the last of each log. A directory serves one process at a time. A
//! file is replaced as a whole, so a crash leaves the old one or the new one; a file that is
//! there and cannot be read is a fault, never an empty log.
//!
//! ```text
//! logs/<SHA-256 of the origin, hexadecimal>/checkpoint   the last checkpoint, with both signatures
//!                                           conflict     the first one that contradicted it, if any did
//! ```
//!
//! Whoever puts back an older copy of this directory makes the witness sign a second history.
//! That is the witness's own risk: keep it on a disk of its own, and do not restore it from a
//! backup; make a new witness instead.

use crate::protocol::Signed;
use countersign_record::checkpoint::Claimed;
use countersign_record::digest::sha256;
use countersign_record::merkle::Head;
use countersign_record::note::Note;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a head could not be read or kept.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another process has the directory.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what was written.
    #[error("{path} is not a checkpoint of {origin:?}: {reason}")]
    Changed {
        /// Which file.
        path: PathBuf,
        /// The log that it should be of.
        origin: String,
        /// What is wrong.
        reason: String,
    },
}

/// The last signed checkpoint of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Size and root.
    pub head: Head,
    /// The checkpoint with its signatures.
    pub note: String,
}

/// The directory of a witness.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    _lock: Option<File>,
}

/// The name of a log's directory, and of its path in the interface.
#[must_use]
pub fn directory_name(origin: &str) -> String {
    hex::encode(sha256(origin.as_bytes()))
}

impl Store {
    /// Opens the directory, for this process alone.
    ///
    /// # Errors
    /// If another process has it, or it cannot be used.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join("lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let file = options.open(&path).map_err(|source| StoreError::Io {
            path: path.clone(),
            source,
        })?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                directory: directory.to_owned(),
                _lock: Some(file),
            }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::InUse(directory.to_owned())),
            Err(e) => Err(StoreError::Io {
                path,
                source: e.into(),
            }),
        }
    }

    /// Opens the directory for looking at it, beside whoever serves from it.
    #[must_use]
    pub fn look(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            _lock: None,
        }
    }

    fn log(&self, origin: &str) -> PathBuf {
        self.directory.join("logs").join(directory_name(origin))
    }

    /// The last checkpoint of a log that was signed.
    ///
    /// # Errors
    /// If there is one and it cannot be read.
    pub fn last(&self, origin: &str) -> Result<Option<Kept>, StoreError> {
        let path = self.log(origin).join("checkpoint");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::Io { path, source }),
        };
        let changed = |reason: String| StoreError::Changed {
            path: path.clone(),
            origin: origin.to_owned(),
            reason,
        };
        let note = Note::parse(&bytes).map_err(|e| changed(e.to_string()))?;
        let claimed = Claimed::parse(note.text()).map_err(|e| changed(e.to_string()))?;
        if claimed.origin != origin {
            return Err(changed(format!("it is of {:?}", claimed.origin)));
        }
        let note = String::from_utf8(bytes).map_err(|e| changed(e.to_string()))?;
        Ok(Some(Kept {
            head: claimed.head,
            note,
        }))
    }

    /// Keeps a signed checkpoint. Durable on return; after an error it is not known which one is kept.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn keep(&self, origin: &str, signed: &Signed) -> Result<(), StoreError> {
        self.replace(origin, "checkpoint", &signed.note)
    }

    /// Keeps a checkpoint that contradicts the last one: both are signed by the log, and prove that it has two
    /// histories. The first is kept.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn keep_conflict(&self, origin: &str, note: &str) -> Result<(), StoreError> {
        if self.has_conflict(origin) {
            return Ok(());
        }
        self.replace(origin, "conflict", note)
    }

    /// Whether a checkpoint was seen that contradicts what was signed.
    #[must_use]
    pub fn has_conflict(&self, origin: &str) -> bool {
        self.log(origin).join("conflict").exists()
    }

    fn replace(&self, origin: &str, name: &str, text: &str) -> Result<(), StoreError> {
        let directory = self.log(origin);
        let path = directory.join(name);
        let beside = directory.join(format!("{name}.new"));
        let write = || -> io::Result<()> {
            if !directory.is_dir() {
                let mut builder = DirBuilder::new();
                builder.recursive(true).mode(0o700).create(&directory)?;
                // ORDER: the names of new directories are durable before what is in them counts.
                sync(&self.directory.join("logs"))?;
                sync(&self.directory)?;
            }
            let mut file = File::create(&beside)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            sync(&directory)
        };
        write().map_err(|source| StoreError::Io { path, source })
    }
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_record::digest::NodeHash;

    const ORIGIN: &str = "log.example/one";

    fn signed(size: u64) -> Signed {
        let root = countersign_record::note::encode(&[7; 32]);
        Signed {
            head: Head {
                size,
                root: NodeHash([7; 32]),
            },
            note: format!("{ORIGIN}\n{size}\n{root}\n\n\u{2014} w AAAAAAAA\n"),
            line: "\u{2014} w AAAAAAAA\n".to_owned(),
        }
    }

    #[test]
    fn what_is_kept_is_read_back_and_the_last_one_counts() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(store.last(ORIGIN).unwrap(), None);
        for size in [3, 7] {
            store.keep(ORIGIN, &signed(size)).unwrap();
            let kept = store.last(ORIGIN).unwrap().unwrap();
            assert_eq!(
                (kept.head, kept.note),
                (signed(size).head, signed(size).note)
            );
        }
        drop(store);
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(store.last(ORIGIN).unwrap().unwrap().head.size, 7);
    }

    #[test]
    fn a_directory_serves_one_process() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        assert!(matches!(
            Store::open(directory.path()),
            Err(StoreError::InUse(_))
        ));
        drop(store);
        assert!(Store::open(directory.path()).is_ok());
    }

    #[test]
    fn a_file_that_is_damaged_is_a_fault_and_no_empty_log() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.keep(ORIGIN, &signed(3)).unwrap();
        let path = store.log(ORIGIN).join("checkpoint");
        for text in [
            "",
            "log.example/two\n3\n\n",
            &signed(3).note.replace("one", "two"),
        ] {
            fs::write(&path, text).unwrap();
            assert!(matches!(
                store.last(ORIGIN),
                Err(StoreError::Changed { .. })
            ));
        }
    }

    #[test]
    fn a_crash_before_the_file_was_replaced_leaves_the_old_one() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.keep(ORIGIN, &signed(3)).unwrap();
        fs::write(store.log(ORIGIN).join("checkpoint.new"), "half a fi").unwrap();
        assert_eq!(store.last(ORIGIN).unwrap().unwrap().head.size, 3);
        store.keep(ORIGIN, &signed(7)).unwrap();
        assert_eq!(store.last(ORIGIN).unwrap().unwrap().head.size, 7);
    }

    #[test]
    fn the_first_contradiction_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        assert!(!store.has_conflict(ORIGIN));
        store.keep_conflict(ORIGIN, "first").unwrap();
        store.keep_conflict(ORIGIN, "second").unwrap();
        let kept = fs::read_to_string(store.log(ORIGIN).join("conflict")).unwrap();
        assert_eq!(kept, "first");
    }
}
