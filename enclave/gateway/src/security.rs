//! Security events: what happened to a call that somebody has to look at, whatever else is decided.
//!
//! In: why a call got no result, and what is known of how it was carried out. Out: [`SecurityEvent`]s, which stand in the
//! controls of the call's Decision Record as `security_event:<name>`, so they are signed, ordered and complete like it.
//!
//! Names of the field that this gateway has no check for (`workload_identity_attestation_failed`,
//! `memory_cross_subject_denied`, `a2a_cycle_detected`) are not here.

use crate::execute::Around;
use crate::refusal::Code;
use countersign_record::cbor::Cbor as _;
use countersign_record::egress::EgressConnections;

/// Begins the control of a record that is a security event, followed by the event's name.
pub const SECURITY_EVENT: &str = "security_event:";

/// Declares the events and their names in one table.
macro_rules! events {
    ($($(#[$meta:meta])* $variant:ident = $name:literal),* $(,)?) => {
        /// A security event. The names are stable; `docs/metrics.md` explains each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum SecurityEvent { $($(#[$meta])* $variant),* }

        impl SecurityEvent {
            /// Every event.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// The stable name.
            #[must_use]
            pub fn name(self) -> &'static str { match self { $(Self::$variant => $name),* } }
        }
    };
}

events! {
    /// An argument names another tenant.
    CrossTenantDenied = "cross_tenant_denied",
    /// A tool is not the one that people signed for.
    DescriptorChanged = "descriptor_changed",
    /// A call would have led, or was led, where it may not go.
    EgressDenied = "egress_denied",
    /// An upstream did not show the certificate that is expected of it.
    UpstreamUntrusted = "upstream_untrusted",
    /// A program in a sandbox tried to reach what its call does not list.
    SandboxViolation = "sandbox_violation",
    /// A sandbox could not be had, so its program was not started.
    SandboxUnavailable = "sandbox_unavailable",
    /// The platform has not vouched for the gateway recently enough.
    AttestationFailed = "attestation_failed",
    /// A result could not be redacted.
    RedactionFailed = "redaction_failed",
}

impl SecurityEvent {
    /// The event that a refusal by this code is, if it is one.
    #[must_use]
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "every other code is an ordinary refusal"
    )]
    pub fn of_code(code: Code) -> Option<Self> {
        match code {
            Code::CrossTenantDenied => Some(Self::CrossTenantDenied),
            Code::DescriptorChanged => Some(Self::DescriptorChanged),
            Code::DestinationDenied | Code::EgressDenied | Code::RedirectRefused => {
                Some(Self::EgressDenied)
            }
            Code::UpstreamUntrusted => Some(Self::UpstreamUntrusted),
            Code::SandboxUnavailable => Some(Self::SandboxUnavailable),
            Code::LeaseExpired => Some(Self::AttestationFailed),
            Code::RedactionFailed => Some(Self::RedactionFailed),
            _ => None,
        }
    }

    /// Whether a program in a sandbox was refused a way out while it carried the call out.
    #[must_use]
    pub fn of_way(around: &Around) -> Option<Self> {
        let went = around
            .egress
            .as_ref()
            .filter(|_| !around.sandbox.is_empty());
        let went = EgressConnections::from_bytes(went?).ok()?;
        let refused = went.connections.iter().any(|c| c.refused.is_some());
        refused.then_some(Self::SandboxViolation)
    }

    /// The event that a control of a record is, if it is one of these.
    #[must_use]
    pub fn of_control(control: &str) -> Option<Self> {
        let name = control.strip_prefix(SECURITY_EVENT)?;
        Self::ALL.iter().copied().find(|event| event.name() == name)
    }

    /// As it stands in a record.
    #[must_use]
    pub fn control(self) -> String {
        format!("{SECURITY_EVENT}{}", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_record::egress::EgressConnection;

    fn around(refused: Option<&str>, sandbox: &[&str]) -> Around {
        let connection = EgressConnection {
            destination: "evil.example:443".to_owned(),
            address: None,
            certificate: None,
            refused: refused.map(str::to_owned),
        };
        let all = EgressConnections {
            connections: vec![connection],
            left_out: 0,
        };
        Around {
            egress: Some(all.to_bytes()),
            sandbox: sandbox.iter().map(|l| (*l).to_owned()).collect(),
        }
    }

    #[test]
    fn a_way_out_that_a_sandboxed_program_is_refused_is_a_violation() {
        let of = |refused, sandbox: &[&str]| SecurityEvent::of_way(&around(refused, sandbox));
        let refused = Some("endpoint-not-listed");
        assert_eq!(
            of(refused, &["profile:tools"]),
            Some(SecurityEvent::SandboxViolation)
        );
        assert_eq!(of(None, &["profile:tools"]), None);
        assert_eq!(of(refused, &[]), None);
        assert_eq!(SecurityEvent::of_way(&Around::default()), None);
    }

    #[test]
    fn an_event_is_found_again_in_its_control() {
        for event in SecurityEvent::ALL {
            assert_eq!(SecurityEvent::of_control(&event.control()), Some(*event));
        }
        assert_eq!(SecurityEvent::of_control("cross_tenant_denied"), None);
        assert_eq!(SecurityEvent::of_control("security_event:other"), None);
    }
}
