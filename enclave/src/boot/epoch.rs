//! Opening an epoch: the platform vouches for a fresh key, and the key for all that follows.
//!
//! In: an [`Opened`] machine whose counter is explained. Out: an [`Epoch`] with its base, what
//! was in force entered, and every call that a crash left open settled as unknown.
//!
//! 1. `opening`: the counter value to come and the key's id, durable beside the log
//! 2. increment, 3. bind, attest, 4. base, 5. gap, enrolment, adoptions, change of bundle, 6. settlements

use super::{Opened, held};
use crate::keys::{self, random};
use crate::site::StateFile;
use crate::witnesses::Asked;
use anyhow::{Context as _, bail};
use countersign_gateway::call::Moment;
use countersign_gateway::decision::settle_unknown;
use countersign_gateway::state::Owned;
use countersign_journal::{Draft, EpochSigner, PendingOpening};
use countersign_platform::PcrSet;
use countersign_record::binding::{BINDING_VERSION, Binding, LogHead, epoch_message};
use countersign_record::body::{
    AbandonedOpening, Base, Change, ChangeKind, Enrol, Event, EventKind, Gap,
};
use countersign_record::cbor::{Bytes, Cbor as _};
use countersign_record::cose::Sign1;
use countersign_record::digest::{ArtifactDigest, KeyId, Nonce, PublicKey, UnixMillis};
use countersign_record::entry::{Body, EntryRef};
use countersign_record::export::{BUNDLE_KIND, SIGNED_BUNDLE_KIND};
use countersign_record::statement::{FLEET_TYP, FleetStatement};
use countersign_signatures::ed25519;
use ed25519_dalek::SigningKey;
use std::sync::Arc;

/// Name and version in every base.
pub const SOFTWARE: &str = concat!("countersign ", env!("CARGO_PKG_VERSION"));

/// An open epoch.
pub struct Epoch {
    /// Its base.
    pub base: EntryRef,
    /// When it opened.
    pub opened_at: UnixMillis,
    /// Its key; signs receipts, as the journal's copy signs entries.
    pub key: SigningKey,
    /// What is in force.
    pub in_force: EntryRef,
    /// Counter value of its base.
    pub counter: u64,
}

/// What the counter says about the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counter {
    /// Every step since the log's last is announced beside the log.
    Explained {
        /// Openings among them that came to nothing.
        abandoned: Vec<AbandonedOpening>,
    },
    /// The log is behind, or the counter is another's.
    Unexplained {
        /// What the log explains.
        explained: u64,
        /// What the TPM shows.
        found: u64,
    },
}

/// Compares the counter with the log and what was announced beside it.
#[must_use]
pub fn explain(opened: &Opened, found: u64) -> Counter {
    let explained = opened.ledger.counter;
    if found < explained {
        return Counter::Unexplained { explained, found };
    }
    let openings = &opened.found.pending_openings;
    let renewals = &opened.found.pending_renewals;
    let mut abandoned = Vec::new();
    for step in explained.saturating_add(1)..=found {
        let opening = openings
            .iter()
            .rev()
            .find(|o| o.counter == step)
            .map(|o| o.epoch_key);
        // A renewal that was announced and came to nothing is told by the key of its epoch.
        let renewal = || {
            renewals
                .iter()
                .find(|r| r.counter == step)
                .and(opened.ledger.epoch_key)
        };
        match opening.or_else(renewal) {
            Some(epoch_key) => abandoned.push(AbandonedOpening {
                counter: step,
                epoch_key,
            }),
            None => return Counter::Unexplained { explained, found },
        }
    }
    Counter::Explained { abandoned }
}

