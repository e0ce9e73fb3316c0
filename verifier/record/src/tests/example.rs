//! One example of everything: the goldens, the worked examples of `docs/spec` and the seeds of the fuzz targets.
//!
//! The keys are those of seeds of 32 equal bytes, named below. The log shows one entry of each
//! kind; it is an example of encodings, not of a history that a verifier accepts, since the
//! evidence in it is not a TPM's.

use super::schema::{Choices, full, made_up_payload};
use crate::binding::{
    BINDING_VERSION, Binding, CloseStatement, FreshStatement, LogHead, Profile, RenewalStatement,
    epoch_message,
};
use crate::body::{
    AbandonedOpening, Action, Adopt, Approval, Base, CapabilityRef, Change, Classification, Close,
    Decision, Effect, Enrol, Erasure, Event, EvidenceRef, Gap, Hold, HoldAct, Intent, Mode,
    Renewal, RunClosed, Stop, StopAct, TenantHead, Verdict, lifecycle::TPM_EVIDENCE_KIND,
    privacy::ranges_of, tenant_proof, tenants_root,
};
use crate::bundle::{BUNDLE_TYP, BundlePayload, SignedBundle};
use crate::cbor::{Bytes, Cbor};
use crate::channel::{CHANNEL_TYP, ChannelStatement};
use crate::checkpoint::{epoch_name, note_text, origin, signature_line};
use crate::claims::{CallerClaims, Principal, PrincipalChain, TokenClaims};
use crate::commitment::{CallerProof, Disclosure, Field, commit};
use crate::cose::Unsigned;
use crate::digest::{
    ArtifactDigest, CallId, ChannelBinding, EntryDigest, GatewayId, KeyId, Nonce, PublicKey, RunId,
    Salt, Signature, SubjectId, TenantId, UnixMillis, sha256,
};
use crate::egress::{EgressConnection, EgressConnections};
use crate::entry::{Body, EntryRef, Extensions, Payload, Place, RunPlace, TenantPlace};
use crate::evidence::{PlatformEvidence, TpmEvidence};
use crate::export::{Artifact, ExportWriter, Manifest, SIGNED_BUNDLE_KIND, Scope, Span, Timestamp};
use crate::merkle::{Frontier, Head, entry_digest, leaf_hash, subtrees};
use crate::preview::Preview;
use crate::profile::Disclosed;
use crate::receipt::{RECEIPT_TYP, Receipt};
use crate::statement::{
    ADOPT_TYP, APPROVAL_TYP, AdoptStatement, ApprovalStatement, Choice, ERASURE_TYP,
    ErasureStatement, FLEET_TYP, FleetMember, FleetStatement, HOLD_TYP, HoldStatement, RECOVER_TYP,
    RecoverStatement, STOP_TYP, StopStatement, Stored,
};
use ed25519_dalek::{Signer as _, SigningKey};
use std::collections::HashMap;

/// Seeds of the example's keys.
pub(super) const KEYS: [(&str, u8); 6] = [
    ("gateway identity", 0x11),
    ("epoch", 0x22),
    ("governance", 0x33),
    ("approver", 0x44),
    ("bundle signer", 0x55),
    ("caller", 0x66),
];

/// The time at which the example begins: 2026-11-20T00:00:00Z.
const START: u64 = 1_795_132_800_000;

const TENANT: TenantId = TenantId([0x71; 16]);
const RUN: RunId = RunId([0x72; 16]);
const CALL: CallId = CallId([0x73; 16]);
const ARGUMENTS: &[u8] = br#"{"sql":"DELETE FROM customers WHERE email = 'anna@example.com'"}"#;

/// The key of that name.
pub(super) fn signing_key(name: &str) -> SigningKey {
    let (_, seed) = KEYS.iter().find(|(n, _)| *n == name).unwrap();
    SigningKey::from_bytes(&[*seed; 32])
}

/// The public key of that name.
pub(super) fn public_key(name: &str) -> PublicKey {
    PublicKey(signing_key(name).verifying_key().to_bytes())
}

fn sign(name: &str, message: &[u8]) -> Signature {
    Signature(signing_key(name).sign(message).to_bytes())
}

fn signed(typ: &str, signer: &str, payload: &impl Cbor) -> Vec<u8> {
    let unsigned = Unsigned::new(typ, public_key(signer).id(), payload.to_bytes());
    let signature = sign(signer, &unsigned.to_be_signed());
    unsigned.with_signature(signature)
}

