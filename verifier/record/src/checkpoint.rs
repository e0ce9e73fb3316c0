//! Checkpoints: signed notes over size and root of the log.
//!
//! In: a head, or text from anywhere. Out: a C2SP checkpoint with two signature lines, the
//! identity key's (which witnesses know) and the epoch key's (which evidence binds), or the
//! first thing that is wrong. A third, post-quantum line has its place reserved: lines of
//! other names or algorithms are kept and not judged.
//!
//! ```text
//! countersign/3f…            origin: "countersign/" and the gateway id
//! 1234                       size, decimal
//! nND/nri/U0x…               root, base64
//!
//! — countersign/3f… AbCd…    identity key
//! — countersign/3f…/epoch …  epoch key
//! ```
//!
//! Spec: C2SP tlog-checkpoint and signed-note; `docs/spec/record.md`, "Checkpoints".

use crate::digest::{GatewayId, NodeHash, PublicKey, Signature};
use crate::merkle::Head;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// Longest checkpoint that is read, in bytes. Two of our lines need 500; the rest is room for cosignatures.
pub const MAX_CHECKPOINT_BYTES: usize = 16 * 1024;

/// Signature type Ed25519. Source: C2SP signed-note, "Signature types".
const ED25519: u8 = 0x01;

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

/// A signature line: `name`, the key, its signature over [`note_text`].
#[must_use]
pub fn signature_line(name: &str, key: &PublicKey, signature: &Signature) -> String {
    let mut blob = key_hash(name, key).to_vec();
    blob.extend_from_slice(&signature.0);
    format!("\u{2014} {name} {}\n", STANDARD.encode(blob))
}

/// SPEC: C2SP signed-note: `SHA-256(name || 0x0A || type || key)[:4]`.
fn key_hash(name: &str, key: &PublicKey) -> [u8; 4] {
    let mut h = Sha256::new();
    h.update(name.as_bytes());
    h.update([0x0a, ED25519]);
    h.update(key.0);
    let digest: [u8; 32] = h.finalize().into();
    let [a, b, c, d, ..] = digest;
    [a, b, c, d]
}

/// A checkpoint whose signatures are not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    text: String,
    head: Head,
    lines: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    name: String,
    hash: [u8; 4],
    signature: Vec<u8>,
}

impl Checkpoint {
    /// Reads a checkpoint of the log of `gateway`.
    ///
    /// # Errors
    /// Why the bytes are not one.
    pub fn parse(bytes: &[u8], gateway: &GatewayId) -> Result<Self, CheckpointError> {
        if bytes.len() > MAX_CHECKPOINT_BYTES {
            return Err(CheckpointError::TooLarge { found: bytes.len() });
        }
        let note = std::str::from_utf8(bytes).map_err(|_| CheckpointError::Form("not utf-8"))?;
        let (text, signatures) = note
            .split_once("\n\n")
            .ok_or(CheckpointError::Form("no empty line"))?;
        let mut fields = text.split('\n');
        if fields.next() != Some(origin(gateway).as_str()) {
            return Err(CheckpointError::Origin);
        }
        let (Some(size_text), Some(root_text), None) =
            (fields.next(), fields.next(), fields.next())
        else {
            return Err(CheckpointError::Form("it has other than three lines"));
        };
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
        let lines = parse_lines(signatures)?;
        Ok(Self {
            text: format!("{text}\n"),
            head: Head {
                size,
                root: NodeHash(root),
            },
            lines,
        })
    }

    /// Size and root.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// The text that is signed, as it arrived.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
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
        let hash = key_hash(name, key);
        self.lines
            .iter()
            .find(|l| l.name == name && l.hash == hash)
            .and_then(|l| <[u8; 64]>::try_from(l.signature.as_slice()).ok())
            .map(Signature)
            .ok_or(CheckpointError::NoLine(who))
    }

    /// Names of all lines, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(|l| l.name.as_str())
    }
}

fn parse_lines(text: &str) -> Result<Vec<Line>, CheckpointError> {
    let body = text
        .strip_suffix('\n')
        .ok_or(CheckpointError::Form("no final newline"))?;
    body.split('\n').map(parse_line).collect()
}

fn parse_line(line: &str) -> Result<Line, CheckpointError> {
    let form = CheckpointError::Form("a signature line is not a dash, a name and base64");
    let (name, blob) = line
        .strip_prefix("\u{2014} ")
        .and_then(|rest| rest.split_once(' '))
        .ok_or(form.clone())?;
    let blob = decode(blob).ok_or(form.clone())?;
    let (hash, signature) = blob.split_first_chunk::<4>().ok_or(form.clone())?;
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+') {
        return Err(form);
    }
    Ok(Line {
        name: name.to_owned(),
        hash: *hash,
        signature: signature.to_vec(),
    })
}

fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD
        .decode(text)
        .ok()
        .filter(|b| STANDARD.encode(b) == text)
}