/// Opens an epoch, if the counter is explained and no witness knows better, or the governance key has let the gateway go on.
///
/// # Errors
/// If the platform, the log or a statement stands in the way. The log shows how far it came.
pub fn begin(opened: &mut Opened, asked: &Asked) -> anyhow::Result<Result<Epoch, held::Held>> {
    let found = opened
        .keeper
        .counter()
        .context("the epoch counter cannot be read")?;
    // What governance has accepted once is no news: that witness stays where it is.
    let accepted = opened.ledger.witnessed;
    let witness = asked
        .conflict
        .clone()
        .filter(|c| accepted.is_none_or(|size| c.size > size));
    let (abandoned, doubt) = match (explain(opened, found), witness) {
        (Counter::Explained { abandoned }, None) => (abandoned, None),
        (Counter::Explained { abandoned }, Some(witness)) => (
            abandoned,
            Some(held::Doubt {
                explained: found,
                found,
                witness: Some(witness),
            }),
        ),
        (Counter::Unexplained { explained, found }, witness) => (
            Vec::new(),
            Some(held::Doubt {
                explained,
                found,
                witness,
            }),
        ),
    };
    let recovery = match doubt {
        None => None,
        Some(doubt) => match held::recovery(opened, doubt.clone())? {
            Ok(statement) => Some((doubt, statement)),
            Err(held) => return Ok(Err(held)),
        },
    };
    let key = SigningKey::from_bytes(&*random::<32>()?);
    let public = keys::public(&key);
    // What can be missing is looked for before the counter moves: each step without an opening may stand for a lost lease.
    opened.platform.expect(opened.clock.now().at)?;
    let next = found
        .checked_add(1)
        .context("the epoch counter is at its end")?;
    // ORDER: the opening is durable before the counter moves, so that a crash between them is explained.
    opened.journal.put_pending_opening(&PendingOpening {
        counter: next,
        epoch_key: public.id(),
    })?;
    let counter = opened
        .keeper
        .increment()
        .context("the epoch counter does not move")?;
    if counter != next {
        bail!("the epoch counter went from {found} to {counter}; another program moves it");
    }
    let base = write_base(opened, &key, counter, abandoned)?;
    let mut epoch = Epoch {
        in_force: base.clone(),
        opened_at: opened.clock.now().at,
        base,
        key,
        counter,
    };
    if let Some((doubt, statement)) = recovery {
        let held::Doubt {
            explained,
            found,
            witness,
        } = doubt;
        append(
            opened,
            Body::Gap(Gap {
                explained,
                found,
                statement: Bytes(statement),
                witnessed: witness.map(|w| w.size),
            }),
        )?;
    }
    enrol(opened)?;
    super::adopted::enter(opened)?;
    enter_bundle(opened, &mut epoch)?;
    settle_open_calls(opened, &epoch)?;
    Ok(Ok(epoch))
}

fn write_base(
    opened: &mut Opened,
    key: &SigningKey,
    counter: u64,
    abandoned: Vec<AbandonedOpening>,
) -> anyhow::Result<EntryRef> {
    let binding = bind(opened, keys::public(key), counter)?;
    let bytes = binding.to_bytes();
    let now = opened.clock.now().at;
    let containers = opened.platform.opening(binding.anchor(), now)?;
    let evidence = containers
        .iter()
        .map(|container| container.keep(&opened.journal))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let base = Base {
        identity_signature: opened.vault.sign(&epoch_message(&bytes)),
        binding: Bytes(bytes),
        evidence,
        epoch: opened.ledger.epoch.saturating_add(1),
        previous: opened.found.last.map(|last| last.digest),
        explained: opened.ledger.counter,
        abandoned,
        recovery_key: Some(KeyId(countersign_record::digest::sha256(
            &opened.settings.recovery,
        ))),
        software: SOFTWARE.to_owned(),
    };
    let vault_sign = identity_signer(opened)?;
    opened
        .journal
        .begin_epoch(EpochSigner::new(key.clone(), vault_sign))?;
    append(opened, Body::Base(base))
}

/// The journal signs checkpoints with the identity key through this.
fn identity_signer(opened: &Opened) -> anyhow::Result<countersign_journal::IdentitySigner> {
    let vault = Arc::clone(&opened.vault);
    Ok(Box::new(move |message| vault.sign(message)))
}

fn bind(opened: &Opened, epoch_key: PublicKey, counter: u64) -> anyhow::Result<Binding> {
    let profile = opened.platform.named();
    let head = opened.found.head;
    Ok(Binding {
        version: BINDING_VERSION,
        profile,
        identity_key: opened.identity(),
        epoch_key,
        ak_name: Bytes(opened.attestation_key.clone()),
        tls_key: None,
        pcrs: match profile.has_tpm() {
            true => PcrSet::PROFILE.iter().collect(),
            false => Vec::new(),
        },
        release_key: Bytes(opened.release_key.tpmt_public().to_vec()),
        build: build_digest()?,
        configuration: opened.configuration,
        bundles: vec![opened.bundle.0.digest()],
        counter,
        previous: LogHead {
            size: head.size,
            root: head.root,
        },
        nonce: Nonce(*random::<32>()?),
    })
}

/// Digest of this very program.
///
/// # Errors
/// If the program's file cannot be read.
pub fn build_digest() -> anyhow::Result<ArtifactDigest> {
    std::fs::File::open("/proc/self/exe")
        .and_then(|mut program| ArtifactDigest::of_reader(&mut program))
        .context("the program cannot read itself")
}

/// Appends an entry that belongs to no tenant, and waits for it.
pub(crate) fn append(opened: &mut Opened, body: Body) -> anyhow::Result<EntryRef> {
    let Moment { at, since_boot } = opened.clock.now();
    let draft = Draft {
        tenant: None,
        run: None,
        body: body.clone(),
        at,
        since_boot,
        disclosures: Vec::new(),
    };
    let appended = opened.journal.append_and_wait(draft)?;
    opened.clock.not_before(appended.at);
    let entry = EntryRef {
        index: appended.index,
        digest: appended.digest,
    };
    opened
        .state
        .apply_body(&body, &entry, Owned::default(), appended.at, &[]);
    Ok(entry)
}

