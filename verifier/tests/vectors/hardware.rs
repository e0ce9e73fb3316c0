//! Whose gateway, on what hardware: trust, enrolment, identity, evidence, reference values.

use super::case::*;
use super::common::device::{Draft, certified, ecc_public, nv_public, qualified, quoted};
use super::common::*;
use countersign_record::binding::{Binding, Profile, epoch_message};
use countersign_record::body::{Decision, Enrol, EvidenceRef, Mode, Verdict};
use countersign_record::cbor::{Bytes, Cbor as _};
use countersign_record::commitment::Field;
use countersign_record::digest::*;
use countersign_record::entry::Body;
use countersign_record::evidence::TpmEvidence;
use countersign_record::export::{Artifact, Manifest};
use countersign_record::statement::{APPROVAL_TYP, FLEET_TYP, FleetMember, FleetStatement};
use countersign_verify::ledger::State;
use sha2::{Digest as _, Sha256};

pub fn cases() -> Vec<Case> {
    [
        trusted(),
        enrolled(),
        identities(),
        sets(),
        appraisals(),
        classes(),
        references(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn trusted() -> Vec<Case> {
    let governance_line = format!("[governance]\nkeys = [\"{}\"]\n", governance().public());
    let pin = format!(
        "[[evidence.attestation_keys]]\nname = \"{}\"\nchecked_by = \"J. Doe, on site\"\n",
        hex::encode(device::Device::new(Profile::Tpm).ak_name())
    );
    let unanchored = || format!("{}{pin}", trust_with(&governance_line, ""));
    let pinned_to =
        |id: &str| trust_with(&governance_line, &format!("[gateways]\nids = [\"{id}\"]\n"));
    let with_trust_file = || {
        changed(|p| {
            let kind = "application/toml".to_owned();
            let bytes = [b"# ".as_slice(), trust_text("hardware-tpm").as_bytes()].concat();
            p.artifacts.push(Artifact {
                kind,
                bytes: Bytes(bytes),
            });
        })
    };
    vec![
        case(
            "accept-story",
            "A short genuine log is verified.",
            story().export(),
        ),
        case(
            "accept-every-kind",
            "A log with every kind of entry, in two epochs, is verified.",
            sample(Profile::Tpm).export(),
        ),
        case(
            "accept-smallest",
            "A log of an opening, an enrolment and a renewal is verified.",
            signed(|_| ()),
        ),
        case(
            "trust-anchor-none",
            "The trust file names neither a governance key nor a gateway.",
            story().export(),
        )
        .trust("unanchored", unanchored())
        .lacks("trust-anchor"),
        case(
            "trust-anchor-in-the-export-only",
            "The only keys of governance stand in the export itself.",
            with_trust_file(),
        )
        .trust("unanchored", unanchored())
        .lacks("trust-anchor"),
        case(
            "entries-none-of-a-pinned-gateway",
            "An export of a pinned gateway has no entries.",
            {
                let mut parts = Parts::of(&story());
                (parts.leaves, parts.checkpoints, parts.manifest.end) = (vec![], vec![], 0);
                parts.bytes()
            },
        )
        .trust(
            "pinned-gateway",
            format!("{}{pin}", pinned_to(&gateway().to_string())),
        )
        .cannot("entries"),
        case(
            "trust-source-in-the-export",
            "The export brings the auditor's trust file along.",
            with_trust_file(),
        )
        .against("trust-source"),
        case(
            "accept-pinned-gateway",
            "The trust file names the gateway and its attestation key, and no governance key.",
            story().export(),
        )
        .trust(
            "pinned-gateway",
            format!("{}{pin}", pinned_to(&gateway().to_string())),
        ),
        case(
            "gateway-pinned-other",
            "The trust file names another gateway.",
            story().export(),
        )
        .trust("other-gateway", pinned_to(&"ab".repeat(32)))
        .fails("gateway"),
        case(
            "gateway-name-is-no-digest",
            "The manifest's gateway is not the digest of its identity key.",
            changed(|p| p.manifest.gateway = GatewayId([5; 32])),
        )
        .fails("gateway"),
        case(
            "gateway-foreign-manifest",
            "The manifest has the name and key of another gateway.",
            changed(|p| {
                p.manifest = Manifest {
                    identity_key: Key::new(77).public(),
                    gateway: Key::new(77).public().gateway(),
                    ..p.manifest.clone()
                };
            }),
        )
        .fails("gateway"),
        case(
            "gateway-second-epoch-of-another",
            "The second epoch is one of another gateway, which vouches for it.",
            signed(|log| {
                log.close();
                let mut binding = log.binding();
                binding.identity_key = Key::new(77).public();
                log.edits.base = Some(|base| {
                    base.identity_signature = Key::new(77).sign(&epoch_message(&base.binding.0))
                });
                log.open_with(binding);
            }),
        )
        .fails("gateway"),
    ]
}

fn fleet(change: impl FnOnce(&mut FleetStatement)) -> FleetStatement {
    let mut statement = FleetStatement {
        fleet: "acme".into(),
        number: 5,
        issued: UnixMillis(START),
        members: vec![FleetMember {
            gateway: gateway(),
            name: "shop-1".into(),
            from: UnixMillis(START),
            until: None,
            ak_name: Some(Bytes(device::Device::new(Profile::Tpm).ak_name())),
        }],
    };
    change(&mut statement);
    statement
}

/// A log whose enrolment is this one.
fn enrolled_by(number: u64, statement: Vec<u8>) -> Vec<u8> {
    bare(|log| {
        log.open();
        enrol(log, number, statement);
        log.decide(&call(1, Mode::Network), Verdict::Deny, None);
        log.renew();
    })
}

/// A log whose gateway was asked before it was enrolled, from a moment after that.
fn waited_for() -> Vec<u8> {
    bare(|log| {
        log.open();
        let early = call(2, Mode::Network);
        let refused = Decision {
            code: Some("not_enrolled".to_owned()),
            capability: None,
            policy: None,
            facts: None,
            handling: None,
            basis: None,
            ..log.decision_body(&early, Verdict::Deny, None)
        };
        let mut opened = log.opened(&early, &refused);
        opened.retain(|d| d.field != Field::Facts);
        log.push(Body::Decision(refused), Some(early.run), opened);
        let from = UnixMillis(log.time + 500);
        let statement = fleet(|s| s.members[0].from = from);
        let signed = governance().statement(FLEET_TYP, statement.to_bytes());
        enrol(log, 5, signed);
        log.decide(&call(1, Mode::Network), Verdict::Deny, None);
        log.renew();
    })
}

fn enrol(log: &mut Mini, number: u64, statement: Vec<u8>) {
    let statement = Bytes(statement);
    log.push(Body::Enrol(Enrol { number, statement }), None, vec![]);
}

fn enrolled() -> Vec<Case> {
    let by = |key: &Key, change: &dyn Fn(&mut FleetStatement)| {
        key.statement(FLEET_TYP, fleet(change).to_bytes())
    };
    let good = |change: &dyn Fn(&mut FleetStatement)| by(&governance(), change);
    vec![
        case(
            "enrolment-none",
            "No fleet statement is in the log.",
            bare(|log| {
                log.open();
                log.decide(&call(1, Mode::Network), Verdict::Deny, None);
                log.renew();
            }),
        )
        .fails("enrolment"),
        case(
            "enrolment-not-listed",
            "The fleet statement lists another gateway.",
            enrolled_by(5, good(&|s| s.members[0].gateway = GatewayId([5; 32]))),
        )
        .fails("enrolment"),
        case(
            "enrolment-of-no-gateway",
            "The fleet statement lists nobody.",
            enrolled_by(5, good(&|s| s.members.clear())),
        )
        .fails("enrolment"),
        case(
            "enrolment-by-another-key",
            "The fleet statement is signed by a key that is not governance's.",
            enrolled_by(5, by(&Key::new(77), &|_| ())),
        )
        .fails("enrolment"),
        case(
            "enrolment-broken-signature",
            "The signature of the fleet statement does not hold.",
            enrolled_by(5, broken(good(&|_| ()))),
        )
        .fails("enrolment"),
        case(
            "enrolment-of-another-type",
            "Governance signed the statement as an approval.",
            enrolled_by(
                5,
                governance().statement(APPROVAL_TYP, fleet(|_| ()).to_bytes()),
            ),
        )
        .fails("enrolment"),
        case(
            "enrolment-other-number",
            "The entry names another number than the statement.",
            enrolled_by(6, good(&|_| ())),
        )
        .fails("enrolment"),
        case(
            "enrolment-number-falls",
            "A fleet statement with a lower number follows.",
            signed(|log| {
                enrol(
                    log,
                    4,
                    governance().statement(FLEET_TYP, fleet(|s| s.number = 4).to_bytes()),
                )
            }),
        )
        .fails("enrolment"),
        case(
            "accept-enrolled-again",
            "A fleet statement with a higher number follows.",
            signed(|log| {
                enrol(
                    log,
                    6,
                    governance().statement(FLEET_TYP, fleet(|s| s.number = 6).to_bytes()),
                )
            }),
        ),
        case(
            "enrolment-left-the-fleet",
            "A later fleet statement no longer lists the gateway.",
            signed(|log| {
                enrol(
                    log,
                    6,
                    governance().statement(
                        FLEET_TYP,
                        fleet(|s| {
                            s.number = 6;
                            s.members.clear();
                        })
                        .to_bytes(),
                    ),
                )
            }),
        )
        .fails("enrolment"),
        case(
            "enrolment-waited-for",
            "A call was refused because the gateway was not enrolled yet, and it was from then on.",
            waited_for(),
        ),
        case(
            "enrolment-before-from",
            "A call was decided before the gateway was of the fleet.",
            enrolled_by(
                5,
                good(&|s| s.members[0].from = UnixMillis(START + 900_000)),
            ),
        )
        .fails("enrolment"),
        case(
            "enrolment-after-until",
            "A call was decided after the gateway had left the fleet.",
            enrolled_by(
                5,
                good(&|s| s.members[0].until = Some(UnixMillis(START + 1))),
            ),
        )
        .fails("enrolment"),
        case(
            "attestation-key-not-enrolled",
            "The epoch's attestation key is not the one that was enrolled.",
            enrolled_by(
                5,
                good(&|s| s.members[0].ak_name = Some(Bytes(vec![0; 34]))),
            ),
        )
        .fails("attestation-key"),
        case(
            "attestation-key-of-a-second-epoch",
            "The second epoch runs on a chip that was not enrolled.",
            signed(|log| {
                log.close();
                log.device.ak_seed = 2;
                log.open();
            }),
        )
        .fails("attestation-key"),
    ]
}

/// A log whose first binding was changed before it was vouched for.
fn bound(change: impl FnOnce(&mut Binding)) -> Vec<u8> {
    bare(|log| {
        let mut binding = log.binding();
        change(&mut binding);
        log.open_with(binding);
        log.enrol();
        log.renew();
    })
}

/// A log whose first opening was changed before the epoch key signed it.
fn opened(edit: fn(&mut countersign_record::body::Base)) -> Vec<u8> {
    bare(|log| {
        log.edits.base = Some(edit);
        log.open();
        log.enrol();
        log.renew();
    })
}

fn identities() -> Vec<Case> {
    vec![
        case(
            "identity-by-another-key",
            "Another key than the identity key vouches for the epoch.",
            opened(|base| {
                base.identity_signature = Key::new(77).sign(&epoch_message(&base.binding.0));
            }),
        )
        .fails("identity"),
        case(
            "identity-over-the-binding",
            "The identity key signed the binding itself, not the epoch message.",
            opened(|base| {
                base.identity_signature = identity().sign(&base.binding.0);
            }),
        )
        .fails("identity"),
        case(
            "identity-binding-malformed",
            "The binding has a byte too many, so no epoch begins.",
            opened(|base| base.binding.0.push(0)),
        )
        .fails("signatures")
        .state("identity", State::Fail),
        case(
            "release-key-other",
            "Another release key than the pinned one decides what unseals.",
            story().export(),
        )
        .trust(
            "other-release",
            trust_with(
                &hex::encode(sha256(&device::release_public())),
                &"ab".repeat(32),
            ),
        )
        .against("release-key"),
        case(
            "accept-release-key-whole",
            "The trust file has all of the release key.",
            story().export(),
        )
        .trust(
            "whole-release",
            trust_with(
                &hex::encode(sha256(&device::release_public())),
                &hex::encode(device::release_public()),
            ),
        ),
        case(
            "accept-no-release-rule",
            "Without pins of release keys the check is not made, and the verdict stands.",
            story().export(),
        )
        .trust(
            "no-release",
            trust_with(
                &format!(
                    "[release]\nkeys = [\"{}\"]\n",
                    hex::encode(sha256(&device::release_public()))
                ),
                "",
            ),
        )
        .state("release-key", State::NotChecked),
        case(
            "release-key-empty-list",
            "An empty list of release keys accepts none.",
            story().export(),
        )
        .trust(
            "empty-release",
            trust_with(
                &format!(
                    "\"{}\"]\n[reference]",
                    hex::encode(sha256(&device::release_public()))
                ),
                "]\n[reference]",
            ),
        )
        .against("release-key"),
        case(
            "accept-no-recovery-key",
            "An epoch without a recovery key is said, and the verdict stands.",
            opened(|base| base.recovery_key = None),
        )
        .state("recovery-key", State::NotChecked),
    ]
}

fn sets() -> Vec<Case> {
    let renewed = |edit: fn(&mut Vec<EvidenceRef>)| {
        bare(|log| {
            log.open();
            log.enrol();
            log.edits.references = Some(edit);
            log.renew();
        })
    };
    vec![
        case(
            "evidence-set-missing",
            "The evidence of the opening is not in the export.",
            changed(|p| {
                p.artifacts.remove(1);
            }),
        )
        .fails("evidence-set"),
        case(
            "evidence-set-altered",
            "A byte of the evidence was flipped, so it is other evidence.",
            changed(|p| *p.artifacts[1].bytes.0.last_mut().unwrap() ^= 1),
        )
        .fails("evidence-set"),
        case(
            "evidence-set-under-another-kind",
            "The evidence stands in the export under another kind.",
            changed(|p| p.artifacts[1].kind = "application/octet-stream".into()),
        )
        .fails("evidence-set"),
        case(
            "evidence-set-none",
            "A renewal names no evidence.",
            renewed(|r| r.clear()),
        )
        .fails("evidence-set"),
        case(
            "evidence-set-two",
            "A renewal names evidence twice.",
            renewed(|r| r.push(r[0].clone())),
        )
        .fails("evidence-set"),
        case(
            "evidence-set-other-kind",
            "A renewal names evidence of a kind that its profile does not have.",
            renewed(|r| r[0].kind = "application/countersign.cpu-evidence+cbor".into()),
        )
        .fails("evidence-set"),
        case(
            "evidence-set-other-profile",
            "Evidence of a software TPM stands under a binding of a TPM.",
            bare(|log| {
                let binding = log.binding();
                log.device.profile = Profile::Swtpm;
                log.open_with(binding);
                log.enrol();
                log.device.profile = Profile::Tpm;
                log.renew();
            }),
        )
        .fails("evidence-set"),
        case(
            "evidence-set-too-few-registers",
            "The binding of a TPM leaves out register 13.",
            bound(|b| {
                b.pcrs.pop();
            }),
        )
        .fails("evidence-set"),
        case(
            "evidence-set-resettable-register",
            "The binding has register 16, which software can reset.",
            bound(|b| b.pcrs.push(16)),
        )
        .fails("evidence-set"),
        case(
            "evidence-set-register-twice",
            "The binding has a register twice.",
            bound(|b| b.pcrs.push(13)),
        )
        .fails("evidence-set"),
        case(
            "evidence-set-no-such-register",
            "The binding has register 24, which does not exist.",
            bound(|b| b.pcrs.push(24)),
        )
        .fails("evidence-set"),
        case(
            "evidence-malformed",
            "The evidence has a byte too many.",
            bare(|log| {
                log.open();
                log.enrol();
                log.edits.container = Some(|bytes| bytes.push(0));
                log.renew();
            }),
        )
        .fails("evidence"),
        case(
            "attestation-key-short-name",
            "The binding's name of the attestation key has 33 bytes.",
            bound(|b| {
                b.ak_name.0.pop();
            }),
        )
        .fails("attestation-key"),
        case(
            "evidence-release-key-with-other-attributes",
            "The binding's release key has other attributes than release keys have.",
            bound(|b| b.release_key = Bytes(ecc_public(5, 0x0004_0072))),
        )
        .fails("evidence"),
        case(
            "evidence-release-key-malformed",
            "The binding's release key is no public area.",
            bound(|b| b.release_key = Bytes(vec![0; 90])),
        )
        .fails("evidence"),
        case(
            "evidence-of-another-opening",
            "The evidence was made for a binding with another nonce.",
            bare(|log| {
                let mut binding = log.binding();
                let evidence = log.device.attest(
                    countersign_record::binding::anchor_of(&binding.to_bytes()).qualifying(),
                );
                binding.nonce = Nonce([5; 32]);
                KEPT.set(evidence.to_bytes());
                log.edits.container = Some(|bytes| *bytes = KEPT.take());
                log.open_with(binding);
                log.enrol();
                log.renew();
            }),
        )
        .fails("evidence"),
        case(
            "evidence-of-another-renewal",
            "The second renewal shows the evidence of the first.",
            bare(|log| {
                log.open();
                log.enrol();
                log.renew();
                KEPT.set(log.artifacts.last().unwrap().bytes.0.clone());
                log.edits.container = Some(|bytes| *bytes = KEPT.take());
                log.renew();
            }),
        )
        .fails("evidence"),
        case(
            "accept-unreferenced-artifact",
            "An artifact that nothing refers to has no effect.",
            changed(|p| {
                p.artifacts.push(Artifact {
                    kind: "text/plain".into(),
                    bytes: Bytes(b"hello".to_vec()),
                });
            }),
        ),
        case(
            "accept-artifact-twice",
            "The same artifact stands in the export twice.",
            changed(|p| p.artifacts.push(p.artifacts[1].clone())),
        ),
        case(
            "accept-evidence-under-two-kinds",
            "The bytes of evidence stand in the export under another kind as well.",
            changed(|p| {
                p.artifacts.push(Artifact {
                    kind: "application/octet-stream".into(),
                    ..p.artifacts[1].clone()
                });
            }),
        ),
    ]
}

thread_local! {
    /// What one piece of evidence leaves for another.
    static KEPT: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// A log whose renewal is vouched for by evidence that was changed before the device signed it.
fn drafted(edit: fn(&mut Draft)) -> Vec<u8> {
    bare(|log| {
        log.open();
        log.enrol();
        log.device.edit = Some(edit);
        log.renew();
    })
}

fn policy_of() -> Vec<u8> {
    let release = countersign_evidence::tpm::ReleaseKey::parse(&device::release_public()).unwrap();
    countersign_evidence::tpm::policy_authorize_digest(&release)
        .0
        .to_vec()
}

/// The certified counter's bytes: the last eight of the certification.
fn counter(draft: &Draft) -> Vec<u8> {
    draft.certify.attested[draft.certify.attested.len() - 8..].to_vec()
}

/// Another public area of the counter, under its own name.
fn counter_as(draft: &mut Draft, index: u32, attributes: u32, policy: &[u8], size: u16) {
    let value = counter(draft);
    draft.nv_public = nv_public(index, attributes, policy, size);
    draft.certify.attested = certified(&draft.nv_public, 0, &value);
}

const INDEX: u32 = 0x0150_0020;
const ATTRIBUTES: u32 = 0x2208_0018;
const SELECT: [u8; 3] = [0x90, 0x38, 0x00];

fn appraisals() -> Vec<Case> {
    [keys(), counters(), quotes(), pairs(), event_logs()]
        .into_iter()
        .flatten()
        .collect()
}

fn keys() -> Vec<Case> {
    vec![
        case(
            "evidence-key-other-curve",
            "The attestation key's public area names another curve.",
            drafted(|d| d.ak_public[17] = 4),
        )
        .fails("evidence"),
        case(
            "evidence-key-off-the-curve",
            "The attestation key's point is not on its curve.",
            drafted(|d| *d.ak_public.last_mut().unwrap() ^= 1),
        )
        .fails("evidence"),
        case(
            "evidence-key-trailing",
            "A byte follows the attestation key's public area.",
            drafted(|d| d.ak_public.push(0)),
        )
        .fails("evidence"),
        case(
            "evidence-key-not-restricted",
            "The attestation key is not restricted: it signs whatever it is given.",
            unrestricted(),
        )
        .fails("evidence"),
        case(
            "attestation-key-of-another-chip",
            "A renewal's evidence is by another chip.",
            signed(|log| {
                log.device.ak_seed = 2;
                log.renew();
            }),
        )
        .fails("attestation-key"),
        case(
            "accept-signature-with-high-s",
            "The chip's signature has the larger of its two values of s.",
            drafted(|d| d.after = Some(|e| high_s(&mut e.quote_signature.0))),
        ),
        case(
            "evidence-signature-of-another-scheme",
            "The signature over the quote names another scheme.",
            drafted(|d| d.after = Some(|e| e.quote_signature.0[1] = 0x14)),
        )
        .fails("evidence"),
        case(
            "evidence-signature-out-of-range",
            "The signature over the quote has r = 0.",
            drafted(|d| d.after = Some(|e| e.quote_signature.0[6..38].fill(0))),
        )
        .fails("evidence"),
    ]
}

/// An attestation key that is not restricted, named by the binding and enrolled.
fn unrestricted() -> Vec<u8> {
    bare(|log| {
        let name = countersign_evidence::tpm::TpmName::of(&ecc_public(1, 0x0004_0072))
            .0
            .to_vec();
        let mut binding = log.binding();
        binding.ak_name = Bytes(name.clone());
        let edit: fn(&mut Draft) = |d| {
            d.ak_public = ecc_public(1, 0x0004_0072);
            let name = countersign_evidence::tpm::TpmName::of(&d.ak_public).0;
            d.quote.signer = qualified(0x4000_000b, &name);
            d.certify.signer = d.quote.signer.clone();
        };
        log.device.edit = Some(edit);
        log.open_with(binding);
        let statement = fleet(|s| s.members[0].ak_name = Some(Bytes(name)));
        enrol(
            log,
            5,
            governance().statement(FLEET_TYP, statement.to_bytes()),
        );
        log.device.edit = Some(edit);
        log.renew();
    })
}

/// Replaces s by the group order minus s, if that is larger.
fn high_s(signature: &mut [u8]) {
    // The order of P-256. Source: SEC 2, 2.4.2.
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let at = signature.len() - 32;
    let s = &mut signature[at..];
    let mut other = [0u8; 32];
    let mut borrow = 0i16;
    for i in (0..32).rev() {
        let difference = i16::from(ORDER[i]) - i16::from(s[i]) - borrow;
        borrow = i16::from(difference < 0);
        other[i] = (difference & 0xff).to_be_bytes()[1];
    }
    if other.as_slice() > &*s {
        s.copy_from_slice(&other);
    }
}

fn counters() -> Vec<Case> {
    vec![
        case(
            "evidence-counter-other-magic",
            "The certification does not begin as what a TPM makes.",
            drafted(|d| d.certify.magic = 0),
        )
        .fails("evidence"),
        case(
            "evidence-counter-of-another-type",
            "The certification has the type of a quote.",
            drafted(|d| d.certify.kind = 0x8018),
        )
        .fails("evidence"),
        case(
            "evidence-counter-trailing",
            "A byte follows the certification.",
            drafted(|d| d.certify.attested.push(0)),
        )
        .fails("evidence"),
        case(
            "evidence-counter-signature",
            "The signature over the certification does not hold.",
            drafted(|d| d.after = Some(|e| *e.certify_signature.0.last_mut().unwrap() ^= 1)),
        )
        .fails("evidence"),
        case(
            "evidence-counter-other-hierarchy",
            "The certification's signer is a key of the owner hierarchy.",
            drafted(|d| {
                let name = countersign_evidence::tpm::TpmName::of(&d.ak_public).0;
                d.certify.signer = qualified(0x4000_0001, &name);
            }),
        )
        .fails("evidence"),
        case(
            "evidence-counter-other-qualifying",
            "The certification was made over other data.",
            drafted(|d| d.certify.qualifying[31] ^= 1),
        )
        .fails("evidence"),
        case(
            "evidence-counter-unsafe-clock",
            "The TPM does not vouch for its clock in the certification.",
            drafted(|d| d.certify.safe = 0),
        )
        .fails("evidence"),
        case(
            "evidence-counter-clock-of-two",
            "The certification's safe has a value that it does not have.",
            drafted(|d| d.certify.safe = 2),
        )
        .fails("evidence"),
        case(
            "evidence-counter-other-index",
            "The counter stands at another handle.",
            drafted(|d| counter_as(d, INDEX + 1, ATTRIBUTES, &policy_of(), 8)),
        )
        .fails("evidence"),
        case(
            "evidence-counter-of-the-owner",
            "The owner may write the counter.",
            drafted(|d| counter_as(d, INDEX, ATTRIBUTES | 2, &policy_of(), 8)),
        )
        .fails("evidence"),
        case(
            "evidence-counter-other-policy",
            "The counter has another policy.",
            drafted(|d| counter_as(d, INDEX, ATTRIBUTES, &[7; 32], 8)),
        )
        .fails("evidence"),
        case(
            "evidence-counter-other-size",
            "The index holds four bytes.",
            drafted(|d| counter_as(d, INDEX, ATTRIBUTES, &policy_of(), 4)),
        )
        .fails("evidence"),
        case(
            "evidence-counter-other-name",
            "The certified index has another public area than the one that is shown.",
            drafted(|d| {
                let other = nv_public(INDEX + 1, ATTRIBUTES, &policy_of(), 8);
                d.certify.attested = certified(&other, 0, &counter(d));
            }),
        )
        .fails("evidence"),
        case(
            "evidence-counter-in-part",
            "The certification covers the counter from its second byte on.",
            drafted(|d| d.certify.attested = certified(&d.nv_public, 1, &counter(d)[1..])),
        )
        .fails("evidence"),
        case(
            "evidence-counter-at-an-offset",
            "The certification covers eight bytes from another offset.",
            drafted(|d| d.certify.attested = certified(&d.nv_public, 8, &counter(d))),
        )
        .fails("evidence"),
    ]
}

fn quotes() -> Vec<Case> {
    vec![
        case(
            "evidence-quote-other-magic",
            "The quote does not begin as what a TPM makes.",
            drafted(|d| d.quote.magic = 0),
        )
        .fails("evidence"),
        case(
            "evidence-quote-of-another-type",
            "The quote has the type of a certification.",
            drafted(|d| d.quote.kind = 0x8014),
        )
        .fails("evidence"),
        case(
            "evidence-quote-signature",
            "The signature over the quote does not hold.",
            drafted(|d| d.after = Some(|e| *e.quote_signature.0.last_mut().unwrap() ^= 1)),
        )
        .fails("evidence"),
        case(
            "evidence-quote-signatures-exchanged",
            "The two signatures are exchanged.",
            drafted(|d| {
                d.after = Some(|e: &mut TpmEvidence| {
                    std::mem::swap(&mut e.quote_signature, &mut e.certify_signature)
                })
            }),
        )
        .fails("evidence"),
        case(
            "evidence-quote-other-hierarchy",
            "The quote's signer is a key of the owner hierarchy.",
            drafted(|d| {
                let name = countersign_evidence::tpm::TpmName::of(&d.ak_public).0;
                d.quote.signer = qualified(0x4000_0001, &name);
            }),
        )
        .fails("evidence"),
        case(
            "evidence-quote-other-qualifying",
            "The quote was made over other data.",
            drafted(|d| d.quote.qualifying[0] ^= 1),
        )
        .fails("evidence"),
        case(
            "evidence-quote-long-qualifying",
            "The quote's data have a byte more than 32.",
            drafted(|d| d.quote.qualifying.push(0)),
        )
        .fails("evidence"),
        case(
            "evidence-quote-unsafe-clock",
            "The TPM does not vouch for its clock in the quote.",
            drafted(|d| d.quote.safe = 0),
        )
        .fails("evidence"),
        case(
            "evidence-quote-other-bank",
            "The quote covers the SHA-1 bank.",
            drafted(|d| d.quote.attested[5] = 4),
        )
        .fails("evidence"),
        case(
            "evidence-quote-of-two-banks",
            "The quote covers two banks.",
            drafted(|d| {
                d.quote.attested[3] = 2;
                let second = [0, 4, 3, 0, 0, 0];
                d.quote.attested.splice(10..10, second);
            }),
        )
        .fails("evidence"),
        case(
            "evidence-quote-of-seventeen-banks",
            "The quote claims to cover seventeen banks.",
            drafted(|d| d.quote.attested[3] = 17),
        )
        .fails("evidence"),
        case(
            "evidence-quote-of-fewer-registers",
            "The quote leaves out register 13.",
            drafted(|d| {
                d.pcrs.pop();
                let digest =
                    Sha256::digest(d.pcrs.iter().flat_map(|p| p.value).collect::<Vec<_>>());
                d.quote.attested = quoted(0x000b, &[0x90, 0x18, 0], &digest);
            }),
        )
        .fails("evidence"),
        case(
            "evidence-quote-of-four-octets",
            "The selection has four octets.",
            drafted(|d| {
                let digest =
                    Sha256::digest(d.pcrs.iter().flat_map(|p| p.value).collect::<Vec<_>>());
                d.quote.attested = quoted(0x000b, &[SELECT[0], SELECT[1], SELECT[2], 0], &digest);
            }),
        )
        .fails("evidence"),
        case(
            "evidence-quote-of-other-values",
            "A presented value is not the quoted one.",
            drafted(|d| d.pcrs[0].value[0] ^= 1),
        )
        .fails("evidence"),
        case(
            "evidence-quote-value-missing",
            "One of the quoted values is not presented.",
            drafted(|d| {
                d.pcrs.pop();
            }),
        )
        .fails("evidence"),
        case(
            "evidence-quote-value-twice",
            "A value is presented twice.",
            drafted(|d| d.pcrs.push(d.pcrs[4].clone())),
        )
        .fails("evidence"),
        case(
            "accept-values-in-any-order",
            "The values are presented in another order.",
            drafted(|d| d.pcrs.reverse()),
        ),
    ]
}

fn pairs() -> Vec<Case> {
    vec![
        case(
            "evidence-pair-of-two-boots",
            "Quote and certification are of two boots.",
            drafted(|d| d.certify.resets.0 -= 1),
        )
        .fails("evidence"),
        case(
            "evidence-pair-of-two-resumes",
            "The machine resumed between certification and quote.",
            drafted(|d| d.quote.resets.1 += 1),
        )
        .fails("evidence"),
        case(
            "evidence-pair-of-two-firmwares",
            "Quote and certification are of two firmwares.",
            drafted(|d| d.certify.firmware += 1),
        )
        .fails("evidence"),
        case(
            "evidence-pair-in-the-wrong-order",
            "The quote is older than the certification.",
            drafted(|d| d.quote.clock = d.certify.clock - 1),
        )
        .fails("evidence"),
        case(
            "accept-pair-of-one-moment",
            "Quote and certification have one clock value.",
            drafted(|d| d.quote.clock = d.certify.clock),
        ),
    ]
}

/// A boot event log with one measurement into register 4, after a startup locality.
fn event_log(digest: [u8; 32], locality: u8) -> Vec<u8> {
    let spec = [
        b"Spec ID Event03\0".as_slice(),
        &[0, 0, 0, 0, 0, 2, 0, 2],
        &1u32.to_le_bytes(),
        &[0x0b, 0, 32, 0, 0],
    ]
    .concat();
    let event = |pcr: u32, kind: u32, digest: [u8; 32], data: &[u8]| {
        [
            pcr.to_le_bytes().as_slice(),
            &kind.to_le_bytes(),
            &1u32.to_le_bytes(),
            &[0x0b, 0],
            &digest,
            &u32::try_from(data.len()).unwrap().to_le_bytes(),
            data,
        ]
        .concat()
    };
    [
        [0u32.to_le_bytes(), 3u32.to_le_bytes()].concat(),
        vec![0; 20],
        u32::try_from(spec.len()).unwrap().to_le_bytes().to_vec(),
        spec,
        event(
            0,
            3,
            [0; 32],
            &[b"StartupLocality\0".as_slice(), &[locality]].concat(),
        ),
        event(4, 0x8000_0003, digest, b"boot loader"),
        vec![0xff; 40],
    ]
    .concat()
}

/// Evidence with an event log that leads to its values: register 4 was extended once, the others never.
fn measured(draft: &mut Draft) {
    for value in &mut draft.pcrs {
        value.value = [0; 32];
    }
    draft.pcrs[0].value = Sha256::digest([[0u8; 32], [9; 32]].concat()).into();
    let digest = Sha256::digest(draft.pcrs.iter().flat_map(|p| p.value).collect::<Vec<_>>());
    draft.quote.attested = quoted(0x000b, &SELECT, &digest);
    draft.event_log = Some(event_log([9; 32], 3));
}

fn event_logs() -> Vec<Case> {
    let measured_twice = |second: fn(&mut Draft)| {
        bare(|log| {
            log.device.edit = Some(measured);
            log.open();
            log.enrol();
            log.device.edit = Some(second);
            log.renew();
        })
    };
    let reference = || {
        let first = hex::encode(Sha256::digest([[0u8; 32], [9; 32]].concat()));
        let others: String = [7, 11, 12, 13]
            .map(|i| format!("{i} = [\"{}\"]\n", "00".repeat(32)))
            .concat();
        format!(
            "version = 1\nbuild = [\"{}\"]\nconfiguration = [\"{}\"]\n[pcrs]\n4 = [\"{first}\"]\n{others}",
            "b1".repeat(32),
            "c1".repeat(32)
        )
    };
    vec![
        case(
            "accept-event-log",
            "The evidence has an event log that leads to the quoted values.",
            measured_twice(measured),
        )
        .reference("measured", &reference()),
        case(
            "evidence-event-log-malformed",
            "The event log ends inside an event.",
            measured_twice(|d| {
                measured(d);
                let log = d.event_log.as_mut().unwrap();
                log.truncate(log.len() - 45);
            }),
        )
        .reference("measured", &reference())
        .fails("evidence"),
        case(
            "evidence-event-log-elsewhere",
            "The event log leads to other values than the quoted ones.",
            measured_twice(|d| {
                measured(d);
                d.event_log = Some(event_log([8; 32], 3));
            }),
        )
        .reference("measured", &reference())
        .fails("evidence"),
        case(
            "evidence-event-log-impossible-locality",
            "The event log states a locality in which no TPM starts.",
            measured_twice(|d| {
                measured(d);
                d.event_log = Some(event_log([9; 32], 1));
            }),
        )
        .reference("measured", &reference())
        .fails("evidence"),
        case(
            "evidence-event-log-of-none",
            "The event log is empty.",
            measured_twice(|d| {
                measured(d);
                d.event_log = Some(vec![]);
            }),
        )
        .reference("measured", &reference())
        .fails("evidence"),
    ]
}

fn classes() -> Vec<Case> {
    let libtpms = || {
        bare(|log| {
            let edit: fn(&mut Draft) = |d| {
                d.quote.firmware = 0x2024_0125_0016_3636;
                d.certify.firmware = d.quote.firmware;
            };
            log.device.edit = Some(edit);
            log.open();
            log.enrol();
            log.device.edit = Some(edit);
            log.renew();
        })
    };
    let unnamed = || {
        let statement = fleet(|s| s.members[0].ak_name = None);
        enrolled_by(5, governance().statement(FLEET_TYP, statement.to_bytes()))
    };
    let both = trust_text("unendorsed-tpm\", \"hardware-tpm");
    vec![
        case(
            "evidence-class-software",
            "A software TPM is not accepted unless the trust file says so.",
            sample(Profile::Swtpm).export(),
        )
        .against("evidence-class"),
        case(
            "accept-software",
            "A software TPM is accepted by a trust file that says so.",
            sample(Profile::Swtpm).export(),
        )
        .trust("software", trust_text("software")),
        case(
            "evidence-class-software-by-its-firmware",
            "What calls itself a TPM has the firmware number of a software TPM.",
            libtpms(),
        )
        .against("evidence-class"),
        case(
            "evidence-class-unendorsed",
            "Nobody named the attestation key.",
            unnamed(),
        )
        .against("evidence-class"),
        case(
            "accept-unendorsed",
            "An attestation key that nobody named is accepted by a trust file that says so.",
            unnamed(),
        )
        .trust("unendorsed", both),
        case(
            "evidence-class-hardware-not-accepted",
            "The trust file accepts software alone, and this is a TPM.",
            story().export(),
        )
        .trust("software", trust_text("software"))
        .against("evidence-class"),
        case(
            "evidence-class-empty-list",
            "An empty list of classes accepts none.",
            story().export(),
        )
        .trust("no-class", trust_with("\"hardware-tpm\"", ""))
        .against("evidence-class"),
    ]
}

fn references() -> Vec<Case> {
    let values = |build: &str, configuration: &str, pcrs: &str| {
        format!("version = 1\n{build}{configuration}{pcrs}")
    };
    let build = format!("build = [\"{}\"]\n", "b1".repeat(32));
    let configuration = format!("configuration = [\"{}\"]\n", "c1".repeat(32));
    let pcrs: String = std::iter::once("[pcrs]\n".to_owned())
        .chain(
            device::Device::pcr_values()
                .iter()
                .map(|p| format!("{} = [\"{}\"]\n", p.index, hex::encode(p.value))),
        )
        .collect();
    let other = "ab".repeat(32);
    let all = values(&build, &configuration, &pcrs);
    vec![
        case(
            "accept-reference-file",
            "Reference values come in a file of their own.",
            story().export(),
        )
        .reference("all", &all),
        case(
            "build-other",
            "The program is none of those that are known.",
            story().export(),
        )
        .reference("other-build", &all.replace(&"b1".repeat(32), &other))
        .against("build"),
        case(
            "build-empty-list",
            "An empty list of programs accepts none.",
            story().export(),
        )
        .reference("no-build", &values("build = []\n", &configuration, &pcrs))
        .against("build"),
        case(
            "build-without-value",
            "No program is known.",
            story().export(),
        )
        .reference("without-build", &values("", &configuration, &pcrs))
        .lacks("build"),
        case(
            "configuration-other",
            "The configuration is none of those that are known.",
            story().export(),
        )
        .reference(
            "other-configuration",
            &all.replace(&"c1".repeat(32), &other),
        )
        .against("configuration"),
        case(
            "configuration-without-value",
            "No configuration is known.",
            story().export(),
        )
        .reference("without-configuration", &values(&build, "", &pcrs))
        .lacks("configuration"),
        case(
            "pcr-values-other",
            "A register has another value.",
            story().export(),
        )
        .reference("other-register", &all.replace(&"0d".repeat(32), &other))
        .against("pcr-values"),
        case(
            "pcr-values-one-unknown",
            "There is no value for one of the quoted registers.",
            story().export(),
        )
        .reference("without-one-register", &all.replace("13 = ", "14 = "))
        .cannot("pcr-values"),
        case(
            "pcr-values-without-value",
            "No values of registers are known.",
            story().export(),
        )
        .reference("without-registers", &values(&build, &configuration, ""))
        .lacks("pcr-values"),
        case(
            "accept-one-of-two-values",
            "A register has the second of two known values.",
            story().export(),
        )
        .reference(
            "two-values",
            &all.replace("13 = [", &format!("13 = [\"{other}\", ")),
        ),
        case(
            "accept-more-registers-than-quoted",
            "Reference values of registers that are not quoted have no effect.",
            story().export(),
        )
        .reference("more-registers", &format!("{all}0 = [\"{other}\"]\n")),
        case(
            "reference-file-replaces-the-table",
            "A reference file without values replaces the trust file's values.",
            story().export(),
        )
        .reference("nothing", "version = 1\n")
        .lacks("build"),
    ]
}
