//! Outside clocks: tokens of RFC 3161 over checkpoints.

use super::case::*;
use super::clock::{self, Certificate, Forge, SIGNER, seq, tlv};
use super::common::*;
use countersign_record::cbor::Bytes;
use countersign_record::checkpoint::Checkpoint;
use countersign_record::digest::UnixMillis;
use countersign_record::export::Timestamp;
use countersign_verify::ledger::State;
use countersign_verify::time;

/// A token over a checkpoint, so many milliseconds after [`START`], before it is made.
fn token(note: &str, after: u64) -> Forge {
    let checkpoint = Checkpoint::parse(note.as_bytes(), &gateway()).unwrap();
    let text: String = time::format(UnixMillis(START + after))
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    Forge::new(checkpoint.imprint(), &format!("{text}Z"))
}

fn over(note: &str, token: Vec<u8>) -> Timestamp {
    let checkpoint = Checkpoint::parse(note.as_bytes(), &gateway()).unwrap();
    Timestamp {
        size: checkpoint.head().size,
        token: Bytes(token),
    }
}

/// The story with a token over its last checkpoint, made a minute after its start.
fn stamped(make: impl FnOnce(&mut Forge) -> Option<Vec<u8>>) -> Parts {
    stamp(&story(), 60_000, make)
}

fn stamp(log: &Mini, after: u64, make: impl FnOnce(&mut Forge) -> Option<Vec<u8>>) -> Parts {
    let mut parts = Parts::of(log);
    let note = parts.checkpoints[0].clone();
    let mut forge = token(&note, after);
    let bytes = make(&mut forge).unwrap_or_else(|| forge.token());
    parts.timestamps.push((note.clone(), over(&note, bytes)));
    parts
}

/// The trust file's end, with one authority by its root.
fn authority(root: &Certificate) -> String {
    format!(
        "[[timestamping]]\nname = \"Example Time\"\nroot = \"{}\"\n",
        hex::encode(root.der())
    )
}

fn root() -> Certificate {
    clock::issuer("root", "root", clock::ROOT, clock::ROOT)
}

fn trusting(rule: &str) -> String {
    trust_and(&format!("{rule}{}", authority(&root())))
}

/// The story and ten minutes, with a last entry.
fn late() -> Mini {
    let mut log = story();
    log.time = START + 600_000;
    log.event();
    log
}

fn of(name: &'static str, sentence: &'static str, parts: &Parts) -> Case {
    case(name, sentence, parts.bytes()).trust("clock", trusting(""))
}

pub fn cases() -> Vec<Case> {
    [sightings(), tokens()].into_iter().flatten().collect()
}

fn sightings() -> Vec<Case> {
    let within = |seconds: u64| trusting(&format!("[log]\nmax_unseen_seconds = {seconds}\n"));
    let other = clock::issuer("other", "other", 9, 9);
    let inside = {
        let log = late();
        let mut parts = Parts::of(&log);
        let note = checkpoint(&log.leaves[..7]);
        let token = token(&note, 60_000).token();
        parts.timestamps.push((note.clone(), over(&note, token)));
        parts.placed.push((7, note));
        parts
    };
    let moved = {
        let mut parts = stamped(|_| None);
        let shorter = checkpoint(&story().leaves[..4]);
        parts.timestamps[0].1.token = Bytes(token(&shorter, 60_000).token());
        parts
    };
    let unsigned = {
        let mut parts = stamped(|_| None);
        parts.checkpoints[0] = parts.checkpoints[0].replace("/epoch ", "/other ");
        parts.timestamps[0].0 = parts.checkpoints[0].clone();
        parts
    };
    vec![
        of("accept-timestamp", "An outside clock saw the log a minute after its start.", &stamped(|_| None)).state("outside-time", State::Pass),
        of("accept-timestamp-inside", "An outside clock saw the first entries; later ones claim later times.", &inside).state("outside-time", State::Pass),
        of("outside-time-entry-from-the-future", "An entry claims a time that is later than when an outside clock saw it.", &stamp(&late(), 60_000, |_| None)).against("outside-time"),
        of("accept-clocks-that-differ-by-a-minute", "An entry claims a time a minute after an outside clock saw it.", &stamp(&late(), 541_000, |_| None)).state("outside-time", State::Pass),
        of("outside-time-more-than-a-minute", "An entry claims a time a minute and a second after an outside clock saw it.", &stamp(&late(), 540_000, |_| None)).against("outside-time"),
        of("accept-accuracy-of-a-token", "An entry claims a time a minute and a second after a clock saw it that is accurate to a second.", &stamp(&late(), 540_000, |f| { f.accuracy = seq(&[tlv(0x02, &[1])]); None })).state("outside-time", State::Pass),
        case("accept-token-of-nobody-known", "A token is of an authority that the trust file does not name.", stamped(|_| None).bytes()).trust("other-clock", trust_and(&authority(&other))).state("outside-time", State::NotChecked),
        of("checkpoint-signatures-under-a-token", "A token is over a checkpoint that other keys signed; it says nothing, and the checkpoint is named.", &unsigned).fails("checkpoint-signatures").state("outside-time", State::NotChecked),
        of("outside-time-moved-token", "A token was taken from another checkpoint.", &moved).against("outside-time"),
        of("outside-time-other-size", "A timestamp says another size than its checkpoint.", &{
            let mut parts = stamped(|_| None);
            parts.timestamps[0].1.size -= 1;
            parts
        }).against("outside-time"),
        case("outside-time-never-seen", "No outside clock saw the log for as long as it lasted, which is longer than allowed.", Parts::of(&late()).bytes()).trust("unseen-599", within(599)).against("outside-time"),
        case("accept-unseen-as-long-as-allowed", "No outside clock saw the log for as long as it lasted, which is as long as allowed.", story().export()).trust("unseen-599", within(599)).state("outside-time", State::NotChecked),
        case("outside-time-seen-too-late", "An outside clock saw the log later than allowed.", stamp(&late(), 1_800_000, |_| None).bytes()).trust("unseen-1798", within(1798)).against("outside-time"),
        case("accept-seen-in-time", "An outside clock saw the log as late as allowed.", stamp(&late(), 1_800_000, |_| None).bytes()).trust("unseen-1799", within(1799)).state("outside-time", State::Pass),
        case("framing-timestamp-of-nothing", "A timestamp stands where no checkpoint is before it.", {
            let mut items = items(&stamped(|_| None).bytes());
            let at = items.iter().position(|i| i.0 == 9).unwrap();
            let timestamp = items.remove(at);
            let entry = items.iter().position(|i| i.0 == 2).unwrap();
            items.insert(entry + 1, timestamp);
            super::log::retrailed(&file(&items))
        }).fails("framing"),
        of("trailer-timestamp-taken-out", "A timestamp was taken out after the trailer was written.", &stamped(|_| None)).with_items(|items| items.retain(|i| i.0 != 9)).fails("trailer"),
    ]
}