/// Enters the installed fleet statement, if it is newer than the one in force.
fn enrol(opened: &mut Opened) -> anyhow::Result<()> {
    let Some(bytes) = opened.people.read(StateFile::Fleet)? else {
        return Ok(());
    };
    let statement = fleet_statement(&bytes, opened.settings.governance)?;
    if !statement
        .members
        .iter()
        .any(|m| m.gateway == opened.gateway())
    {
        if opened.earlier.is_some() {
            // It is of an earlier boot, whose identity is gone. This one is waited for.
            return Ok(());
        }
        bail!(
            "the installed fleet statement {} does not name this gateway",
            statement.number
        );
    }
    if opened
        .ledger
        .fleet
        .is_some_and(|number| number >= statement.number)
    {
        return Ok(());
    }
    append(
        opened,
        Body::Enrol(Enrol {
            number: statement.number,
            statement: Bytes(bytes),
        }),
    )?;
    Ok(())
}

/// Reads a fleet statement and verifies the governance key's signature.
///
/// # Errors
/// If it is malformed, of another type or key, or the signature does not hold.
pub fn fleet_statement(bytes: &[u8], governance: PublicKey) -> anyhow::Result<FleetStatement> {
    let payload = verified_statement(bytes, FLEET_TYP, governance).context("fleet statement")?;
    FleetStatement::from_bytes(payload).context("fleet statement is malformed")
}

/// The payload of a statement of type `typ`, once `key`'s signature holds.
///
/// # Errors
/// If it is malformed, of another type or key, or the signature does not hold.
pub fn verified_statement<'a>(
    bytes: &'a [u8],
    typ: &str,
    key: PublicKey,
) -> anyhow::Result<&'a [u8]> {
    let statement = Sign1::parse(bytes)?;
    if statement.typ() != typ {
        bail!("statement is of type {}, expected {typ}", statement.typ());
    }
    if statement.kid() != key.id() {
        bail!(
            "statement is signed by key {}, expected {}",
            statement.kid(),
            key.id()
        );
    }
    let message = statement.to_be_signed();
    let signature = statement.signature();
    ed25519::PublicKey::parse(&key.0)?.verify(ed25519::Signed {
        message: &message,
        signature: &signature.0,
    })?;
    Ok(statement.payload())
}

/// Enters the bundle, if another was in force, and keeps it beside the log.
fn enter_bundle(opened: &mut Opened, epoch: &mut Epoch) -> anyhow::Result<()> {
    let (bundle, file) = &opened.bundle;
    opened.journal.put_artifact(BUNDLE_KIND, bundle.payload())?;
    opened.journal.put_artifact(SIGNED_BUNDLE_KIND, file)?;
    let (digest, version) = (bundle.digest(), bundle.content().head.version);
    if opened.ledger.bundle == Some((digest, version)) {
        return Ok(());
    }
    let change = Change {
        kind: ChangeKind::Bundle,
        digest,
        version,
        before: opened
            .ledger
            .in_force
            .clone()
            .unwrap_or_else(|| epoch.base.clone()),
        signers: bundle.signers().to_vec(),
        reason: None,
    };
    epoch.in_force = append(opened, Body::Change(change))?;
    Ok(())
}

/// Settles every call that a crash left open, and closes runs: an outcome is unknown, never invented.
fn settle_open_calls(opened: &mut Opened, epoch: &Epoch) -> anyhow::Result<()> {
    let open = std::mem::take(&mut opened.found.open_intents);
    for intent in &open {
        let now = opened.clock.now();
        let entry = EntryRef {
            index: intent.entry.index,
            digest: intent.entry.digest,
        };
        let decision = settle_unknown(
            &intent.intent,
            entry,
            intent.entry.at,
            epoch.in_force.clone(),
            now,
        );
        let body = Body::Decision(decision);
        let draft = Draft {
            tenant: intent.tenant,
            run: intent.run,
            body: body.clone(),
            at: now.at,
            since_boot: now.since_boot,
            disclosures: Vec::new(),
        };
        let appended = opened.journal.append_and_wait(draft)?;
        let entry = EntryRef {
            index: appended.index,
            digest: appended.digest,
        };
        opened.state.apply_body(
            &body,
            &entry,
            Owned {
                tenant: intent.tenant,
                run: intent.run,
            },
            appended.at,
            &[],
        );
    }
    for (tenant, run) in opened.journal.open_runs() {
        let now = opened.clock.now();
        opened
            .journal
            .close_run_and_wait(tenant, run, now.at, now.since_boot)?;
    }
    let count = u64::try_from(open.len()).unwrap_or(u64::MAX);
    if count > 0 || opened.found.wal_recovered {
        append(
            opened,
            Body::Event(Event {
                kind: EventKind::Recovered,
                count,
                detail: None,
            }),
        )?;
        super::tracing_line(&format!(
            "the last stop was not in good order; {count} open calls settled as unknown"
        ));
    }
    Ok(())
}
