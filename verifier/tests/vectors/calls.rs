//! Calls: who asked, what was sealed, who approved, how it was settled, under which rules.

use super::case::*;
use super::common::*;
use countersign_record::body::*;
use countersign_record::bundle::{BUNDLE_TYP, BundlePayload, SignedBundle};
use countersign_record::cbor::{Bytes, Cbor as _};
use countersign_record::commitment::{CallerProof, Field};
use countersign_record::digest::*;
use countersign_record::entry::{Body, EntryRef};
use countersign_record::export::{Artifact, BUNDLE_KIND, SIGNED_BUNDLE_KIND};
use countersign_record::statement::{APPROVAL_TYP, ApprovalStatement, Choice};
use countersign_verify::ledger::State;

pub fn cases() -> Vec<Case> {
    [
        bundles(),
        callers(),
        actions(),
        approvals(),
        settlements(),
        rules(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn signed_bundle(payload: &BundlePayload, signers: &[&Key]) -> Artifact {
    let statement = payload.statement().to_bytes();
    let signed = SignedBundle {
        payload: Bytes(payload.to_bytes()),
        signatures: signers
            .iter()
            .map(|k| Bytes(k.statement(BUNDLE_TYP, statement.clone())))
            .collect(),
    };
    Artifact {
        kind: SIGNED_BUNDLE_KIND.into(),
        bytes: Bytes(signed.to_bytes()),
    }
}

/// The story with its bundle in another artifact.
fn bundled(artifact: Artifact) -> Vec<u8> {
    changed(|p| p.artifacts[0] = artifact)
}

/// A log under another bundle.
pub fn under(payload: &BundlePayload, build: impl FnOnce(&mut Mini, ArtifactDigest)) -> Vec<u8> {
    let digest = ArtifactDigest::of(&payload.to_bytes());
    bare(|log| {
        log.artifacts[0] = signed_bundle(payload, &[&bundle_signer()]);
        let mut binding = log.binding();
        binding.bundles = vec![digest];
        log.open_with(binding);
        log.enrol();
        build(log, digest);
        log.renew();
    })
}

fn bundles() -> Vec<Case> {
    let pinned = |digest: &str| {
        trust_with(
            "threshold = 1\n",
            &format!("threshold = 1\npinned = [\"{digest}\"]\n"),
        )
    };
    let two = |threshold: u8| {
        trust_with(
            &format!(
                "signers = [\"{}\"]\nthreshold = 1\n",
                bundle_signer().public()
            ),
            &format!(
                "signers = [\"{}\", \"{}\"]\nthreshold = {threshold}\n",
                bundle_signer().public(),
                Key::new(78).public()
            ),
        )
    };
    let without_rule = trust_with(
        &format!(
            "[bundles]\nsigners = [\"{}\"]\nthreshold = 1\n",
            bundle_signer().public()
        ),
        "",
    );
    let empty_rule = trust_with(
        &format!("signers = [\"{}\"]\n", bundle_signer().public()),
        "signers = []\n",
    );
    let newer = BundlePayload {
        format: 2,
        ..bundle()
    };
    vec![
        case(
            "bundle-missing",
            "The bundle in force is not in the export.",
            bare(|log| {
                log.open();
                log.enrol();
                log.renew();
                log.artifacts.remove(0);
            }),
        )
        .fails("bundle"),
        case(
            "bundle-malformed",
            "An artifact that is said to be a bundle is none.",
            changed(|p| {
                p.artifacts.push(Artifact {
                    kind: SIGNED_BUNDLE_KIND.into(),
                    bytes: Bytes(vec![0xa0]),
                })
            }),
        )
        .fails("bundle"),
        case(
            "bundle-newer-format",
            "The bundle in force has format 2.",
            under(&newer, |_, _| ()),
        )
        .cannot("bundle"),
        case(
            "bundle-signers-none",
            "The bundle in force is signed by nobody.",
            bundled(signed_bundle(&bundle(), &[])),
        )
        .against("bundle-signers"),
        case(
            "bundle-signers-stranger",
            "The bundle in force is signed by somebody who may not.",
            bundled(signed_bundle(&bundle(), &[&Key::new(77)])),
        )
        .against("bundle-signers"),
        case(
            "bundle-signers-broken-signature",
            "The signature of the bundle in force does not hold.",
            bundled({
                let signed = SignedBundle {
                    payload: Bytes(bundle().to_bytes()),
                    signatures: vec![Bytes(broken(
                        bundle_signer().statement(BUNDLE_TYP, bundle().statement().to_bytes()),
                    ))],
                };
                Artifact {
                    kind: SIGNED_BUNDLE_KIND.into(),
                    bytes: Bytes(signed.to_bytes()),
                }
            }),
        )
        .against("bundle-signers"),
        case(
            "bundle-signers-of-another-bundle",
            "The signer signed another version of the bundle.",
            bundled({
                let other = BundlePayload {
                    version: 2,
                    ..bundle()
                };
                let signed = SignedBundle {
                    payload: Bytes(bundle().to_bytes()),
                    signatures: vec![Bytes(
                        bundle_signer().statement(BUNDLE_TYP, other.statement().to_bytes()),
                    )],
                };
                Artifact {
                    kind: SIGNED_BUNDLE_KIND.into(),
                    bytes: Bytes(signed.to_bytes()),
                }
            }),
        )
        .against("bundle-signers"),
        case(
            "bundle-signers-one-of-two",
            "Two signers are demanded, and one signed.",
            story().export(),
        )
        .trust("two-signers", two(2))
        .against("bundle-signers"),
        case(
            "bundle-signers-one-twice",
            "Two signers are demanded, and one signed twice.",
            bundled(signed_bundle(
                &bundle(),
                &[&bundle_signer(), &bundle_signer()],
            )),
        )
        .trust("two-signers", two(2))
        .against("bundle-signers"),
        case(
            "accept-two-signers",
            "Two signers are demanded, and both signed.",
            bundled(signed_bundle(&bundle(), &[&bundle_signer(), &Key::new(78)])),
        )
        .trust("two-signers", two(2)),
        case(
            "accept-signatures-in-two-artifacts",
            "Two signers are demanded; each signed a copy of the bundle.",
            changed(|p| p.artifacts.push(signed_bundle(&bundle(), &[&Key::new(78)]))),
        )
        .trust("two-signers", two(2)),
        case(
            "bundle-signers-payload-alone",
            "The bundle in force is in the export without its signatures.",
            bundled(Artifact {
                kind: BUNDLE_KIND.into(),
                bytes: Bytes(bundle().to_bytes()),
            }),
        )
        .against("bundle-signers"),
        case(
            "bundle-signers-no-rule",
            "The trust file does not say who may sign bundles.",
            story().export(),
        )
        .trust("no-bundles", without_rule)
        .lacks("bundle-signers"),
        case(
            "bundle-signers-empty-list",
            "The trust file says that nobody may sign bundles.",
            story().export(),
        )
        .trust("no-signers", empty_rule)
        .against("bundle-signers"),
        case(
            "accept-pinned-bundle",
            "The bundle in force is pinned.",
            story().export(),
        )
        .trust("pinned-bundle", pinned(&bundle_digest().to_string())),
        case(
            "bundle-pins-other",
            "Another bundle is pinned.",
            story().export(),
        )
        .trust("other-bundle", pinned(&"ab".repeat(32)))
        .against("bundle-pins"),
    ]
}

/// A refused call that the agent signed, with its proof changed.
fn proven(edit: impl FnOnce(&mut Decision, &mut CallerProof, &mut Vec<u8>)) -> Vec<u8> {
    signed(|log| proven_in(log, edit))
}

fn proven_in(log: &mut Mini, edit: impl FnOnce(&mut Decision, &mut CallerProof, &mut Vec<u8>)) {
    let read = Call {
        signed: true,
        ..call(1, Mode::ReadOnly)
    };
    let mut body = log.decision_body(&read, Verdict::Deny, None);
    let mut request = b"{\"call\":1}".to_vec();
    let mut proof = caller_proof(&request);
    edit(&mut body, &mut proof, &mut request);
    let (commitment, proof) = salted(Field::CallerProof, &proof.to_bytes());
    let (received, request) = salted(Field::Received, &request);
    body.caller.proof = Some(commitment);
    body.received = received;
    let agent = salted(Field::Agent, b"agent:acme/support@1").1;
    log.push(
        Body::Decision(body),
        Some(read.run),
        vec![agent, request, proof],
    );
}

/// The proof with its base changed as text, and signed anew.
fn rebased(proof: &mut CallerProof, from: &str, to: &str) {
    let base = String::from_utf8(proof.signature_base.0.clone()).unwrap();
    assert!(base.contains(from), "{base}");
    proof.signature_base = Bytes(base.replace(from, to).into_bytes());
    proof.signature = agent().sign(&proof.signature_base.0);
}

fn callers() -> Vec<Case> {
    vec![
        case(
            "accept-signed-request",
            "A request carries its agent's signature.",
            proven(|_, _, _| ()),
        ),
        case(
            "accept-undisclosed-proof",
            "A request's signature is not disclosed.",
            signed(|log| {
                let read = Call {
                    signed: true,
                    ..call(1, Mode::ReadOnly)
                };
                let body = log.decision_body(&read, Verdict::Deny, None);
                log.push(Body::Decision(body), Some(read.run), vec![]);
            }),
        )
        .state("caller-proofs", State::NotChecked),
        case(
            "caller-proofs-another-key",
            "The record names another key than the one that signed.",
            proven(|d, _, _| d.caller.key = Some(KeyId([5; 32]))),
        )
        .fails("caller-proofs"),
        case(
            "caller-proofs-broken-signature",
            "The agent's signature does not hold.",
            proven(|_, p, _| p.signature.0[0] ^= 1),
        )
        .fails("caller-proofs"),
        case(
            "caller-proofs-another-request",
            "The agent signed another request than the one that is shown.",
            proven(|_, _, r| r.push(b' ')),
        )
        .fails("caller-proofs"),
        case(
            "caller-proofs-stranger",
            "The key that signed is no agent's.",
            proven(|d, p, _| {
                p.key = Key::new(77).public();
                p.signature = Key::new(77).sign(&p.signature_base.0);
                d.caller.key = Some(Key::new(77).public().id());
            }),
        )
        .fails("caller-proofs"),
        case(
            "caller-proofs-no-key-named",
            "The caller is said to have signed, and the record names no key.",
            signed(|log| {
                refused(log, |d| {
                    d.caller.assurance = 3;
                    d.caller.proof = Some(Commitment([5; 32]));
                })
            }),
        )
        .fails("caller-proofs"),
        case(
            "caller-proofs-no-proof",
            "The caller is said to have signed, and no signature was kept.",
            signed(|log| {
                refused(log, |d| {
                    d.caller.assurance = 3;
                    d.caller.key = Some(agent().public().id());
                })
            }),
        )
        .fails("caller-proofs"),
        case(
            "caller-proofs-of-another-agent",
            "The key that signed belongs to another agent than the one that is named.",
            under(
                &BundlePayload {
                    registry: {
                        let mut registry = bundle().registry;
                        registry.agents[0].urn = "agent:acme/other@1".into();
                        registry
                    },
                    ..bundle()
                },
                |log, digest| proven_in(log, |d, _, _| d.policy.as_mut().unwrap().bundle = digest),
            ),
        )
        .fails("caller-proofs"),
        case(
            "caller-proofs-of-another-tenant",
            "The agent belongs to another tenant than the entry.",
            under(
                &BundlePayload {
                    registry: {
                        let mut registry = bundle().registry;
                        registry.tenants[0].id = TenantId([8; 16]);
                        registry
                    },
                    ..bundle()
                },
                |log, digest| proven_in(log, |d, _, _| d.policy.as_mut().unwrap().bundle = digest),
            ),
        )
        .fails("caller-proofs"),
        case(
            "caller-proofs-no-tag",
            "The signature was not made for this purpose: its tag is another.",
            proven(|_, p, _| rebased(p, "tag=\"countersign\"", "tag=\"other\"")),
        )
        .fails("caller-proofs"),
        case(
            "caller-proofs-other-algorithm",
            "The signature names another algorithm.",
            proven(|_, p, _| rebased(p, "alg=\"ed25519\"", "alg=\"hmac-sha256\"")),
        )
        .fails("caller-proofs"),
        case(
            "caller-proofs-no-nonce",
            "The signature has no nonce.",
            proven(|_, p, _| rebased(p, ";nonce=\"0123456789abcdef\"", "")),
        )
        .fails("caller-proofs"),
        case(
            "caller-proofs-short-nonce",
            "The signature's nonce has fifteen characters.",
            proven(|_, p, _| rebased(p, "0123456789abcdef", "0123456789abcde")),
        )
        .fails("caller-proofs"),
        case(
            "caller-proofs-unknown-parameter",
            "The signature has a parameter that nobody knows.",
            proven(|_, p, _| rebased(p, ";alg=", ";more=1;alg=")),
        )
        .fails("caller-proofs"),
        case(
            "caller-proofs-parameter-twice",
            "The signature has a parameter twice.",
            proven(|_, p, _| rebased(p, ";alg=", ";created=1;alg=")),
        )
        .fails("caller-proofs"),
        case(
            "caller-proofs-path-not-covered",
            "The signature does not cover the path.",
            proven(|_, p, _| {
                let base = String::from_utf8(p.signature_base.0.clone()).unwrap();
                let line = base
                    .lines()
                    .find(|l| l.starts_with("\"@path\""))
                    .unwrap()
                    .to_owned()
                    + "\n";
                rebased(p, &line, "");
                rebased(p, "\"@path\" ", "");
            }),
        )
        .fails("caller-proofs"),
        case(
            "caller-proofs-body-not-covered",
            "The signature does not cover the body.",
            proven(|_, p, _| {
                let base = String::from_utf8(p.signature_base.0.clone()).unwrap();
                let line = base
                    .lines()
                    .find(|l| l.starts_with("\"content-digest\""))
                    .unwrap()
                    .to_owned()
                    + "\n";
                rebased(p, &line, "");
                rebased(p, " \"content-digest\"", "");
            }),
        )
        .fails("caller-proofs"),
        case(
            "caller-proofs-list-in-another-order",
            "The list of what is covered is in another order than the lines.",
            proven(|_, p, _| rebased(p, "\"@authority\" \"@path\"", "\"@path\" \"@authority\"")),
        )
        .fails("caller-proofs"),
        case(
            "caller-proofs-last-line-feed",
            "The signature base ends with a line feed.",
            proven(|_, p, _| {
                p.signature_base.0.push(b'\n');
                p.signature = agent().sign(&p.signature_base.0);
            }),
        )
        .fails("caller-proofs"),
        case(
            "caller-proofs-other-digest",
            "The covered digest of the body is of SHA-512.",
            proven(|_, p, _| rebased(p, "sha-256=", "sha-512=")),
        )
        .fails("caller-proofs"),
    ]
}

fn acted(edit: fn(&mut Action)) -> Vec<u8> {
    signed(|log| {
        sealed(log, &call(1, Mode::ReadOnly), vec![], |intent| {
            let mut action = Action::from_bytes(&intent.action.0).unwrap();
            edit(&mut action);
            intent.action = Bytes(action.to_bytes());
        });
    })
}

fn intended(edit: fn(&mut Intent)) -> Vec<u8> {
    signed(|log| sealed(log, &call(1, Mode::ReadOnly), vec![], edit))
}

fn actions() -> Vec<Case> {
    vec![
        case(
            "actions-of-another-gateway",
            "The sealed action is of another gateway.",
            acted(|a| a.gateway = GatewayId([5; 32])),
        )
        .fails("actions"),
        case(
            "actions-of-another-tenant",
            "The sealed action is of another tenant than the entry.",
            acted(|a| a.tenant = TenantId([8; 16])),
        )
        .fails("actions"),
        case(
            "actions-under-another-bundle",
            "The sealed action was decided under another bundle.",
            acted(|a| a.bundle = ArtifactDigest([5; 32])),
        )
        .fails("actions"),
        case(
            "actions-of-another-mode",
            "The sealed action runs under another mode than policy gave.",
            acted(|a| a.mode = Mode::Network),
        )
        .fails("actions"),
        case(
            "actions-destructive-where-policy-gave-less",
            "The sealed action destroys, policy gave it a harmless mode, and nobody approved.",
            acted(|a| a.mode = Mode::Destructive),
        )
        .fails("actions")
        .state("approval-required", State::Fail),
        case(
            "actions-harmless-where-policy-gave-more",
            "The sealed action is said to be harmless, policy gave it the mode of what destroys, and nobody approved.",
            intended(|i| i.policy.effective = Mode::Destructive),
        )
        .fails("actions")
        .state("approval-required", State::Fail),
        case(
            "actions-of-another-call",
            "The sealed action is of another call.",
            acted(|a| a.call = CallId([9; 16])),
        )
        .fails("actions"),
        case(
            "actions-denied",
            "A refused call was sealed for carrying out.",
            intended(|i| i.verdict = Verdict::Deny),
        )
        .fails("actions"),
        case(
            "actions-with-errors",
            "A call was sealed although policies could not be evaluated.",
            intended(|i| i.policy.errors.push("policy-2".into())),
        )
        .fails("actions"),
        case(
            "actions-malformed",
            "The sealed action has a byte too many.",
            intended(|i| i.action.0.push(0)),
        )
        .fails("actions"),
    ]
}

/// A destructive call with one approval, each changed as given.
fn approved(
    statement: fn(&mut ApprovalStatement, &mut Approval, &mut Key),
    intent: fn(&mut Intent),
) -> Vec<u8> {
    signed(|log| {
        let erase = call(1, Mode::Destructive);
        let word = word(log, &erase, statement);
        sealed(log, &erase, vec![word], intent);
    })
}

fn word(
    log: &mut Mini,
    call: &Call,
    edit: fn(&mut ApprovalStatement, &mut Approval, &mut Key),
) -> EntryRef {
    let action = log.action(call);
    let mut key = approver();
    let mut statement = ApprovalStatement {
        gateway: gateway(),
        action: action.digest(),
        preview: action.preview,
        approver: key.public().id(),
        choice: Choice::Approve,
        issued: UnixMillis(log.time),
        expires: UnixMillis(log.time + 600_000),
        nonce: Nonce([8; 32]),
    };
    let mut body = Approval {
        action: action.digest(),
        call: call.id,
        approver: key.public().id(),
        choice: Choice::Approve,
        statement: Commitment([0; 32]),
        expires: statement.expires,
    };
    edit(&mut statement, &mut body, &mut key);
    let signed = key.statement(APPROVAL_TYP, statement.to_bytes());
    let (commitment, disclosure) = salted(Field::ApprovalStatement, &signed);
    body.statement = commitment;
    log.push(Body::Approval(body), Some(call.run), vec![disclosure])
}

fn approvals() -> Vec<Case> {
    let nothing: fn(&mut ApprovalStatement, &mut Approval, &mut Key) = |_, _, _| ();
    let as_is: fn(&mut Intent) = |_| ();
    let erase = || call(1, Mode::Destructive);
    let with_word = |log: &mut Mini, references: &dyn Fn(EntryRef) -> Vec<EntryRef>| {
        let word = log.approve(&erase(), Choice::Approve);
        sealed(log, &erase(), references(word), |_| ());
    };
    vec![
        case(
            "accept-approved",
            "A destructive call has a person's approval.",
            approved(nothing, as_is),
        ),
        case(
            "accept-halted-and-taken-up",
            "A call was halted, approved, and taken up by another call.",
            signed(|log| {
                let halted = call(3, Mode::Destructive);
                log.decide(&halted, Verdict::StepUp, None);
                let approval = log.approve(&halted, Choice::Approve);
                let retry = Call {
                    action: Some(halted.id),
                    ..call(4, Mode::Destructive)
                };
                let intent = log.intent(&retry, vec![approval], Some(halted.id));
                log.decide(&retry, Verdict::Allow, Some(intent));
            }),
        ),
        case(
            "accept-undisclosed-approval",
            "The person's signed statement is not disclosed.",
            signed(|log| {
                let word = log.approve(&erase(), Choice::Approve);
                log.leaves.last_mut().unwrap().disclosures.clear();
                sealed(log, &erase(), vec![word], |_| ());
            }),
        ),
        case(
            "approval-required-none",
            "A destructive call has no approval.",
            signed(|log| sealed(log, &erase(), vec![], |_| ())),
        )
        .fails("approval-required"),
        case(
            "approval-required-by-obligation",
            "Policy asks for an approval of a harmless call, and there is none.",
            signed(|log| {
                sealed(log, &call(1, Mode::ReadOnly), vec![], |i| {
                    i.policy.obligations.push("step_up".into())
                });
            }),
        )
        .fails("approval-required"),
        case(
            "approval-required-by-a-word-that-is-no-number",
            "Policy asks for a number of people that is none; that asks for one.",
            signed(|log| {
                sealed(log, &call(1, Mode::ReadOnly), vec![], |i| {
                    i.policy.obligations.push("step_up:many".into())
                });
            }),
        )
        .fails("approval-required"),
        case(
            "approval-required-zero-people",
            "Policy asks for the approval of nobody; that asks for one.",
            signed(|log| {
                sealed(log, &call(1, Mode::ReadOnly), vec![], |i| {
                    i.policy.obligations.push("step_up:0".into())
                });
            }),
        )
        .fails("approval-required"),
        case(
            "approval-required-one-of-two",
            "Policy asks for two people, and one approved.",
            approved(nothing, |i| {
                i.policy.obligations = vec!["step_up:2:privacy".into()]
            }),
        )
        .fails("approval-required"),
        case(
            "approval-required-one-person-twice",
            "Policy asks for two people, and one approved twice.",
            signed(|log| {
                let first = log.approve(&erase(), Choice::Approve);
                let second = log.approve(&erase(), Choice::Approve);
                sealed(log, &erase(), vec![first, second], |i| {
                    i.policy.obligations = vec!["step_up:2".into()]
                });
            }),
        )
        .fails("approval-required"),
        case(
            "approval-required-of-another-group",
            "The person is in none of the groups that policy names.",
            approved(nothing, |i| {
                i.policy.obligations = vec!["step_up:1:finance".into()]
            }),
        )
        .fails("approval-required"),
        case(
            "approval-required-of-two-groups",
            "The person is in one of the two groups that policy names.",
            approved(nothing, |i| {
                i.policy.obligations = vec!["step_up:1:privacy+finance".into()]
            }),
        )
        .fails("approval-required"),
        case(
            "approval-required-refused",
            "The person refused.",
            signed(|log| {
                let word = log.approve(&erase(), Choice::Refuse);
                sealed(log, &erase(), vec![word], |_| ());
            }),
        )
        .fails("approval-required"),
        case(
            "approval-required-of-another-action",
            "The approval is for another action.",
            signed(|log| {
                let word = log.approve(&call(9, Mode::Destructive), Choice::Approve);
                sealed(log, &erase(), vec![word], |_| ());
            }),
        )
        .fails("approval-required"),
        case(
            "approval-required-used-before",
            "The approval was used before, by another call.",
            signed(|log| {
                let word = log.approve(&erase(), Choice::Approve);
                sealed(log, &erase(), vec![word.clone()], |_| ());
                let again = Call {
                    action: Some(erase().id),
                    ..call(2, Mode::Destructive)
                };
                let intent = log.intent(&again, vec![word], Some(erase().id));
                log.decide(&again, Verdict::Allow, Some(intent));
            }),
        )
        .fails("approval-required"),
        case(
            "approval-required-expired",
            "The approval had expired.",
            signed(|log| {
                let word = log.approve(&erase(), Choice::Approve);
                log.time += 700_000;
                sealed(log, &erase(), vec![word], |_| ());
            }),
        )
        .fails("approval-required"),
        case(
            "approval-required-no-such-entry",
            "The intent names an approval that is not there.",
            signed(|log| {
                with_word(log, &|word| {
                    vec![EntryRef {
                        digest: EntryDigest([5; 32]),
                        ..word
                    }]
                });
            }),
        )
        .fails("approval-required"),
        case(
            "approval-required-of-a-person-without-the-capability",
            "The person may approve other capabilities only.",
            under(
                &BundlePayload {
                    registry: {
                        let mut registry = bundle().registry;
                        registry.approvers[0].capabilities = vec!["crm.read".into()];
                        registry
                    },
                    ..bundle()
                },
                within,
            ),
        )
        .fails("approval-required"),
        case(
            "approval-required-of-a-person-of-another-tenant",
            "The person may approve for other tenants only.",
            under(
                &BundlePayload {
                    registry: {
                        let mut registry = bundle().registry;
                        registry.approvers[0].tenants = vec!["initech".into()];
                        registry
                    },
                    ..bundle()
                },
                within,
            ),
        )
        .fails("approval-required"),
        case(
            "approvals-superfluous-and-wrong",
            "A harmless call names an approval of another action, which it did not need.",
            signed(|log| {
                let word = log.approve(&call(9, Mode::Destructive), Choice::Approve);
                sealed(log, &call(1, Mode::ReadOnly), vec![word], |_| ());
            }),
        )
        .fails("approvals"),
        case(
            "approvals-twice-in-one-intent",
            "An intent names one approval twice.",
            signed(|log| with_word(log, &|word| vec![word.clone(), word])),
        )
        .fails("approvals"),
        case(
            "approvals-by-another-key",
            "The statement is signed by another key than the approver's.",
            approved(|_, _, key| *key = Key::new(77), as_is),
        )
        .fails("approvals"),
        case(
            "approvals-by-a-stranger",
            "The statement is by somebody who is no approver.",
            approved(
                |s, b, key| {
                    *key = Key::new(77);
                    s.approver = key.public().id();
                    b.approver = s.approver;
                },
                as_is,
            ),
        )
        .fails("approval-required")
        .state("approvals", State::Fail),
        case(
            "approvals-statement-of-another-gateway",
            "The person approved for another gateway.",
            approved(|s, _, _| s.gateway = GatewayId([5; 32]), as_is),
        )
        .fails("approvals"),
        case(
            "approvals-statement-of-another-action",
            "The person approved another action than the entry says.",
            approved(|s, _, _| s.action = ActionDigest([5; 32]), as_is),
        )
        .fails("approvals"),
        case(
            "approvals-statement-with-another-expiry",
            "The statement expires sooner than the entry says.",
            approved(|s, _, _| s.expires = UnixMillis(START), as_is),
        )
        .fails("approvals"),
        case(
            "approvals-statement-refuses",
            "The person refused, and the entry says approved.",
            approved(|s, _, _| s.choice = Choice::Refuse, as_is),
        )
        .fails("approvals"),
        case(
            "approvals-other-preview",
            "The person was shown something else than the action.",
            approved(|s, _, _| s.preview = Commitment([5; 32]), as_is),
        )
        .fails("approval-required")
        .state("approvals", State::Fail),
    ]
}

/// A destructive call, approved, under this bundle.
fn within(log: &mut Mini, digest: ArtifactDigest) {
    let erase = call(1, Mode::Destructive);
    let mut action = log.action(&erase);
    action.bundle = digest;
    let expires = UnixMillis(log.time + 600_000);
    let statement = ApprovalStatement {
        gateway: gateway(),
        action: action.digest(),
        preview: action.preview,
        approver: approver().public().id(),
        choice: Choice::Approve,
        issued: UnixMillis(log.time),
        expires,
        nonce: Nonce([8; 32]),
    };
    let signed = approver().statement(APPROVAL_TYP, statement.to_bytes());
    let (commitment, disclosure) = salted(Field::ApprovalStatement, &signed);
    let body = Approval {
        action: action.digest(),
        call: erase.id,
        approver: approver().public().id(),
        choice: Choice::Approve,
        statement: commitment,
        expires,
    };
    let word = log.push(Body::Approval(body), Some(erase.run), vec![disclosure]);
    sealed(log, &erase, vec![word], |intent| {
        intent.action = Bytes(action.to_bytes());
        intent.policy.bundle = digest;
    });
}

fn settlements() -> Vec<Case> {
    let with = |edit: fn(&mut Decision)| signed(|log| settled(log, edit));
    let without = |edit: fn(&mut Decision)| signed(|log| refused(log, edit));
    vec![
        case(
            "accept-call-under-way",
            "A call was sealed and is still under way at the end.",
            signed(|log| {
                log.intent(&call(1, Mode::ReadOnly), vec![], None);
            }),
        ),
        case(
            "settlement-never",
            "A call was sealed in an epoch that ended, and was never settled.",
            signed(|log| {
                log.intent(&call(1, Mode::ReadOnly), vec![], None);
                log.close();
                log.open();
            }),
        )
        .fails("settlement"),
        case(
            "accept-settled-after-a-restart",
            "A call was sealed in one epoch and settled as unknown in the next.",
            signed(|log| {
                let read = call(1, Mode::ReadOnly);
                let intent = log.intent(&read, vec![], None);
                log.open();
                let mut body = log.decision_body(&read, Verdict::Allow, Some(intent));
                body.effect = Effect::Unknown;
                log.push(Body::Decision(body), Some(read.run), vec![]);
            }),
        ),
        case(
            "settlement-other-request",
            "The outcome shows another request than the intent.",
            with(|d| d.received = Commitment([5; 32])),
        )
        .fails("settlement"),
        case(
            "settlement-other-arguments",
            "The outcome shows other forwarded arguments than the intent.",
            with(|d| d.forwarded = Some(Commitment([5; 32]))),
        )
        .fails("settlement"),
        case(
            "settlement-other-action",
            "The outcome names another action than the intent.",
            with(|d| d.action = Some(ActionDigest([5; 32]))),
        )
        .fails("settlement"),
        case(
            "settlement-other-capability",
            "The outcome names another capability than the intent.",
            with(|d| d.capability.as_mut().unwrap().id = "crm.read".into()),
        )
        .fails("settlement"),
        case(
            "settlement-other-basis",
            "The outcome was decided on other leaves than the intent.",
            with(|d| d.basis = d.basis.map(|b| b - 1)),
        )
        .fails("settlement"),
        case(
            "settlement-no-basis",
            "The outcome of a sealed call does not say on which leaves it was decided.",
            with(|d| d.basis = None),
        )
        .fails("settlement"),
        case(
            "settlement-intent-on-later-leaves",
            "An intent is said to be decided on leaves that stand after it.",
            signed(|log| {
                let end = log.next();
                sealed(log, &call(1, Mode::ReadOnly), vec![], |i| i.basis = end + 2);
            }),
        )
        .fails("settlement"),
        case(
            "settlement-denied-on-later-leaves",
            "A refusal is said to be decided on leaves that stand after it.",
            signed(|log| {
                let refused = call(1, Mode::Network);
                let mut body = log.decision_body(&refused, Verdict::Deny, None);
                body.basis = Some(log.next() + 1);
                log.push(Body::Decision(body), Some(refused.run), vec![]);
            }),
        )
        .fails("settlement"),
        case(
            "settlement-other-approvals",
            "The outcome names approvals that the intent does not.",
            with(|d| {
                d.approvals.push(EntryRef {
                    index: 1,
                    digest: EntryDigest([5; 32]),
                })
            }),
        )
        .fails("settlement"),
        case(
            "settlement-other-intent",
            "The outcome names another entry than its intent.",
            with(|d| d.intent.as_mut().unwrap().index -= 1),
        )
        .fails("settlement"),
        case(
            "in-force-outcome-of-nothing",
            "The outcome of a sealed call names as in force what is neither base nor change.",
            with(|d| {
                d.in_force = EntryRef {
                    index: 1,
                    digest: EntryDigest([5; 32]),
                }
            }),
        )
        .fails("in-force"),
        case(
            "settlement-intent-not-named",
            "A sealed call's outcome names no intent.",
            with(|d| d.intent = None),
        )
        .fails("settlement"),
        case(
            "settlement-of-nothing",
            "An outcome names an intent that is not there.",
            without(|d| {
                d.intent = Some(EntryRef {
                    index: 1,
                    digest: EntryDigest([5; 32]),
                })
            }),
        )
        .fails("settlement"),
        case(
            "settlement-sealed-twice",
            "One call was sealed twice.",
            signed(|log| {
                let read = call(1, Mode::ReadOnly);
                log.intent(&read, vec![], None);
                let intent = log.intent(&read, vec![], None);
                log.decide(&read, Verdict::Allow, Some(intent));
            }),
        )
        .fails("settlement"),
        case(
            "settled-twice",
            "One call has two outcomes.",
            signed(|log| {
                log.decide(&call(1, Mode::Network), Verdict::Deny, None);
                log.decide(&call(1, Mode::Network), Verdict::Deny, None);
            }),
        )
        .fails("settled-twice"),
        case(
            "intent-before-effect-unknown",
            "A call may have had an effect, and nothing was sealed before.",
            without(|d| {
                d.verdict = Verdict::Allow;
                d.effect = Effect::Unknown;
            }),
        )
        .fails("intent-before-effect"),
        case(
            "intent-before-effect-dispatched",
            "A refused call has left the gateway.",
            without(|d| d.effect = Effect::Dispatched),
        )
        .fails("intent-before-effect"),
        case(
            "intent-before-effect-allowed",
            "A call was allowed, nothing was sealed, and nothing says why.",
            without(|d| {
                d.verdict = Verdict::Allow;
                d.code = None;
            }),
        )
        .fails("intent-before-effect"),
        case(
            "accept-repeated-outcome",
            "An allowed call repeats the outcome of another, and names it.",
            without(|d| {
                d.verdict = Verdict::Allow;
                d.code = None;
                d.parent = Some(CallId([9; 16]));
            }),
        ),
    ]
}

fn rules() -> Vec<Case> {
    let change = |edit: fn(&mut Change)| {
        signed(|log| {
            let mut body = change_body(log);
            edit(&mut body);
            log.push(Body::Change(body), None, vec![]);
        })
    };
    // A refused call under the rules before a change, so many milliseconds after it.
    let in_flight = |millis: u64| {
        signed(|log| {
            let read = call(1, Mode::Network);
            let body = log.decision_body(&read, Verdict::Deny, None);
            log.change();
            log.time += millis - 1000;
            log.push(Body::Decision(body), Some(read.run), vec![]);
        })
    };
    vec![
        case(
            "accept-change",
            "A bundle came into force, and a call was decided under it.",
            signed(|log| {
                log.change();
                log.decide(&call(1, Mode::Network), Verdict::Deny, None);
            }),
        ),
        case(
            "in-force-other-bundle",
            "A call was decided under a bundle that was not in force.",
            signed(|log| {
                refused(log, |d| {
                    d.policy.as_mut().unwrap().bundle = ArtifactDigest([5; 32])
                })
            }),
        )
        .fails("in-force"),
        case(
            "in-force-of-nothing",
            "A call names as in force what is neither base nor change.",
            signed(|log| {
                refused(log, |d| {
                    d.in_force = EntryRef {
                        index: 1,
                        digest: EntryDigest([5; 32]),
                    }
                })
            }),
        )
        .fails("in-force"),
        case(
            "in-force-of-the-epoch-before",
            "A call names the opening of the epoch before as in force.",
            signed(|log| {
                let read = call(1, Mode::Network);
                let body = log.decision_body(&read, Verdict::Deny, None);
                log.close();
                log.open();
                log.push(Body::Decision(body), Some(read.run), vec![]);
            }),
        )
        .fails("in-force"),
        case(
            "accept-decided-in-flight",
            "A call was decided under the rules that were replaced a minute before.",
            in_flight(60_000),
        ),
        case(
            "in-force-replaced-long-before",
            "A call was decided under rules that had been replaced more than a minute before.",
            in_flight(60_001),
        )
        .fails("in-force"),
        case(
            "in-force-intent-under-other-bundle",
            "A call was sealed under a bundle that was not in force.",
            signed(|log| {
                sealed(log, &call(1, Mode::ReadOnly), vec![], |i| {
                    let mut action = Action::from_bytes(&i.action.0).unwrap();
                    action.bundle = ArtifactDigest([5; 32]);
                    i.policy.bundle = action.bundle;
                    i.action = Bytes(action.to_bytes());
                })
            }),
        )
        .fails("in-force"),
        case(
            "in-force-change-of-other-rules",
            "A change names something else as in force before it.",
            change(|c| {
                c.before = EntryRef {
                    index: 1,
                    digest: EntryDigest([5; 32]),
                }
            }),
        )
        .fails("in-force"),
        case(
            "accept-first-change-after-a-restart",
            "The first change after a restart names what was in force before it.",
            signed(|log| {
                let before = log.change();
                log.close();
                log.open();
                let change = Change {
                    before,
                    ..change_body(log)
                };
                log.push(Body::Change(change), None, vec![]);
            }),
        ),
        case(
            "in-force-second-change-after-a-restart",
            "The second change after a restart names what was in force before the restart.",
            signed(|log| {
                let before = log.change();
                log.close();
                log.open();
                log.change();
                let change = Change {
                    before,
                    ..change_body(log)
                };
                log.push(Body::Change(change), None, vec![]);
            }),
        )
        .fails("in-force"),
        case(
            "in-force-change-of-another-version",
            "A change and its bundle name different versions.",
            change(|c| c.version = 4),
        )
        .fails("in-force"),
        case(
            "in-force-version-falls",
            "A lower version of the roles comes into force after a higher one.",
            signed(|log| {
                for version in [4, 3] {
                    let body = Change {
                        kind: ChangeKind::Roles,
                        digest: ArtifactDigest([6; 32]),
                        version,
                        ..change_body(log)
                    };
                    log.push(Body::Change(body), None, vec![]);
                }
            }),
        )
        .fails("in-force"),
        case(
            "configuration-changed",
            "A configuration came into force that nobody knows.",
            change(|c| {
                c.kind = ChangeKind::Configuration;
                c.digest = ArtifactDigest([6; 32]);
            }),
        )
        .against("configuration"),
        case(
            "bundle-changed-and-missing",
            "A bundle came into force that is not in the export.",
            change(|c| c.digest = ArtifactDigest([6; 32])),
        )
        .fails("bundle"),
    ]
}

/// A change of the bundle, after the newest base or change.
pub fn change_body(log: &Mini) -> Change {
    let before = log
        .leaves
        .iter()
        .rposition(|l| matches!(l.payload.body, Body::Base(_) | Body::Change(_)))
        .unwrap();
    Change {
        kind: ChangeKind::Bundle,
        digest: bundle_digest(),
        version: 3,
        before: reference(log, before),
        signers: vec![bundle_signer().public().id()],
        reason: Some("reload".into()),
    }
}
