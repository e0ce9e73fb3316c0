//! What a witness may sign.
//!
//! In: the body of a request from anybody, what is known of its log, the head that was signed
//! last. Out: an [`Accepted`] head, which is the only thing that can be cosigned, or a
//! [`Refusal`] with its status. No network, disk or clock.
//!
//! SPEC: C2SP tlog-witness v1.0.0, "add-checkpoint":
//!
//! 1. the body is an old size, a proof, an empty line, a checkpoint; else 400
//! 2. the log is known; else 404
//! 3. one of its keys signed the checkpoint; else 403
//! 4. the old size is not above the checkpoint's; else 400
//! 5. the old size is that of the head that was signed last, 0 if none was; else 409 and that size
//! 6. of the same size there is one root; else 409
//! 7. the proof shows that the checkpoint continues that head; else 422

use countersign_record::checkpoint::Claimed;
use countersign_record::digest::{NodeHash, Signature};
use countersign_record::merkle::{Head, ProofError, empty_root, verify_consistency};
use countersign_record::note::{MAX_NOTE_BYTES, Note, NoteKey, Role, UnixSeconds, cosigned};
use countersign_signatures::ed25519;
use thiserror::Error;

/// Most lines of a proof. Source: C2SP tlog-witness, "add-checkpoint".
pub const MAX_PROOF_LINES: usize = 63;

/// Longest request, in bytes: `old` and a number (25), 63 hashes of 45 characters, an empty line, a note.
pub const MAX_REQUEST_BYTES: usize = 25 + MAX_PROOF_LINES * 45 + 1 + MAX_NOTE_BYTES;

/// A log that is witnessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Its name, the first line of its checkpoints.
    pub origin: String,
    /// Keys whose signatures count; one is enough.
    pub keys: Vec<NoteKey>,
}

/// Why a checkpoint is not signed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Not a request of this protocol.
    #[error("the request is malformed: {0}")]
    Malformed(String),
    /// A log that nobody told this witness of.
    #[error("this witness does not know log {0:?}")]
    UnknownLog(String),
    /// No signature of the log.
    #[error("no key of the log signed this checkpoint")]
    NotSigned,
    /// The request does not start from the head that was signed last.
    #[error("the last checkpoint that was signed has size {known}")]
    OldSize {
        /// Its size.
        known: u64,
    },
    /// Another root of the same size: two histories, both signed by the log.
    #[error("another checkpoint of size {known} was signed before: the log has two histories")]
    OtherHistory {
        /// The size.
        known: u64,
    },
    /// The proof does not show that the log only grew.
    #[error("the proof does not show that the log only grew: {0}")]
    Proof(ProofError),
}

impl Refusal {
    /// The status of HTTP.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::NotSigned => 403,
            Self::UnknownLog(_) => 404,
            Self::OldSize { .. } | Self::OtherHistory { .. } => 409,
            Self::Proof(_) => 422,
        }
    }
}

/// A request, well formed; nothing in it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    old: u64,
    proof: Vec<NodeHash>,
    note: Note,
    claimed: Claimed,
    whole: String,
}

impl Submission {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        if body.len() > MAX_REQUEST_BYTES {
            let text = format!("it is {} bytes, limit is {MAX_REQUEST_BYTES}", body.len());
            return Err(Refusal::Malformed(text));
        }
        let text = std::str::from_utf8(body).map_err(|_| malformed("it is not utf-8"))?;
        let (head, note) = text
            .split_once("\n\n")
            .ok_or_else(|| malformed("it has no empty line"))?;
        let mut lines = head.split('\n');
        let old = lines
            .next()
            .and_then(|l| l.strip_prefix("old "))
            .and_then(decimal)
            .ok_or_else(|| malformed("its first line is not `old` and a size"))?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() == MAX_PROOF_LINES {
                return Err(malformed("its proof has more than 63 lines"));
            }
            let hash = countersign_record::note::decode(line)
                .and_then(|b| <[u8; 32]>::try_from(b).ok())
                .ok_or_else(|| malformed("a line of its proof is not 32 bytes of base64"))?;
            proof.push(NodeHash(hash));
        }
        let whole = note.to_owned();
        let note = Note::parse(whole.as_bytes()).map_err(|e| malformed(&e.to_string()))?;
        let claimed = Claimed::parse(note.text()).map_err(|e| malformed(&e.to_string()))?;
        Ok(Self {
            old,
            proof,
            note,
            claimed,
            whole,
        })
    }

    /// The checkpoint as it arrived.
    #[must_use]
    pub fn checkpoint(&self) -> &str {
        &self.whole
    }

    /// The log that it is said to be about.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.claimed.origin
    }
}

