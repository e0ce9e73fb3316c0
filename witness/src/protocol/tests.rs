//! One acceptance, and one refusal for each rule.

use super::*;
use countersign_record::checkpoint::note_text;
use countersign_record::digest::{GatewayId, PublicKey};
use countersign_record::merkle::{Frontier, Nodes, consistency_proof, leaf_hash};
use ed25519_dalek::{Signer as _, SigningKey};
use std::collections::HashMap;

struct Stored(HashMap<(u8, u64), NodeHash>);
impl Nodes for Stored {
    fn node(&self, level: u8, index: u64) -> Option<NodeHash> {
        self.0.get(&(level, index)).copied()
    }
}

/// A log of numbered leaves; `tag` makes another history.
fn tree(size: u64, tag: u8) -> (Head, Stored) {
    let (mut frontier, mut stored) = (Frontier::new(), Stored(HashMap::new()));
    for i in 0..size {
        let leaf = leaf_hash(&[&[tag], i.to_be_bytes().as_slice()].concat());
        frontier.append(leaf, |level, index, hash| {
            stored.0.insert((level, index), hash);
        });
    }
    let head = Head {
        size,
        root: frontier.root(),
    };
    (head, stored)
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

fn gateway() -> GatewayId {
    public().gateway()
}

fn public() -> PublicKey {
    PublicKey(key().verifying_key().to_bytes())
}

fn log() -> Log {
    let origin = countersign_record::checkpoint::origin(&gateway());
    Log {
        keys: vec![NoteKey::new(&origin, Role::Log, public()).unwrap()],
        origin,
    }
}

fn note_by(signer: &SigningKey, head: &Head) -> String {
    let text = note_text(&gateway(), head);
    let signature = Signature(signer.sign(text.as_bytes()).to_bytes());
    format!("{text}\n{}", log().keys[0].signature_line(&signature))
}

fn body(old: u64, proof: &[NodeHash], note: &str) -> Vec<u8> {
    use std::fmt::Write as _;
    let mut out = format!("old {old}\n");
    for hash in proof {
        writeln!(out, "{}", countersign_record::note::encode(&hash.0)).unwrap();
    }
    format!("{out}\n{note}").into_bytes()
}

fn grow(old: u64, new: u64) -> Vec<u8> {
    let (head, stored) = tree(new, 0);
    let proof = consistency_proof(&stored, old, new).unwrap();
    body(old, &proof, &note_by(&key(), &head))
}

fn ask(body: &[u8], known: Option<Head>) -> Result<Accepted, Refusal> {
    judge(Submission::parse(body)?, Some(&log()), known)
}

#[test]
fn a_checkpoint_that_continues_the_last_one_is_cosigned() {
    let witness = SigningKey::from_bytes(&[9; 32]);
    let name = NoteKey::new(
        "witness.example/w1",
        Role::Witness,
        PublicKey(witness.verifying_key().to_bytes()),
    )
    .unwrap();
    for (old, new) in [(0, 0), (0, 1), (0, 7), (3, 7), (4, 8), (7, 7), (1, 900)] {
        let known = (old > 0).then(|| tree(old, 0).0);
        let accepted = ask(&grow(old, new), known).unwrap();
        assert_eq!(accepted.head(), tree(new, 0).0);
        let time = UnixSeconds(1_800_000_000);
        let signed = accepted.cosign(&name, time, |m| Signature(witness.sign(m).to_bytes()));
        // What it says is a note in which both lines are found, and hold.
        let note = Note::parse(signed.note.as_bytes()).unwrap();
        assert_eq!(genuine_lines(&note, &log()).lines().count(), 1);
        let line = note.lines().iter().find(|l| l.is_of(&name)).unwrap();
        let cosignature = line.cosignature().unwrap();
        assert_eq!(cosignature.time, time);
        let message = cosigned(time, note.text());
        assert!(holds(&name, message.as_bytes(), &cosignature.signature));
    }
}

#[test]
fn the_old_size_has_to_be_that_of_the_last_one_and_the_answer_says_which() {
    for (old, known) in [(0, 3), (2, 3), (4, 3)] {
        let refusal = ask(&grow(old, 7), Some(tree(known, 0).0)).unwrap_err();
        assert_eq!(refusal, Refusal::OldSize { known });
        assert_eq!(refusal.status(), 409);
    }
    assert_eq!(
        ask(&grow(3, 7), None),
        Err(Refusal::OldSize { known: 0 }),
        "nothing was signed before"
    );
}

#[test]
fn a_shorter_log_is_never_signed() {
    assert_eq!(
        ask(&grow(0, 3), Some(tree(7, 0).0)),
        Err(Refusal::OldSize { known: 7 })
    );
    let (head, _) = tree(3, 0);
    let refusal = ask(&body(7, &[], &note_by(&key(), &head)), Some(tree(7, 0).0)).unwrap_err();
    assert_eq!(refusal.status(), 400);
}

#[test]
fn another_root_of_the_same_size_is_a_second_history() {
    let (head, _) = tree(7, 1);
    let refusal = ask(&body(7, &[], &note_by(&key(), &head)), Some(tree(7, 0).0)).unwrap_err();
    assert_eq!(refusal, Refusal::OtherHistory { known: 7 });
    assert_eq!(refusal.status(), 409);
}

#[test]
fn a_longer_log_that_does_not_continue_the_last_one_is_refused() {
    let refusal = ask(&grow(3, 7), Some(tree(3, 1).0)).unwrap_err();
    assert!(matches!(refusal, Refusal::Proof(_)), "{refusal}");
    assert_eq!(refusal.status(), 422);
}

#[test]
fn a_proof_that_is_left_out_or_too_long_is_refused() {
    let (head, _) = tree(7, 0);
    let note = note_by(&key(), &head);
    let known = Some(tree(3, 0).0);
    assert_eq!(ask(&body(3, &[], &note), known).unwrap_err().status(), 422);
    let spare = [head.root; 1];
    assert_eq!(
        ask(&body(0, &spare, &note), None).unwrap_err().status(),
        422
    );
    let many = [head.root; MAX_PROOF_LINES + 1];
    assert_eq!(
        ask(&body(3, &many, &note), known).unwrap_err().status(),
        400
    );
}

#[test]
fn a_checkpoint_that_the_log_did_not_sign_is_refused() {
    let (head, _) = tree(7, 0);
    let stranger = SigningKey::from_bytes(&[4; 32]);
    let refusal = ask(&body(0, &[], &note_by(&stranger, &head)), None).unwrap_err();
    assert_eq!(refusal, Refusal::NotSigned);
    assert_eq!(refusal.status(), 403);
    // A witness's line is no log's, even by the same key.
    let text = note_text(&gateway(), &head);
    let witness = NoteKey::new(log().keys[0].name(), Role::Witness, public()).unwrap();
    let time = UnixSeconds(1);
    let signature = Signature(key().sign(cosigned(time, &text).as_bytes()).to_bytes());
    let note = format!("{text}\n{}", witness.cosignature_line(time, &signature));
    let mut log = log();
    log.keys = vec![witness];
    let submission = Submission::parse(&body(0, &[], &note)).unwrap();
    assert_eq!(judge(submission, Some(&log), None), Err(Refusal::NotSigned));
}

#[test]
fn a_log_that_is_not_known_is_refused() {
    let submission = Submission::parse(&grow(0, 7)).unwrap();
    assert_eq!(judge(submission, None, None).unwrap_err().status(), 404);
    let mut other = log();
    other.origin = "countersign/other".to_owned();
    let submission = Submission::parse(&grow(0, 7)).unwrap();
    assert_eq!(
        judge(submission, Some(&other), None).unwrap_err().status(),
        404
    );
}

#[test]
fn a_malformed_request_is_refused() {
    let good = String::from_utf8(grow(3, 7)).unwrap();
    assert!(Submission::parse(good.as_bytes()).is_ok());
    let note = note_by(&key(), &tree(7, 0).0);
    for bad in [
        String::new(),
        good.replacen("old 3", "old 03", 1),
        good.replacen("old 3", "old +3", 1),
        good.replacen("old 3", "old -3", 1),
        good.replacen("old 3", "Old 3", 1),
        good.replacen("old 3\n", "", 1),
        good.replacen("old 3\n", "old 3\n\n", 1),
        good.replacen("old 3\n", "old 3\nAAAA\n", 1),
        good.replacen("old 3\n", "old 18446744073709551616\n", 1),
        good.replacen('\n', "\r\n", 1),
        good.trim_end().to_owned(),
        format!("old 3\n{note}"),
        format!("{good}x"),
        good + &" ".repeat(MAX_REQUEST_BYTES),
    ] {
        let refusal = Submission::parse(bad.as_bytes()).unwrap_err();
        assert_eq!(refusal.status(), 400, "{bad:?}");
    }
}

#[test]
fn lines_of_others_are_not_passed_on() {
    let (head, _) = tree(7, 0);
    let note = note_by(&key(), &head) + "\u{2014} other.example AAAAAAAAAAAA\n";
    let accepted = ask(&body(0, &[], &note), None).unwrap();
    let witness = NoteKey::new("w", Role::Witness, public()).unwrap();
    let signed = accepted.cosign(&witness, UnixSeconds(1), |_| Signature([0; 64]));
    assert!(!signed.note.contains("other.example"));
}
