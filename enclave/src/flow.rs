//! Traces of results, where the site asks for them: kept before a result is seen, looked at before policy is asked.
//!
//! In: results as they came, and calls whose arguments are permitted. Out: calls with what of their arguments repeats
//! results. A site that traces nothing pays nothing.

use crate::serve::locked;
use anyhow::Context as _;
use countersign_gateway::flow::{Key, Marks, Source, Traces};
use countersign_gateway::surface::Surfaced;
use countersign_policies::Engine;
use countersign_policies::site::capability::Capability;
use countersign_record::digest::{TenantId, UnixMillis};
use std::sync::Mutex;

/// Traces, if there are any to keep.
#[derive(Debug)]
pub struct Flow(Option<(Key, Mutex<Traces>)>);

impl Flow {
    /// Of a site, from now on.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn new(engine: &Engine, now: UnixMillis) -> anyhow::Result<Self> {
        if !engine.traces_results() {
            return Ok(Self(None));
        }
        let random = crate::keys::random::<8>().context("a key for traces")?;
        let key = Key::new(*random);
        Ok(Self(Some((key, Mutex::new(Traces::new(key, now))))))
    }

    /// Keeps what a result says, if its capability is traced.
    pub fn keep(&self, tenant: TenantId, party: &str, from: &Capability, result: &[u8]) {
        if let Some((key, traces)) = self.0.as_ref().filter(|_| from.trace_results) {
            let marks = Marks::of(*key, result);
            locked(traces).keep(tenant, party, Source::of(from), &marks);
        }
    }

    /// The call, with what of its arguments repeats results.
    #[must_use]
    pub fn look(&self, surfaced: Surfaced) -> Surfaced {
        let found = self.0.as_ref().map(|(_, traces)| {
            let (tenant, party, arguments) = surfaced.looked_at();
            locked(traces).find(tenant, &party, arguments)
        });
        surfaced.traced(found)
    }
}
