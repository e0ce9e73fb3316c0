//! A small gateway in test code: makes genuine exports with real signatures, entry by entry,
//! so that tests can change one thing at a time. It decides nothing.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "test support, shared by several test programs that each use a part"
)]

pub mod device;
pub mod platform;

use countersign_record::binding::*;
use countersign_record::body::privacy::ranges_of;
use countersign_record::body::*;
use countersign_record::bundle::*;
use countersign_record::cbor::{Bytes, Cbor as _};
use countersign_record::checkpoint::{epoch_name, note_text, origin, signature_line};
use countersign_record::commitment::{CallerProof, Disclosure, Field, commit};
use countersign_record::cose::Unsigned;
use countersign_record::digest::*;
use countersign_record::entry::{Body, Entry, EntryRef, Payload, Place, RunPlace, TenantPlace};
use countersign_record::export::*;
use countersign_record::merkle::{Frontier, Head, Subtree, leaf_hash, subtrees};
use countersign_record::profile::Disclosed;
use countersign_record::receipt::{RECEIPT_TYP, Receipt};
use countersign_record::statement::*;
use countersign_signatures::http::{
    Header, HttpRequest, Scheme, SigningParameters, UnixSeconds, sign_request,
};
use countersign_verify::report::Report;
use countersign_verify::trust::Trust;
use countersign_verify::{Options, verify};
use device::Device;
use ed25519_dalek::{Signer as _, SigningKey};
use platform::Platform;
use std::collections::BTreeMap;

/// Claimed time of the first entry.
pub const START: u64 = 1_770_000_000_000;
/// The verifier's clock.
pub const NOW: UnixMillis = UnixMillis(START + 3_600_000);
pub const TENANT: TenantId = TenantId([7; 16]);
/// The pseudonym of the one agent that calls.
pub const SUBJECT: SubjectId = SubjectId([0x5b; 32]);
pub const LEASE: u64 = 1_200_000;

/// Keys, by what they are for.
pub struct Key(SigningKey);

impl Key {
    pub fn new(seed: u8) -> Self {
        Self(SigningKey::from_bytes(&[seed; 32]))
    }
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
    pub fn statement(&self, typ: &str, payload: Vec<u8>) -> Vec<u8> {
        let unsigned = Unsigned::new(typ, self.public().id(), payload);
        unsigned.with_signature(self.sign(&unsigned.to_be_signed()))
    }
}

pub fn governance() -> Key {
    Key::new(10)
}
pub fn identity() -> Key {
    Key::new(11)
}
pub fn bundle_signer() -> Key {
    Key::new(12)
}
pub fn approver() -> Key {
    Key::new(13)
}
pub fn agent() -> Key {
    Key::new(14)
}
pub fn epoch_key(number: u64) -> Key {
    Key::new(20 + number as u8)
}
pub fn gateway() -> GatewayId {
    identity().public().gateway()
}

/// One leaf of the log under construction.
#[derive(Clone)]
pub struct LeafSpec {
    pub payload: Payload,
    pub epoch: u64,
    pub bytes: Vec<u8>,
    pub disclosures: Vec<Disclosure>,
}

/// Changes to what comes next, each made once and before anything is signed.
#[derive(Default)]
pub struct Edits {
    /// Of the next entry's place.
    pub place: Option<fn(&mut Place)>,
    /// Of the next opening, after its evidence was made.
    pub base: Option<fn(&mut Base)>,
    /// Of the next container of evidence.
    pub container: Option<fn(&mut Vec<u8>)>,
    /// Of the references to it.
    pub references: Option<fn(&mut Vec<EvidenceRef>)>,
}

/// A log under construction, and what leaves with it.
pub struct Mini {
    pub edits: Edits,
    pub device: Device,
    pub platform: Platform,
    pub artifacts: Vec<Artifact>,
    pub leaves: Vec<LeafSpec>,
    pub scope: Scope,
    /// What its exports promise to open: nothing, so that a test need not open what it is not about.
    pub disclosed: Disclosed,
    pub epoch: u64,
    pub frontier: Frontier,
    pub time: u64,
    base: Option<EntryRef>,
    in_force: Option<EntryRef>,
    link: Option<EntryDigest>,
    renewals: u64,
    last_counter: u64,
    /// Whose entries are written.
    pub tenant: TenantId,
    /// Next number of each tenant.
    pub tenants: BTreeMap<TenantId, u64>,
    runs: Vec<(RunId, u64, EntryDigest, u64, u64)>,
    /// Every tenant's last number, as the last renewal statement covers it.
    covered: Vec<TenantHead>,
    /// The same of each renewal and close.
    pub heads: Vec<(u64, Vec<TenantHead>)>,
}

/// What a call in the log looks like.
pub struct Call {
    pub id: CallId,
    pub run: RunId,
    pub mode: Mode,
    pub signed: bool,
    /// The halted call whose action this one takes up.
    pub action: Option<CallId>,
}

pub fn call(number: u8, mode: Mode) -> Call {
    Call {
        id: CallId([number; 16]),
        run: RunId([1; 16]),
        mode,
        signed: false,
        action: None,
    }
}

pub fn salted(field: Field, value: &[u8]) -> (Commitment, Disclosure) {
    let salt = Salt([9; 16]);
    (
        commit(field, salt, value),
        Disclosure {
            field,
            salt,
            value: Bytes(value.to_vec()),
        },
    )
}

