//! The checks, each of which sees every leaf once, in order.
//!
//! [`Checks`] holds what they share. One file a subject: [`who`] (identity, evidence,
//! enrolment), [`rules`] (reference values, bundles), [`unaltered`] (signatures, places,
//! checkpoints, disclosures), [`calls`] (intents, decisions, approvals), [`complete`]
//! (sequences, chains, roots), [`period`] and [`tenant`] (what may be left out; [`tenant_tree`] has the tenants' numbers), [`query`] (questions), [`epochs`] (openings, renewals, counters, the tail), [`adoption`] (hand-overs),
//! [`receipts`], [`witnesses`] (cosignatures, checkpoints from elsewhere), [`outside`] (outside clocks), and [`conclusion`], which turns what was seen into a report.
//! [`values`] has what is withheld, erased or missing, [`privacy`] what erasures cover and holds keep, and [`stops`] what people stopped.

mod adoption;
mod calls;
mod complete;
mod conclusion;
mod depth;
mod epochs;
mod outside;
mod period;
mod platform;
mod privacy;
mod query;
mod receipts;
mod rules;
mod stops;
mod stretches;
mod tenant;
mod tenant_tree;
mod unaltered;
mod values;
mod who;
mod witnesses;

pub(crate) use values::Committed;

use crate::codes::Code;
use crate::ledger::Ledger;
use crate::parallel::{Judged, Outcome, Parsed};
use crate::report::{Counts, Subject};
use crate::stream::Options;
use crate::trust::{Reference, Trust};
use countersign_record::body::TenantProof;
use countersign_record::digest::{
    EntryDigest, GatewayId, NodeHash, PublicKey, TenantId, UnixMillis,
};
use countersign_record::entry::{Body, EntryError, Payload};
use countersign_record::export::{Artifact, Manifest, Scope};
use std::collections::BTreeMap;

/// Where an entry stands, as its checks see it.
#[derive(Debug, Clone, Copy)]
struct At {
    /// Leaf index, by position in the export.
    index: u64,
    /// Its digest.
    digest: EntryDigest,
    /// Claimed time.
    time: UnixMillis,
    /// Its tenant.
    tenant: Option<TenantId>,
}

/// Everything the checks share.
#[derive(Debug)]
pub struct Checks<'a> {
    pub(crate) ledger: Ledger,
    trust: &'a Trust,
    options: &'a Options,
    reference: &'a Reference,
    now: UnixMillis,
    manifest: Option<Manifest>,
    artifacts: rules::Artifacts,
    epochs: Vec<epochs::Epoch>,
    log: complete::Log,
    calls: calls::Calls,
    enrolment: who::Enrolment,
    adoptions: adoption::Adoptions,
    receipts: receipts::Receipts,
    items: unaltered::Items,
    privacy: privacy::Privacy,
    stops: stops::Stops,
    /// Entries that the limits of the export leave out.
    left_out: stretches::Stretches,
    values: values::Values,
    window: period::Window,
    heads: tenant::Heads,
    tallied: query::Tallied,
    /// Roots at sizes at which another export ends.
    kept: BTreeMap<u64, NodeHash>,
    /// The proof that came with the entry that is being looked at.
    proof: Option<TenantProof>,
    /// The evidence that stands before the entry that is judged.
    evidence: Vec<Artifact>,
    /// Signatures of vendors that held, so that none is verified twice.
    chains: countersign_evidence::Chains,
    /// Entries that were taken by their hashes.
    unread: u64,
    witnessed: witnesses::Witnessed,
    outside: outside::Outside,
    counts: Counts,
    subject: Subject,
}

