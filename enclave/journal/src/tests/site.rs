//! A gateway to test with: keys from small numbers, and bodies of each kind that matters.

use crate::{
    Alone, AppendError, Appended, Draft, EpochSigner, Found, Journal, KeyRing, Limits, OpenError,
    Options, StorageKey,
};
use countersign_record::binding::{
    BINDING_VERSION, Binding, CloseStatement, LogHead, Profile, epoch_message,
};
use countersign_record::body::{
    Base, Caller, Close, Decision, Effect, Event, EventKind, Intent, Mode, PolicyOutcome, Times,
    Verdict,
};
use countersign_record::cbor::{Bytes, Cbor};
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::digest::{
    ArtifactDigest, CallId, Commitment, EntryDigest, Nonce, PublicKey, RunId, Salt, Signature,
    TenantId, UnixMillis,
};
use countersign_record::entry::{Body, Entry, EntryRef};
use countersign_record::merkle::entry_digest;
use ed25519_dalek::{Signer as _, SigningKey};
use std::collections::HashMap;
use std::path::Path;
use zeroize::Zeroizing;

pub(super) fn identity() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

pub(super) fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

pub(super) fn options(limits: Limits) -> Options {
    let ring = KeyRing::new(1, StorageKey::new(Zeroizing::new([5; 32])));
    Options {
        identity: public(&identity()),
        ring,
        limits,
        alone: Alone::ByThread,
    }
}

/// Little is set aside, so that tests are quick.
pub(super) fn limits() -> Limits {
    Limits {
        settlement_bytes: 256,
        ..Limits::default()
    }
}

pub(super) fn open(dir: &Path) -> (Journal, Found) {
    try_open(dir).unwrap()
}

pub(super) fn try_open(dir: &Path) -> Result<(Journal, Found), OpenError> {
    Journal::open(dir, options(limits()), &mut |_, _| Ok(()))
}

pub(super) fn signer(epoch: &SigningKey) -> EpochSigner {
    let identity = identity();
    EpochSigner::new(
        epoch.clone(),
        Box::new(move |m| Signature(identity.sign(m).to_bytes())),
    )
}

/// The base that may come next.
pub(super) fn base(journal: &Journal, epoch: &SigningKey) -> Base {
    let snapshot = journal.snapshot();
    let identity = identity();
    let zero = ArtifactDigest([0; 32]);
    let binding = Binding {
        version: BINDING_VERSION,
        profile: Profile::Swtpm,
        identity_key: public(&identity),
        epoch_key: public(epoch),
        ak_name: Bytes(vec![0; 34]),
        tls_key: None,
        pcrs: vec![],
        release_key: Bytes(vec![]),
        build: zero,
        configuration: zero,
        bundles: vec![],
        counter: 1,
        previous: LogHead {
            size: snapshot.head.size,
            root: snapshot.head.root,
        },
        nonce: Nonce([0; 32]),
    }
    .to_bytes();
    Base {
        identity_signature: Signature(identity.sign(&epoch_message(&binding)).to_bytes()),
        binding: Bytes(binding),
        evidence: vec![],
        epoch: 1,
        previous: snapshot.last.map(|l| l.digest),
        explained: 0,
        abandoned: vec![],
        recovery_key: None,
        software: "test".into(),
    }
}

/// Opens an epoch with the key that `seed` gives.
pub(super) fn begin(journal: &Journal, seed: u8) -> Appended {
    let epoch = SigningKey::from_bytes(&[seed; 32]);
    journal.begin_epoch(signer(&epoch)).unwrap();
    journal
        .append_and_wait(plain(Body::Base(base(journal, &epoch))))
        .unwrap()
}

pub(super) fn close(journal: &Journal) -> Body {
    let snapshot = journal.snapshot();
    let statement = CloseStatement {
        base: snapshot.base.unwrap(),
        counter: 2,
        head: LogHead {
            size: snapshot.head.size,
            root: snapshot.head.root,
        },
        previous: snapshot.base.unwrap(),
        at: UnixMillis(9),
        tenants: snapshot.tenants_root,
        tenant_count: snapshot.tenant_count,
    };
    Body::Close(Close {
        statement: Bytes(statement.to_bytes()),
        evidence: vec![],
    })
}

pub(super) fn plain(body: Body) -> Draft {
    Draft {
        tenant: None,
        run: None,
        body,
        at: UnixMillis(1_000),
        since_boot: 1,
        disclosures: vec![],
    }
}

pub(super) fn event(count: u64) -> Draft {
    plain(Body::Event(Event {
        kind: EventKind::Security,
        count,
        detail: None,
    }))
}

pub(super) fn disclosure(text: &str) -> Disclosure {
    Disclosure {
        field: Field::EventDetail,
        salt: Salt([3; 16]),
        value: Bytes(text.as_bytes().to_vec()),
    }
}

/// An event with one opened commitment.
pub(super) fn detailed(text: &str) -> Draft {
    let disclosure = disclosure(text);
    let event = Event {
        kind: EventKind::Security,
        count: 1,
        detail: Some(disclosure.commitment()),
    };
    Draft {
        disclosures: vec![disclosure],
        ..plain(Body::Event(event))
    }
}

pub(super) fn tenant(n: u8) -> TenantId {
    TenantId([n; 16])
}

pub(super) fn run(n: u64) -> RunId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    RunId(id)
}

pub(super) fn call(n: u64) -> CallId {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    CallId(id)
}