pub fn bundle() -> BundlePayload {
    BundlePayload {
        format: 1,
        name: "shop".into(),
        environment: "production".into(),
        version: 3,
        registry: Registry {
            tenants: vec![TenantEntry {
                id: TENANT,
                name: "acme".into(),
            }],
            agents: vec![AgentEntry {
                urn: "agent:acme/support@1".into(),
                tenant: "acme".into(),
                key: Some(agent().public()),
                token: None,
                user: None,
            }],
            approvers: vec![ApproverEntry {
                id: "dpo".into(),
                name: "Data protection".into(),
                key: approver().public(),
                groups: vec!["privacy".into(), "legal".into(), "stop".into()],
                tenants: vec!["acme".into()],
                capabilities: Vec::new(),
            }],
        },
        rules: Bytes(vec![0xa0]),
    }
}

pub fn bundle_digest() -> ArtifactDigest {
    ArtifactDigest::of(&bundle().to_bytes())
}

pub fn policy(mode: Mode) -> PolicyOutcome {
    PolicyOutcome {
        bundle: bundle_digest(),
        fired: vec!["permit-1".into()],
        obligations: if mode == Mode::Destructive {
            vec!["step_up:1:privacy".into()]
        } else {
            vec![]
        },
        errors: vec![],
        requested: mode,
        effective: mode,
        highest: Mode::Destructive,
    }
}

pub fn capability() -> CapabilityRef {
    CapabilityRef {
        id: "crm.erase".into(),
        descriptor: None,
        adapter: "crm".into(),
        upstream: None,
    }
}

impl Mini {
    pub fn new(profile: Profile) -> Self {
        let payload = bundle();
        let statement = bundle_signer().statement(BUNDLE_TYP, payload.statement().to_bytes());
        let signed = SignedBundle {
            payload: Bytes(payload.to_bytes()),
            signatures: vec![Bytes(statement)],
        };
        let artifact = Artifact {
            kind: SIGNED_BUNDLE_KIND.into(),
            bytes: Bytes(signed.to_bytes()),
        };
        Self {
            edits: Edits::default(),
            device: Device::new(profile),
            platform: Platform::default(),
            artifacts: vec![artifact],
            leaves: vec![],
            scope: Scope::Whole,
            disclosed: Disclosed::new(vec![], Classification::ALL.to_vec()),
            epoch: 0,
            frontier: Frontier::new(),
            time: START,
            base: None,
            in_force: None,
            link: None,
            renewals: 0,
            last_counter: 40,
            tenant: TENANT,
            tenants: BTreeMap::new(),
            runs: vec![],
            covered: vec![],
            heads: vec![],
        }
    }

    pub fn next(&self) -> u64 {
        self.leaves.len() as u64
    }

    /// Appends an entry; `run` says whether it belongs to a tenant's run.
    pub fn push(
        &mut self,
        body: Body,
        run: Option<RunId>,
        disclosures: Vec<Disclosure>,
    ) -> EntryRef {
        self.time += 1000;
        let is_base = matches!(body, Body::Base(_));
        let mut place = Place {
            index: self.next(),
            base: if is_base {
                None
            } else {
                self.base.as_ref().map(|b| b.digest)
            },
            at: UnixMillis(self.time),
            since_boot: self.time - START,
            tenant: run.map(|_| TenantPlace {
                tenant: self.tenant,
                seq: self.tenants.get(&self.tenant).copied().unwrap_or(0),
            }),
            run: run.map(|run| {
                let known = self.runs.iter().find(|r| r.0 == run);
                RunPlace {
                    run,
                    seq: known.map_or(0, |r| r.1),
                    previous: known.map(|r| r.2),
                }
            }),
        };
        let index = place.index;
        if let Some(edit) = self.edits.place.take() {
            edit(&mut place);
        }
        let payload = Payload::new(place, body);
        let bytes = sign(&payload, &epoch_key(self.epoch));
        let leaf = leaf_hash(&bytes);
        self.frontier.append(leaf, |_, _, _| ());
        let digest = EntryDigest(leaf.0);
        if let Some(run) = run {
            *self.tenants.entry(self.tenant).or_insert(0) += 1;
            match self.runs.iter_mut().find(|r| r.0 == run) {
                Some(r) => (r.1, r.2, r.4) = (r.1 + 1, digest, index),
                None => self.runs.push((run, 1, digest, index, index)),
            }
        }
        self.leaves.push(LeafSpec {
            payload,
            epoch: self.epoch,
            bytes,
            disclosures,
        });
        EntryRef { index, digest }
    }

    /// The evidence of a renewal or a close.
    fn evidence(&mut self, qualifying: Qualifying) -> Vec<EvidenceRef> {
        let mut data = [0; 64];
        data[..32].copy_from_slice(&qualifying.0);
        let profile = self.device.profile;
        let platform = (!profile.has_tpm()).then(|| self.platform_item(data, qualifying));
        self.containers(platform, qualifying)
    }

    /// The evidence of an opening.
    fn opening_evidence(&mut self, anchor: Anchor) -> Vec<EvidenceRef> {
        if !self.device.profile.has_report() {
            return self.containers(None, anchor.qualifying());
        }
        let platform = self.platform_item(anchor.0, anchor.qualifying());
        let beside = anchor.qualifying_beside(platform.digest());
        self.containers(Some(platform), beside)
    }

