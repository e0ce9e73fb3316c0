//! Carrying out an erasure: what it covers, what stands against it, and the steps in their order.
//!
//! In: a person's verified statement. Out: `erasure` entries, values that no copy of a disk brings
//! back, and a storage key of another version. Nothing is destroyed before every reason against it
//! was looked for: a hold, a call under way, a tenant that is not the person's.

use crate::serve::Gateway;
use anyhow::Context as _;
use countersign_gateway::call::Seed;
use countersign_journal::{Draft, StoredEntry};
use countersign_record::body::privacy::{MAX_RANGES, ranges_of};
use countersign_record::body::{Erasure, Holdable, IndexRange};
use countersign_record::cbor::Bytes;
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::digest::{CallId, SubjectId, TenantId};
use countersign_record::entry::{Body, Entry};
use countersign_record::profile::About;
use countersign_record::statement::ErasureStatement;
use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::Ordering;

/// What an erasure is to cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Everything under a pseudonym.
    Subject(SubjectId),
    /// These entries.
    Entries(Vec<IndexRange>),
    /// Everything of a call.
    Call(CallId),
}

/// What was found of a target.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Entries whose values are still there, ascending.
    pub entries: Vec<u64>,
    /// Their tenants.
    pub tenants: BTreeSet<TenantId>,
    /// Their subjects.
    pub subjects: BTreeSet<SubjectId>,
    /// Holds that cover some of them.
    pub holds: BTreeSet<String>,
    /// Calls of theirs that are not settled yet.
    pub open: usize,
}

impl Target {
    fn covers(&self, index: u64, body: &Body) -> bool {
        let (subject, call) = match body {
            Body::Intent(b) => (b.caller.subject, Some(b.call)),
            Body::Decision(b) => (b.caller.subject, Some(b.call)),
            Body::Event(_) => (None, None),
            // People's signed words stay: they show that what was done was approved, erased or held.
            Body::Enrol(_)
            | Body::Base(_)
            | Body::Approval(_)
            | Body::Run(_)
            | Body::Change(_)
            | Body::Renewal(_)
            | Body::Adopt(_)
            | Body::Gap(_)
            | Body::Erasure(_)
            | Body::Close(_)
            | Body::Hold(_)
            | Body::Stop(_) => return false,
        };
        match self {
            Self::Subject(wanted) => subject == Some(*wanted),
            Self::Call(wanted) => call == Some(*wanted),
            Self::Entries(ranges) => ranges.iter().any(|r| r.contains(index)),
        }
    }
}

/// Looks through the log for what a target covers, and what stands against erasing it.
///
/// # Errors
/// If the log cannot be read.
pub fn find(gateway: &Gateway, target: &Target) -> anyhow::Result<Found> {
    let size = gateway.journal.snapshot().head.size;
    let range = match target {
        Target::Entries(ranges) => {
            let first = ranges.first().map_or(0, |r| r.first);
            let end = ranges.last().map_or(0, |r| r.last.saturating_add(1));
            first.min(size)..end.min(size)
        }
        Target::Subject(_) | Target::Call(_) => 0..size,
    };
    let now = gateway.clock.now().at;
    let (mut found, mut open) = (Found::default(), HashSet::new());
    for stored in gateway.journal.entries(range)? {
        let StoredEntry {
            index,
            bytes,
            disclosures,
        } = stored?;
        let entry = Entry::parse(&bytes)?;
        let body = entry.body();
        if let Body::Decision(decision) = body {
            open.remove(&decision.call);
        }
        if !target.covers(index, body) {
            continue;
        }
        if let Body::Intent(intent) = body {
            open.insert(intent.call);
        }
        if disclosures == 0 || gateway.journal.is_erased(index)? {
            continue;
        }
        let tenant = entry.place().tenant.as_ref().map(|t| t.tenant);
        let subject = match About::of(body, None) {
            About::Call { subject, .. } => subject,
            About::Other => None,
        };
        let held = Holdable {
            index,
            tenant,
            subject,
        };
        found.entries.push(index);
        found.tenants.extend(tenant);
        found.subjects.extend(subject);
        let state = gateway.state();
        let holds = state.holds().covering(held, now).map(str::to_owned);
        found.holds.extend(holds);
    }
    found.open = open.len();
    Ok(found)
}

/// What an erasure did.
#[derive(Debug)]
pub struct Done {
    /// Leaf indexes of its entries.
    pub entries: Vec<u64>,
    /// Version of the storage key since then.
    pub ring: u32,
}

/// Erases. The caller holds [`Gateway::forgetting`], and has looked for what stands against it.
///
/// # Errors
/// If the platform, the log or the disk stands in the way. What was begun is completed by the next erasure or start.
pub async fn erase(
    gateway: &std::sync::Arc<Gateway>,
    statement: &ErasureStatement,
    signed: &[u8],
    entries: Vec<u64>,
) -> anyhow::Result<Done> {
    gateway.erasures.fetch_add(1, Ordering::SeqCst);
    let working = std::sync::Arc::clone(gateway);
    // ORDER: the next version seals before the erasure is written, so that the entry is true of all that follows it.
    let ring =
        tokio::task::spawn_blocking(move || working.ring.advance(&working.journal)).await??;
    if let Some(subject) = statement.subject {
        let working = std::sync::Arc::clone(gateway);
        tokio::task::spawn_blocking(move || working.subjects.forget(subject)).await??;
    }
    let ranges = ranges_of(entries);
    let mut parts: Vec<Vec<IndexRange>> = ranges.chunks(MAX_RANGES).map(<[_]>::to_vec).collect();
    if parts.is_empty() {
        parts.push(Vec::new());
    }
    let mut written = Vec::new();
    for entries in parts {
        let seed = Seed::fresh(*crate::keys::random::<32>()?);
        let disclosure = Disclosure {
            field: Field::ErasureStatement,
            salt: seed.salt(Field::ErasureStatement),
            value: Bytes(signed.to_vec()),
        };
        let body = Body::Erasure(Erasure {
            entries,
            basis: statement.basis.clone(),
            ordered_by: statement.signer,
            ring: u64::from(ring),
            statement: disclosure.commitment(),
            subject: statement.subject,
            anchored: true,
        });
        let now = gateway.clock.now();
        let draft = Draft {
            tenant: None,
            run: None,
            body,
            at: now.at,
            since_boot: now.since_boot,
            disclosures: vec![disclosure],
        };
        let appended = crate::calls::append(gateway, draft).await;
        written.push(appended.context("the erasure cannot be recorded")?.index);
    }
    // ORDER: nobody is told before the earlier secret is gone.
    let working = std::sync::Arc::clone(gateway);
    tokio::task::spawn_blocking(move || working.ring.finish(&working.journal)).await??;
    Ok(Done {
        entries: written,
        ring,
    })
}
