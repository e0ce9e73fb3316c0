//! What the log says about the counter, the bundle and the fleet: a fold beside the gateway's.
//!
//! In: entries in order. Out: the counter value that the log explains, the epoch's number,
//! the newest bundle and the newest fleet statement that were in force.

use countersign_policies::bundle::Bundle;
use countersign_record::binding::{Binding, CloseStatement, RenewalStatement};
use countersign_record::body::{ChangeKind, EventKind};
use countersign_record::cbor::Cbor as _;
use countersign_record::digest::{ArtifactDigest, GatewayId, KeyId, UnixMillis};
use countersign_record::entry::{Body, Entry, EntryRef};
use std::collections::BTreeMap;

/// What the log says so far.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// Counter value that the log explains.
    pub counter: u64,
    /// Number of the last epoch; 0 before the first.
    pub epoch: u64,
    /// Time of the last entry.
    pub last_at: Option<UnixMillis>,
    /// Digest and version of the bundle in force.
    pub bundle: Option<(ArtifactDigest, u64)>,
    /// Number of the fleet statement in force.
    pub fleet: Option<u64>,
    /// The base or change that is in force.
    pub in_force: Option<EntryRef>,
    /// Key of the last epoch.
    pub epoch_key: Option<KeyId>,
    /// Whether the last epoch was closed.
    pub closed: bool,
    /// Number of the last renewal in the last epoch.
    pub renewal: u64,
    /// Gateways whose work this one continues: where that stands, and by which statement.
    pub adopted: BTreeMap<GatewayId, (u64, ArtifactDigest)>,
    /// The largest size that governance has let a witness know better at.
    pub witnessed: Option<u64>,
}

impl Ledger {
    /// Before the first entry, where the counter stood when the identity was made.
    #[must_use]
    pub fn new(counter: u64) -> Self {
        Self {
            counter,
            epoch: 0,
            last_at: None,
            bundle: None,
            fleet: None,
            in_force: None,
            epoch_key: None,
            closed: true,
            renewal: 0,
            adopted: BTreeMap::new(),
            witnessed: None,
        }
    }

    /// Takes in one entry, whose signature the journal has judged.
    ///
    /// # Errors
    /// If it does not hold what its kind must hold.
    pub fn apply(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        let at = EntryRef {
            index: entry.place().index,
            digest: entry.digest(),
        };
        self.last_at = Some(entry.place().at);
        match entry.body() {
            Body::Base(base) => {
                let binding = Binding::from_bytes(&base.binding.0).map_err(|e| e.to_string())?;
                self.counter = binding.counter;
                self.epoch = base.epoch;
                self.epoch_key = Some(binding.epoch_key.id());
                self.in_force = Some(at);
                self.closed = false;
                self.renewal = 0;
            }
            Body::Renewal(renewal) => {
                let statement = RenewalStatement::from_bytes(&renewal.statement.0)
                    .map_err(|e| e.to_string())?;
                self.counter = statement.counter;
                self.renewal = statement.number;
            }
            Body::Close(close) => {
                let statement =
                    CloseStatement::from_bytes(&close.statement.0).map_err(|e| e.to_string())?;
                self.counter = statement.counter;
                self.closed = true;
            }
            Body::Change(change) => {
                if change.kind == ChangeKind::Bundle {
                    self.bundle = Some((change.digest, change.version));
                }
                self.in_force = Some(at);
            }
            Body::Gap(gap) => {
                self.counter = self.counter.max(gap.found);
                self.witnessed = self.witnessed.max(gap.witnessed);
            }
            Body::Event(event) if event.kind == EventKind::RenewalFailed => {
                self.counter = self.counter.saturating_add(event.count);
            }
            Body::Enrol(enrol) => self.fleet = Some(enrol.number),
            Body::Adopt(adopt) => {
                let statement = ArtifactDigest::of(&adopt.statement.0);
                self.adopted
                    .insert(adopt.predecessor, (at.index, statement));
            }
            Body::Intent(_)
            | Body::Decision(_)
            | Body::Approval(_)
            | Body::Run(_)
            | Body::Event(_)
            | Body::Erasure(_)
            | Body::Hold(_)
            | Body::Stop(_) => (),
        }
        Ok(())
    }

    /// Refuses a bundle older than the one that was in force, whatever the configuration says.
    ///
    /// # Errors
    /// If it is older, or another one of the same version.
    pub fn forbid_downgrade(&self, bundle: &Bundle) -> anyhow::Result<()> {
        let Some((digest, version)) = self.bundle else {
            return Ok(());
        };
        let found = bundle.content().head.version;
        if found < version {
            anyhow::bail!("bundle is version {found}, version {version} was in force");
        }
        if found == version && bundle.digest() != digest {
            anyhow::bail!("another bundle of version {version} was in force; raise bundle.version");
        }
        Ok(())
    }
}

/// Whether the control state needs what opens an entry's commitments.
#[must_use]
pub fn concerns_calls(body: &Body) -> bool {
    match body {
        Body::Intent(_) | Body::Decision(_) | Body::Stop(_) => true,
        Body::Enrol(_)
        | Body::Base(_)
        | Body::Approval(_)
        | Body::Run(_)
        | Body::Change(_)
        | Body::Event(_)
        | Body::Renewal(_)
        | Body::Adopt(_)
        | Body::Gap(_)
        | Body::Erasure(_)
        | Body::Hold(_)
        | Body::Close(_) => false,
    }
}