fn at(n: u64) -> UnixMillis {
    UnixMillis(START + 1000 * n)
}

/// Everything that the example has.
pub(super) struct Example {
    pub(super) gateway: GatewayId,
    pub(super) binding: Binding,
    pub(super) renewal: RenewalStatement,
    pub(super) close: CloseStatement,
    pub(super) fresh: FreshStatement,
    pub(super) evidence: TpmEvidence,
    pub(super) platform_evidence: PlatformEvidence,
    pub(super) action: Action,
    pub(super) preview: String,
    pub(super) disclosure: Disclosure,
    pub(super) caller_proof: CallerProof,
    pub(super) caller_claims: CallerClaims,
    pub(super) principal_chain: PrincipalChain,
    pub(super) egress: EgressConnections,
    pub(super) bundle: SignedBundle,
    /// Each with its name: signed statements that are no entries, and the map in them.
    pub(super) statements: Vec<(&'static str, &'static str, Vec<u8>)>,
    /// In order of index.
    pub(super) entries: Vec<Vec<u8>>,
    pub(super) checkpoint: String,
    pub(super) export: Vec<u8>,
    /// An entry with both extension maps.
    pub(super) extended: Vec<u8>,
}

/// The log as it grows.
struct Log {
    gateway: GatewayId,
    entries: Vec<Vec<u8>>,
    frontier: Frontier,
    tenant_seq: u64,
    run: Option<(u64, EntryDigest)>,
}

impl Log {
    fn head(&self) -> LogHead {
        LogHead {
            size: self.frontier.size(),
            root: self.frontier.root(),
        }
    }

    fn base(&self) -> Option<EntryDigest> {
        self.entries.first().map(|e| entry_digest(e))
    }

    fn last(&self) -> EntryRef {
        let index = self.entries.len() - 1;
        EntryRef {
            index: index as u64,
            digest: entry_digest(&self.entries[index]),
        }
    }

    fn place(&self) -> Place {
        let index = self.entries.len() as u64;
        Place {
            index,
            base: self.base(),
            at: at(index),
            since_boot: 1000 * index,
            tenant: None,
            run: None,
        }
    }

    fn append(&mut self, body: Body) -> EntryRef {
        self.append_at(self.place(), body)
    }

    /// Appends an entry of the example's tenant and run.
    fn append_call(&mut self, body: Body) -> EntryRef {
        let seq = self.run.map_or(0, |(seq, _)| seq + 1);
        let place = Place {
            tenant: Some(TenantPlace {
                tenant: TENANT,
                seq: self.tenant_seq,
            }),
            run: Some(RunPlace {
                run: RUN,
                seq,
                previous: self.run.map(|(_, digest)| digest),
            }),
            ..self.place()
        };
        let entry = self.append_at(place, body);
        self.tenant_seq += 1;
        self.run = Some((seq, entry.digest));
        entry
    }

    fn append_at(&mut self, place: Place, body: Body) -> EntryRef {
        let unsigned = Payload::new(place, body).unsigned(public_key("epoch").id());
        let entry = unsigned.with_signature(sign("epoch", &unsigned.to_be_signed()));
        self.frontier.append(leaf_hash(&entry), |_, _, _| ());
        self.entries.push(entry);
        self.last()
    }

    fn checkpoint(&self) -> String {
        let head = Head {
            size: self.frontier.size(),
            root: self.frontier.root(),
        };
        let text = note_text(&self.gateway, &head);
        let line = |name: String, key| {
            signature_line(&name, &public_key(key), &sign(key, text.as_bytes()))
        };
        let identity = line(origin(&self.gateway), "gateway identity");
        format!(
            "{text}\n{identity}{}",
            line(epoch_name(&self.gateway), "epoch")
        )
    }
}

fn evidence_of(evidence: &TpmEvidence) -> Vec<EvidenceRef> {
    vec![EvidenceRef {
        kind: TPM_EVIDENCE_KIND.to_owned(),
        digest: ArtifactDigest::of(&evidence.to_bytes()),
    }]
}