impl<'a> Checks<'a> {
    /// Before the first item.
    pub(crate) fn new(trust: &'a Trust, options: &'a Options, now: UnixMillis) -> Self {
        let mut checks = Self {
            ledger: Ledger::new(),
            trust,
            options,
            reference: options.reference.as_ref().unwrap_or(&trust.reference),
            now,
            manifest: None,
            artifacts: rules::Artifacts::default(),
            epochs: Vec::new(),
            log: complete::Log::default(),
            calls: calls::Calls::default(),
            enrolment: who::Enrolment::default(),
            adoptions: adoption::Adoptions::default(),
            receipts: receipts::Receipts::default(),
            items: unaltered::Items::default(),
            privacy: privacy::Privacy::default(),
            stops: stops::Stops::default(),
            left_out: stretches::Stretches::default(),
            values: values::Values::default(),
            window: period::Window::default(),
            heads: tenant::Heads::default(),
            tallied: query::Tallied::default(),
            kept: BTreeMap::new(),
            proof: None,
            evidence: Vec::new(),
            chains: countersign_evidence::Chains::new(),
            unread: 0,
            witnessed: witnesses::Witnessed::default(),
            outside: outside::Outside::default(),
            counts: Counts::default(),
            subject: Subject::default(),
        };
        checks.receipts_given();
        checks
    }

    /// What the export is said to be.
    pub(crate) fn manifest(&mut self, manifest: Manifest) {
        if manifest.format != 1 {
            let text = format!(
                "the export has format version {}, this verifier knows 1",
                manifest.format
            );
            self.ledger.unknown(Code::Extensions, None, text);
        }
        let named = manifest.identity_key.gateway() == manifest.gateway;
        self.ledger.observe(
            Code::Gateway,
            None,
            named.then_some(()).ok_or_else(|| {
                "the export's gateway is not the digest of its identity key".to_owned()
            }),
        );
        if !self.trust.gateways.is_empty() {
            let pinned = self.trust.gateways.contains(&manifest.gateway);
            let error = || {
                format!(
                    "gateway {} is none of those that you pinned",
                    manifest.gateway
                )
            };
            self.ledger
                .observe(Code::Gateway, None, pinned.then_some(()).ok_or_else(error));
        }
        let limits = limits(&manifest);
        self.ledger.observe(Code::Scope, None, limits);
        self.log.start(manifest.first);
        self.subject.gateway = Some(manifest.gateway.to_string());
        self.subject.scope = Some(manifest.scope.name().to_owned());
        self.subject.profile = Some(manifest.profile.clone());
        self.manifest = Some(manifest);
        self.checkpoints_given();
    }

    fn gateway(&self) -> Option<GatewayId> {
        self.manifest.as_ref().map(|m| m.gateway)
    }

    fn identity_key(&self) -> Option<PublicKey> {
        self.manifest.as_ref().map(|m| m.identity_key)
    }

    fn scope(&self) -> Scope {
        self.manifest.as_ref().map_or(Scope::Whole, |m| m.scope)
    }

    /// One leaf, after all leaves before it.
    pub(crate) fn leaf(&mut self, judged: &mut Judged) {
        let digest = judged.digest();
        let index = self.log.position();
        self.items.disclosures = self.items.disclosures.saturating_add(judged.disclosed);
        let leaf = judged.leaf;
        match &mut judged.outcome {
            Outcome::Withheld(level) => match self.log.append_withheld(*level, leaf) {
                Ok(count) => {
                    self.counts.withheld = self.counts.withheld.saturating_add(count);
                    // Where calls are not read, nothing shows when they were, nor what lies between.
                    if self.reads_calls() {
                        self.withheld(index, count);
                        self.leave_out(index, count);
                        self.receipts_withheld(index, count, (*level == 0).then_some(digest));
                    }
                }
                Err(error) => self
                    .ledger
                    .fail(Code::Leaves, Some(index), error.to_string()),
            },
            Outcome::Unread => {
                self.counts.entries = self.counts.entries.saturating_add(1);
                self.unread = self.unread.saturating_add(1);
                self.log.skip_index();
                self.log.append(leaf, None);
            }
            Outcome::Malformed(error, signature) => {
                self.counts.entries = self.counts.entries.saturating_add(1);
                if let Some(signature) = *signature {
                    let time = UnixMillis(0);
                    self.signature(
                        At {
                            index,
                            digest,
                            time,
                            tenant: None,
                        },
                        signature,
                    );
                }
                match error {
                    EntryError::UnknownType | EntryError::Version { .. } => {
                        let text = format!("{error}: a newer verifier is needed");
                        self.ledger.unknown(Code::Extensions, Some(index), text);
                    }
                    EntryError::TooLarge { .. } | EntryError::Malformed(_) => {
                        self.ledger
                            .fail(Code::Entries, Some(index), error.to_string());
                    }
                }
                self.log.skip_index();
                self.log.append(leaf, None);
            }
            Outcome::Entry(parsed) => {
                self.counts.entries = self.counts.entries.saturating_add(1);
                self.ledger.held(Code::Entries);
                let tenant = self.entry(
                    At {
                        index,
                        digest,
                        time: parsed.payload.place.at,
                        tenant: None,
                    },
                    parsed,
                );
                self.log.append(leaf, tenant);
            }
        }
        self.given_at(self.log.position());
        if self.options.sizes.contains(&self.log.position()) {
            self.kept.insert(self.log.position(), self.log.root());
        }
        self.handed_at(self.log.position());
    }

