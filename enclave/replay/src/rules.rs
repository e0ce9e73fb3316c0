//! Bundles as a replay computes with them.
//!
//! In: payloads out of an export, or a candidate from disk. Out: [`Rules`]: the compiled engine
//! and its agents. A payload of the export is the one in force because its digest is the one
//! that the verified log names; signatures are the verifier's business.

use crate::export::unsigned;
use countersign_gateway::policy::outcome;
use countersign_policies::bundle::{BundleError, UnsignedBundle};
use countersign_policies::decision::{Facts, PolicyDecision};
use countersign_policies::engine::{Engine, EngineError};
use countersign_record::body::PolicyOutcome;
use countersign_record::bundle::AgentEntry;
use countersign_record::digest::{ArtifactDigest, TenantId};
use std::collections::HashMap;
use thiserror::Error;

/// Why a bundle cannot be computed with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RulesError {
    /// It is not in the export.
    #[error("bundle {0} is not in the export")]
    Missing(ArtifactDigest),
    /// The log names none.
    #[error("no bundle was in force")]
    None,
    /// It is no bundle of this version.
    #[error("{0}")]
    Bundle(#[from] BundleError),
    /// It does not compile.
    #[error("{0}")]
    Engine(#[from] EngineError),
}

/// A compiled bundle and who may call under it.
#[derive(Debug)]
pub struct Rules {
    /// The engine.
    pub engine: Engine,
    agents: HashMap<String, (AgentEntry, TenantId)>,
}

impl Rules {
    /// Compiles a bundle.
    ///
    /// # Errors
    /// If it does not hold together.
    #[expect(
        clippy::disallowed_methods,
        reason = "a verdict is computed, and nothing is put in force"
    )]
    pub fn compile(bundle: &UnsignedBundle) -> Result<Self, RulesError> {
        let engine = Engine::danger_unverified(bundle.content()?, bundle.digest())?;
        let registry = engine.content().registry();
        let tenants: HashMap<&str, TenantId> = registry
            .tenants
            .iter()
            .map(|t| (t.name.as_str(), t.id))
            .collect();
        let agents = registry
            .agents
            .iter()
            .filter_map(|a| {
                let tenant = *tenants.get(a.tenant.as_str())?;
                Some((a.urn.clone(), (a.clone(), tenant)))
            })
            .collect();
        Ok(Self { engine, agents })
    }

    /// The agent of this name, and its tenant.
    #[must_use]
    pub fn agent(&self, urn: &str) -> Option<(&AgentEntry, TenantId)> {
        self.agents.get(urn).map(|(agent, tenant)| (agent, *tenant))
    }

    /// What policy says of facts, in full and as a record says it.
    #[must_use]
    pub fn decide(&self, facts: &Facts) -> (PolicyDecision, PolicyOutcome) {
        let decision = self.engine.decide(facts);
        let outcome = outcome(&self.engine, &decision);
        (decision, outcome)
    }
}

/// Bundles that were in force, compiled when they are first needed.
#[derive(Debug, Default)]
pub struct Shelf {
    payloads: HashMap<ArtifactDigest, Vec<u8>>,
    compiled: HashMap<ArtifactDigest, Result<Rules, RulesError>>,
}

impl Shelf {
    /// The bundles of an export.
    #[must_use]
    pub fn new(payloads: HashMap<ArtifactDigest, Vec<u8>>) -> Self {
        Self {
            payloads,
            compiled: HashMap::new(),
        }
    }

    /// The rules of a bundle.
    ///
    /// # Errors
    /// If it is not there, or does not hold together.
    pub fn rules(&mut self, digest: Option<ArtifactDigest>) -> Result<&Rules, RulesError> {
        let digest = digest.ok_or(RulesError::None)?;
        let payloads = &self.payloads;
        self.compiled
            .entry(digest)
            .or_insert_with(|| {
                let payload = payloads.get(&digest).ok_or(RulesError::Missing(digest))?;
                Rules::compile(&UnsignedBundle::parse(&unsigned(payload))?)
            })
            .as_ref()
            .map_err(Clone::clone)
    }
}