fn binding(bundle: &SignedBundle) -> Binding {
    Binding {
        version: BINDING_VERSION,
        profile: Profile::Swtpm,
        identity_key: public_key("gateway identity"),
        epoch_key: public_key("epoch"),
        ak_name: Bytes([vec![0x00, 0x0b], vec![0xa0; 32]].concat()),
        pcrs: vec![4, 7, 11, 12, 13],
        bundles: vec![ArtifactDigest::of(&bundle.payload.0)],
        counter: 8,
        previous: LogHead {
            size: 0,
            root: Frontier::new().root(),
        },
        nonce: Nonce([0x9e; 32]),
        ..full("Binding")
    }
}

fn action(gateway: GatewayId, bundle: &SignedBundle, preview: &str) -> Action {
    Action {
        gateway,
        tenant: TENANT,
        agent: commit(Field::Agent, Salt([0x51; 16]), b"agent:example/clerk@1"),
        capability: CapabilityRef {
            id: "sqlite.write_query".to_owned(),
            adapter: "sqlite".to_owned(),
            ..full("CapabilityRef")
        },
        mode: Mode::Destructive,
        forwarded: commit(Field::Forwarded, Salt([0x52; 16]), ARGUMENTS),
        preview: commit(Field::Preview, Salt([0x53; 16]), preview.as_bytes()),
        bundle: ArtifactDigest::of(&bundle.payload.0),
        call: CALL,
    }
}

fn signed_bundle() -> SignedBundle {
    let payload = BundlePayload {
        format: 1,
        name: "example".to_owned(),
        environment: "test".to_owned(),
        ..full("BundlePayload")
    };
    let signature = signed(BUNDLE_TYP, "bundle signer", &payload.statement());
    SignedBundle {
        payload: Bytes(payload.to_bytes()),
        signatures: vec![Bytes(signature)],
    }
}

fn caller_proof() -> CallerProof {
    let base = b"\"@method\": POST\n\"@signature-params\": (\"@method\");created=1795132800";
    CallerProof {
        key: public_key("caller"),
        signature_base: Bytes(base.to_vec()),
        signature: sign("caller", base),
    }
}

fn caller_claims() -> CallerClaims {
    CallerClaims {
        token: Some(TokenClaims {
            issuer: "https://login.example.org".into(),
            key: "2026-11".into(),
            algorithm: "ES256".into(),
            token: sha256(b"the token"),
            id: Some(sha256(b"its jti")),
            client: "desk".into(),
            subject: "ada".into(),
            user: Some("ada".into()),
            scopes: vec!["erase".into(), "read".into()],
            audience: vec!["https://gateway.example.org".into()],
            issued: UnixMillis(1_795_132_800_000),
            expires: UnixMillis(1_795_133_100_000),
        }),
        dpop: Some("header.claims.signature".into()),
        certificate: None,
    }
}

fn egress() -> EgressConnections {
    EgressConnections {
        connections: vec![
            EgressConnection {
                destination: "api.example.org:443".into(),
                address: Some("192.0.2.1:443".into()),
                certificate: Some(sha256(b"the certificate")),
                refused: None,
            },
            EgressConnection {
                destination: "elsewhere.example.org:443".into(),
                address: None,
                certificate: None,
                refused: Some("endpoint-not-listed".into()),
            },
        ],
        left_out: 0,
    }
}

fn principal_chain() -> PrincipalChain {
    let principal = |subject: &str| Principal {
        issuer: "https://login.example.org".into(),
        subject: subject.into(),
    };
    PrincipalChain {
        principals: vec![principal("ada"), principal("planner"), principal("desk")],
    }
}