    fn platform_item(&mut self, data: [u8; 64], qualifying: Qualifying) -> Artifact {
        let evidence = self.platform.evidence(&self.device, data, qualifying);
        Artifact {
            kind: lifecycle::PLATFORM_EVIDENCE_KIND.to_owned(),
            bytes: Bytes(evidence.to_bytes()),
        }
    }

    fn containers(
        &mut self,
        platform: Option<Artifact>,
        qualifying: Qualifying,
    ) -> Vec<EvidenceRef> {
        let mut items = vec![];
        if self.device.profile.has_tpm() {
            let mut bytes = self.device.attest(qualifying).to_bytes();
            if let Some(edit) = self.edits.container.take() {
                edit(&mut bytes);
            }
            items.push(Artifact {
                kind: lifecycle::TPM_EVIDENCE_KIND.to_owned(),
                bytes: Bytes(bytes),
            });
        }
        items.extend(platform);
        let mut references: Vec<EvidenceRef> = items
            .iter()
            .map(|item| EvidenceRef {
                kind: item.kind.clone(),
                digest: item.digest(),
            })
            .collect();
        self.artifacts.extend(items);
        if let Some(edit) = self.edits.references.take() {
            edit(&mut references);
        }
        references
    }

    fn head(&self) -> LogHead {
        LogHead {
            size: self.frontier.size(),
            root: self.frontier.root(),
        }
    }

    /// The binding of the next epoch.
    pub fn binding(&mut self) -> Binding {
        self.device.counter += 1;
        let tpm = self.device.profile.has_tpm();
        Binding {
            version: BINDING_VERSION,
            profile: self.device.profile,
            identity_key: identity().public(),
            epoch_key: epoch_key(self.epoch + 1).public(),
            ak_name: Bytes(if tpm { self.device.ak_name() } else { vec![] }),
            tls_key: None,
            pcrs: if tpm { device::PCRS.to_vec() } else { vec![] },
            release_key: Bytes(device::release_public()),
            build: ArtifactDigest([0xb1; 32]),
            configuration: ArtifactDigest([0xc1; 32]),
            bundles: vec![bundle_digest()],
            counter: self.device.counter,
            previous: self.head(),
            nonce: Nonce([4; 32]),
        }
    }

    pub fn open(&mut self) -> EntryRef {
        let binding = self.binding();
        self.open_with(binding)
    }

    pub fn open_with(&mut self, binding: Binding) -> EntryRef {
        self.open_after(binding, self.last_counter, vec![])
    }

    /// An opening that explains the counter so far, and lists steps that came to nothing.
    pub fn open_after(
        &mut self,
        binding: Binding,
        explained: u64,
        abandoned: Vec<AbandonedOpening>,
    ) -> EntryRef {
        let bytes = binding.to_bytes();
        let evidence = self.opening_evidence(anchor_of(&bytes));
        self.epoch += 1;
        let mut base = Base {
            identity_signature: identity().sign(&epoch_message(&bytes)),
            binding: Bytes(bytes),
            evidence,
            epoch: self.epoch,
            previous: self
                .leaves
                .last()
                .map(|l| EntryDigest(leaf_hash(&l.bytes).0)),
            explained,
            abandoned,
            recovery_key: Some(KeyId([3; 32])),
            software: "countersign 0.1.0".into(),
        };
        if let Some(edit) = self.edits.base.take() {
            edit(&mut base);
        }
        let entry = self.push(Body::Base(base), None, vec![]);
        self.base = Some(entry.clone());
        self.in_force = Some(entry.clone());
        self.link = Some(entry.digest);
        self.renewals = 0;
        self.last_counter = binding.counter;
        entry
    }

    pub fn enrol(&mut self) -> EntryRef {
        let statement = FleetStatement {
            fleet: "acme".into(),
            number: 5,
            issued: UnixMillis(START),
            members: vec![FleetMember {
                gateway: gateway(),
                name: "shop-1".into(),
                from: UnixMillis(START),
                until: None,
                ak_name: self
                    .device
                    .profile
                    .has_tpm()
                    .then(|| Bytes(self.device.ak_name())),
            }],
        };
        let statement = Bytes(governance().statement(FLEET_TYP, statement.to_bytes()));
        self.push(
            Body::Enrol(Enrol {
                number: 5,
                statement,
            }),
            None,
            vec![],
        )
    }

    /// The caller, and what opens it.
    pub fn caller(&self, call: &Call) -> (Caller, Commitment, Vec<Disclosure>) {
        let (agent_c, agent_d) = salted(Field::Agent, b"agent:acme/support@1");
        let body = format!("{{\"call\":{}}}", call.id.0[0]);
        let (received, received_d) = salted(Field::Received, body.as_bytes());
        let mut disclosures = vec![agent_d, received_d];
        let proof = call.signed.then(|| {
            let (proof, disclosure) = salted(
                Field::CallerProof,
                &caller_proof(body.as_bytes()).to_bytes(),
            );
            disclosures.push(disclosure);
            proof
        });
        let caller = Caller {
            assurance: if call.signed { 3 } else { 0 },
            key: call.signed.then(|| agent().public().id()),
            agent: agent_c,
            user: None,
            session: None,
            proof,
            claims: None,
            principal_chain: None,
            subject: Some(SUBJECT),
        };
        (caller, received, disclosures)
    }

