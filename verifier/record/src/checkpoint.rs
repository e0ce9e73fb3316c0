//! Checkpoints: signed notes over size and root of the log.
//!
//! In: a head, or text from anywhere. Out: a C2SP checkpoint with two signature lines, the
//! identity key's (which witnesses know) and the epoch key's (which evidence binds), or the
//! first thing that is wrong. A third, post-quantum line has its place reserved: lines of
//! other names or algorithms, such as those of witnesses ([`crate::note`]), are kept.
//!
//! ```text
//! countersign/3f…            origin: "countersign/" and the gateway id
//! 1234                       size, decimal
//! nND/nri/U0x…               root, base64
//!
//! — countersign/3f… AbCd…    identity key
//! — countersign/3f…/epoch …  epoch key
//! — witness.example/w1 …     a cosignature
//! ```
//!
//! Spec: C2SP tlog-checkpoint and signed-note; `docs/spec/record.md`, "Checkpoints".

use crate::digest::{GatewayId, NodeHash, PublicKey, Signature, sha256};
use crate::merkle::Head;
use crate::note::{Line, Note, NoteError, NoteKey, Role, decode};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use thiserror::Error;

/// Longest checkpoint that is read, in bytes.
pub const MAX_CHECKPOINT_BYTES: usize = crate::note::MAX_NOTE_BYTES;

/// Why text is not a checkpoint of this log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// Longer than a checkpoint may be.
    #[error("checkpoint is {found} bytes, limit is {MAX_CHECKPOINT_BYTES}")]
    TooLarge {
        /// Its length, in bytes.
        found: usize,
    },
    /// Not a signed note.
    #[error("checkpoint is not a signed note: {0}")]
    Form(&'static str),
    /// Of another log.
    #[error("checkpoint is of another log")]
    Origin,
    /// No line of a key that has to sign.
    #[error("checkpoint has no signature line of the {0} key")]
    NoLine(&'static str),
}

impl From<NoteError> for CheckpointError {
    fn from(error: NoteError) -> Self {
        match error {
            NoteError::TooLarge { found } => Self::TooLarge { found },
            NoteError::Form(what) => Self::Form(what),
        }
    }
}

/// Name of a log.
#[must_use]
pub fn origin(gateway: &GatewayId) -> String {
    format!("countersign/{gateway}")
}

/// Name under which an epoch key signs.
#[must_use]
pub fn epoch_name(gateway: &GatewayId) -> String {
    format!("countersign/{gateway}/epoch")
}

/// The text that is signed.
#[must_use]
pub fn note_text(gateway: &GatewayId, head: &Head) -> String {
    format!(
        "{}\n{}\n{}\n",
        origin(gateway),
        head.size,
        STANDARD.encode(head.root.0)
    )
}

/// A signature line: `name`, the key, its signature over [`note_text`]. The names are [`origin`] and [`epoch_name`].
#[must_use]
pub fn signature_line(name: &str, key: &PublicKey, signature: &Signature) -> String {
    // Both names are hexadecimal digits and slashes; another one gives no line.
    NoteKey::new(name, Role::Log, *key)
        .map(|k| k.signature_line(signature))
        .unwrap_or_default()
}

/// Which log a checkpoint's text is about, and its head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Name of the log.
    pub origin: String,
    /// Size and root.
    pub head: Head,
    /// Lines after the root, which say nothing about the tree.
    pub extensions: usize,
}

impl Claimed {
    /// Reads the text of a checkpoint of any log.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let body = text
            .strip_suffix('\n')
            .ok_or(CheckpointError::Form("no final newline"))?;
        let mut fields = body.split('\n');
        let (Some(origin), Some(size_text), Some(root_text)) =
            (fields.next(), fields.next(), fields.next())
        else {
            return Err(CheckpointError::Form("it has fewer than three lines"));
        };
        if origin.is_empty() {
            return Err(CheckpointError::Form("the origin is empty"));
        }
        let size: u64 = size_text
            .parse()
            .map_err(|_| CheckpointError::Form("size is no number"))?;
        let root = decode(root_text)
            .and_then(|b| <[u8; 32]>::try_from(b).ok())
            .ok_or(CheckpointError::Form("root is not 32 bytes of base64"))?;
        // One head has one text: numbers and base64 that do not print back to themselves are refused.
        if size.to_string() != size_text {
            return Err(CheckpointError::Form("size is not in canonical form"));
        }
        Ok(Self {
            origin: origin.to_owned(),
            head: Head {
                size,
                root: NodeHash(root),
            },
            extensions: fields.count(),
        })
    }
}

/// A checkpoint whose signatures are not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    note: Note,
    head: Head,
}

impl Checkpoint {
    /// Reads a checkpoint of the log of `gateway`.
    ///
    /// # Errors
    /// Why the bytes are not one.
    pub fn parse(bytes: &[u8], gateway: &GatewayId) -> Result<Self, CheckpointError> {
        let note = Note::parse(bytes)?;
        if note.text().split('\n').next() != Some(origin(gateway).as_str()) {
            return Err(CheckpointError::Origin);
        }
        let Claimed {
            origin: _,
            head,
            extensions,
        } = Claimed::parse(note.text())?;
        if extensions > 0 {
            return Err(CheckpointError::Form("it has other than three lines"));
        }
        Ok(Self { note, head })
    }

    /// Size and root.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// The text that is signed, as it arrived.
    #[must_use]
    pub fn text(&self) -> &str {
        self.note.text()
    }

    /// What an outside clock stamps: SHA-256 of the text that is signed, as it arrived.
    ///
    /// The text names the log, so a token cannot be moved to another one; signature lines are left
    /// out, so that one that is added later does not make the token stale.
    #[must_use]
    pub fn imprint(&self) -> [u8; 32] {
        sha256(self.text().as_bytes())
    }

    /// The signature of `key` under `name`, not verified.
    ///
    /// # Errors
    /// [`CheckpointError::NoLine`] if there is none.
    pub fn signature(
        &self,
        name: &str,
        key: &PublicKey,
        who: &'static str,
    ) -> Result<Signature, CheckpointError> {
        let key = NoteKey::new(name, Role::Log, *key)?;
        self.lines()
            .iter()
            .find(|l| l.is_of(&key))
            .and_then(|l| l.signature().ok())
            .ok_or(CheckpointError::NoLine(who))
    }

    /// All signature lines, in order; those of witnesses among them.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        self.note.lines()
    }

    /// Names of all lines, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.lines().iter().map(Line::name)
    }
}