/// Makes the example; it is the same every time.
pub(super) fn example() -> Example {
    let gateway = public_key("gateway identity").gateway();
    let bundle = signed_bundle();
    let binding = binding(&bundle);
    let evidence = TpmEvidence {
        profile: Profile::Swtpm,
        ..full("TpmEvidence")
    };
    let mut log = Log {
        gateway,
        entries: Vec::new(),
        frontier: Frontier::new(),
        tenant_seq: 0,
        run: None,
    };
    let base = log.append(Body::Base(Base {
        identity_signature: sign("gateway identity", &epoch_message(&binding.to_bytes())),
        binding: Bytes(binding.to_bytes()),
        evidence: evidence_of(&evidence),
        epoch: 1,
        previous: None,
        explained: 6,
        abandoned: vec![AbandonedOpening {
            counter: 7,
            epoch_key: KeyId([0x77; 32]),
        }],
        recovery_key: Some(KeyId([0x78; 32])),
        software: "countersign 0.1.0".to_owned(),
    }));
    let renewal = RenewalStatement {
        base: base.digest,
        number: 1,
        counter: 9,
        head: log.head(),
        tenants: tenants_root(&[TenantHead {
            tenant: TENANT,
            seq: 0,
        }]),
        tenant_count: 1,
        previous: base.digest,
        lease: 600_000,
        at: at(1),
        beacon: None,
    };
    let renewed = log.append(Body::Renewal(Renewal {
        statement: Bytes(renewal.to_bytes()),
        evidence: evidence_of(&evidence),
    }));
    let people = statements(gateway, &binding, base.digest);
    let by_name = |name| Bytes(people.iter().find(|(n, ..)| *n == name).unwrap().2.clone());
    log.append(Body::Enrol(Enrol {
        number: 1,
        statement: by_name("fleet-statement"),
    }));

    let preview = Preview {
        tenant: "example",
        agent: "agent:example/clerk@1",
        capability: "sqlite.write_query",
        mode: Mode::Destructive,
        arguments: ARGUMENTS,
    }
    .text();
    let action = action(gateway, &bundle, &preview);
    let approval = signed(
        APPROVAL_TYP,
        "approver",
        &approval_statement(gateway, &action),
    );
    let record = calls(&mut log, base.clone(), &action, &approval);
    log.append(Body::Change(Change {
        before: base.clone(),
        ..full("Change")
    }));
    log.append(Body::Event(full::<Event>("Event")));
    log.append(Body::Erasure(Erasure {
        entries: ranges_of([record.index]),
        basis: "gdpr-17".to_owned(),
        ..full("Erasure")
    }));
    log.append(Body::Hold(full::<Hold>("Hold")));
    log.append(Body::Stop(full::<Stop>("Stop")));
    log.append(Body::Gap(Gap {
        explained: 9,
        found: 11,
        statement: by_name("recover-statement"),
        witnessed: Some(29),
    }));
    log.append(Body::Adopt(Adopt {
        statement: by_name("adopt-statement"),
        ..full("Adopt")
    }));
    let fresh = FreshStatement {
        base: base.digest,
        nonce: Nonce([0x9f; 32]),
        head: log.head(),
    };
    let close = CloseStatement {
        base: base.digest,
        counter: 10,
        head: log.head(),
        previous: renewed.digest,
        at: at(13),
        tenants: tenants_root(&heads_at_close()),
        tenant_count: 1,
    };
    log.append(Body::Close(Close {
        statement: Bytes(close.to_bytes()),
        evidence: evidence_of(&evidence),
    }));

    let receipt = Receipt {
        gateway,
        base: base.digest,
        index: record.index,
        digest: record.digest,
        call: CALL,
        verdict: Verdict::Allow,
        at: at(6),
    };
    let mut statements = people;
    statements.push(("approval-statement", "ApprovalStatement", approval));
    statements.push((
        "bundle-statement",
        "BundleStatement",
        bundle.signatures[0].0.clone(),
    ));
    statements.push(("receipt", "Receipt", signed(RECEIPT_TYP, "epoch", &receipt)));
    let channel = ChannelStatement {
        gateway,
        base: base.digest,
        nonce: Nonce([0x9e; 32]),
        channel: ChannelBinding([0xcb; 32]),
        at: at(6),
    };
    statements.push((
        "channel-statement",
        "ChannelStatement",
        signed(CHANNEL_TYP, "epoch", &channel),
    ));
    let disclosure = Disclosure {
        field: Field::Forwarded,
        salt: Salt([0x52; 16]),
        value: Bytes(ARGUMENTS.to_vec()),
    };
    let checkpoint = log.checkpoint();
    let export = export(&log, &evidence, &bundle, &disclosure);
    Example {
        gateway,
        binding,
        renewal,
        close,
        fresh,
        evidence,
        platform_evidence: PlatformEvidence {
            profile: Profile::GcpSnp,
            ..full("PlatformEvidence")
        },
        action,
        preview,
        disclosure,
        caller_proof: caller_proof(),
        caller_claims: caller_claims(),
        principal_chain: principal_chain(),
        egress: egress(),
        bundle,
        statements,
        entries: log.entries,
        checkpoint,
        export,
        extended: extended(),
    }
}