fn malformed(text: &str) -> Refusal {
    Refusal::Malformed(text.to_owned())
}

/// A number as the protocol writes it: no sign, no leading zero.
fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// A genuine checkpoint that continues what was signed before.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an accepted head is signed once it is durable"]
pub struct Accepted {
    text: String,
    head: Head,
    /// The log's own lines that hold.
    lines: String,
}

/// What was signed, as it is kept and given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Size and root.
    pub head: Head,
    /// The checkpoint with the log's lines and the witness's.
    pub note: String,
    /// The witness's line.
    pub line: String,
}

/// Judges a request: `log` is the log of its origin, if there is one, `known` the head that was signed last.
///
/// # Errors
/// Why nothing is signed.
pub fn judge(
    submission: Submission,
    log: Option<&Log>,
    known: Option<Head>,
) -> Result<Accepted, Refusal> {
    let Submission {
        old,
        proof,
        note,
        claimed,
        whole: _,
    } = submission;
    let log = log
        .filter(|l| l.origin == claimed.origin)
        .ok_or(Refusal::UnknownLog(claimed.origin))?;
    let lines = genuine_lines(&note, log);
    if lines.is_empty() {
        return Err(Refusal::NotSigned);
    }
    let head = claimed.head;
    if old > head.size {
        return Err(malformed("its old size is above that of the checkpoint"));
    }
    let known = known.unwrap_or(Head {
        size: 0,
        root: empty_root(),
    });
    if old != known.size {
        return Err(Refusal::OldSize { known: known.size });
    }
    if head.size == known.size && head.root != known.root {
        return Err(Refusal::OtherHistory { known: known.size });
    }
    verify_consistency(known, head, &proof).map_err(Refusal::Proof)?;
    Ok(Accepted {
        text: note.text().to_owned(),
        head,
        lines,
    })
}

/// Lines of the log's keys that hold, as they are written; each key's first.
fn genuine_lines(note: &Note, log: &Log) -> String {
    log.keys
        .iter()
        .filter(|key| key.role() == Role::Log)
        .filter_map(|key| {
            let line = note.lines().iter().find(|l| l.is_of(key))?;
            let signature = line.signature().ok()?;
            holds(key, note.text().as_bytes(), &signature).then(|| key.signature_line(&signature))
        })
        .collect()
}

fn holds(key: &NoteKey, message: &[u8], signature: &Signature) -> bool {
    ed25519::PublicKey::parse(&key.key().0).is_ok_and(|k| {
        k.verify(ed25519::Signed {
            message,
            signature: &signature.0,
        })
        .is_ok()
    })
}

impl Accepted {
    /// Size and root.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Signs it at a time.
    pub fn cosign(
        self,
        witness: &NoteKey,
        time: UnixSeconds,
        sign: impl FnOnce(&[u8]) -> Signature,
    ) -> Signed {
        let signature = sign(cosigned(time, &self.text).as_bytes());
        let line = witness.cosignature_line(time, &signature);
        Signed {
            head: self.head,
            note: format!("{}\n{}{line}", self.text, self.lines),
            line,
        }
    }
}

#[cfg(test)]
mod tests;
