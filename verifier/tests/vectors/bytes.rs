//! Files, encodings, statements, signatures: what a verifier meets before it understands anything.

use super::calls;
use super::case::*;
use super::common::*;
use countersign_record::body::lifecycle::TPM_EVIDENCE_KIND;
use countersign_record::body::{Mode, Verdict};
use countersign_record::cbor::{Bytes, Cbor as _, Writer};
use countersign_record::digest::{KeyId, Signature};
use countersign_record::entry::{Body, Extensions, Kind};
use countersign_record::export::{Artifact, ItemKind, MAGIC, Manifest};
use countersign_verify::ledger::State;

pub fn cases() -> Vec<Case> {
    [framing(), encodings(), statements(), signatures(), later()]
        .into_iter()
        .flatten()
        .collect()
}

fn framing() -> Vec<Case> {
    let export = || story().export();
    let cut = |n: usize| {
        let bytes = export();
        bytes[..bytes.len() - n].to_vec()
    };
    // The story with these bytes in the place of its last item, the trailer.
    let instead_of_trailer = |bytes: &[u8]| {
        let mut all = items(&export());
        all.pop();
        [file(&all), bytes.to_vec()].concat()
    };
    let manifest = |change: &dyn Fn(&mut Vec<u8>)| refiled(|items| change(&mut items[0].1));
    vec![
        case(
            "framing-empty-file",
            "A file of no bytes is no export.",
            vec![],
        )
        .fails("framing"),
        case(
            "framing-not-an-export",
            "A file with another beginning is no export.",
            b"%PDF-1.7\n".to_vec(),
        )
        .fails("framing"),
        case(
            "framing-magic-only",
            "Nothing follows the magic.",
            MAGIC.to_vec(),
        )
        .fails("framing"),
        case(
            "framing-cut-in-trailer",
            "The file ends inside its trailer.",
            cut(10),
        )
        .fails("framing"),
        case(
            "framing-cut-before-trailer",
            "The file ends before its trailer, between two items.",
            instead_of_trailer(&[]),
        )
        .fails("framing"),
        case(
            "framing-byte-after-trailer",
            "A byte follows the trailer.",
            [export(), vec![0]].concat(),
        )
        .fails("framing"),
        case(
            "framing-second-trailer",
            "A second trailer follows the first.",
            refiled(|i| i.push(i[i.len() - 1].clone())),
        )
        .fails("framing"),
        case(
            "framing-second-manifest",
            "There are two manifests.",
            refiled(|i| i.insert(1, i[0].clone())),
        )
        .fails("framing"),
        case(
            "framing-no-manifest",
            "The first item is an artifact.",
            refiled(|i| {
                i.remove(0);
            }),
        )
        .fails("framing"),
        case(
            "framing-trailer-alone",
            "There is a trailer and nothing before it.",
            refiled(|i| {
                i.drain(..i.len() - 1);
            }),
        )
        .fails("framing"),
        case(
            "framing-late-bundle",
            "A bundle stands after the first entry.",
            refiled(|i| {
                let bundle = i.remove(1);
                let at = i.iter().position(|x| x.0 == 2).unwrap() + 1;
                i.insert(at, bundle);
            }),
        )
        .fails("framing"),
        case(
            "framing-evidence-before-nothing",
            "Evidence stands before the trailer.",
            refiled(|i| {
                let evidence = i[2].clone();
                i.insert(i.len() - 1, evidence);
            }),
        )
        .fails("framing"),
        case(
            "framing-evidence-inside",
            "Evidence stands between an entry and its disclosures.",
            refiled(|i| {
                let evidence = i[2].clone();
                let at = i.iter().position(|x| x.0 == 4).unwrap();
                i.insert(at, evidence);
            }),
        )
        .fails("framing"),
        case(
            "framing-too-much-evidence",
            "Seventeen pieces of evidence stand before one entry.",
            refiled(|i| (0..16).for_each(|_| i.insert(2, i[2].clone()))),
        )
        .fails("framing"),
        case(
            "accept-spare-evidence",
            "Evidence stands before an entry that does not name it.",
            changed(|p| {
                p.artifacts.push(Artifact {
                    kind: TPM_EVIDENCE_KIND.into(),
                    bytes: Bytes(b"of nobody".to_vec()),
                });
            }),
        ),
        case(
            "evidence-set-before-another-entry",
            "The evidence of the opening stands before the second entry.",
            refiled(|i| {
                let evidence = i.remove(2);
                let at = i.iter().position(|x| x.0 == 2).unwrap() + 1;
                i.insert(at, evidence);
            }),
        )
        .fails("evidence-set"),
        case(
            "leaves-checkpoint-before-its-entries",
            "A checkpoint stands before the last entry that it covers.",
            refiled(|i| {
                let at = i.iter().rposition(|x| x.0 == 2).unwrap();
                let note = i.iter().rposition(|x| x.0 == 5).unwrap();
                let note = i.remove(note);
                i.insert(at, note);
            }),
        )
        .fails("leaves"),
        case(
            "framing-entry-before-the-manifest",
            "An entry stands before the manifest.",
            refiled(|items| {
                let at = items.iter().position(|i| i.0 == ItemKind::Entry.code());
                let entry = items.remove(at.unwrap());
                items.insert(0, entry);
            }),
        )
        .fails("framing"),
        case(
            "framing-entry-after-the-trailer",
            "An entry stands after the trailer.",
            refiled(|items| {
                let at = items.iter().position(|i| i.0 == ItemKind::Entry.code());
                let entry = items[at.unwrap()].clone();
                items.push(entry);
            }),
        )
        .fails("framing"),
        case(
            "framing-disclosures-of-nothing",
            "Disclosures stand before any entry.",
            refiled(|i| {
                let at = i.iter().position(|x| x.0 == 4).unwrap();
                let disclosures = i.remove(at);
                let first = i.iter().position(|x| x.0 == 2).unwrap();
                i.insert(first, disclosures);
            }),
        )
        .fails("framing"),
        case(
            "framing-disclosures-twice",
            "One entry has two items of disclosures.",
            refiled(|i| {
                let at = i.iter().position(|x| x.0 == 4).unwrap();
                i.insert(at, i[at].clone());
            }),
        )
        .fails("framing"),
        case(
            "framing-disclosures-of-a-leaf",
            "Disclosures follow a withheld leaf.",
            refiled(|i| {
                let at = i.iter().position(|x| x.0 == 4).unwrap();
                i[at - 1] = (3, vec![0; 32]);
            }),
        )
        .fails("framing"),
        case(
            "framing-leaf-of-31-bytes",
            "A withheld leaf has 31 bytes.",
            refiled(|i| {
                let at = i.iter().rposition(|x| x.0 == 2).unwrap();
                i[at] = (3, vec![0; 31]);
            }),
        )
        .fails("framing"),
        case(
            "framing-unknown-item",
            "An item has a number that no item has.",
            refiled(|i| {
                let end = i.len() - 1;
                i.insert(end, (9, vec![]));
            }),
        )
        .fails("framing"),
        case(
            "framing-item-of-three",
            "An item is an array of three.",
            instead_of_trailer(&[0x83, 0x06, 0x40, 0x00]),
        )
        .fails("framing"),
        case(
            "framing-item-not-shortest",
            "The number of an item is not in its shortest form.",
            instead_of_trailer(&[0x82, 0x18, 0x06, 0x40]),
        )
        .fails("framing"),
        case(
            "framing-item-indefinite",
            "An item is an array of indefinite length.",
            instead_of_trailer(&[0x9f, 0x06, 0x40, 0xff]),
        )
        .fails("framing"),
        case(
            "framing-item-in-pieces",
            "The content of an item is a byte string of indefinite length.",
            instead_of_trailer(&[0x82, 0x06, 0x5f, 0x40, 0xff]),
        )
        .fails("framing"),
        case(
            "framing-item-tagged",
            "An item has a tag.",
            instead_of_trailer(&[0xc1, 0x82, 0x06, 0x40]),
        )
        .fails("framing"),
        case(
            "framing-item-of-text",
            "The content of an item is text.",
            instead_of_trailer(&[0x82, 0x06, 0x60]),
        )
        .fails("framing"),
        case(
            "framing-huge-item",
            "An item claims to have 2^63 bytes.",
            instead_of_trailer(&[0x82, 0x01, 0x5b, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        )
        .fails("framing"),
        case(
            "framing-item-above-the-limit",
            "An item claims to have 33,554,433 bytes.",
            instead_of_trailer(&[0x82, 0x01, 0x5a, 0x02, 0, 0, 1]),
        )
        .fails("framing"),
        case(
            "framing-manifest-unknown-key",
            "The manifest has a key that no manifest has.",
            manifest(&|m| {
                m[0] += 1;
                m.extend([0x18, 0x63, 0x00]);
            }),
        )
        .fails("framing"),
        case(
            "framing-manifest-doubled-key",
            "The manifest has one key twice.",
            manifest(&|m| {
                m[0] += 1;
                m.splice(3..3, [0x01, 0x01]);
            }),
        )
        .fails("framing"),
        case(
            "framing-manifest-trailing",
            "A byte follows the manifest's map.",
            manifest(&|m| m.push(0)),
        )
        .fails("framing"),
        case(
            "framing-manifest-float",
            "The manifest's format is a floating-point number.",
            manifest(&|m| {
                m.splice(2..3, [0xf9, 0x3c, 0x00]);
            }),
        )
        .fails("framing"),
        case(
            "framing-artifact-malformed",
            "An artifact is no map.",
            refiled(|i| i[1].1 = vec![0x80]),
        )
        .fails("framing"),
        case(
            "framing-trailer-malformed",
            "A byte follows the trailer's map.",
            refiled(|i| i.last_mut().unwrap().1.push(0)),
        )
        .fails("framing"),
        case(
            "trailer-other-count",
            "The trailer counts one entry more than there is.",
            refiled(|i| trailer_with(i, |t| t.entries += 1)),
        )
        .fails("trailer"),
        case(
            "trailer-other-digest",
            "The trailer's digest is another.",
            refiled(|i| trailer_with(i, |t| t.digest[31] ^= 1)),
        )
        .fails("trailer"),
        case(
            "trailer-edited-manifest",
            "The manifest was edited after the trailer was written.",
            refiled(|i| {
                let Ok(manifest) = Manifest::from_bytes(&i[0].1) else {
                    return;
                };
                i[0].1 = Manifest {
                    profile: "less".into(),
                    ..manifest
                }
                .to_bytes();
            }),
        )
        .fails("trailer"),
        case(
            "trailer-uncounted-disclosure",
            "A disclosure was added after the trailer was written.",
            refiled(|i| {
                let at = i.iter().position(|x| x.0 == 4 && x.1[0] == 0x81).unwrap();
                let one = i[at].1[1..].to_vec();
                i[at].1[0] += 1;
                i[at].1.extend(one);
            }),
        )
        .fails("trailer"),
    ]
}

/// Entries that the epoch key signed, and that are no entries.
fn encodings() -> Vec<Case> {
    let of = |body: &'static [u8]| signed(|log| event_of(log, body));
    let nested = [&[0xa3, 1, 1, 2, 3, 3][..], &[0x81; 40], &[0]].concat();
    vec![
        case(
            "entries-doubled-key",
            "A map of an entry has one key twice.",
            of(&[0xa3, 1, 1, 2, 3, 2, 3]),
        )
        .fails("entries"),
        case(
            "entries-keys-out-of-order",
            "Keys of a map are not in order.",
            of(&[0xa2, 2, 3, 1, 1]),
        )
        .fails("entries"),
        case(
            "entries-not-shortest",
            "A number is not in its shortest form.",
            of(&[0xa2, 1, 1, 2, 0x18, 3]),
        )
        .fails("entries"),
        case(
            "entries-eight-bytes-for-three",
            "A small number takes eight bytes.",
            of(&[0xa2, 1, 1, 2, 0x1b, 0, 0, 0, 0, 0, 0, 0, 3]),
        )
        .fails("entries"),
        case(
            "entries-indefinite-map",
            "A map has indefinite length.",
            of(&[0xbf, 1, 1, 2, 3, 0xff]),
        )
        .fails("entries"),
        case(
            "entries-float",
            "A number is floating-point.",
            of(&[0xa2, 1, 1, 2, 0xf9, 0x42, 0]),
        )
        .fails("entries"),
        case(
            "entries-null",
            "A value is null.",
            of(&[0xa2, 1, 1, 2, 0xf6]),
        )
        .fails("entries"),
        case(
            "entries-undefined",
            "A value is undefined.",
            of(&[0xa2, 1, 1, 2, 0xf7]),
        )
        .fails("entries"),
        case(
            "entries-tag",
            "A value has a tag.",
            of(&[0xa2, 1, 1, 2, 0xc1, 3]),
        )
        .fails("entries"),
        case(
            "entries-negative",
            "A number that cannot be negative is.",
            of(&[0xa2, 1, 1, 2, 0x20]),
        )
        .fails("entries"),
        case(
            "entries-reserved-head",
            "A head has the reserved additional information 28.",
            of(&[0xa2, 1, 1, 2, 0x1c]),
        )
        .fails("entries"),
        case(
            "entries-trailing-byte",
            "A byte follows the payload.",
            of(&[0xa2, 1, 1, 2, 3, 0]),
        )
        .fails("entries"),
        case(
            "entries-unknown-key",
            "A map has a key that it does not have.",
            of(&[0xa3, 1, 1, 2, 3, 0x18, 0x63, 0]),
        )
        .fails("entries"),
        case(
            "entries-missing-key",
            "A map lacks a key.",
            of(&[0xa1, 1, 1]),
        )
        .fails("entries"),
        case(
            "entries-unknown-number",
            "An enumeration has a number that it does not have.",
            of(&[0xa2, 1, 0x18, 0xc8, 2, 3]),
        )
        .fails("entries"),
        case(
            "entries-text-key",
            "A key is text.",
            of(&[0xa2, 0x61, 0x31, 1, 2, 3]),
        )
        .fails("entries"),
        case(
            "entries-short-commitment",
            "A commitment has 31 bytes.",
            signed(|log| {
                event_of(
                    log,
                    &[&[0xa3, 1, 1, 2, 3, 3, 0x58, 31][..], &[7; 31]].concat(),
                );
            }),
        )
        .fails("entries"),
        case(
            "entries-deep-nesting",
            "Arrays nest forty deep.",
            signed(|log| event_of(log, &nested)),
        )
        .fails("entries"),
        case(
            "entries-map-bomb",
            "A map claims to have 4,294,967,295 pairs.",
            of(&[0xba, 0xff, 0xff, 0xff, 0xff]),
        )
        .fails("entries"),
        case(
            "entries-array-bomb",
            "An array claims to have 2^64 - 1 items.",
            signed(|log| {
                entry_of(
                    log,
                    Kind::Change,
                    &change_of(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
                );
            }),
        )
        .fails("entries"),
        case(
            "entries-huge-length",
            "A byte string claims to have 2^64 - 1 bytes.",
            of(&[
                0xa3, 1, 1, 2, 3, 3, 0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            ]),
        )
        .fails("entries"),
        case(
            "entries-not-utf8",
            "Text is not UTF-8.",
            signed(|log| {
                entry_of(log, Kind::Change, &change_of(&[0x80, 6, 0x62, 0xc3, 0x28]));
            }),
        )
        .fails("entries"),
        case(
            "entries-surrogate",
            "Text has the encoding of a surrogate.",
            signed(|log| {
                entry_of(
                    log,
                    Kind::Change,
                    &change_of(&[0x80, 6, 0x63, 0xed, 0xa0, 0x80]),
                );
            }),
        )
        .fails("entries"),
        case(
            "entries-overlong-text",
            "Text has a slash in two bytes.",
            signed(|log| {
                entry_of(log, Kind::Change, &change_of(&[0x80, 6, 0x62, 0xc0, 0xaf]));
            }),
        )
        .fails("entries"),
        case(
            "entries-empty-extensions",
            "A map of extensions is empty.",
            signed(|log| {
                let mut payload = event_payload(log);
                payload[0] = 0xa4;
                payload.extend([0x21, 0xa0]);
                payload_of(log, Kind::Event.typ(), payload);
            }),
        )
        .fails("entries"),
        case(
            "entries-extension-key-of-payload",
            "The payload has key 4, which it does not have.",
            signed(|log| {
                let mut payload = event_payload(log);
                payload[0] = 0xa4;
                payload.extend([0x04, 0x00]);
                payload_of(log, Kind::Event.typ(), payload);
            }),
        )
        .fails("entries"),
        case(
            "entries-body-of-another-kind",
            "An entry of kind event has the body of a change.",
            signed(|log| entry_of(log, Kind::Event, &change_of(&[0x80, 6, 0x60]))),
        )
        .fails("entries"),
        case(
            "entries-too-large",
            "An entry has 65,536 bytes.",
            signed(|log| large(log, 65_536)),
        )
        .fails("entries"),
        case(
            "accept-largest-entry",
            "An entry has 65,535 bytes, the most there may be.",
            signed(|log| large(log, 65_535)),
        ),
        case(
            "entries-none",
            "An export without entries is never a success.",
            {
                let mut parts = Parts::of(&story());
                (parts.leaves, parts.checkpoints, parts.manifest.end) = (vec![], vec![], 0);
                parts.bytes()
            },
        )
        .fails("enrolment")
        .state("entries", State::CannotTell),
    ]
}

/// The body of a change from its signers on, which are these bytes.
fn change_of(rest: &[u8]) -> Vec<u8> {
    let mut w = Writer::new();
    w.map(6);
    w.uint(1);
    w.uint(5);
    w.uint(2);
    w.bytes(&[6; 32]);
    w.uint(3);
    w.uint(3);
    w.uint(4);
    w.map(2);
    w.uint(1);
    w.uint(0);
    w.uint(2);
    w.bytes(&[7; 32]);
    w.uint(5);
    w.raw(rest);
    w.into_bytes()
}

/// A change that names as many signers, and gives as long a reason, as it takes to reach a size, in bytes.
fn large(log: &mut Mini, size: usize) {
    let mut body = calls::change_body(log);
    body.kind = countersign_record::body::ChangeKind::Roles;
    body.signers = vec![KeyId([9; 32]); 1800];
    body.reason = Some("x".repeat(1000));
    // Built once beside the log, to see how much is missing.
    let mut probe = log_with_opening();
    probe.time = log.time;
    probe.push(Body::Change(body.clone()), None, vec![]);
    let found = probe.leaves.last().unwrap().bytes.len();
    body.reason = Some("x".repeat(1000 + size - found));
    log.push(Body::Change(body), None, vec![]);
    assert_eq!(log.leaves.last().unwrap().bytes.len(), size);
}

fn log_with_opening() -> Mini {
    let mut log = Mini::new(countersign_record::binding::Profile::Tpm);
    log.open();
    log.enrol();
    log
}

/// Statements of another shape, over which the epoch key's signature holds.
fn statements() -> Vec<Case> {
    vec![
        case(
            "statement-unprotected-header",
            "A value rides along in the unprotected header.",
            shaped(|s| s.unprotected = vec![0xa1, 0x01, 0x01]),
        )
        .fails("entries"),
        case(
            "statement-without-tag",
            "The tag 18 is missing.",
            shaped(|s| s.head = vec![0x84]),
        )
        .fails("entries"),
        case(
            "statement-of-tag-98",
            "The tag is that of COSE_Sign.",
            shaped(|s| s.head = vec![0xd8, 98, 0x84]),
        )
        .fails("entries"),
        case(
            "statement-of-five",
            "The array has five items.",
            shaped(|s| s.head = vec![0xd2, 0x85]),
        )
        .fails("entries"),
        case(
            "statement-other-algorithm",
            "The algorithm is -8, EdDSA.",
            shaped(|s| s.protected[2] = 0x27),
        )
        .fails("entries"),
        case(
            "statement-extra-header",
            "The protected header has a fourth key.",
            shaped(|s| {
                s.protected[0] = 0xa4;
                s.protected.extend([0x18, 0x63, 0x00]);
            }),
        )
        .fails("entries"),
        case(
            "statement-without-type",
            "The protected header has no type.",
            shaped(|s| {
                s.protected[0] = 0xa2;
                s.protected.truncate(1 + 2 + 1 + 34);
            }),
        )
        .fails("entries"),
        case(
            "statement-short-key-id",
            "The key id has 31 bytes.",
            shaped(|s| {
                s.protected[5] = 31;
                s.protected.remove(6);
            }),
        )
        .fails("entries"),
        case(
            "statement-short-signature",
            "The signature has 63 bytes.",
            signed(|log| {
                let shape = Shape::of(log);
                let mut bytes = shape.signed(&epoch_key(1));
                let at = bytes.len() - 65;
                bytes[at] = 63;
                bytes.pop();
                append(log, bytes);
            }),
        )
        .fails("entries"),
        case(
            "statement-receipt-in-the-log",
            "A receipt stands where an entry should.",
            signed(|log| {
                let receipt = log.receipt(
                    &reference(log, 1),
                    countersign_record::digest::CallId([1; 16]),
                    Verdict::Deny,
                );
                append(log, receipt);
            }),
        )
        .cannot("extensions"),
    ]
}

fn signatures() -> Vec<Case> {
    let last = |change: &dyn Fn(&LeafSpec) -> Vec<u8>| {
        let mut log = story();
        let leaf = log.leaves.pop().unwrap();
        append(&mut log, change(&leaf));
        log.export()
    };
    vec![
        case(
            "signatures-flipped-byte",
            "One byte of an entry's commitment was flipped.",
            changed(|p| {
                let entry = &mut p.leaves[2].0;
                let at = entry.len() - 80;
                entry[at] ^= 1;
            }),
        )
        .fails("signatures"),
        case(
            "signatures-flipped-signature",
            "One byte of a signature was flipped.",
            last(&|l| broken(l.bytes.clone())),
        )
        .fails("signatures"),
        case(
            "signatures-another-key",
            "An entry names the epoch key and is signed by another.",
            last(&|l| by_another(&l.payload, 1)),
        )
        .fails("signatures"),
        case(
            "signatures-unknown-key",
            "An entry is signed by a key that no epoch has.",
            last(&|l| sign(&l.payload, &Key::new(99))),
        )
        .fails("signatures"),
        case(
            "signatures-identity-key",
            "An entry is signed by the identity key.",
            last(&|l| sign(&l.payload, &identity())),
        )
        .fails("signatures"),
        case(
            "signatures-s-not-reduced",
            "S of a signature is above the group order.",
            last(&|l| {
                let mut bytes = l.bytes.clone();
                let at = bytes.len() - 32;
                add_order(&mut bytes[at..]);
                bytes
            }),
        )
        .fails("signatures"),
        case(
            "signatures-of-nothing",
            "A signature is 64 zero bytes.",
            last(&|l| {
                let mut bytes = l.bytes.clone();
                let at = bytes.len() - 64;
                bytes[at..].fill(0);
                bytes
            }),
        )
        .fails("signatures"),
        case(
            "signatures-over-other-type",
            "The signature was made over another type.",
            last(&|l| {
                let other = Kind::Event.typ();
                let kid: KeyId = epoch_key(1).public().id();
                let payload = l.payload.to_bytes();
                let as_event = countersign_record::cose::Unsigned::new(other, kid, payload.clone());
                let signature: Signature = epoch_key(1).sign(&as_event.to_be_signed());
                l.payload.unsigned(kid).with_signature(signature)
            }),
        )
        .fails("signatures"),
        case(
            "signatures-of-a-newer-version",
            "The signature of an entry of version 2 does not hold.",
            signed(|log| {
                let mut payload = event_payload(log);
                payload[2] = 2;
                append(
                    log,
                    broken(epoch_key(1).statement(Kind::Event.typ(), payload)),
                );
            }),
        )
        .fails("signatures")
        .state("extensions", State::CannotTell),
        case(
            "signatures-of-a-forgotten-epoch",
            "An entry is signed by the key of the ninth epoch before.",
            bare(|log| {
                log.open();
                log.enrol();
                for _ in 0..8 {
                    log.close();
                    log.open();
                }
                let mut forged = log.leaves.last().unwrap().payload.clone();
                forged.place.index += 1;
                append(log, sign(&forged, &epoch_key(1)));
            }),
        )
        .fails("signatures"),
    ]
}

/// Adds L to a little-endian number.
fn add_order(s: &mut [u8]) {
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, l) in s.iter_mut().zip(L) {
        let sum = u16::from(*byte) + u16::from(l) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
}

fn later() -> Vec<Case> {
    let last = |edit: &dyn Fn(&mut LeafSpec)| {
        let mut log = story();
        let leaf = log.leaves.last_mut().unwrap();
        edit(leaf);
        leaf.bytes = sign(&leaf.payload, &epoch_key(1));
        log.export()
    };
    vec![
        case(
            "extensions-critical",
            "An entry has a critical extension that nobody knows yet.",
            last(&|l| {
                l.payload.critical = Extensions::new(vec![(7, Bytes(vec![1]))]);
            }),
        )
        .cannot("extensions"),
        case(
            "accept-optional-extension",
            "An entry has an optional extension that nobody knows yet.",
            last(&|l| {
                l.payload.optional = Extensions::new(vec![(7, Bytes(vec![0xab]))]);
            }),
        ),
        case(
            "extensions-newer-version",
            "An entry has version 2.",
            signed(|log| {
                let mut payload = event_payload(log);
                payload[2] = 2;
                payload_of(log, Kind::Event.typ(), payload);
            }),
        )
        .cannot("extensions"),
        case(
            "extensions-newer-version-with-disclosures",
            "An entry of version 2 has disclosures, which nobody can judge yet.",
            signed(|log| {
                let mut payload = event_payload(log);
                payload[2] = 2;
                payload_of(log, Kind::Event.typ(), payload);
                let opened = salted(
                    countersign_record::commitment::Field::EventDetail,
                    b"detail",
                )
                .1;
                log.leaves.last_mut().unwrap().disclosures.push(opened);
            }),
        )
        .cannot("extensions"),
        case(
            "entries-newer-version-malformed",
            "An entry of version 2 is not deterministic CBOR.",
            signed(|log| {
                let mut payload = event_payload(log);
                payload[2] = 2;
                payload.truncate(payload.len() - 5);
                payload.extend([0xbf, 0xff]);
                payload_of(log, Kind::Event.typ(), payload);
            }),
        )
        .fails("entries"),
        case(
            "extensions-unknown-type",
            "An entry has a type that nobody knows yet.",
            signed(|log| {
                let payload = event_payload(log);
                payload_of(log, "application/countersign.tomorrow+cose", payload);
            }),
        )
        .cannot("extensions"),
        case(
            "extensions-newer-export",
            "The manifest has format 2.",
            changed(|p| p.manifest.format = 2),
        )
        .cannot("extensions"),
        case(
            "identity-newer-binding",
            "A binding has version 2.",
            bare(|log| {
                let mut binding = log.binding();
                binding.version = 2;
                log.open_with(binding);
                log.enrol();
                log.decide(&call(1, Mode::Network), Verdict::Deny, None);
                log.renew();
            }),
        )
        .cannot("identity"),
    ]
}