    pub fn action(&self, call: &Call) -> Action {
        Action {
            gateway: gateway(),
            tenant: self.tenant,
            agent: salted(Field::Agent, b"agent:acme/support@1").0,
            capability: capability(),
            mode: call.mode,
            forwarded: salted(Field::Forwarded, b"DELETE").0,
            preview: salted(Field::Preview, b"erase one").0,
            bundle: bundle_digest(),
            call: call.action.unwrap_or(call.id),
        }
    }

    pub fn intent(
        &mut self,
        call: &Call,
        approvals: Vec<EntryRef>,
        parent: Option<CallId>,
    ) -> EntryRef {
        let (body, disclosures) = self.intent_body(call, approvals, parent);
        self.push(Body::Intent(body), Some(call.run), disclosures)
    }

    /// An intent, and what opens it.
    pub fn intent_body(
        &self,
        call: &Call,
        approvals: Vec<EntryRef>,
        parent: Option<CallId>,
    ) -> (Intent, Vec<Disclosure>) {
        let (caller, received, mut disclosures) = self.caller(call);
        disclosures.push(salted(Field::Facts, b"facts").1);
        disclosures.push(salted(Field::Forwarded, b"DELETE").1);
        disclosures.push(salted(Field::Preview, b"erase one").1);
        let body = Intent {
            call: call.id,
            in_force: self.in_force.clone().unwrap(),
            action: Bytes(self.action(call).to_bytes()),
            caller,
            verdict: Verdict::Allow,
            policy: policy(call.mode),
            facts: salted(Field::Facts, b"facts").0,
            received,
            approvals,
            idempotency: None,
            controls: vec!["budget".into()],
            parent,
            basis: self.leaves.len() as u64,
        };
        (body, disclosures)
    }

    pub fn decision_body(
        &self,
        call: &Call,
        verdict: Verdict,
        intent: Option<EntryRef>,
    ) -> Decision {
        let (caller, received, _) = self.caller(call);
        let carried = intent.is_some();
        let action = self.action(call);
        let sealed = intent
            .as_ref()
            .map(|i| &self.leaves[i.index as usize].payload.body);
        let (approvals, parent, basis) = match sealed {
            Some(Body::Intent(i)) => (i.approvals.clone(), i.parent, i.basis),
            _ => (vec![], None, self.leaves.len() as u64),
        };
        let at = UnixMillis(self.time);
        Decision {
            call: call.id,
            in_force: self.in_force.clone().unwrap(),
            intent,
            parent,
            verdict,
            code: (!carried).then(|| "policy_denied".into()),
            effect: if carried {
                Effect::Dispatched
            } else {
                Effect::None
            },
            cancelled: None,
            times: Times {
                received: at,
                decided: at,
                dispatched: None,
                settled: at,
            },
            trace: Some(Trace {
                id: [1; 16],
                span: [2; 8],
            }),
            caller,
            capability: Some(capability()),
            policy: Some(policy(call.mode)),
            lineage: None,
            facts: Some(salted(Field::Facts, b"facts").0),
            received,
            forwarded: carried.then_some(action.forwarded),
            raw_result: carried.then(|| salted(Field::RawResult, b"1 row").0),
            released: carried.then(|| salted(Field::Released, b"1 row").0),
            transcript: None,
            evidence: vec![],
            redactions: vec![],
            action: (carried || verdict == Verdict::StepUp).then(|| action.digest()),
            approvals,
            idempotency: None,
            controls: vec![],
            handling: Some(Handling {
                classification: Classification::Confidential,
                retention: "1y".into(),
                residency: "eu".into(),
            }),
            plan: None,
            egress: None,
            sandbox: vec!["landlock".into()],
            probes: vec![],
            correlation: None,
            witnessed: false,
            preview: (verdict == Verdict::StepUp).then_some(action.preview),
            basis: Some(basis),
        }
    }

    pub fn decide(&mut self, call: &Call, verdict: Verdict, intent: Option<EntryRef>) -> EntryRef {
        let body = self.decision_body(call, verdict, intent);
        let disclosures = self.opened(call, &body);
        self.push(Body::Decision(body), Some(call.run), disclosures)
    }

    /// What opens a decision's commitments. Those that its intent made are opened there.
    pub fn opened(&self, call: &Call, body: &Decision) -> Vec<Disclosure> {
        if body.intent.is_some() {
            let fields = [Field::RawResult, Field::Released];
            return fields.map(|f| salted(f, b"1 row").1).to_vec();
        }
        let (_, _, mut disclosures) = self.caller(call);
        disclosures.push(salted(Field::Facts, b"facts").1);
        if body.preview.is_some() {
            disclosures.push(salted(Field::Preview, b"erase one").1);
        }
        disclosures
    }

    pub fn approve(&mut self, call: &Call, choice: Choice) -> EntryRef {
        let (body, disclosure) = self.approval_body(call, choice);
        self.push(Body::Approval(body), Some(call.run), vec![disclosure])
    }

