//! Signed notes: a text, and under it lines of signatures, each by a key with a name.
//!
//! In: text from anywhere. Out: a [`Note`] whose lines are well formed and not verified, or the
//! first thing that is wrong. [`NoteKey`] is a name with a key: it finds its lines in a note,
//! says which bytes each of them signs, and writes such lines.
//!
//! Two types of signature are known. A *log* (type 1) signs the text itself. A *witness*
//! (type 4) signs the text with a time before it: as of then, this was the largest head of that
//! log that it had seen, and all heads before were consistent with it. Lines of other types,
//! names and keys are kept and not judged.
//!
//! Spec: C2SP signed-note v1.0.0 and tlog-cosignature v1.0.1 (`cosignature/v1`);
//! `docs/spec/record.md`, "Cosignatures".

use crate::digest::{PublicKey, Signature};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};
use std::fmt;
use thiserror::Error;

/// Longest note that is read, in bytes. Two of our lines need 500, a cosignature about 150; the rest is room.
pub const MAX_NOTE_BYTES: usize = 16 * 1024;

/// Seconds since 1970-01-01T00:00:00Z, as witnesses write times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub u64);

/// Why text is not a note, or a key's text no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoteError {
    /// Longer than a note may be.
    #[error("note is {found} bytes, limit is {MAX_NOTE_BYTES}")]
    TooLarge {
        /// Its length, in bytes.
        found: usize,
    },
    /// Malformed.
    #[error("{0}")]
    Form(&'static str),
}

/// What a key signs for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A log signs its own heads. Source: C2SP signed-note, "Signature types", Ed25519.
    Log,
    /// A witness cosigns the heads of others. Source: C2SP tlog-cosignature, "Format", Ed25519.
    Witness,
}

impl Role {
    /// The byte of the signature type.
    fn byte(self) -> u8 {
        match self {
            Self::Log => 0x01,
            Self::Witness => 0x04,
        }
    }
}

/// A key with the name under which it signs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NoteKey {
    name: String,
    role: Role,
    key: PublicKey,
}

impl NoteKey {
    /// A key under a name.
    ///
    /// # Errors
    /// If the name cannot stand in a signature line.
    pub fn new(name: &str, role: Role, key: PublicKey) -> Result<Self, NoteError> {
        if is_name(name) {
            Ok(Self {
                name: name.to_owned(),
                role,
                key,
            })
        } else {
            Err(NoteError::Form(
                "a name is empty, or has spaces, control characters or a plus sign",
            ))
        }
    }

    /// Reads the text of a key: `<name>+<key hash, 8 hexadecimal digits>+<base64 of type and key>`.
    ///
    /// # Errors
    /// What is wrong with it. Whether the 32 bytes are a point of the curve is not looked at.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let form = NoteError::Form("a key is not <name>+<8 hexadecimal digits>+<base64>");
        // Base64 may have a plus sign, a name may not.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(hash), Some(blob)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(form);
        };
        let blob = decode(blob).ok_or(form)?;
        let (role, key) = match blob.split_first() {
            Some((0x01, key)) => (Role::Log, key),
            Some((0x04, key)) => (Role::Witness, key),
            Some(_) => {
                return Err(NoteError::Form(
                    "a key is of a type that is not known, expected 1 (log) or 4 (witness)",
                ));
            }
            None => return Err(form),
        };
        let key = <[u8; 32]>::try_from(key).map_err(|_| form)?;
        let found = Self::new(name, role, PublicKey(key))?;
        if hex::encode(found.hash()) == hash {
            Ok(found)
        } else {
            Err(NoteError::Form(
                "a key's hash is not that of its name and bytes: it was mistyped",
            ))
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs for.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The public key.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// SPEC: C2SP signed-note: `SHA-256(name || 0x0A || type || key)[:4]`.
    fn hash(&self) -> [u8; 4] {
        let mut h = Sha256::new();
        h.update(self.name.as_bytes());
        h.update([0x0a, self.role.byte()]);
        h.update(self.key.0);
        let digest: [u8; 32] = h.finalize().into();
        let [a, b, c, d, ..] = digest;
        [a, b, c, d]
    }

    /// The line of a log's signature over a note's text.
    #[must_use]
    pub fn signature_line(&self, signature: &Signature) -> String {
        self.line(&signature.0)
    }

    /// The line of a witness's signature over [`cosigned`].
    #[must_use]
    pub fn cosignature_line(&self, time: UnixSeconds, signature: &Signature) -> String {
        let mut blob = time.0.to_be_bytes().to_vec();
        blob.extend_from_slice(&signature.0);
        self.line(&blob)
    }

    fn line(&self, signature: &[u8]) -> String {
        let mut blob = self.hash().to_vec();
        blob.extend_from_slice(signature);
        format!("\u{2014} {} {}\n", self.name, STANDARD.encode(blob))
    }
}