/// Tokens that do not hold.
fn tokens() -> Vec<Case> {
    let bad = |name, sentence, make: fn(&mut Forge) -> Option<Vec<u8>>| {
        of(name, sentence, &stamped(make)).against("outside-time")
    };
    vec![
        bad(
            "outside-time-no-token",
            "What is called a token is none.",
            |_| Some(vec![0x30, 0x80, 0, 0]),
        ),
        bad(
            "outside-time-broken-signature",
            "The token's signature does not hold.",
            |f| Some(broken(f.token())),
        ),
        bad(
            "outside-time-by-another-key",
            "The token is signed by another key than its certificate has.",
            |f| {
                f.signs = 9;
                None
            },
        ),
        bad(
            "outside-time-other-content",
            "The content was exchanged after it was signed.",
            |f| {
                let content = f.content();
                let attributes = f.attributes(&content);
                f.time = "20200101000000Z".into();
                Some(f.token_of(&f.content(), &attributes))
            },
        ),
        bad(
            "outside-time-version-2",
            "The token's content has version 2.",
            |f| {
                f.info_version = 2;
                None
            },
        ),
        bad(
            "outside-time-two-signers",
            "The token has two signers.",
            |f| {
                f.signers = 2;
                None
            },
        ),
        bad("outside-time-trailing", "A byte follows the token.", |f| {
            Some([f.token(), vec![0]].concat())
        }),
        bad(
            "outside-time-purpose-not-critical",
            "The authority's certificate says its purpose, and does not say that it matters.",
            |f| {
                f.signer.extension(clock::PURPOSES).critical = false;
                None
            },
        ),
        bad(
            "outside-time-no-purpose",
            "The authority's certificate has no purpose.",
            |f| {
                f.signer.without(clock::PURPOSES);
                None
            },
        ),
        bad(
            "outside-time-certificate-expired",
            "The authority's certificate had expired.",
            |f| {
                f.signer.until = "250101000000Z";
                None
            },
        ),
        bad(
            "outside-time-certificate-by-another-key",
            "The authority's certificate is signed by another key than the root's.",
            |f| {
                f.signer.by = 9;
                None
            },
        ),
        bad(
            "outside-time-sha-1",
            "The authority's certificate is signed with SHA-1.",
            |f| {
                f.signer.algorithm = clock::ECDSA_SHA1;
                f.signer.outer_algorithm = clock::ECDSA_SHA1;
                None
            },
        ),
        of(
            "accept-token-with-an-issuer-between",
            "An issuer stands between the authority and the root.",
            &stamped(|f| {
                f.issuers = vec![clock::issuer("between", "root", 5, clock::ROOT)];
                f.signer = clock::stamper("stamper", "between", SIGNER, 5);
                None
            }),
        )
        .state("outside-time", State::Pass),
        bad(
            "outside-time-issuer-that-is-none",
            "What stands between the authority and the root may not issue.",
            |f| {
                f.issuers = vec![clock::stamper("between", "root", 5, clock::ROOT)];
                f.signer = clock::stamper("stamper", "between", SIGNER, 5);
                None
            },
        ),
    ]
}