    /// A person's word on a call, and what opens it.
    pub fn approval_body(&self, call: &Call, choice: Choice) -> (Approval, Disclosure) {
        let action = self.action(call);
        let expires = UnixMillis(self.time + 600_000);
        let statement = ApprovalStatement {
            gateway: gateway(),
            action: action.digest(),
            preview: action.preview,
            approver: approver().public().id(),
            choice,
            issued: UnixMillis(self.time),
            expires,
            nonce: Nonce([8; 32]),
        };
        let signed = approver().statement(APPROVAL_TYP, statement.to_bytes());
        let (commitment, disclosure) = salted(Field::ApprovalStatement, &signed);
        let body = Approval {
            action: action.digest(),
            call: call.id,
            approver: approver().public().id(),
            choice,
            statement: commitment,
            expires,
        };
        (body, disclosure)
    }

    pub fn close_run(&mut self, run: RunId) -> EntryRef {
        let (_, count, head, first, last) = self.runs.iter().find(|r| r.0 == run).copied().unwrap();
        let body = Body::Run(RunClosed {
            run,
            head,
            count,
            first,
            last,
        });
        self.push(body, Some(run), vec![])
    }

    pub fn change(&mut self) -> EntryRef {
        let body = Change {
            kind: ChangeKind::Bundle,
            digest: bundle_digest(),
            version: 3,
            before: self.in_force.clone().unwrap(),
            signers: vec![bundle_signer().public().id()],
            reason: Some("reload".into()),
        };
        let entry = self.push(Body::Change(body), None, vec![]);
        self.in_force = Some(entry.clone());
        entry
    }

    pub fn event(&mut self) -> EntryRef {
        let (detail, disclosure) = salted(Field::EventDetail, b"3 strangers");
        let body = Event {
            kind: EventKind::Unauthenticated,
            count: 3,
            detail: Some(detail),
        };
        self.push(Body::Event(body), None, vec![disclosure])
    }

    pub fn erasure(&mut self) -> EntryRef {
        self.erase(&[2])
    }

    /// Erases entries, as a person ordered it.
    pub fn erase(&mut self, entries: &[u64]) -> EntryRef {
        let (body, disclosure) = self.erasure_body(entries);
        self.erase_with(body, disclosure)
    }

    pub fn erase_with(&mut self, body: Erasure, disclosure: Disclosure) -> EntryRef {
        for leaf in self.leaves.iter_mut().enumerate() {
            if body.covers(leaf.0 as u64) {
                leaf.1.disclosures.clear();
            }
        }
        self.push(Body::Erasure(body), None, vec![disclosure])
    }

    pub fn erasure_body(&self, entries: &[u64]) -> (Erasure, Disclosure) {
        let entries = ranges_of(entries.iter().copied());
        let statement = ErasureStatement {
            gateway: gateway(),
            subject: None,
            entries: entries.clone(),
            basis: "gdpr-17".into(),
            signer: approver().public().id(),
            issued: UnixMillis(self.time),
            expires: UnixMillis(self.time + 600_000),
            nonce: Nonce([6; 32]),
        };
        let signed = approver().statement(ERASURE_TYP, statement.to_bytes());
        let (statement, disclosure) = salted(Field::ErasureStatement, &signed);
        let body = Erasure {
            entries,
            basis: "gdpr-17".into(),
            ordered_by: approver().public().id(),
            ring: 2,
            statement,
            subject: None,
            anchored: true,
        };
        (body, disclosure)
    }

    /// A hold on the one subject.
    pub fn hold_body(&self, act: HoldAct) -> (Hold, Disclosure) {
        let statement = HoldStatement {
            gateway: gateway(),
            act,
            id: "2026-17".into(),
            subject: Some(SUBJECT),
            tenant: None,
            entries: None,
            until: None,
            reason: "a dispute".into(),
            signer: approver().public().id(),
            issued: UnixMillis(self.time),
            expires: UnixMillis(self.time + 600_000),
            nonce: Nonce([7; 32]),
        };
        let signed = approver().statement(HOLD_TYP, statement.to_bytes());
        let (statement, disclosure) = salted(Field::HoldStatement, &signed);
        let body = Hold {
            act,
            id: "2026-17".into(),
            subject: Some(SUBJECT),
            tenant: None,
            entries: None,
            until: None,
            ordered_by: approver().public().id(),
            statement,
        };
        (body, disclosure)
    }

    pub fn hold(&mut self, act: HoldAct) -> EntryRef {
        let (body, disclosure) = self.hold_body(act);
        self.push(Body::Hold(body), None, vec![disclosure])
    }

    /// A stop of everything, as `change` makes it: what the person signs follows from it. Gives what opens it.
    pub fn stop_body(
        &self,
        act: StopAct,
        change: impl FnOnce(&mut StopStatement),
    ) -> (Stop, Vec<Disclosure>) {
        let mut statement = StopStatement {
            gateway: gateway(),
            act,
            id: "2026-18".into(),
            tenant: None,
            capability: None,
            agent: None,
            reason: "it deletes what nobody asked for".into(),
            signer: approver().public().id(),
            issued: UnixMillis(self.time),
            expires: UnixMillis(self.time + 600_000),
            nonce: Nonce([9; 32]),
        };
        change(&mut statement);
        let signed = approver().statement(STOP_TYP, statement.to_bytes());
        let (commitment, disclosure) = salted(Field::StopStatement, &signed);
        let agent = statement.agent.map(|a| salted(Field::Agent, a.as_bytes()));
        let body = Stop {
            act,
            id: statement.id,
            tenant: statement.tenant,
            capability: statement.capability,
            agent: agent.as_ref().map(|a| a.0),
            ordered_by: statement.signer,
            statement: commitment,
        };
        let opened = agent.map(|a| a.1).into_iter().chain([disclosure]);
        (body, opened.collect())
    }

