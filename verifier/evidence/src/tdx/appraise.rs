//! The checks themselves, in the order of [`TdxCheck::ALL`]. Each says in one sentence what it found; none
//! stops another that can run.
//!
//! What depends on bytes alone (signatures, chains) is asked of [`Chains`]; what depends on the moment or
//! the policy is asked here each time.

mod chain;
mod finding;
mod quote;
mod statements;
mod tcb;
mod td;

use super::policy::Policy;
use super::roots::Roots;
use super::{Claimed, TdxAppraisal, TdxCheck, TdxEvidence, VerifiedTdx};
use crate::Moment;
use crate::appraisal::{Ledger, Outcome};
use crate::chains::Chains;

/// Runs every check on evidence, as of a moment.
#[must_use]
pub fn appraise_tdx(
    evidence: &TdxEvidence<'_>,
    policy: &Policy,
    roots: &Roots,
    at: Moment,
    chains: &mut Chains,
) -> TdxAppraisal {
    let mut ledger = Ledger(Vec::new());
    let mut context = Context {
        policy,
        roots,
        at,
        chains,
    };
    let quote = quote::appraise_form(&mut ledger, evidence.quote);
    let blocks = quote.certification.map(|it| super::pki::blocks(it.chain));
    let pck = chain::appraise_pck(&mut ledger, &mut context, blocks.as_ref());
    let report = quote::appraise_signatures(&mut ledger, &mut context, &quote, pck.leaf());
    let body = quote.body.map(|it| it.td);
    td::appraise(&mut ledger, policy, body.as_ref());
    let said = statements::appraise(&mut ledger, &mut context, evidence.collateral, &pck);
    let seen = tcb::Seen {
        body: body.as_ref(),
        report: report.as_ref(),
        pck: pck.extension.as_ref(),
        said: &said,
    };
    let tcb = tcb::appraise(&mut ledger, &context, &seen);
    td::appraise_event_log(&mut ledger, evidence.event_log, body.as_ref());

    let all_hold = ledger.0.iter().all(|check| match check.outcome {
        Outcome::Pass => true,
        Outcome::Fail => false,
        Outcome::NotChecked => check.code.is_optional(),
    });
    let claimed = quote.header.zip(body);
    let verified = claimed
        .zip(report)
        .zip(pck.extension)
        .zip(tcb)
        .filter(|_| all_hold)
        .map(
            |((((header, body), quoting_enclave), platform), tcb)| VerifiedTdx {
                header,
                body,
                quoting_enclave,
                platform,
                tcb,
            },
        );
    TdxAppraisal {
        checks: ledger.0,
        claimed: claimed.map(|(header, body)| Box::new(Claimed { header, body })),
        verified: verified.map(Box::new),
    }
}

/// What the caller gave beside the evidence.
struct Context<'c> {
    policy: &'c Policy,
    roots: &'c Roots,
    at: Moment,
    chains: &'c mut Chains,
}

/// What a check needs, or why it cannot run.
struct Needs<T> {
    input: Option<T>,
    absent: &'static str,
}

fn needs<T>(input: Option<T>, absent: &'static str) -> Needs<T> {
    Needs { input, absent }
}

impl Ledger<TdxCheck> {
    /// Runs a check if what it needs is there.
    fn run<T, U, E: core::fmt::Display>(
        &mut self,
        code: TdxCheck,
        needs: Needs<T>,
        check: impl FnOnce(T) -> Result<U, E>,
        pass: impl FnOnce(&U) -> String,
    ) -> Option<U> {
        match needs.input {
            Some(input) => self.note(code, check(input), pass),
            None => {
                self.skip(code, needs.absent);
                None
            }
        }
    }
}

const NO_QUOTE: &str = "the quote cannot be read so far";
const NO_CHAIN: &str = "the platform's certificates cannot be read";
const NO_COLLATERAL: &str = "no collateral is presented";
const NO_LIST: &str = "the revocation list cannot be read";
const NO_SIGNER: &str = "the signer's certificates cannot be read";
const NO_STATEMENT: &str = "the statement cannot be read";
const NOT_NAMED: &str = "the policy names none";