/// A call that halts, is approved, carried out and settled; the reference is to its Decision Record.
fn calls(log: &mut Log, base: EntryRef, action: &Action, approval: &[u8]) -> EntryRef {
    log.append_call(Body::Decision(Decision {
        call: CALL,
        in_force: base.clone(),
        intent: None,
        verdict: Verdict::StepUp,
        effect: Effect::None,
        action: Some(action.digest()),
        witnessed: false,
        ..full("Decision")
    }));
    let approved = log.append_call(Body::Approval(Approval {
        action: action.digest(),
        call: CALL,
        approver: public_key("approver").id(),
        choice: Choice::Approve,
        statement: commit(Field::ApprovalStatement, Salt([0x54; 16]), approval),
        expires: at(600),
    }));
    let intent = log.append_call(Body::Intent(Intent {
        call: CallId([0x74; 16]),
        in_force: base.clone(),
        action: Bytes(action.to_bytes()),
        verdict: Verdict::Allow,
        approvals: vec![approved.clone()],
        parent: Some(CALL),
        ..full("Intent")
    }));
    let record = log.append_call(Body::Decision(Decision {
        call: CallId([0x74; 16]),
        in_force: base.clone(),
        intent: Some(intent),
        parent: Some(CALL),
        verdict: Verdict::Allow,
        code: None,
        effect: Effect::Dispatched,
        cancelled: None,
        forwarded: Some(action.forwarded),
        action: Some(action.digest()),
        approvals: vec![approved.clone()],
        ..full("Decision")
    }));
    log.append_call(Body::Run(RunClosed {
        run: RUN,
        head: record.digest,
        count: 4,
        first: 3,
        last: record.index,
    }));
    record
}

fn approval_statement(gateway: GatewayId, action: &Action) -> ApprovalStatement {
    ApprovalStatement {
        gateway,
        action: action.digest(),
        preview: action.preview,
        approver: public_key("approver").id(),
        choice: Choice::Approve,
        issued: at(4),
        expires: at(600),
        nonce: Nonce([0x9d; 32]),
    }
}

fn statements(
    gateway: GatewayId,
    binding: &Binding,
    base: EntryDigest,
) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let member = FleetMember {
        gateway,
        name: "gateway 1".to_owned(),
        from: at(0),
        until: None,
        ak_name: Some(binding.ak_name.clone()),
    };
    let fleet = FleetStatement {
        fleet: "example".to_owned(),
        number: 1,
        issued: at(0),
        members: vec![member],
    };
    let recover = RecoverStatement {
        gateway,
        head: binding.previous.clone(),
        explained: 9,
        found: 11,
        reason: "disk replaced".to_owned(),
        issued: at(10),
        witnessed: Some(29),
    };
    let adopt = AdoptStatement {
        gateway,
        predecessor: GatewayId([0x79; 32]),
        head: binding.previous.clone(),
        last: base,
        reason: "machine lost".to_owned(),
        issued: at(11),
        stored: Stored::Recovered,
    };
    vec![
        (
            "fleet-statement",
            "FleetStatement",
            signed(FLEET_TYP, "governance", &fleet),
        ),
        (
            "recover-statement",
            "RecoverStatement",
            signed(RECOVER_TYP, "governance", &recover),
        ),
        (
            "adopt-statement",
            "AdoptStatement",
            signed(ADOPT_TYP, "governance", &adopt),
        ),
        (
            "erasure-statement",
            "ErasureStatement",
            signed(ERASURE_TYP, "approver", &erasure_statement(gateway)),
        ),
        (
            "hold-statement",
            "HoldStatement",
            signed(HOLD_TYP, "approver", &hold_statement(gateway)),
        ),
        (
            "stop-statement",
            "StopStatement",
            signed(STOP_TYP, "approver", &stop_statement(gateway)),
        ),
    ]
}

fn erasure_statement(gateway: GatewayId) -> ErasureStatement {
    ErasureStatement {
        gateway,
        subject: Some(SubjectId([0x75; 32])),
        entries: Vec::new(),
        basis: "gdpr-17".to_owned(),
        signer: public_key("approver").id(),
        issued: at(10),
        expires: at(70),
        nonce: Nonce([0x9c; 32]),
    }
}

fn hold_statement(gateway: GatewayId) -> HoldStatement {
    HoldStatement {
        gateway,
        act: HoldAct::Placed,
        id: "2026-17".to_owned(),
        subject: Some(SubjectId([0x75; 32])),
        tenant: Some(TENANT),
        entries: None,
        until: None,
        reason: "a dispute about invoices".to_owned(),
        signer: public_key("approver").id(),
        issued: at(11),
        expires: at(71),
        nonce: Nonce([0x9d; 32]),
    }
}

