//! Between stages 2 and 3: whether the gateway takes this call at all, at this moment.
//!
//! In: [`Identified`], and what the shell knows of enrolment, stops, clock, lease and witnesses.
//! Out: [`Admitted`]. What is refused here rests on no leaf of the log, so the record has no basis.

use crate::identity::Identified;
use crate::refusal::{Code, Refusal, Refused, Retry};

/// What has to hold before a call is looked at, each as it is at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conditions {
    /// A fleet statement names the gateway.
    pub enrolled: bool,
    /// No stop that covers the call is on its way into the log.
    pub not_stopping: bool,
    /// The clock agrees with the log.
    pub clock_agrees: bool,
    /// The platform's last word has not run out.
    pub lease_holds: bool,
    /// Witnesses have confirmed the log, where they have to.
    pub witnessed: bool,
}

impl Conditions {
    /// All of them hold.
    pub const MET: Self = Self {
        enrolled: true,
        not_stopping: true,
        clock_agrees: true,
        lease_holds: true,
        witnessed: true,
    };

    /// The first that does not hold.
    fn unmet(self) -> Option<Refusal> {
        let Self {
            enrolled,
            not_stopping,
            clock_agrees,
            lease_holds,
            witnessed,
        } = self;
        let checks = [
            (enrolled, Code::NotEnrolled, Retry::Never),
            (not_stopping, Code::Stopped, Retry::Never),
            (clock_agrees, Code::ClockDrift, Retry::Never),
            (lease_holds, Code::LeaseExpired, Retry::Never),
            (witnessed, Code::NotWitnessed, Retry::After(1)),
        ];
        let (_, code, retry) = checks.into_iter().find(|(holds, _, _)| !holds)?;
        Some(Refusal::new(code, retry))
    }
}

/// A call that the gateway looks at.
#[derive(Debug)]
pub struct Admitted(pub(crate) Identified);

/// Admits a call, or says why not.
///
/// # Errors
/// A refusal, by the first condition that does not hold.
pub fn admit(identified: Identified, conditions: Conditions) -> Result<Admitted, Box<Refused>> {
    match conditions.unmet() {
        None => Ok(Admitted(identified)),
        Some(refusal) => Err(identified.refuse(refusal)),
    }
}