    pub fn stop(&mut self, act: StopAct, change: impl FnOnce(&mut StopStatement)) -> EntryRef {
        let (body, disclosures) = self.stop_body(act, change);
        self.push(Body::Stop(body), None, disclosures)
    }

    /// Every tenant's last number.
    pub fn tenant_heads(&self) -> Vec<TenantHead> {
        self.tenants
            .iter()
            .map(|(tenant, next)| TenantHead {
                tenant: *tenant,
                seq: next - 1,
            })
            .collect()
    }

    pub fn renewal_statement(&mut self) -> RenewalStatement {
        self.device.counter += 1;
        self.renewals += 1;
        let heads = self.tenant_heads();
        self.covered.clone_from(&heads);
        RenewalStatement {
            base: self.base.as_ref().unwrap().digest,
            number: self.renewals,
            counter: self.device.counter,
            head: self.head(),
            tenants: tenants_root(&heads),
            tenant_count: heads.len() as u64,
            previous: self.link.unwrap(),
            lease: LEASE,
            at: UnixMillis(self.time),
            beacon: None,
        }
    }

    pub fn renew_with(&mut self, statement: &RenewalStatement) -> EntryRef {
        let evidence = self.evidence(statement.qualifying());
        let body = Renewal {
            statement: Bytes(statement.to_bytes()),
            evidence,
        };
        self.heads.push((self.next(), self.covered.clone()));
        let entry = self.push(Body::Renewal(body), None, vec![]);
        self.link = Some(entry.digest);
        self.last_counter = statement.counter;
        entry
    }

    pub fn renew(&mut self) -> EntryRef {
        let statement = self.renewal_statement();
        self.renew_with(&statement)
    }

    pub fn close_statement(&mut self) -> CloseStatement {
        self.device.counter += 1;
        CloseStatement {
            base: self.base.as_ref().unwrap().digest,
            counter: self.device.counter,
            head: self.head(),
            previous: self.link.unwrap(),
            at: UnixMillis(self.time),
            tenants: tenants_root(&self.tenant_heads()),
            tenant_count: self.tenants.len() as u64,
        }
    }

    pub fn close_with(&mut self, statement: &CloseStatement) -> EntryRef {
        let evidence = self.evidence(statement.qualifying());
        self.heads.push((self.next(), self.tenant_heads()));
        let entry = self.push(
            Body::Close(Close {
                statement: Bytes(statement.to_bytes()),
                evidence,
            }),
            None,
            vec![],
        );
        self.last_counter = statement.counter;
        entry
    }

    pub fn close(&mut self) -> EntryRef {
        let statement = self.close_statement();
        self.close_with(&statement)
    }

    /// A gap that governance signed for.
    pub fn gap(&mut self, explained: u64, found: u64) -> EntryRef {
        self.gap_witnessed(explained, found, None)
    }

    /// A gap that a witness showed.
    pub fn gap_witnessed(
        &mut self,
        explained: u64,
        found: u64,
        witnessed: Option<u64>,
    ) -> EntryRef {
        let statement = RecoverStatement {
            gateway: gateway(),
            head: self.head(),
            explained,
            found,
            reason: "disk replaced".into(),
            issued: UnixMillis(START),
            witnessed,
        };
        let statement = Bytes(governance().statement(RECOVER_TYP, statement.to_bytes()));
        self.push(
            Body::Gap(Gap {
                explained,
                found,
                statement,
                witnessed,
            }),
            None,
            vec![],
        )
    }

    pub fn adopt(&mut self) -> EntryRef {
        let head = LogHead {
            size: 9,
            root: NodeHash([5; 32]),
        };
        let statement = AdoptStatement {
            gateway: gateway(),
            predecessor: GatewayId([1; 32]),
            head: head.clone(),
            last: EntryDigest([2; 32]),
            reason: "machine lost".into(),
            issued: UnixMillis(START),
            stored: Stored::Recovered,
        };
        let statement = Bytes(governance().statement(ADOPT_TYP, statement.to_bytes()));
        self.push(
            Body::Adopt(Adopt {
                predecessor: GatewayId([1; 32]),
                head,
                statement,
            }),
            None,
            vec![],
        )
    }

    pub fn receipt(&self, entry: &EntryRef, call: CallId, verdict: Verdict) -> Vec<u8> {
        let receipt = Receipt {
            gateway: gateway(),
            base: self.base.as_ref().unwrap().digest,
            index: entry.index,
            digest: entry.digest,
            call,
            verdict,
            at: UnixMillis(self.time),
        };
        epoch_key(self.epoch).statement(RECEIPT_TYP, receipt.to_bytes())
    }

    /// The checkpoint over all leaves, by the true keys.
    pub fn checkpoint(&self) -> String {
        checkpoint(&self.leaves)
    }

    /// What a renewal or close proves of a tenant, counted from the last backwards.
    pub fn proof(&self, back: usize, tenant: TenantId) -> (usize, TenantProof) {
        let (index, heads) = &self.heads[self.heads.len() - 1 - back];
        (*index as usize, tenant_proof(heads, tenant).unwrap())
    }