fn stop_statement(gateway: GatewayId) -> StopStatement {
    StopStatement {
        gateway,
        act: StopAct::Stopped,
        id: "2026-18".to_owned(),
        tenant: Some(TENANT),
        capability: Some("sqlite.write_query".to_owned()),
        agent: Some("agent:example/clerk@1".to_owned()),
        reason: "deletes what nobody asked for".to_owned(),
        signer: public_key("approver").id(),
        issued: at(12),
        expires: at(72),
        nonce: Nonce([0x9e; 32]),
    }
}

fn extended() -> Vec<u8> {
    let bytes = made_up_payload(crate::entry::Kind::Event, &mut Choices::Full(0));
    let unsigned = Unsigned::new(
        crate::entry::Kind::Event.typ(),
        public_key("epoch").id(),
        bytes,
    );
    let mut entry = crate::entry::Entry::parse(&unsigned.with_signature(Signature([0; 64])))
        .unwrap()
        .payload()
        .clone();
    entry.critical = Extensions::new(vec![(1, Bytes(vec![0xc1]))]);
    entry.optional = Extensions::new(vec![(1, Bytes(vec![0x01])), (300, Bytes(vec![]))]);
    let unsigned = entry.unsigned(public_key("epoch").id());
    unsigned.with_signature(sign("epoch", &unsigned.to_be_signed()))
}

/// The tenant has five entries.
fn heads_at_close() -> [TenantHead; 1] {
    [TenantHead {
        tenant: TENANT,
        seq: 4,
    }]
}

/// An export of the tenant's entries, some of the others by hashes, and the proof that there are no more.
fn export(
    log: &Log,
    evidence: &TpmEvidence,
    bundle: &SignedBundle,
    disclosure: &Disclosure,
) -> Vec<u8> {
    let manifest = Manifest {
        format: 1,
        gateway: log.gateway,
        identity_key: public_key("gateway identity"),
        first: 0,
        end: log.entries.len() as u64,
        scope: Scope::Tenant,
        profile: "example".to_owned(),
        created: at(14),
        software: "countersign 0.1.0".to_owned(),
        disclosed: Disclosed::new(vec![Field::Forwarded], Classification::ALL.to_vec()),
        period: None,
        tenant: Some(TENANT),
        run: None,
    };
    let (mut writer, mut file) = ExportWriter::start(&manifest);
    let artifact = |kind: &str, bytes| Artifact {
        kind: kind.to_owned(),
        bytes: Bytes(bytes),
    };
    file.extend(writer.artifact(&artifact(SIGNED_BUNDLE_KIND, bundle.to_bytes())));
    file.extend(writer.artifact(&artifact(TPM_EVIDENCE_KIND, evidence.to_bytes())));
    for (index, entry) in log.entries.iter().enumerate() {
        match index {
            2 => file.extend(writer.leaf(&leaf_hash(entry))),
            9 => file.extend(writer.span(&span(log, 9, 5))),
            10..=13 => {}
            _ => file.extend(writer.entry(entry)),
        }
        if index == 6 {
            file.extend(writer.disclosures(std::slice::from_ref(disclosure)));
        }
    }
    let proof = tenant_proof(&heads_at_close(), TENANT).unwrap();
    file.extend(writer.tenant_proof(&proof));
    file.extend(writer.checkpoint(log.checkpoint().as_bytes()));
    // An empty SEQUENCE in the place of a token, which is larger than all the rest.
    file.extend(writer.timestamp(&Timestamp {
        size: manifest.end,
        token: Bytes(vec![0x30, 0]),
    }));
    file.extend(writer.finish());
    file
}

/// Some of the log's entries, by the roots of their full subtrees.
fn span(log: &Log, start: u64, count: u64) -> Span {
    let mut nodes = HashMap::new();
    let mut frontier = Frontier::new();
    for entry in &log.entries {
        frontier.append(leaf_hash(entry), |level, index, hash| {
            nodes.insert((level, index), hash);
        });
    }
    let roots = subtrees(start, count).unwrap();
    Span {
        count,
        roots: roots.iter().map(|s| nodes[&(s.level, s.index)]).collect(),
    }
}
