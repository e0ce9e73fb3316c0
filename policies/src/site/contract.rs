//! What each approval mode demands of the capability that declares it.
//!
//! | mode | demands |
//! |---|---|
//! | `read_only` | that it reaches no other host by addresses: no `endpoint_in` |
//! | `local_write` | the same; and that a repetition does nothing more: a key, or the word of whoever signs |
//! | `network` | `endpoint_in`, something that holds calls to it, and a budget |
//! | `delegated` | the scopes under which it acts; a call needs a person's token that has them |
//! | `destructive` | somebody who may approve it, wherever a policy permits it; a call halts for a person |
//!
//! Whatever has `endpoint_in` has a budget, and something that holds calls to the list. In: a capability, and the site
//! around it. Out: problems that say what to write. What a call needs is the engine's ([`crate::engine`]).

use crate::content::{Content, in_groups};
use crate::policy::{Place, PolicyEffect};
use crate::problem::{Problem, Report, Source};
use crate::site::capability::{Capability, Idempotency};
use crate::site::people::{Adapter, Transport};
use crate::site::sandbox::{Network, Profile};
use countersign_record::body::Mode;
use std::ops::Range;

/// What a capability's own file has to say.
pub(super) fn demand(source: Source<'_>, at: &Range<usize>, c: &Capability, report: &mut Report) {
    let mut missing = |key: &str, expected: &str| {
        let problem = Problem::Missing {
            key: key.to_owned(),
            expected: expected.to_owned(),
        };
        report.at(source, at.clone(), problem);
    };
    let reaches = !c.endpoint_in.is_empty();
    if c.mode == Mode::Network && !reaches {
        missing(
            "endpoint_in",
            "the hosts that its calls may reach, which the mode network demands",
        );
    }
    if (reaches || c.mode == Mode::Network) && c.num_calls.is_none() {
        missing(
            "num_calls",
            "a budget of calls, which is demanded of whatever reaches other hosts",
        );
    }
    if c.mode == Mode::Delegated && c.scopes.is_empty() {
        missing(
            "scopes",
            "the scopes of a person's token under which it acts, which the mode delegated demands",
        );
    }
    let mut wrong = |key: &str, found: &str, expected: &str| {
        report.value(source, at.clone(), key, found, expected);
    };
    match c.mode {
        Mode::ReadOnly | Mode::LocalWrite if reaches => wrong(
            "mode",
            c.mode.name(),
            "network, delegated or destructive, because endpoint_in has its calls reach other hosts",
        ),
        Mode::ReadOnly | Mode::LocalWrite | Mode::Network | Mode::Delegated | Mode::Destructive => {
        }
    }
    if c.mode == Mode::LocalWrite && c.idempotency == Idempotency::Optional {
        wrong(
            "idempotency_key",
            "optional",
            "required, which the mode local_write demands; or not_needed, where carrying a call out twice does no more than once",
        );
    }
    if c.mode != Mode::Delegated && !c.scopes.is_empty() {
        wrong(
            "scopes",
            &c.scopes.join(", "),
            "none: they have a meaning under the mode delegated alone",
        );
    }
}

/// A list that nothing holds a call to would only look like one.
pub(crate) fn demand_held(
    (file, c): (&str, &Capability),
    adapter: Option<&Adapter>,
    profile: Option<&Profile>,
    report: &mut Report,
) {
    if c.endpoint_in.is_empty() {
        return;
    }
    let by_argument = c.arguments.values().any(|r| r.destination.is_some());
    let by_connection = adapter.is_some_and(|a| matches!(a.transport, Transport::McpHttp(_)));
    let by_proxy = profile.is_some_and(|p| p.network == Network::Proxy);
    if !(by_argument || by_connection || by_proxy) {
        let problem = Problem::Missing {
            key: "destination".to_owned(),
            expected: "an argument with `destination`, or a sandbox of the adapter with network = \"proxy\": \
                       nothing else holds a call to endpoint_in"
                .to_owned(),
        };
        report.file(file, problem);
    }
}

impl Content {
    /// What may destroy is permitted only where somebody could approve it.
    pub(crate) fn demand_approvers(&self, report: &mut Report) {
        // Looked up once: a large site has 100,000 places and 10,000 policies.
        let destructive: Vec<_> = self
            .places()
            .filter(|(_, c)| c.mode == Mode::Destructive)
            .collect();
        // Policies that ask for approval are looked at for themselves.
        let permits = self
            .policies
            .iter()
            .filter(|p| p.effect == PolicyEffect::Permit && p.obligations.step_up.is_none());
        for p in permits {
            for (tenant, c) in &destructive {
                let place = Place {
                    tenant: &tenant.name,
                    capability: &c.id,
                    adapter: &c.adapter,
                };
                let reached =
                    p.scope.covers(&place) && self.principals(&tenant.name, p).next().is_some();
                let groups: Vec<String> = c.approvers.iter().cloned().collect();
                if reached && self.eligible(&tenant.name, &c.id, &groups).is_empty() {
                    let message = format!(
                        "permits {}, which is destructive, and nobody is enrolled for tenant {} who may approve it{}",
                        c.id,
                        tenant.name,
                        in_groups(&groups),
                    );
                    let id = p.id.clone();
                    report.line(&p.file, Some(p.line), Problem::Policy { id, message });
                }
            }
        }
    }
}
