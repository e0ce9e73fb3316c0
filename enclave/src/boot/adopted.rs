//! Logs of gateways that are gone, whose work this one continues.
//!
//! In: for each a directory `adopted/<gateway>/` with a copy of its log, the governance key's word
//! and, if its values were recovered, its storage key wrapped for this gateway. Out: [`Adopted`]
//! logs, whose calls the control state knows, and one `adopt` entry for each.
//!
//! The operator brings all of these files. So none counts before the governance key has said that
//! this gateway continues that very log, to its last entry; and what was entered once has to be
//! there at every later start: without it, calls that must not be repeated would be forgotten.

use super::epoch::{append, verified_statement};
use super::ledger::{Ledger, concerns_calls};
use super::vault::Vault;
use super::{Opened, tracing_line};
use crate::adoption::HandedStorage;
use crate::site::{StateDir, StateFile};
use anyhow::{Context as _, bail};
use countersign_gateway::state::State;
use countersign_journal::{Archive, Found, KeyRing, StorageKey};
use countersign_platform::recovery::RecoveryWrap;
use countersign_record::body::{Adopt, Event, EventKind};
use countersign_record::cbor::{Bytes, Cbor as _};
use countersign_record::digest::{ArtifactDigest, GatewayId, PublicKey};
use countersign_record::entry::Body;
use countersign_record::statement::{ADOPT_TYP, AdoptStatement, Stored};
use std::fs;

/// A log that this gateway continues.
#[derive(Debug)]
pub struct Adopted {
    /// The gateway that is gone.
    pub predecessor: GatewayId,
    /// Its log.
    pub archive: Archive,
    /// The governance key's word.
    pub statement: AdoptStatement,
    /// The same, as it was signed.
    pub signed: Vec<u8>,
    /// Its calls that were sealed and never settled.
    pub open_calls: u64,
}

/// Opens every log that was put here to be continued, and takes its calls into the control state.
///
/// # Errors
/// Whatever keeps one of them from being what the governance key has signed for.
pub fn open(
    state_dir: &StateDir,
    vault: &Vault,
    governance: PublicKey,
    state: &mut State,
) -> anyhow::Result<Vec<Adopted>> {
    let root = state_dir.file(StateFile::Adopted);
    let entries = match fs::read_dir(&root) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", root.display())),
    };
    let mut named = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let gateway = name.to_str().and_then(GatewayId::from_hex);
        named.push(
            gateway.with_context(|| {
                format!("adopted/{} is not named after a gateway", name.display())
            })?,
        );
    }
    // The order of a directory is the file system's; ours is that of names.
    named.sort_unstable();
    named
        .into_iter()
        .map(|predecessor| {
            let directory = StateDir::open(&root.join(predecessor.to_string()))?;
            let place = Place {
                directory,
                predecessor,
            };
            open_one(&place, vault, governance, state)
                .with_context(|| format!("the log of gateway {predecessor} is not adopted"))
        })
        .collect()
}

/// Where one of them is.
struct Place {
    directory: StateDir,
    predecessor: GatewayId,
}

fn open_one(
    place: &Place,
    vault: &Vault,
    governance: PublicKey,
    state: &mut State,
) -> anyhow::Result<Adopted> {
    let Place {
        directory,
        predecessor,
    } = place;
    let own = vault.identity().gateway();
    if *predecessor == own {
        bail!("it is this gateway's own");
    }
    let signed = directory
        .read(StateFile::Adopt)?
        .context("the governance key's word is missing (adopt.cose); see `countersign adopt`")?;
    let statement = statement(&signed, governance)?;
    if statement.gateway != own {
        bail!(
            "the adopt statement lets gateway {} continue, this is gateway {own}",
            statement.gateway
        );
    }
    if statement.predecessor != *predecessor {
        bail!(
            "the adopt statement is about the log of gateway {}",
            statement.predecessor
        );
    }
    let ring = match statement.stored {
        Stored::Recovered => KeyRing::recovered(storage_key(place, vault)?),
        Stored::Lost => KeyRing::without_keys(),
    };
    let readable = ring.has_keys();
    let log = directory.file(StateFile::Log);
    let (archive, found) = Archive::open(&log, *predecessor, ring, &mut |entry, disclosures| {
        let opened = if readable && concerns_calls(entry.body()) {
            disclosures.read().map_err(|e| e.to_string())?
        } else {
            Vec::new()
        };
        state.inherit(entry, &opened);
        Ok(())
    })?;
    state.inherited();
    expect_head(&statement, &found)?;
    Ok(Adopted {
        predecessor: *predecessor,
        archive,
        statement,
        signed,
        open_calls: u64::try_from(found.open_intents.len()).unwrap_or(u64::MAX),
    })
}