    /// The export.
    pub fn export(&self) -> Vec<u8> {
        Parts::of(self).bytes()
    }
}

pub fn checkpoint(leaves: &[LeafSpec]) -> String {
    let mut frontier = Frontier::new();
    leaves
        .iter()
        .for_each(|l| frontier.append(leaf_hash(&l.bytes), |_, _, _| ()));
    let head = Head {
        size: frontier.size(),
        root: frontier.root(),
    };
    let text = note_text(&gateway(), &head);
    let epoch = epoch_key(leaves.last().map_or(1, |l| l.epoch));
    let lines = [
        (origin(&gateway()), identity()),
        (epoch_name(&gateway()), epoch),
    ];
    let lines = lines
        .iter()
        .map(|(name, key)| signature_line(name, &key.public(), &key.sign(text.as_bytes())));
    format!("{text}\n{}", lines.collect::<String>())
}

pub fn sign(payload: &Payload, key: &Key) -> Vec<u8> {
    let unsigned = payload.unsigned(key.public().id());
    unsigned.with_signature(key.sign(&unsigned.to_be_signed()))
}

pub fn caller_proof(body: &[u8]) -> CallerProof {
    let request = HttpRequest {
        method: "POST",
        scheme: Scheme::Https,
        authority: "gateway.test",
        path: "/v1/calls",
        query: None,
        headers: &[Header {
            name: "content-type",
            value: b"application/json",
        }],
        body,
    };
    let parameters = SigningParameters {
        key_id: "agent-1",
        created: UnixSeconds(START / 1000),
        expires: None,
        nonce: "0123456789abcdef",
    };
    let mut base = Vec::new();
    let mut signature = Signature([0; 64]);
    sign_request(&request, &parameters, |bytes| {
        base = bytes.to_vec();
        signature = agent().sign(bytes);
        signature.0
    })
    .unwrap();
    CallerProof {
        key: agent().public(),
        signature_base: Bytes(base),
        signature,
    }
}

/// What an export is made of, to be changed by tests.
#[derive(Clone)]
pub struct Parts {
    pub manifest: Manifest,
    pub artifacts: Vec<Artifact>,
    pub leaves: Vec<(Vec<u8>, Vec<Disclosure>)>,
    pub withheld: Vec<usize>,
    /// Stretches that are given as spans: first and how many.
    pub spans: Vec<(usize, usize)>,
    /// Tenants' proofs, each with the leaf that it follows.
    pub proofs: Vec<(usize, TenantProof)>,
    pub checkpoints: Vec<String>,
    /// Each with the text of the checkpoint that it stands after.
    pub timestamps: Vec<(String, Timestamp)>,
    /// Checkpoints that stand directly after so many leaves.
    pub placed: Vec<(usize, String)>,
}

impl Parts {
    pub fn of(mini: &Mini) -> Self {
        Self {
            manifest: Manifest {
                format: 1,
                gateway: gateway(),
                identity_key: identity().public(),
                first: 0,
                end: mini.next(),
                scope: mini.scope,
                profile: "full".into(),
                created: UnixMillis(mini.time),
                software: "countersign 0.1.0".into(),
                disclosed: mini.disclosed.clone(),
                period: None,
                tenant: (mini.scope != Scope::Whole).then_some(TENANT),
                run: None,
            },
            artifacts: mini.artifacts.clone(),
            leaves: mini
                .leaves
                .iter()
                .map(|l| (l.bytes.clone(), l.disclosures.clone()))
                .collect(),
            withheld: vec![],
            spans: vec![],
            proofs: vec![],
            checkpoints: vec![mini.checkpoint()],
            timestamps: vec![],
            placed: vec![],
        }
    }

    /// A stretch of leaves, by the roots of its full subtrees.
    pub fn span(&self, first: usize, count: usize) -> Span {
        let parts = subtrees(first as u64, count as u64).unwrap();
        let root = |part: &Subtree| {
            let width = 1usize << part.level;
            let start = part.index as usize * width;
            let mut frontier = Frontier::new();
            self.leaves[start..start + width]
                .iter()
                .for_each(|l| frontier.append(leaf_hash(&l.0), |_, _, _| ()));
            frontier.root()
        };
        Span {
            count: count as u64,
            roots: parts.iter().map(root).collect(),
        }
    }

    /// The file, with a trailer that agrees with it.
    pub fn bytes(&self) -> Vec<u8> {
        let (mut writer, mut out) = ExportWriter::start(&self.manifest);
        let (front, evidence) = self.placed_artifacts();
        front.iter().for_each(|a| out.extend(writer.artifact(a)));
        for (number, (bytes, disclosures)) in self.leaves.iter().enumerate() {
            for (_, note) in self.placed.iter().filter(|(after, _)| *after == number) {
                out.extend(self.note(&mut writer, note));
            }
            if let Some((first, count)) = self.spans.iter().find(|s| s.0 == number) {
                out.extend(writer.span(&self.span(*first, *count)));
            }
            if self
                .spans
                .iter()
                .any(|s| (s.0..s.0 + s.1).contains(&number))
            {
                continue;
            }
            if self.withheld.contains(&number) {
                out.extend(writer.leaf(&leaf_hash(bytes)));
                continue;
            }
            let before = evidence.iter().filter(|(at, _)| *at == number);
            before.for_each(|(_, a)| out.extend(writer.artifact(a)));
            out.extend(writer.entry(bytes));
            if !disclosures.is_empty() {
                out.extend(writer.disclosures(disclosures));
            }
            for (_, proof) in self.proofs.iter().filter(|p| p.0 == number) {
                out.extend(writer.tenant_proof(proof));
            }
        }
        for note in &self.checkpoints {
            out.extend(self.note(&mut writer, note));
        }
        out.extend(writer.finish());
        out
    }