fn nowhere() -> EntryRef {
    EntryRef {
        index: 0,
        digest: EntryDigest([0; 32]),
    }
}

fn caller() -> Caller {
    Caller {
        assurance: 0,
        key: None,
        agent: Commitment([2; 32]),
        user: None,
        session: None,
        proof: None,
        claims: None,
        principal_chain: None,
        subject: None,
    }
}

pub(super) fn intent(owner: (u8, u64), n: u64) -> Draft {
    let policy = PolicyOutcome {
        bundle: ArtifactDigest([0; 32]),
        fired: vec![],
        obligations: vec![],
        errors: vec![],
        requested: Mode::ReadOnly,
        effective: Mode::ReadOnly,
        highest: Mode::ReadOnly,
    };
    let body = Body::Intent(Intent {
        call: call(n),
        in_force: nowhere(),
        action: Bytes(vec![]),
        caller: caller(),
        verdict: Verdict::Allow,
        policy,
        facts: Commitment([3; 32]),
        received: Commitment([4; 32]),
        approvals: vec![],
        idempotency: None,
        controls: vec![],
        parent: None,
        basis: 0,
    });
    Draft {
        tenant: Some(tenant(owner.0)),
        run: Some(run(owner.1)),
        ..plain(body)
    }
}

pub(super) fn decision(owner: (u8, u64), n: u64, intent: Option<EntryRef>) -> Draft {
    let at = UnixMillis(1_000);
    let body = Body::Decision(Decision {
        call: call(n),
        in_force: nowhere(),
        intent,
        parent: None,
        verdict: Verdict::Allow,
        code: None,
        effect: Effect::Dispatched,
        cancelled: None,
        times: Times {
            received: at,
            decided: at,
            dispatched: None,
            settled: at,
        },
        trace: None,
        caller: caller(),
        capability: None,
        policy: None,
        lineage: None,
        facts: None,
        received: Commitment([4; 32]),
        forwarded: None,
        raw_result: None,
        released: None,
        transcript: None,
        evidence: vec![],
        redactions: vec![],
        action: None,
        approvals: vec![],
        idempotency: None,
        controls: vec![],
        handling: None,
        plan: None,
        egress: None,
        sandbox: vec![],
        probes: vec![],
        correlation: None,
        witnessed: false,
        preview: None,
        basis: None,
    });
    Draft {
        tenant: Some(tenant(owner.0)),
        run: Some(run(owner.1)),
        ..plain(body)
    }
}

pub(super) fn settlement(owner: (u8, u64), n: u64, intent: &Appended) -> Draft {
    decision(
        owner,
        n,
        Some(EntryRef {
            index: intent.index,
            digest: intent.digest,
        }),
    )
}

pub(super) fn append(journal: &Journal, draft: Draft) -> Result<Appended, AppendError> {
    journal.append_and_wait(draft)
}

/// Reads the whole log again, by rules written a second time: indexes, tenants, runs and bases without gaps,
/// every signature by the key of its base, every call settled at most once. Gives what is still open.
pub(super) fn audit(journal: &Journal) -> Vec<CallId> {
    let (mut tenants, mut runs) = (HashMap::new(), HashMap::new());
    let mut closed = Vec::new();
    let mut open = Vec::new();
    let mut base: Option<(EntryDigest, ed25519_dalek::VerifyingKey)> = None;
    let mut time = UnixMillis(0);
    for (i, stored) in (0u64..).zip(journal.entries(0..journal.snapshot().head.size).unwrap()) {
        let stored = stored.unwrap();
        let entry = Entry::parse(&stored.bytes).unwrap();
        let place = entry.place();
        assert_eq!((stored.index, place.index), (i, i));
        assert!(place.at >= time);
        time = place.at;
        if let Body::Base(b) = &entry.payload().body {
            let key = Binding::from_bytes(&b.binding.0).unwrap().epoch_key;
            assert_eq!(place.base, None);
            base = Some((
                entry.digest(),
                ed25519_dalek::VerifyingKey::from_bytes(&key.0).unwrap(),
            ));
        } else {
            assert_eq!(place.base, base.map(|b| b.0));
        }
        let signature = ed25519_dalek::Signature::from_bytes(&entry.signature().0);
        base.unwrap()
            .1
            .verify_strict(&entry.to_be_signed(), &signature)
            .unwrap();
        if let Some(t) = &place.tenant {
            let next: &mut u64 = tenants.entry(t.tenant).or_default();
            assert_eq!(t.seq, *next);
            *next += 1;
        }
        if let Some(r) = &place.run {
            assert!(!closed.contains(&r.run));
            let (next, last) = runs.entry(r.run).or_insert((0u64, None));
            assert_eq!((r.seq, r.previous), (*next, *last));
            (*next, *last) = (*next + 1, Some(entry_digest(&stored.bytes)));
        }
        match &entry.payload().body {
            Body::Intent(b) => open.push(b.call),
            Body::Decision(b) if b.intent.is_some() => {
                let at = open.iter().position(|c| *c == b.call).unwrap();
                open.swap_remove(at);
            }
            Body::Run(b) => closed.push(b.run),
            Body::Enrol(_)
            | Body::Base(_)
            | Body::Decision(_)
            | Body::Approval(_)
            | Body::Change(_)
            | Body::Event(_)
            | Body::Renewal(_)
            | Body::Adopt(_)
            | Body::Gap(_)
            | Body::Erasure(_)
            | Body::Hold(_)
            | Body::Stop(_)
            | Body::Close(_) => {}
        }
    }
    open
}