/// Reads an adopt statement and verifies the governance key's signature.
///
/// # Errors
/// If it is malformed, of another type or key, or the signature does not hold.
pub fn statement(bytes: &[u8], governance: PublicKey) -> anyhow::Result<AdoptStatement> {
    let payload = verified_statement(bytes, ADOPT_TYP, governance).context("adopt statement")?;
    AdoptStatement::from_bytes(payload).context("adopt statement is malformed")
}

fn storage_key(place: &Place, vault: &Vault) -> anyhow::Result<StorageKey> {
    let bytes = place
        .directory
        .read(StateFile::AdoptStorage)?
        .context("governance says that its values were recovered, and adopt.storage is missing")?;
    let handed = HandedStorage::from_bytes(&bytes).context("adopt.storage is malformed")?;
    let HandedStorage {
        predecessor,
        gateway,
        wrap,
    } = handed;
    let own = vault.identity().gateway();
    if (predecessor, gateway) != (place.predecessor, own) {
        bail!("adopt.storage hands gateway {predecessor}'s storage key to gateway {gateway}");
    }
    let wrap = RecoveryWrap::parse(&wrap.0).context("adopt.storage")?;
    let key = vault
        .transport_key()?
        .open(&wrap)
        .context("adopt.storage")?;
    Ok(StorageKey::new(key))
}

/// The log is the one that governance signed for, to its last entry.
fn expect_head(statement: &AdoptStatement, found: &Found) -> anyhow::Result<()> {
    let (size, root) = (found.head.size, found.head.root);
    let said = &statement.head;
    if (size, root) != (said.size, said.root) {
        bail!(
            "the log has {size} entries with root {root}, the adopt statement is about {} with root {}",
            said.size,
            said.root
        );
    }
    if found.last.map(|l| l.digest) != Some(statement.last) {
        bail!("the adopt statement names another last entry than the log has");
    }
    Ok(())
}

/// What was entered once has to be there at every later start, by the same statement.
///
/// # Errors
/// Which log is missing, or was exchanged.
pub fn expect_all(ledger: &Ledger, adopted: &[Adopted]) -> anyhow::Result<()> {
    for (predecessor, (index, statement)) in &ledger.adopted {
        let found = adopted
            .iter()
            .find(|a| a.predecessor == *predecessor)
            .with_context(|| {
                format!("entry {index} adopted the log of gateway {predecessor}, and adopted/{predecessor} is missing")
            })?;
        if ArtifactDigest::of(&found.signed) != *statement {
            bail!(
                "entry {index} adopted the log of gateway {predecessor} by another statement than adopt.cose"
            );
        }
    }
    Ok(())
}

/// Enters each adoption that is not in the log yet.
pub(super) fn enter(opened: &mut Opened) -> anyhow::Result<()> {
    let fresh: Vec<(Adopt, u64)> = opened
        .adopted
        .iter()
        .filter(|a| !opened.ledger.adopted.contains_key(&a.predecessor))
        .map(|a| {
            let body = Adopt {
                predecessor: a.predecessor,
                head: a.statement.head.clone(),
                statement: Bytes(a.signed.clone()),
            };
            (body, a.open_calls)
        })
        .collect();
    for (adopt, open_calls) in fresh {
        expect_ended(opened, adopt.predecessor)?;
        tracing_line(&format!(
            "continues gateway {}, whose log of {} entries was handed over",
            adopt.predecessor, adopt.head.size
        ));
        append(opened, Body::Adopt(adopt))?;
        if open_calls > 0 {
            append(
                opened,
                Body::Event(Event {
                    kind: EventKind::Restored,
                    count: open_calls,
                    detail: None,
                }),
            )?;
        }
    }
    Ok(())
}

/// A gateway that is continued has left the fleet: nobody may take new records of it for genuine.
fn expect_ended(opened: &Opened, predecessor: GatewayId) -> anyhow::Result<()> {
    let bytes = opened
        .state_dir
        .read(StateFile::Fleet)?
        .context("a gateway that is not enrolled cannot continue another's work")?;
    let fleet = super::epoch::fleet_statement(&bytes, opened.settings.governance)?;
    let ended = fleet
        .members
        .iter()
        .any(|m| m.gateway == predecessor && m.until.is_some());
    if !ended {
        bail!(
            "fleet statement {} does not say that gateway {predecessor} has left; sign one with `enrol sign --previous`",
            fleet.number
        );
    }
    Ok(())
}
