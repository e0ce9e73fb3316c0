//! One submission to one witness, over plain HTTP.
//!
//! In: a checkpoint and its proof. Out: the witness's line, whose signature holds, or what went
//! wrong. Nothing that comes over the wire counts but that line: it is verified with the key in
//! the settings, which are measured. A size in a refusal is a hint without a signature; it can
//! make the gateway try again, or start held, and never makes it go on.
//!
//! SPEC: C2SP tlog-witness v1.0.0, "add-checkpoint".

use crate::plain_http::{Message, NoAnswer, PlainHttp};
use countersign_policies::site::settings::WitnessSettings;
use countersign_record::checkpoint::Claimed;
use countersign_record::digest::NodeHash;
use countersign_record::note::{MAX_NOTE_BYTES, Note, UnixSeconds, cosigned, encode, parse_lines};
use countersign_signatures::ed25519;
use std::time::Duration;

/// Why there is no cosignature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// No connection, or it broke.
    #[error("cannot be reached")]
    Unreachable,
    /// The time was up.
    #[error("does not answer in time")]
    Timeout,
    /// Not an answer of the protocol.
    #[error("gives an answer that is none")]
    Malformed,
    /// The signature is not its own.
    #[error("answers with a signature that is not its own")]
    Forged,
    /// Another status.
    #[error("refuses with status {0}")]
    Refused(u16),
    /// It has signed a larger head than the one submitted.
    #[error("has cosigned {0} entries, more than were submitted")]
    Ahead(u64),
    /// It has signed a head that the one submitted does not continue.
    #[error("has cosigned {0} entries of another history")]
    OtherHistory(u64),
    /// The log has no proof of that.
    #[error("cannot be given a proof")]
    NoProof,
}

impl From<NoAnswer> for Trouble {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::Unreachable => Self::Unreachable,
            NoAnswer::Timeout => Self::Timeout,
            NoAnswer::Malformed => Self::Malformed,
        }
    }
}

/// A cosignature that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The line to put under the checkpoint.
    pub line: String,
    /// When it was given, as the witness says.
    pub time: UnixSeconds,
    /// Size of the checkpoint.
    pub size: u64,
}

/// A signed checkpoint, and proofs that it continues smaller ones.
pub struct Submission<'a, F> {
    /// The checkpoint.
    pub note: &'a str,
    /// Consistency proofs from a size to that of the checkpoint.
    pub proofs: F,
}

/// Speaks to one witness.
pub struct Courier {
    settings: WitnessSettings,
    wire: PlainHttp,
}

impl Courier {
    /// A courier that waits so long for each answer.
    #[must_use]
    pub fn new(settings: WitnessSettings, wait: Duration) -> Self {
        let wire = PlainHttp::new(&settings.address, wait);
        Self { settings, wire }
    }

    /// The witness.
    #[must_use]
    pub fn settings(&self) -> &WitnessSettings {
        &self.settings
    }

    /// Submits a checkpoint to a witness that is believed to have signed `known` entries.
    ///
    /// # Errors
    /// Why there is no cosignature.
    pub async fn submit<F>(
        &self,
        submission: &Submission<'_, F>,
        known: u64,
    ) -> Result<Seen, Trouble>
    where
        F: Fn(u64, u64) -> Option<Vec<NodeHash>>,
    {
        let note = Note::parse(submission.note.as_bytes()).map_err(|_| Trouble::NoProof)?;
        let claimed = Claimed::parse(note.text()).map_err(|_| Trouble::NoProof)?;
        let size = claimed.head.size;
        let mut old = known;
        // What is believed may be out of date; what the witness says then is tried once.
        for _ in 0..2 {
            if old > size {
                return Err(Trouble::Ahead(old));
            }
            let proof = (submission.proofs)(old, size).ok_or(Trouble::NoProof)?;
            let message = Message {
                path: &format!("{}/add-checkpoint", self.settings.address.path),
                media_type: "text/plain; charset=utf-8",
                body: request(old, &proof, submission.note).into_bytes(),
                limit: MAX_NOTE_BYTES,
            };
            let (status, body) = self.wire.post(message).await?;
            match status {
                200 => return self.seen(&body, note.text(), size),
                409 => {
                    let stands = size_of(&body).ok_or(Trouble::Malformed)?;
                    if stands == old {
                        return Err(Trouble::OtherHistory(old));
                    }
                    old = stands;
                }
                422 if old > 0 => return Err(Trouble::OtherHistory(old)),
                other => return Err(Trouble::Refused(other)),
            }
        }
        Err(if old > size {
            Trouble::Ahead(old)
        } else {
            Trouble::Refused(409)
        })
    }

    /// The witness's own line among those that came; others are left out.
    fn seen(&self, body: &[u8], text: &str, size: u64) -> Result<Seen, Trouble> {
        let body = std::str::from_utf8(body).map_err(|_| Trouble::Malformed)?;
        let lines = parse_lines(body).map_err(|_| Trouble::Malformed)?;
        let key = &self.settings.key;
        let line = lines
            .iter()
            .find(|l| l.is_of(key))
            .ok_or(Trouble::Malformed)?;
        let cosignature = line.cosignature().map_err(|_| Trouble::Malformed)?;
        let message = cosigned(cosignature.time, text);
        ed25519::PublicKey::parse(&key.key().0)
            .map_err(|_| Trouble::Forged)?
            .verify(ed25519::Signed {
                message: message.as_bytes(),
                signature: &cosignature.signature.0,
            })
            .map_err(|_| Trouble::Forged)?;
        Ok(Seen {
            line: key.cosignature_line(cosignature.time, &cosignature.signature),
            time: cosignature.time,
            size,
        })
    }
}

fn request(old: u64, proof: &[NodeHash], note: &str) -> String {
    let mut out = format!("old {old}\n");
    for hash in proof {
        out.push_str(&encode(&hash.0));
        out.push('\n');
    }
    out.push('\n');
    out.push_str(note);
    out
}

/// The size in a refusal.
fn size_of(body: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(body).ok()?.strip_suffix('\n')?;
    let size: u64 = text.parse().ok()?;
    (size.to_string() == text).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_in_a_refusal_is_one_number_and_a_line_feed() {
        assert_eq!(size_of(b"0\n"), Some(0));
        assert_eq!(size_of(b"900\n"), Some(900));
        for wrong in ["", "\n", "7", "07\n", "+7\n", "7\n\n", "-1\n", "7 \n"] {
            assert_eq!(size_of(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_request_is_an_old_size_a_proof_an_empty_line_and_the_checkpoint() {
        let proof = [NodeHash([0; 32])];
        let expected = format!("old 7\n{}=\n\nnote", "A".repeat(43));
        assert_eq!(request(7, &proof, "note"), expected);
        assert_eq!(request(0, &[], "note"), "old 0\n\nnote");
    }
}