    /// What stands before the first leaf, and the evidence that stands before each entry which names it.
    /// Evidence that none does stands before the first entry.
    pub fn placed_artifacts(&self) -> (Vec<&Artifact>, Vec<(usize, &Artifact)>) {
        let mut named: BTreeMap<ArtifactDigest, Vec<usize>> = BTreeMap::new();
        for (at, (bytes, _)) in self.leaves.iter().enumerate() {
            let entry = Entry::parse(bytes).ok();
            let body = entry.as_ref().map(Entry::body);
            for reference in body.map(Body::evidence).unwrap_or_default() {
                named.entry(reference.digest).or_default().push(at);
            }
        }
        let (mut front, mut evidence) = (Vec::new(), Vec::new());
        for artifact in &self.artifacts {
            if ![
                lifecycle::TPM_EVIDENCE_KIND,
                lifecycle::PLATFORM_EVIDENCE_KIND,
            ]
            .contains(&artifact.kind.as_str())
            {
                front.push(artifact);
                continue;
            }
            let places = named.get(&artifact.digest());
            let places = places.map_or([0].as_slice(), Vec::as_slice);
            evidence.extend(places.iter().map(|at| (*at, artifact)));
        }
        (front, evidence)
    }

    /// A checkpoint and what stands after it.
    fn note(&self, writer: &mut ExportWriter, note: &str) -> Vec<u8> {
        let mut out = writer.checkpoint(note.as_bytes());
        for (_, timestamp) in self.timestamps.iter().filter(|(text, _)| text == note) {
            out.extend(writer.timestamp(timestamp));
        }
        out
    }
}

/// A log with every kind of entry, in two epochs.
pub fn sample(profile: Profile) -> Mini {
    let mut log = Mini::new(profile);
    fill(&mut log);
    log
}

/// The same, of a log that a test has changed before.
pub fn fill(log: &mut Mini) {
    log.disclosed = Disclosed::everything();
    log.open();
    log.enrol();
    log.decide(&call(1, Mode::Network), Verdict::Deny, None);
    let read = Call {
        signed: true,
        ..call(2, Mode::ReadOnly)
    };
    let intent = log.intent(&read, vec![], None);
    log.decide(&read, Verdict::Allow, Some(intent));
    let halted = call(3, Mode::Destructive);
    log.decide(&halted, Verdict::StepUp, None);
    let approval = log.approve(&halted, Choice::Approve);
    let retry = Call {
        action: Some(halted.id),
        ..call(4, Mode::Destructive)
    };
    let intent = log.intent(&retry, vec![approval], Some(halted.id));
    log.decide(&retry, Verdict::Allow, Some(intent));
    log.close_run(RunId([1; 16]));
    log.renew();
    log.change();
    log.event();
    log.erasure();
    log.close();
    log.open();
    log.gap(log.device.counter - 1, log.device.counter);
    log.adopt();
    log.decide(
        &Call {
            run: RunId([2; 16]),
            ..call(5, Mode::Network)
        },
        Verdict::Deny,
        None,
    );
    log.renew();
    log.decide(
        &Call {
            run: RunId([2; 16]),
            ..call(6, Mode::Network)
        },
        Verdict::Deny,
        None,
    );
}

/// The trust file that accepts the sample.
pub fn trust_text(accept: &str) -> String {
    let pcrs: String = Device::pcr_values()
        .iter()
        .map(|p| format!("{} = [\"{}\"]\n", p.index, hex::encode(p.value)))
        .collect();
    format!(
        "version = 1\n[governance]\nkeys = [\"{}\"]\n[evidence]\naccept = [\"{accept}\"]\n\
         [bundles]\nsigners = [\"{}\"]\nthreshold = 1\n[release]\nkeys = [\"{}\"]\n\
         [reference]\nbuild = [\"{}\"]\nconfiguration = [\"{}\"]\n[reference.pcrs]\n{pcrs}",
        governance().public(),
        bundle_signer().public(),
        hex::encode(sha256(&device::release_public())),
        "b1".repeat(32),
        "c1".repeat(32),
    )
}

pub fn trust() -> Trust {
    Trust::parse(trust_text("hardware-tpm").as_bytes()).unwrap()
}

pub fn check(export: &[u8]) -> Report {
    check_with(
        export,
        &trust(),
        Options {
            threads: 2,
            ..Options::default()
        },
    )
}

pub fn check_with(export: &[u8], trust: &Trust, options: Options) -> Report {
    verify(export, trust, &options, NOW)
}

/// Codes of the checks that failed.
pub fn failed(report: &Report) -> Vec<&'static str> {
    report
        .checks
        .iter()
        .filter(|c| c.state == countersign_verify::ledger::State::Fail)
        .map(|c| c.code)
        .collect()
}