/// The text of the key, as [`NoteKey::parse`] reads it.
impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut blob = vec![self.role.byte()];
        blob.extend_from_slice(&self.key.0);
        write!(
            f,
            "{}+{}+{}",
            self.name,
            hex::encode(self.hash()),
            STANDARD.encode(blob)
        )
    }
}

/// What a witness signs over a note's text. SPEC: C2SP tlog-cosignature, "Ed25519 signed message".
#[must_use]
pub fn cosigned(time: UnixSeconds, text: &str) -> String {
    format!("cosignature/v1\ntime {}\n{text}", time.0)
}

/// A witness's signature in a note, not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cosignature {
    /// When it was given, as the witness says; signed with the rest.
    pub time: UnixSeconds,
    /// The signature over [`cosigned`].
    pub signature: Signature,
}

/// One line of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    name: String,
    hash: [u8; 4],
    signature: Vec<u8>,
}

impl Line {
    /// Whose it is said to be.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a key is the one that this line names.
    #[must_use]
    pub fn is_of(&self, key: &NoteKey) -> bool {
        self.name == key.name && self.hash == key.hash()
    }

    /// The signature of a log.
    ///
    /// # Errors
    /// If it has another length.
    pub fn signature(&self) -> Result<Signature, NoteError> {
        <[u8; 64]>::try_from(self.signature.as_slice())
            .map(Signature)
            .map_err(|_| NoteError::Form("a log's signature is not 64 bytes"))
    }

    /// The signature of a witness.
    ///
    /// # Errors
    /// If it has another length, or a time that no witness may write.
    pub fn cosignature(&self) -> Result<Cosignature, NoteError> {
        let form = NoteError::Form("a cosignature is not a time of 8 bytes and 64 bytes");
        let (time, signature) = self.signature.split_first_chunk::<8>().ok_or(form)?;
        let signature = <[u8; 64]>::try_from(signature).map_err(|_| form)?;
        let time = u64::from_be_bytes(*time);
        // SPEC: C2SP tlog-cosignature, "Format": it must not exceed 2^63 - 1.
        if i64::try_from(time).is_err() {
            return Err(NoteError::Form("a cosignature's time is above 2^63 - 1"));
        }
        Ok(Cosignature {
            time: UnixSeconds(time),
            signature: Signature(signature),
        })
    }
}

/// A note whose signatures are not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    lines: Vec<Line>,
}

impl Note {
    /// Reads a note.
    ///
    /// # Errors
    /// Why the bytes are none.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLarge { found: bytes.len() });
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Form("not utf-8"))?;
        let (text, signatures) = note
            .split_once("\n\n")
            .ok_or(NoteError::Form("no empty line"))?;
        Ok(Self {
            text: format!("{text}\n"),
            lines: parse_lines(signatures)?,
        })
    }

    /// The text that is signed, as it arrived, with its last line feed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All lines, in order.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }
}

/// Reads signature lines, as a witness answers with them.
///
/// # Errors
/// The first line that is none.
pub fn parse_lines(text: &str) -> Result<Vec<Line>, NoteError> {
    let body = text
        .strip_suffix('\n')
        .ok_or(NoteError::Form("no final newline"))?;
    body.split('\n').map(parse_line).collect()
}

fn parse_line(line: &str) -> Result<Line, NoteError> {
    let form = NoteError::Form("a signature line is not a dash, a name and base64");
    let (name, blob) = line
        .strip_prefix("\u{2014} ")
        .and_then(|rest| rest.split_once(' '))
        .ok_or(form)?;
    let blob = decode(blob).ok_or(form)?;
    let (hash, signature) = blob.split_first_chunk::<4>().ok_or(form)?;
    if !is_name(name) {
        return Err(form);
    }
    Ok(Line {
        name: name.to_owned(),
        hash: *hash,
        signature: signature.to_vec(),
    })
}

/// SPEC: C2SP signed-note: non-empty, no Unicode spaces, no plus sign.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

/// Bytes as notes write them: base64 of RFC 4648 section 4, with padding.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Base64 that prints back to itself.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD
        .decode(text)
        .ok()
        .filter(|b| STANDARD.encode(b) == text)
}