    /// One well-formed entry; gives the place of its tenant, and its number there.
    fn entry(&mut self, at: At, parsed: &mut Parsed) -> Option<(u32, u64)> {
        let Parsed {
            payload,
            kid,
            signature,
            evidence,
            opened,
            proof,
        } = parsed;
        (self.proof, self.evidence) = (proof.take(), std::mem::take(evidence));
        let (kid, signature) = (*kid, *signature);
        let Payload {
            place,
            body,
            critical,
            optional,
        } = payload;
        let at = At {
            tenant: place.tenant.as_ref().map(|t| t.tenant),
            ..at
        };
        self.extensions(at.index, critical.as_ref(), optional.as_ref());
        self.leaf_index(at, place.index);
        self.timed(at);
        self.outside.claimed(at);
        self.signature(at, signature);
        if let Body::Base(base) = body {
            self.base(at, base);
        }
        self.membership(at, kid, place.base);
        let tenant = place.tenant.as_ref().and_then(|t| self.tenant_place(at, t));
        if let Some(run) = &place.run {
            self.run_place(at, run, body);
        }
        self.disclosures(at, opened);
        self.shown(at, body, opened);
        self.subject.first_at.get_or_insert(at.time.0);
        self.subject.last_at = Some(self.subject.last_at.unwrap_or(0).max(at.time.0));
        if let Some(epoch) = self.epochs.last_mut() {
            epoch.last_time = epoch.last_time.max(at.time);
        }
        match body {
            Body::Base(_) | Body::Run(_) => {}
            Body::Enrol(b) => self.enrol(at, b),
            Body::Intent(b) => {
                self.intent(at, b, opened);
                self.intent_not_stopped(at, b, opened);
            }
            Body::Decision(b) => {
                self.decision(at, b, opened);
                self.outcome_not_stopped(at, b, opened);
            }
            Body::Approval(b) => self.approval(at, b, opened),
            Body::Change(b) => self.change(at, b),
            Body::Event(b) => self.event(b),
            Body::Renewal(b) => self.renewal(at, b),
            Body::Adopt(b) => self.adopt(at, b),
            Body::Gap(b) => self.gap(at, b),
            Body::Erasure(b) => self.erasure(at, b, opened),
            Body::Hold(b) => self.hold(at, b, opened),
            Body::Stop(b) => self.stop(at, b, opened),
            Body::Close(b) => self.close(at, b),
        }
        self.stray_proof(at);
        self.receipt_at(at, body);
        tenant
    }
}

/// Whether a manifest says of which tenant, run and time the export is.
fn limits(manifest: &Manifest) -> Result<(), String> {
    let (tenant, run) = (manifest.tenant.is_some(), manifest.run.is_some());
    let named = match manifest.scope {
        Scope::Whole => !tenant && !run,
        Scope::Tenant => tenant && !run,
        Scope::Run => tenant && run,
    };
    that(named, || {
        format!(
            "an export of scope {} names {}",
            manifest.scope,
            match (tenant, run) {
                (false, false) => "neither tenant nor run",
                (true, false) => "a tenant and no run",
                (false, true) => "a run and no tenant",
                (true, true) => "a tenant and a run",
            }
        )
    })?;
    that(
        manifest.period.as_ref().is_none_or(|p| p.from < p.until),
        || "the export's period ends before it begins".to_owned(),
    )
}

/// A length as a number of the report.
fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// An observation that holds if `condition` does.
fn that(condition: bool, text: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(text()) }
}
